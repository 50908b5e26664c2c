//! Tests of a program that uses pools. `auto_worker!` lets workers begin before the test harness does: workers are this test
//! binary, started again. Each test has a pool of its own, and all run at once, in threads under `cargo test` and in processes
//! under `cargo nextest run`.
#![cfg(all(feature = "macros", not(loom)))]

use std::thread;
use workring::pool::{Pool, TaskError};

workring::auto_worker!();

#[workring::task]
fn double(number: u32) -> u32 {
    2 * number
}

#[workring::task]
fn exit(code: i32) {
    std::process::exit(code)
}

#[test]
fn a_number_is_doubled() {
    let pool = Pool::start(1).expect("a worker");
    assert_eq!(pool.submit(double::new(21)).expect("open").wait(), Ok(42));
}

#[test]
fn a_worker_that_exits_costs_only_its_own_task() {
    let pool = Pool::start(1).expect("a worker");
    let exited = pool.submit(exit::new(3)).expect("open").wait();
    assert!(matches!(exited, Err(TaskError::Crashed { .. })));
    assert_eq!(pool.submit(double::new(21)).expect("open").wait(), Ok(42));
}

#[test]
fn two_pools_work_at_once() {
    let pools = [1, 2].map(|workers| Pool::start(workers).expect("workers"));
    thread::scope(|scope| {
        for pool in &pools {
            let doubled = move || pool.map((0..100).map(double::new)).map(|one| one.result);
            scope.spawn(move || assert_eq!(doubled().map(Result::unwrap).sum::<u32>(), 9900));
        }
    });
}
