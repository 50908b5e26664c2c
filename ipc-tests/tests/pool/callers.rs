//! Goal: however a caller waits for tasks, by any or all of several handles, for the whole pool, or not at all, each task has
//! one outcome, which goes to the one that it belongs to; whatever happens to workers, handles and the pool. The books
//! balance (P13). Groups are in `groups`.
//!
//! Method: pools with the tasks of `jobs`. A task at a meeting runs until the test says otherwise, so that no test depends on
//! the time that anything takes. If a wait missed its wake-up, the watchdog would end the test.

use ipc_tests::support::{
    LIMIT, asleep,
    pools::{close, jobs},
};
use ipc_tests::{
    emitting::{Emitting, End},
    guarded,
    jobs::{Death, Job, Meeting},
    program,
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use workring::pool::{
    OutcomeOf, Shutdown, TaskError, TaskHandle, TypedPool, WaitAnyError, WhenFull, wait_all,
    wait_all_deadline, wait_any, wait_any_deadline,
};

/// A time that is over before the test goes on. No test depends on its length.
pub(crate) const SHORT_TIME: Duration = Duration::from_millis(20);

pub(crate) type Jobs = TypedPool<Job>;

/// Submits tasks whose handles are dropped, one for each way in which a task can end.
pub(crate) fn one_of_each(submit: impl Fn(Job)) {
    submit(Job::Double(1));
    submit(Job::Fail("wrong".into()));
    submit(Job::Panic("bad".into()));
    submit(Job::Die(Death::Abort));
}

/// Returns the outputs of outcomes, in any order.
pub(crate) fn outputs(outcomes: impl Iterator<Item = OutcomeOf<Job>>) -> BTreeSet<String> {
    outcomes
        .map(|outcome| outcome.result.expect("an output"))
        .collect()
}

pub(crate) fn doubles(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<String> {
    numbers.into_iter().map(|n| (2 * n).to_string()).collect()
}

// Detached tasks.

#[test]
fn detached_tasks_are_counted_and_nothing_else_is_kept() {
    guarded(LIMIT, || {
        let pool = jobs(2).capacity(4).max_unclaimed_results(1);
        let pool = pool.start().expect("a pool");
        let count = 100;
        for _ in 0..count {
            one_of_each(|job| {
                pool.submit_detached(job).expect("nothing is unclaimed");
            });
        }
        pool.join();
        assert!(pool.drain().next().is_none());
        let report = close(&pool);
        assert_eq!((report.submitted, report.completed), (4 * count, count));
        assert_eq!((report.failed, report.lost), (2 * count, count));
    });
}

/// The outcome of a dropped handle is kept, that of a detached one is not. It makes no difference when that happens.
#[test]
fn a_dropped_handle_leaves_its_outcome_to_drain_and_a_detached_one_does_not() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        let meeting = Meeting::new("detached");
        let running = [(); 2].map(|()| pool.submit(meeting.job()).expect("open"));
        let [dropped, detached] = running;
        let mut guest = meeting.guest();
        let ids = (dropped.id(), detached.id());
        drop(dropped);
        assert_eq!(detached.detach(), ids.1);
        guest.tell("done");
        meeting.guest().tell("done");

        let done = [3, 4].map(|n| pool.submit(Job::Double(n)).expect("open"));
        pool.join();
        let [dropped, detached] = done;
        let ids = [ids.0, dropped.id()];
        drop(dropped);
        detached.detach();
        let drained: Vec<_> = pool.drain().map(|outcome| outcome.id).collect();
        assert_eq!(drained, ids);
        assert_eq!(close(&pool).completed, 4);
    });
}

#[test]
fn a_detached_task_is_refused_and_cancelled_as_any_other() {
    guarded(LIMIT, || {
        let pool = jobs(1).grace(LIMIT).start().expect("a pool");
        let meeting = Meeting::new("detached-cancel");
        pool.submit_detached(meeting.job()).expect("open");
        pool.submit_detached(Job::Double(1)).expect("open");
        meeting.guest().tell("await cancel");
        let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
        let report = report.expect("this is the pool's process");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.failed, report.cancelled), (1, 1));
        let refused = pool.submit_detached(Job::Double(2)).expect_err("closed");
        assert_eq!(refused.into_task(), Job::Double(2));
    });
}

// Waiting for handles.

