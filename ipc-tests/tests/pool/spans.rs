//! A task has one span of `tracing`, in the span of its caller; what it logs, and the deaths of its workers, are events in it.
//!
//! Method: a subscriber records spans and events, and some of its methods panic, or use the pool.

use super::recorder::{Call, Recorded, RecordedSpan, Recorder};
use futures::StreamExt;
use ipc_tests::support::LIMIT;
use ipc_tests::{deeds::Deed, guarded, runtimes::block_on};
use parking_lot::Mutex;
use std::cell::Cell;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tracing::{Level, info_span, level_filters::LevelFilter};
use workring::pool::{Priority, Shutdown, TaskError, TypedPool};

const DEEDS: &str = env!("CARGO_BIN_EXE_deeds");

fn pool_of(workers: usize) -> TypedPool<Deed> {
    let builder = TypedPool::builder().program(DEEDS).workers(workers);
    builder.start().expect("a pool")
}

fn run(pool: &TypedPool<Deed>, deed: Deed) -> u64 {
    let handle = pool.submit(deed).expect("open");
    handle.wait().expect("an output")
}

fn close(pool: &TypedPool<Deed>) {
    let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
    assert!(report.is_balanced(), "{report}");
}

fn is_of_task(span: &RecordedSpan) -> bool {
    span.metadata.target() == "workring::task"
}

/// Waits until this many tasks have spans, all of them closed. Returns these, with their numbers.
fn spans_of_tasks(recorder: &Recorder, count: usize) -> Vec<(u64, RecordedSpan)> {
    recorder.wait_for_spans(|spans| {
        let of_tasks = (1..).zip(spans).filter(|(_, span)| is_of_task(span));
        let of_tasks: Vec<_> = of_tasks.map(|(id, span)| (id, span.clone())).collect();
        let are_closed = of_tasks.iter().all(|(_, span)| span.is_closed());
        (of_tasks.len() == count && are_closed).then_some(of_tasks)
    })
}

fn is_number(text: &str) -> bool {
    text.parse::<u64>().is_ok()
}

#[test]
fn a_task_has_one_span_in_that_of_its_caller() {
    guarded(LIMIT, || {
        let recorder = Recorder::install_at(LevelFilter::DEBUG);
        let pool = pool_of(1);
        let caller = info_span!("caller");
        let pid = caller.in_scope(|| run(&pool, Deed::Pid));
        run(&pool, Deed::Echo(1));
        caller.in_scope(|| {
            let echoes = pool.map((0..20).map(Deed::Echo)).chunk(4);
            assert_eq!(echoes.count(), 20);
        });
        let failed = pool.submit(Deed::UntilCancelled).expect("open");
        assert!(failed.cancel());
        failed.wait().expect_err("it was cancelled");
        close(&pool);
        let spans = spans_of_tasks(recorder, 23);
        let (_, first) = spans.first().expect("a span");
        assert_eq!(*first.metadata.level(), Level::DEBUG);
        assert_eq!(first.metadata.name(), "task");
        assert!(first.field("task_name").contains("Deed"), "{first:?}");
        for (field, value) in [
            ("task", "0"),
            ("attempt", "1"),
            ("worker", "0"),
            ("pid", pid.to_string().as_str()),
            ("outcome", "completed"),
        ] {
            assert_eq!(first.field(field), value, "{field} of {first:?}");
        }
        assert!(is_number(first.field("queue_time_us")), "{first:?}");
        assert!(is_number(first.field("run_time_us")), "{first:?}");
        let caller = caller.id().map(|id| id.into_u64());
        assert!(caller.is_some());
        for (task, (_, span)) in spans.iter().enumerate() {
            assert_eq!(span.field("task"), task.to_string());
            let expected = caller.filter(|_| task != 1 && task != 22);
            assert_eq!(span.parent, expected, "{span:?}");
        }
        let (_, last) = spans.last().expect("a span");
        assert!(
            matches!(last.field("outcome"), "failed" | "cancelled"),
            "{last:?}"
        );
    });
}

