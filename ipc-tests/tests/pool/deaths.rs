//! Deaths of workers: the outcomes of their tasks, retries, and the workers that replace them.

use ipc_tests::support::{
    LIMIT,
    pools::{close, jobs},
    prompt,
};
use ipc_tests::{
    Pid, Signal,
    child::{Peer, is_running},
    guarded, guarded_steps,
    jobs::{Death, EXITS, Guest, Job, Meeting, PREPARE, Poison},
    ledger::Scratch,
    program, rounds, stops,
};
use nix::sys::signal::kill;
use parking_lot::{Condvar, Mutex};
use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    os::unix::process::ExitStatusExt,
    process::{self, Command, ExitStatus},
    sync::Arc,
    thread,
    time::Duration,
};
use workring::pool::{Event, OutcomeOf, Shutdown, SubmitError, TaskError};

/// Longer than any test waits.
const LONG: Duration = Duration::from_hours(1);
/// A pause too short to notice, for retries without delay.
const AT_ONCE: Duration = Duration::from_micros(1);

/// The events of a pool, in order.
#[derive(Clone, Default)]
struct EventLog(Arc<(Mutex<Vec<Event>>, Condvar)>);

impl EventLog {
    fn writer(&self) -> impl Fn(&Event) + Send + Sync + use<> {
        let Self(log) = self.clone();
        move |event| {
            log.0.lock().push(*event);
            log.1.notify_all();
        }
    }

    /// Waits until the events satisfy a condition.
    fn until(&self, condition: impl Fn(&[Event]) -> bool) {
        let mut events = self.0.0.lock();
        while !condition(&events) {
            self.0.1.wait(&mut events);
        }
    }

    /// Returns the id of the process that was started last.
    fn latest(&self) -> Pid {
        let events = self.0.0.lock();
        let pid = pid(events.last().expect("an event"));
        Pid::from_raw(i32::try_from(pid).expect("a pid"))
    }

    /// Returns the events of each process.
    fn by_process(&self) -> BTreeMap<u32, Vec<Event>> {
        let mut all: BTreeMap<u32, Vec<Event>> = BTreeMap::new();
        for event in self.0.0.lock().iter() {
            all.entry(pid(event)).or_default().push(*event);
        }
        all
    }
}

fn pid(event: &Event) -> u32 {
    match event {
        Event::Started { pid, .. }
        | Event::Ready { pid, .. }
        | Event::TaskStarted { pid, .. }
        | Event::TaskEnded { pid, .. }
        | Event::Exited { pid, .. } => *pid,
        _ => 0,
    }
}

fn count(events: &[Event], which: impl Fn(&Event) -> bool) -> usize {
    events.iter().filter(|event| which(event)).count()
}

fn exit_events(events: &[Event]) -> usize {
    count(events, |event| matches!(event, Event::Exited { .. }))
}

fn ready_events(events: &[Event]) -> usize {
    count(events, |event| matches!(event, Event::Ready { .. }))
}

fn end(guest: &Guest, signal: Signal) {
    kill(guest.pid, signal).expect("it lives");
}

