//! Times before which tasks are not to begin: a task that is not due is in flight like any other. It can be cancelled (P7), it
//! is not affected by the deaths of workers (P5), it delays no shutdown that ends before it is due (P3), and it is in the
//! books (P13).

use ipc_tests::jobs::{Death, Job, Meeting};
use ipc_tests::runtimes::block_on;
use ipc_tests::support::pools::{close, jobs};
use ipc_tests::support::{LIMIT, prompt};
use ipc_tests::{Signal, guarded};
use nix::sys::signal::kill;
use std::thread;
use std::time::{Duration, Instant};
use workring::pool::{Priority, Shutdown, SubmitError, TaskError, TaskHandle, TypedPool};

/// Longer than any test takes.
const HOUR: Duration = Duration::from_hours(1);

fn after(time: Duration) -> Instant {
    Instant::now() + time
}

fn submit_for_later(pool: &TypedPool<Job>) -> TaskHandle<Job> {
    let later = pool.task(Job::Double(1)).not_before(after(HOUR)).submit();
    later.expect("open")
}

#[test]
fn a_task_does_not_begin_before_its_time() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        for time in [0, 1, 20, 100].map(Duration::from_millis) {
            let due = Instant::now() + time;
            let later = pool.task(Job::Double(2)).not_before(due).submit();
            let tried = pool.task(Job::Double(3)).not_before(due).try_submit();
            let awaited = pool.task(Job::Double(4)).not_before(due).submit_async();
            let awaited = block_on(awaited).expect("open");
            assert_eq!(later.expect("open").wait(), Ok("4".to_owned()));
            assert!(Instant::now() >= due);
            assert_eq!(tried.expect("open").wait(), Ok("6".to_owned()));
            assert_eq!(awaited.wait(), Ok("8".to_owned()));
        }
        assert_eq!(close(&pool).completed, 12);
    });
}

#[test]
fn a_task_that_is_not_due_delays_no_other() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        let later = submit_for_later(&pool);
        for n in 0..20 {
            let now = pool.submit(Job::Double(n)).expect("open");
            assert_eq!(now.wait(), Ok((2 * n).to_string()));
        }
        assert_eq!(pool.in_flight(), 1);
        assert!(later.cancel());
        assert_eq!(later.wait(), Err(TaskError::Cancelled));
        close(&pool);
    });
}

#[test]
fn p7_a_task_that_is_not_due_is_cancelled_at_once() {
    prompt(|| {
        let pool = jobs(1).start().expect("a pool");
        let later = [(); 3].map(|()| submit_for_later(&pool));
        // The supervisor gets the tasks in this order. So when this one is done, it holds the others.
        let soon = pool
            .task(Job::Double(1))
            .not_before(after(Duration::from_millis(1)));
        assert_eq!(soon.submit().expect("open").wait(), Ok("2".to_owned()));
        assert!(later[1].cancel());
        assert!(later[2].cancel_within(Duration::ZERO));
        let [kept, cancelled, cancelled_within] = later;
        let outcome = cancelled.outcome();
        assert_eq!(
            (outcome.attempts, outcome.result),
            (0, Err(TaskError::Cancelled))
        );
        assert_eq!(cancelled_within.wait(), Err(TaskError::Cancelled));
        assert!(!kept.is_finished());
        let report = pool.shutdown(Shutdown::Cancel, LIMIT).expect("the owner");
        assert_eq!((report.submitted, report.cancelled), (4, 3));
        assert_eq!(kept.wait(), Err(TaskError::Cancelled));
    });
}

#[test]
fn p7_a_group_that_is_cancelled_ends_its_tasks_that_are_not_due() {
    prompt(|| {
        let pool = jobs(1).start().expect("a pool");
        let (group, other) = (pool.group(), submit_for_later(&pool));
        let task = |n: u64| group.task(Job::Double(n)).not_before(after(HOUR)).tag(n);
        let later = [1, 2, 3].map(|n| task(n).submit().expect("open"));
        assert_eq!(group.cancel(), 3);
        for handle in later {
            let outcome = handle.outcome();
            assert!(outcome.tag().is_some());
            assert_eq!(outcome.result, Err(TaskError::Cancelled));
        }
        assert!(!other.is_finished());
        other.cancel();
        assert_eq!(other.wait(), Err(TaskError::Cancelled));
        drop(group);
        assert_eq!(close(&pool).cancelled, 4);
    });
}

/// Before, a task that was cancelled during its back-off had its outcome only at the end of that.
#[test]
fn p7_a_task_that_waits_for_its_next_attempt_is_cancelled_at_once() {
    prompt(|| {
        let pool = jobs(1).retries(1).retry_backoff(HOUR, HOUR);
        let pool = pool.start().expect("a pool");
        let meeting = Meeting::new("back-off");
        let crashed = pool.submit(meeting.job()).expect("open");
        let guest = meeting.guest();
        kill(guest.pid, Signal::SIGKILL).expect("its worker");
        // The next worker is started after the task was put aside.
        let next = pool.submit(Job::Double(1)).expect("open");
        assert_eq!(next.wait(), Ok("2".to_owned()));
        assert!(crashed.cancel());
        assert_eq!(crashed.wait(), Err(TaskError::Cancelled));
        let report = close(&pool);
        assert_eq!((report.completed, report.cancelled), (1, 1));
    });
}

