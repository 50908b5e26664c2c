//! Goal: the pool's supervisor gives every task a typed outcome, and every call returns, under adverse conditions:
//! unbounded durations, starts that never succeed, flooded links, and too few descriptors or privileges.
//!
//! Method: each test creates one of these conditions, while the pool starts or while it runs.

use ipc_tests::support::{LIMIT, pools::jobs};
use ipc_tests::{
    Pid, Signal,
    child::Peer,
    deeds::LEDGER,
    guarded,
    jobs::{Death, Job, PREPARE as JOB_PREPARE},
    ledger::{Ledger, Scratch},
    trouble::{PREPARE, Step, Trouble},
};
use nix::sys::{
    resource::{Resource, getrlimit, setrlimit},
    signal::kill,
};
use std::{
    fs::{self, File},
    os::unix::{fs::MetadataExt, process::ExitStatusExt},
    path::PathBuf,
    process::Command,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};
use workring::pool::{
    Builder, Event, OutcomeOf, ResultOf, Shutdown, StartError, SubmitError, TaskError, TypedPool,
};

const DEEDS: &str = env!("CARGO_BIN_EXE_deeds");
/// Longer than any test waits.
const LONG: Duration = Duration::from_hours(1);
/// A duration too short to notice.
const AT_ONCE: Duration = Duration::from_micros(1);

fn trouble(workers: usize) -> Builder<TypedPool<Trouble>> {
    TypedPool::builder().program(DEEDS).workers(workers)
}

fn crash(error: &TaskError<String>) -> Option<i32> {
    match error {
        TaskError::Crashed { status, .. } => status.and_then(|status| status.code()),
        other => panic!("{other:?}"),
    }
}

type Jobs = Builder<TypedPool<Job>>;
type Set = fn(Jobs, Duration) -> Jobs;

/// Every option that is a duration.
const OPTIONS: [(&str, Set); 13] = [
    ("idle_timeout", Builder::idle_timeout),
    ("soft_time_limit", Builder::soft_time_limit),
    ("time_limit", Builder::time_limit),
    ("recycle_after_age", Builder::recycle_after_age),
    ("retry_backoff", |builder, time| {
        builder.retry_backoff(time, time)
    }),
    ("retry_backoff, longest", |builder, time| {
        builder.retry_backoff(Duration::ZERO, time)
    }),
    ("respawn_backoff", |builder, time| {
        builder.respawn_backoff(time, time)
    }),
    ("respawn_backoff, longest", |builder, time| {
        builder.respawn_backoff(Duration::ZERO, time)
    }),
    ("start_timeout", Builder::start_timeout),
    ("grace", Builder::grace),
    ("spin", Builder::spin),
    ("liveness_interval", Builder::liveness_interval),
    ("all", |builder, time| {
        let builder = builder.grace(time).start_timeout(time).idle_timeout(time);
        let builder = builder.retry_backoff(time, time);
        builder.respawn_backoff(time, time).recycle_after_age(time)
    }),
];

/// A supervisor that panics when it adds two times would end with all its workers, and lose their tasks.
#[test]
fn every_option_of_a_pool_takes_any_duration() {
    guarded(LIMIT, || {
        for time in [Duration::ZERO, Duration::MAX / 2, Duration::MAX] {
            for (name, set) in OPTIONS {
                let pool = match set(jobs(1..=2).retries(1), time).start() {
                    Ok(pool) => pool,
                    Err(StartError::InvalidOption { .. } | StartError::Queue(_)) => continue,
                    Err(StartError::TimedOut) if time.is_zero() => continue,
                    Err(other) => panic!("{name} {time:?}: {other}"),
                };
                let double = pool.submit(Job::Double(1)).expect("open").wait();
                assert_eq!(double.expect(name), "2");
                // The retry and the next worker may have to wait for ever.
                let dies = Job::DieUntil(2, Death::Abort);
                let dies = pool.submit(dies).expect("open").wait_timeout(AT_ONCE);
                let busy = pool.submit(Job::Busy(50_000)).expect("open");
                let dropped = pool.submit(Job::Busy(50_000)).expect("open");
                busy.cancel_within(time);
                let report = pool.shutdown(Shutdown::Cancel, time).expect("here");
                assert!(report.is_balanced(), "{name} {time:?}: {report}");
                assert_eq!(report.submitted, 4, "{name} {time:?}: {report}");
                for outcome in [busy.wait(), dropped.wait()] {
                    let unknown = matches!(outcome, Err(TaskError::Unknown { .. }));
                    assert!(!unknown, "{name} {time:?}: {outcome:?}");
                }
                if let Err(handle) = dies {
                    let unknown = matches!(handle.wait(), Err(TaskError::Unknown { .. }));
                    assert!(!unknown, "{name} {time:?}");
                }
            }
        }
    });
}

