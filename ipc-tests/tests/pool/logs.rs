//! Logs about workers and from workers: events, panics, malformed messages (P14, P15), and a pool that is dropped
//! (P12).
//!
//! One subscriber serves the whole process, because a thread of the pool emits the events of workers.

use super::recorder::{Recorded, Recorder};
use ipc_tests::support::LIMIT;
use ipc_tests::{
    Signal,
    deeds::{Deed, links},
    guarded,
};
use std::{
    os::unix::process::ExitStatusExt,
    sync::{Arc, OnceLock, mpsc},
    time::Duration,
};
use tracing::Level;
use workring::pool::{Shutdown, TaskError, TypedPool};

const DEEDS: &str = env!("CARGO_BIN_EXE_deeds");

fn one_worker() -> TypedPool<Deed> {
    let builder = TypedPool::builder().program(DEEDS).workers(1);
    builder.start().expect("a pool")
}

fn run(pool: &TypedPool<Deed>, deed: Deed) -> u64 {
    let handle = pool.submit(deed).expect("open");
    handle.wait().expect("an output")
}

/// Shuts the pool down and checks that no worker has died.
fn close(pool: &TypedPool<Deed>) {
    let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
    assert!(report.is_balanced(), "{report}");
    assert_eq!((report.started, report.died, report.killed), (1, 0, 0));
}

fn is_of_a_worker(event: &Recorded) -> bool {
    event.target == "workring::worker"
}

#[test]
fn p15_the_logs_of_a_worker_reach_the_parent() {
    guarded(LIMIT, || {
        let log = Recorder::install();
        let pool = one_worker();
        let pid = run(&pool, Deed::Log("out of paint".to_owned()));
        let events = log.wait_for_events(3, is_of_a_worker);
        let [prepared, error, info] = events.as_slice() else {
            panic!("other events: {events:#?}");
        };
        for event in &events {
            assert!(
                event.has("pid", &pid.to_string()) && event.has("worker", "0"),
                "{event:?}"
            );
            assert!(event.has("origin", "ipc_tests::deeds"), "{event:?}");
        }
        assert!(prepared.has("message", "prepared"), "{prepared:?}");
        assert_eq!(
            (prepared.level, error.level, info.level),
            (Level::INFO, Level::ERROR, Level::INFO)
        );
        assert!(
            error.has("message", "out of paint")
                && error.field("fields") == "task=0 colour=\"mauve\"",
            "{error:?}"
        );
        // An event that the parent does not subscribe to is not even formatted.
        assert!(info.has("fields", "debug=false length=12"), "{info:?}");
        close(&pool);
    });
}

/// The events exceed the buffers of a link and come faster than the parent reads.
#[test]
fn p15_no_event_is_dropped() {
    guarded(LIMIT, || {
        let log = Recorder::install();
        let pool = one_worker();
        for number in 0..500 {
            let text = format!("{number} {}", "x".repeat(4000));
            drop(pool.submit(Deed::Log(text)).expect("open"));
        }
        let events = log.wait_for_events(500, |event| {
            event.level == Level::ERROR && is_of_a_worker(event)
        });
        for (number, event) in events.iter().enumerate() {
            let text = event.fields.get("message").expect("a message");
            assert!(text.starts_with(&format!("{number} x")), "{text}");
        }
        close(&pool);
    });
}

#[test]
fn p15_a_panic_of_a_thread_of_a_worker_reaches_the_parent() {
    guarded(LIMIT, || {
        let log = Recorder::install();
        let pool = one_worker();
        run(&pool, Deed::PanicElsewhere("no brush".to_owned()));
        let events = log.wait_for_events(1, |event| {
            event.level == Level::ERROR && is_of_a_worker(event)
        });
        let panic = events.first().expect("an event");
        assert!(
            panic.has("message", "no brush") && panic.has("message", "deeds.rs:"),
            "{panic:?}"
        );
        close(&pool);
    });
}

