//! Limits on tasks: of their time, and of the memory of their workers.
//!
//! While this process is stopped, time passes for its tasks. Where a task must not exceed its time, a round in which
//! this process was stopped is repeated.

use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    Pid, Signal,
    child::is_running,
    guarded,
    jobs::{Death, Guest, Job, Meeting, TAKEN},
    rounds::{self, Rng},
    stops,
};
use nix::sys::signal::kill;
use std::{
    fs, thread,
    time::{Duration, Instant},
};
use workring::pool::{Shutdown, StartError, TaskError};

/// Long enough for a task that does nothing.
const SECOND: Duration = Duration::from_secs(1);

/// Repeats a round until this process is not stopped during one. That round must return true.
fn without_stop(what: &str, round: impl Fn() -> bool) {
    loop {
        let mut holds = false;
        if stops::time(|| holds = round()).is_some() {
            assert!(holds, "{what}");
            return;
        }
    }
}

/// Runs a task that gets stuck among others that do not. Returns whether all others were completed.
fn stuck(name: &str, get_stuck: impl Fn(&mut Guest)) -> bool {
    let meeting = Meeting::new(name);
    let pool = jobs(2).time_limit(SECOND).start().expect("a pool");
    let stuck = pool.submit(meeting.job()).expect("open");
    let mut guest = meeting.guest();
    get_stuck(&mut guest);
    let mut others_completed = true;
    while !stuck.is_finished() {
        let other = pool.submit(Job::Double(4)).expect("open");
        others_completed &= other.wait().is_ok();
    }
    let outcome = stuck.outcome();
    assert_eq!(outcome.attempts, 1);
    assert!(matches!(outcome.result, Err(TaskError::TimedOut)));
    assert!(!is_running(guest.pid));
    let after: Vec<_> = (0..4)
        .map(|n| pool.submit(Job::Double(n)).expect("open"))
        .collect();
    others_completed &= after.into_iter().all(|handle| handle.wait().is_ok());
    let report = close(&pool);
    assert_eq!((report.lost, report.died, report.retried), (0, 0, 0));
    assert_eq!(report.started, 2 + report.killed);
    others_completed && (report.timed_out, report.killed) == (1, 1)
}

#[test]
fn p7_a_task_that_sleeps_beyond_its_time_limit_costs_only_itself() {
    guarded(LIMIT, || {
        without_stop("the other tasks are completed", || stuck("sleeps", |_| ()));
    });
}

#[test]
fn p7_a_task_that_loops_beyond_its_time_limit_costs_only_itself() {
    guarded(LIMIT, || {
        without_stop("the other tasks are completed", || {
            stuck("loops", |guest| guest.tell("loop"))
        });
    });
}

#[test]
fn p7_a_worker_that_is_stopped_in_a_task_is_replaced() {
    guarded(LIMIT, || {
        without_stop("the other tasks are completed", || {
            stuck("stopped", |guest| {
                kill(guest.pid, Signal::SIGSTOP).expect("it lives");
            })
        });
    });
}

#[test]
fn p7_a_time_limit_ends_processes_that_the_task_has_started() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("limit-children");
        let pool = jobs(1).time_limit(SECOND).retries(3).start();
        let pool = pool.expect("a pool");
        let handle = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        guest.tell("have a child");
        let child = Pid::from_raw(guest.answer().parse().expect("a pid"));
        let outcome = handle.outcome();
        assert!(matches!(outcome.result, Err(TaskError::TimedOut)));
        assert_eq!(outcome.attempts, 1, "the task was retried");
        while is_running(child) {
            thread::yield_now();
        }
        let report = close(&pool);
        assert_eq!((report.timed_out, report.killed), (1, 1));
    });
}

/// The time of a task begins with the task.
#[test]
fn p7_the_time_in_the_queue_does_not_count() {
    guarded(LIMIT, || {
        without_stop("each task has its own time", || {
            let pool = jobs(1).time_limit(SECOND).start().expect("a pool");
            for _ in 0..10 {
                drop(pool.submit(Job::Busy(150_000)).expect("open"));
            }
            let done = pool.drain().filter(|outcome| outcome.result.is_ok());
            let done = done.count();
            close(&pool);
            done == 10
        });
    });
}

