//! The pool's supervisor where the kernel, the workers or the options make it hard: durations without end, starts that
//! never succeed, links that are flooded, descriptors and privileges that are taken away while the pool runs.
//!
//! Each test takes one of these away or gives it in excess, and expects that every task has a typed outcome and that every
//! call returns.

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
    Builder, Event, OutcomeOf, Pool, ResultOf, Shutdown, StartError, SubmitError, TaskError,
};

const DEEDS: &str = env!("CARGO_BIN_EXE_deeds");
/// Nothing that a test waits for takes so long.
const NEVER: Duration = Duration::from_hours(1);
/// Too short to wait for.
const AT_ONCE: Duration = Duration::from_micros(1);

fn trouble(workers: usize) -> Builder<Trouble> {
    Pool::builder().program(DEEDS).workers(workers)
}

fn crash(error: &TaskError<String>) -> Option<i32> {
    match error {
        TaskError::Crashed { status, .. } => status.and_then(|status| status.code()),
        other => panic!("{other:?}"),
    }
}

type Jobs = Builder<Job>;
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

/// A supervisor that panics over a sum of times takes all its workers with it: tasks are not answered, or as lost.
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
                // Its retry, and the next worker, may have to wait for ever.
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

/// A worker whose preparation has started a thread that crashes, while another worker is not ready yet: it was replaced for
/// as long as the start took.
#[test]
fn a_start_whose_workers_die_when_they_are_ready_fails_with_their_status() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let mark = scratch.path().join("first");
        let order = format!("die when ready after {}", mark.display());
        let builder = trouble(2).env(PREPARE, order).start_timeout(NEVER);
        let builder = builder.respawn_backoff(AT_ONCE, AT_ONCE);
        let error = builder.start().map(drop).expect_err("they die");
        let StartError::Died { status, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(status.and_then(|status| status.code()), Some(1));
        assert!(error.to_string().contains("exit status: 1"), "{error}");
    });
}

/// The next attempt is an hour away. The error is not that nothing happened, but what did.
#[test]
fn a_start_is_bounded_by_its_timeout_and_names_how_the_last_worker_died() {
    guarded(LIMIT, || {
        let builder = jobs(1)
            .env(JOB_PREPARE, "kill")
            .respawn_backoff(NEVER, NEVER)
            .start_timeout(Duration::from_millis(500));
        let error = builder.start().map(drop).expect_err("it dies");
        let StartError::Died { status, .. } = error else {
            panic!("{error:?}");
        };
        let signal = status.and_then(|status| status.signal());
        assert_eq!(signal, Some(Signal::SIGKILL as i32));
    });
}

/// Fewer descriptors than this process has open.
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

/// `poll(2)` refuses to wait for more descriptors than are allowed. As programs do that lock themselves in.
#[test]
fn a_pool_goes_on_when_fewer_descriptors_are_allowed_than_it_waits_for() {
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

/// With a listener that takes its time for each message, so that the flood never ebbs.
fn flooded(workers: usize) -> Builder<Trouble> {
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

/// The task's children have the worker's end of the link, and never stop to talk. The first task has the number 0.
#[test]
fn a_worker_is_reaped_though_its_forked_children_flood_the_link() {
    guarded(LIMIT, || {
        for leave in [false, true] {
            let pool = flooded(2).start().expect("a pool");
            let task = Trouble::FloodAndDie { children: 4, leave };
            let dead = pool.submit(task).expect("open").wait();
            assert_eq!(crash(&dead.expect_err("it has died")), Some(3));
            let other = pool.submit(Trouble::Echo(4)).expect("open").wait();
            assert_eq!(other.expect("an output").number, 4);
            let report = pool.shutdown(Shutdown::Cancel, AT_ONCE).expect("here");
            assert!(report.is_balanced(), "{report}");
            assert_eq!((report.lost, report.died, report.completed), (1, 1, 1));
        }
    });
}

/// While a worker's children flood the link and the worker lives, limits strike, orders arrive, and others are served.
#[test]
fn a_flooded_link_keeps_nothing_from_the_other_workers() {
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
            assert_eq!(crash(&dead.expect_err("it has died")), Some(5));
        }
        let report = pool.shutdown(Shutdown::Cancel, AT_ONCE).expect("here");
        assert!(report.is_balanced(), "{report}");
    });
}

