//! Goal: however a caller waits for tasks, in groups, in scopes, by any or all of several handles, or not at all, each task
//! has one outcome, which goes to the one that it belongs to; whatever happens to workers, handles and the pool. The books
//! balance (P13).
//!
//! Method: pools with the tasks of `jobs`. A task at a meeting runs until the test says otherwise, so that no test depends on
//! the time that anything takes. If a wait missed its wake-up, the watchdog would end the test.

use futures::StreamExt;
use ipc_tests::support::{
    LIMIT, asleep,
    pools::{close, jobs},
};
use ipc_tests::{
    emitting::{Emitting, End},
    guarded,
    jobs::{Death, Guest, Job, Meeting, Poison},
    program,
    quirks::{Hook, Quirk, Tricky, Work},
    rounds::{Rng, rounds, seed},
    runtimes::{Flag, block_on, poll_once},
};
use std::{
    collections::BTreeSet,
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use workring::pool::{
    Group, OnDrop, OutcomeOf, Shutdown, SubmitError, Tag, TaskError, TaskHandle, TypedPool,
    WaitAnyError, WhenFull, wait_all, wait_all_deadline, wait_any, wait_any_deadline,
};

/// A time that is over before the test goes on. No test depends on its length.
const SHORT_TIME: Duration = Duration::from_millis(20);

type Jobs = TypedPool<Job>;

/// Submits tasks whose handles are dropped, one for each way in which a task can end.
fn one_of_each(submit: impl Fn(Job)) {
    submit(Job::Double(1));
    submit(Job::Fail("wrong".into()));
    submit(Job::Panic("bad".into()));
    submit(Job::Die(Death::Abort));
}

/// Returns the outputs of outcomes, in any order.
fn outputs(outcomes: impl Iterator<Item = OutcomeOf<Job>>) -> BTreeSet<String> {
    outcomes
        .map(|outcome| outcome.result.expect("an output"))
        .collect()
}

fn doubles(numbers: impl IntoIterator<Item = u64>) -> BTreeSet<String> {
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

// Groups.

#[test]
fn outcomes_of_a_group_are_its_own() {
    guarded(LIMIT, || {
        let pool = jobs(2).capacity(8).start().expect("a pool");
        let (one, other) = (pool.group(), pool.group());
        for n in 0..60 {
            match n % 3 {
                0 => drop(pool.submit(Job::Double(n)).expect("open")),
                1 => drop(one.submit(Job::Double(n)).expect("open")),
                _ => drop(other.submit(Job::Double(n)).expect("open")),
            }
        }
        let of = |rest| doubles((0..60).filter(move |n| n % 3 == rest));
        assert_eq!(outputs(other.drain()), of(2));
        assert_eq!(outputs(one.drain()), of(1));
        assert_eq!(outputs(pool.drain()), of(0));
        assert!(one.drain().next().is_none() && one.in_flight() == 0);
        // It goes on.
        drop(one.submit(Job::Double(7)).expect("open"));
        assert_eq!(outputs(one.drain()), doubles([7]));
        assert_eq!(close(&pool).completed, 61);
    });
}

#[test]
fn a_group_gets_every_kind_of_outcome() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let group = pool.group();
        one_of_each(|job| drop(group.submit(job).expect("open")));
        drop(group.submit(Job::DieUntil(2, Death::Abort)).expect("open"));
        let mut kinds: Vec<_> = group
            .drain()
            .map(|outcome| match outcome.result {
                Ok(_) => 0,
                Err(TaskError::Failed(_)) => 1,
                Err(TaskError::Panicked(_)) => 2,
                Err(TaskError::Crashed { .. }) => 3,
                Err(other) => panic!("{other:?}"),
            })
            .collect();
        kinds.sort_unstable();
        assert_eq!(kinds, [0, 1, 2, 3, 3]);
        assert!(pool.drain().next().is_none());
        close(&pool);
    });
}

