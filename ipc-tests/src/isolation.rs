//! Runs each test in a process of its own, under a watchdog and a leak guard.
//!
//! `cargo test` runs the tests of one program as threads of one process. These tests change what all threads of a
//! process share (signal handlers, limits, open descriptors, the `tracing` subscriber), they fork, and their leak guard
//! compares whole processes. So the test's thread runs the test program again, for this one test, and waits for it.
//!
//! ISOLATION-1. The process of a test writes its output to a file, and so do the processes that it starts. The test's
//!     thread prints that file when the process has ended. So the test runner captures it as the output of the test:
//!     what children print on purpose, such as the report of a panic, shows only if the test fails, or with
//!     `--show-output`. With `--nocapture`, the process writes to where the test runner writes.
//! ISOLATION-2. The process of a test ends with the thread that started it.
//! ISOLATION-3. In the process of a test, and in programs that are not tests, a guarded body runs in place.

use crate::{leak::LeakGuard, watchdog::Watchdog};
use nix::sys::{prctl, signal::Signal};
use std::{
    cell::Cell,
    env,
    fs::{self, File},
    io::{Read, Seek},
    process::{self, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Duration,
};

/// Set in the process of a test, to the name of the test.
const TEST: &str = "WORKRING_TEST_PROCESS";

thread_local! {
    /// Whether this thread has run its test in another process.
    static HAS_RUN: Cell<bool> = const { Cell::new(false) };
}

/// Runs the body of a test in a process of its own, under a watchdog, and fails the test if the body leaves anything
/// behind (see [`leak`](crate::leak)).
///
/// The process runs the whole test again, so whatever the test does before it calls this is done twice, and must be
/// cheap and leave nothing behind. Only the first call in a test starts a process: that process runs the others, too.
pub fn guarded(limit: Duration, body: impl FnOnce()) {
    guarded_steps(limit, |_| body());
}

/// Runs a test like [`guarded`], but its body reports each of its many steps to the watchdog, and the limit is for one
/// step.
pub fn guarded_steps(limit: Duration, body: impl FnOnce(&Watchdog)) {
    let thread = thread::current();
    // The test runner names the thread after the test. With `--test-threads=1` it has no thread for the test.
    match thread.name() {
        Some(test) if env::var_os(TEST).is_none() && test != "main" => {
            if !HAS_RUN.replace(true) {
                run_alone(test);
            }
        }
        _ => guarded_here(limit, body),
    }
}

/// Runs a body in this process, under a watchdog, and panics if the body leaves anything behind.
pub fn guarded_here(limit: Duration, body: impl FnOnce(&Watchdog)) {
    if env::var(TEST).is_ok_and(|test| Some(test.as_str()) == thread::current().name()) {
        // ISOLATION-2.
        prctl::set_pdeathsig(Signal::SIGKILL).expect("ask for a signal at the end of the parent");
    }
    let guard = LeakGuard::new();
    let watchdog = Watchdog::start(limit);
    body(&watchdog);
    drop(watchdog);
    guard.check();
}

/// Runs this program again, for one test. Panics if the test fails.
fn run_alone(test: &str) {
    let program = env::current_exe().expect("the path of this program");
    let mut command = Command::new(program);
    // Two threads, because with one there would be no thread that has the name of the test.
    command.args([
        "--exact",
        test,
        "--include-ignored",
        "--nocapture",
        "--test-threads=2",
    ]);
    command.env(TEST, test).stdin(Stdio::null());
    if shows_output() {
        let status = command.status().expect("run the test");
        assert!(status.success(), "the process of the test: {status}");
        return;
    }
    let mut output = output_file();
    let another = || output.try_clone().expect("another descriptor");
    command.stdout(another()).stderr(another());
    let status = command.status().expect("run the test");
    let mut bytes = Vec::new();
    output.rewind().expect("seek to the start of the output");
    output.read_to_end(&mut bytes).expect("read the output");
    let printed = String::from_utf8_lossy(&bytes);
    print!("{printed}");
    assert_passed(status, &printed);
}

fn assert_passed(status: ExitStatus, output: &str) {
    assert!(
        status.success(),
        "the process of the test: {status}; its output is above"
    );
    // A process that finds no test of that name succeeds, too.
    assert!(
        output.contains("test result: ok. 1 passed;"),
        "the process has run no test"
    );
}

/// Whether the test runner was told to capture no output.
fn shows_output() -> bool {
    let told = env::args().any(|argument| argument == "--nocapture" || argument == "--no-capture");
    told || env::var_os("RUST_TEST_NOCAPTURE").is_some_and(|value| value != "0")
}

/// A file without a name. Not a pipe: a process that outlives the test would keep its reader waiting.
fn output_file() -> File {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = env::temp_dir().join(format!("test-output-{}-{number}", process::id()));
    let mut options = File::options();
    let file = options.read(true).append(true).create_new(true).open(&path);
    let file = file.expect("create a file for the output");
    fs::remove_file(&path).expect("remove the name of the file");
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{os::unix::process::parent_id, panic};

    const LIMIT: Duration = Duration::from_mins(1);

    /// The id of the process that runs the tests of this program.
    fn runner() -> u32 {
        if env::var_os(TEST).is_some() {
            parent_id()
        } else {
            process::id()
        }
    }

    #[test]
    fn a_guarded_body_runs_once_in_a_process_of_its_own() {
        let runner = runner();
        let mut has_run = false;
        guarded(LIMIT, || {
            assert_ne!(process::id(), runner);
            has_run = true;
        });
        guarded(LIMIT, || {
            assert!(has_run, "the same process runs all bodies");
        });
        assert_eq!(has_run, process::id() != runner);
    }

    /// Fails in a process of its own, and passes elsewhere.
    #[test]
    fn a_test_for_the_next_test() {
        assert!(env::var_os(TEST).is_none(), "on purpose");
    }

    #[test]
    fn a_test_that_fails_in_its_process_fails() {
        let result =
            panic::catch_unwind(|| run_alone("isolation::tests::a_test_for_the_next_test"));
        result.expect_err("its process has failed");
    }

    #[test]
    #[should_panic(expected = "has run no test")]
    fn a_process_that_has_run_no_test_is_no_success() {
        let output = "running 0 tests\n\ntest result: ok. 0 passed; 0 failed";
        assert_passed(ExitStatus::default(), output);
    }
}
