//! What workers write to their standard streams: captured line by line, passed on, or dropped; and a worker that floods them,
//! or leaves them to others. And what a worker process may use.

use super::recorder::{Recorded, Recorder};
use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    guarded,
    jobs::{Death, Job},
};
use std::fs;
use tracing::Level;
use workring::pool::{Resource, StartError, TypedPool, WorkerOutput};

/// Of 1 KiB each.
const LINES: usize = 32 << 10;
/// More than a line that is delivered whole.
const LONG: usize = 20_000;

fn run(pool: &TypedPool<Job>, job: Job) -> String {
    let handle = pool.submit(job).expect("open");
    handle.wait().expect("an output")
}

/// Returns the lines of a stream so far.
fn lines(events: &[Recorded], stream: &str) -> Vec<String> {
    let matching = events
        .iter()
        .filter(|event| event.target == "workring::output" && event.field("stream") == stream);
    matching
        .map(|event| event.field("message").to_owned())
        .collect()
}

#[test]
fn each_line_of_a_worker_is_an_event_that_names_the_worker() {
    guarded(LIMIT, || {
        let recorder = Recorder::install();
        let pool = jobs(1)
            .stdout(WorkerOutput::Tracing)
            .stderr(WorkerOutput::Tracing)
            .start();
        let pool = pool.expect("a pool");
        let pid = run(&pool, Job::Pid);
        run(&pool, Job::Write("one\ntw".to_owned(), false));
        run(&pool, Job::Write("an error\n".to_owned(), true));
        run(&pool, Job::Write("o\nthree".to_owned(), false));
        let event = recorder.wait_for(|events| {
            let is_error = |event: &&Recorded| event.field("message") == "an error";
            events.iter().find(is_error).cloned()
        });
        assert_eq!(event.level, Level::INFO);
        assert_eq!(event.field("worker"), "0");
        assert_eq!(event.field("pid"), pid);
        assert_eq!(event.field("stream"), "stderr");
        recorder.wait_for(|events| (lines(events, "stdout") == ["one", "two"]).then_some(()));
        // What has no end of line arrives with the worker's death, and a line that is too long in pieces.
        let long = "y".repeat(LONG);
        run(&pool, Job::Write(format!("\n{long}\nlast"), false));
        let dies = pool.submit(Job::Die(Death::Abort)).expect("open");
        dies.wait().expect_err("it dies");
        let all = recorder.wait_for(|events| {
            let lines = lines(events, "stdout");
            (lines.last().is_some_and(|last| last == "last")).then_some(lines)
        });
        assert_eq!(all.get(..3).expect("three"), ["one", "two", "three"]);
        let pieces = all.get(3..all.len() - 1).expect("pieces");
        assert!(pieces.len() > 1, "{}", pieces.len());
        assert_eq!(pieces.concat(), long);
        close(&pool);
    });
}

#[test]
fn a_worker_that_floods_its_output_holds_up_nothing() {
    guarded(LIMIT, || {
        let recorder = Recorder::install();
        let pool = jobs(2).stdout(WorkerOutput::Tracing).grace(LIMIT).start();
        let pool = pool.expect("a pool");
        // The subscriber does not return.
        recorder.block(true);
        let floods = pool.submit(Job::Flood(LINES)).expect("open");
        for number in 0..100 {
            let double = (2 * number).to_string();
            assert_eq!(run(&pool, Job::Double(number)), double);
        }
        // Its 32 MiB are taken, although no one reads them.
        floods.wait().expect("an output");
        recorder.block(false);
        // What was dropped is reported with the next line of the worker, or at its end; so there may be several reports.
        close(&pool);
        let (arrived, dropped) = recorder.wait_for(|events| {
            let reports = events
                .iter()
                .filter(|event| event.field("message").contains("dropped"));
            let dropped: Vec<usize> = reports
                .map(|report| report.field("lines").parse().expect("a number"))
                .collect();
            let arrived = lines(events, "stdout").len() - dropped.len();
            let dropped = dropped.iter().sum::<usize>();
            (arrived + dropped >= LINES).then_some((arrived, dropped))
        });
        assert!(dropped > 0 && arrived > 0);
        assert_eq!(arrived + dropped, LINES);
    });
}

/// The other end of the pipe stays open, and is written to for ever: waiting for the end would never return, and the reader
/// would never have read everything.
#[test]
fn a_process_that_a_worker_leaves_behind_does_not_keep_the_output_open() {
    guarded(LIMIT, || {
        Recorder::install();
        let descriptors = || fs::read_dir("/proc/self/fd").expect("/proc").count();
        let pool = jobs(1).stdout(WorkerOutput::Tracing).start();
        let pool = pool.expect("a pool");
        run(&pool, Job::Double(1));
        let before = descriptors();
        for _ in 0..3 {
            // It ends when it can write no more: `guarded` finds it otherwise.
            run(&pool, Job::Shell("setsid yes & exit 0".to_owned()));
            let dies = pool.submit(Job::Die(Death::Abort)).expect("open");
            dies.wait().expect_err("it dies");
            run(&pool, Job::Double(1));
        }
        assert_eq!(descriptors(), before);
        let report = close(&pool);
        assert_eq!(report.died, 3);
    });
}

#[test]
fn output_goes_where_that_of_the_parent_goes_or_nowhere() {
    guarded(LIMIT, || {
        let here = |stream: &str| {
            let target = fs::read_link(format!("/proc/self/fd/{stream}"));
            target.expect("/proc").display().to_string()
        };
        let there = |pool: &TypedPool<Job>, stream: &str| {
            run(pool, Job::Follow(format!("/proc/self/fd/{stream}").into()))
        };
        let pool = jobs(1).stderr(WorkerOutput::Discard).start();
        let pool = pool.expect("a pool");
        assert_eq!(there(&pool, "1"), here("1"));
        assert_eq!(there(&pool, "2"), "/dev/null");
        close(&pool);
    });
}

#[test]
fn a_worker_has_the_niceness_the_processors_and_the_limits_of_its_pool() {
    guarded(LIMIT, || {
        let pool = jobs(1)
            .nice(7)
            .processors([0])
            .resource_limit(Resource::OpenFiles, 4711)
            .resource_limit(Resource::OpenFiles, 77)
            .resource_limit(Resource::CoreFile, 0);
        let pool = pool.start().expect("a pool");
        let read = |path: &str| run(&pool, Job::Read(path.into()));
        let status = read("/proc/self/status");
        assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
        let limits = read("/proc/self/limits");
        let columns = |name: &str| {
            let line = limits.lines().find(|line| line.starts_with(name));
            let rest = line
                .and_then(|line| line.get(name.len()..))
                .expect("a line");
            let words: Vec<&str> = rest.split_whitespace().take(2).collect();
            words.join(" ")
        };
        assert_eq!(columns("Max open files"), "77 77");
        assert_eq!(columns("Max core file size"), "0 0");
        let statistics = read("/proc/self/stat");
        let after_name = statistics.rsplit(')').next().expect("a line");
        // The 19th field; the name is the second.
        assert_eq!(after_name.split_whitespace().nth(16), Some("7"));
        close(&pool);

        let nowhere = jobs(1).processors([1023]).start().expect_err("no such one");
        let StartError::Spawn { source, .. } = nowhere else {
            panic!("{nowhere:?}");
        };
        assert!(source.to_string().contains("processors"), "{source}");
    });
}