/// The drain of a group does not wait for a handle that its caller keeps. If the handle is dropped, the outcome goes to the
/// group, before and after it is known.
#[test]
fn a_handle_of_a_group_leaves_its_outcome_to_the_group() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        let meeting = Meeting::new("group-handle");
        let group = pool.group();
        let [kept, dropped] = [(); 2].map(|()| group.submit(meeting.job()).expect("open"));
        let mut guest = meeting.guest();
        assert_eq!(group.in_flight(), 2);
        assert!(group.drain().next().is_none());
        let id = dropped.id();
        drop(dropped);
        guest.tell("done");
        meeting.guest().tell("done");
        assert_eq!(
            group.drain().map(|outcome| outcome.id).collect::<Vec<_>>(),
            [id]
        );
        group.join();
        let id = kept.id();
        drop(kept);
        assert_eq!(
            group.drain().map(|outcome| outcome.id).collect::<Vec<_>>(),
            [id]
        );
        assert!(pool.drain().next().is_none());
        close(&pool);
    });
}

#[test]
fn cancelling_a_group_concerns_its_own_tasks_only() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let meeting = Meeting::new("group-cancel");
        let group = pool.group();
        drop(group.submit(meeting.job()).expect("open"));
        meeting.guest().tell("await cancel");
        let other = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        let queued = group.submit(Job::Double(1)).expect("open");
        drop(group.submit(Job::Double(2)).expect("open"));
        group.submit_detached(Job::Double(3)).expect("open");
        assert_eq!(group.cancel(), 4);
        let ends: Vec<_> = group.drain().map(|outcome| outcome.result).collect();
        assert!(ends.contains(&Err(TaskError::Failed("cancelled".into()))));
        assert!(ends.contains(&Err(TaskError::Cancelled)), "{ends:?}");
        assert!(matches!(queued.wait(), Err(TaskError::Cancelled)));
        assert_eq!(ends.len(), 2);
        group.join();
        guest.tell("done");
        assert!(other.wait().is_ok());
        assert_eq!(close(&pool).cancelled, 3);
    });
}

/// Its tasks are cancelled and their outcomes discarded, but a handle still gets its own. A handle that is dropped later
/// finds no group, and leaves nothing to anyone.
#[test]
fn dropping_a_group_cancels_its_tasks_and_handles_get_their_outcomes() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        let meeting = Meeting::new("group-drop");
        let group = pool.group();
        let running = group.submit(meeting.job()).expect("open");
        meeting.guest().tell("await cancel");
        let late = group.submit(Job::Double(1)).expect("open");
        drop(group.submit(Job::Double(2)).expect("open"));
        drop(group);
        assert_eq!(running.wait(), Err(TaskError::Failed("cancelled".into())));
        pool.join();
        drop(late);
        // A new group does not get what belonged to that one.
        assert!(pool.group().drain().next().is_none());
        assert!(pool.drain().next().is_none());
        assert_eq!(close(&pool).cancelled, 2);
    });
}

#[test]
fn a_detached_group_lets_its_tasks_go_on() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        let meeting = Meeting::new("group-detach");
        let group = pool.group();
        drop(group.submit(Job::Double(1)).expect("open"));
        group.join();
        drop(group.submit(meeting.job()).expect("open"));
        let kept = group.submit(Job::Double(2)).expect("open");
        let mut guest = meeting.guest();
        group.detach();
        guest.tell("done");
        assert_eq!(kept.wait().as_deref(), Ok("4"));
        assert!(pool.drain().next().is_none());
        assert_eq!(close(&pool).completed, 3);
    });
}

#[test]
fn a_group_outlives_its_pool() {
    guarded(LIMIT, || {
        let pool = jobs(1).grace(LIMIT).start().expect("a pool");
        let meeting = Meeting::new("group-outlives");
        let group = pool.group();
        drop(group.submit(Job::Double(1)).expect("open"));
        group.join();
        drop(group.submit(meeting.job()).expect("open"));
        meeting.guest().tell("await cancel");
        drop(group.submit(Job::Double(2)).expect("open"));
        drop(pool);
        let ends: Vec<_> = group.drain().map(|outcome| outcome.result).collect();
        assert_eq!(ends.len(), 3);
        assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 1);
        let refused = group.submit(Job::Double(3)).expect_err("closed");
        assert!(matches!(refused, SubmitError::Closed(Job::Double(3))));
        assert!(group.join_timeout(Duration::ZERO).is_ok());
        assert_eq!(group.cancel(), 0);
    });
}

