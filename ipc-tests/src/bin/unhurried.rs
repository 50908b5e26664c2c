//! A program without `auto_worker!`. It starts pools of registered tasks again and again, in several threads, and prints
//! what it gets: one line for each start.
//!
//! With the variable `BECOMES_WORKER` it calls `run_if_worker` first. With `STARTS=n`, each thread starts n pools.

use std::{env, thread};
use workring::Pool;

#[workring::task]
const fn unhurried(number: u32) -> u32 {
    number + 1
}

fn main() {
    if env::var_os("BECOMES_WORKER").is_some() {
        workring::run_if_worker();
    }
    let starts = env::var("STARTS").map_or(1, |starts| starts.parse().expect("a number"));
    let threads = [(); 2].map(|()| {
        thread::spawn(move || {
            for _ in 0..starts {
                match Pool::start(1) {
                    Ok(pool) => {
                        let task = pool.submit(unhurried::new(1)).expect("open");
                        println!("{:?}", task.wait());
                    }
                    Err(error) => println!("{error}"),
                }
            }
        })
    });
    for thread in threads {
        thread.join().expect("no panic");
    }
}
