//! A storm: processes that send, receive and lease are killed and stopped at random moments, and others take their
//! places; at the end every message has to be in exactly one place.
//!
//! ```sh
//! cargo run --release -p ipc-tests --bin storm -- --seconds 60 --senders 4 --receivers 3 --lessees 3 --kills-per-second 200
//! ```
//!
//! | file          | what it is about                                                     |
//! |---------------|----------------------------------------------------------------------|
//! | `shape.rs`    | the arguments: how many of what, for how long                        |
//! | `message.rs`  | messages that show their number, and where it is noted who has them  |
//! | `children.rs` | what the processes do that are killed                                |
//! | `parent.rs`   | who kills them, replaces them, and clears up                         |
//! | `books.rs`    | whether it adds up                                                   |
//! | `pool.rs`     | `--pool`: the same over pools of workers                             |
//!
//! With `--slice-seconds 600` no slice hides that a wake is missing, and no process gives up a wait: who is not woken sleeps
//! on, and the watchdog reports it.
//!
//! Whatever is random comes from the seed, which is printed; but what the kernel does meanwhile is not repeated.

use crate::shape::Shape;
use std::{env, process::ExitCode};

#[path = "storm/books.rs"]
mod books;
#[path = "storm/children.rs"]
mod children;
#[path = "storm/message.rs"]
mod message;
#[path = "storm/parent.rs"]
mod parent;
#[path = "storm/pool.rs"]
mod pool;
#[path = "storm/shape.rs"]
mod shape;

/// So many violations are told; one mostly draws others after it.
const SHOWN: usize = 20;

fn main() -> ExitCode {
    pool::become_worker();
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(arguments) = arguments.strip_prefix(&["--pool".to_owned()]) {
        return pool::run(arguments);
    }
    if pool::play(&arguments) || children::play(&arguments) {
        return ExitCode::SUCCESS;
    }
    let shape = match Shape::read(&arguments) {
        Ok(shape) => shape,
        Err(error) => {
            eprintln!("{error}\n{}\n{}", shape::USAGE, pool::USAGE);
            return ExitCode::from(2);
        }
    };
    let totals = parent::storm(&shape);
    for line in totals.violations().iter().take(SHOWN) {
        println!("violation: {line}");
    }
    let balanced = totals.violations().is_empty();
    if !balanced {
        let seed = totals.seed;
        println!("to repeat it: storm {}", Shape { seed, ..shape });
    }
    println!("{totals}");
    if balanced {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
