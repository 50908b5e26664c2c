//! The figures of a running pool: they add up at every moment, name each worker with its task, and measure how long tasks wait
//! and run, also when workers die and the pool ends.

use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    guarded,
    jobs::{Death, Job, Meeting},
};
use std::{
    iter,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use workring::pool::{PoolStats, Shutdown, TaskCounts, TypedPool, WorkerStatus};

/// Longer than any test waits.
const LONG: Duration = Duration::from_hours(1);

/// Returns the figures, which add up at any moment.
fn stats(pool: &TypedPool<Job>) -> PoolStats {
    let stats = pool.stats();
    let tasks = &stats.tasks;
    let in_flight = tasks.queued + tasks.running + tasks.retrying;
    let sum = in_flight + with_outcome(tasks);
    assert_eq!(sum, tasks.submitted, "{tasks:?}");
    assert!(stats.totals.started >= stats.totals.died, "{stats:?}");
    stats
}

fn with_outcome(tasks: &TaskCounts) -> u64 {
    let lost = tasks.crashed + tasks.too_much_memory + tasks.no_workers + tasks.unknown;
    let ended = tasks.completed + tasks.failed + tasks.panicked + tasks.transport;
    ended + tasks.timed_out + tasks.cancelled + lost
}

/// Asks again until the figures satisfy a condition.
fn wait_until(pool: &TypedPool<Job>, condition: impl Fn(&PoolStats) -> bool) -> PoolStats {
    loop {
        let stats = stats(pool);
        if condition(&stats) {
            return stats;
        }
        thread::yield_now();
    }
}

#[test]
fn stats_count_tasks_by_state_and_name_each_worker_with_its_task() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("states");
        let pool = jobs(2).retries(1).retry_backoff(LONG, LONG).start();
        let pool = pool.expect("a pool");
        let at_first = stats(&pool);
        assert_eq!(at_first.tasks, TaskCounts::default());
        assert_eq!(at_first.workers_with(WorkerStatus::Idle), 2);
        assert!(at_first.timings.is_none());

        let met = [(); 2].map(|()| pool.submit(meeting.job()).expect("open"));
        let mut guests = [meeting.guest(), meeting.guest()];
        let queued = [1, 2, 3].map(|number| pool.submit(Job::Double(number)).expect("open"));
        let busy = stats(&pool);
        assert_eq!((busy.tasks.running, busy.tasks.queued), (2, 3));
        assert_eq!(busy.workers.len(), 2);
        for guest in &guests {
            let pid = u32::try_from(guest.pid.as_raw()).expect("a pid");
            let worker = busy.workers.iter().find(|worker| worker.pid == Some(pid));
            let worker = worker.expect("it is a worker");
            assert_eq!(worker.status, WorkerStatus::Busy);
            let task = worker.task.expect("it runs one");
            assert_eq!(task.id.get(), guest.task);
            wait_until(&pool, |later| {
                let found = later.workers.iter().find(|later| later.pid == Some(pid));
                let later = found.and_then(|worker| worker.task).expect("it runs it");
                later.age > task.age
            });
        }

        guests[0].tell("abort");
        let died = wait_until(&pool, |stats| stats.tasks.retrying == 1);
        assert_eq!((died.totals.died, died.tasks.retried), (1, 1));
        for handle in queued {
            handle.wait().expect("an output");
        }
        guests[1].tell("done");
        // Their outcomes stay here.
        let kept = wait_until(&pool, |stats| stats.tasks.completed == 4);
        assert_eq!((kept.tasks.unclaimed, kept.tasks.retrying), (1, 1));
        let end = pool.shutdown(Shutdown::Cancel, LONG).expect("here");
        assert!(end.is_balanced(), "{end}");
        let after = stats(&pool);
        let counts = (after.tasks.completed, after.tasks.cancelled);
        assert_eq!(counts, (4, 1));
        assert_eq!(after.workers, []);
        assert_eq!(after.totals.started, end.started);
        drop(met);
    });
}

#[test]
fn stats_count_each_kind_of_outcome() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let all = [
            Job::Double(1),
            Job::Fail("no".to_owned()),
            Job::Panic("no".to_owned()),
            Job::Die(Death::Abort),
            Job::Busy(3_600_000_000).within(Duration::from_millis(1)),
            Job::Letters(2 << 20),
        ];
        for job in all {
            let outcome = pool.submit(job).expect("open").outcome();
            // By the time a caller has the outcome, it is counted, and so is the death that caused it.
            let stats = stats(&pool);
            assert_eq!(with_outcome(&stats.tasks), outcome.id.get() + 1);
            assert_eq!(stats.totals.died, stats.tasks.crashed);
        }
        let tasks = stats(&pool).tasks;
        let counted = [
            tasks.completed,
            tasks.failed,
            tasks.panicked,
            tasks.crashed,
            tasks.timed_out,
            tasks.transport,
        ];
        assert_eq!(counted, [1; 6], "{tasks:?}");
        close(&pool);
    });
}

