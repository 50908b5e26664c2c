//! Goal: the outcomes of a group's tasks are its own, whichever way its callers take them, and however group, scope and pool
//! end (P20).
//!
//! Method: that of `callers`.

use crate::callers::{Jobs, doubles, one_of_each, outputs};
use futures::StreamExt;
use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    guarded,
    jobs::{Death, Guest, Job, Meeting},
    rounds::{Rng, rounds, seed},
    runtimes::{Flag, block_on, poll_once},
};
use std::{
    collections::BTreeSet,
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use workring::pool::{Group, Shutdown, SubmitError, TaskError, TaskHandle};

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