/// A file that is there until it is dropped.
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

/// With the events of its workers. Failures come fast.
fn told(builder: Builder<Trouble>) -> (Pool<Trouble>, Receiver<Event>) {
    let (sender, events) = mpsc::channel();
    let builder = builder
        .respawn_backoff(AT_ONCE, Duration::from_millis(5))
        .on_event(move |event| {
            // An error: the test does not listen any more.
            let _ = sender.send(*event);
        });
    (builder.start().expect("a pool"), events)
}

fn await_ready(events: &Receiver<Event>) {
    let is_ready = |event: &Event| matches!(event, Event::Ready { .. });
    assert!(events.iter().any(|event| is_ready(&event)));
}

/// Submits until tasks are accepted again, which needs a worker that is ready.
fn echoes_again(pool: &Pool<Trouble>, events: &Receiver<Event>) {
    await_ready(events);
    loop {
        match pool.submit(Trouble::Echo(7)) {
            Ok(handle) => {
                assert_eq!(handle.wait().expect("an output").number, 7);
                return;
            }
            // The worker has said that it is ready before the pool has gone on from there.
            Err(SubmitError::NoWorkers { .. }) => thread::yield_now(),
            Err(other) => panic!("{other}"),
        }
    }
}

/// An initialiser that fails from now on: what is queued and what comes later has a typed end with the cause in it, and the
/// pool recovers by itself.
#[test]
fn tasks_fail_with_the_cause_while_no_worker_can_be_prepared_and_not_after_that() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let (fails, waits) = (scratch.path().join("fails"), Mark::new(&scratch, "waits"));
        let order = format!("fail while {}", fails.display());
        let builder = trouble(1).env(PREPARE, order).retries(1);
        // A task that waits to be tried again does not wait for that.
        let builder = builder.retry_backoff(NEVER, NEVER);
        let (pool, events) = told(builder.max_worker_failures(3));
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
                fs::remove_file(&waits.0).expect("the mark");
            }
            assert_eq!(first.wait().expect("an output").number, round);
            // It waits for its second attempt.
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

/// The tasks of a chunk that no worker has leased, and those of one whose worker has died in the midst of it.
#[test]
fn each_task_of_a_chunk_fails_with_the_cause_while_no_worker_can_be_had() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let order = format!("kill while {}", scratch.path().join("kills").display());
        let (pool, events) = told(trouble(1).env(PREPARE, order));
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

/// However long it is busy.
#[test]
fn tasks_wait_while_one_worker_serves_though_the_others_cannot_be_replaced() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let waits = Mark::new(&scratch, "waits");
        let order = format!("fail while {}", scratch.path().join("fails").display());
        let builder = trouble(2).env(PREPARE, order).max_worker_failures(1);
        let (pool, events) = told(builder);
        let busy = pool.submit(Trouble::EchoAfter(1, waits.0.clone()));
        let busy = busy.expect("open");
        let _fails = Mark::new(&scratch, "fails");
        let dead = pool.submit(Trouble::Exit(7)).expect("open").wait();
        assert_eq!(crash(&dead.expect_err("it has died")), Some(7));
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