#[test]
fn every_call_of_a_pool_takes_any_duration() {
    guarded(LIMIT, || {
        for time in [Duration::ZERO, Duration::MAX / 2, Duration::MAX] {
            for how in [Shutdown::Drain, Shutdown::Cancel] {
                let pool = jobs(1).start().expect("a pool");
                let busy = pool.submit(Job::Busy(20_000)).expect("open");
                match busy.wait_timeout(time) {
                    Ok(outcome) => assert_eq!(outcome.expect("an output"), "20000"),
                    Err(_) => assert!(time.is_zero(), "{time:?}"),
                }
                let own = pool.submit(Job::Double(1).within(time)).expect("open");
                match own.wait() {
                    Ok(output) => assert_eq!(output, "2"),
                    Err(error) => {
                        assert!(time.is_zero() && matches!(error, TaskError::TimedOut));
                    }
                }
                let cancelled = pool.submit(Job::Busy(20_000)).expect("open");
                assert!(cancelled.cancel_within(time));
                let report = pool.shutdown(how, time).expect("here");
                assert!(report.is_balanced(), "{report}");
                assert!(!matches!(cancelled.wait(), Err(TaskError::Unknown { .. })));
            }
        }
    });
}

/// A thread of a prepared worker crashes while another worker is not ready yet. The start must fail instead of
/// replacing that worker until its time limit.
#[test]
fn a_start_whose_workers_die_when_they_are_ready_fails_with_their_status() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let mark = scratch.path().join("first");
        let order = format!("die when ready after {}", mark.display());
        let builder = trouble(2).env(PREPARE, order).start_timeout(LONG);
        let builder = builder.respawn_backoff(AT_ONCE, AT_ONCE);
        let error = builder.start().map(drop).expect_err("they die");
        let StartError::Died { status, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(status.and_then(|status| status.code()), Some(1));
        assert!(error.to_string().contains("exit status: 1"), "{error}");
    });
}

/// The next attempt is an hour away. The error says how the last worker died, and not only that the time is over.
#[test]
fn a_start_is_bounded_by_its_timeout_and_names_how_the_last_worker_died() {
    guarded(LIMIT, || {
        let builder = jobs(1)
            .env(JOB_PREPARE, "kill")
            .respawn_backoff(LONG, LONG)
            .start_timeout(Duration::from_millis(500));
        let error = builder.start().map(drop).expect_err("it dies");
        let StartError::Died { status, .. } = error else {
            panic!("{error:?}");
        };
        let signal = status.and_then(|status| status.signal());
        assert_eq!(signal, Some(Signal::SIGKILL as i32));
    });
}

/// Lowers the limit on descriptors, below the number that this process has open, until it is dropped.
struct FewDescriptors(u64, u64);

impl FewDescriptors {
    fn allow(limit: u64) -> Self {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        setrlimit(Resource::RLIMIT_NOFILE, limit, hard).expect("lower it");
        Self(soft, hard)
    }
}

impl Drop for FewDescriptors {
    fn drop(&mut self) {
        setrlimit(Resource::RLIMIT_NOFILE, self.0, self.1).expect("raise it");
    }
}

