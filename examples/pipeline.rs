//! Three stages, each a pool of processes: numbers are made, sorted and summed up, all at once and in order.
//!
//!     cargo run --release --example pipeline -- [--batches N] [--first N]
//!
//! ```text
//! main: numbers of batches --> make --> sort --> sum up --> main: print
//! ```
//!
//! The end travels both ways. Downstream: when there are no more batches, each stage finishes what it has, and ends;
//! then the next one does. Upstream: when main has printed as many as it wants (`--first`), it drops the last stage, which
//! cancels what is left there, ends, and drops the one before it.

use clap::Parser;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt::Display;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use workring::pool::{Context, Pool, Shutdown, Task, TaskHandle, run_if_worker};

/// Make, sort and sum up numbers, in three pools of processes.
#[derive(Parser)]
struct Arguments {
    /// How many batches of numbers to make
    #[arg(long, default_value_t = 1000)]
    batches: u64,

    /// Print only so many, and stop then
    #[arg(long)]
    first: Option<usize>,
}

/// The first stage: makes a batch of numbers, each batch from a seed of its own.
#[derive(Serialize, Deserialize)]
struct Make(u64);

impl Task for Make {
    type Output = Vec<u64>;
    type Error = String;

    fn run(self, _: &Context) -> Result<Vec<u64>, String> {
        let mut state = self.0;
        let mut next = || {
            // Knuth's generator of the MMIX.
            state = state.wrapping_mul(6_364_136_223_846_793_005);
            state = state.wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        Ok((0..1000).map(|_| next()).collect())
    }
}

/// The second stage.
#[derive(Serialize, Deserialize)]
struct Sort(Vec<u64>);

impl Task for Sort {
    type Output = Vec<u64>;
    type Error = String;

    fn run(mut self, _: &Context) -> Result<Vec<u64>, String> {
        self.0.sort_unstable();
        Ok(self.0)
    }
}

/// The third.
#[derive(Serialize, Deserialize)]
struct SumUp(Vec<u64>);

impl Task for SumUp {
    type Output = String;
    type Error = String;

    fn run(self, _: &Context) -> Result<String, String> {
        let Self(numbers) = self;
        let median = numbers.get(numbers.len() / 2).ok_or("an empty batch")?;
        let sum: u64 = numbers.iter().sum();
        Ok(format!(
            "{} numbers, median {median}, sum {sum}",
            numbers.len()
        ))
    }
}

/// How many tasks of one stage may wait for the next stage to take their outputs.
const AHEAD: usize = 64;
/// What is in flight at the end of the input takes no longer.
const LIMIT: Duration = Duration::from_secs(60);

/// The outputs of a stage, in the order of its input.
struct Stage<T: Task> {
    /// None once nobody wants any more.
    handles: Option<Receiver<TaskHandle<T>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Task<Error: Display>> Stage<T> {
    /// Start a pool that does what comes from `input`.
    fn new(
        name: &'static str,
        mut input: impl Iterator<Item = T> + Send + 'static,
    ) -> Result<Self, Box<dyn Error>> {
        let pool = Pool::<T>::builder().workers(2).start()?;
        let (sender, handles) = sync_channel(AHEAD);
        let thread = thread::spawn(move || {
            // An error: the next stage has ended, or the pool has.
            let everything = input.try_for_each(|task| {
                let handle = pool.submit(task).map_err(drop)?;
                sender.send(handle).map_err(drop)
            });
            let how = match everything {
                Ok(()) => Shutdown::Drain,
                Err(()) => Shutdown::Cancel,
            };
            match pool.shutdown(how, LIMIT) {
                Ok(report) => eprintln!("{name}: {report}"),
                Err(error) => eprintln!("{name}: {error}"),
            }
        });
        Ok(Self {
            handles: Some(handles),
            thread: Some(thread),
        })
    }
}

impl<T: Task<Error: Display>> Iterator for Stage<T> {
    type Item = T::Output;

    /// The next output, waiting for it. A task without one is skipped, and told of.
    fn next(&mut self) -> Option<T::Output> {
        for handle in self.handles.as_ref()? {
            let id = handle.id();
            match handle.wait() {
                Ok(output) => return Some(output),
                Err(error) => eprintln!("task {id}: {error}"),
            }
        }
        None
    }
}

impl<T: Task> Drop for Stage<T> {
    fn drop(&mut self) {
        drop(self.handles.take());
        if let Some(thread) = self.thread.take() {
            // What it has to say if it has panicked is on standard error.
            let _ = thread.join();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // Three kinds of workers, all of them this program.
    run_if_worker::<(Make, Sort, SumUp)>();

    let arguments = Arguments::parse();
    let made = Stage::new("make", (0..arguments.batches).map(Make))?;
    let sorted = Stage::new("sort", made.map(Sort))?;
    let summed_up = Stage::new("sum up", sorted.map(SumUp))?;
    for (number, line) in summed_up
        .take(arguments.first.unwrap_or(usize::MAX))
        .enumerate()
    {
        println!("batch {number}: {line}");
    }
    Ok(())
}
