//! Kills and stops processes that use a queue at random moments, replaces them, and accounts for every message.
//!
//! ```sh
//! cargo run --release -p ipc-tests --bin storm -- --seconds 60 --senders 4 --receivers 3 --lessees 3 \
//!     --kills-per-second 200
//! cargo run --release -p ipc-tests --bin storm -- --pool --seconds 60 --workers 3 --kills-per-second 100
//! ```
//!
//! | option               | meaning                                                         | default         |
//! | -------------------- | --------------------------------------------------------------- | --------------- |
//! | `--seconds`          | how long it lasts; the round that has begun by then is finished | 10              |
//! | `--kills`            | end earlier, after the round that reaches this number of kills  | no limit        |
//! | `--senders`          | processes that send                                             | 2               |
//! | `--receivers`        | processes that receive, which acknowledges                      | 1               |
//! | `--lessees`          | processes that lease, and acknowledge or return later           | 1               |
//! | `--kills-per-second` | SIGKILLs to a random one of them, which is replaced             | 100             |
//! | `--stops-per-second` | SIGSTOPs to a random one of them, which is resumed within 40 ms | 0               |
//! | `--size`             | length of the longest message in bytes, or `large`: 600,000     | 256             |
//! | `--batch`            | most messages that one call sends or receives                   | 1               |
//! | `--capacity`         | capacity of the queue                                           | 64              |
//! | `--futures`          | which of them use futures: `none`, `some` (half) or `all`       | `some`          |
//! | `--close-at`         | close each queue after this many seconds, under load            | after the kills |
//! | `--liveness-seconds` | liveness interval of each queue; see below                      | 1 to 10 ms      |
//! | `--seed`             | seed of the random choices                                      | random          |
//!
//! With `--liveness-seconds 600` nothing but a wake-up ends a sleep: no process looks for changes by itself, and none
//! uses a wait with a time limit. A missing wake-up is then a hang, which the watchdog reports.
//!
//! With `--pool` the storm is one over pools of workers instead of a queue; `storm/pool.rs` describes its options and
//! its output.
//!
//! **Output.** The last line counts what was done and what was found:
//!
//! ```text
//! storm: 102 kills, 31269 accepted, 31190 acknowledged, 15 dead letters, 64 queued, 22 uncertain, 0 lost,
//! 0 duplicated, 0 leaked
//! ```
//!
//! *Uncertain* messages were being sent or acknowledged by a process when it was killed; each of them may have been
//! sent or not, acknowledged or not, but is nowhere twice. *Leaked* counts blocks and peers that are left at the end.
//! Each violation is a line `violation: ...` before the last one, and the line after them has the options that repeat
//! the storm. The seed repeats the random choices, not what the kernel does.
//!
//! | exit code | meaning                                                |
//! | --------- | ------------------------------------------------------ |
//! | 0         | no violation                                           |
//! | 1         | violations                                             |
//! | 2         | the options are wrong                                  |
//! | SIGABRT   | something hung; the watchdog has reported every thread |
//!
//! | file            | content                                                            |
//! | --------------- | ------------------------------------------------------------------ |
//! | `config.rs`     | the options                                                        |
//! | `ids.rs`        | numbers of processes and of messages                               |
//! | `events.rs`     | what processes record in the ledger                                |
//! | `message.rs`    | messages that show their number and whether they are whole         |
//! | `child.rs`      | the processes that are killed                                      |
//! | `by_futures.rs` | those that use futures, and drop some                              |
//! | `outcome.rs`    | results of operations, of any kind of wait, as one type            |
//! | `children.rs`   | starts, kills, stops and reaps those processes                     |
//! | `round.rs`      | one queue from its beginning to its end                            |
//! | `accounting.rs` | checks, from the ledger, that each message is in exactly one place |
//! | `totals.rs`     | what is counted                                                    |
//! | `pool.rs`       | `--pool`: storms over pools                                        |

use crate::{config::Config, totals::Totals};
use ipc_tests::{guarded_here, watchdog::remark};
use std::{
    env,
    process::ExitCode,
    time::{Duration, Instant},
};

#[path = "storm/accounting.rs"]
mod accounting;
#[path = "storm/child.rs"]
mod child;
#[path = "storm/children.rs"]
mod children;
#[path = "storm/config.rs"]
mod config;
#[path = "storm/events.rs"]
mod events;
#[path = "storm/ids.rs"]
mod ids;
#[path = "storm/message.rs"]
mod message;
#[path = "storm/outcome.rs"]
mod outcome;
#[path = "storm/pool.rs"]
mod pool;
#[path = "storm/round.rs"]
mod round;
#[path = "storm/totals.rs"]
mod totals;

/// The first violations are printed; one usually causes others.
const MAX_PRINTED_VIOLATIONS: usize = 20;
/// The kills of a round last at most this long, because most checks take place at its end.
const MAX_ROUND: Duration = Duration::from_secs(1);
/// Time limit of the watchdog for one round. Generous: a benchmark may stop all processes of this machine for a minute.
const ROUND_LIMIT: Duration = Duration::from_mins(5);
/// The same with `--liveness-seconds`: less than the liveness interval, so that a missing wake-up exceeds it.
const LONG_LIVENESS_ROUND_LIMIT: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    pool::become_worker();
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(arguments) = arguments.strip_prefix(&["--pool".to_owned()]) {
        return pool::run(arguments);
    }
    if pool::run_as_parent(&arguments) || child::run_as_child(&arguments) {
        return ExitCode::SUCCESS;
    }
    let config = match Config::parse(&arguments) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}\n{}\n{}", config::USAGE, pool::USAGE);
            return ExitCode::from(2);
        }
    };
    let totals = storm(&config);
    for line in totals.violations().iter().take(MAX_PRINTED_VIOLATIONS) {
        println!("violation: {line}");
    }
    let is_sound = totals.violations().is_empty();
    if !is_sound {
        let seed = totals.seed;
        println!("to repeat it: storm {}", Config { seed, ..config });
    }
    println!("{totals}");
    if is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs rounds until the time is up, enough processes are killed, or a round has violations.
fn storm(config: &Config) -> Totals {
    remark(format!("storm {config}"));
    let end = Instant::now() + config.duration();
    let mut totals = Totals::default();
    for number in 0.. {
        let left = end.saturating_duration_since(Instant::now());
        let is_enough = left.is_zero() || config.kills.is_some_and(|kills| totals.kills >= kills);
        if number > 0 && is_enough || !totals.violations().is_empty() {
            break;
        }
        let seed = config.seed.wrapping_add(number);
        let limit = match config.liveness_seconds {
            Some(_) => LONG_LIVENESS_ROUND_LIMIT,
            None => ROUND_LIMIT,
        };
        guarded_here(limit, |_| {
            totals.add(round::run(config, seed, left.min(MAX_ROUND)));
        });
        totals.seed = seed;
    }
    totals
}
