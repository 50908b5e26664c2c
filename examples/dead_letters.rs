//! Native code that crashes on some of its inputs: each is tried three times, and then goes to a log, from which it can be read
//! and tried again when the code is repaired.
//!
//!     cargo run --release --example dead_letters -- LOG [TEXT...]
//!
//! Shows retries, tasks that their outcomes carry back, and that a task is a value that serde writes and reads: without texts,
//! the tasks of the log are tried again.
#![expect(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "the code that crashes is what this example is about"
)]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;
use std::{env, slice};
use workring::pool::{Pool, Shutdown};

workring::auto_worker!();

/// Adds up bytes, as a library in C might do it: it trusts the first one, which says how many TiB further they begin.
unsafe extern "C" fn add_up(data: *const u8, length: usize) -> u64 {
    let bytes = unsafe { slice::from_raw_parts(data, length) };
    let further = bytes
        .first()
        .map_or(0, |first| usize::from(first % 32) << 40);
    let byte = |index| unsafe { data.wrapping_add(further + index).read_volatile() };
    (0..length).map(|index| u64::from(byte(index))).sum()
}

#[workring::task]
fn sum(text: String) -> u64 {
    unsafe { add_up(text.as_ptr(), text.len()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("the first argument is the path of a log")?;
    let mut tasks: Vec<sum> = arguments.map(sum::new).collect();
    if tasks.is_empty() {
        let letters = fs::read_to_string(&path)?;
        let read = letters.lines().map(serde_json::from_str);
        tasks = read.collect::<Result<_, _>>()?;
    }
    let pool = Pool::builder().retries(2).return_tasks(true).start()?;
    let mut log = File::create(path)?;
    for mut outcome in pool.map(tasks) {
        if let Some(task) = outcome.take_task::<sum>() {
            writeln!(log, "{}", serde_json::to_string(&task)?)?;
        }
        match outcome.result {
            Ok(sum) => println!("{sum}"),
            Err(error) => println!("after {} attempts: {error}", outcome.attempts),
        }
    }
    println!(
        "{}",
        pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?
    );
    Ok(())
}
