//! How a process knows that it is a worker. A program that does not become a worker never starts itself repeatedly,
//! whatever a wrapper has done to it. Programs that a task starts may have pools of their own. A worker is
//! distinguished from the wrapper that started it. Each worker can be ended together with its descendants.

use ipc_tests::support::LIMIT;
use ipc_tests::{
    Pid, Signal,
    child::{Peer, is_running},
    guarded,
    ledger::Scratch,
    lineage::{Act, Escape, wrapper},
};
use nix::sys::signal::kill;
use std::{
    fs,
    path::Path,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use workring::pool::{Builder, Event, Shutdown, StartError, TaskError, TypedPool};

const LINEAGE: &str = env!("CARGO_BIN_EXE_lineage");

/// A shell command that closes all descriptors but the standard streams.
const CLOSE: &str = "for n in {3..60}; do eval \"exec $n>&-\"; done";

fn acts(workers: usize) -> Builder<TypedPool<Act>> {
    TypedPool::builder()
        .program(LINEAGE)
        .workers(workers)
        .grace(Duration::from_millis(500))
}

fn end(pool: &TypedPool<Act>) {
    let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
    assert!(report.is_balanced(), "{report}");
}

/// Returns how often the program was started in this directory.
fn count(directory: &Path) -> usize {
    fs::read(directory.join("count")).map_or(0, |marks| marks.len())
}

/// Starts a pool of two workers, which do not become workers, and returns why it could not be started. It must not have
/// taken more than these two processes.
fn refused(script: &str, mode: &str) -> StartError {
    let scratch = Scratch::new().expect("a directory");
    let program = format!("{LINEAGE} '{mode}' {{count}} {{script}}");
    let script = wrapper(scratch.path(), &program, script);
    let started = acts(2).program(script).start();
    let error = started.map(drop).expect_err("no worker");
    let count = count(scratch.path());
    assert!((1..=2).contains(&count), "{count} processes: {error}");
    error
}

#[test]
fn a_program_that_does_not_become_a_worker_never_starts_itself_repeatedly() {
    guarded(LIMIT, || {
        for script in [
            "exec {program}".to_owned(),
            "{program}; exit $?".to_owned(),
            "exec env -i {program}".to_owned(),
            "env -i {program}; exit $?".to_owned(),
            format!("{CLOSE}; exec {{program}}"),
            format!("{CLOSE}; exec env -i {{program}}"),
            format!("{CLOSE}; env -i sh -c \"timeout 60 {{program}}; exit \\$?\"; exit $?"),
        ] {
            for mode in ["once", "again and again", "in threads"] {
                let error = refused(&script, mode);
                let StartError::NoHandshake { status, .. } = &error else {
                    panic!("{script}, {mode}: {error:?}");
                };
                assert_eq!(
                    status.and_then(|status| status.code()),
                    Some(3),
                    "{script}, {mode}"
                );
                assert!(error.to_string().contains("run_if_worker"), "{error}");
            }
        }
    });
}

/// The program calls `run_if_worker`, but a wrapper has closed its link or cleared its environment.
#[test]
fn a_program_whose_wrapper_removes_its_evidence_never_starts_itself_repeatedly() {
    guarded(LIMIT, || {
        for script in [
            "exec env -i {program}".to_owned(),
            format!("{CLOSE}; exec {{program}}"),
            format!("{CLOSE}; env -i {{program}}; exit $?"),
        ] {
            let error = refused(&script, "properly");
            let StartError::NoHandshake { status, .. } = &error else {
                panic!("{script}: {error:?}");
            };
            assert_eq!(status.and_then(|status| status.code()), Some(3), "{script}");
            assert!(error.to_string().contains("wrapper"), "{error}");
        }
    });
}

/// The error comes after the grace time instead of the start timeout, and names the cause.
#[test]
fn a_program_that_survives_its_refusal_is_no_timeout() {
    guarded(LIMIT, || {
        for script in [
            "exec {program}".to_owned(),
            format!("{CLOSE}; exec {{program}}"),
        ] {
            let error = refused(&script, "and live on");
            assert!(
                matches!(error, StartError::NoHandshake { .. }),
                "{script}: {error:?}"
            );
            assert!(error.to_string().contains("run_if_worker"), "{error}");
        }
    });
}

#[test]
fn a_thread_that_starts_a_pool_before_the_process_has_become_a_worker_does_no_harm() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let program = format!("{LINEAGE} 'too early' {{count}} {{script}}");
        let script = wrapper(scratch.path(), &program, "exec {program}");
        let pool = acts(2).program(script).start().expect("a pool");
        let nested = pool.submit(Act::Pool).expect("open").wait();
        nested.expect("a pool of the worker");
        end(&pool);
    });
}