#[test]
fn wait_any_returns_the_first_that_has_ended_however_it_has() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let meeting = Meeting::new("any");
        for order in ["done", "abort", "no such order"] {
            let handles = [(); 2].map(|()| pool.submit(meeting.job()).expect("open"));
            let mut guests = [meeting.guest(), meeting.guest()];
            let now = Instant::now();
            assert_eq!(
                wait_any_deadline(&handles, now),
                Err(WaitAnyError::TimedOut)
            );
            let waiting = thread::scope(|scope| {
                let waiting = scope.spawn(|| wait_any(&handles));
                guests[1].tell(order);
                waiting.join().expect("no panic").expect("one ends")
            });
            let ended = handles.get(waiting).expect("one of them");
            assert_eq!(ended.id().get(), guests[1].task);
            assert!(ended.is_finished());
            // Also with references, in a tuple, and when it is known already.
            let [one, two] = &handles;
            assert_eq!(wait_any(&(one, two)), Ok(waiting));
            assert_eq!(wait_any(&vec![one, two]), Ok(waiting));
            guests[0].tell("done");
            let results = wait_all(handles);
            assert_eq!(
                results.iter().filter(|it| it.is_ok()).count(),
                if order == "done" { 2 } else { 1 }
            );
        }
        close(&pool);
    });
}

#[test]
fn wait_any_refuses_what_it_cannot_wait_for() {
    guarded(LIMIT, || {
        let pools = [(); 2].map(|()| jobs(1).start().expect("a pool"));
        let handles = [&pools[0], &pools[1]].map(|pool| pool.submit(Job::Double(1)).expect("open"));
        assert_eq!(wait_any(&handles), Err(WaitAnyError::DifferentPools));
        assert_eq!(wait_any(&handles[..0]), Err(WaitAnyError::Empty));
        // One after the other, it can.
        let both = wait_all_deadline(handles, Instant::now() + LIMIT).expect("in time");
        assert!(both.iter().all(|result| result.as_deref() == Ok("2")));
        for pool in &pools {
            close(pool);
        }
    });
}

#[test]
fn a_shutdown_ends_wait_any_and_wait_all() {
    guarded(LIMIT, || {
        let pool = Arc::new(jobs(1).start().expect("a pool"));
        let meeting = Meeting::new("any-end");
        let handles = [(); 4].map(|()| pool.submit(meeting.job()).expect("open"));
        let [one, two, three, four] = handles;
        let mut guest = meeting.guest();
        let any = asleep(move || wait_any(&[one, two]).expect("the shutdown ends it"));
        let all = thread::spawn(move || wait_all((three, four)));
        guest.tell("await cancel");
        let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
        assert!(report.expect("this is its process").is_balanced());
        any.join().expect("no panic");
        let (three, four) = all.join().expect("no panic");
        assert!(matches!(three, Err(TaskError::Cancelled)));
        assert!(matches!(four, Err(TaskError::Cancelled)));
    });
}

#[test]
fn wait_all_returns_the_handles_if_not_all_have_ended() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let meeting = Meeting::new("all");
        let handles = vec![
            pool.submit(Job::Double(1)).expect("open"),
            pool.submit(meeting.job()).expect("open"),
            pool.submit(Job::Die(Death::Abort)).expect("open"),
        ];
        let mut guest = meeting.guest();
        let handles =
            wait_all_deadline(handles, Instant::now() + SHORT_TIME).expect_err("one runs");
        let finished: Vec<_> = handles.iter().map(TaskHandle::is_finished).collect();
        assert_eq!(finished.get(1), Some(&false), "{finished:?}");
        guest.tell("done");
        let results = wait_all_deadline(handles, Instant::now() + LIMIT).expect("in time");
        let [double, met, died] = results.as_slice() else {
            panic!("{results:?}");
        };
        assert_eq!((double.as_deref(), met.as_deref()), (Ok("2"), Ok("done")));
        assert!(matches!(died, Err(TaskError::Crashed { .. })));
        assert!(wait_all(Vec::<TaskHandle<Job>>::new()).is_empty());
        close(&pool);
    });
}

/// A task may wait until its values are read. Its caller waits for several tasks instead, and reads none.
#[test]
fn tasks_whose_values_nobody_reads_do_not_keep_waiters_waiting() {
    guarded(LIMIT, || {
        let pool = TypedPool::<Emitting>::builder()
            .program(program("pooled"))
            .workers(1)
            .progress(1, WhenFull::Wait)
            .start()
            .expect("a pool");
        let submit = || {
            pool.submit(Emitting::Numbers(50, End::Output))
                .expect("open")
        };
        let handles = [submit(), submit()];
        wait_any(&handles).expect("one ends");
        let (one, two) = wait_all((submit(), submit()));
        assert_eq!((one, two), (Ok(50), Ok(50)));
        let deadline = Instant::now() + LIMIT;
        wait_all_deadline(vec![submit(), submit()], deadline).expect("in time");
        let joined = [submit(), submit()];
        pool.join();
        assert!(joined.iter().all(TaskHandle::is_finished));
        let kept = pool.scope(|scope| scope.submit(Emitting::Numbers(50, End::Output)));
        assert_eq!(kept.expect("open").wait(), Ok(50));
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("its process");
        assert!(report.is_balanced(), "{report}");
        assert_eq!(report.completed, 9);
    });
}

