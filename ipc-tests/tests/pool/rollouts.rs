//! Rolling restarts, and pools that get more or fewer workers while they run, also while workers die and the pool ends.

use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    guarded,
    jobs::{Death, Guest, Job, Meeting},
};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use workring::pool::{PoolStats, RolloutError, Shutdown, TypedPool, WorkerStatus};

type Pool = TypedPool<Job>;

/// Returns how many workers take tasks.
fn able(stats: &PoolStats) -> usize {
    stats.workers_with(WorkerStatus::Idle) + stats.workers_with(WorkerStatus::Busy)
}

fn pids(pool: &Pool) -> BTreeSet<Option<u32>> {
    let workers = pool.stats().workers;
    workers.into_iter().map(|worker| worker.pid).collect()
}

fn pid_of(guest: &Guest) -> Option<u32> {
    u32::try_from(guest.pid.as_raw()).ok()
}

fn pid_of_leaving(pool: &Pool) -> Option<u32> {
    let workers = pool.stats().workers;
    let mut leaving = workers
        .iter()
        .filter(|worker| worker.status == WorkerStatus::Leaving);
    leaving.next()?.pid
}

/// Asks again until the figures satisfy a condition.
fn wait_until(pool: &Pool, condition: impl Fn(&PoolStats) -> bool) {
    while !condition(&pool.stats()) {
        thread::yield_now();
    }
}

#[test]
fn a_rolling_restart_misses_one_worker_at_a_time() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("rolling");
        let pool = jobs(3).grace(LIMIT).start().expect("a pool");
        let before = pids(&pool);
        assert_eq!(before.len(), 3);
        let handles = [(); 3].map(|()| pool.submit(meeting.job()).expect("open"));
        let mut guests: Vec<Guest> = (0..3).map(|_| meeting.guest()).collect();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let stats = pool.stats();
                    assert!(able(&stats) >= 2, "{stats:?}");
                }
            });
            let rollout = pool.recycle().expect("here");
            for replaced in 0..3 {
                // One of those that run a task is asked, once the one before is replaced; it goes on for as long as that takes.
                let (mut leaving, mut found) = (None, None);
                while found.is_none() {
                    leaving = pid_of_leaving(&pool);
                    found = guests.iter().position(|guest| pid_of(guest) == leaving);
                    thread::yield_now();
                }
                assert_eq!(pool.stats().totals.recycled, replaced);
                guests.remove(found.expect("a guest")).tell("done");
                wait_until(&pool, |stats| {
                    stats.workers.iter().all(|worker| worker.pid != leaving)
                });
            }
            rollout.wait().expect("the pool runs");
            is_over.store(true, Ordering::Release);
        });
        for handle in handles {
            assert_eq!(handle.wait().expect("an output"), "done");
        }
        assert!(pids(&pool).is_disjoint(&before));
        let report = close(&pool);
        let counts = (report.recycled, report.started, report.completed);
        assert_eq!(counts, (3, 6, 3));
        assert_eq!((report.died, report.killed), (0, 0));
    });
}

#[test]
fn a_restart_loses_no_task_and_completes_while_workers_die() {
    guarded(LIMIT, || {
        let pool = jobs(2).retries(1).grace(LIMIT).start().expect("a pool");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..3 {
                    let before = pids(&pool);
                    pool.recycle().expect("here").wait().expect("it runs");
                    // A process that has ended may still be in the copy of the figures; none that was there takes tasks.
                    for worker in pool.stats().workers {
                        let takes_tasks = worker.status != WorkerStatus::BackingOff;
                        assert!(!takes_tasks || !before.contains(&worker.pid));
                    }
                }
                is_over.store(true, Ordering::Release);
            });
            let mut number = 0;
            while !is_over.load(Ordering::Acquire) {
                number += 1;
                let job = match number % 10 {
                    3 => Job::DieUntil(2, Death::Abort),
                    _ => Job::Double(number),
                };
                let outcome = pool.submit(job).expect("open").wait();
                outcome.expect("an output");
            }
        });
        let report = close(&pool);
        assert_eq!(report.completed, report.submitted);
    });
}