#[test]
fn a_task_has_a_span_however_it_is_submitted_and_waited_for() {
    guarded(LIMIT, || {
        let recorder = Recorder::install_at(LevelFilter::DEBUG);
        let builder = TypedPool::builder().program(DEEDS).workers(1);
        let pool = builder.priorities().start().expect("a pool");
        let caller = info_span!("caller");
        caller.in_scope(|| {
            block_on(async {
                let submitted = pool.submit_async(Deed::Echo(0)).await;
                assert_eq!(submitted.expect("open").await, Ok(0));
                let outcomes = pool.map((1..4).map(Deed::Echo)).into_stream();
                assert_eq!(outcomes.count().await, 3);
            });
            pool.try_submit(Deed::Echo(4)).expect("room").detach();
            let group = pool.group();
            drop(group.submit(Deed::Echo(5)).expect("open"));
            assert_eq!(group.drain().count(), 1);
            let urgent = pool.task(Deed::Echo(6)).priority(Priority::High).submit();
            assert_eq!(urgent.expect("open").wait(), Ok(6));
            let soon = Instant::now() + Duration::from_millis(20);
            let later = pool.task(Deed::Echo(7)).not_before(soon).submit();
            assert_eq!(later.expect("open").wait(), Ok(7));
        });
        let spans = spans_of_tasks(recorder, 8);
        close(&pool);
        let caller = caller.id().map(|id| id.into_u64());
        for (_, span) in spans {
            assert_eq!((span.field("outcome"), span.parent), ("completed", caller));
        }
    });
}

#[test]
fn the_attempts_of_a_task_are_in_one_span_and_the_deaths_of_its_workers_events_in_it() {
    guarded(LIMIT, || {
        let recorder = Recorder::install_at(LevelFilter::DEBUG);
        let builder = TypedPool::builder().program(DEEDS).workers(1);
        let pool = builder.retries(1).start().expect("a pool");
        let crashed = pool.submit(Deed::Abort).expect("open").wait();
        assert!(
            matches!(crashed, Err(TaskError::Crashed { .. })),
            "{crashed:?}"
        );
        close(&pool);
        let spans = spans_of_tasks(recorder, 1);
        let (number, span) = spans.first().expect("a span");
        assert_eq!(span.field("attempt"), "2");
        assert_eq!(span.field("outcome"), "crashed");
        assert!(is_number(span.field("run_time_us")), "{span:?}");
        let deaths = recorder.wait_for_events(2, |event| event.has("fate", ""));
        let [first, second] = deaths.as_slice() else {
            panic!("{deaths:#?}");
        };
        assert_eq!((first.span, second.span), (Some(*number), Some(*number)));
        assert_eq!(second.field("pid"), span.field("pid"));
    });
}

/// The outcome of a task may arrive before the events that the task has logged.
#[test]
fn what_a_task_logs_is_an_event_in_its_span_with_its_own_fields_and_spans() {
    const TASKS: usize = 200;
    guarded(LIMIT, || {
        let recorder = Recorder::install_at(LevelFilter::DEBUG);
        let pool = pool_of(2);
        let caller = info_span!("caller");
        let handles: Vec<_> = caller.in_scope(|| {
            let submit = |_| pool.submit(Deed::LogWithin("well".to_owned()));
            (0..TASKS).map(submit).collect()
        });
        for handle in handles {
            handle.expect("open").wait().expect("an output");
        }
        let is_it = |event: &Recorded| event.field("message") == "well";
        let events = recorder.wait_for_events(TASKS, is_it);
        let spans = spans_of_tasks(recorder, TASKS);
        close(&pool);
        let caller = caller.id().map(|id| id.into_u64());
        let mut tasks: Vec<u64> = Vec::new();
        for event in events {
            assert_eq!(
                (event.level, event.target.as_str()),
                (Level::WARN, "workring::worker")
            );
            assert_eq!(event.field("origin"), "ipc_tests::deeds");
            assert_eq!(event.field("fields"), "ratio=0.5 flag=true");
            assert_eq!(event.field("spans"), "outer{size=3 kind=\"big\"}:inner");
            let number = event.span.expect("a span");
            let (_, span) = spans
                .iter()
                .find(|(id, _)| *id == number)
                .expect("a task's");
            assert_eq!(span.field("task"), event.field("task"));
            assert_eq!(span.parent, caller);
            tasks.push(event.field("task").parse().expect("a number"));
        }
        tasks.sort_unstable();
        assert!(tasks.into_iter().eq(0..TASKS as u64));
    });
}

/// The thread that waits receives the outcomes of others, too, for as long as its own task runs.
#[test]
fn a_span_is_closed_although_the_thread_that_receives_the_outcome_goes_on_waiting() {
    guarded(LIMIT, || {
        let recorder = Recorder::install_at(LevelFilter::DEBUG);
        let pool = pool_of(2);
        let long = pool.submit(Deed::UntilCancelled).expect("open");
        thread::scope(|scope| {
            let waits = scope.spawn(|| pool.join());
            for _ in 0..3 {
                pool.submit_detached(Deed::Echo(1)).expect("open");
            }
            recorder.wait_for_spans(|spans| {
                let closed = spans
                    .iter()
                    .filter(|span| is_of_task(span) && span.is_closed());
                (closed.count() == 3).then_some(())
            });
            long.cancel();
            waits.join().expect("no panic");
        });
        close(&pool);
    });
}

