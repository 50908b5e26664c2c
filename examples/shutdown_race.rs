//! A race that this crate was written for: one thread reads the results of a pool while another one shuts it down.
//!
//!     cargo run --release --example shutdown_race -- --rounds 100000
//!
//! Each round makes a pool, submits some tasks, and shuts the pool down at another moment: before the reader starts to
//! read, while it waits, or when it has nearly finished. In every round the reader must get an outcome for each task
//! and then the end. The outcome is an output, or `Cancelled` if the shutdown cancels tasks. Anything else is counted,
//! and makes the program fail.

use clap::Parser;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use workring::pool::Shutdown;
use workring::{Context, Task, TaskError, TypedPool, run_if_worker_for};

/// Race a reader of results against a shutdown.
#[derive(Parser)]
struct Arguments {
    /// How many rounds
    #[arg(long, default_value_t = 1000)]
    rounds: u64,
}

/// A task whose output is its own number.
#[derive(Serialize, Deserialize)]
struct Echo(u64);

impl Task for Echo {
    type Output = u64;
    type Error = String;

    fn run(self, _: &Context) -> Result<u64, String> {
        Ok(self.0)
    }
}

/// The tasks of one round.
const TASKS: u64 = 16;
/// How long a shutdown may take: longer than any round needs.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);
/// The latest moment of a shutdown, in nanoseconds after the start of the reader: by then it has read everything.
const LATEST: u64 = 400_000;
/// How much later the shutdown comes in each round, modulo `LATEST`. A prime number, so that all moments occur.
const STEP: u64 = 7919;

/// What the readers of all rounds have got.
#[derive(Default)]
struct Counts {
    values: u64,
    cancelled: u64,
    ends: u64,
    other: u64,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    run_if_worker_for::<Echo>();

    let Arguments { rounds } = Arguments::parse();
    let mut counts = Counts::default();
    for round in 0..rounds {
        // `Drain` finishes all tasks first, `Cancel` cancels those that have not ended.
        let how = match round % 2 {
            0 => Shutdown::Drain,
            _ => Shutdown::Cancel,
        };
        let moment = Duration::from_nanos(round.wrapping_mul(STEP) % LATEST);
        race(how, moment, &mut counts)?;
    }
    let Counts {
        values,
        cancelled,
        ends,
        other,
    } = counts;
    println!(
        "{rounds} rounds of {TASKS} tasks: {values} values, {cancelled} cancelled, {ends} ends, {other} anything else"
    );
    let is_exact = values + cancelled == rounds * TASKS && ends == rounds && other == 0;
    Ok(if is_exact {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs one round, with a shutdown at `moment` after the start of the reader.
fn race(how: Shutdown, moment: Duration, counts: &mut Counts) -> Result<(), Box<dyn Error>> {
    let pool = TypedPool::<Echo>::builder().workers(1).start()?;
    for number in 0..TASKS {
        pool.submit(Echo(number))?;
    }
    let (outcomes, report) = thread::scope(|scope| {
        let reader = scope.spawn(|| pool.drain().collect::<Vec<_>>());
        let start = Instant::now();
        while start.elapsed() < moment {
            std::hint::spin_loop();
        }
        let report = pool.shutdown(how, SHUTDOWN_LIMIT);
        (reader.join(), report)
    });
    match outcomes {
        Ok(outcomes) => {
            counts.ends += 1;
            for outcome in outcomes {
                match outcome.result {
                    Ok(number) if number == outcome.id.get() => counts.values += 1,
                    Err(TaskError::Cancelled) if how == Shutdown::Cancel => counts.cancelled += 1,
                    _ => counts.other += 1,
                }
            }
        }
        Err(_) => counts.other += 1, // the reader has panicked
    }
    if !report?.is_balanced() {
        counts.other += 1;
    }
    Ok(())
}
