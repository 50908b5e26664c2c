//! Goal: in a test suite that knows nothing of workers, each start of a pool soon fails with an error that names the remedy,
//! and no more processes come of it than workers were asked for.
//!
//! Method: this target has neither `auto_worker!` nor `run_if_worker`. Its workers are this program, started again: the test
//! harness, which runs all of these tests once more. Each start there has to be refused, too. Every process that was started
//! adds a byte to the file of its start: `.` once, and `!` for what it should not see. All tests run in one process, at once.

use ipc_tests::{ledger::Scratch, support::LIMIT, watchdog::Watchdog};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::sync::Once;
use std::time::{Duration, Instant};
use std::{env, thread};
use workring::Pool;
use workring::pool::{StartError, WorkerOutput};

/// The file in which the processes of a start are counted. Set in those.
const PROCESSES: &str = "WORKRING_TEST_PROCESSES";

/// Set in processes that go on after a start was refused, as a suite with long tests does.
const GOES_ON: &str = "WORKRING_TEST_GOES_ON";

/// A start that takes longer is no "soon".
const SOON: Duration = Duration::from_secs(2);

/// Registered, and never run.
#[workring::task]
const fn increment(number: u32) -> u32 {
    number + 1
}

/// How a process behaves that is started as a worker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refused {
    Ends,
    GoesOn,
}

/// Starts a pool, which has to fail. Returns how long that took.
fn start(workers: usize, then: Refused) -> Duration {
    if let Some(processes) = env::var_os(PROCESSES) {
        start_in_worker(&processes);
        return Duration::ZERO;
    }
    let scratch = Scratch::new().expect("a directory");
    let processes = scratch.path().join("processes");
    let mut builder = Pool::builder()
        .workers(workers)
        .env(PROCESSES, &processes)
        .stdout(WorkerOutput::Discard)
        .stderr(WorkerOutput::Discard);
    if then == Refused::GoesOn {
        builder = builder.env(GOES_ON, "1");
    }
    let begin = Instant::now();
    let started = builder.start();
    let took = begin.elapsed();
    let error = started.map(drop).expect_err("no worker");
    assert!(matches!(error, StartError::NoHandshake { .. }), "{error:?}");
    assert!(names_the_remedies(&error), "{error}");
    let noted = fs::read_to_string(&processes).expect("at least one process has started");
    assert!(noted.chars().all(|note| note == '.'), "{noted}");
    assert!(noted.len() <= workers, "{noted}");
    took
}

/// Starts a pool in a process that was started as a worker, where every start is refused.
fn start_in_worker(processes: &OsStr) {
    static COUNTED: Once = Once::new();
    let note = |text: &str| {
        let file = File::options().create(true).append(true).open(processes);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .expect("noted");
    };
    COUNTED.call_once(|| note("."));
    match Pool::start(1) {
        Err(error @ StartError::StartedAsWorker) if names_the_remedies(&error) => {}
        _ => note("!"),
    }
    while env::var_os(GOES_ON).is_some() {
        thread::park();
    }
}

fn names_the_remedies(error: &StartError) -> bool {
    let text = error.to_string();
    text.contains("auto_worker!") && text.contains("run_if_worker")
}

/// Returns the number of starts of each test that has a loop: 1,000 in all with `WORKRING_TEST_FULL`.
fn rounds() -> u32 {
    let is_full = env::var_os("WORKRING_TEST_FULL").is_some();
    if is_full { 500 } else { 5 }
}

/// Returns the watchdog of a test with these starts.
fn watchdog(starts: u32) -> Watchdog {
    Watchdog::start(LIMIT + starts * SOON)
}

/// Asserts that at least half of the starts were soon. Prints how long they took.
fn assert_soon(mut times: Vec<Duration>) {
    times.sort_unstable();
    let half = times.get(times.len() / 2).expect("a start");
    println!(
        "{} starts: {half:?}, the slowest {:?}",
        times.len(),
        times.last()
    );
    assert!(*half < SOON, "{times:?}");
}

#[test]
fn the_second_start_fails_as_the_first_one_does() {
    let _watchdog = watchdog(2);
    start(1, Refused::Ends);
    start(2, Refused::Ends);
}

#[test]
fn each_start_in_a_loop_fails_soon() {
    let _watchdog = watchdog(rounds());
    assert_soon((0..rounds()).map(|_| start(1, Refused::Ends)).collect());
}

#[test]
fn each_start_in_several_threads_fails_soon() {
    let _watchdog = watchdog(rounds());
    let of_thread = || -> Vec<Duration> {
        let starts = 0..rounds() / 5;
        starts.map(|_| start(2, Refused::Ends)).collect()
    };
    let times = thread::scope(|scope| {
        let threads = [(); 5].map(|()| scope.spawn(of_thread));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    let times = times.concat();
    assert_soon(times);
}

#[test]
fn a_start_fails_soon_although_the_other_tests_of_the_suite_go_on() {
    let _watchdog = watchdog(3);
    assert_soon((0..3).map(|_| start(2, Refused::GoesOn)).collect());
}
