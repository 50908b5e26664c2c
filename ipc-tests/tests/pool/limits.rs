//! Limits on tasks (time, memory), on workers (number of tasks, age, memory), and on the number of workers.
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
    guarded, guarded_steps,
    jobs::{Death, Guest, Job, Meeting, TAKEN},
    rounds::{self, Rng},
    stops,
    watchdog::Watchdog,
};
use nix::sys::signal::kill;
use parking_lot::{Condvar, Mutex};
use std::{
    collections::BTreeSet,
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use workring::pool::{Event, Shutdown, StartError, TaskError};

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
fn p8_workers_are_replaced_after_a_number_of_tasks() {
    let tasks = u64::from(rounds::rounds(200, 10_000));
    for each in 1..=8 {
        // Thousands of processes each: a limit on the time of all would measure the machine.
        guarded_steps(LIMIT, |watchdog| replaced_after(each, tasks, watchdog));
    }
}

/// Runs `tasks` tasks in workers that are recycled after `each` of them.
fn replaced_after(each: u64, tasks: u64, watchdog: &Watchdog) {
    let pool = jobs(2).recycle_after_tasks(each, 0);
    // While this process is stopped, time passes for starting workers, too.
    let pool = pool.grace(LIMIT).start_timeout(LIMIT).start();
    let pool = pool.expect("a pool");
    for number in 0..tasks {
        drop(pool.submit(Job::Double(number)).expect("open"));
        watchdog.progress();
    }
    let mut count = 0;
    for outcome in pool.drain() {
        watchdog.progress();
        let expected = (2 * outcome.id.get()).to_string();
        assert_eq!(outcome.result.expect("an output"), expected);
        assert_eq!(outcome.attempts, 1);
        count += 1;
    }
    assert_eq!(count, tasks);
    let report = close(&pool);
    assert_eq!((report.submitted, report.completed), (tasks, tasks));
    assert_eq!((report.died, report.killed, report.retried), (0, 0, 0));
    // At the end, two processes may have tasks left, and two may have just started.
    assert!(report.recycled * each <= tasks, "{report}");
    assert!((report.recycled + 4) * each >= tasks, "{report}");
    assert!(report.started - report.recycled <= 4, "{report}");
}

#[test]
fn p8_not_all_workers_are_replaced_after_the_same_number_of_tasks() {
    guarded(LIMIT, || {
        let pool = jobs(1).recycle_after_tasks(3, 2).start().expect("a pool");
        let mut pids = Vec::new();
        for _ in 0..200 {
            let handle = pool.submit(Job::Pid).expect("open");
            pids.push(handle.wait().expect("an output"));
        }
        let mut lives: Vec<usize> = pids
            .chunk_by(|one, next| one == next)
            .map(<[String]>::len)
            .collect();
        lives.pop();
        assert!(
            lives.iter().all(|tasks| (3..=5).contains(tasks)),
            "{lives:?}"
        );
        assert!((3..=5).all(|tasks| lives.contains(&tasks)), "{lives:?}");
        close(&pool);
    });
}

#[test]
fn p8_a_worker_that_keeps_too_much_memory_is_replaced_after_its_task() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("keeps");
        let limit = TAKEN as u64 / 2;
        let pool = jobs(1).recycle_above_memory(limit).start().expect("a pool");
        let pid = || {
            let handle = pool.submit(Job::Pid).expect("open");
            handle.wait().expect("an output")
        };
        let before = pid();
        assert_eq!(pid(), before);
        let greedy = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        assert_eq!(guest.pid.to_string(), before);
        guest.tell("take memory");
        assert_eq!(guest.answer(), "ok");
        guest.tell("done");
        assert_eq!(greedy.wait().expect("an output"), "done");
        assert_ne!(pid(), before);
        let report = close(&pool);
        assert_eq!((report.recycled, report.started, report.died), (1, 2, 0));
    });
}

/// Counts the events of a pool.
#[derive(Default)]
struct Counted {
    started: u32,
    ready: u32,
    exited: u32,
}

static COUNTED: (Mutex<Counted>, Condvar) = (
    Mutex::new(Counted {
        started: 0,
        ready: 0,
        exited: 0,
    }),
    Condvar::new(),
);

fn count(event: &Event) {
    let mut counted = COUNTED.0.lock();
    match event {
        Event::Started { .. } => counted.started += 1,
        Event::Ready { .. } => counted.ready += 1,
        Event::Exited { .. } => counted.exited += 1,
        _ => {}
    }
    COUNTED.1.notify_all();
}

fn wait_until(condition: impl Fn(&Counted) -> bool) {
    let mut counted = COUNTED.0.lock();
    while !condition(&counted) {
        COUNTED.1.wait(&mut counted);
    }
}

