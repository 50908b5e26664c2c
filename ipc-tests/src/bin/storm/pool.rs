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
//! | `pool.rs`            | the options, and what is counted                          |
//! | `pool/events.rs`     | what processes record in the ledger                       |
//! | `pool/report.rs`     | the numbers of a pool's report, as the parent prints them |
//! | `pool/parent.rs`     | the parent of a pool, and its workers                     |
//! | `pool/round.rs`      | one parent: starts it, kills its workers and ends it      |
//! | `pool/accounting.rs` | checks, from the ledger, that each task has one outcome   |

use ipc_tests::{guarded_here, rounds::Rng, watchdog::remark};
use std::{
    fmt::{self, Display},
    process::ExitCode,
    time::{Duration, Instant},
};

#[path = "pool/accounting.rs"]
mod accounting;
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

pub(crate) use parent::{become_worker, run_as_parent};

use totals::Totals;

pub(crate) const USAGE: &str =
    "storm --pool --seconds N --workers N --kills-per-second N [--seed N]";

/// Time limit of the watchdog for one round. Generous: a benchmark may stop all processes of this machine for a minute.
const ROUND_LIMIT: Duration = Duration::from_mins(5);
/// The first violations are printed; one usually causes others.
const MAX_PRINTED_VIOLATIONS: usize = 20;

/// The options.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Config {
    seconds: f64,
    workers: u32,
    kills_per_second: f64,
    seed: u64,
}

impl Config {
    /// Reads `--name value` pairs.
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut config = Self {
            seconds: 10.0,
            workers: 2,
            kills_per_second: 50.0,
            seed: fastrand::u64(..),
        };
        let (pairs, rest) = arguments.as_chunks::<2>();
        if let [name] = rest {
            return Err(format!("{name} has no value"));
        }
        for [name, value] in pairs {
            let is_number = match name.as_str() {
                "--seconds" => value.parse().map(|it| config.seconds = it).is_ok(),
                "--workers" => value.parse().map(|it| config.workers = it).is_ok(),
                "--kills-per-second" => {
                    let number = value.parse();
                    number.map(|it| config.kills_per_second = it).is_ok()
                }
                "--seed" => value.parse().map(|it| config.seed = it).is_ok(),
                _ => return Err(format!("a storm over pools has no option {name}")),
            };
            if !is_number {
                return Err(format!("{name} {value}: not such a number"));
            }
        }
        if !(0.0..1e6).contains(&config.seconds) || !(0.1..1e6).contains(&config.kills_per_second) {
            return Err("times are from 0, and rates from 0.1, to a million".to_owned());
        }
        Ok(config)
    }
}

impl Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--pool --seconds {} --workers {} --kills-per-second {} --seed {}",
            self.seconds, self.workers, self.kills_per_second, self.seed
        )
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_options_are_parsed_to_the_same_config() {
        let text = "--seconds 1.5 --workers 3 --kills-per-second 7 --seed 9";
        let arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let config = Config::parse(&arguments).expect("valid options");
        assert_eq!((config.workers, config.seed), (3, 9));
        assert_eq!(config.to_string(), format!("--pool {text}"));
    }

    #[test]
    fn invalid_options_are_errors() {
        for invalid in ["--seconds", "--workers two", "--senders 3", "--seconds -1"] {
            let arguments: Vec<String> = invalid.split(' ').map(str::to_owned).collect();
            assert!(Config::parse(&arguments).is_err(), "{invalid}");
        }
    }
}