#[test]
fn no_task_has_a_span_if_no_subscriber_wants_one() {
    guarded(LIMIT, || {
        let recorder = Recorder::install();
        let pool = pool_of(1);
        run(&pool, Deed::LogWithin("well".to_owned()));
        let events = recorder.wait_for_events(1, |event| event.field("message") == "well");
        assert!(
            events.iter().all(|event| event.span.is_none()),
            "{events:?}"
        );
        close(&pool);
        recorder.wait_for_spans(|spans| spans.is_empty().then_some(()));
    });
}

#[test]
fn a_subscriber_that_panics_costs_no_task() {
    guarded(LIMIT, || {
        let recorder = Recorder::install_at(LevelFilter::DEBUG);
        let builder = TypedPool::builder().program(DEEDS).workers(2);
        let pool = builder.retries(1).start().expect("a pool");
        for panics in [Call::NewSpan, Call::Record, Call::Close, Call::Event] {
            let guard = recorder.call(move |call| {
                assert!(call != panics, "the subscriber panics in {call:?}");
            });
            for number in 0..10 {
                assert_eq!(run(&pool, Deed::Echo(number)), number);
            }
            run(&pool, Deed::LogWithin("well".to_owned()));
            let crashed = pool.submit(Deed::Abort).expect("open").wait();
            assert!(
                matches!(crashed, Err(TaskError::Crashed { .. })),
                "{crashed:?}"
            );
            assert_eq!(pool.map((0..10).map(Deed::Echo)).count(), 10);
            drop(pool.submit(Deed::Echo(1)).expect("open"));
            assert_eq!(pool.drain().count(), 1);
            drop(guard);
        }
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.submitted, report.lost), (4 * 23, 4));
    });
}

thread_local! {
    /// Whether the subscriber uses the pool.
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// It submits tasks and waits for them, in the threads of callers and in those of the pool.
#[test]
fn a_subscriber_may_use_the_pool_that_calls_it() {
    guarded(LIMIT, || {
        let recorder = Recorder::install_at(LevelFilter::DEBUG);
        let pool = Arc::new(pool_of(2));
        let of_subscriber = Arc::clone(&pool);
        let guard = recorder.call(move |_| {
            if !IS_INSIDE.replace(true) {
                assert_eq!(run(&of_subscriber, Deed::Echo(7)), 7);
                IS_INSIDE.set(false);
            }
        });
        for number in 0..20 {
            assert_eq!(run(&pool, Deed::Echo(number)), number);
        }
        let crashed = pool.submit(Deed::Abort).expect("open").wait();
        assert!(
            matches!(crashed, Err(TaskError::Crashed { .. })),
            "{crashed:?}"
        );
        run(&pool, Deed::LogWithin("well".to_owned()));
        recorder.wait_for_events(1, |event| event.field("message") == "well");
        recorder.wait_for_events(1, |event| event.field("outcome") == "crashed");
        drop(guard);
        close(&pool);
    });
}

/// It hangs in the thread of one caller, who waits; the outcomes of others arrive.
#[test]
fn a_subscriber_that_hangs_holds_up_its_own_thread_only() {
    guarded(LIMIT, || {
        let recorder = Recorder::install_at(LevelFilter::DEBUG);
        let pool = pool_of(2);
        let (arrive, arrived) = mpsc::channel();
        let (open, opened) = mpsc::channel::<()>();
        let opened = Mutex::new(Some(opened));
        let guard = recorder.call(move |call| {
            let first = (call == Call::Record).then(|| opened.lock().take());
            if let Some(opened) = first.flatten() {
                arrive.send(()).expect("a test");
                let _ = opened.recv();
            }
        });
        thread::scope(|scope| {
            let hangs = scope.spawn(|| run(&pool, Deed::Echo(1)));
            arrived.recv().expect("a subscriber that hangs");
            for number in 0..20 {
                assert_eq!(run(&pool, Deed::Echo(number)), number);
            }
            drop(open);
            assert_eq!(hangs.join().expect("no panic"), 1);
        });
        drop(guard);
        let report = pool.shutdown(Shutdown::Drain, LIMIT);
        assert!(report.expect("here").is_balanced());
    });
}
