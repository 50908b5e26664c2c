//! A pipeline of three pools: one makes batches of numbers, one sorts them, one sums them up.
//!
//!     cargo run --release --example pipeline -- [--batches N] [--first N]
//!
//! ```text
//! main: numbers of batches --> make --> sort --> sum up --> main: print
//! ```
//!
//! All stages work at the same time, and the output has the order of the input. Shows several types of tasks in one
//! program, and how a pipeline ends from either side:
//!
//! - Downstream: when there are no more batches, each stage finishes its tasks and ends, and then the next one does.
//! - Upstream: when `main` has printed as many batches as it wants (`--first`), it drops the last stage. That stage
//!   cancels its tasks, ends, and drops the stage before it.

use clap::Parser;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::fmt::Display;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use workring::pool::{Shutdown, TaskHandle};
use workring::{Context, Task, TypedPool, run_if_worker_for};

/// Make, sort and sum up numbers, in three pools of processes.
#[derive(Parser)]
struct Arguments {
    /// How many batches of numbers to make
    #[arg(long, default_value_t = 1000)]
    batches: u64,

    /// Print this many batches, and then stop
    #[arg(long)]
    first: Option<usize>,
}

/// A task of the first stage: makes the batch of random numbers that belongs to this seed.
#[derive(Serialize, Deserialize)]
struct Make(u64);

impl Task for Make {
    type Output = Vec<u64>;
    type Error = String;

    fn run(self, _: &Context) -> Result<Vec<u64>, String> {
        let mut state = self.0;
        let mut next = || {
            // The linear congruential generator of Knuth's MMIX.
            state = state.wrapping_mul(6_364_136_223_846_793_005);
            state = state.wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        Ok((0..1000).map(|_| next()).collect())
    }
}

/// A task of the second stage: sorts a batch.
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

/// A task of the third stage: describes a sorted batch.
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

/// How many tasks of a stage may be ahead of the stage that takes their outputs.
const AHEAD: usize = 64;
/// How long the tasks that are left at the end of the input may take.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(60);

/// One stage of the pipeline: a pool, and a thread that submits to it what the stage before it has made. As an
/// iterator, it returns the outputs in the order of its input.
struct Stage<T: Task> {
    /// The tasks whose outputs were not returned yet. `None`: this stage is being dropped.
    handles: Option<Receiver<TaskHandle<T>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T: Task<Error: Display>> Stage<T> {
    /// Starts a pool that runs the tasks from `input`.
    fn new(
        name: &'static str,
        mut input: impl Iterator<Item = T> + Send + 'static,
    ) -> Result<Self, Box<dyn Error>> {
        let pool = TypedPool::<T>::builder().workers(2).start()?;
        let (sender, handles) = sync_channel(AHEAD);
        let thread = thread::spawn(move || {
            // `Err`: the next stage was dropped, or the pool has ended.
            let submitted = input.try_for_each(|task| {
                let handle = pool.submit(task).map_err(drop)?;
                sender.send(handle).map_err(drop)
            });
            let how = match submitted {
                Ok(()) => Shutdown::Drain,
                Err(()) => Shutdown::Cancel,
            };
            match pool.shutdown(how, SHUTDOWN_LIMIT) {
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

    /// Waits for the next output. Reports tasks that have none on standard error, and skips them.
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
        // Ends the thread: it has no receiver for the next handle.
        drop(self.handles.take());
        if let Some(thread) = self.thread.take() {
            // If it has panicked, the message is on standard error already.
            let _ = thread.join();
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // A worker serves one of the three pools. The tuple names the tasks of all of them.
    run_if_worker_for::<(Make, Sort, SumUp)>();

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
