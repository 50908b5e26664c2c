//! A task reads far beyond a string: its worker dies of it, and the program goes on.
//!
//!     cargo run --release --example segfault
//!
//! The README shows this code and its output.
#![expect(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "the unsound read is what this example is about"
)]

use workring::Pool;

workring::auto_worker!(); // a worker is this program, started again

#[workring::task]
fn byte_at(offset: usize) -> u8 {
    unsafe { b"hello".as_ptr().wrapping_add(offset).read_volatile() }
}

fn main() {
    let pool = Pool::start(2).expect("workers");
    for outcome in pool.map([0, 1 << 40, 4].map(byte_at::new)) {
        println!("{:?}", outcome.result);
    }
}