/// `poll(2)` fails with more descriptors than the limit. Programs lower the limit when they enter a sandbox.
#[test]
fn a_pool_works_when_fewer_descriptors_are_allowed_than_it_waits_for() {
    guarded(LIMIT, || {
        for limit in [0, 1, 3] {
            let pool = trouble(2).grace(Duration::from_millis(50)).start();
            let pool = pool.expect("a pool");
            let lowered = FewDescriptors::allow(limit);
            let echo = pool.submit(Trouble::Echo(1)).expect("open").wait();
            assert_eq!(echo.expect("an output").number, 1);
            let deaf = pool.submit(Trouble::Loop).expect("open");
            assert!(deaf.cancel_within(Duration::ZERO));
            assert!(matches!(deaf.wait(), Err(TaskError::Cancelled)));
            let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
            drop(lowered);
            assert!(report.is_balanced(), "{report}");
        }
    });
}

/// Returns a builder for a pool with a slow listener, so that the flood of messages does not end.
fn flooded(workers: usize) -> Builder<TypedPool<Trouble>> {
    trouble(workers)
        .grace(Duration::from_millis(50))
        .on_event(|event| {
            if matches!(event, Event::TaskStarted { task, .. } if task.get() == 0) {
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(200) {
                    thread::yield_now();
                }
            }
        })
}

/// The task's children inherit the worker's end of the link, and send messages without end. The first task has the
/// number 0.
#[test]
fn a_worker_is_reaped_while_its_forked_children_flood_the_link() {
    guarded(LIMIT, || {
        for leave in [false, true] {
            let pool = flooded(2).start().expect("a pool");
            let task = Trouble::FloodAndDie { children: 4, leave };
            let dead = pool.submit(task).expect("open").wait();
            assert_eq!(crash(&dead.expect_err("a crash")), Some(3));
            let other = pool.submit(Trouble::Echo(4)).expect("open").wait();
            assert_eq!(other.expect("an output").number, 4);
            let report = pool.shutdown(Shutdown::Cancel, AT_ONCE).expect("here");
            assert!(report.is_balanced(), "{report}");
            assert_eq!((report.lost, report.died, report.completed), (1, 1, 1));
        }
    });
}

/// While the children of a live worker flood its link, limits and cancels take effect and other workers run tasks.
#[test]
fn a_flooded_link_delays_no_other_worker() {
    guarded(LIMIT, || {
        let pool = flooded(3).time_limit(Duration::from_millis(100)).start();
        let pool = pool.expect("a pool");
        let flood = pool.submit(Trouble::Flood(4)).expect("open").wait();
        assert_eq!(flood.expect("an output").number, 1);
        for _ in 0..3 {
            let late = pool.submit(Trouble::Loop).expect("open").wait();
            assert!(matches!(late, Err(TaskError::TimedOut)));
            let cancelled = pool.submit(Trouble::Loop).expect("open");
            assert!(cancelled.cancel_within(Duration::ZERO));
            assert!(matches!(cancelled.wait(), Err(TaskError::Cancelled)));
            let dead = pool.submit(Trouble::Exit(5)).expect("open").wait();
            assert_eq!(crash(&dead.expect_err("a crash")), Some(5));
        }
        let report = pool.shutdown(Shutdown::Cancel, AT_ONCE).expect("here");
        assert!(report.is_balanced(), "{report}");
    });
}

/// A file that exists until this is dropped.
struct Mark(PathBuf);

