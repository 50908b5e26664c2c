//! Goal: the examples run as their first lines say, and show what they are there to show.
//!
//! Method: run a short form of each to its end, and look at what it prints. A watchdog kills what hangs: its workers
//! end with it. `digest` has tests of its own.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

const TIME_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Run an example to its end, which has to be a good one: what it prints.
fn run(example: &str, arguments: &str) -> String {
    let output = output(example, arguments);
    assert!(output.status.success(), "{example} {arguments}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn output(example: &str, arguments: &str) -> Output {
    let test = std::env::current_exe().expect("this test's path");
    let target = test.parent().and_then(Path::parent).expect("target/debug");
    let program = target.join("examples").join(example);
    assert!(
        program.exists(),
        "{} is missing: `cargo test` builds it; before `cargo test --test examples`, do `cargo build --examples`",
        program.display()
    );
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    command.stdin(Stdio::null());
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = child.expect("the example");
    let pid = Pid::from_raw(child.id().try_into().expect("process ids are positive"));
    let (done, is_done) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if is_done.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout) {
                let _ = kill(pid, Signal::SIGKILL);
            }
        });
        let output = child.wait_with_output().expect("a child");
        drop(done);
        output
    })
}

/// The number before these words.
fn counted(line: &str, words: &str) -> u64 {
    let (before, _) = line.split_once(words).expect(words);
    let number = before.split_whitespace().next_back().expect("a number");
    number.parse().expect("a number")
}

#[test]
fn squares_arrive_and_an_error_costs_no_other_task() {
    let text = run("squares", "");
    for line in ["task 0: 9", "task 1: 16", "task 2: 25"] {
        assert!(text.lines().any(|printed| printed == line), "{text}");
    }
    assert!(
        text.contains("task 3: the task failed: the square of"),
        "{text}"
    );
    assert!(
        text.contains("4 tasks submitted = 3 completed + 1 failed"),
        "{text}"
    );
}

#[test]
fn a_reader_of_results_meets_only_values_and_the_end() {
    let text = run("shutdown_race", "--rounds 100");
    let line = text.lines().last().expect("a closing line");
    assert!(line.starts_with("100 rounds of 16 tasks: "), "{line}");
    assert_eq!(counted(line, " ends"), 100, "{line}");
    assert_eq!(
        counted(line, " values") + counted(line, " cancelled"),
        1600,
        "{line}"
    );
    // Half of the rounds finish what was submitted.
    assert!(counted(line, " values") >= 800, "{line}");
    assert!(line.ends_with(", 0 anything else"), "{line}");
}

#[test]
fn each_task_that_does_the_worst_has_its_own_outcome_and_costs_no_other() {
    let text = run("crash_isolation", "");
    let said = |deed: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(deed)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {deed}: {text}"))
    };
    for number in 1..=7_u64 {
        assert_eq!(
            said(&format!("Square({number})")),
            (number * number).to_string()
        );
    }
    for (deed, outcome) in [
        ("Fail", "I don't want to"),
        ("Panic", "crash_isolation.rs:"),
        ("Exit", "exit status: 3"),
        ("Abort", "SIGABRT"),
        ("Segfault", "SIGSEGV"),
        ("OverflowTheStack", "SIGABRT"),
        ("EatMemory", "died: signal"),
        ("Loop", "ran for longer"),
    ] {
        assert!(said(deed).contains(outcome), "{deed}: {}", said(deed));
    }
    let report = text.lines().last().expect("a report");
    assert!(
        report.starts_with("15 tasks submitted = 7 completed + 2 failed + 1 timed out"),
        "{report}"
    );
    assert_eq!(
        (counted(report, " died"), counted(report, " killed")),
        (5, 1),
        "{report}"
    );
}

/// Downstream: every batch comes out, in order.
#[test]
fn the_end_of_the_input_travels_down_a_pipeline() {
    let text = run("pipeline", "--batches 50");
    assert_eq!(text.lines().count(), 50, "{text}");
    for (number, line) in text.lines().enumerate() {
        assert!(
            line.starts_with(&format!("batch {number}: 1000 numbers, median ")),
            "{line}"
        );
    }
}

/// Upstream: the stages before it end though their input would go on for ever, and say so.
#[test]
fn the_end_of_the_reader_travels_up_a_pipeline() {
    let whole = run("pipeline", "--batches 50");
    let output = output("pipeline", "--batches 1000000000000 --first 5");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.lines().eq(whole.lines().take(5)), "{text}");
    let words = String::from_utf8(output.stderr).expect("text");
    for stage in ["make: ", "sort: ", "sum up: "] {
        let report = words.lines().find(|line| line.starts_with(stage));
        let report = report.unwrap_or_else(|| panic!("no {stage}: {words}"));
        assert_eq!(
            (counted(report, " lost"), counted(report, " killed")),
            (0, 0),
            "{report}"
        );
    }
}
