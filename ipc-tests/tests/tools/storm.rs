//! Goal: processes that send, receive and lease may be killed or stopped at any moment (K4, K6, W1). At the end each
//! message is in exactly one place, except the few that were in the hands of a killed process, which are known by name;
//! and no block is in use.
//!
//! Method: `src/bin/storm.rs` kills processes at random, starts others in their place, and counts.
//!
//! In the full form, each of the ten storms of [`storm`] has 12,000 kills: more than 10^5 together.

use crate::closing_line;
use ipc_tests::{
    guarded,
    rounds::{rounds, seed},
};
use std::time::Duration;

/// More than a storm takes. The program has a watchdog of its own, which reports what hangs.
const LIMIT: Duration = Duration::from_mins(30);
/// As many as two processors do, in the full form.
const KILLS_PER_SECOND: &str = "--kills-per-second 400";

/// Runs a storm of 12,000 kills, or of 100 in the short form.
fn storm(options: &str) {
    let (short, full) = (100, 12_000);
    guarded(LIMIT, || {
        let kills = rounds(short, full);
        let rate = if kills == full { KILLS_PER_SECOND } else { "" };
        run(kills, &format!("{options} {rate}"));
    });
}

/// Runs a storm over a queue whose liveness interval is ten minutes: a missing wake-up is a hang. Few processes are
/// killed, since each recovery wakes every process.
fn storm_without_liveness_checks(options: &str) {
    guarded(LIMIT, || {
        let kills = rounds(10, 600);
        run(
            kills,
            &format!("{options} --kills-per-second 10 --liveness-seconds 600"),
        );
    });
}

fn run(kills: u32, options: &str) {
    let (kills, seed) = (kills.to_string(), seed().to_string());
    let limit = LIMIT.as_secs().to_string();
    let mut arguments = vec!["--seed", &seed, "--seconds", &limit, "--kills", &kills];
    arguments.extend(options.split_whitespace());
    let line = closing_line::of_storm(&arguments);
    for nothing in ["lost", "duplicated", "leaked"] {
        assert_eq!(closing_line::count(&line, nothing), 0, "{line}");
    }
    let count = |word| closing_line::count(&line, word);
    assert!(count("kills") >= kills.parse().expect("a number"), "{line}");
    assert!(count("acknowledged") > 0, "{line}");
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
fn every_consumer_leases() {
    storm("--senders 2 --receivers 0 --lessees 3 --kills-per-second 100 --stops-per-second 20");
}

#[test]
fn messages_have_up_to_64_kib() {
    storm("--senders 2 --receivers 2 --lessees 1 --kills-per-second 100 --size 65536");
}

#[test]
fn memory_is_allocated_and_freed_for_each_message() {
    storm("--senders 2 --receivers 1 --lessees 1 --kills-per-second 100 --size large");
}

#[test]
fn the_queue_is_closed_under_load() {
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

#[test]
fn only_wake_ups_end_a_sleep() {
    storm_without_liveness_checks("--senders 3 --receivers 1 --lessees 1 --capacity 4");
}

#[test]
fn only_wake_ups_end_a_sleep_over_large_blocks() {
    storm_without_liveness_checks("--senders 3 --receivers 1 --lessees 1 --size 65536");
}

/// A wake-up that is lost with a dropped future, or with the last handle of a process, is a hang here: the queue is full after
/// one message.
#[test]
fn only_wake_ups_end_the_wait_of_a_future() {
    storm_without_liveness_checks(
        "--senders 3 --receivers 3 --lessees 0 --stops-per-second 20 --capacity 1 --futures all",
    );
}

#[test]
fn every_process_uses_futures() {
    storm(
        "--senders 3 --receivers 2 --lessees 2 --kills-per-second 150 --stops-per-second 50 --batch 8 --futures all",
    );
}