/// Outcomes of groups take memory like all others.
#[test]
fn outcomes_of_groups_count_as_unclaimed() {
    guarded(LIMIT, || {
        let pool = jobs(1).capacity(2).max_unclaimed_results(3);
        let pool = pool.start().expect("a pool");
        let group = pool.group();
        let refused =
            iter::repeat_with(|| group.submit(Job::Double(1)).map(drop)).find_map(Result::err);
        let is_unclaimed = matches!(refused, Some(SubmitError::Unclaimed { max: 3, .. }));
        assert!(is_unclaimed, "{refused:?}");
        assert!(group.drain().count() >= 3);
        drop(group.submit(Job::Double(1)).expect("there is room again"));
        drop(group);
        pool.submit(Job::Double(1)).expect("room").detach();
        close(&pool);
    });
}

/// Several threads, each with groups of its own, and workers that die.
#[test]
fn groups_of_many_threads_get_exactly_their_outcomes() {
    guarded(LIMIT, || {
        let pool = jobs(3).capacity(16).start().expect("a pool");
        let count = u64::from(rounds(150, 5_000));
        let seed = seed();
        let submitted: u64 = thread::scope(|scope| {
            let threads = (0..4).map(|number| {
                let pool = &pool;
                scope.spawn(move || fill_groups(pool, count, &mut Rng::with_seed(seed + number)))
            });
            let threads: Vec<_> = threads.collect();
            threads
                .into_iter()
                .map(|it| it.join().expect("no panic"))
                .sum()
        });
        assert_eq!(pool.in_flight(), 0);
        assert!(pool.drain().next().is_none());
        assert_eq!(close(&pool).submitted, submitted);
    });
}

/// Makes groups until `count` tasks are submitted. Returns how many there were.
fn fill_groups(pool: &Jobs, count: u64, rng: &mut Rng) -> u64 {
    let mut submitted = 0;
    while submitted < count {
        let group = pool.group();
        let mut expected = BTreeSet::new();
        let mut kept = Vec::new();
        for _ in 0..rng.u64(1..40) {
            let job = match rng.u32(0..30) {
                0 => Job::Die(Death::Abort),
                1 => Job::Fail("wrong".into()),
                _ => Job::Double(submitted),
            };
            submitted += 1;
            let handle = group.submit(job).expect("open");
            match rng.u32(0..6) {
                0 => kept.push(handle),
                1 => drop(handle.detach()),
                2 => drop(handle.wait()),
                _ => {
                    expected.insert(handle.id());
                }
            }
        }
        match rng.u32(0..4) {
            0 => drop(group),
            1 => group.detach(),
            _ => {
                let taken: BTreeSet<_> = group.drain().map(|outcome| outcome.id).collect();
                assert_eq!(taken, expected);
                group.join();
                expected = kept.iter().map(TaskHandle::id).collect();
                kept.clear();
                let taken: BTreeSet<_> = group.drain().map(|outcome| outcome.id).collect();
                assert_eq!(taken, expected);
            }
        }
        for handle in kept {
            let id = handle.id();
            assert_eq!(handle.outcome().id, id);
        }
    }
    pool.join();
    submitted
}

// Scopes.

/// Tells its task to end, once `closure_has_ended`.
fn end_after(mut guest: Guest, closure_has_ended: &AtomicBool, is_told: &AtomicBool) {
    while !closure_has_ended.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    is_told.store(true, Ordering::SeqCst);
    guest.tell("done");
}

/// The task goes on only when the closure has ended, normally or by a panic; so a scope that does not wait returns first.
#[test]
fn a_scope_waits_for_its_tasks_also_when_it_panics() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let meeting = Meeting::new("scope");
        let ways: [fn(&Group<Job>, Job); 2] = [
            |scope, job| drop(scope.submit(job).expect("open")),
            |scope, job| {
                scope.submit_detached(job).expect("open");
            },
        ];
        for (panics, submit) in [false, true]
            .into_iter()
            .flat_map(|panics| ways.map(|way| (panics, way)))
        {
            let (closure_has_ended, is_told) = (AtomicBool::new(false), AtomicBool::new(false));
            thread::scope(|threads| {
                let scope = || {
                    pool.scope(|scope| {
                        submit(scope, meeting.job());
                        let guest = meeting.guest();
                        threads.spawn(|| end_after(guest, &closure_has_ended, &is_told));
                        closure_has_ended.store(true, Ordering::SeqCst);
                        assert!(!panics, "the closure panics");
                        7
                    })
                };
                let result = catch_unwind(AssertUnwindSafe(scope));
                assert!(is_told.load(Ordering::SeqCst), "it did not wait");
                assert_eq!(result.is_err(), panics);
            });
            assert_eq!(pool.in_flight(), 0);
        }
        assert!(pool.drain().next().is_none());
        assert_eq!(close(&pool).completed, 4);
    });
}

