//! A program without `auto_worker!`. It starts pools of registered tasks again and again, in several threads, and prints
//! what it gets: one line for each start.
//!
//! With the variable `BECOMES_WORKER` it calls `run_if_worker` first. With `STARTS=n`, each thread starts n pools. With
//! `COUNT=file`, each process adds a byte to the file, and only the first one prints; last, how many milliseconds half of its
//! starts took at most, and the slowest.

use std::fs::File;
use std::io::Write;
use std::time::Instant;
use std::{env, thread};
use workring::Pool;
use workring::error::StartError;

#[workring::task]
const fn unhurried(number: u32) -> u32 {
    number + 1
}

fn main() {
    if env::var_os("BECOMES_WORKER").is_some() {
        workring::run_if_worker();
    }
    let count = env::var_os("COUNT");
    if let Some(count) = &count {
        let file = File::options().create(true).append(true).open(count);
        file.expect("a file").write_all(b".").expect("counted");
    }
    let is_counted = count.is_some();
    let starts = env::var("STARTS").map_or(1, |starts| starts.parse().expect("a number"));
    let threads = [(); 2].map(|()| {
        thread::spawn(move || {
            (0..starts)
                .map(|_| start(is_counted))
                .collect::<Vec<u128>>()
        })
    });
    let mut times = Vec::new();
    for thread in threads {
        times.extend(thread.join().expect("no panic"));
    }
    times.sort_unstable();
    let is_worker = env::var_os("WORKRING_WORKER").is_some();
    if let (true, false, Some(half), Some(slowest)) = (
        is_counted,
        is_worker,
        times.get(times.len() / 2),
        times.last(),
    ) {
        println!("{half} {slowest}");
    }
}

/// Starts a pool, and returns how long that took, in milliseconds.
fn start(is_counted: bool) -> u128 {
    let before = Instant::now();
    let started = Pool::start(1);
    let took = before.elapsed().as_millis();
    match started {
        Ok(pool) => {
            let task = pool.submit(unhurried::new(1)).expect("open");
            println!("{:?}", task.wait());
        }
        Err(StartError::StartedAsWorker) if is_counted => {}
        Err(error) => println!("{error}"),
    }
    took
}
