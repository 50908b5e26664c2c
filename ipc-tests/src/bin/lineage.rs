//! A program that becomes a worker or not, as its arguments say. Without arguments it is a worker.
//!
//! `lineage ROLE FILE`: has a pool of its own, see `play`.
//!
//! `lineage MODE COUNT SCRIPT`: counts itself in the file COUNT, and starts pools with the program SCRIPT as MODE says. Its
//! exit code is 3 if no pool could be started, and each error was `StartedAsWorker`.

use ipc_tests::lineage::{Act, Escape, count_self, run_pool};
use nix::sys::prctl;
use std::{
    env, fs,
    path::Path,
    process::{self, ExitCode},
    sync::mpsc,
    thread,
    time::Duration,
};
use workring::pool::{Pool, Shutdown, StartError, TaskError, run_if_worker};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [role, file] = arguments.as_slice() {
        run_if_worker::<Act>();
        return play(role, Path::new(file));
    }
    let [mode, count, script] = arguments.as_slice() else {
        run_if_worker::<Act>();
        return run_a_pool();
    };
    count_self(Path::new(count));
    let start = || is_refused(script);
    let refused = match mode.as_str() {
        "once" => start(),
        "again and again" => (0..20).all(|_| start()),
        "in threads" => thread::scope(|scope| {
            let starts: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            starts
                .into_iter()
                .all(|thread| thread.join().expect("join"))
        }),
        "and live on" => {
            let refused = start();
            loop {
                assert!(refused, "a pool was started");
                thread::park();
            }
        }
        "properly" => {
            run_if_worker::<Act>();
            start() && start()
        }
        "with a thread" => {
            let (_ours, theirs) = mpsc::channel::<()>();
            thread::spawn(move || theirs.recv());
            run_if_worker::<Act>();
            false
        }
        "too early" => {
            let refused = thread::spawn({
                let script = script.clone();
                move || is_refused(&script)
            });
            let refused = refused.join().expect("join");
            assert!(refused, "a pool was started");
            run_if_worker::<Act>();
            false
        }
        other => {
            eprintln!("no such mode: {other:?}");
            false
        }
    };
    if refused {
        ExitCode::from(3)
    } else {
        ExitCode::FAILURE
    }
}

/// A parent of one kind or another, which runs this program without arguments as its workers.
fn play(role: &str, file: &Path) -> ExitCode {
    let me = env::current_exe().expect("this program");
    let pool = Pool::<Act>::builder().workers(1).program(me);
    match role {
        // Until it is killed.
        "parent" => {
            let pool = pool.start().expect("a pool");
            let all = Escape::GroupAndSession;
            let escape = Act::Escape(all, file.to_owned());
            pool.submit(escape).expect("open").wait().expect("its end");
        }
        // The first process of a namespace, or one that has asked for orphans.
        "reaper" => {
            if process::id() != 1 {
                prctl::set_child_subreaper(true).expect("an attribute");
            }
            let mut mine = process::Command::new("sh");
            let mut mine = mine.args(["-c", "exit 5"]).spawn().expect("a child");
            let pool = pool.grace(Duration::from_millis(100));
            let pool = pool.start().expect("a pool");
            let ways = [Escape::Session, Escape::Timeout, Escape::Generations];
            for (number, how) in ways.into_iter().enumerate() {
                let file = file.join(number.to_string());
                let task = pool.submit(Act::Escape(how, file.clone())).expect("open");
                while !file.exists() {
                    thread::yield_now();
                }
                task.cancel_within(Duration::ZERO);
                task.wait().expect_err("cancelled");
            }
            let crash = pool.submit(Act::Shell("sleep 1000 & kill -9 $PPID".to_owned()));
            crash.expect("open").wait().expect_err("it is killed");
            pool.shutdown(Shutdown::Drain, Duration::from_mins(1))
                .expect("here");
            let children =
                fs::read_to_string(format!("/proc/self/task/{}/children", process::id()));
            // Its own child is left to it.
            let children = children.expect("/proc");
            assert_eq!(children.trim(), mine.id().to_string(), "zombies");
            assert_eq!(mine.wait().expect("ours").code(), Some(5));
        }
        // Where `/proc` is perhaps that of another namespace.
        "weigh" => {
            let pool = pool.memory_limit(64 << 20).recycle_above_memory(32 << 20);
            let pool = pool.start().expect("a pool");
            let task = pool.submit(Act::Take(128 << 20)).expect("open").wait();
            assert!(
                matches!(task, Err(TaskError::TooMuchMemory { .. })),
                "{task:?}"
            );
            let pid = || pool.submit(Act::Pid).expect("open").wait().expect("an id");
            let first = pid();
            assert_eq!(first, pid(), "it is small");
            pool.submit(Act::Keep(48 << 20))
                .expect("open")
                .wait()
                .expect("kept");
            assert_ne!(first, pid(), "it has grown");
            pool.shutdown(Shutdown::Drain, Duration::from_mins(1))
                .expect("here");
        }
        other => panic!("no such role: {other:?}"),
    }
    println!("done");
    ExitCode::SUCCESS
}

/// Whether no pool can be started, for the right reason.
fn is_refused(script: &str) -> bool {
    match Pool::<Act>::builder().workers(1).program(script).start() {
        Err(StartError::StartedAsWorker) => true,
        other => {
            eprintln!("{:?}", other.map(drop));
            false
        }
    }
}

/// Prints the outcome of a task of a pool of its own.
fn run_a_pool() -> ExitCode {
    match run_pool() {
        Ok(outcome) => {
            println!("{outcome}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
