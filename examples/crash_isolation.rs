//! Tasks that crash, exit, hang or use up memory, among tasks that do not.
//!
//!     cargo run --release --example crash_isolation
//!
//! Each bad task would end the program, or hang it, if it were a plain function call. Here each is one line of the
//! output, and every task between them has its result. Shows time limits and memory limits too.

use nix::sys::signal::{Signal, raise};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::process::{abort, exit};
use std::time::Duration;
use workring::pool::Shutdown;
use workring::{Context, Task, TypedPool, run_if_worker_for};

/// What a task does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Action {
    Square(u64),
    Fail,
    Panic,
    Exit,
    Abort,
    Segfault,
    OverflowTheStack,
    UseUpMemory,
    LoopForever,
}

/// The address space of a worker, in bytes: more than any good task needs.
const ADDRESS_LIMIT: u64 = 1 << 30;
/// How long a task may run.
const TIME_LIMIT: Duration = Duration::from_secs(2);

impl Task for Action {
    type Output = u64;
    type Error = String;

    fn run(self, _: &Context) -> Result<u64, String> {
        match self {
            Self::Square(number) => Ok(number * number),
            Self::Fail => Err("this task returns an error".to_owned()),
            Self::Panic => panic!("this task panics"),
            Self::Exit => exit(3),
            Self::Abort => abort(),
            Self::Segfault => segfault(),
            Self::OverflowTheStack => Ok(recurse(0)),
            Self::UseUpMemory => {
                let mut memory = Vec::new();
                loop {
                    memory.push(vec![0_u8; 1 << 24]);
                }
            }
            // Never checks whether it is cancelled.
            Self::LoopForever => loop {
                std::hint::spin_loop();
            },
        }
    }
}

/// Sends this process the signal that the kernel sends for an invalid access. The handler of Rust's standard library
/// ignores the first one, because it is no stack overflow, and removes itself; the second one kills.
fn segfault() -> ! {
    loop {
        raise(Signal::SIGSEGV).expect("a signal to this process");
    }
}

fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX {
        return 0;
    }
    let frame = std::hint::black_box([depth; 512]);
    frame.iter().sum::<u64>() + recurse(depth + 1)
}

fn main() -> Result<(), Box<dyn Error>> {
    run_if_worker_for::<Action>();

    let builder = TypedPool::<Action>::builder().workers(2);
    let builder = builder.time_limit(TIME_LIMIT).address_limit(ADDRESS_LIMIT);
    let pool = builder.start()?;
    // Keeps one of the two workers busy until its time limit. The other one runs the tasks below.
    let endless = pool.submit(Action::LoopForever)?;

    let bad = [
        Action::Fail,
        Action::Panic,
        Action::Exit,
        Action::Abort,
        Action::Segfault,
        Action::OverflowTheStack,
        Action::UseUpMemory,
    ];
    let mut handles = Vec::new();
    for (number, action) in (1..).zip(bad) {
        for action in [action, Action::Square(number)] {
            handles.push((action, pool.submit(action)?));
        }
    }
    handles.push((Action::LoopForever, endless));
    for (action, handle) in handles {
        match handle.wait() {
            Ok(number) => println!("{action:?}: {number}"),
            Err(error) => println!("{action:?}: {error}"),
        }
    }

    let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    println!("{report}");
    Ok(())
}
