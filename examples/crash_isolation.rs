//! Tasks that do the worst, among others that don't: each has its own outcome, and none costs another one's.
//!
//!     cargo run --release --example crash_isolation
//!
//! What would end any program that called it as a function, or hang it for ever, is one line of this one's output.

use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::process::{abort, exit};
use std::time::Duration;
use workring::workers::{Context, Pool, Shutdown, Task, run_if_worker};

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
    /// Until it is told to stop.
    Loop,
}

/// So much address space has a worker: enough for anything reasonable.
const MEMORY: u64 = 1 << 30;

impl Task for Deed {
    type Output = u64;
    type Error = String;

    fn run(self, context: &Context) -> Result<u64, String> {
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
                    eaten.push(vec![1_u8; 1 << 24]);
                }
            }
            Self::Loop => {
                while !context.is_cancelled() {
                    std::hint::spin_loop();
                }
                Err("told to stop".to_owned())
            }
        }
    }

    /// Runs in each worker, before its first task.
    fn prepare_worker() -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY)?)
    }
}

#[allow(unsafe_code, reason = "a fault is what this is about")]
fn segfault() -> ! {
    let nowhere = std::ptr::without_provenance_mut::<u8>(16);
    // SAFETY: it is not safe: nothing is mapped there, so the kernel ends this process, which nobody else shares.
    unsafe { nowhere.write_volatile(1) };
    unreachable!("the kernel lets nobody write there")
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

    let pool = Pool::<Deed>::builder().workers(2).start()?;
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

    endless.cancel();
    match endless.wait() {
        Ok(number) => println!("Loop: {number}"),
        Err(error) => println!("Loop: {error}"),
    }
    let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    println!("{report}");
    Ok(())
}
