//! Priorities: free workers take tasks of higher levels first, no level starves, and nothing else changes: each task has one
//! outcome, whatever happens to its worker (P5), it can be cancelled (P7), and the books balance (P13).

use ipc_tests::jobs::{Death, Guest, Job, Meeting};
use ipc_tests::rounds::{Rng, seed};
use ipc_tests::runtimes::block_on;
use ipc_tests::support::pools::{close, jobs};
use ipc_tests::support::{LIMIT, prompt};
use ipc_tests::{Signal, guarded};
use nix::sys::signal::kill;
use std::time::Duration;
use workring::pool::{
    Priority, Shutdown, SubmitError, TaskError, TaskHandle, TrySubmitError, TypedPool,
};

const LEVELS: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];

/// Submits a task that keeps a worker busy until the guest that is returned is dismissed.
fn occupy(pool: &TypedPool<Job>, meeting: &Meeting) -> (TaskHandle<Job>, Guest) {
    let handle = pool.submit(meeting.job()).expect("open");
    (handle, meeting.guest())
}

/// Submits a task with a priority, and drops its handle. Returns its id.
fn submit(pool: &TypedPool<Job>, priority: Priority) -> u64 {
    let handle = pool
        .task(Job::Double(1))
        .priority(priority)
        .submit()
        .expect("open");
    handle.id().get()
}

/// Returns the orders in which one worker may run these tasks, which are queued: one for each turn that it may be at. Of ten
/// turns, one begins with the low tasks and one with the normal ones.
fn possible_orders(tasks: &[(u64, Priority)]) -> Vec<Vec<u64>> {
    use Priority::{High, Low, Normal};
    let from_turn = |first: usize| {
        let mut left = tasks.to_vec();
        let mut order = Vec::new();
        for turn in first.. {
            let levels = match turn % 10 {
                4 => [Normal, High, Low],
                9 => [Low, High, Normal],
                _ => [High, Normal, Low],
            };
            let first_of = |level| left.iter().position(|task| task.1 == level);
            let Some(next) = levels.into_iter().find_map(first_of) else {
                break;
            };
            order.push(left.remove(next).0);
        }
        order
    };
    (0..10).map(from_turn).collect()
}

#[test]
fn a_free_worker_takes_tasks_in_the_order_of_their_priorities() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("by-priority");
        let pool = jobs(1).priorities().start().expect("a pool");
        let (occupied, mut guest) = occupy(&pool, &meeting);
        let mut random = Rng::with_seed(seed());
        let tasks: Vec<_> = (0..60)
            .map(|_| {
                let priority = random.choice(LEVELS).expect("a level");
                (submit(&pool, priority), priority)
            })
            .collect();
        guest.tell("done");
        // One worker, so outcomes arrive in the order in which the tasks have run.
        let order: Vec<u64> = pool.drain().map(|outcome| outcome.id.get()).collect();
        assert!(
            possible_orders(&tasks).contains(&order),
            "{tasks:?} were run in the order {order:?}"
        );
        occupied.wait().expect("an output");
        assert_eq!(close(&pool).completed, 61);
    });
}

/// Otherwise a flood of high tasks would keep others waiting for as long as it lasts.
#[test]
fn no_level_starves_in_a_flood_of_high_tasks() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("flood");
        let pool = jobs(1).priorities().start().expect("a pool");
        let (occupied, mut guest) = occupy(&pool, &meeting);
        for _ in 0..100 {
            submit(&pool, Priority::High);
        }
        let others = [Priority::Low, Priority::Normal].map(|level| submit(&pool, level));
        guest.tell("done");
        let first: Vec<u64> = pool.drain().take(10).map(|done| done.id.get()).collect();
        for id in others {
            assert!(first.contains(&id), "task {id} is not among {first:?}");
        }
        pool.drain().for_each(drop);
        occupied.wait().expect("an output");
        close(&pool);
    });
}

/// A worker that takes one task only has one turn, which is drawn at random.
#[test]
fn p8_no_level_starves_where_each_worker_takes_one_task() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("one-task-each");
        let pool = jobs(1).priorities().recycle_after_tasks(1, 0);
        let pool = pool.start().expect("a pool");
        let (occupied, mut guest) = occupy(&pool, &meeting);
        let low = submit(&pool, Priority::Low);
        for _ in 0..150 {
            submit(&pool, Priority::High);
        }
        guest.tell("done");
        let order: Vec<u64> = pool.drain().map(|outcome| outcome.id.get()).collect();
        assert_eq!(order.len(), 151);
        assert_ne!(order.last(), Some(&low), "it was taken after all others");
        occupied.wait().expect("an output");
        close(&pool);
    });
}

#[test]
fn p5_a_task_that_is_tried_again_keeps_its_priority() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("tried-again");
        let pool = jobs(1)
            .priorities()
            .retries(1)
            .retry_backoff(Duration::ZERO, Duration::ZERO);
        let pool = pool.start().expect("a pool");
        let urgent = pool.task(meeting.job()).priority(Priority::High).submit();
        let urgent = urgent.expect("open");
        let guest = meeting.guest();
        assert_eq!(guest.task, urgent.id().get());
        let others = [(); 3].map(|()| pool.submit(meeting.job()).expect("open"));
        kill(guest.pid, Signal::SIGKILL).expect("its worker");
        // It is sent again before the next worker is ready. Of two turns, at most one begins with normal tasks.
        let mut order = Vec::new();
        for _ in 0..4 {
            let mut guest = meeting.guest();
            order.push(guest.task);
            guest.tell("done");
        }
        let place = order.iter().position(|&task| task == urgent.id().get());
        assert!(place.is_some_and(|place| place < 2), "{order:?}");
        assert_eq!(urgent.outcome().attempts, 2);
        assert!(others.map(|other| other.wait().is_ok()) == [true; 3]);
        close(&pool);
    });
}