#[test]
fn a_pool_gets_more_workers_and_fewer_while_they_run_tasks() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("sizes");
        let pool = jobs(1).max_workers(3).grace(LIMIT).start();
        let pool = pool.expect("a pool");
        let handles = [(); 3].map(|()| pool.submit(meeting.job()).expect("open"));
        let first = meeting.guest();
        pool.resize(3).expect("room").wait().expect("it runs");
        assert_eq!(pids(&pool).len(), 3);
        // All three run at the same time.
        let mut guests = [first, meeting.guest(), meeting.guest()];

        let rollout = pool.resize(1).expect("room");
        wait_until(&pool, |stats| {
            stats.workers_with(WorkerStatus::Leaving) == 2
        });
        for guest in &mut guests {
            guest.tell("done");
        }
        rollout.wait().expect("it runs");
        for handle in handles {
            assert_eq!(handle.wait().expect("an output"), "done");
        }
        assert_eq!(pids(&pool).len(), 1);
        // The one that is left may be replaced, and there is no other.
        pool.recycle().expect("here").wait().expect("it runs");
        assert_eq!(pids(&pool).len(), 1);

        pool.resize(2..=3).expect("room").wait().expect("it runs");
        assert_eq!(pids(&pool).len(), 2);
        let more = [(); 3].map(|()| pool.submit(meeting.job()).expect("open"));
        for mut guest in [(); 3].map(|()| meeting.guest()) {
            guest.tell("done");
        }
        for handle in more {
            handle.wait().expect("an output");
        }
        let workers = 0..=2;
        let (refused, max) = (pool.resize(workers.clone()).map(drop), 3);
        let RolloutError::InvalidSize {
            workers: found,
            max: room,
            ..
        } = refused.expect_err("no worker at all")
        else {
            panic!("another error");
        };
        assert_eq!((found, room), (workers, max));
        pool.resize(4).map(drop).expect_err("no room");
        let report = close(&pool);
        assert_eq!(report.recycled, 1, "{report}");
        assert_eq!((report.died, report.killed), (0, 0));
    });
}

/// A worker that dies when there are enough without it is not replaced.
#[test]
fn a_worker_that_dies_while_it_is_too_many_is_not_replaced() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("surplus");
        let pool = jobs(2).grace(LIMIT).start().expect("a pool");
        let handles = [(); 2].map(|()| pool.submit(meeting.job()).expect("open"));
        let mut guests = [meeting.guest(), meeting.guest()];
        let rollout = pool.resize(1).expect("room");
        wait_until(&pool, |stats| {
            stats.workers_with(WorkerStatus::Leaving) == 1
        });
        for guest in &mut guests {
            guest.tell("abort");
        }
        for handle in handles {
            handle.wait().expect_err("it has died");
        }
        rollout.wait().expect("it runs");
        wait_until(&pool, |stats| able(stats) == 1);
        assert_eq!(pids(&pool).len(), 1);
        let report = close(&pool);
        assert_eq!((report.died, report.started), (2, 3));
    });
}

#[test]
fn rollouts_end_with_the_pool() {
    guarded(LIMIT, || {
        for round in 0..10 {
            let meeting = Meeting::new("ends");
            let pool = jobs(2).max_workers(3).start().expect("a pool");
            let handle = pool.submit(meeting.job()).expect("open");
            let mut guest = meeting.guest();
            guest.tell("await cancel");
            thread::scope(|scope| {
                for change in 0..4_usize {
                    let pool = &pool;
                    scope.spawn(move || {
                        let rollout = match change {
                            0 | 1 => pool.recycle(),
                            more => pool.resize(2 * more - 3),
                        };
                        // The task ends only with the pool.
                        let end = rollout.expect("here").wait();
                        assert!(matches!(end, Ok(()) | Err(RolloutError::Closed)));
                    });
                }
                if round % 2 == 0 {
                    wait_until(&pool, |stats| stats.workers_with(WorkerStatus::Leaving) > 0);
                }
                let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
                assert!(report.expect("here").is_balanced());
            });
            handle.wait().expect_err("cancelled");
            let late = pool.recycle().expect("here").wait();
            assert_eq!(late, Err(RolloutError::Closed));
            let mut late = pool.resize(1).expect("here");
            let closed = Some(Err(RolloutError::Closed));
            assert_eq!(late.wait_timeout(LIMIT), closed);
            assert_eq!(late.wait_deadline(Instant::now() + LIMIT), closed);
        }
    });
}