/// Workers that are killed before any task comes say nothing about whether one can be had.
#[test]
fn a_worker_that_is_killed_while_nothing_waits_is_no_failure_to_have_one() {
    guarded(LIMIT, || {
        let (pool, events) = told(trouble(1).max_worker_failures(2));
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

/// Neither sockets nor processes can be made any more: no storm, a typed end, and recovery.
#[test]
fn a_pool_without_free_descriptors_says_so_and_recovers() {
    guarded(LIMIT, || {
        let (pool, events) = told(trouble(2).max_worker_failures(3));
        for _ in 0..2 {
            await_ready(&events);
        }
        let lowered = FewDescriptors::allow(3);
        for _ in 0..2 {
            let dead = pool.submit(Trouble::Exit(7)).expect("open").wait();
            assert_eq!(crash(&dead.expect_err("it has died")), Some(7));
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

/// Plays a scene of `deeds unprivileged`: what it says, and its worker, which has to be gone unless it was stopped.
fn unprivileged(scene: &str) -> Option<Vec<String>> {
    if fs::metadata("/proc/self").expect("/proc").uid() != 0 {
        println!("skipped: only root can give root up");
        return None;
    }
    let peer = Peer::spawn(DEEDS, "unprivileged", &[&scene], Command::spawn);
    let mut peer = peer.expect("a parent");
    let worker = Pid::from_raw(peer.answer().parse().expect("a pid"));
    let said = std::iter::from_fn(|| peer.try_answer()).collect();
    assert!(peer.wait().success());
    if scene == "limit stopped" {
        kill(worker, Signal::SIGKILL).expect("it was left behind");
    } else {
        assert!(kill(worker, None).is_err(), "it lives on");
    }
    Some(said)
}

/// After `setuid` the kernel lets the parent signal none of its workers. They end themselves, by order.
#[test]
fn limits_cancels_and_ends_hold_after_the_parent_has_given_up_root() {
    guarded(LIMIT, || {
        for (scene, first) in [
            ("limit", "the task ran for longer than its limit: see"),
            ("cancel", "the task was cancelled"),
            ("drop", "the task was cancelled"),
            ("exit", "crashed exit status: 7"),
        ] {
            let Some(said) = unprivileged(scene) else {
                return;
            };
            let is_so = said.first().is_some_and(|said| said.starts_with(first));
            assert!(is_so, "{scene}: {said:?}");
            assert_eq!(said.len(), if scene == "exit" { 3 } else { 2 }, "{said:?}");
        }
        let said = unprivileged("shutdown").expect("root");
        let [report] = said.as_slice() else {
            panic!("{said:?}");
        };
        assert!(
            report.contains("1 killed") && report.contains("0 left behind"),
            "{report}"
        );
    });
}

/// It can be neither signalled nor asked. Its task has an outcome, and the shutdown an end and a word for it.
#[test]
fn a_stopped_worker_of_another_user_is_reported_and_left_behind() {
    guarded(LIMIT, || {
        let Some(said) = unprivileged("limit stopped") else {
            return;
        };
        let [outcome, report] = said.as_slice() else {
            panic!("{said:?}");
        };
        assert!(
            outcome.starts_with("the task ran for longer than its limit"),
            "{said:?}"
        );
        assert!(
            report.contains("1 killed") && report.contains("1 left behind"),
            "{report}"
        );
    });
}

/// How often a task was begun, by the word of its workers' ledger, and its outcome; nothing else receives results before
/// the death of the first worker was settled: nothing waits.
fn broken_at(step: Step, retries: u32) -> (usize, OutcomeOf<Trouble>) {
    let scratch = Scratch::new().expect("a directory");
    let (pool, events) = told(trouble(1).retries(retries));
    let task = Trouble::Break(scratch.path().to_owned(), step);
    let handle = pool.submit(task).expect("open");
    for _ in 0..2 {
        // The second one comes after the death was settled.
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

/// The result is in its queue, and so is the dead letter of its task: results are filed before letters are read, or else
/// the task runs twice.
#[test]
fn a_task_whose_worker_dies_after_its_result_was_sent_runs_once() {
    guarded(LIMIT, || {
        let (begun, outcome) = broken_at(Step::Drop, 3);
        assert_eq!((begun, outcome.attempts), (1, 1));
        assert_eq!(outcome.result.expect("an output").number, 1);
    });
}

/// Its line on the board says that it runs until its result is sent: or else the task would look as if it had not been
/// begun, and run again, uncounted.
#[test]
fn a_task_whose_worker_dies_before_its_result_is_sent_has_crashed() {
    guarded(LIMIT, || {
        let (begun, outcome) = broken_at(Step::Encode, 0);
        assert_eq!((begun, outcome.attempts), (1, 1));
        assert!(matches!(outcome.result, Err(TaskError::Crashed { .. })));
    });
}