#[test]
fn p5_each_task_has_one_outcome_whatever_its_priority_and_its_worker_do() {
    guarded(LIMIT, || {
        let pool = jobs(2).priorities().retries(1).start().expect("a pool");
        let mut random = Rng::with_seed(seed());
        let mut handles = Vec::new();
        for n in 0..90 {
            let job = match n % 9 {
                0 => Job::DieUntil(2, Death::Abort),
                1 => Job::Die(Death::ExitAtOnce(3)),
                _ => Job::Double(n),
            };
            let task = pool
                .task(job)
                .priority(random.choice(LEVELS).expect("a level"));
            handles.push((n, task.submit().expect("open")));
        }
        for (n, handle) in handles {
            let outcome = handle.outcome();
            match n % 9 {
                0 => assert_eq!((outcome.attempts, outcome.result), (2, Ok("2".to_owned()))),
                1 => assert!(matches!(outcome.result, Err(TaskError::Crashed { .. }))),
                _ => assert_eq!(outcome.result, Ok((2 * n).to_string())),
            }
        }
        let report = close(&pool);
        assert_eq!((report.completed, report.lost), (80, 10));
    });
}

/// A worker that waits sleeps on the queues of all levels.
#[test]
fn a_task_of_each_level_wakes_a_worker_that_sleeps_and_so_does_the_end() {
    prompt(|| {
        let pool = jobs(1)
            .priorities()
            .spin(Duration::ZERO)
            .liveness_interval(Duration::from_secs(10));
        let pool = pool.start().expect("a pool");
        for level in LEVELS.into_iter().cycle().take(30) {
            let handle = pool
                .task(Job::Double(4))
                .priority(level)
                .submit()
                .expect("open");
            assert_eq!(handle.wait(), Ok("8".to_owned()));
        }
        assert_eq!(close(&pool).killed, 0);
    });
}

#[test]
fn another_worker_is_started_for_queued_tasks_of_any_level() {
    guarded(LIMIT, || {
        for level in LEVELS {
            let meeting = Meeting::new("grows");
            let pool = jobs(1..=2).priorities().start().expect("a pool");
            let (one, mut first) = occupy(&pool, &meeting);
            let other = pool
                .task(meeting.job())
                .priority(level)
                .submit()
                .expect("open");
            let mut second = meeting.guest();
            assert_ne!(first.pid, second.pid);
            first.tell("done");
            second.tell("done");
            assert!(one.wait().is_ok() && other.wait().is_ok());
            close(&pool);
        }
    });
}

#[test]
fn p7_queued_tasks_of_each_level_can_be_cancelled() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("cancelled");
        let pool = jobs(1).priorities().start().expect("a pool");
        let (occupied, mut guest) = occupy(&pool, &meeting);
        let queued = LEVELS.map(|level| {
            pool.task(Job::Double(1))
                .priority(level)
                .submit()
                .expect("open")
        });
        for handle in &queued {
            assert!(handle.cancel());
        }
        guest.tell("done");
        for handle in queued {
            assert_eq!(handle.wait(), Err(TaskError::Cancelled));
        }
        occupied.wait().expect("an output");
        let report = close(&pool);
        assert_eq!((report.completed, report.cancelled), (1, 3));
    });
}

#[test]
fn p13_the_books_balance_when_tasks_of_all_levels_are_queued_at_the_end() {
    guarded(LIMIT, || {
        for how in [Shutdown::Drain, Shutdown::Cancel] {
            let meeting = Meeting::new("the-end");
            let pool = jobs(1).priorities().start().expect("a pool");
            let (_occupied, mut guest) = occupy(&pool, &meeting);
            for level in LEVELS.into_iter().cycle().take(30) {
                submit(&pool, level);
            }
            if how == Shutdown::Drain {
                guest.tell("done");
            } else {
                guest.tell("await cancel");
            }
            let report = pool.shutdown(how, LIMIT).expect("the owner");
            assert!(report.is_balanced(), "{report}");
            assert_eq!(report.submitted, 31);
            if how == Shutdown::Drain {
                assert_eq!(report.completed, 31, "{report}");
            } else {
                assert_eq!(report.cancelled + report.failed, 31, "{report}");
            }
        }
    });
}

#[test]
fn a_pool_without_priorities_refuses_them() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        for level in [Priority::Low, Priority::High] {
            match pool.task(Job::Double(7)).priority(level).submit() {
                Err(SubmitError::NoPriorities { task, .. }) => assert_eq!(task, Job::Double(7)),
                other => panic!("{other:?}"),
            }
            let refused = pool.task(Job::Double(7)).priority(level).try_submit();
            assert!(matches!(
                refused,
                Err(TrySubmitError::Refused(SubmitError::NoPriorities { .. }))
            ));
            let refused = block_on(pool.task(Job::Pid).priority(level).submit_async());
            assert!(matches!(refused, Err(SubmitError::NoPriorities { .. })));
        }
        let normal = pool
            .task(Job::Double(7))
            .priority(Priority::Normal)
            .submit();
        assert_eq!(normal.expect("open").wait(), Ok("14".to_owned()));
        assert_eq!(close(&pool).submitted, 1);
    });
}

#[test]
fn tasks_with_a_priority_can_be_submitted_from_futures() {
    guarded(LIMIT, || {
        let pool = jobs(1).priorities().start().expect("a pool");
        for level in LEVELS {
            let done = block_on(async {
                let handle = pool
                    .task(Job::Double(2))
                    .priority(level)
                    .submit_async()
                    .await;
                handle.expect("open").await
            });
            assert_eq!(done, Ok("4".to_owned()));
        }
        close(&pool);
    });
}
