//! Another build of `order`: the arguments of its task have changed places.

use std::process;

workring::auto_worker!();

#[workring::task(name = "order")]
const fn order(count: u32, item: u32) -> u32 {
    1000 * item + count
}

#[workring::task(name = "end")]
fn end() {
    process::exit(7)
}

const fn main() {}