/// The other tasks of the chunk give the supervisor much to do between that outcome and the end of its turn.
#[test]
fn a_death_is_counted_before_its_task_has_its_outcome() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        for died in 1..=20 {
            while_chunk_runs(&pool, Job::Die(Death::Abort), || {
                wait_until(&pool, |stats| stats.tasks.crashed == died);
                assert_eq!(stats(&pool).totals.died, died);
            });
        }
        close(&pool);
    });
}

/// The second attempt has an output, while the supervisor still sends the other tasks again.
#[test]
fn a_retry_is_counted_before_it_has_its_outcome() {
    guarded(LIMIT, || {
        let pool = jobs(2)
            .retries(1)
            .retry_backoff(Duration::ZERO, Duration::ZERO);
        let pool = pool.start().expect("a pool");
        for round in 1..=20 {
            while_chunk_runs(&pool, Job::DieUntil(2, Death::Abort), || {
                wait_until(&pool, |stats| stats.tasks.completed > (round - 1) * 501);
                let stats = stats(&pool);
                assert_eq!((stats.totals.died, stats.tasks.retried), (round, round));
            });
        }
        close(&pool);
    });
}

/// Submits this job and 500 others in one message, so that all of them are lost with the worker, and calls `act` meanwhile.
fn while_chunk_runs(pool: &TypedPool<Job>, first: Job, act: impl FnOnce()) {
    let tasks = iter::once(first).chain((0..500).map(Job::Double));
    let map = pool.map_unordered(tasks).chunk(501);
    thread::scope(|scope| {
        let outcomes = scope.spawn(|| map.count());
        act();
        assert_eq!(outcomes.join().expect("join"), 501);
    });
}

#[test]
fn stats_measure_how_long_tasks_wait_and_run() {
    guarded(LIMIT, || {
        let some_time = Duration::from_millis(30);
        let meeting = Meeting::new("times");
        let pool = jobs(1).timings(true).retries(1).start().expect("a pool");
        let timings = || stats(&pool).timings.expect("they were asked for");
        assert_eq!(timings(), workring::pool::Timings::default());
        let first = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        assert_eq!(timings().oldest_queued, None, "it has started");
        let next = pool.submit(Job::Double(1)).expect("open");
        while timings().oldest_queued.expect("one is queued") < some_time {
            thread::yield_now();
        }
        assert_eq!(timings().waiting.count(), 0);
        // The task is run twice, and counted once.
        guest.tell("abort");
        next.wait().expect("an output");
        let mut guest = meeting.guest();
        guest.tell("done");
        first.wait().expect("an output");
        let after = timings();
        assert_eq!((after.waiting.count(), after.running.count()), (2, 2));
        assert!(after.waiting.max() >= Some(some_time), "{after:?}");
        assert_eq!(after.oldest_queued, None);

        let long = u64::try_from(some_time.as_micros()).expect("short");
        pool.submit(Job::Busy(long))
            .expect("open")
            .wait()
            .expect("an output");
        let last = timings().running.since(&after.running);
        assert_eq!(last.count(), 1);
        assert!(last.sum() >= some_time, "{last:?}");
        // A task that dies ran until then.
        let dies = Job::Then(Box::new(Job::Busy(long)), Box::new(Job::Die(Death::Abort)));
        let before = timings().running;
        pool.submit(dies)
            .expect("open")
            .wait()
            .expect_err("it dies");
        assert!(timings().running.since(&before).sum() >= some_time);
        let report = close(&pool);
        assert_eq!(timings().waiting.count(), report.submitted);
    });
}

#[test]
fn stats_add_up_while_workers_die_and_the_pool_ends() {
    guarded(LIMIT, || {
        let pool = jobs(1..=3).retries(1).timings(true).capacity(64).start();
        let pool = pool.expect("a pool");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = TaskCounts::default();
                    while !is_over.load(Ordering::Acquire) {
                        let now = stats(&pool).tasks;
                        assert!(now.submitted >= last.submitted);
                        assert!(with_outcome(&now) >= with_outcome(&last));
                        last = now;
                    }
                });
            }
            for number in 0..200_u64 {
                let job = match number % 20 {
                    7 => Job::DieUntil(2, Death::Abort),
                    13 => Job::Die(Death::Abort),
                    _ => Job::Double(number),
                };
                drop(pool.submit(job).expect("open"));
            }
            let report = pool.shutdown(Shutdown::Drain, Duration::from_millis(500));
            let report = report.expect("here");
            is_over.store(true, Ordering::Release);
            let last = stats(&pool);
            assert_eq!(last.tasks.submitted, report.submitted);
            assert_eq!(last.tasks.completed, report.completed);
            assert_eq!(last.tasks.unclaimed, 200);
        });
    });
}