// Waiting for the pool.

#[test]
fn a_drain_with_a_deadline_tells_its_end_from_the_deadline() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        let meeting = Meeting::new("drain-deadline");
        drop(pool.submit(meeting.job()).expect("open"));
        let mut guest = meeting.guest();
        let mut outcomes = pool.drain();
        assert!(outcomes.next_timeout(Duration::ZERO).is_none() && !outcomes.is_over());
        assert!(outcomes.next_deadline(Instant::now()).is_none() && !outcomes.is_over());
        guest.tell("done");
        let outcome = outcomes.next_timeout(LIMIT).expect("it ends");
        assert_eq!(outcome.result.as_deref(), Ok("done"));
        assert!(!outcomes.is_over());
        assert!(outcomes.next_timeout(LIMIT).is_none() && outcomes.is_over());
        // Another task makes it go on, and one that lasts as long as the pool is not over before.
        drop(pool.submit(Job::Double(1)).expect("open"));
        assert!(outcomes.next().is_some() && !outcomes.is_over());
        let mut all = pool.outcomes();
        assert!(all.next_timeout(Duration::ZERO).is_none() && !all.is_over());
        drop(pool.submit(Job::Double(2)).expect("open"));
        let outcome = all.next_deadline(Instant::now() + LIMIT);
        assert_eq!(outcome.expect("it ends").result.as_deref(), Ok("4"));
        close(&pool);
        assert!(all.next_timeout(LIMIT).is_none() && all.is_over());
    });
}

#[test]
fn join_waits_for_all_tasks_and_takes_no_outcome() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let meeting = Meeting::new("join");
        let (group, in_map) = (pool.group(), [Job::Double(1)]);
        let held = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        let late = pool.join_timeout(Duration::ZERO).expect_err("one runs");
        assert_eq!(late.in_flight, 1);
        let late = group
            .join_deadline(Instant::now())
            .map_err(|late| late.in_flight);
        assert_eq!(late, Ok(()), "none is the group's");
        let dropped = pool.submit(Job::Die(Death::Abort)).expect("open").id();
        drop(group.submit(Job::Double(3)).expect("open"));
        pool.submit_detached(Job::Double(4)).expect("open");
        let mut map = pool.map(in_map);
        assert!(map.next().is_some());
        thread::scope(|scope| {
            let joined = scope.spawn(|| pool.join());
            guest.tell("done");
            joined.join().expect("no panic");
        });
        assert_eq!(pool.in_flight(), 0);
        assert!(held.is_finished());
        assert_eq!(held.wait().as_deref(), Ok("done"));
        assert_eq!(
            pool.drain().map(|outcome| outcome.id).collect::<Vec<_>>(),
            [dropped]
        );
        assert_eq!(outputs(group.drain()), doubles([3]));
        assert_eq!(close(&pool).submitted, 5);
        pool.join();
    });
}

/// It sleeps while the pool is idle, and ends only with it. Outcomes of handles that are dropped late belong to it, too.
#[test]
fn outcomes_go_on_until_the_pool_ends() {
    guarded(LIMIT, || {
        let pool = Arc::new(jobs(2).start().expect("a pool"));
        let consumer = {
            let pool = Arc::clone(&pool);
            asleep(move || {
                pool.outcomes()
                    .map(|outcome| outcome.id)
                    .collect::<BTreeSet<_>>()
            })
        };
        let mut expected = BTreeSet::new();
        for round in 0..3 {
            pool.join(); // it is idle between the rounds
            one_of_each(|job| drop(pool.submit(job).expect("open")));
            expected.extend((0..4).map(|n| 4 * round + n));
        }
        let group = pool.group();
        drop(group.submit(Job::Double(1)).expect("open"));
        let kept = pool.submit(Job::Double(2)).expect("open");
        expected.insert(kept.id().get());
        pool.join();
        assert!(!consumer.is_finished(), "the pool has not ended");
        drop(kept);
        assert_eq!(close(&pool).submitted, 14);
        let got = consumer.join().expect("no panic");
        assert_eq!(
            got.iter().map(|id| id.get()).collect::<BTreeSet<_>>(),
            expected
        );
        assert!(pool.outcomes().next().is_none());
        assert_eq!(group.drain().count(), 1);
    });
}
