//! Goal: each example runs as its first lines say, and shows what they promise.
//!
//! Method: run a short form of each example to its end, and check what it prints. A watchdog kills an example that
//! hangs; its workers end with it. `digest` has tests of its own.

mod programs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

const TIME_LIMIT: Duration = Duration::from_secs(5 * 60);

/// Runs an example, which must succeed, and returns what it prints.
fn run(example: &str, arguments: &str) -> String {
    let output = output(example, arguments);
    assert!(output.status.success(), "{example} {arguments}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// Returns the path of an example.
fn program(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let target = test.parent().and_then(Path::parent).expect("target/debug");
    let program = target.join("examples").join(example);
    assert!(
        program.exists(),
        "{} is missing: `cargo test` builds it; before `cargo test --test examples`, do `cargo build --examples`",
        program.display()
    );
    program
}

/// Runs an example to its end, or kills it after the time limit.
fn output(example: &str, arguments: &str) -> Output {
    let mut command = Command::new(program(example));
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

/// Returns the number before these words.
fn counted(line: &str, words: &str) -> u64 {
    let (before, _) = line.split_once(words).expect(words);
    let number = before.split_whitespace().next_back().expect("a number");
    number.parse().expect("a number")
}

#[test]
fn squares_are_printed_and_an_error_affects_no_other_task() {
    let text = run("squares", "");
    for line in [
        "twelve squared: 144",
        "task 1: 9",
        "task 2: 16",
        "task 3: 25",
    ] {
        assert!(text.lines().any(|printed| printed == line), "{text}");
    }
    assert!(
        text.contains("task 4: the task failed: the square of"),
        "{text}"
    );
    assert!(
        text.contains("5 tasks submitted = 4 completed + 1 failed"),
        "{text}"
    );
}

#[test]
fn a_segmentation_fault_affects_no_other_task() {
    let text = run("segfault", "");
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        matches!(lines[..], ["Ok(104)", crash, "Ok(111)"] if crash.starts_with("Err(Crashed ")),
        "{text}"
    );
}

#[test]
fn a_reader_of_results_gets_only_values_and_the_end() {
    let text = run("shutdown_race", "--rounds 100");
    let line = text.lines().last().expect("a closing line");
    assert!(line.starts_with("100 rounds of 16 tasks: "), "{line}");
    assert_eq!(counted(line, " ends"), 100, "{line}");
    assert_eq!(
        counted(line, " values") + counted(line, " cancelled"),
        1600,
        "{line}"
    );
    // Half of the rounds finish all tasks.
    assert!(counted(line, " values") >= 800, "{line}");
    assert!(line.ends_with(", 0 anything else"), "{line}");
}

#[test]
fn each_bad_task_has_its_own_outcome_and_affects_no_other() {
    let text = run("crash_isolation", "");
    let outcome_of = |action: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(action)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {action}: {text}"))
    };
    for number in 1..=7_u64 {
        assert_eq!(
            outcome_of(&format!("Square({number})")),
            (number * number).to_string()
        );
    }
    for (action, expected) in [
        ("Fail", "this task returns an error"),
        ("Panic", "crash_isolation.rs:"),
        ("Exit", "exit status: 3"),
        ("Abort", "SIGABRT"),
        ("Segfault", "SIGSEGV"),
        ("OverflowTheStack", "SIGABRT"),
        ("UseUpMemory", "died: signal"),
        ("LoopForever", "ran for longer"),
    ] {
        let outcome = outcome_of(action);
        assert!(outcome.contains(expected), "{action}: {outcome}");
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

#[test]
fn a_pipeline_prints_every_batch_in_order_and_ends_with_its_input() {
    let text = run("pipeline", "--batches 50");
    assert_eq!(text.lines().count(), 50, "{text}");
    for (number, line) in text.lines().enumerate() {
        assert!(
            line.starts_with(&format!("batch {number}: 1000 numbers, median ")),
            "{line}"
        );
    }
}

/// The input would go on for ever.
#[test]
fn every_stage_of_a_pipeline_ends_with_its_reader() {
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

/// The worker starts first, and waits for the server.
#[cfg(feature = "rendezvous")]
#[test]
fn two_halves_that_are_started_independently_meet() {
    thread::scope(|scope| {
        let worker = scope.spawn(|| run("rendezvous", "work"));
        let text = run("rendezvous", "serve");
        let of_worker = worker.join().expect("no panic");
        assert!(
            of_worker.starts_with("connected to process "),
            "{of_worker}"
        );
        assert_eq!(text.matches(" of user ").count(), 1, "{text}");
        assert!(text.contains(": the sum of 1 to 20 is 210\n"), "{text}");
        assert_eq!(text.matches(": the sum of 1 to ").count(), 20, "{text}");
    });
}

/// A running process of the example `job_server`, which is killed on drop.
struct JobServer(std::process::Child);

impl JobServer {
    /// Starts a server, and waits until it is ready for jobs. It prints little enough for a pipe that is not read.
    fn start(queue: &str) -> Self {
        let mut command = Command::new(program("job_server"));
        command
            .args(["serve", "--queue", queue])
            .stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a server");
        let mut first = String::new();
        let output = child.stdout.as_mut().expect("a pipe");
        let read = BufReader::new(output).read_line(&mut first);
        assert!(read.is_ok() && first.contains(" serves "), "{first}");
        Self(child)
    }
}

impl Drop for JobServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_jobs_of_a_server_that_dies_are_done_by_another_one() {
    let queue = format!("test-job-server-{}", std::process::id());
    let asked = |limits: &str| run("job_server", &format!("ask --queue {queue} {limits}"));
    let first = JobServer::start(&queue);
    let text = asked("10 100 1000");
    let expected = [
        "up to 10: 4 primes",
        "up to 100: 25 primes",
        "up to 1000: 168 primes",
    ];
    assert_eq!(text.lines().count(), 3, "{text}");
    for (line, expected) in text.lines().zip(expected) {
        assert!(line.starts_with(expected), "{text}");
    }
    // Two of the three servers die of this job.
    let servers = [first, JobServer::start(&queue), JobServer::start(&queue)];
    let text = asked("0 10");
    let (crashed, other) = text.split_once('\n').expect("two lines");
    assert!(
        crashed.starts_with("up to 0: 2 responders had the request"),
        "{text}"
    );
    assert!(other.starts_with("up to 10: 4 primes"), "{text}");
    assert_eq!(run("job_server", &format!("stop --queue {queue}")), "");
    let mut aborted = 0;
    for mut server in servers {
        aborted += u32::from(!server.0.wait().expect("a child").success());
    }
    assert_eq!(aborted, 2);
    let refused = output("job_server", &format!("ask --queue {queue} 10"));
    assert!(!refused.status.success(), "the queue is still there");
}

/// The task of a client that goes away is cancelled, so a later request is served by the same two workers.
#[test]
#[cfg(all(feature = "async", feature = "macros"))]
fn a_web_service_cancels_the_tasks_of_clients_that_go_away() {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    let mut child = Command::new(program("web_service"))
        .arg("127.0.0.1:0")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the example");
    let pid = Pid::from_raw(child.id().try_into().expect("process ids are positive"));
    let mut printed = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    printed.read_line(&mut line).expect("its address");
    let address = line
        .strip_prefix("http://")
        .and_then(|line| line.split('/').next());
    let address = address.expect("an address").to_owned();
    let request = |limit: u64| {
        let mut client = TcpStream::connect(&address).expect("connect");
        let head =
            format!("GET /primes/{limit} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        client.write_all(head.as_bytes()).expect("sent");
        client
    };
    let answer = |mut client: TcpStream| {
        client.set_read_timeout(Some(TIME_LIMIT)).expect("a limit");
        let mut text = String::new();
        client.read_to_string(&mut text).expect("an answer");
        text
    };
    assert!(answer(request(1000)).ends_with("168\n"));
    // As many tasks as there are workers, which would take far longer than this test.
    let endless = [request(u64::MAX), request(u64::MAX)];
    let waiting = request(1000);
    drop(endless);
    assert!(answer(waiting).ends_with("168\n"));
    kill(pid, Signal::SIGINT).expect("it lives");
    let mut rest = String::new();
    printed.read_to_string(&mut rest).expect("its report");
    assert!(child.wait().expect("an end").success(), "{rest}");
    assert!(rest.contains("tasks submitted"), "{rest}");
}
