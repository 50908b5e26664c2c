//! The smallest pool: numbers go in, and worker processes compute their squares.
//!
//!     cargo run --release --example squares
//!
//! Shows the three parts of every program with a pool: a function that is a task, the line that lets workers begin, and a
//! pool that tasks are submitted to. The last task fails, which costs the others nothing.

use std::error::Error;
use std::time::Duration;
use workring::Failure;
use workring::pool::{Pool, Shutdown};

// The workers are this program, started again. A worker begins here, and never gets to `main`.
workring::auto_worker!();

/// A task: `square::new(3)` is a value that can be sent to another process, which calls `square(3)`.
#[workring::task]
fn square(n: u64) -> Result<u64, Failure> {
    let square = n.checked_mul(n);
    square.ok_or_else(|| Failure::new(format!("the square of {n} is too large")))
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::start(2)?;

    // A handle has the type of its task's output.
    let handle = pool.submit(square::new(12))?;
    println!("twelve squared: {}", handle.wait()?);

    // Without handles, the outcomes come in the order in which the tasks end.
    for number in [3, 4, 5, u64::MAX] {
        pool.submit(square::new(number))?;
    }
    for outcome in pool.drain() {
        // Other tasks of this pool may have other outputs.
        if let Ok(outcome) = outcome.downcast::<square>() {
            match outcome.result {
                Ok(square) => println!("task {}: {square}", outcome.id),
                Err(error) => println!("task {}: {error}", outcome.id),
            }
        }
    }
    // `Drain` finishes the tasks that are left, within ten seconds. The report accounts for every task and worker.
    let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    println!("{report}");
    Ok(())
}
