//! The smallest pool: numbers go in, and worker processes compute their squares.
//!
//!     cargo run --release --example squares
//!
//! Shows the three parts of every program with a pool: a type of task, the call of `run_if_worker` at the start of
//! `main`, and a pool that tasks are submitted to. The last task fails, which costs the others nothing.

use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::Duration;
use workring::pool::Shutdown;
use workring::{Context, Task, TypedPool, run_if_worker_for};

/// A task is a value that can be sent to another process, with the code to run there.
#[derive(Serialize, Deserialize)]
struct Square(u64);

impl Task for Square {
    type Output = u64;
    type Error = String;

    fn run(self, _: &Context) -> Result<u64, String> {
        let square = self.0.checked_mul(self.0);
        square.ok_or_else(|| format!("the square of {} is too large", self.0))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // The workers are this program, started again. In a worker, this call runs tasks and does not return.
    run_if_worker_for::<Square>();

    // One worker for each processor core, by default.
    let pool = TypedPool::<Square>::builder().start()?;
    for number in [3, 4, 5, u64::MAX] {
        pool.submit(Square(number))?;
    }
    // The outcomes come in the order in which the tasks end.
    for outcome in pool.drain() {
        match outcome.result {
            Ok(square) => println!("task {}: {square}", outcome.id),
            Err(error) => println!("task {}: {error}", outcome.id),
        }
    }
    // `Drain` finishes the tasks that are left, within ten seconds. The report accounts for every task and worker.
    let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    println!("{report}");
    Ok(())
}
