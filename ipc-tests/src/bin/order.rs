//! A program that runs a task in workers of another program, which may be another build: `order PROGRAM [OTHER]`.
//!
//! With OTHER, that file takes the place of PROGRAM while the pool runs, and the worker ends. Prints one line for each outcome.

use std::time::Duration;
use std::{env, fs, process};
use workring::pool::{Pool, TaskError, TaskHandle};

workring::auto_worker!();

#[workring::task(name = "order")]
const fn order(item: u32, count: u32) -> u32 {
    1000 * item + count
}

#[workring::task(name = "end")]
fn end() {
    process::exit(7)
}

fn main() {
    let mut arguments = env::args_os().skip(1);
    let program = arguments.next().expect("a program");
    let builder = Pool::builder().workers(1).program(&program);
    // Without a pause, since each failure counts.
    let builder = builder
        .max_worker_failures(2)
        .respawn_backoff(Duration::ZERO, Duration::ZERO);
    let pool = match builder.start() {
        Ok(pool) => pool,
        Err(error) => return println!("{error}"),
    };
    println!("{:?}", pool.submit(order::new(7, 2)).expect("open").wait());
    let Some(other) = arguments.next() else {
        return;
    };
    fs::rename(other, program).expect("replaced");
    let ended = pool.submit(end::new()).expect("open").wait();
    assert!(matches!(ended, Err(TaskError::Crashed { .. })), "{ended:?}");
    match pool.submit(order::new(7, 2)).map(TaskHandle::wait) {
        Ok(Ok(sum)) => println!("{sum}"),
        Ok(Err(error)) => println!("{error}"),
        Err(error) => println!("{error}"),
    }
}