impl Mark {
    fn new(scratch: &Scratch, name: &str) -> Self {
        let path = scratch.path().join(name);
        File::create(&path).expect("a file");
        Self(path)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn why_no_workers(outcome: ResultOf<Trouble>) -> String {
    match outcome {
        Err(TaskError::NoWorkers { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

/// Starts a pool with short pauses between failures, and returns it with its events.
fn start_with_events(
    builder: Builder<TypedPool<Trouble>>,
) -> (TypedPool<Trouble>, Receiver<Event>) {
    let (sender, events) = mpsc::channel();
    let builder = builder
        .respawn_backoff(AT_ONCE, Duration::from_millis(5))
        .on_event(move |event| {
            // At the end of a test the receiver is gone.
            let _ = sender.send(*event);
        });
    (builder.start().expect("a pool"), events)
}

fn await_ready(events: &Receiver<Event>) {
    let is_ready = |event: &Event| matches!(event, Event::Ready { .. });
    assert!(events.iter().any(|event| is_ready(&event)));
}

/// Submits a task until one is accepted, which needs a worker that is ready.
fn echoes_again(pool: &TypedPool<Trouble>, events: &Receiver<Event>) {
    await_ready(events);
    loop {
        match pool.submit(Trouble::Echo(7)) {
            Ok(handle) => {
                assert_eq!(handle.wait().expect("an output").number, 7);
                return;
            }
            // The event that a worker is ready comes before the pool accepts tasks.
            Err(SubmitError::NoWorkers { .. }) => thread::yield_now(),
            Err(other) => panic!("{other}"),
        }
    }
}

/// `prepare_worker` fails from some point on. Queued tasks and later ones have an outcome that contains the cause, and
/// the pool recovers when `prepare_worker` succeeds again.
#[test]
fn tasks_fail_with_the_cause_only_while_no_worker_can_be_prepared() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let (fails, waits) = (scratch.path().join("fails"), Mark::new(&scratch, "waits"));
        let order = format!("fail while {}", fails.display());
        let builder = trouble(1).env(PREPARE, order).retries(1);
        // A task that waits for its retry does not wait for a worker.
        let builder = builder.retry_backoff(LONG, LONG);
        let (pool, events) = start_with_events(builder.max_worker_failures(3));
        await_ready(&events);
        for round in 0..2 {
            let submit = |trouble| pool.submit(trouble).expect("open");
            let first = submit(Trouble::EchoAfter(round, waits.0.clone()));
            let dies = submit(Trouble::Exit(7));
            let queued: Vec<_> = (0..3).map(|n| submit(Trouble::Echo(n))).collect();
            let unwanted = submit(Trouble::Echo(9));
            unwanted.cancel();
            let mark = Mark::new(&scratch, "fails");
            if round == 0 {
                fs::remove_file(&waits.0).expect("the file");
            }
            assert_eq!(first.wait().expect("an output").number, round);
            // The task waits for its second attempt.
            let why = why_no_workers(dies.wait());
            assert!(why.contains("it was told to fail"), "{why}");
            for task in queued {
                let why = why_no_workers(task.wait());
                assert!(why.contains("it was told to fail"), "{why}");
            }
            assert!(matches!(unwanted.wait(), Err(TaskError::Cancelled)));
            let refused = pool.submit(Trouble::Echo(4)).expect_err("no workers");
            assert!(
                refused.to_string().contains("it was told to fail"),
                "{refused}"
            );
            let SubmitError::NoWorkers { task, .. } = refused else {
                panic!("{refused}");
            };
            assert_eq!(task, Trouble::Echo(4));
            let mut map = pool.map((0..100).map(Trouble::Echo)).chunk(4);
            for _ in 0..4 {
                why_no_workers(map.next().expect("an outcome").result);
            }
            assert!(map.next().is_none());
            drop(mark);
            echoes_again(&pool, &events);
        }
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.lost, report.cancelled), (8, 2), "{report}");
        assert_eq!(report.completed, 4, "{report}");
    });
}

/// Both the tasks of a chunk that no worker has leased, and those of a chunk whose worker has died.
#[test]
fn each_task_of_a_chunk_fails_with_the_cause_while_no_worker_can_be_started() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let order = format!("kill while {}", scratch.path().join("kills").display());
        let (pool, events) = start_with_events(trouble(1).env(PREPARE, order));
        await_ready(&events);
        let _mark = Mark::new(&scratch, "kills");
        let tasks = (0..64).map(|n| match n {
            2 => Trouble::Exit(7),
            n => Trouble::Echo(n),
        });
        for (n, outcome) in (0..).zip(pool.map(tasks).chunk(8)) {
            match (n, outcome.result) {
                (0 | 1, Ok(output)) => assert_eq!(output.number, n),
                (2, Err(error)) => assert_eq!(crash(&error), Some(7)),
                (_, outcome) => {
                    let why = why_no_workers(outcome);
                    assert!(why.contains("signal: 6"), "{why}");
                }
            }
        }
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.completed, report.lost), (2, 62), "{report}");
    });
}

