//! Goal: user code that a pool calls may panic, hang, take any time, or use the pool. Each task still has its outcome,
//! no place is lost, no other call is delayed, and the report adds up.
//!
//! Method: tasks and outputs call hooks of the test wherever a pool runs user code. `docs/user-code.md` lists these
//! places and their tests. A slow hook waits for the test, which uses the pool meanwhile; if the pool waited for the
//! hook, the watchdog would end the test.

use ipc_tests::support::LIMIT;
use ipc_tests::{
    guarded,
    jobs::Meeting,
    ledger::Scratch,
    program,
    quirks::{Hook, Misbehaviour, Quirk, Tricky, Work},
    runtimes::{Flag, block_on, poll_once},
};
use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};
use workring::pool::{Builder, Event, OutcomeOf, Report, ResultOf, Shutdown, TaskError, TypedPool};

/// Longer than any test waits.
pub(crate) const LONG: Duration = Duration::from_hours(1);
/// A time limit that tasks exceed on purpose.
pub(crate) const SOON: Duration = Duration::from_millis(100);

pub(crate) fn quirks(workers: usize) -> Builder<TypedPool<Quirk>> {
    TypedPool::builder()
        .program(program("pooled"))
        .workers(workers)
}

pub(crate) fn end(pool: &TypedPool<Quirk>, how: Shutdown) -> Report {
    let report = pool.shutdown(how, LIMIT).expect("this is its process");
    assert!(report.is_balanced(), "{report}");
    report
}

pub(crate) fn number(result: ResultOf<Quirk>) -> u64 {
    *result.expect("an output").get()
}

/// Asserts that the pool still runs tasks.
pub(crate) fn assert_works(pool: &TypedPool<Quirk>) {
    assert_eq!(number(pool.submit(Quirk::give(3)).expect("open").wait()), 3);
    assert_eq!(pool.in_flight(), 0);
}

