//! A program whose tasks overflow the stack, or read where there is no memory. Its workers begin before `main`, and, for comparison,
//! in `main`. Prints how each task ended.
#![allow(unsafe_code, reason = "an invalid access is the subject")]

use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::{ptr, thread};
use workring::pool::run_if_worker_for;
use workring::{Context, Pool, Task, TypedPool};

workring::auto_worker!();

#[derive(Serialize, Deserialize)]
enum Fault {
    Overflow,
    InvalidAccess,
    OverflowInThread,
}

fn happen(fault: &Fault) -> u64 {
    match fault {
        Fault::Overflow => sum_of_all_below(u64::MAX),
        Fault::InvalidAccess => {
            // SAFETY: none. The process is to end.
            unsafe { ptr::without_provenance::<u8>(64).read_volatile() }.into()
        }
        Fault::OverflowInThread => {
            let thread = thread::spawn(|| sum_of_all_below(u64::MAX));
            thread.join().expect("it never ends")
        }
    }
}

/// Recurses once for each number.
fn sum_of_all_below(end: u64) -> u64 {
    // Its address is used before and after, so that no compiler makes a loop of this.
    let numbers = [end; 16];
    if black_box(&numbers).contains(&0) {
        return 0;
    }
    let below = sum_of_all_below(end - 1);
    below.wrapping_add(black_box(&numbers).iter().sum::<u64>() / 16)
}

#[workring::task]
#[allow(clippy::needless_pass_by_value, reason = "a task owns its arguments")]
fn fault(fault: Fault) -> u64 {
    happen(&fault)
}

/// The same as a task that is not registered, so that its workers begin in `main`.
#[derive(Serialize, Deserialize)]
struct InMain(Fault);

impl Task for InMain {
    type Output = u64;
    type Error = String;

    fn run(self, _: &Context) -> Result<u64, String> {
        Ok(happen(&self.0))
    }
}

fn main() {
    run_if_worker_for::<InMain>();
    let before_main = Pool::start(1).expect("a worker");
    for it in [
        Fault::Overflow,
        Fault::InvalidAccess,
        Fault::OverflowInThread,
    ] {
        let ended = before_main.submit(fault::new(it)).expect("open").wait();
        println!("{}", ended.expect_err("its worker has died"));
    }
    let in_main = TypedPool::builder().workers(1).start().expect("a worker");
    let ended = in_main
        .submit(InMain(Fault::Overflow))
        .expect("open")
        .wait();
    println!("{}", ended.expect_err("its worker has died"));
}