#[test]
fn a_scope_returns_what_its_closure_makes_of_the_outcomes() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let of_other = pool.submit(Job::Double(100)).expect("open");
        let (kept, drained) = pool.scope(|scope| {
            for n in 0..20 {
                drop(scope.submit(Job::Double(n)).expect("open"));
            }
            let drained = outputs(scope.drain());
            one_of_each(|job| drop(scope.submit(job).expect("open")));
            (scope.submit(Job::Double(50)).expect("open"), drained)
        });
        assert_eq!(drained, doubles(0..20));
        assert!(
            kept.is_finished(),
            "a handle that leaves the scope has its outcome"
        );
        assert_eq!(kept.wait().as_deref(), Ok("100"));
        assert_eq!(of_other.wait().as_deref(), Ok("200"));
        assert!(pool.drain().next().is_none(), "others were discarded");
        assert_eq!(close(&pool).submitted, 26);
    });
}

#[test]
fn a_scope_ends_when_the_pool_does() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        let meeting = Meeting::new("scope-end");
        thread::scope(|threads| {
            threads.spawn(|| {
                meeting.guest().tell("await cancel");
                let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
                assert!(report.expect("this is its process").is_balanced());
            });
            let handle = pool.scope(|scope| {
                drop(scope.submit(Job::Double(1)));
                scope.submit(meeting.job()).expect("open")
            });
            assert!(handle.wait().is_err());
        });
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

// Tags.

#[test]
fn the_outcome_carries_the_tag_however_the_task_ends() {
    guarded(LIMIT, || {
        let pool = jobs(2).retries(1).start().expect("a pool");
        let meeting = Meeting::new("tags");
        let group = pool.group();
        let jobs = [
            Job::Double(1),
            Job::Fail("wrong".into()),
            Job::Panic("bad".into()),
            Job::Die(Death::Abort),
            Job::DieUntil(2, Death::Abort),
            Job::Letters(5_000_000),
        ];
        for (n, job) in (0..).zip(&jobs) {
            let tagged = || pool.task(job.clone()).tag(n);
            let outcome = tagged().submit().expect("open").outcome();
            assert_eq!(outcome.tag(), Some(&Tag::Number(n)), "{outcome:?}");
            drop(tagged().try_submit().expect("room"));
            let outcome = pool.drain().next().expect("one");
            assert_eq!(outcome.tag().and_then(Tag::number), Some(n));
            let text = format!("of a group: {n}");
            drop(
                group
                    .task(job.clone())
                    .tag(text.clone())
                    .submit()
                    .expect("open"),
            );
            let outcome = group.drain().next().expect("one");
            assert_eq!(outcome.tag().and_then(Tag::text), Some(&*text));
            let awaited = block_on(async {
                tagged()
                    .submit_async()
                    .await
                    .expect("open")
                    .outcome_async()
                    .await
            });
            assert_eq!(awaited.tag(), Some(&Tag::Number(n)));
            tagged().submit_detached().expect("open");
        }
        assert_eq!(
            pool.submit(Job::Double(1)).expect("open").outcome().tag(),
            None
        );

        let running = pool.task(meeting.job()).tag("runs").submit().expect("open");
        meeting.guest().tell("await cancel");
        running.cancel();
        assert_eq!(running.outcome().tag(), Some(&Tag::from("runs")));
        close(&pool);
        let refused = pool.task(Job::Double(1)).tag(1).submit();
        assert!(refused.is_err_and(|error| error.is_closed()));
    });
}