/// However long that worker is busy.
#[test]
fn tasks_wait_for_one_worker_while_the_others_cannot_be_replaced() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let waits = Mark::new(&scratch, "waits");
        let order = format!("fail while {}", scratch.path().join("fails").display());
        let builder = trouble(2).env(PREPARE, order).max_worker_failures(1);
        let (pool, events) = start_with_events(builder);
        let busy = pool.submit(Trouble::EchoAfter(1, waits.0.clone()));
        let busy = busy.expect("open");
        let _fails = Mark::new(&scratch, "fails");
        let dead = pool.submit(Trouble::Exit(7)).expect("open").wait();
        assert_eq!(crash(&dead.expect_err("a crash")), Some(7));
        let queued = pool.submit(Trouble::Echo(2)).expect("open");
        let exits = events
            .iter()
            .filter(|event| matches!(event, Event::Exited { .. }));
        assert_eq!(exits.take(20).count(), 20);
        assert!(!queued.is_finished());
        drop(waits);
        for (handle, number) in [(busy, 1), (queued, 2)] {
            assert_eq!(handle.wait().expect("an output").number, number);
        }
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.completed, report.lost), (2, 1), "{report}");
    });
}

/// The death of an idle worker does not mean that no worker can be started.
#[test]
fn the_death_of_an_idle_worker_fails_no_task() {
    guarded(LIMIT, || {
        let (pool, events) = start_with_events(trouble(1).max_worker_failures(2));
        for _ in 0..10 {
            let ready = events.iter().find_map(|event| match event {
                Event::Ready { pid, .. } => Some(pid),
                _ => None,
            });
            let pid = i32::try_from(ready.expect("a worker")).expect("a pid");
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it lives");
        }
        let echo = pool.submit(Trouble::Echo(1)).expect("open").wait();
        assert_eq!(echo.expect("an output").number, 1);
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert_eq!((report.completed, report.lost), (1, 0), "{report}");
    });
}

/// Neither sockets nor processes can be created. Starts are not repeated without pause, tasks fail with the cause, and
/// the pool recovers.
#[test]
fn a_pool_without_free_descriptors_reports_that_and_recovers() {
    guarded(LIMIT, || {
        let (pool, events) = start_with_events(trouble(2).max_worker_failures(3));
        for _ in 0..2 {
            await_ready(&events);
        }
        let lowered = FewDescriptors::allow(3);
        for _ in 0..2 {
            let dead = pool.submit(Trouble::Exit(7)).expect("open").wait();
            assert_eq!(crash(&dead.expect_err("a crash")), Some(7));
        }
        let why = match pool.submit(Trouble::Echo(1)) {
            Ok(handle) => why_no_workers(handle.wait()),
            Err(SubmitError::NoWorkers { why, .. }) => why,
            Err(other) => panic!("{other}"),
        };
        assert!(why.contains("os error 24"), "{why}");
        drop(lowered);
        echoes_again(&pool, &events);
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
    });
}

