//! The end of a pool: all completed tasks have their outcomes (P1), readers and submitters end (C1, C3), both sides
//! close (P2), signals end a program cleanly (P10), and nothing is left behind (T2).

use ipc_tests::support::{LIMIT, asleep};
use ipc_tests::{
    Pid, Signal,
    child::{Peer, is_running},
    cpu::resident,
    deeds::{BEGUN, DONE, Deed, LEDGER},
    guarded, guarded_steps,
    ledger::{Ledger, Scratch},
    rounds::{Rng, rounds, seed},
    watchdog::Watchdog,
};
use nix::sys::signal::{kill, killpg};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::{fs::MetadataExt, process::CommandExt},
    process::{Command, ExitStatus},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
    time::Duration,
};
use workring::pool::{
    Builder, Event, OutcomeOf, Report, Shutdown, SubmitError, TaskError, TypedPool,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_deeds");
/// Longer than any test waits.
const LONG: Duration = Duration::from_hours(1);

fn deeds(workers: usize) -> Builder<TypedPool<Deed>> {
    TypedPool::builder().program(PROGRAM).workers(workers)
}

/// Returns a builder for a pool whose waits sleep at once, and end only by a wake-up.
fn sleepy(workers: usize) -> Builder<TypedPool<Deed>> {
    deeds(workers)
        .spin(Duration::ZERO)
        .liveness_interval(Duration::from_secs(10))
}

/// Starts a pool, and returns it with its events.
fn start_with_events(builder: Builder<TypedPool<Deed>>) -> (TypedPool<Deed>, Receiver<Event>) {
    let (sender, events) = mpsc::channel();
    let builder = builder.on_event(move |event| {
        // At the end of a test the receiver is gone.
        let _ = sender.send(*event);
    });
    (builder.start().expect("a pool"), events)
}

fn end(pool: &TypedPool<Deed>, how: Shutdown) -> Report {
    let report = pool.shutdown(how, LIMIT).expect("here");
    assert!(report.is_balanced(), "{report}");
    report
}

fn pid(event: Event) -> Option<Pid> {
    let (Event::Started { pid, .. } | Event::Exited { pid, .. }) = event else {
        return None;
    };
    Some(Pid::from_raw(pid.try_into().expect("a process id")))
}

/// Returns the names of the threads of pools and queues in this process. A joined thread is still listed for a moment,
/// since `join` returns before the kernel has removed it.
fn helpers() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc").flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.starts_with("workring"))
        .collect()
}

/// Waits until this number of helper threads is left. If more stay, the watchdog ends the test.
fn await_helpers(count: usize) {
    while helpers().len() != count {
        thread::yield_now();
    }
}

/// What pools and queues have created in this process.
#[derive(Debug, PartialEq, Eq)]
struct Inventory {
    descriptors: Vec<String>,
    helpers: usize,
    shared_mappings: usize,
}

/// Ignores files of `/proc` and `/sys`, which any thread may be reading.
fn inventory() -> Inventory {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    let all = fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let mut descriptors: Vec<String> = all
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|target| target.to_string_lossy().replace(char::is_numeric, ""))
        .filter(|target| !target.starts_with("/proc/") && !target.starts_with("/sys/"))
        .collect();
    descriptors.sort_unstable();
    Inventory {
        descriptors,
        helpers: helpers().len(),
        shared_mappings: maps.lines().filter(|line| line.contains("memfd")).count(),
    }
}

/// Starts a thread that reads results until the end, and waits until it sleeps.
fn reader(pool: &Arc<TypedPool<Deed>>) -> thread::JoinHandle<Vec<OutcomeOf<Deed>>> {
    let pool = Arc::clone(pool);
    asleep(move || pool.drain().collect())
}

