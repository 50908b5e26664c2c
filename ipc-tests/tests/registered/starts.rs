//! Starts of pools of registered tasks that fail, and programs that become workers in `main`.

use ipc_tests::{guarded, ledger::Scratch, program, support::LIMIT};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};
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

/// Initialisers of a program run one after the other, and a worker that begins before `main` begins in one of them. The second one is
/// a global object in C++, if there is a compiler.
#[test]
fn initialisers_that_a_worker_before_main_may_lack_have_run_in_one_that_begins_in_main() {
    guarded(LIMIT, || {
        if !cfg!(has_cpp) {
            eprintln!("SKIPPED: the global object in C++; there is no c++");
        }
        let before_main = if cfg!(has_cpp) { 0 } else { 42 };
        let before_main = format!("Rust: false, C++: {before_main}");
        let all = "Rust: true, C++: 42";
        assert_eq!(printed("initialisers", &[]), [all, &before_main, all]);
    });
}

/// In a thread of a task, before `main`, there is no message: see `auto_worker!`.
#[test]
fn a_stack_overflow_is_reported_whether_a_worker_begins_before_main_or_in_it() {
    guarded(LIMIT, || {
        let output = Command::new(program("overflowing")).output();
        let output = output.expect("the program");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        let ends: Vec<&str> = text.lines().collect();
        let signals = ["SIGABRT", "SIGSEGV", "SIGSEGV", "SIGABRT"];
        assert_eq!(ends.len(), signals.len(), "{text}");
        for (end, signal) in ends.iter().zip(signals) {
            assert!(end.contains(signal), "{signal}: {text}");
        }
        let printed = String::from_utf8(output.stderr).expect("text");
        for message in [
            "thread 'main'",
            "has overflowed its stack",
            "stack overflow, aborting",
        ] {
            assert_eq!(printed.matches(message).count(), 2, "{message}: {printed}");
        }
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

/// Runs `order` with files that are links to these programs, and returns what it prints. Not with copies: a file that was
/// open for writing, perhaps also in a child forked by another thread, cannot be executed.
fn ordered(programs: &[&str]) -> Vec<String> {
    let folder = Scratch::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let link = |(number, name): (usize, &&str)| {
        let path = folder.path().join(format!("{number}"));
        fs::hard_link(program(name), &path).expect("the same file system");
        path
    };
    let links: Vec<PathBuf> = programs.iter().enumerate().map(link).collect();
    let output = Command::new(program("order")).args(&links).output();
    let output = output.expect("the program");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// Asserts that a text names the arguments of both builds.
fn names_both(text: &str) {
    for arguments in [
        "order: (item: u32, count: u32)",
        "order: (count: u32, item: u32)",
    ] {
        assert!(text.contains(arguments), "{arguments} in {text}");
    }
}

/// The codec writes arguments without names. A worker whose fields have changed places would take the item for the count.
#[test]
fn a_worker_of_another_build_whose_arguments_have_changed_places_is_refused() {
    guarded(LIMIT, || {
        let lines = ordered(&["swapped"]);
        let [line] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        names_both(line);
        assert!(line.contains("build both from the same sources"), "{line}");
    });
}

#[test]
fn a_program_that_is_replaced_by_the_same_build_while_the_pool_runs_goes_on() {
    guarded(LIMIT, || {
        assert_eq!(ordered(&["order", "order"]), ["Ok(7002)", "7002"]);
    });
}

#[test]
fn a_program_that_is_rebuilt_with_other_arguments_while_the_pool_runs_is_refused() {
    guarded(LIMIT, || {
        let lines = ordered(&["order", "swapped"]);
        let [before, after] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert_eq!(before, "Ok(7002)");
        names_both(after);
        assert!(after.contains("no worker"), "{after}");
    });
}

/// The dynamic loader runs the program, so that `/proc/self/exe` is the loader: a stranger to this crate, as Python is to its
/// modules.
#[test]
fn a_process_whose_program_is_not_that_of_the_pool_gets_an_error_that_asks_for_the_program() {
    const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";
    if !Path::new(LOADER).exists() {
        return;
    }
    guarded(LIMIT, || {
        let loaded = |variables: &[(&str, &str)]| {
            let mut command = Command::new(LOADER);
            command
                .arg(program("unhurried"))
                .envs(variables.iter().copied());
            let output = command.output().expect("the loader");
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).expect("text")
        };
        let text = loaded(&[]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        for line in lines {
            assert!(line.contains("give `Builder::program` the path"), "{line}");
            assert!(line.contains("unhurried is a library that"), "{line}");
        }
    });
}

/// A program without `run_if_worker` that starts pools in two threads, in a loop. Ten times; 1,000 times with
/// `WORKRING_TEST_FULL`. Prints how long a start took.
#[test]
fn starts_that_never_get_a_worker_fail_soon_and_make_no_more_processes_than_asked_for() {
    let is_full = env::var_os("WORKRING_TEST_FULL").is_some();
    let each = if is_full { 500 } else { 5 };
    let limit = if is_full { 20 * LIMIT } else { LIMIT };
    guarded(limit, || {
        let scratch = Scratch::new().expect("a directory");
        let count = scratch.path().join("count");
        let path = count.to_str().expect("text");
        let mut lines = printed(
            "unhurried",
            &[("STARTS", &each.to_string()), ("COUNT", path)],
        );
        let times = lines.pop().expect("a line");
        println!("{} starts: {times}", lines.len());
        assert_eq!(lines.len(), 2 * each);
        for line in &lines {
            assert!(line.contains("run_if_worker"), "{line}");
            assert!(line.contains("auto_worker!"), "{line}");
        }
        let processes = fs::read(&count).expect("the count").len();
        // The program, and one worker for each start.
        assert!(processes <= 1 + 2 * each, "{processes} processes");
        let half: u64 = times
            .split(' ')
            .next()
            .and_then(|it| it.parse().ok())
            .expect("a number");
        assert!(half < 2000, "{times}");
    });
}