pub(crate) fn transport_error(result: ResultOf<Quirk>) -> String {
    match result {
        Err(TaskError::Transport { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn panics<R>(act: impl FnOnce() -> R) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

/// Returns a hook that panics.
fn panicking_hook() -> Hook {
    Hook::new(|| panic!("a hook"))
}

/// A hook that reports its call, and waits until the test opens the gate.
struct Gate {
    hook: Hook,
    reached: mpsc::Receiver<()>,
    open: Arc<OnceLock<()>>,
}

impl Gate {
    fn new() -> Self {
        let (arrive, reached) = mpsc::channel();
        let open = Arc::new(OnceLock::new());
        let opened = Arc::clone(&open);
        let hook = Hook::new(move || {
            let _ = arrive.send(());
            opened.wait();
        });
        Self {
            hook,
            reached,
            open,
        }
    }

    fn await_arrival(&self) {
        self.reached.recv().expect("a call of the hook");
    }

    fn open(&self) {
        let _ = self.open.set(());
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

/// Returns a task that returns an output, or an error if it `fails`, whose `Deserialize` misbehaves like this.
fn undecodable(misbehaviour: Misbehaviour, fails: bool) -> Quirk {
    let value = Tricky::new(1).on_decode(misbehaviour);
    Quirk::new(if fails {
        Work::Fail(value)
    } else {
        Work::Give(value)
    })
}

pub(crate) fn hangs_in_decoding() -> Quirk {
    Quirk::tricky(Tricky::new(Some(Work::Pid)).on_decode(Misbehaviour::Hangs))
}

// Outputs and errors, in the parent.

/// In Python's pools, a result that cannot be unpickled ends the thread that reads results, and every later wait hangs
/// (#79492, #103061).
#[test]
fn an_output_or_error_whose_decoding_panics_is_an_outcome() {
    guarded(LIMIT, || {
        let panicking_hook = panicking_hook();
        let pool = quirks(2).start().expect("a pool");
        let bad = |fails| undecodable(panicking_hook.misbehaviour(), fails);
        for fails in [false, true] {
            let message = transport_error(pool.submit(bad(fails)).expect("open").wait());
            assert!(message.contains("panicked: a hook"), "{message}");
            assert_works(&pool);

            drop(pool.submit(bad(fails)).expect("open"));
            drop(pool.submit(Quirk::give(4)).expect("open"));
            let drained: Vec<_> = pool.drain().map(|outcome| outcome.result.is_ok()).collect();
            assert_eq!(
                drained.iter().filter(|&&is_ok| is_ok).count(),
                1,
                "{drained:?}"
            );
            assert_eq!(drained.len(), 2);

            for chunk in [1, 3] {
                let tasks = || [Quirk::give(1), bad(fails), Quirk::give(2)];
                let is_ok = |outcome: OutcomeOf<Quirk>| outcome.result.is_ok();
                let ordered: Vec<_> = pool.map(tasks()).chunk(chunk).map(is_ok).collect();
                assert_eq!(ordered, [true, false, true]);
                let outcomes = pool.map_unordered(tasks()).chunk(chunk);
                assert_eq!(outcomes.filter(|outcome| outcome.result.is_ok()).count(), 2);
            }
        }
        let report = end(&pool, Shutdown::Drain);
        assert_eq!(report.submitted, 2 * (1 + 1 + 2 + 4 * 3));
        assert_eq!(report.completed, 2 * (1 + 1 + 4 * 2), "{report}");
        // Claimed after the shutdown, the panic is an outcome as well.
        drop(panicking_hook);
    });
}

#[test]
fn an_output_that_is_claimed_after_the_end_may_still_panic() {
    guarded(LIMIT, || {
        let panicking_hook = panicking_hook();
        let pool = quirks(1).start().expect("a pool");
        let bad = pool
            .submit(undecodable(panicking_hook.misbehaviour(), false))
            .expect("open");
        let report = end(&pool, Shutdown::Drain);
        assert_eq!((report.submitted, report.completed), (1, 1));
        transport_error(bad.wait());
        assert_eq!(end(&pool, Shutdown::Cancel), report);
    });
}

/// One caller decodes its output slowly. Meanwhile the task of another caller is ended by its limit, other outcomes are
/// claimed, and the pool is shut down.
#[test]
fn a_slow_decoding_of_an_output_delays_only_its_own_caller() {
    guarded(LIMIT, || {
        let gate = Gate::new();
        let pool = quirks(2).start().expect("a pool");
        let slow = pool
            .submit(undecodable(gate.hook.misbehaviour(), false))
            .expect("open");
        thread::scope(|scope| {
            let slow = scope.spawn(|| number(slow.wait()));
            gate.await_arrival();
            let mut hanging = Tricky::new(Some(Work::Pid));
            hanging = hanging.on_decode(Misbehaviour::Hangs);
            let hanging = pool
                .submit(Quirk::tricky(hanging).within(SOON))
                .expect("open");
            assert!(matches!(hanging.wait(), Err(TaskError::TimedOut)));
            assert_works(&pool);
            drop(pool.submit(Quirk::give(5)).expect("open"));
            assert_eq!(pool.drain().count(), 1);
            assert_eq!(pool.map((0..100).map(Quirk::give)).count(), 100);
            let report = end(&pool, Shutdown::Drain);
            assert_eq!((report.timed_out, report.killed), (1, 1), "{report}");
            gate.open();
            assert_eq!(slow.join().expect("no panic"), 1);
        });
    });
}

/// An output uses the pool while it is decoded and when it is dropped: by its claimer, in a map, after its map was
/// dropped, and at the end of the pool.
#[test]
fn an_output_may_use_the_pool_when_it_is_decoded_or_dropped() {
    guarded(LIMIT, || {
        let pool = Arc::new(quirks(2).start().expect("a pool"));
        let used = Arc::new(AtomicU32::new(0));
        let (weak, count) = (Arc::downgrade(&pool), Arc::clone(&used));
        let hook = Hook::new(move || {
            let Some(pool) = weak.upgrade() else {
                return;
            };
            count.fetch_add(1, Ordering::Relaxed);
            let _ = pool.in_flight();
            if let Ok(handle) = pool.submit(Quirk::give(1)) {
                assert_eq!(number(handle.wait()), 1);
            }
            assert_eq!(pool.map([Quirk::give(2)]).count(), 1);
        });
        let misbehaviour = hook.misbehaviour();
        let busy = || {
            Quirk::new(Work::Give(
                Tricky::new(7).on_decode(misbehaviour).on_drop(misbehaviour),
            ))
        };
        assert_eq!(number(pool.submit(busy()).expect("open").wait()), 7);
        // One drop more than outputs: the task contains the output, and is dropped when it was sent.
        assert_eq!(used.load(Ordering::Relaxed), 3);
        assert_eq!(pool.map((0..10).map(|_| busy())).chunk(5).count(), 10);
        assert_eq!(used.load(Ordering::Relaxed), 33);
        let mut abandoned = pool.map_unordered((0..10).map(|_| busy()));
        assert!(abandoned.next().is_some());
        drop(abandoned);
        drop(pool.submit(busy()).expect("open"));
        let report = end(&pool, Shutdown::Drain);
        assert_eq!(report.lost, 0, "{report}");
        drop(pool);
    });
}

// Tasks, in the parent.

/// executorlib (#1057) and pebble (#146) lose a place for each task that cannot be pickled.
#[test]
fn a_task_whose_encoding_panics_in_submit_releases_its_place() {
    guarded(LIMIT, || {
        let panicking_hook = panicking_hook();
        let pool = quirks(1).capacity(2).start().expect("a pool");
        let bad =
            || Quirk::tricky(Tricky::new(Some(Work::Pid)).on_encode(panicking_hook.misbehaviour()));
        for _ in 0..3 {
            assert!(panics(|| drop(pool.submit(bad()))));
            assert!(panics(|| drop(pool.try_submit(bad()))));
            let later = Instant::now() + LIMIT;
            assert!(panics(|| drop(pool.task(bad()).not_before(later).submit())));
            assert_eq!(pool.in_flight(), 0);
        }
        assert_works(&pool);
        let report = end(&pool, Shutdown::Drain);
        assert_eq!((report.submitted, report.completed), (1, 1));
    });
}

#[test]
fn a_task_of_a_map_whose_encoding_panics_has_its_outcome_and_the_others_theirs() {
    guarded(LIMIT, || {
        let panicking_hook = panicking_hook();
        let pool = quirks(2).capacity(8).start().expect("a pool");
        for chunk in [1, 2, 7, 50] {
            let tasks = (0..50).map(|n| {
                let misbehaviour = if n % 7 == 3 {
                    panicking_hook.misbehaviour()
                } else {
                    Misbehaviour::Nothing
                };
                Quirk::tricky(Tricky::new(Some(Work::Give(Tricky::new(n)))).on_encode(misbehaviour))
            });
            let outcomes: Vec<_> = pool.map(tasks).chunk(chunk).collect();
            assert_eq!(outcomes.len(), 50);
            for (n, outcome) in (0..).zip(outcomes) {
                if n % 7 == 3 {
                    let message = transport_error(outcome.result);
                    assert!(message.contains("panicked: a hook"), "{message}");
                } else {
                    assert_eq!(number(outcome.result), n);
                }
            }
            assert_eq!(pool.in_flight(), 0);
        }
        let report = end(&pool, Shutdown::Drain);
        assert_eq!((report.submitted, report.failed), (200, 28), "{report}");
    });
}

/// While one task is encoded slowly, others are submitted and completed. Encoding may use the pool itself.
#[test]
fn a_task_that_is_slow_to_encode_or_uses_the_pool_delays_no_other_thread() {
    guarded(LIMIT, || {
        let pool = Arc::new(quirks(1).start().expect("a pool"));
        let gate = Gate::new();
        thread::scope(|scope| {
            let task =
                Tricky::new(Some(Work::Give(Tricky::new(9)))).on_encode(gate.hook.misbehaviour());
            let handle = scope.spawn(|| pool.submit(Quirk::tricky(task)).expect("open"));
            gate.await_arrival();
            assert_eq!(number(pool.submit(Quirk::give(3)).expect("open").wait()), 3);
            gate.open();
            assert_eq!(number(handle.join().expect("a handle").wait()), 9);
        });
        let inner = Arc::downgrade(&pool);
        let hook = Hook::new(move || {
            let pool = inner.upgrade().expect("a pool");
            assert_eq!(number(pool.submit(Quirk::give(4)).expect("open").wait()), 4);
        });
        let misbehaviour = hook.misbehaviour();
        let task = || {
            let work = Tricky::new(Some(Work::Give(Tricky::new(5))));
            Quirk::tricky(work.on_encode(misbehaviour).on_drop(misbehaviour))
                .on_time_limit(misbehaviour)
        };
        assert_eq!(number(pool.submit(task()).expect("open").wait()), 5);
        let outcomes = pool.map((0..10).map(|_| task())).chunk(3);
        assert!(
            outcomes
                .map(|outcome| number(outcome.result))
                .all(|n| n == 5)
        );
        end(&pool, Shutdown::Drain);
    });
}

/// `submit` drops the task after sending it.
#[test]
fn a_task_whose_drop_panics_is_done_and_drain_gets_its_outcome() {
    guarded(LIMIT, || {
        let panicking_hook = panicking_hook();
        let pool = quirks(1).capacity(2).start().expect("a pool");
        let bad = || {
            let work = Tricky::new(Some(Work::Give(Tricky::new(6))));
            Quirk::tricky(work.on_drop(panicking_hook.misbehaviour()))
        };
        for _ in 0..3 {
            assert!(panics(|| drop(pool.submit(bad()))));
            let drained: Vec<_> = pool.drain().map(|outcome| number(outcome.result)).collect();
            assert_eq!(drained, [6]);
        }
        for chunk in [1, 3] {
            let mut map = pool.map((0..6).map(|_| bad())).chunk(chunk);
            let mut outcomes = Vec::new();
            let mut panics = 0;
            loop {
                match catch_unwind(AssertUnwindSafe(|| map.next())) {
                    Ok(Some(outcome)) => outcomes.push(number(outcome.result)),
                    Ok(None) => break,
                    Err(_) => panics += 1,
                }
            }
            assert_eq!(outcomes, [6; 6]);
            assert!(panics > 0);
        }
        let report = end(&pool, Shutdown::Drain);
        assert_eq!((report.submitted, report.completed), (15, 15), "{report}");
    });
}

#[test]
fn a_panic_of_time_limit_reaches_the_caller_and_costs_nothing_else() {
    guarded(LIMIT, || {
        let panicking_hook = panicking_hook();
        let pool = quirks(1).capacity(2).start().expect("a pool");
        assert!(panics(|| drop(pool.submit(
            Quirk::give(1).on_time_limit(panicking_hook.misbehaviour())
        ))));
        assert_eq!(pool.in_flight(), 0);
        let tasks = (0..9).map(|n| match n {
            4 => Quirk::give(n).on_time_limit(panicking_hook.misbehaviour()),
            _ => Quirk::give(n),
        });
        let mut map = pool.map(tasks).chunk(2);
        let (mut given, mut panics) = (Vec::new(), 0);
        loop {
            match catch_unwind(AssertUnwindSafe(|| map.next())) {
                Ok(Some(outcome)) => given.push(number(outcome.result)),
                Ok(None) => break,
                Err(_) => panics += 1,
            }
        }
        assert_eq!((given, panics), (vec![0, 1, 2, 3, 5, 6, 7, 8], 1));
        drop(map);
        assert_works(&pool);
        end(&pool, Shutdown::Drain);
    });
}

/// Also by a future that waits for room, and is polled many times.
#[test]
fn a_task_is_asked_for_its_limits_once() {
    guarded(LIMIT, || {
        let calls = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&calls);
        let hook = Hook::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let asked = || Quirk::give(1).on_time_limit(hook.misbehaviour());
        let meeting = Meeting::new("asked");
        let pool = quirks(1).capacity(1).start().expect("a pool");
        let met = Quirk::new(Work::Job(meeting.job()));
        let met = pool.submit(met).expect("open");
        let mut guest = meeting.guest();
        let flag = Flag::new();
        let mut submission = pool.submit_async(asked());
        for _ in 0..5 {
            assert!(poll_once(&mut submission, &flag).is_pending());
        }
        guest.tell("done");
        number(met.wait());
        let late = block_on(submission).expect("open");
        assert_eq!(number(late.wait()), 1);
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        assert_eq!(number(pool.submit(asked()).expect("open").wait()), 1);
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        end(&pool, Shutdown::Drain);
    });
}

#[test]
fn unsent_tasks_of_a_map_keep_their_outcomes_when_the_iterator_panics() {
    guarded(LIMIT, || {
        let pool = quirks(1).capacity(2).start().expect("a pool");
        for chunk in [1, 4] {
            let tasks = (0..10).map(|n| {
                assert!(n != 5, "the iterator");
                Quirk::give(n)
            });
            let mut map = pool.map(tasks).chunk(chunk);
            let (mut given, mut panics) = (Vec::new(), 0);
            loop {
                match catch_unwind(AssertUnwindSafe(|| map.next())) {
                    Ok(Some(outcome)) => given.push(number(outcome.result)),
                    Ok(None) => break,
                    Err(_) => panics += 1,
                }
            }
            assert_eq!((given, panics), (vec![0, 1, 2, 3, 4, 6, 7, 8, 9], 1));
        }
        assert_works(&pool);
        end(&pool, Shutdown::Drain);
    });
}

#[test]
fn the_iterator_of_a_map_may_use_the_pool() {
    guarded(LIMIT, || {
        let pool = quirks(1).start().expect("a pool");
        let tasks = (0..10).map(|n| {
            let inner = pool.map((0..3).map(Quirk::give)).chunk(3);
            let sum: u64 = inner.map(|outcome| number(outcome.result)).sum();
            let one = number(pool.submit(Quirk::give(1)).expect("open").wait());
            Quirk::give(n + sum + one)
        });
        let given: Vec<_> = pool
            .map(tasks)
            .map(|outcome| number(outcome.result))
            .collect();
        assert_eq!(given, (4..14).collect::<Vec<_>>());
        end(&pool, Shutdown::Drain);
    });
}

// Lack of memory: calls that must not wait return.

/// Returns a large task. Sixteen blocks have room for one, and the pool has a thousand places.
fn large() -> Quirk {
    Quirk::new(Work::Weigh(vec![1; 60_000]))
}

#[test]
fn try_submit_returns_the_task_when_there_is_no_memory_for_it() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("try-submit");
        let pool = quirks(1).start().expect("a pool");
        let busy = pool
            .submit(Quirk::new(Work::Job(meeting.job())))
            .expect("open");
        let mut guest = meeting.guest();
        // The worker waits for an order of the test, so a call that waited for the worker would never return.
        let mut handles = Vec::new();
        let refused = loop {
            match pool.try_submit(large()) {
                Ok(handle) => handles.push(handle),
                Err(refused) => break refused,
            }
        };
        assert!(refused.is_full(), "{refused}");
        assert!(handles.len() >= 8, "{} were accepted", handles.len());
        let in_flight = pool.in_flight();
        assert_eq!(in_flight, handles.len() + 1);
        // A small task has room.
        handles.push(pool.try_submit(Quirk::give(60_000)).expect("room"));
        guest.tell("done");
        assert_eq!(number(busy.wait()), 0);
        for handle in handles {
            assert_eq!(number(handle.wait()), 60_000);
        }
        let report = end(&pool, Shutdown::Drain);
        assert_eq!(report.submitted, report.completed, "{report}");
        drop(refused);
    });
}

/// A map that cannot send its next task returns the outcomes that have arrived.
#[test]
fn a_map_returns_outcomes_that_have_arrived_before_it_waits_for_memory() {
    guarded(LIMIT, || {
        for chunk in [1, 4] {
            let meeting = Meeting::new(&format!("map-{chunk}"));
            let pool = quirks(2).start().expect("a pool");
            let held = [1, 2].map(|_| {
                let busy = Quirk::new(Work::Job(meeting.job()));
                let busy = pool.submit(busy).expect("open");
                (busy, meeting.guest())
            });
            let [(one, mut first), (other, mut second)] = held;
            // One worker runs until it comes to the next meeting; the other one waits.
            let small = (0..4).map(Quirk::give);
            let blocker = || Quirk::new(Work::Job(meeting.job()));
            let tasks = small.chain([blocker()]).chain((0..100).map(|_| large()));
            let mut map = pool.map_unordered(tasks).window(105).chunk(chunk);
            first.tell("done");
            assert_eq!(number(one.wait()), 0);
            // The four small tasks are done, then the worker waits at the meeting. The large tasks have no room.
            // Nothing proceeds.
            let given: Vec<_> = map
                .by_ref()
                .take(4)
                .map(|outcome| number(outcome.result))
                .collect();
            assert_eq!(given.len(), 4);
            let mut third = meeting.guest();
            // Tasks that were not sent are not in flight.
            if chunk == 1 {
                assert!(pool.in_flight() < 100, "{} in flight", pool.in_flight());
            }
            second.tell("done");
            third.tell("done");
            assert_eq!(number(other.wait()), 0);
            assert_eq!(map.filter(|outcome| outcome.result.is_ok()).count(), 101);
            let report = end(&pool, Shutdown::Drain);
            assert_eq!((report.submitted, report.completed), (107, 107), "{report}");
        }
    });
}

/// A thread of its own calls the listener. `logs.rs` has the same test for a `tracing` subscriber.
#[test]
fn a_listener_that_never_returns_delays_no_limit_and_no_death() {
    guarded(LIMIT, || {
        let gate = Gate::new();
        let misbehaviour = gate.hook.misbehaviour();
        let (sender, events) = mpsc::channel();
        let pool = quirks(1).on_event(move |event| {
            if let Event::Started { .. } = event {
                // The first event.
                misbehaviour.take_effect();
            }
            let _ = sender.send(*event);
        });
        let pool = pool.start().expect("a pool");
        gate.await_arrival();
        let hanging = pool.submit(hangs_in_decoding().within(SOON)).expect("open");
        assert!(matches!(hanging.wait(), Err(TaskError::TimedOut)));
        assert_works(&pool);
        gate.open();
        end(&pool, Shutdown::Drain);
        drop(pool);
        let events: Vec<_> = events.iter().collect();
        let count =
            |matches: fn(&Event) -> bool| events.iter().filter(|event| matches(event)).count();
        assert_eq!(count(|event| matches!(event, Event::Started { .. })), 2);
        assert_eq!(count(|event| matches!(event, Event::Exited { .. })), 2);
        assert_eq!(count(|event| matches!(event, Event::TaskStarted { .. })), 2);
    });
}

#[test]
fn a_listener_that_panics_or_uses_the_pool_gets_the_remaining_events() {
    guarded(LIMIT, || {
        let shared: Arc<OnceLock<Weak<TypedPool<Quirk>>>> = Arc::default();
        let seen = Arc::clone(&shared);
        let (sender, events) = mpsc::channel();
        let pool = quirks(1).on_event(move |event| {
            let _ = sender.send(*event);
            if let Some(pool) = seen.get().and_then(Weak::upgrade)
                && let Event::TaskStarted { task, .. } = event
                && task.get() == 0
            {
                assert_eq!(number(pool.submit(Quirk::give(3)).expect("open").wait()), 3);
                let report = pool.shutdown(Shutdown::Drain, LONG).expect("here");
                assert!(report.is_balanced());
            }
            panic!("a listener");
        });
        let pool = Arc::new(pool.start().expect("a pool"));
        assert!(shared.set(Arc::downgrade(&pool)).is_ok());
        let first = pool.submit(Quirk::give(1)).expect("open");
        assert_eq!(number(first.wait()), 1);
        // The listener has received these events.
        loop {
            if let Event::Exited { .. } = events.recv().expect("an event") {
                break;
            }
        }
        let report = end(&pool, Shutdown::Cancel);
        assert_eq!((report.submitted, report.completed), (2, 2), "{report}");
    });
}

/// Runs a role of `starter`, which has to succeed.
fn play(role: &str, arguments: &[&str]) {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let report = scratch.path().join("report");
        let mut starter = Command::new(env!("CARGO_BIN_EXE_starter"));
        let status = starter.arg(role).arg(&report).args(arguments).status();
        let status = status.expect("the program");
        let report = fs::read_to_string(report).unwrap_or_default();
        assert!(status.success(), "{status}: {report}");
    });
}

/// The child has copies of locks that are held by threads which it does not have, and which are never released. Each of
/// its calls returns at once with an error. The parent works as before.
#[test]
fn a_child_that_is_forked_during_calls_of_other_threads_never_waits_for_their_locks() {
    play("forked-amid-calls", &[]);
}

#[test]
fn a_child_that_user_code_forks_during_submit_or_map_never_waits_for_a_lock() {
    play("forked-by-a-task", &[&program("pooled")]);
}
