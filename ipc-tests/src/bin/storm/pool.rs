//! A storm over pools: workers are killed at random moments, and so are the parents of whole pools; at the end every task
//! that a parent had accepted has one outcome, as far as the parent has lived to hear of it.
//!
//! ```sh
//! cargo run --release -p ipc-tests --bin storm -- --pool --seconds 60 --workers 3 --kills-per-second 100
//! ```
//!
//! | file             | what it is about                                                       |
//! |------------------|------------------------------------------------------------------------|
//! | `pool.rs`        | the arguments, and what was counted                                    |
//! | `pool/parent.rs` | what a parent does that is killed, and its workers                     |
//! | `pool/life.rs`   | the life of one parent: who kills it and its workers, and clears up    |
//! | `pool/books.rs`  | whether it adds up                                                     |

use ipc_tests::{guarded_here, rounds::Rng, watchdog::remark};
use std::{
    fmt::{self, Display},
    process::ExitCode,
    time::{Duration, Instant},
};

#[path = "pool/books.rs"]
mod books;
#[path = "pool/life.rs"]
mod life;
#[path = "pool/parent.rs"]
mod parent;

pub(crate) use parent::{become_worker, play};

pub(crate) const USAGE: &str =
    "storm --pool --seconds N --workers N --kills-per-second N [--seed N]";

/// For one parent and its end. Generous: somebody who measures may stop everything for a minute.
const LIMIT: Duration = Duration::from_mins(5);
/// So many violations are told; one mostly draws others after it.
const SHOWN: usize = 20;

/// How many of what, for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    seconds: f64,
    workers: u32,
    kills_per_second: f64,
    seed: u64,
}

impl Shape {
    /// Reads `--name value` pairs.
    fn read(arguments: &[String]) -> Result<Self, String> {
        let mut shape = Self {
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
            let read = match name.as_str() {
                "--seconds" => value.parse().map(|it| shape.seconds = it).is_ok(),
                "--workers" => value.parse().map(|it| shape.workers = it).is_ok(),
                "--kills-per-second" => value.parse().map(|it| shape.kills_per_second = it).is_ok(),
                "--seed" => value.parse().map(|it| shape.seed = it).is_ok(),
                _ => return Err(format!("a storm over pools has no {name}")),
            };
            if !read {
                return Err(format!("{name} {value}: not such a number"));
            }
        }
        if !(0.0..1e6).contains(&shape.seconds) || !(0.1..1e6).contains(&shape.kills_per_second) {
            return Err("times are from 0, and rates from 0.1, to a million".to_owned());
        }
        Ok(shape)
    }
}

impl Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "--pool --seconds {} --workers {} --kills-per-second {} --seed {}",
            self.seconds, self.workers, self.kills_per_second, self.seed
        )
    }
}

/// What was counted, and what was wrong.
#[derive(Debug, Default)]
struct Totals {
    kills: u64,
    parents: u64,
    /// Killed in the middle.
    parents_killed: u64,
    /// Pools that did not come to be, because their workers were killed as fast as they were started.
    stillborn: u64,
    accepted: u64,
    completed: u64,
    /// Their workers were killed, as often as they were tried.
    crashed: u64,
    cancelled: u64,
    /// Accepted by a parent that was killed before it had heard of them, or before it could note that it had.
    abandoned: u64,
    lost: u64,
    duplicated: u64,
    orphans: u64,
    violations: Vec<String>,
}

impl Totals {
    fn add(&mut self, one: Self) {
        self.kills += one.kills;
        self.parents += one.parents;
        self.parents_killed += one.parents_killed;
        self.stillborn += one.stillborn;
        self.accepted += one.accepted;
        self.completed += one.completed;
        self.crashed += one.crashed;
        self.cancelled += one.cancelled;
        self.abandoned += one.abandoned;
        self.lost += one.lost;
        self.duplicated += one.duplicated;
        self.orphans += one.orphans;
        self.violations.extend(one.violations);
    }
}

impl Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "storm: {} kills, {} parents, {} parents killed, {} stillborn, {} accepted, {} completed, {} crashed, \
             {} cancelled, {} abandoned, {} lost, {} duplicated, {} orphans",
            self.kills,
            self.parents,
            self.parents_killed,
            self.stillborn,
            self.accepted,
            self.completed,
            self.crashed,
            self.cancelled,
            self.abandoned,
            self.lost,
            self.duplicated,
            self.orphans
        )
    }
}

/// Runs a storm of the shape that these arguments name.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let shape = match Shape::read(arguments) {
        Ok(shape) => shape,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let totals = storm(&shape);
    for line in totals.violations.iter().take(SHOWN) {
        println!("violation: {line}");
    }
    let balanced = totals.violations.is_empty();
    if !balanced {
        println!("to repeat it: storm {shape}");
    }
    println!("{totals}");
    if balanced {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One parent after the other, until the time is up.
fn storm(shape: &Shape) -> Totals {
    remark(format!("storm {shape}"));
    let end = Instant::now() + Duration::from_secs_f64(shape.seconds);
    let mut rng = Rng::with_seed(shape.seed);
    let mut totals = Totals::default();
    while totals.parents == 0 || totals.violations.is_empty() && Instant::now() < end {
        guarded_here(LIMIT, |_| totals.add(life::live(shape, rng.fork())));
    }
    totals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_that_was_printed_is_read_again() {
        let text = "--seconds 1.5 --workers 3 --kills-per-second 7 --seed 9";
        let arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
        let shape = Shape::read(&arguments).expect("a shape");
        assert_eq!((shape.workers, shape.seed), (3, 9));
        assert_eq!(shape.to_string(), format!("--pool {text}"));
        for nonsense in ["--seconds", "--workers two", "--senders 3", "--seconds -1"] {
            let arguments: Vec<String> = nonsense.split(' ').map(str::to_owned).collect();
            assert!(Shape::read(&arguments).is_err(), "{nonsense}");
        }
    }
}