#[test]
fn the_outcomes_of_a_map_carry_tags() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let tasks = || {
            (0..40).map(|n| {
                if n % 10 == 3 {
                    Job::Die(Death::Abort)
                } else {
                    Job::Double(n)
                }
            })
        };
        let text = |job: &Job| format!("{job:?}");
        for chunk in [1, 7] {
            let tagged = pool.map(tasks()).chunk(chunk).tag(text);
            let tags = tagged.map(|outcome| outcome.tag().cloned().expect("each has one"));
            assert!(tags.eq(tasks().map(|job| Tag::from(text(&job)))));
            for outcome in pool.map_unordered(tasks()).chunk(chunk).tag(text) {
                let tag = outcome.tag().and_then(Tag::text).expect("each has one");
                match &outcome.result {
                    Ok(output) => {
                        let number: u64 = output.parse().expect("a number");
                        assert_eq!(tag, text(&Job::Double(number / 2)));
                    }
                    Err(_) => assert!(tag.starts_with("Die"), "{tag}"),
                }
            }
        }
        close(&pool);
        let refused = pool.map(tasks()).tag(text).next().expect("one");
        assert_eq!(refused.tag(), Some(&Tag::from(text(&Job::Double(0)))));
    });
}

// Async callers.

#[test]
fn a_group_is_a_stream() {
    guarded(LIMIT, || {
        let pool = jobs(2).capacity(4).start().expect("a pool");
        let group = pool.group();
        block_on(async {
            for n in 0..40 {
                drop(group.submit_async(Job::Double(n)).await.expect("open"));
            }
            let outcomes = group.drain().into_stream().collect::<Vec<_>>().await;
            assert_eq!(outputs(outcomes.into_iter()), doubles(0..40));
        });
        // A stream that is dropped loses no outcome, and one waits for the tasks of its group only.
        let meeting = Meeting::new("group-stream");
        drop(group.submit(meeting.job()).expect("open"));
        let mut guest = meeting.guest();
        let flag = Flag::new();
        let mut stream = group.drain().into_stream();
        assert!(poll_once(&mut stream.next(), &flag).is_pending());
        drop(stream);
        drop(pool.submit(Job::Double(1)).expect("open"));
        guest.tell("done");
        block_on(async {
            let outcome = group.drain().into_stream().next().await.expect("one");
            assert_eq!(outcome.result.as_deref(), Ok("done"));
            assert!(group.drain().into_stream().next().await.is_none());
        });
        assert_eq!(outputs(pool.drain()), doubles([1]));
        close(&pool);
    });
}

// The drop of a pool.

#[test]
fn a_dropped_pool_does_what_it_was_told() {
    guarded(LIMIT, || {
        let told = |on_drop| {
            jobs(1)
                .grace(LIMIT)
                .on_drop(on_drop)
                .start()
                .expect("a pool")
        };
        let pool = told(OnDrop::Drain(LIMIT));
        let handles: Vec<_> = (0..50)
            .map(|n| pool.submit(Job::Double(n)).expect("open"))
            .collect();
        let group = pool.group();
        drop(group.submit(Job::Die(Death::Abort)).expect("open"));
        drop(pool);
        for (n, result) in (0..).zip(wait_all(handles)) {
            assert_eq!(result, Ok((2_u64 * n).to_string()));
        }
        let died = group.drain().next().expect("one");
        assert!(matches!(died.result, Err(TaskError::Crashed { .. })));

        for on_drop in [OnDrop::Drain(SHORT_TIME), OnDrop::Cancel] {
            let meeting = Meeting::new("on-drop");
            let pool = told(on_drop);
            let handles = [(); 2].map(|()| pool.submit(meeting.job()).expect("open"));
            meeting.guest().tell("await cancel");
            drop(pool);
            let [running, queued] = wait_all(handles);
            assert_eq!(running, Err(TaskError::Failed("cancelled".into())));
            assert_eq!(queued, Err(TaskError::Cancelled));
        }
    });
}

/// A pool that is dropped by a panic ends as it was told, too.
#[test]
fn a_panic_drains_a_pool_that_drains_on_drop() {
    guarded(LIMIT, || {
        let pool = jobs(1)
            .on_drop(OnDrop::Drain(LIMIT))
            .start()
            .expect("a pool");
        let submit = |n| pool.submit(Job::Double(n)).expect("open");
        let handles: Vec<_> = (0..100).map(submit).collect();
        let panicking = move || {
            let _pool = pool;
            panic!("while tasks are queued");
        };
        assert!(catch_unwind(AssertUnwindSafe(panicking)).is_err());
        assert!(handles.iter().all(TaskHandle::is_finished));
        assert!(wait_all(handles).iter().all(Result::is_ok));
    });
}