#[test]
fn p3_draining_does_not_wait_for_tasks_that_are_due_after_its_end() {
    prompt(|| {
        let pool = jobs(1).start().expect("a pool");
        let later = submit_for_later(&pool);
        let soon = pool
            .task(Job::Double(2))
            .not_before(after(Duration::from_millis(30)))
            .submit();
        // Well before the time of the first, and after that of the second.
        let report = pool.shutdown(Shutdown::Drain, HOUR / 2).expect("the owner");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.completed, report.cancelled), (1, 1));
        assert_eq!(later.wait(), Err(TaskError::Cancelled));
        assert_eq!(soon.expect("open").wait(), Ok("4".to_owned()));
    });
}

/// SHUTDOWN-2.
#[test]
fn p3_a_second_shutdown_with_an_earlier_end_cancels_tasks_that_are_due_after_it() {
    prompt(|| {
        let pool = jobs(1).start().expect("a pool");
        let later = submit_for_later(&pool);
        thread::scope(|scope| {
            let first = scope.spawn(|| pool.shutdown(Shutdown::Drain, 2 * HOUR));
            while !pool
                .submit(Job::Pid)
                .is_err_and(|refused| refused.is_closed())
            {}
            let second = pool.shutdown(Shutdown::Drain, HOUR / 2).expect("the owner");
            assert_eq!(second.cancelled, 1);
            let first = first.join().expect("no panic");
            assert_eq!(first.expect("the owner"), second);
        });
        assert_eq!(later.wait(), Err(TaskError::Cancelled));
    });
}

#[test]
fn p12_dropping_a_pool_cancels_its_tasks_that_are_not_due() {
    prompt(|| {
        let pool = jobs(1).start().expect("a pool");
        let later = submit_for_later(&pool);
        drop(pool);
        assert_eq!(later.wait(), Err(TaskError::Cancelled));
    });
}

#[test]
fn p5_the_deaths_of_workers_do_not_affect_tasks_that_are_not_due() {
    guarded(LIMIT, || {
        let pool = jobs(1).retries(1).priorities().start().expect("a pool");
        let due = Instant::now() + Duration::from_millis(200);
        let for_later = |job| {
            pool.task(job)
                .not_before(due)
                .priority(Priority::High)
                .submit()
        };
        let later: Vec<_> = (0..10).map(|n| for_later(Job::Double(n))).collect();
        let crashing = for_later(Job::DieUntil(2, Death::Abort));
        while Instant::now() < due {
            let crashed = pool.submit(Job::Die(Death::Signal(9))).expect("open");
            assert!(matches!(crashed.wait(), Err(TaskError::Crashed { .. })));
        }
        for (n, handle) in (0..).zip(later) {
            let outcome = handle.expect("open").outcome();
            assert_eq!(
                (outcome.attempts, outcome.result),
                (1, Ok(format!("{}", 2 * n)))
            );
        }
        let outcome = crashing.expect("open").outcome();
        assert_eq!((outcome.attempts, outcome.result), (2, Ok("2".to_owned())));
        close(&pool);
    });
}

#[test]
fn tasks_that_are_not_due_count_for_the_capacity_and_for_drain() {
    guarded(LIMIT, || {
        let pool = jobs(1).capacity(1).start().expect("a pool");
        let later = submit_for_later(&pool);
        let refused = pool.try_submit(Job::Pid).expect_err("one is in flight");
        assert!(refused.is_full());
        assert!(later.cancel());
        assert_eq!(later.wait(), Err(TaskError::Cancelled));
        let due = Instant::now() + Duration::from_millis(50);
        let soon = pool.task(Job::Double(1)).not_before(due);
        drop(soon.submit().expect("there is room"));
        let outcomes: Vec<_> = pool.drain().map(|outcome| outcome.result).collect();
        assert_eq!(outcomes, [Ok("2".to_owned())]);
        assert!(Instant::now() >= due);
        close(&pool);
    });
}

/// A task that is not due is encoded when it is submitted, so that its caller gets the error.
#[test]
fn a_task_that_cannot_be_sent_is_refused_when_it_is_submitted() {
    guarded(LIMIT, || {
        let pool = jobs(1).max_message_len(1000).start().expect("a pool");
        let large = Job::Weigh(vec![0; 2000]);
        match pool.task(large.clone()).not_before(after(HOUR)).submit() {
            Err(SubmitError::TooLarge { task, max, .. }) => assert_eq!((task, max), (large, 1000)),
            other => panic!("{other:?}"),
        }
        // The largest that fits a message.
        let heavy = |size| {
            pool.task(Job::Weigh(vec![0; size]))
                .not_before(after(Duration::ZERO))
                .submit()
        };
        assert!(heavy(900).expect("it fits").wait().is_ok());
        assert_eq!(pool.in_flight(), 0);
        close(&pool);
    });
}

/// The limits of a task count from its start, and the supervisor does not look at tasks that are not due.
#[test]
fn p7_a_time_limit_counts_from_the_start_of_the_task() {
    guarded(LIMIT, || {
        let pool = jobs(1..=2).time_limit(Duration::from_secs(1)).start();
        let pool = pool.expect("a pool");
        let later = submit_for_later(&pool);
        let soon = pool
            .task(Job::Double(3))
            .not_before(after(Duration::from_millis(1200)))
            .submit();
        assert_eq!(soon.expect("open").wait(), Ok("6".to_owned()));
        let meeting = Meeting::new("limit");
        let endless = pool
            .task(meeting.job())
            .not_before(after(Duration::from_millis(1)))
            .submit();
        meeting.guest().tell("loop");
        assert_eq!(endless.expect("open").wait(), Err(TaskError::TimedOut));
        later.cancel();
        assert_eq!(later.wait(), Err(TaskError::Cancelled));
        let report = close(&pool);
        assert_eq!((report.completed, report.timed_out), (1, 1));
    });
}
