//! A reader of results against the shutdown of what it reads from: the race that this crate was written for.
//!
//!     cargo run --release --example shutdown_race -- --rounds 100000
//!
//! Each round makes a pool, hands in some tasks, and has one thread read their outcomes while another one shuts the
//! pool down: now before the reader has come to read, now while it waits, now when it has nearly done. Whoever wins,
//! the reader must meet nothing but values and then the end: an output for each task that was done, `Cancelled` for
//! each that was not, and no third thing.

use clap::Parser;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use workring::pool::{Context, Pool, Shutdown, Task, TaskError, run_if_worker};

/// Race a reader of results against a shutdown.
#[derive(Parser)]
struct Arguments {
    /// How many times
    #[arg(long, default_value_t = 1000)]
    rounds: u64,
}

/// A task that gives back what it is.
#[derive(Serialize, Deserialize)]
struct Echo(u64);

impl Task for Echo {
    type Output = u64;
    type Error = String;

    fn run(self, _: &Context) -> Result<u64, String> {
        Ok(self.0)
    }
}

const TASKS: u64 = 16;
/// Longer than any round needs.
const LIMIT: Duration = Duration::from_secs(30);
/// The shutdown comes so long after the reader's start, at the most: by then it has read everything.
const LATEST: u64 = 400_000;
/// From one round to the next, in nanoseconds: in steps of a prime number, so that all moments have their turn.
const STEP: u64 = 7919;

/// What readers have met.
#[derive(Default)]
struct Met {
    values: u64,
    cancelled: u64,
    ends: u64,
    other: u64,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    run_if_worker::<Echo>();

    let Arguments { rounds } = Arguments::parse();
    let mut met = Met::default();
    for round in 0..rounds {
        // Every other time what is in flight is finished first, and then the reader gets everything.
        let how = match round % 2 {
            0 => Shutdown::Drain,
            _ => Shutdown::Cancel,
        };
        let moment = Duration::from_nanos(round.wrapping_mul(STEP) % LATEST);
        race(how, moment, &mut met)?;
    }
    let Met {
        values,
        cancelled,
        ends,
        other,
    } = met;
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

fn race(how: Shutdown, moment: Duration, met: &mut Met) -> Result<(), Box<dyn Error>> {
    let pool = Pool::<Echo>::builder().workers(1).start()?;
    for number in 0..TASKS {
        pool.submit(Echo(number))?;
    }
    let (outcomes, report) = thread::scope(|scope| {
        let reader = scope.spawn(|| pool.drain().collect::<Vec<_>>());
        let began = Instant::now();
        while began.elapsed() < moment {
            std::hint::spin_loop();
        }
        let report = pool.shutdown(how, LIMIT);
        (reader.join(), report)
    });
    match outcomes {
        Ok(outcomes) => {
            met.ends += 1;
            for outcome in outcomes {
                match outcome.result {
                    Ok(number) if number == outcome.id.get() => met.values += 1,
                    Err(TaskError::Cancelled) if how == Shutdown::Cancel => met.cancelled += 1,
                    _ => met.other += 1,
                }
            }
        }
        Err(_) => met.other += 1, // the reader has panicked
    }
    if !report?.is_balanced() {
        met.other += 1;
    }
    Ok(())
}
