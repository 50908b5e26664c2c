//! Tasks that do the worst, among others that don't: each has its own outcome, and none costs another one's.
//!
//!     cargo run --release --example crash_isolation
//!
//! What would end any program that called it as a function, or hang it for ever, is one line of this one's output.

use nix::sys::signal::{Signal, raise};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::process::{abort, exit};
use std::time::Duration;
use workring::pool::{Context, Pool, Shutdown, Task, run_if_worker};

/// Something to do, good or bad.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Deed {
    Square(u64),
    Fail,
    Panic,
    Exit,
    Abort,
    Segfault,
    OverflowTheStack,
    EatMemory,
    /// For ever, and deaf to whoever asks it to stop.
    Loop,
}

/// So much address space has a worker: enough for anything reasonable.
const MEMORY: u64 = 1 << 30;
/// So long may a task take.
const TIME: Duration = Duration::from_secs(2);

impl Task for Deed {
    type Output = u64;
    type Error = String;

    fn run(self, _: &Context) -> Result<u64, String> {
        match self {
            Self::Square(number) => Ok(number * number),
            Self::Fail => Err("I don't want to".to_owned()),
            Self::Panic => panic!("I can't"),
            Self::Exit => exit(3),
            Self::Abort => abort(),
            Self::Segfault => segfault(),
            Self::OverflowTheStack => Ok(bottomless(0)),
            Self::EatMemory => {
                let mut eaten = Vec::new();
                loop {
                    eaten.push(vec![0_u8; 1 << 24]);
                }
            }
            Self::Loop => loop {
                std::hint::spin_loop();
            },
        }
    }
}

/// As the kernel says it to a process that touches what is not there. Again and again: the first one is taken for a
/// stack overflow by the handler of Rust's own, which then steps aside.
fn segfault() -> ! {
    loop {
        raise(Signal::SIGSEGV).expect("a signal to this very process");
    }
}

fn bottomless(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    let frame = std::hint::black_box([depth; 512]);
    frame.iter().sum::<u64>() + bottomless(depth + 1)
}

fn main() -> Result<(), Box<dyn Error>> {
    run_if_worker::<Deed>();

    let builder = Pool::<Deed>::builder().workers(2);
    let pool = builder.time_limit(TIME).address_limit(MEMORY).start()?;
    // By now it runs, or is about to: and it keeps one of the two workers busy.
    let endless = pool.submit(Deed::Loop)?;

    let bad = [
        Deed::Fail,
        Deed::Panic,
        Deed::Exit,
        Deed::Abort,
        Deed::Segfault,
        Deed::OverflowTheStack,
        Deed::EatMemory,
    ];
    let mut handles = Vec::new();
    for (number, deed) in (1..).zip(bad) {
        for deed in [deed, Deed::Square(number)] {
            handles.push((deed, pool.submit(deed)?));
        }
    }
    for (deed, handle) in handles {
        match handle.wait() {
            Ok(number) => println!("{deed:?}: {number}"),
            Err(error) => println!("{deed:?}: {error}"),
        }
    }

    match endless.wait() {
        Ok(number) => println!("Loop: {number}"),
        Err(error) => println!("Loop: {error}"),
    }
    let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    println!("{report}");
    Ok(())
}