/// The warning names the place where the pool was created. A pool that was shut down logs nothing.
#[test]
fn p12_a_dropped_pool_logs_one_warning_with_the_place_of_its_creation() {
    guarded(LIMIT, || {
        let log = Recorder::install();
        let builder = TypedPool::<Deed>::builder().program(DEEDS).workers(1);
        let (pool, line) = (builder.start().expect("a pool"), line!());
        drop(pool.submit(Deed::Pid).expect("open"));
        assert!(pool.drain().all(|outcome| outcome.result.is_ok()));
        drop(pool);
        close(&one_worker());
        let all = log.events();
        let warnings: Vec<&Recorded> = all
            .iter()
            .filter(|event| event.level <= Level::WARN)
            .collect();
        let [warning] = warnings.as_slice() else {
            panic!("{warnings:#?}");
        };
        assert_eq!(warning.target, "workring");
        assert!(warning.has("message", "dropped without"), "{warning:?}");
        assert!(
            warning.has("made_at", &format!("logs.rs:{line}:")),
            "{warning:?}"
        );
        assert!(warning.has("report", "1 completed"), "{warning:?}");
    });
}

/// A worker that ends before it claims its queues is reported by the pool, and not by the queues as well.
#[test]
fn a_process_that_never_becomes_a_worker_is_one_event() {
    guarded(LIMIT, || {
        let log = Recorder::install();
        let builder = TypedPool::<Deed>::builder().program("/bin/true").workers(1);
        builder.start().map(drop).expect_err("it is no worker");
        let events = log.events();
        let [event] = events.as_slice() else {
            panic!("{events:#?}");
        };
        assert_eq!((event.level, event.field("reason")), (Level::WARN, "exit"));
        assert_eq!(event.field("replacement"), "none");
        assert_ne!(event.field("pid"), "0");
    });
}

/// Without a link the parent would receive no message from the worker.
#[test]
fn w7_a_live_worker_whose_link_is_broken_is_replaced() {
    guarded(LIMIT, || {
        let builder = TypedPool::builder().program(DEEDS).workers(1);
        let pool = builder.grace(Duration::from_millis(20)).start();
        let pool = pool.expect("a pool");
        let handle = pool.submit(Deed::Mute).expect("open");
        match handle.wait() {
            Err(TaskError::Crashed { status, .. }) => {
                let signal = status.and_then(|status| status.signal());
                assert_eq!(signal, Some(Signal::SIGKILL as i32));
            }
            other => panic!("{other:?}"),
        }
        run(&pool, Deed::Pid);
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.completed, report.lost), (1, 1));
        assert_eq!((report.started, report.died), (2, 0));
        // The grace time is so short that the shutdown may kill the second worker, too.
        assert!((1..=2).contains(&report.killed), "{report}");
    });
}

/// Messages that no worker of this version sends at that moment: unknown kinds, too few or too many parts, kinds that
/// only parents send, repeated messages, messages that are too long, and an empty one.
fn nonsense() -> Vec<Vec<u8>> {
    vec![
        vec![0],
        vec![255; 100],
        vec![3],
        vec![6, 1, 2],
        vec![2, 0],
        vec![7, 7],
        vec![2],
        vec![65, 1, 0],
        vec![68],
        vec![1; 17_000],
        vec![4; 60_000],
        vec![],
        vec![4],
    ]
}

#[test]
fn p14_a_malformed_message_of_a_worker_is_logged_and_skipped() {
    guarded(LIMIT, || {
        let log = Recorder::install();
        let pool = one_worker();
        let pid = run(&pool, Deed::Inject(nonsense()));
        let is_about_it = |event: &Recorded| {
            event.has("message", "malformed message of a worker")
                && event.has("pid", &pid.to_string())
        };
        let events = log.wait_for_events(nonsense().len(), is_about_it);
        assert_eq!(events.len(), nonsense().len());
        assert!(events.iter().all(|event| event.level == Level::WARN));
        // Both the pool's reader and the worker work as before.
        assert_eq!(run(&pool, Deed::Log("still here".to_owned())), pid);
        log.wait_for_events(1, |event| event.has("message", "still here"));
        close(&pool);
    });
}

