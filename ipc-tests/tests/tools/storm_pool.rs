//! Goal: the workers of pools, and the processes that own pools, may be killed at any moment (P5, P9, P13). At the end
//! each accepted task has exactly one outcome, as far as its pool lived to receive it; reports add up; and no process
//! is left.
//!
//! Method: `src/bin/storm.rs --pool` kills processes at random, starts others in their place, and counts.

use crate::closing_line;
use ipc_tests::{
    guarded,
    rounds::{rounds, seed},
};
use std::time::Duration;

/// More than a storm takes. The program has a watchdog of its own, which reports what hangs.
const LIMIT: Duration = Duration::from_mins(20);

/// Runs a storm. These counts must not be 0 at its end.
fn storm(options: &str, must_happen: &[&str]) {
    guarded(LIMIT, || {
        let (seconds, seed) = (rounds(3, 200).to_string(), seed().to_string());
        let mut arguments = vec!["--pool", "--seed", &seed, "--seconds", &seconds];
        arguments.extend(options.split_whitespace());
        let line = closing_line::of_storm(&arguments);
        for nothing in ["lost", "duplicated", "orphans"] {
            assert_eq!(closing_line::count(&line, nothing), 0, "{line}");
        }
        for something in must_happen {
            assert!(closing_line::count(&line, something) > 0, "{line}");
        }
    });
}

#[test]
fn workers_and_their_parents_are_killed() {
    storm(
        "--workers 2 --kills-per-second 30",
        &["kills", "parents", "accepted", "completed"],
    );
}

#[test]
fn workers_are_killed_faster_than_they_start() {
    // On a slow machine no pool lives until its workers are ready, so there may be no task.
    storm("--workers 4 --kills-per-second 200", &["kills", "parents"]);
}