#[test]
fn a_task_may_start_a_pool_of_its_own() {
    guarded(LIMIT, || {
        let pool = acts(2).start().expect("a pool");
        let all = [(); 4].map(|()| pool.submit(Act::Pool).expect("open"));
        let all = all.map(|nested| nested.wait().expect("a pool of the worker"));
        assert!(all.iter().all(|pid| pid.parse::<u32>().is_ok()), "{all:?}");
        end(&pool);
    });
}

#[test]
fn a_program_that_a_task_starts_may_have_pools_of_its_own() {
    guarded(LIMIT, || {
        let pool = acts(1).start().expect("a pool");
        let mine = Act::Variable("WORKRING_WORKER".to_owned());
        let variable = pool.submit(mine).expect("open").wait();
        assert_eq!(
            variable.expect("a value"),
            "",
            "a program that the task starts is no worker"
        );
        for script in [
            LINEAGE.to_owned(),
            format!("env -i {LINEAGE}"),
            format!("sh -c '{LINEAGE}; exit $?'"),
            // The worker is not among its ancestors any more.
            format!("(setsid {LINEAGE}) 2>&1"),
        ] {
            let nested = pool.submit(Act::Shell(script.clone())).expect("open");
            let nested = nested.wait();
            assert!(nested.is_ok(), "{script}: {nested:?}");
        }
        end(&pool);
    });
}

/// With threads it would be unsound to remove the variable, so the programs that the worker starts inherit it.
#[test]
fn a_worker_that_had_threads_before_it_became_one_may_start_programs_with_pools() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let program = format!("{LINEAGE} 'with a thread' {{count}} {{script}}");
        let script = wrapper(scratch.path(), &program, "exec {program}");
        let pool = acts(1).program(script).start().expect("a pool");
        let mine = Act::Variable("WORKRING_WORKER".to_owned());
        let variable = pool.submit(mine).expect("open").wait().expect("a value");
        assert!(!variable.is_empty(), "the variable is still set");
        let nested = pool.submit(Act::Shell(LINEAGE.to_owned())).expect("open");
        nested.wait().expect("a pool of the program");
        end(&pool);
    });
}

/// The variable is a leftover of a worker that has ended, or was set by hand.
#[test]
fn a_variable_of_an_ended_process_keeps_no_program_from_starting_pools() {
    guarded(LIMIT, || {
        let mut gone = Command::new("true").spawn().expect("a child");
        gone.wait().expect("reaped");
        let namespace = fs::metadata("/proc/self/ns/pid").expect("/proc");
        let namespace = std::os::unix::fs::MetadataExt::ino(&namespace);
        let leftover = format!("0 {}.1.{namespace} a::Task", gone.id());
        let output = Command::new(LINEAGE)
            .env("WORKRING_WORKER", leftover)
            .output();
        let output = output.expect("run the program");
        assert!(output.status.success(), "{output:?}");
        // The variable counts if its process is alive.
        let me = std::process::id();
        let stat = fs::read_to_string("/proc/self/stat").expect("/proc");
        let started = stat.rsplit_once(')').expect("a name").1;
        let started = started.split_whitespace().nth(19).expect("a time");
        let of_mine = format!("0 {me}.{started}.{namespace} a::Task");
        let output = Command::new(LINEAGE)
            .env("WORKRING_WORKER", of_mine)
            .output();
        let output = output.expect("run the program");
        assert!(!output.status.success(), "{output:?}");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("run_if_worker"), "{error}");
    });
}

/// Returns the ids of the processes that a task has started outside of its process group.
fn escaped(file: &Path) -> Vec<Pid> {
    while !file.exists() {
        thread::yield_now();
    }
    let all = fs::read_to_string(file).expect("text");
    let ids = all.split_whitespace();
    ids.map(|id| Pid::from_raw(id.parse().expect("a pid")))
        .collect()
}

/// Waits until these processes have ended. The watchdog limits the wait.
fn await_gone(all: &[Pid]) {
    assert!(!all.is_empty());
    while all.iter().any(|&pid| is_running(pid)) {
        thread::yield_now();
    }
}

/// Ways to end a worker while it runs a task.
#[derive(Clone, Copy, Debug)]
enum End {
    TimeLimit,
    CancelWithin,
    Shutdown,
    Drop,
}

