//! Workers are replaced after a number of tasks, at an age, or above a memory limit (P8), and their number follows the load.

use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
};
use ipc_tests::{
    Pid, Signal,
    child::is_running,
    guarded, guarded_steps,
    jobs::{Job, Meeting, TAKEN},
    rounds::{self, Rng},
    watchdog::Watchdog,
};
use nix::sys::signal::kill;
use parking_lot::{Condvar, Mutex};
use std::{collections::BTreeSet, sync::Arc, thread, time::Duration};
use workring::pool::{Event, Shutdown};

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