/// In ansible/dispatcherd, a task that reads results died of an exception when the process manager was shut down; its
/// test is `test_read_results_forever_exits_after_process_manager_shutdown`. Here the reader ends without an error.
#[test]
fn c1_a_reader_of_results_ends_when_the_pool_is_shut_down() {
    guarded_steps(LIMIT, |watchdog| {
        for _ in 0..rounds(50, 10_000) {
            watchdog.progress();
            let pool = Arc::new(sleepy(1).start().expect("a pool"));
            drop(pool.submit(Deed::UntilCancelled).expect("open"));
            drop(pool.submit(Deed::Echo(7)).expect("open"));
            let reader = reader(&pool);
            let report = end(&pool, Shutdown::Cancel);
            let outcomes = reader.join().expect("the reader has failed");
            assert_eq!(outcomes.len(), 2);
            for outcome in outcomes {
                match outcome.result.expect_err("cancelled") {
                    TaskError::Failed(error) => assert_eq!(error, "cancelled"),
                    TaskError::Cancelled => {}
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((report.submitted, report.killed), (2, 0));
        }
    });
}

/// The same without a worker: the only one is dead, and its replacement is due in an hour.
#[test]
fn c1_a_reader_of_results_ends_also_without_workers() {
    guarded_steps(LIMIT, |watchdog| {
        for _ in 0..rounds(50, 10_000) {
            watchdog.progress();
            let (pool, events) = start_with_events(sleepy(1).respawn_backoff(LONG, LONG));
            let pool = Arc::new(pool);
            let worker = events.recv().ok().and_then(pid).expect("a worker");
            kill(worker, Signal::SIGKILL).expect("it lives");
            let exited = events
                .iter()
                .find(|event| matches!(event, Event::Exited { .. }));
            assert_eq!(exited.and_then(pid), Some(worker));
            for number in 0..3 {
                drop(pool.submit(Deed::Echo(number)).expect("open"));
            }
            let reader = reader(&pool);
            let report = end(&pool, Shutdown::Cancel);
            let outcomes = reader.join().expect("the reader has failed");
            let cancelled =
                |outcome: &OutcomeOf<Deed>| matches!(outcome.result, Err(TaskError::Cancelled));
            assert!(
                outcomes.len() == 3 && outcomes.iter().all(cancelled),
                "{outcomes:?}"
            );
            assert_eq!((report.cancelled, report.started), (3, 1));
        }
    });
}

/// Some readers wait for handles, others drain. The shutdown comes before, during, or after their waits. Each outcome
/// goes to one reader, and then all readers end.
#[test]
fn c1_readers_that_race_with_a_shutdown_get_each_outcome_once_and_then_the_end() {
    const READERS: u64 = 4;
    guarded_steps(LIMIT, |watchdog| {
        let mut rng = Rng::with_seed(seed());
        for round in 0..rounds(50, 10_000) {
            watchdog.progress();
            let how = match round % 2 {
                0 => Shutdown::Drain,
                _ => Shutdown::Cancel,
            };
            let pool = deeds(2).start().expect("a pool");
            let submit = |number| pool.submit(Deed::Echo(number)).expect("open");
            let handles: Vec<_> = (0..READERS).map(submit).collect();
            (READERS..50).for_each(|number| drop(submit(number)));
            let pauses = rng.choose_multiple(0..20_000_u32, 1 + handles.len());
            let outcomes: Vec<OutcomeOf<Deed>> = thread::scope(|scope| {
                let mut readers = Vec::new();
                for (handle, pause) in handles.into_iter().zip(pauses) {
                    let pool = &pool;
                    let spin = move || (0..pause).for_each(|_| std::hint::spin_loop());
                    readers.push(scope.spawn(move || {
                        spin();
                        vec![handle.outcome()]
                    }));
                    readers.push(scope.spawn(move || {
                        spin();
                        pool.drain().collect()
                    }));
                }
                end(&pool, how);
                let join = |reader: thread::ScopedJoinHandle<'_, Vec<_>>| {
                    reader.join().expect("the reader has failed")
                };
                readers.into_iter().flat_map(join).collect()
            });
            let mut ids: Vec<u64> = outcomes.iter().map(|outcome| outcome.id.get()).collect();
            ids.sort_unstable();
            assert!(ids.into_iter().eq(0..50));
            for outcome in outcomes {
                match outcome.result {
                    Ok(number) => assert_eq!(number, outcome.id.get()),
                    Err(TaskError::Cancelled) if how == Shutdown::Cancel => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    });
}

/// The outcomes of all tasks that the workers' ledger records as completed have reached the parent, although all other
/// tasks were cancelled.
#[test]
fn p1_results_from_before_a_cancel_reach_the_parent() {
    guarded_steps(LIMIT, |watchdog| {
        for _ in 0..rounds(30, 3_000) {
            watchdog.progress();
            let scratch = Scratch::new().expect("a directory");
            let pool = deeds(2).grace(LIMIT).start().expect("a pool");
            let submit = |number| {
                let deed = Deed::Note(scratch.path().to_owned(), number);
                pool.submit(deed).expect("open")
            };
            let first = submit(0);
            (1..200).for_each(|number| drop(submit(number)));
            while pool.in_flight() > 150 {
                // The drain collects the results that have arrived.
                let _ = first.is_finished();
            }
            let report = end(&pool, Shutdown::Cancel);
            assert_eq!((report.killed, report.died, report.lost), (0, 0, 0));
            let outcomes = pool.drain().chain([first.outcome()]);
            let arrived: BTreeSet<u64> = outcomes
                .filter_map(|outcome| match outcome.result {
                    Ok(number) => Some(number),
                    Err(TaskError::Cancelled) => None,
                    Err(other) => panic!("{other:?}"),
                })
                .collect();
            let noted = Ledger::read(scratch.path(), LEDGER).expect("the ledger");
            let done = noted.iter().filter(|entry| entry.kind == DONE);
            assert_eq!(arrived, done.map(|entry| entry.number).collect());
        }
    });
}

const SUBMITTERS: u64 = 3;

/// Submits every third number from `first` on until the pool is closed. Returns those that were accepted.
fn submit_until_closed(
    pool: &TypedPool<Deed>,
    scratch: &Scratch,
    first: u64,
    is_shut: &AtomicBool,
) -> Vec<u64> {
    let mut accepted = Vec::new();
    for number in (first..).step_by(3) {
        // Checked before the call, so that the call begins after the shutdown has ended.
        let is_late = is_shut.load(Ordering::SeqCst);
        let deed = Deed::Note(scratch.path().to_owned(), number);
        match pool.submit(deed.clone()) {
            Ok(_) => {
                assert!(!is_late, "accepted after the shutdown");
                accepted.push(number);
            }
            Err(SubmitError::Closed(task)) => {
                assert_eq!(task, deed);
                break;
            }
            Err(other) => panic!("{other}"),
        }
    }
    accepted
}

/// The workers' ledger shows that each task accepted before the shutdown runs once. Later ones are returned to the
/// caller.
#[test]
fn c3_tasks_submitted_before_a_shutdown_are_done_and_later_ones_are_refused() {
    guarded_steps(LIMIT, |watchdog| {
        for _ in 0..rounds(30, 3_000) {
            watchdog.progress();
            let scratch = Scratch::new().expect("a directory");
            let pool = deeds(2).capacity(64).start().expect("a pool");
            let is_shut = AtomicBool::new(false);
            let accepted: Vec<u64> = thread::scope(|scope| {
                let threads: Vec<_> = (0..SUBMITTERS)
                    .map(|first| {
                        let (pool, scratch, is_shut) = (&pool, &scratch, &is_shut);
                        scope.spawn(move || submit_until_closed(pool, scratch, first, is_shut))
                    })
                    .collect();
                while pool.in_flight() < 20 {
                    thread::yield_now();
                }
                end(&pool, Shutdown::Drain);
                is_shut.store(true, Ordering::SeqCst);
                threads
                    .into_iter()
                    .flat_map(|thread| thread.join().expect("join"))
                    .collect()
            });
            let report = end(&pool, Shutdown::Drain);
            let all = accepted.len() as u64;
            assert_eq!((report.submitted, report.completed), (all, all), "{report}");
            let mut outputs: Vec<u64> = pool
                .drain()
                .map(|outcome| outcome.result.expect("done"))
                .collect();
            let mut expected = accepted.clone();
            outputs.sort_unstable();
            expected.sort_unstable();
            assert_eq!(outputs, expected);
            let mut noted: BTreeMap<u64, (u32, u32)> = BTreeMap::new();
            for entry in Ledger::read(scratch.path(), LEDGER).expect("the ledger") {
                let (begun, done) = noted.entry(entry.number).or_default();
                match entry.kind {
                    BEGUN => *begun += 1,
                    DONE => *done += 1,
                    other => panic!("{other}"),
                }
            }
            assert!(noted.keys().eq(&expected));
            assert!(noted.values().all(|&times| times == (1, 1)), "{noted:?}");
        }
    });
}

/// Each worker reports that it stops, and exits when the parent has confirmed that. So no worker ends by a signal, and
/// no helper thread is left after the shutdown.
#[test]
fn p2_a_shutdown_ends_each_worker_and_its_helper_threads() {
    guarded(LIMIT, || {
        for how in [Shutdown::Drain, Shutdown::Cancel] {
            let before = inventory();
            let (pool, events) = start_with_events(deeds(3));
            for _ in 0..3 {
                let deed = match how {
                    Shutdown::Drain => Deed::Pid,
                    _ => Deed::UntilCancelled,
                };
                drop(pool.submit(deed).expect("open"));
            }
            let report = end(&pool, how);
            assert_eq!((report.started, report.died, report.killed), (3, 0, 0));
            let exits: Vec<_> = events
                .try_iter()
                .filter_map(|event| match event {
                    Event::Exited { status, .. } => status,
                    _ => None,
                })
                .collect();
            assert_eq!(exits.len(), 3);
            assert!(exits.iter().all(ExitStatus::success), "{exits:?}");
            await_helpers(before.helpers);
            drop((pool, events));
            assert_eq!(inventory(), before);
        }
    });
}

/// Workers exit by themselves, one after the other. What the parent had created for each of them is freed.
#[test]
fn p2_a_worker_that_exits_leaves_no_helper_thread_in_the_parent() {
    guarded(LIMIT, || {
        let (pool, events) = start_with_events(deeds(2));
        let await_ready = |count| {
            let is_ready = |event: &Event| matches!(event, Event::Ready { .. });
            assert_eq!(events.iter().filter(is_ready).take(count).count(), count);
        };
        await_ready(2);
        let before = inventory();
        for _ in 0..30 {
            let exited = pool.submit(Deed::Exit).expect("open").wait();
            let Err(TaskError::Crashed { status, .. }) = exited else {
                panic!("{exited:?}");
            };
            assert!(status.is_some_and(|status| status.success()));
            await_ready(1);
            assert_eq!(inventory(), before);
        }
        let report = end(&pool, Shutdown::Drain);
        assert_eq!((report.lost, report.died, report.started), (30, 30, 32));
    });
}

#[test]
fn p10_a_signal_to_the_process_group_ends_parent_and_workers_cleanly() {
    guarded(LIMIT, || {
        for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 0)] {
            for _ in 0..rounds(5, 200) {
                let scratch = Scratch::new().expect("a directory");
                let words = scratch.path().join("words");
                let file = File::create(&words).expect("a file");
                let parent = Peer::spawn(PROGRAM, "interruptible", &[], |command: &mut Command| {
                    command.process_group(0).stderr(file).spawn()
                });
                let mut parent = parent.expect("a parent");
                let mut all = vec![parent.pid()];
                for _ in 0..2 {
                    all.push(Pid::from_raw(parent.answer().parse().expect("a pid")));
                }
                assert!(all.iter().all(|&pid| is_running(pid)));
                killpg(parent.pid(), signal).expect("a group");
                let status = parent.wait();
                let words = fs::read_to_string(&words).expect("text");
                assert_eq!(status.code(), Some(code), "{words}");
                assert!(!words.contains("died"), "{words}");
                assert!(words.contains("prepared"), "no log: {words}");
                assert!(!all.into_iter().any(is_running), "an orphan");
            }
        }
    });
}

/// T2.
#[test]
fn t2_a_thousand_pools_leave_memory_descriptors_and_threads_as_they_were() {
    /// Room for memory of the allocator and of the test runner.
    const SLACK: u64 = 4 << 20;
    let live_and_die = |number: u64, watchdog: &Watchdog| {
        watchdog.progress();
        let pool = deeds(1).capacity(16).start().expect("a pool");
        let kept = pool.submit(Deed::Echo(number)).expect("open");
        drop(pool.submit(Deed::Abort).expect("open"));
        drop(pool.submit(Deed::Echo(number)).expect("open"));
        match number % 3 {
            0 => drop(pool.drain().count()),
            1 => drop(end(&pool, Shutdown::Drain)),
            _ => drop(end(&pool, Shutdown::Cancel)),
        }
        drop(pool);
        // Cancelled or completed: the handle outlives its pool.
        let _ = kept.wait();
    };
    guarded_steps(LIMIT, |watchdog| {
        (0..20).for_each(|number| live_and_die(number, watchdog));
        let memory = || resident(Pid::this()).expect("self");
        await_helpers(0);
        let before = (inventory(), memory());
        (0..u64::from(rounds(60, 1_000))).for_each(|number| live_and_die(number, watchdog));
        await_helpers(before.0.helpers);
        let after = (inventory(), memory());
        println!("{before:?}, then {after:?}");
        assert_eq!(before.0, after.0);
        assert!(
            after.1 <= before.1 + SLACK,
            "{} bytes, then {}",
            before.1,
            after.1
        );
    });
}

/// One task in a hundred kills its worker. The parent's memory, descriptors and threads do not grow, and neither does
/// the memory of the queues.
#[test]
fn t2_a_pool_whose_workers_die_all_the_time_does_not_grow() {
    const SLACK: u64 = 2 << 20;
    guarded_steps(LIMIT, |watchdog| {
        let pool = deeds(2).capacity(256).start().expect("a pool");
        let hundreds = |count: u32| {
            for _ in 0..count {
                watchdog.progress();
                for number in 0..100 {
                    let deed = if number == 37 {
                        Deed::Abort
                    } else {
                        Deed::Echo(number)
                    };
                    drop(pool.submit(deed).expect("open"));
                }
                let crashed = pool.drain().filter(|outcome| outcome.result.is_err());
                assert_eq!(crashed.count(), 1);
            }
            let memory = resident(Pid::this()).expect("self");
            (memory_of_queues(), memory)
        };
        let before = hundreds(30);
        let count = rounds(30, 1_000);
        let after = hundreds(count);
        println!("{before:?}, then {after:?}");
        assert_eq!(before.0, after.0);
        assert!(
            after.1 <= before.1 + SLACK,
            "{} bytes, then {}",
            before.1,
            after.1
        );
        let report = end(&pool, Shutdown::Drain);
        let lost = u64::from(count) + 30;
        assert_eq!(
            (report.submitted, report.lost, report.died),
            (100 * lost, lost, lost)
        );
        assert_eq!(report.completed, 99 * lost);
    });
}

/// Returns the allocated bytes of each queue of this process.
fn memory_of_queues() -> BTreeMap<u64, u64> {
    let all = fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let memory = all.filter(|entry| {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        target.to_string_lossy().starts_with("/memfd:workring")
    });
    let sizes = memory.filter_map(|entry| {
        let metadata = fs::metadata(entry.path()).ok()?;
        Some((metadata.ino(), metadata.blocks()))
    });
    sizes.collect()
}