fn status(error: &TaskError<String>) -> ExitStatus {
    match error {
        TaskError::Crashed { status, .. } => status.expect("only this process reaps"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn p5_each_way_to_die_is_reported_and_costs_only_its_own_task() {
    guarded(LIMIT, || {
        let pool = jobs(2).start().expect("a pool");
        let signalled = |signal: Signal| ExitStatus::from_raw(signal as i32);
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let deaths = [
            (Death::Exit(0), exited(0)),
            (Death::Exit(3), exited(3)),
            (Death::ExitAtOnce(4), exited(4)),
            (Death::Abort, signalled(Signal::SIGABRT)),
            (
                Death::Signal(Signal::SIGSEGV as i32),
                signalled(Signal::SIGSEGV),
            ),
            (
                Death::Signal(Signal::SIGKILL as i32),
                signalled(Signal::SIGKILL),
            ),
            (
                Death::Signal(Signal::SIGTERM as i32),
                signalled(Signal::SIGTERM),
            ),
        ];
        let mut others = Vec::new();
        let mut dying = Vec::new();
        for (number, (death, expected)) in (0..).zip(deaths) {
            others.push((number, pool.submit(Job::Double(number)).expect("open")));
            let handle = pool.submit(Job::Die(death)).expect("open");
            dying.push((handle, expected));
        }
        for (handle, expected) in dying {
            let outcome = handle.outcome();
            assert_eq!(outcome.attempts, 1);
            let status = status(&outcome.result.expect_err("a crash"));
            assert_eq!(
                (status.code(), status.signal()),
                (expected.code(), expected.signal())
            );
        }
        for (number, handle) in others {
            assert_eq!(handle.wait().expect("an output"), (2 * number).to_string());
        }
        let report = close(&pool);
        assert_eq!((report.completed, report.lost, report.died), (7, 7, 7));
        assert_eq!((report.retried, report.killed), (0, 0));
        // The replacement of a worker that died in its first moments waits for a back-off, which the shutdown may cut
        // short.
        assert!((8..=9).contains(&report.started), "{report}");
    });
}

#[test]
fn p5_a_crashed_task_is_retried_as_often_as_the_policy_allows() {
    guarded(LIMIT, || {
        let pool = jobs(2).retries(2).retry_backoff(AT_ONCE, AT_ONCE);
        let pool = pool.start().expect("a pool");
        let run = |job| pool.submit(job).expect("open").outcome();
        let outcome = run(Job::DieUntil(3, Death::Abort));
        assert_eq!(outcome.result.expect("the third attempt"), "3");
        assert_eq!(outcome.attempts, 3);
        let outcome = run(Job::DieUntil(4, Death::Exit(9)));
        assert_eq!(
            status(&outcome.result.expect_err("a crash")).code(),
            Some(9)
        );
        assert_eq!(outcome.attempts, 3);
        let report = close(&pool);
        assert_eq!((report.submitted, report.completed, report.lost), (2, 1, 1));
        assert_eq!((report.retried, report.died), (4, 5));
    });
}

#[test]
fn p5_a_crashed_task_is_not_retried_before_its_backoff() {
    guarded(LIMIT, || {
        let event_log = EventLog::default();
        let pool = jobs(1).retries(1).retry_backoff(LONG, LONG);
        let pool = pool.on_event(event_log.writer()).start().expect("a pool");
        let crashed = pool.submit(Job::Die(Death::Abort)).expect("open");
        event_log.until(|events| ready_events(events) == 2);
        let other = pool.submit(Job::Double(4)).expect("open");
        assert_eq!(other.wait().expect("an output"), "8");
        assert!(!crashed.is_finished());
        let report = pool.shutdown(Shutdown::Cancel, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        let outcome = crashed.outcome();
        assert!(matches!(outcome.result, Err(TaskError::Cancelled)));
        assert_eq!((outcome.attempts, report.died), (1, 1));
    });
}

/// The workers die before they begin the task. Such a death is no attempt of the task, but the number of them is
/// bounded.
#[test]
fn p5_a_task_whose_decoding_kills_every_worker_is_reported() {
    guarded(LIMIT, || {
        let pool = jobs(2).respawn_backoff(AT_ONCE, AT_ONCE);
        let pool = pool.start().expect("a pool");
        let alone = pool.submit(Job::Poison(Poison)).expect("open");
        let error = alone.wait().expect_err("a crash");
        assert_eq!(status(&error).signal(), Some(Signal::SIGABRT as i32));

        let among_others = [Job::Double(1), Job::Poison(Poison), Job::Double(2)];
        let outcomes: Vec<_> = pool.map(among_others).chunk(3).collect();
        let output = |outcome: &OutcomeOf<Job>| outcome.result.as_ref().ok().cloned();
        let outputs: Vec<_> = outcomes.iter().map(output).collect();
        assert_eq!(outputs, [Some("2".to_owned()), None, Some("4".to_owned())]);

        let report = close(&pool);
        assert_eq!((report.submitted, report.completed, report.lost), (4, 2, 2));
    });
}

/// An error or a panic is no crash.
#[test]
fn p5_a_task_that_fails_is_not_retried() {
    guarded(LIMIT, || {
        let pool = jobs(1).retries(5).start().expect("a pool");
        for job in [Job::Fail("no".to_owned()), Job::Panic("no".to_owned())] {
            let outcome = pool.submit(job).expect("open").outcome();
            assert_eq!(outcome.attempts, 1);
            outcome.result.expect_err("no output");
        }
        assert_eq!(close(&pool).retried, 0);
    });
}

/// Tasks wait in the queue while the only worker is killed repeatedly, before it takes a task or while it does.
#[test]
fn p5_a_worker_that_is_killed_before_it_takes_a_task_costs_no_attempt() {
    guarded(LIMIT, || {
        let event_log = EventLog::default();
        let pool = jobs(1)
            .respawn_backoff(AT_ONCE, AT_ONCE)
            .on_event(event_log.writer());
        let pool = pool.start().expect("a pool");
        for round in 1..=20 {
            event_log.until(|events| ready_events(events) >= round);
            kill(event_log.latest(), Signal::SIGKILL).expect("it lives");
            event_log.until(|events| exit_events(events) >= round);
        }
        for number in 0..20 {
            let handle = pool.submit(Job::Double(number)).expect("open");
            assert_eq!(handle.wait().expect("an output"), (2 * number).to_string());
        }
        let report = close(&pool);
        assert_eq!((report.completed, report.lost, report.died), (20, 0, 20));
    });
}

#[test]
fn p5_a_worker_that_is_killed_while_it_is_prepared_is_replaced() {
    guarded(LIMIT, || {
        let mark = env::temp_dir().join(format!("workring-prepared-{}", process::id()));
        let _ = fs::remove_file(&mark);
        let pool = jobs(2).env(PREPARE, format!("kill until {}", mark.display()));
        let pool = pool
            .respawn_backoff(AT_ONCE, AT_ONCE)
            .start()
            .expect("a pool");
        let handle = pool.submit(Job::Double(21)).expect("open");
        assert_eq!(handle.wait().expect("an output"), "42");
        let report = close(&pool);
        assert_eq!((report.started, report.died), (3, 1));
        // The same in a pool that runs already.
        let pool = jobs(1).env(PREPARE, format!("kill until {}", mark.display()));
        let pool = pool
            .respawn_backoff(AT_ONCE, AT_ONCE)
            .start()
            .expect("a pool");
        fs::remove_file(&mark).expect("the file");
        let crashed = pool.submit(Job::Die(Death::Abort)).expect("open");
        let after = pool.submit(Job::Double(4)).expect("open");
        crashed.wait().expect_err("a crash");
        assert_eq!(after.wait().expect("an output"), "8");
        let report = close(&pool);
        assert_eq!((report.started, report.died), (3, 2));
        fs::remove_file(&mark).expect("the file");
    });
}

/// Each worker exits in its first task.
#[test]
fn p4_started_comes_before_exited_once_each() {
    guarded(LIMIT, || {
        let rounds = u64::from(rounds::rounds(100, 1000));
        let event_log = EventLog::default();
        let pool = jobs(2)
            .on_event(event_log.writer())
            .start()
            .expect("a pool");
        for _ in 0..rounds {
            drop(pool.submit(Job::Die(Death::ExitAtOnce(0))).expect("open"));
        }
        let crashed = pool.drain().filter(|outcome| outcome.result.is_err());
        assert_eq!(crashed.count() as u64, rounds);
        let report = close(&pool);
        assert_eq!((report.lost, report.died), (rounds, rounds));
        let all = event_log.by_process();
        // The kernel may reuse process ids.
        assert!(all.len() as u64 <= report.started);
        for events in all.values() {
            let order = |event: &Event| match event {
                Event::Started { .. } => 0,
                Event::Ready { .. } => 1,
                Event::TaskStarted { .. } => 2,
                Event::TaskEnded { .. } => 3,
                _ => 4,
            };
            for life in events.chunk_by(|before, _| order(before) != 4) {
                assert!(life.is_sorted_by_key(order), "{life:?}");
                let once = |which| count(life, |event| order(event) == which);
                assert_eq!((once(0), once(4)), (1, 1), "{life:?}");
                // The pool may end before its last worker is ready.
                assert!(once(1) <= 1, "{life:?}");
            }
        }
    });
}

#[test]
fn p4_each_task_has_an_event_for_its_start_and_its_end() {
    guarded(LIMIT, || {
        let event_log = EventLog::default();
        let pool = jobs(1)
            .on_event(event_log.writer())
            .start()
            .expect("a pool");
        for number in 0..10 {
            drop(pool.submit(Job::Double(number)).expect("open"));
        }
        assert_eq!(pool.drain().count(), 10);
        close(&pool);
        let events = event_log
            .by_process()
            .into_values()
            .next()
            .expect("a worker");
        let tasks = events.iter().filter_map(|event| match event {
            Event::TaskStarted { task, .. } => Some((task.get(), true)),
            Event::TaskEnded { task, .. } => Some((task.get(), false)),
            _ => None,
        });
        let expected = (0..10).flat_map(|task| [(task, true), (task, false)]);
        assert_eq!(tasks.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    });
}

/// Processes end one after the other, each before it has sent a message.
#[test]
fn p4_started_comes_before_exited_also_for_workers_that_exit_at_once() {
    guarded_steps(LIMIT, |watchdog| {
        let rounds = rounds::rounds(100, 1000) as usize;
        let scratch = Scratch::new().expect("a directory");
        let mark = scratch.path().join("exit");
        let event_log = EventLog::default();
        let pool = jobs(1)
            .env(EXITS, &mark)
            .respawn_backoff(AT_ONCE, AT_ONCE)
            .on_event(event_log.writer());
        let pool = pool.start().expect("a pool");
        File::create(&mark).expect("the file");
        // A thread of its own delivers events, perhaps after `start` has returned.
        event_log.until(|events| ready_events(events) == 1);
        kill(event_log.latest(), Signal::SIGKILL).expect("it lives");
        for round in 1..=rounds {
            watchdog.progress();
            event_log.until(|events| exit_events(events) > round);
        }
        fs::remove_file(&mark).expect("the file");
        // The pool accepts tasks again, which it does not do while no worker can be started.
        event_log.until(|events| ready_events(events) > 1);
        let after = loop {
            match pool.submit(Job::Double(4)) {
                Ok(handle) => break handle,
                Err(refused) => assert!(matches!(refused, SubmitError::NoWorkers { .. })),
            }
        };
        assert_eq!(after.wait().expect("an output"), "8");
        let report = close(&pool);
        let events = event_log.0.0.lock();
        let lives = events.chunk_by(|before, _| !matches!(before, Event::Exited { .. }));
        let lives: Vec<&[Event]> = lives.collect();
        assert_eq!(lives.len() as u64, report.started);
        assert_eq!(report.died, report.started - 1);
        let short = lives.iter().filter(|life| {
            let [Event::Started { pid, .. }, .., last] = life else {
                panic!("{life:?}");
            };
            let Event::Exited {
                pid: exited,
                status,
                ..
            } = last
            else {
                panic!("{life:?}");
            };
            assert_eq!(pid, exited);
            let starts = count(life, |event| matches!(event, Event::Started { .. }));
            assert_eq!(starts, 1, "{life:?}");
            life.len() == 2 && status.is_some_and(|status| status.success())
        });
        assert!(short.count() >= rounds);
    });
}

/// Two workers die at the same time, each in the middle of a task.
#[test]
fn p5_workers_that_die_together_lose_only_their_running_tasks() {
    guarded(LIMIT, || {
        for _ in 0..10 {
            let meeting = Meeting::new("together");
            let pool = jobs(2).start().expect("a pool");
            let running: Vec<_> = (0..2)
                .map(|_| pool.submit(meeting.job()).expect("open"))
                .collect();
            let guests = [meeting.guest(), meeting.guest()];
            let queued: Vec<_> = (0..10)
                .map(|n| pool.submit(Job::Double(n)).expect("open"))
                .collect();
            for guest in &guests {
                end(guest, Signal::SIGKILL);
            }
            for handle in running {
                let error = handle.wait().expect_err("a crash");
                assert_eq!(status(&error).signal(), Some(Signal::SIGKILL as i32));
            }
            for handle in queued {
                handle.wait().expect("an output");
            }
            let report = close(&pool);
            assert_eq!((report.completed, report.lost, report.started), (10, 2, 4));
        }
    });
}

/// The worker was gone before the wait began.
#[test]
fn w7_a_wait_for_a_task_ends_at_once_when_its_worker_is_gone() {
    prompt(|| {
        let meeting = Meeting::new("gone");
        let pool = jobs(1)
            .spin(Duration::ZERO)
            .liveness_interval(Duration::from_secs(10));
        let pool = pool.start().expect("a pool");
        let handle = pool.submit(meeting.job()).expect("open");
        let guest = meeting.guest();
        end(&guest, Signal::SIGKILL);
        while is_running(guest.pid) {
            thread::yield_now();
        }
        let error = handle.wait().expect_err("a crash");
        assert_eq!(status(&error).signal(), Some(Signal::SIGKILL as i32));
        let after = pool.submit(Job::Double(4)).expect("open");
        assert_eq!(after.wait().expect("an output"), "8");
        close(&pool);
    });
}

#[test]
fn p7_processes_that_a_task_has_started_end_with_its_worker() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("children");
        let pool = jobs(1).start().expect("a pool");
        let handle = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        guest.tell("have a child");
        let child = Pid::from_raw(guest.answer().parse().expect("a pid"));
        assert_eq!(guest.answer(), "ok");
        assert!(is_running(child));
        guest.tell("abort");
        handle.wait().expect_err("a crash");
        while is_running(child) {
            thread::yield_now();
        }
        close(&pool);
    });
}

#[test]
fn p9_workers_and_their_descendants_end_when_their_parent_is_killed() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("orphans");
        let place = meeting.path().display().to_string();
        let mut parent = Peer::spawn(
            program("peer"),
            "pool",
            &[&program("pooled"), &place],
            Command::spawn,
        )
        .expect("spawn");
        assert_eq!(parent.answer(), "submitted");
        let mut guests = [meeting.guest(), meeting.guest()];
        let mut doomed = Vec::new();
        for guest in &mut guests {
            guest.tell("have a child");
            doomed.push(Pid::from_raw(guest.answer().parse().expect("a pid")));
            doomed.push(guest.pid);
        }
        assert!(doomed.iter().all(|&pid| is_running(pid)));
        // A stopped worker cannot react to the death of its parent.
        for guest in guests.iter().take(1) {
            end(guest, Signal::SIGSTOP);
        }
        let took = stops::time(|| {
            parent.signal(Signal::SIGKILL);
            for pid in doomed {
                while is_running(pid) {
                    thread::yield_now();
                }
            }
        });
        // A stop of this process, and perhaps of its workers, takes longer.
        assert!(
            took.is_none_or(|took| took < Duration::from_secs(2)),
            "{took:?}"
        );
    });
}

