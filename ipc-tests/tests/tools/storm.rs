//! K4, K6 and W1 in a storm: processes that send, receive and lease are killed and stopped at random moments, and
//! others take their places. At the end every message is in exactly one place, but for those that a kill has left in
//! doubt, which are known by name; and all memory is free.
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

/// Runs a storm of this shape, for a second in short form. Nine of them, of 200 seconds each, are more than 10^5 kills.
fn storm(shape: &str) {
    storm_for(rounds(1, 200), shape);
}

fn storm_for(seconds: u32, shape: &str) {
    // The storm has a watchdog of its own, which knows better what hangs.
    guarded(Duration::from_mins(20), || {
        let output = Command::new(env!("CARGO_BIN_EXE_storm"))
            .args(["--seconds", &seconds.to_string()])
            .args(["--seed", &seed().to_string()])
            .args(shape.split_whitespace())
            .stderr(Stdio::inherit())
            .output()
            .expect("run a storm");
        let text = String::from_utf8_lossy(&output.stdout);
        println!("{text}");
        assert!(output.status.success(), "{}: {text}", output.status);
        let line = text.lines().last().unwrap_or_default();
        for nothing in ["0 lost", "0 duplicated", "0 leaked"] {
            assert!(line.contains(&format!(", {nothing}")), "{line}");
        }
        assert!(
            counted(line, "kills") > 0 && counted(line, "acknowledged") > 0,
            "{line}"
        );
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
fn one_sends_to_one() {
    storm("--senders 1 --receivers 1 --lessees 0 --kills-per-second 100");
}

#[test]
fn many_send_to_many() {
    storm("--senders 4 --receivers 3 --lessees 2 --kills-per-second 150 --stops-per-second 50");
}

#[test]
fn everybody_leases() {
    storm("--senders 2 --receivers 0 --lessees 3 --kills-per-second 100 --stops-per-second 20");
}

#[test]
fn messages_have_up_to_64_kib() {
    storm("--senders 2 --receivers 2 --lessees 1 --kills-per-second 100 --size 65536");
}

#[test]
fn messages_have_memory_that_comes_and_goes() {
    storm("--senders 2 --receivers 1 --lessees 1 --kills-per-second 100 --size large");
}

#[test]
fn the_queue_is_closed_in_the_middle() {
    storm(
        "--senders 3 --receivers 2 --lessees 2 --kills-per-second 150 --stops-per-second 20 --close-at 0.2",
    );
}

#[test]
fn messages_go_in_batches() {
    storm("--senders 3 --receivers 2 --lessees 1 --kills-per-second 100 --size 128 --batch 30");
}

#[test]
fn half_of_all_blocks_are_always_in_use() {
    storm("--senders 4 --receivers 1 --lessees 0 --kills-per-second 150 --size 64 --capacity 512");
}

#[test]
fn the_queue_is_always_full() {
    storm("--senders 4 --receivers 1 --lessees 0 --kills-per-second 150 --capacity 1");
}

/// Shorter slices would hide that a wake is missing: here it is a hang, which the storm's watchdog reports.
#[test]
fn nothing_but_wakes_ends_a_sleep() {
    storm_for(
        rounds(1, 60),
        "--senders 3 --receivers 1 --lessees 1 --kills-per-second 10 --capacity 4 --liveness-seconds 600",
    );
}

#[test]
fn nothing_but_wakes_ends_a_sleep_over_large_blocks() {
    storm_for(
        rounds(1, 60),
        "--senders 3 --receivers 1 --lessees 1 --kills-per-second 10 --size 65536 --liveness-seconds 600",
    );
}
