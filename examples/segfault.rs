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

use workring::{Context, Task, TypedPool, run_if_worker_for};

#[derive(serde::Serialize, serde::Deserialize)]
struct ByteAt(usize);
impl Task for ByteAt {
    type Output = u8;
    type Error = String;
    fn run(self, _: &Context) -> Result<u8, String> {
        Ok(unsafe { b"hello".as_ptr().wrapping_add(self.0).read_volatile() })
    }
}
fn main() {
    run_if_worker_for::<ByteAt>(); // a worker is this program, started again
    let pool = TypedPool::<ByteAt>::builder().start().expect("workers");
    pool.map([0, 1 << 40, 4].map(ByteAt))
        .for_each(|outcome| println!("{:?}", outcome.result));
}
