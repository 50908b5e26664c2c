//! Starts of pools of registered tasks that fail, and programs that become workers in `main`.

use ipc_tests::{guarded, program, support::LIMIT};
use std::process::Command;
use workring::pool::{Pool, StartError};

/// Runs a program of `src/bin`, and returns what it prints.
fn printed(name: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(program(name));
    let output = command.envs(variables.iter().copied()).output();
    let output = output.expect("the program");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn two_tasks_of_one_name_are_an_error_that_names_both_places() {
    guarded(LIMIT, || {
        let lines = printed("twins", &[]);
        let [line] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert!(line.contains("registered as `twin`"), "{line}");
        for place in ["twins.rs:7:", "twins.rs:12:"] {
            assert!(line.contains(place), "{place} in {line}");
        }
    });
}

/// The workers of such a program start pools themselves, which all of their starts refuse.
#[test]
fn every_start_of_a_program_that_never_becomes_a_worker_fails_and_names_the_remedy() {
    guarded(LIMIT, || {
        let lines = printed("unhurried", &[("STARTS", "3")]);
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.contains("auto_worker!"))
                .count(),
            lines.len()
        );
        assert!(
            lines.iter().all(|line| line.contains("run_if_worker")),
            "{lines:?}"
        );
        // Three starts in each of two threads; a worker prints its own.
        assert!(lines.len() >= 6, "{lines:?}");
    });
}

#[test]
fn a_program_without_constructor_becomes_a_worker_in_main() {
    guarded(LIMIT, || {
        let lines = printed("unhurried", &[("BECOMES_WORKER", "1")]);
        assert_eq!(lines, ["Ok(2)", "Ok(2)"]);
    });
}

#[test]
fn a_worker_with_other_registered_tasks_is_refused() {
    guarded(LIMIT, || {
        let started = Pool::builder()
            .workers(1)
            .program(program("unhurried"))
            .env("BECOMES_WORKER", "1")
            .start();
        match started {
            Err(StartError::Mismatch {
                what, theirs, ours, ..
            }) => {
                assert_eq!(what, "list of registered tasks");
                assert!(theirs.contains("unhurried::unhurried"), "{theirs}");
                assert!(ours.contains("tasks::square"), "{ours}");
            }
            other => panic!("{other:?}"),
        }
    });
}