/// The worker logs messages that no parent sends.
#[test]
fn p14_a_malformed_message_of_the_parent_is_logged_and_skipped() {
    let nonsense = [
        vec![0],
        vec![255; 100],
        vec![2],
        vec![65],
        vec![65, 1, 0],
        vec![65, 1, 1, 9],
        vec![66, 0],
        vec![68; 20_000],
        vec![],
    ];
    guarded(LIMIT, || {
        let log = Recorder::install();
        let pool = one_worker();
        let pid = run(&pool, Deed::Pid);
        let link = links().pop().expect("a link");
        for datagram in &nonsense {
            link.send(datagram).expect("the worker lives");
        }
        drop(link);
        let events = log.wait_for_events(nonsense.len(), |event| {
            is_of_a_worker(event) && event.has("message", "malformed message of the parent")
        });
        assert_eq!(events.len(), nonsense.len());
        assert_eq!(run(&pool, Deed::Pid), pid);
        close(&pool);
    });
}

/// `println!` to a closed pipe is enough to make a subscriber panic.
#[test]
fn a_subscriber_that_panics_costs_no_task_and_no_worker() {
    guarded(LIMIT, || {
        let log = Recorder::install();
        let pool = one_worker();
        let guard = log.call_in_pool(|| panic!("failed printing to stdout"));
        for number in 0..3 {
            let crashed = pool.submit(Deed::Abort).expect("open").wait();
            assert!(
                matches!(crashed, Err(TaskError::Crashed { .. })),
                "{crashed:?}"
            );
            assert_eq!(run(&pool, Deed::Echo(number)), number);
            run(&pool, Deed::Log("not logged".to_owned()));
            drop(pool.submit(Deed::Echo(1)).expect("open"));
            assert_eq!(pool.drain().count(), 1);
        }
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.submitted, report.lost, report.died), (12, 3, 3));
        // Dropping a pool does not panic, either.
        drop(one_worker());
        drop(guard);
    });
}

/// The subscriber blocks from the first death on. Limits, deaths, cancellation and the shutdown work all the same.
#[test]
fn a_subscriber_that_never_returns_delays_no_limit_and_no_death() {
    guarded(LIMIT, || {
        let log = Recorder::install();
        // Long enough for a task that crashes, on a busy machine, too.
        let pool = TypedPool::builder()
            .program(DEEDS)
            .workers(1)
            .time_limit(Duration::from_secs(3));
        let pool = pool.grace(Duration::from_millis(100));
        let pool = pool.start().expect("a pool");
        let open = Arc::new(OnceLock::new());
        let (arrive, arrived) = mpsc::channel();
        let opened = Arc::clone(&open);
        let guard = log.call_in_pool(move || {
            let _ = arrive.send(());
            opened.wait();
        });
        let crash = || {
            let crashed = pool.submit(Deed::Abort).expect("open").wait();
            assert!(
                matches!(crashed, Err(TaskError::Crashed { .. })),
                "{crashed:?}"
            );
        };
        crash();
        arrived.recv().expect("the event of the death");
        crash();
        let late = pool.submit(Deed::UntilCancelled).expect("open").wait();
        assert!(matches!(late, Err(TaskError::TimedOut)), "{late:?}");
        assert_eq!(run(&pool, Deed::Echo(3)), 3);
        // The shutdown waits for the subscriber for at most the grace time.
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.submitted, report.lost, report.timed_out), (4, 2, 1));
        drop(guard);
        // The remaining thread ends when the subscriber returns.
        open.set(()).expect("closed until now");
    });
}