#[test]
fn a_task_is_ended_with_its_descendants_in_any_group_and_session() {
    guarded(LIMIT, || {
        for how in [
            Escape::Group,
            Escape::GroupAndSession,
            Escape::Timeout,
            Escape::Session,
            Escape::Generations,
        ] {
            for end in [End::TimeLimit, End::CancelWithin, End::Shutdown, End::Drop] {
                let scratch = Scratch::new().expect("a directory");
                let file = scratch.path().join("escaped");
                let mut builder = acts(1).grace(Duration::from_millis(50));
                if matches!(end, End::TimeLimit) {
                    builder = builder.time_limit(Duration::from_secs(1));
                }
                let pool = builder.start().expect("a pool");
                let task = pool.submit(Act::Escape(how, file.clone())).expect("open");
                let all = escaped(&file);
                assert!(all.iter().all(|&pid| is_running(pid)) || matches!(end, End::TimeLimit));
                match end {
                    End::TimeLimit => {
                        let late = task.wait();
                        assert!(matches!(late, Err(TaskError::TimedOut)), "{late:?}");
                    }
                    End::CancelWithin => {
                        task.cancel_within(Duration::ZERO);
                        let late = task.wait();
                        assert!(matches!(late, Err(TaskError::Cancelled)), "{late:?}");
                    }
                    End::Shutdown => {
                        let report = pool.shutdown(Shutdown::Cancel, Duration::ZERO);
                        let report = report.expect("here");
                        assert_eq!(report.cancelled, 1, "{how:?}: {report}");
                    }
                    End::Drop => {}
                }
                drop(pool);
                await_gone(&all);
            }
        }
    });
}

/// A daemon: its parent has ended, and it has a session of its own. Without the option it survives, as documented,
/// which also shows that nothing else ends it.
#[test]
fn an_orphan_with_a_session_of_its_own_is_ended_if_its_worker_adopts_it() {
    guarded(LIMIT, || {
        for adopts in [false, true] {
            let scratch = Scratch::new().expect("a directory");
            let file = scratch.path().join("escaped");
            let builder = acts(1).grace(Duration::from_millis(50));
            let pool = builder.adopt_orphans(adopts).start().expect("a pool");
            let task = pool.submit(Act::Escape(Escape::Orphan, file.clone()));
            let task = task.expect("open");
            let all = escaped(&file);
            // The shell that started it is about to exit.
            while all.iter().any(|&pid| parent_runs(pid, "& exit")) {
                thread::yield_now();
            }
            task.cancel_within(Duration::ZERO);
            let end = task.wait();
            assert!(matches!(end, Err(TaskError::Cancelled)), "{end:?}");
            drop(pool);
            if !adopts {
                assert!(all.iter().all(|&pid| is_running(pid)), "{all:?}");
                for &pid in &all {
                    nix::sys::signal::kill(pid, Signal::SIGKILL).expect("a signal");
                }
            }
            await_gone(&all);
        }
    });
}

/// Whether the parent of a process has this text in its command line.
fn parent_runs(pid: Pid, text: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let parent = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().nth(1));
    let parent = parent.flatten().expect("a parent");
    let line = fs::read_to_string(format!("/proc/{parent}/cmdline"));
    line.is_ok_and(|line| line.contains(text))
}

/// The start takes too long. All processes that the wrapper has started are ended.
#[test]
fn a_worker_that_is_not_ready_in_time_is_ended_with_its_descendants() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let file = scratch.path().join("escaped");
        let (draft, file) = (file.with_extension("draft"), file);
        let script = format!(
            "setsid sleep 1000 & echo $! $$ > {draft}; mv {draft} {file}; wait",
            draft = draft.display(),
            file = file.display()
        );
        let script = wrapper(scratch.path(), LINEAGE, &script);
        let builder = acts(1)
            .program(script)
            .start_timeout(Duration::from_secs(1));
        let error = builder
            .start()
            .map(drop)
            .expect_err("it never becomes ready");
        assert!(matches!(error, StartError::TimedOut), "{error:?}");
        await_gone(&escaped(&file));
    });
}

/// P9, for a task that has left its process group and started a session.
#[test]
fn a_worker_and_its_descendants_end_with_its_parent() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let file = scratch.path().join("escaped");
        let parent = Peer::spawn(LINEAGE, "parent", &[&file.display()], Command::spawn);
        let parent = parent.expect("a parent");
        let all = escaped(&file);
        assert!(all.iter().all(|&pid| is_running(pid)));
        parent.signal(Signal::SIGKILL);
        await_gone(&all);
    });
}

/// Wrappers that start the worker as a child instead of becoming it. `setsid` ends at once.
const WRAPPERS: [&str; 6] = [
    "{program}; exit $?",
    "nice -n 1 {program}; exit $?",
    "timeout 1000 {program}; exit $?",
    "exec timeout 1000 {program}",
    "exec setsid {program}",
    "(({program}; exit $?); exit $?); exit $?",
];

