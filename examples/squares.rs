//! The smallest pool: numbers go in, their squares come out, computed by other processes.
//!
//!     cargo run --release --example squares

use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::Duration;
use workring::pool::{Context, Pool, Shutdown, Task, run_if_worker};

/// A number to be squared.
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
    // The workers are this program, run again: they go no further than this line.
    run_if_worker::<Square>();

    let pool = Pool::<Square>::builder().start()?;
    for number in [3, 4, 5, u64::MAX] {
        pool.submit(Square(number))?;
    }
    for outcome in pool.drain() {
        match outcome.result {
            Ok(square) => println!("task {}: {square}", outcome.id),
            Err(error) => println!("task {}: {error}", outcome.id),
        }
    }
    println!(
        "{}",
        pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?
    );
    Ok(())
}
