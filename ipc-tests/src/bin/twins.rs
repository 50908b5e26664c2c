//! A program with two registered tasks of the same name. It prints the error of its pool's start.

use workring::Pool;

workring::auto_worker!();

#[workring::task(name = "twin")]
const fn one() -> u32 {
    1
}

#[workring::task(name = "twin")]
const fn other() -> u32 {
    2
}

fn main() {
    match Pool::start(1) {
        Err(error) => println!("{error}"),
        Ok(pool) => println!("{pool:?}"),
    }
    let _unused = (one::new(), other::new());
}