#[test]
fn p7_at_its_soft_limit_a_task_is_notified_and_its_worker_lives() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("soft");
        let pool = jobs(1).soft_time_limit(Duration::from_millis(20));
        let pool = pool.time_limit(LIMIT).start().expect("a pool");
        let run = |order| {
            let handle = pool.submit(meeting.job()).expect("open");
            meeting.guest().tell(order);
            handle.wait()
        };
        let gave = run("await cancel and say why").expect("an output");
        assert_eq!(gave, "Some(TimeLimit)");
        let failed = run("await cancel").expect_err("a failure");
        assert!(matches!(failed, TaskError::TimedOut), "{failed:?}");
        let report = close(&pool);
        assert_eq!((report.completed, report.timed_out), (1, 1));
        assert_eq!((report.started, report.killed), (1, 0));
    });
}

#[test]
fn p7_a_cancelled_task_can_ask_for_the_reason() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("why");
        let pool = jobs(1).start().expect("a pool");
        let handle = pool.submit(meeting.job()).expect("open");
        meeting.guest().tell("await cancel and say why");
        assert!(handle.cancel());
        assert_eq!(handle.wait().expect("an output"), "Some(Cancelled)");
        let handle = pool.submit(meeting.job()).expect("open");
        meeting.guest().tell("await cancel and say why");
        pool.shutdown(Shutdown::Cancel, LIMIT).expect("here");
        assert_eq!(handle.wait().expect("an output"), "Some(Shutdown)");
    });
}

#[test]
fn p7_a_running_task_that_ignores_a_cancel_is_ended() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("disobeys");
        let pool = jobs(2).retries(3).start().expect("a pool");
        let bystander = pool.submit(meeting.job()).expect("open");
        let mut other = meeting.guest();
        for grace in [Duration::ZERO, Duration::from_millis(20)] {
            let handle = pool.submit(meeting.job()).expect("open");
            let mut guest = meeting.guest();
            guest.tell("loop");
            assert!(handle.cancel_within(grace));
            let outcome = handle.outcome();
            assert!(matches!(outcome.result, Err(TaskError::Cancelled)));
            assert_eq!(outcome.attempts, 1);
            assert!(!is_running(guest.pid));
        }
        other.tell("done");
        bystander.wait().expect("an output");
        let report = close(&pool);
        assert_eq!((report.cancelled, report.completed), (2, 1));
        assert_eq!((report.killed, report.started), (2, 4));
    });
}

/// A queued task has no worker yet, and the worker of a task that obeys the cancel need not be ended.
#[test]
fn p7_no_worker_is_ended_for_a_task_that_is_queued_or_obeys() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("obeys");
        let pool = jobs(1).start().expect("a pool");
        let running = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        let queued = pool.submit(Job::Double(1)).expect("open");
        assert!(queued.cancel_within(Duration::ZERO));
        guest.tell("await cancel");
        assert!(running.cancel_within(LIMIT));
        assert!(matches!(running.wait(), Err(TaskError::Failed(_))));
        assert!(matches!(queued.wait(), Err(TaskError::Cancelled)));
        let report = close(&pool);
        assert_eq!((report.killed, report.started), (0, 1));
    });
}

/// Tasks end just when their time does, and others begin. Each has one outcome, and tasks that take no time are
/// completed.
#[test]
fn p7_a_task_that_ends_just_at_its_time_limit_has_one_outcome() {
    guarded(LIMIT, || {
        let pairs = rounds::rounds(60, 1000);
        let mut random = Rng::with_seed(rounds::seed());
        let times: Vec<u64> = (0..pairs).map(|_| random.u64(50_000..80_000)).collect();
        without_stop("tasks that take no time are completed", || {
            let pool = jobs(2).time_limit(Duration::from_millis(60)).start();
            let pool = pool.expect("a pool");
            for &time in &times {
                drop(pool.submit(Job::Busy(time)).expect("open"));
                drop(pool.submit(Job::Double(time)).expect("open"));
            }
            let mut quick_and_late = 0;
            for outcome in pool.drain() {
                assert_eq!(outcome.attempts, 1);
                let place = usize::try_from(outcome.id.get() / 2).expect("a place");
                let is_quick = outcome.id.get() % 2 == 1;
                let time = times.get(place).expect("a time");
                match outcome.result {
                    Ok(output) if is_quick => assert_eq!(output, (2 * time).to_string()),
                    Ok(output) => assert_eq!(output, time.to_string()),
                    Err(TaskError::TimedOut) => quick_and_late += u32::from(is_quick),
                    Err(other) => panic!("{other:?}"),
                }
            }
            let report = close(&pool);
            assert_eq!(report.submitted, 2 * u64::from(pairs));
            assert_eq!(report.submitted, report.completed + report.timed_out);
            assert_eq!((report.died, report.retried), (0, 0));
            assert!(report.killed >= report.timed_out, "{report}");
            assert!(report.started <= 2 + report.killed, "{report}");
            // On a busy machine, some tasks wait that long for a processor.
            quick_and_late <= pairs / 10
        });
    });
}