/// Idle workers are replaced at once, and a busy one after its task.
#[test]
fn p8_a_worker_is_replaced_for_its_age() {
    guarded(LIMIT, || {
        *COUNTED.0.lock() = Counted::default();
        let meeting = Meeting::new("age");
        let pool = jobs(2).recycle_after_age(Duration::from_millis(30));
        let pool = pool.grace(LIMIT).on_event(count).start().expect("a pool");
        wait_until(|counted| counted.exited >= 3);
        let handle = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        let exited = COUNTED.0.lock().exited;
        wait_until(|counted| counted.exited >= exited + 3);
        assert!(is_running(guest.pid));
        guest.tell("done");
        handle.wait().expect("an output");
        while is_running(guest.pid) {
            thread::yield_now();
        }
        let report = close(&pool);
        assert!(report.recycled >= 7, "{report}");
        assert_eq!((report.died, report.killed, report.lost), (0, 0, 0));
    });
}

/// All but the last worker are too old before the pool has started. They were once asked to stop at that moment only, which
/// the pool did not do yet, and so never.
#[test]
fn p8_a_worker_that_is_too_old_when_the_pool_starts_is_replaced() {
    guarded(LIMIT, || {
        *COUNTED.0.lock() = Counted::default();
        let pool = jobs(2).recycle_after_age(Duration::from_nanos(1));
        let numbers = Arc::new((Mutex::new(BTreeSet::new()), Condvar::new()));
        let exited = Arc::clone(&numbers);
        let pool = pool.grace(LIMIT).on_event(move |event| {
            if let Event::Exited { worker, .. } = event {
                exited.0.lock().insert(*worker);
                exited.1.notify_all();
            }
        });
        let pool = pool.start().expect("a pool");
        let mut seen = numbers.0.lock();
        while seen.len() < 2 {
            numbers.1.wait(&mut seen);
        }
        drop(seen);
        close(&pool);
    });
}

/// A stopped worker cannot obey the order to exit.
#[test]
fn p8_a_stopped_worker_is_replaced_for_its_age() {
    guarded(LIMIT, || {
        *COUNTED.0.lock() = Counted::default();
        let pool = jobs(1).recycle_after_age(Duration::from_millis(200));
        let pool = pool.grace(Duration::from_millis(50)).on_event(count);
        let pool = pool.start().expect("a pool");
        let pid = pool.submit(Job::Pid).expect("open").wait();
        let pid = Pid::from_raw(pid.expect("an output").parse().expect("a pid"));
        // The worker may have ended by now.
        let _ = kill(pid, Signal::SIGSTOP);
        wait_until(|counted| counted.exited >= 1 && counted.ready >= 2);
        assert!(!is_running(pid));
        let after = pool.submit(Job::Double(4)).expect("open");
        assert_eq!(after.wait().expect("an output"), "8");
        close(&pool);
    });
}

/// Workers exit by themselves at the moment at which the pool stops them.
#[test]
fn p8_recycling_and_a_shutdown_do_not_wait_for_each_other() {
    guarded(LIMIT, || {
        let mut random = Rng::with_seed(rounds::seed());
        for round in 0..rounds::rounds(60, 1000) {
            let builder = jobs(2).recycle_after_tasks(1 + u64::from(round % 3), 0);
            let builder = builder.grace(LIMIT);
            let pool = match round % 4 {
                0 => builder.recycle_after_age(Duration::from_millis(1)),
                _ => builder,
            };
            let pool = pool.start().expect("a pool");
            for number in 0..random.u64(0..12) {
                drop(pool.submit(Job::Double(number)).expect("open"));
            }
            for _ in 0..random.u32(0..4) {
                drop(pool.drain().next());
            }
            let how = match round % 2 {
                0 => Shutdown::Drain,
                _ => Shutdown::Cancel,
            };
            let report = pool.shutdown(how, LIMIT).expect("here");
            assert!(report.is_balanced(), "{report}");
            assert_eq!(
                (report.killed, report.died, report.lost),
                (0, 0, 0),
                "{report}"
            );
            if how == Shutdown::Drain {
                assert_eq!(report.completed, report.submitted);
            }
        }
    });
}

#[test]
fn workers_are_started_while_tasks_wait_and_ended_while_none_do() {
    guarded(LIMIT, || {
        *COUNTED.0.lock() = Counted::default();
        let meeting = Meeting::new("grows");
        let pool = jobs(1..=3).idle_timeout(Duration::from_millis(200));
        let pool = pool.grace(LIMIT).on_event(count).start().expect("a pool");
        // A thread of its own delivers events, perhaps a little later.
        wait_until(|counted| counted.started == 1);
        for round in 1..=2 {
            let submit = |_| pool.submit(meeting.job()).expect("open");
            let handles: Vec<_> = (0..4).map(submit).collect();
            let [mut first, mut second, mut third] = [(); 3].map(|()| meeting.guest());
            wait_until(|counted| {
                assert!(counted.started <= counted.exited + 3);
                counted.started > 2 * round
            });
            first.tell("done");
            let mut fourth = meeting.guest();
            assert_eq!(fourth.pid, first.pid, "there are at most three workers");
            for guest in [&mut second, &mut third, &mut fourth] {
                guest.tell("done");
            }
            for handle in handles {
                handle.wait().expect("an output");
            }
            wait_until(|counted| counted.exited + 1 == counted.started);
        }
        let report = close(&pool);
        assert!(report.started >= 5, "{report}");
        assert_eq!((report.recycled, report.died, report.killed), (0, 0, 0));
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