#[test]
fn p3_a_worker_that_ignores_sigterm_is_killed() {
    prompt(|| {
        let meeting = Meeting::new("deaf");
        let pool = jobs(1)
            .grace(Duration::from_millis(50))
            .start()
            .expect("a pool");
        let stuck = pool.submit(meeting.job()).expect("open");
        let mut guest = meeting.guest();
        guest.tell("be deaf to SIGTERM");
        assert_eq!(guest.answer(), "ok");
        let report = pool.shutdown(Shutdown::Cancel, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.cancelled, report.killed), (1, 1));
        assert!(matches!(stuck.wait(), Err(TaskError::Cancelled)));
    });
}

/// The worker is stuck, and `SIGTERM` suffices to end it. The report counts it once, as killed.
#[test]
fn p3_a_worker_that_is_ended_by_sigterm_counts_as_killed() {
    guarded(LIMIT, || {
        let meeting = Meeting::new("obeys-sigterm");
        let mut ends = (0, None);
        let mut round = || {
            let event_log = EventLog::default();
            let pool = jobs(1).grace(Duration::from_secs(1));
            let pool = pool.on_event(event_log.writer()).start().expect("a pool");
            let stuck = pool.submit(meeting.job()).expect("open");
            let _guest = meeting.guest();
            let report = pool.shutdown(Shutdown::Cancel, LIMIT).expect("here");
            assert!(matches!(stuck.wait(), Err(TaskError::Cancelled)));
            let status = event_log.0.0.lock().iter().find_map(|event| match event {
                Event::Exited { status, .. } => *status,
                _ => None,
            });
            ends = (report.killed, status.and_then(|status| status.signal()));
        };
        // Repeats rounds in which this process was stopped for longer than the grace time.
        while stops::time(&mut round).is_none() {}
        assert_eq!(ends, (1, Some(Signal::SIGTERM as i32)));
    });
}