// Tasks that are returned.

/// One job for each way to have no output.
fn without_output() -> Vec<Job> {
    vec![
        Job::Fail("wrong".into()),
        Job::Panic("bad".into()),
        Job::Die(Death::Abort),
        Job::Poison(Poison),
        // Its result is too large.
        Job::Letters(5_000_000),
    ]
}

#[test]
fn an_outcome_without_output_carries_its_task_back() {
    guarded(LIMIT, || {
        let pool = jobs(2).return_tasks(true).start().expect("a pool");
        let group = pool.group();
        let mut total = 0;
        for job in without_output().into_iter().chain([Job::Double(1)]) {
            let expected = (!matches!(job, Job::Double(_))).then(|| job.clone());
            let submit = || pool.task(job.clone()).tag("tagged").submit().expect("open");
            let check = |mut outcome: OutcomeOf<Job>| {
                assert_eq!(outcome.result.is_err(), expected.is_some());
                assert!(
                    outcome.take_task::<Emitting>().is_none(),
                    "it is of another type"
                );
                assert_eq!(outcome.take_task::<Job>(), expected);
                assert_eq!(outcome.take_task::<Job>(), None);
            };
            let outcome = submit().outcome();
            assert_eq!(outcome.tag().and_then(Tag::text), Some("tagged"));
            check(outcome);
            drop(submit());
            check(pool.drain().next().expect("one"));
            let done = submit();
            pool.join();
            drop(done);
            check(pool.drain().next().expect("one"));
            drop(group.submit(job.clone()).expect("open"));
            check(group.drain().next().expect("one"));
            let awaited = async {
                pool.submit_async(job.clone())
                    .await
                    .expect("open")
                    .outcome_async()
                    .await
            };
            check(block_on(awaited));
            pool.submit_detached(job.clone()).expect("open");
            pool.submit(job.clone()).expect("open").detach();
            total += 7;
        }
        assert_eq!(close(&pool).submitted, total);
    });
}

/// Those that are queued, running or refused when the pool ends.
#[test]
fn tasks_come_back_from_a_pool_that_ends() {
    guarded(LIMIT, || {
        let pool = jobs(1)
            .grace(LIMIT)
            .return_tasks(true)
            .start()
            .expect("a pool");
        let meeting = Meeting::new("come-back");
        let running = pool.submit(meeting.job()).expect("open");
        meeting.guest().tell("await cancel");
        let queued = pool.submit(Job::Double(1)).expect("open");
        let in_map = [Job::Double(2), Job::Double(3)];
        let mut map = pool.map(in_map.clone()).window(1);
        let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
        assert!(report.expect("this is its process").is_balanced());
        assert_eq!(running.outcome().take_task(), Some(meeting.job()));
        assert_eq!(queued.outcome().take_task(), Some(Job::Double(1)));
        let mut refused = map.next().expect("the first is refused");
        assert_eq!(refused.take_task::<Job>().as_ref(), in_map.first());
    });
}

#[test]
fn maps_return_tasks_singly_and_in_chunks() {
    guarded(LIMIT, || {
        let pool = jobs(2).return_tasks(true).start().expect("a pool");
        let tasks: Vec<_> = (0..8_u64)
            .flat_map(|n| {
                without_output()
                    .into_iter()
                    .chain([Job::Double(n)])
                    .cycle()
                    .skip(usize::try_from(n).expect("small"))
                    .take(3)
            })
            .collect();
        for chunk in [1, 7] {
            let check = |mut outcome: OutcomeOf<Job>| {
                let task = outcome.take_task::<Job>();
                assert_eq!(task.is_some(), outcome.result.is_err());
                task
            };
            let expected = || tasks.iter().filter(|job| !matches!(job, Job::Double(_)));
            let returned = pool.map(tasks.clone()).chunk(chunk).filter_map(check);
            assert!(returned.eq(expected().cloned()));
            let returned = pool
                .map_unordered(tasks.clone())
                .chunk(chunk)
                .filter_map(check);
            let mut returned: Vec<_> = returned.map(|job| format!("{job:?}")).collect();
            let mut expected: Vec<_> = expected().map(|job| format!("{job:?}")).collect();
            returned.sort_unstable();
            expected.sort_unstable();
            assert_eq!(returned, expected);
        }
        close(&pool);
    });
}

