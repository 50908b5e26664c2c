//! K1 to K3 and C8, in short: a few boundaries of every operation, at random, copies of the queue at every one, and of long
//! operations only the beginning, for a debug build does ten times the instructions. All of them: see `src/bin/stepkill.rs`.

use ipc_tests::support::LIMIT;
use ipc_tests::{
    guarded,
    rounds::{rounds, seed},
};
use std::process::Command;

const STEPKILL: &str = env!("CARGO_BIN_EXE_stepkill");

/// Nearly all of what most operations do in a debug build; a step costs some 20 microseconds.
const WITHIN: &str = "8000";

/// Runs the tool on `sample` boundaries of each operation, or on as many pairs; it must find nothing. What it says.
fn step(mode: &str, sample: u32) -> String {
    let (sample, seed) = (sample.to_string(), seed().to_string());
    let mut command = Command::new(STEPKILL);
    command.args(["--op", "all", "--mode", mode]);
    command.args(["--sample", &sample, "--seed", &seed]);
    command.args(["--within", WITHIN]);
    let output = command.output().expect("run stepkill");
    let said = String::from_utf8_lossy(&output.stdout);
    let last = said.lines().last().unwrap_or_default();
    assert!(
        output.status.success()
            && last.ends_with(" boundaries, 0 wedged, 0 lost, 0 duplicated, 0 leaked"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    said.into_owned()
}

#[test]
fn a_process_may_be_killed_at_any_instruction() {
    let sample = rounds(2, 50);
    guarded(LIMIT * sample, || {
        let said = step("kill", sample);
        let copies = said.lines().find(|line| line.starts_with("copies: "));
        let (boundaries, copies) = copies
            .and_then(|line| line.split_once(" boundaries, "))
            .expect("how many copies there were");
        let number = |text: &str| text.split(' ').find_map(|word| word.parse::<u64>().ok());
        // Every operation writes to the queue, and nearly all of its boundaries are looked at.
        assert!(number(copies) > Some(100), "{copies}");
        assert!(number(boundaries) > Some(100_000), "{boundaries}");
    });
}

#[test]
fn a_process_may_be_stopped_at_any_instruction() {
    let sample = rounds(2, 50);
    guarded(LIMIT * sample, || drop(step("stop", sample)));
}

#[test]
fn a_victim_and_its_recoverer_may_be_killed_at_any_instruction() {
    let pairs = rounds(10, 10_000);
    guarded(LIMIT * pairs, || drop(step("pairs", pairs)));
}

/// The exit code and the complaint of the tool with these arguments.
fn refused(arguments: &str) -> (Option<i32>, String) {
    let mut command = Command::new(STEPKILL);
    command.args(arguments.split_whitespace());
    let output = command.output().expect("run stepkill");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains(" 0 leaked"), "it has not run: {said}");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), complaint)
}

#[test]
fn a_run_that_would_try_nothing_is_refused() {
    guarded(LIMIT, || {
        for (arguments, why) in [
            (
                "--op send --mode kill --sample 0",
                "--sample 0 tries nothing",
            ),
            (
                "--op send --mode pairs --sample 0",
                "--sample 0 tries nothing",
            ),
            (
                "--op recover --mode pairs --sample 1",
                "recover cannot be the first of a pair",
            ),
        ] {
            let (code, complaint) = refused(arguments);
            assert_eq!(code, Some(2), "{arguments}: {complaint}");
            assert!(complaint.contains(why), "{arguments}: {complaint}");
        }
        // What exists, but not at this boundary.
        let mut command = Command::new(STEPKILL);
        command.args(["--op", "close", "--mode", "copy", "--at", "99999999"]);
        let output = command.output().expect("run stepkill");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    });
}
