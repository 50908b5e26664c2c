//! P5, P9 and P13 in a storm: workers of pools are killed at random moments, and so are the pools' parents. At the end each
//! task that a parent has accepted has one outcome, as far as that parent has lived to hear of it, the reports balance, and
//! nobody is left.
//!
//! The storm is a program of its own, `src/bin/storm.rs`, which says in its closing line what it has counted.

use ipc_tests::{
    guarded,
    rounds::{rounds, seed},
};
use std::{
    process::{Command, Stdio},
    time::Duration,
};

/// Runs a storm of this shape, for some seconds in short form.
fn storm(shape: &str) {
    let seconds = rounds(3, 200);
    // The storm has a watchdog of its own, which knows better what hangs.
    guarded(Duration::from_mins(20), || {
        let output = Command::new(env!("CARGO_BIN_EXE_storm"))
            .args(["--pool", "--seconds", &seconds.to_string()])
            .args(["--seed", &seed().to_string()])
            .args(shape.split_whitespace())
            .stderr(Stdio::inherit())
            .output()
            .expect("run a storm");
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}");
        assert!(output.status.success(), "{}: {text}", output.status);
        let line = text.lines().last().unwrap_or_default();
        for nothing in ["0 lost", "0 duplicated", "0 orphans"] {
            assert!(line.contains(&format!(", {nothing}")), "{line}");
        }
        for something in ["kills", "parents", "accepted", "completed"] {
            assert!(counted(line, something) > 0, "no {something}: {line}");
        }
    });
}

/// The number before a word of the closing line.
fn counted(line: &str, what: &str) -> u64 {
    let (_, items) = line.split_once(": ").expect("a closing line");
    let mut items = items.split(", ").filter_map(|item| item.split_once(' '));
    let item = items.find(|(_, name)| *name == what);
    item.and_then(|(number, _)| number.parse().ok())
        .expect("a number")
}

#[test]
fn workers_and_their_parents_are_killed() {
    storm("--workers 2 --kills-per-second 30");
}

#[test]
fn many_workers_are_killed_as_soon_as_they_come() {
    storm("--workers 4 --kills-per-second 200");
}