#[test]
fn limits_and_deaths_are_those_of_the_worker_and_not_of_its_wrapper() {
    guarded(LIMIT, || {
        let mut wrappers = WRAPPERS.to_vec();
        if Command::new("strace").arg("-V").output().is_ok() {
            wrappers.push("exec strace -f -o /dev/null {program}");
        } else {
            eprintln!("SKIPPED: strace, which is not installed");
        }
        for script in wrappers {
            let scratch = Scratch::new().expect("a directory");
            let program = wrapper(scratch.path(), LINEAGE, script);
            let builder = acts(2).program(program).retries(1);
            let pool = builder.memory_limit(64 << 20).start().expect("a pool");
            for _ in 0..3 {
                let second = pool.submit(Act::SecondAttempt).expect("open").wait();
                assert!(second.is_ok(), "{script}: {second:?}");
            }
            let taken = pool.submit(Act::Take(128 << 20)).expect("open").wait();
            assert!(
                matches!(taken, Err(TaskError::TooMuchMemory { .. })),
                "{script}: {taken:?}"
            );
            let file = scratch.path().join("escaped");
            let session = Act::Escape(Escape::Session, file.clone());
            let task = pool.submit(session).expect("open");
            let all = escaped(&file);
            task.cancel_within(Duration::ZERO);
            let late = task.wait();
            assert!(matches!(late, Err(TaskError::Cancelled)), "{late:?}");
            await_gone(&all);
            let last = pool.submit(Act::Pid).expect("open").wait().expect("an id");
            let report = pool.shutdown(Shutdown::Drain, LIMIT).expect("here");
            assert!(report.is_balanced(), "{script}: {report}");
            assert_eq!(
                (report.completed, report.lost),
                (4, 1),
                "{script}: {report}"
            );
            await_gone(&[Pid::from_raw(last.parse().expect("a pid"))]);
        }
    });
}

#[test]
fn a_wrapper_that_survives_its_worker_delays_the_outcome_by_the_grace_time_only() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let program = wrapper(scratch.path(), LINEAGE, "{program}; exec sleep 1000");
        let pool = acts(1).program(program).retries(1).start().expect("a pool");
        let began = Instant::now();
        let second = pool.submit(Act::SecondAttempt).expect("open").wait();
        assert_eq!(second.expect("an output"), "2");
        assert!(
            began.elapsed() < Duration::from_secs(100),
            "the outcome waited for the wrapper"
        );
        end(&pool);
    });
}

#[test]
fn a_wrapper_that_dies_before_its_worker_costs_no_task() {
    guarded(LIMIT, || {
        let scratch = Scratch::new().expect("a directory");
        let program = wrapper(scratch.path(), LINEAGE, "{program}; exit $?");
        let (sender, events) = mpsc::channel();
        let pool = acts(1).program(program).on_event(move |event| {
            // At the end of a test the receiver is gone.
            let _ = sender.send(*event);
        });
        let pool = pool.start().expect("a pool");
        let Ok(Event::Started { pid, .. }) = events.recv() else {
            panic!("no start");
        };
        let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
        let worker = || pool.submit(Act::Pid).expect("open").wait().expect("an id");
        let first = worker();
        kill(pid, Signal::SIGKILL).expect("it lives");
        await_gone(&[pid]);
        for _ in 0..10 {
            assert_eq!(worker(), first, "the same worker");
        }
        // The end of the worker is noticed all the same. Its status is unknown, or the wrapper's if the pool finds that
        // both have ended at once.
        let first = Pid::from_raw(first.parse().expect("a pid"));
        kill(first, Signal::SIGKILL).expect("it lives");
        let is_exited = |event: &Event| matches!(event, Event::Exited { .. });
        assert!(events.iter().any(|event| is_exited(&event)));
        worker();
        end(&pool);
    });
}

/// Whether this process may create a pid namespace.
fn can_unshare() -> bool {
    let unshare = Command::new("unshare").args(["-pf", "true"]).output();
    let can = unshare.is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("SKIPPED: this process cannot create a pid namespace");
    }
    can
}

fn play(command: &mut Command, role: &str) {
    let scratch = Scratch::new().expect("a directory");
    let output = command
        .arg(role)
        .arg(scratch.path())
        .output()
        .expect("run the program");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.ends_with("done\n"),
        "{text} {error}"
    );
}

#[test]
fn a_parent_that_adopts_orphans_has_no_zombies_and_keeps_its_own_children() {
    guarded(LIMIT, || {
        play(&mut Command::new(LINEAGE), "reaper");
        if can_unshare() {
            let mut first = Command::new("unshare");
            play(first.args(["-pf", "--mount-proc", LINEAGE]), "reaper");
        }
    });
}

#[test]
fn memory_limits_hold_in_a_namespace_with_the_proc_of_another_one() {
    guarded(LIMIT, || {
        play(&mut Command::new(LINEAGE), "weigh");
        if can_unshare() {
            let mut inside = Command::new("unshare");
            play(inside.args(["-pf", LINEAGE]), "weigh");
        }
    });
}