/// Returns a task that runs for longer than any test, except for a time limit of its own.
fn endless_within(limit: Duration) -> Job {
    Job::Busy(u64::MAX).within(limit)
}

/// The pool has no limit, so other tasks may take any time.
#[test]
fn p7_a_task_may_have_a_time_limit_of_its_own() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("own-limit");
        let pool = jobs(2).start().expect("a pool");
        let bystander = pool.submit(meeting.job()).expect("open");
        let mut other = meeting.guest();
        for milliseconds in [300, 20] {
            let limit = Duration::from_millis(milliseconds);
            let began = Instant::now();
            let handle = pool.submit(endless_within(limit)).expect("open");
            assert!(matches!(handle.wait(), Err(TaskError::TimedOut)));
            assert!(began.elapsed() >= limit);
        }
        other.tell("done");
        bystander.wait().expect("an output");
        let report = close(&pool);
        assert_eq!((report.completed, report.timed_out), (1, 2));
        // On a busy machine, a worker that is not ready in time, or does not end in time at the close, is killed too.
        assert!(report.killed >= 2 && report.started >= 4, "{report}");
        assert_eq!(report.died, 0, "{report}");
    });
}

#[test]
fn p7_a_time_limit_of_a_task_applies_to_each_attempt() {
    guarded(LIMIT, || {
        without_stop("the second attempt takes too long", || {
            let pool = jobs(1).retries(1).start().expect("a pool");
            let dies_first = Box::new(Job::DieUntil(2, Death::Abort));
            let job = Job::Then(dies_first, Box::new(Job::Busy(u64::MAX)));
            let outcome = pool.submit(job.within(SECOND)).expect("open").outcome();
            assert!(matches!(outcome.result, Err(TaskError::TimedOut)));
            close(&pool);
            outcome.attempts == 2
        });
    });
}

#[test]
fn p7_a_time_limit_of_the_task_replaces_that_of_the_pool() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("longer-limit");
        let pool = jobs(2).time_limit(Duration::from_millis(50)).start();
        let pool = pool.expect("a pool");
        let longer = pool.submit(meeting.job().within(LIMIT)).expect("open");
        let mut guest = meeting.guest();
        // This task begins later and ends sooner.
        let usual = pool.submit(Job::Busy(u64::MAX)).expect("open");
        assert!(matches!(usual.wait(), Err(TaskError::TimedOut)));
        guest.tell("done");
        assert_eq!(longer.wait().expect("an output"), "done");
        let report = close(&pool);
        assert_eq!((report.completed, report.timed_out), (1, 1));
    });
}

#[test]
fn p7_each_task_of_a_chunk_may_have_a_time_limit_of_its_own() {
    guarded(LIMIT, || {
        let pool = jobs(1).start().expect("a pool");
        for chunk in [1, 2, 4] {
            let endless = || endless_within(Duration::from_millis(50));
            let tasks = [Job::Double(1), endless(), Job::Double(2), endless()];
            let outcomes = pool.map(tasks).chunk(chunk);
            for (number, outcome) in (0..).zip(outcomes) {
                match outcome.result {
                    Ok(_) if number % 2 == 0 => {}
                    Err(TaskError::TimedOut) if number % 2 == 1 => {}
                    other => panic!("task {number}: {other:?}"),
                }
            }
        }
        let report = close(&pool);
        assert_eq!((report.completed, report.timed_out), (6, 6));
        assert_eq!((report.killed, report.died), (6, 0));
    });
}