#[test]
fn p3_a_worker_that_is_stopped_is_killed() {
    prompt(|| {
        let meeting = Meeting::new("stopped");
        let pool = jobs(1)
            .grace(Duration::from_millis(50))
            .start()
            .expect("a pool");
        let stuck = pool.submit(meeting.job()).expect("open");
        end(&meeting.guest(), Signal::SIGSTOP);
        let report = pool.shutdown(Shutdown::Cancel, LIMIT).expect("here");
        assert!(report.is_balanced(), "{report}");
        assert_eq!((report.cancelled, report.killed), (1, 1));
        assert!(matches!(stuck.wait(), Err(TaskError::Cancelled)));
    });
}

/// One in a hundred tasks kills its worker. No other task is lost, and the report adds up.
#[test]
fn p13_the_report_adds_up_when_one_task_in_a_hundred_kills_its_worker() {
    guarded_steps(LIMIT, |watchdog| {
        let tasks = u64::from(rounds::rounds(2_000, 100_000));
        let pool = jobs(2).start().expect("a pool");
        let mut lost = 0;
        for number in 0..tasks {
            let is_deadly = number % 100 == 37;
            let job = if is_deadly {
                Job::Die(Death::Abort)
            } else {
                Job::Double(number)
            };
            lost += u64::from(is_deadly);
            watchdog.progress();
            drop(pool.submit(job).expect("open"));
        }
        for outcome in pool.drain() {
            watchdog.progress();
            let number = outcome.id.get();
            match outcome.result {
                Ok(output) => assert_eq!(output, (2 * number).to_string()),
                Err(error) => {
                    assert_eq!(number % 100, 37, "{error}");
                    assert_eq!(status(&error).signal(), Some(Signal::SIGABRT as i32));
                }
            }
        }
        let report = close(&pool);
        assert_eq!(
            (report.submitted, report.completed, report.lost),
            (tasks, tasks - lost, lost)
        );
        assert_eq!(report.died, lost);
        // Shutdown may come before the last worker that died is replaced.
        let replaced = report.started - 2;
        assert!(
            (lost - 1..=lost).contains(&replaced),
            "{replaced} of {lost}"
        );
    });
}