#[test]
fn a_panic_of_a_kept_tasks_drop_or_of_a_tag_reaches_the_caller_and_costs_nothing_else() {
    guarded(LIMIT, || {
        let pool = TypedPool::<Quirk>::builder()
            .program(program("pooled"))
            .workers(1)
            .return_tasks(true);
        let pool = pool.start().expect("a pool");
        let hook = Hook::new(|| panic!("a hook"));
        let work = || Some(Work::Give(Tricky::new(1)));
        let task = || Quirk::tricky(Tricky::new(work()).on_drop(hook.misbehaviour()));
        let panics = |act: &mut dyn FnMut()| catch_unwind(AssertUnwindSafe(act)).is_err();

        let mut handle = Some(pool.submit(task()).expect("open"));
        assert!(panics(&mut || drop(handle.take().map(TaskHandle::wait))));
        drop(pool.submit(task()).expect("open"));
        assert!(panics(&mut || drop(pool.drain().next())));
        let mut map = pool.map([task(), Quirk::give(2)]);
        assert!(panics(&mut || drop(map.next())));
        assert_eq!(
            map.map(|outcome| *outcome.result.expect("an output").get())
                .collect::<Vec<_>>(),
            [2]
        );

        let is_first = AtomicBool::new(true);
        let tag = |_: &Quirk| {
            assert!(!is_first.swap(false, Ordering::SeqCst), "a tag");
            7
        };
        let mut map = pool.map([1, 2, 3].map(Quirk::give)).window(1).tag(tag);
        assert!(panics(&mut || drop(map.next())));
        let tags: Vec<_> = map
            .map(|outcome| outcome.tag().and_then(Tag::number))
            .collect();
        assert_eq!(tags, [None, Some(7), Some(7)]);
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("its process");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.submitted, report.completed), (7, 7));
    });
}

/// The value is dropped where its outcome is claimed, or where it is given up, and never under a lock of the pool: its `Drop`
/// uses the pool.
#[test]
fn a_kept_task_whose_drop_uses_the_pool_is_dropped_without_a_lock() {
    guarded(LIMIT, || {
        let pool = TypedPool::<Quirk>::builder()
            .program(program("pooled"))
            .workers(1)
            .return_tasks(true);
        let pool = Arc::new(pool.start().expect("a pool"));
        let drops = Arc::new(AtomicU32::new(0));
        let hook = {
            let (pool, drops) = (Arc::downgrade(&pool), Arc::clone(&drops));
            Hook::new(move || {
                drops.fetch_add(1, Ordering::SeqCst);
                if let Some(pool) = pool.upgrade() {
                    assert!(pool.in_flight() < 100);
                }
            })
        };
        let work = || Some(Work::Give(Tricky::new(1)));
        let task = || Quirk::tricky(Tricky::new(work()).on_drop(hook.misbehaviour()));
        let group = pool.group();
        let mut expected = 0;
        let mut check = |what: &str| {
            expected += 1;
            pool.join();
            assert_eq!(drops.load(Ordering::SeqCst), expected, "{what}");
        };
        drop(pool.submit(task()).expect("open").wait());
        check("waited for");
        drop(pool.submit(task()).expect("open"));
        drop(pool.drain().next());
        check("drained");
        pool.submit(task()).expect("open").detach();
        check("detached");
        pool.submit_detached(task()).expect("open");
        check("submitted detached");
        drop(pool.submit(task()).expect("open").cancel_on_drop());
        check("cancelled on drop");
        drop(group.submit(task()).expect("open"));
        drop(group);
        check("its group was dropped");
        drop(pool.map_unordered([task()]).next());
        check("of a map");
        drop(pool.map([task()]));
        check("of a map that was not begun");
        let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("its process");
        assert!(report.is_balanced(), "{report}");
    });
}