/// Runs a scene of `deeds unprivileged` and returns its output. Its worker must have ended, unless it was stopped.
fn unprivileged(scene: &str) -> Option<Vec<String>> {
    if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
        println!("SKIPPED: only root can drop root's privileges");
        return None;
    }
    let peer = Peer::spawn(DEEDS, "unprivileged", &[&scene], Command::spawn);
    let mut peer = peer.expect("a parent");
    let worker = Pid::from_raw(peer.answer().parse().expect("a pid"));
    let lines = std::iter::from_fn(|| peer.try_answer()).collect();
    assert!(peer.wait().success());
    if scene == "limit stopped" {
        kill(worker, Signal::SIGKILL).expect("the stopped worker");
    } else {
        assert!(kill(worker, None).is_err(), "the worker is alive");
    }
    Some(lines)
}

/// After `setuid` the parent may not signal its workers. It orders them to exit.
#[test]
fn limits_cancels_and_shutdowns_work_after_the_parent_has_dropped_root() {
    guarded(LIMIT, || {
        for (scene, first) in [
            ("limit", "the task ran for longer than its limit: see"),
            ("cancel", "the task was cancelled"),
            ("drop", "the task was cancelled"),
            ("exit", "crashed exit status: 7"),
        ] {
            let Some(lines) = unprivileged(scene) else {
                return;
            };
            let is_expected = lines.first().is_some_and(|line| line.starts_with(first));
            assert!(is_expected, "{scene}: {lines:?}");
            assert_eq!(
                lines.len(),
                if scene == "exit" { 3 } else { 2 },
                "{lines:?}"
            );
        }
        let lines = unprivileged("shutdown").expect("root");
        let [report] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert!(
            report.contains("1 killed") && report.contains("0 left behind"),
            "{report}"
        );
    });
}

/// The worker can be neither signalled nor ordered to exit. Its task has an outcome, and the shutdown ends and reports
/// it.
#[test]
fn a_stopped_worker_of_another_user_is_reported_and_left_behind() {
    guarded(LIMIT, || {
        let Some(lines) = unprivileged("limit stopped") else {
            return;
        };
        let [outcome, report] = lines.as_slice() else {
            panic!("{lines:?}");
        };
        assert!(
            outcome.starts_with("the task ran for longer than its limit"),
            "{lines:?}"
        );
        assert!(
            report.contains("1 killed") && report.contains("1 left behind"),
            "{report}"
        );
    });
}

/// Runs a task whose output kills the worker at `step`. Returns how often the task began, according to the workers'
/// ledger, and its outcome. No thread receives results before the pool has handled the death of the first worker.
fn broken_at(step: Step, retries: u32) -> (usize, OutcomeOf<Trouble>) {
    let scratch = Scratch::new().expect("a directory");
    let (pool, events) = start_with_events(trouble(1).retries(retries));
    let task = Trouble::Break(scratch.path().to_owned(), step);
    let handle = pool.submit(task).expect("open");
    for _ in 0..2 {
        // The second worker becomes ready after the pool has handled the death.
        await_ready(&events);
    }
    let outcome = handle.outcome();
    let begun = Ledger::read(scratch.path(), LEDGER)
        .expect("the ledger")
        .len();
    let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
    assert!(report.is_balanced(), "{report}");
    assert_eq!(report.died, begun as u64, "{report}");
    (begun, outcome)
}

/// The queues contain the result and the dead letter of its task. If the pool read dead letters before results, the
/// task would run twice.
#[test]
fn a_task_whose_worker_dies_after_its_result_was_sent_runs_once() {
    guarded(LIMIT, || {
        let (begun, outcome) = broken_at(Step::Drop, 3);
        assert_eq!((begun, outcome.attempts), (1, 1));
        assert_eq!(outcome.result.expect("an output").number, 1);
    });
}

/// The worker's line of the board shows the task as running until its result is sent. Otherwise the task would seem not
/// to have begun, and would run again without being counted.
#[test]
fn a_task_whose_worker_dies_before_its_result_is_sent_has_crashed() {
    guarded(LIMIT, || {
        let (begun, outcome) = broken_at(Step::Encode, 0);
        assert_eq!((begun, outcome.attempts), (1, 1));
        assert!(matches!(outcome.result, Err(TaskError::Crashed { .. })));
    });
}
