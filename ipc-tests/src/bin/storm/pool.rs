//! `storm --pool`: kills workers at random moments, and the parents of whole pools, and accounts for every task.
//!
//! ```sh
//! cargo run --release -p ipc-tests --bin storm -- --pool --seconds 60 --workers 3 --kills-per-second 100
//! ```
//!
//! | option               | meaning                                                         | default |
//! | -------------------- | --------------------------------------------------------------- | ------- |
//! | `--seconds`          | how long it lasts; the round that has begun by then is finished | 10      |
//! | `--workers`          | workers of each pool                                            | 2       |
//! | `--kills-per-second` | SIGKILLs to a random worker                                     | 50      |
//! | `--seed`             | seed of the random choices                                      | random  |
//!
//! Each round has a parent of its own, which starts a pool, and submits tasks until it is killed or shuts the pool
//! down.
//!
//! **Output.** The last line counts what was done and what was found; lines and exit codes are as those of a storm over
//! a queue:
//!
//! ```text
//! storm: 45 kills, 8 parents, 4 parents killed, 0 never started, 580 accepted, 535 completed, 0 crashed,
//! 34 cancelled, 11 abandoned, 0 lost, 0 duplicated, 0 orphans
//! ```
//!
//! *Abandoned* tasks were accepted by a parent that was killed before it recorded their outcome. *Orphans* are
//! processes that live a minute longer than their parent.
//!
//! | file                 | content                                                   |
//! | -------------------- | --------------------------------------------------------- |
//! | `pool.rs`            | runs rounds, and prints what they have found              |
//! | `pool/config.rs`     | the options                                               |
//! | `pool/totals.rs`     | what is counted                                           |
//! | `pool/events.rs`     | what processes record in the ledger                       |
//! | `pool/report.rs`     | the numbers of a pool's report, as the parent prints them |
//! | `pool/parent.rs`     | the parent of a pool, and its workers                     |
//! | `pool/round.rs`      | one parent: starts it, kills its workers and ends it      |
//! | `pool/accounting.rs` | checks, from the ledger, that each task has one outcome   |

use ipc_tests::{guarded_here, rounds::Rng, watchdog::remark};
use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

#[path = "pool/accounting.rs"]
mod accounting;
#[path = "pool/config.rs"]
mod config;
#[path = "pool/events.rs"]
mod events;
#[path = "pool/parent.rs"]
mod parent;
#[path = "pool/report.rs"]
mod report;
#[path = "pool/round.rs"]
mod round;
#[path = "pool/totals.rs"]
mod totals;

pub(crate) use config::USAGE;
pub(crate) use parent::{become_worker, run_as_parent};

use config::Config;
use totals::Totals;

/// Time limit of the watchdog for one round. Generous: a benchmark may stop all processes of this machine for a minute.
const ROUND_LIMIT: Duration = Duration::from_mins(5);
/// The first violations are printed; one usually causes others.
const MAX_PRINTED_VIOLATIONS: usize = 20;

/// Runs a storm with these options, and prints what it has found.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let config = match Config::parse(arguments) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let totals = storm(&config);
    for line in totals.violations.iter().take(MAX_PRINTED_VIOLATIONS) {
        println!("violation: {line}");
    }
    let is_sound = totals.violations.is_empty();
    if !is_sound {
        println!("to repeat it: storm {config}");
    }
    println!("{totals}");
    if is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs rounds until the time is up, or one has violations.
fn storm(config: &Config) -> Totals {
    remark(format!("storm {config}"));
    let end = Instant::now() + Duration::from_secs_f64(config.seconds);
    let mut rng = Rng::with_seed(config.seed);
    let mut totals = Totals::default();
    while totals.parents == 0 || totals.violations.is_empty() && Instant::now() < end {
        guarded_here(ROUND_LIMIT, |_| {
            totals.add(round::run(config, rng.fork()));
        });
    }
    totals
}