/// A pool with a limit and no tasks does not wake up to check them.
#[test]
fn p7_a_pool_with_limits_sleeps_while_nothing_is_in_flight() {
    guarded(LIMIT, || {
        let pool = jobs(1..=2).time_limit(Duration::from_millis(5));
        let pool = pool.memory_limit(u64::MAX).start().expect("a pool");
        for _ in 0..3 {
            while pool.submit(Job::Double(1)).expect("open").wait().is_err() {}
            await_rest_of_pool();
        }
        close(&pool);
    });
}

/// The same for a pool whose tasks have limits of their own. It checks again when the next task begins.
#[test]
fn p7_a_pool_of_tasks_with_limits_sleeps_while_nothing_is_in_flight() {
    guarded(LIMIT, || {
        let limit = Duration::from_millis(5);
        let pool = jobs(1).start().expect("a pool");
        for _ in 0..2 {
            let quick = || Job::Double(1).within(limit);
            while pool.submit(quick()).expect("open").wait().is_err() {}
            await_rest_of_pool();
            let late = pool.submit(endless_within(limit)).expect("open");
            assert!(matches!(late.wait(), Err(TaskError::TimedOut)));
            await_rest_of_pool();
        }
        close(&pool);
    });
}

/// Waits until the thread of the only pool of this process has slept for a while.
fn await_rest_of_pool() {
    let tid = pool_thread();
    let mut before = switches(tid);
    loop {
        // Long enough to see dozens of checks.
        thread::sleep(Duration::from_millis(300));
        let after = switches(tid);
        if after == before {
            return;
        }
        before = after;
    }
}

/// Returns the id of the thread of the only pool of this process.
fn pool_thread() -> u32 {
    let tasks = fs::read_dir("/proc/self/task").expect("threads");
    let named = tasks.filter_map(|entry| {
        let entry = entry.ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        (name.trim_end() == "workring-pool").then_some(entry)
    });
    let thread = named.last().expect("the pool's thread");
    thread.file_name().to_string_lossy().parse().expect("an id")
}

/// Returns how often a thread went to sleep.
fn switches(tid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/self/task/{tid}/status")).expect("it lives");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.expect("a count").trim().parse().expect("a number")
}

#[test]
fn p8_a_task_that_exceeds_its_memory_limit_costs_only_itself() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("memory");
        let limit = TAKEN as u64 / 2;
        let pool = jobs(2).memory_limit(limit).retries(3).start();
        let pool = pool.expect("a pool");
        let handle = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        guest.tell("take memory");
        while !handle.is_finished() {
            let other = pool.submit(Job::Double(4)).expect("open");
            assert_eq!(other.wait().expect("an output"), "8");
        }
        match handle.wait() {
            Err(TaskError::TooMuchMemory { resident, .. }) => assert!(resident > limit),
            other => panic!("{other:?}"),
        }
        assert!(!is_running(guest.pid));
        let report = close(&pool);
        assert_eq!((report.lost, report.killed, report.died), (1, 1, 0));
        assert_eq!((report.started, report.retried), (3, 0));
    });
}

#[test]
fn p8_a_worker_has_its_limit_on_address_space() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("addresses");
        let pool = jobs(1).address_limit(2 << 30).start().expect("a pool");
        let handle = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        let limits = fs::read_to_string(format!("/proc/{}/limits", guest.pid)).expect("it lives");
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max address space"));
        let line = line.expect("a limit").split_whitespace();
        assert_eq!(line.filter(|word| *word == "2147483648").count(), 2);
        guest.tell("take addresses");
        assert!(matches!(handle.wait(), Err(TaskError::Crashed { .. })));
        close(&pool);
    });
}

#[test]
fn invalid_limits_are_refused_by_name() {
    guarded(LIMIT, || {
        let second = Duration::from_secs(1);
        let refused = [
            (jobs(0..=2), "workers"),
            (jobs(1..=513), "workers"),
            (jobs(1).time_limit(Duration::ZERO), "time_limit"),
            (
                jobs(1).time_limit(second).soft_time_limit(second),
                "soft_time_limit",
            ),
            (jobs(1).recycle_after_tasks(0, 5), "recycle_after_tasks"),
            (
                jobs(1).recycle_after_age(Duration::ZERO),
                "recycle_after_age",
            ),
            (jobs(1..=2).idle_timeout(Duration::ZERO), "idle_timeout"),
        ];
        for (builder, name) in refused {
            match builder.start() {
                Err(StartError::InvalidOption { option, .. }) => assert_eq!(option, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    });
}
