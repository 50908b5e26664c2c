//! Goal: a process may be killed or stopped after any machine instruction of any operation (K1 to K3, C8).
//!
//! Method: `src/bin/stepkill.rs`, on few boundaries of each operation, chosen at random, and on copies of the queue at
//! every boundary. Of long operations it tries only the start, since a debug build executes ten times the instructions.

use ipc_tests::support::LIMIT;
use ipc_tests::{
    guarded,
    rounds::{rounds, seed},
};
use std::process::Command;

const STEPKILL: &str = env!("CARGO_BIN_EXE_stepkill");

/// Nearly all instructions of most operations in a debug build. A step takes some 20 microseconds.
const WITHIN: &str = "8000";

/// Runs the tool on `sample` boundaries of each operation, or on `sample` pairs. Panics if it finds anything; returns
/// its output.
fn step(mode: &str, sample: u32) -> String {
    let (sample, seed) = (sample.to_string(), seed().to_string());
    let mut command = Command::new(STEPKILL);
    command.args(["--op", "all", "--mode", mode]);
    command.args(["--sample", &sample, "--seed", &seed]);
    command.args(["--within", WITHIN]);
    let run = command.output().expect("run stepkill");
    let output = String::from_utf8_lossy(&run.stdout);
    let last = output.lines().last().unwrap_or_default();
    assert!(
        run.status.success()
            && last.ends_with(" boundaries, 0 wedged, 0 lost, 0 duplicated, 0 leaked"),
        "{output}{}",
        String::from_utf8_lossy(&run.stderr)
    );
    output.into_owned()
}

#[test]
fn a_process_may_be_killed_at_any_instruction() {
    let sample = rounds(2, 50);
    guarded(LIMIT * sample, || {
        let output = step("kill", sample);
        let copies = output.lines().find(|line| line.starts_with("copies: "));
        let (boundaries, copies) = copies
            .and_then(|line| line.split_once(" boundaries, "))
            .expect("the number of copies");
        let number = |text: &str| text.split(' ').find_map(|word| word.parse::<u64>().ok());
        // Every operation writes to the queue, and nearly every boundary has a copy to look at.
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

/// Returns the exit code and the error message of the tool, which has to refuse these options.
fn refused(options: &str) -> (Option<i32>, String) {
    let mut command = Command::new(STEPKILL);
    let run = command.args(options.split_whitespace()).output();
    let run = run.expect("run stepkill");
    let message = String::from_utf8_lossy(&run.stderr).into_owned();
    (run.status.code(), message)
}

#[test]
fn options_that_would_try_nothing_are_refused() {
    guarded(LIMIT, || {
        for (options, why) in [
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
            // An operation that exists, but has no such boundary.
            (
                "--op close --mode copy --at 99999999",
                "no boundary was tried",
            ),
        ] {
            let (code, message) = refused(options);
            assert_eq!(code, Some(2), "{options}: {message}");
            assert!(message.contains(why), "{options}: {message}");
        }
    });
}
