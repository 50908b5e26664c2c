//! A program that becomes a worker, starts pools where it should not, or is the parent of a pool.
//!
//! | command                     | what it does                                                            |
//! | --------------------------- | ----------------------------------------------------------------------- |
//! | `lineage`                   | is a worker; or without a pool, runs a task in a pool of its own        |
//! | `lineage ROLE FILE`         | is the parent of a pool, see [`run_parent`]; prints `done`              |
//! | `lineage MODE COUNT SCRIPT` | counts itself in COUNT, and starts pools of SCRIPT, see [`start_pools`] |
//!
//! | exit code | meaning                                                                   |
//! | --------- | ------------------------------------------------------------------------- |
//! | 0         | the pool worked                                                           |
//! | 1         | it did not; standard error says why                                       |
//! | 3         | each pool failed to start, with the error `StartedAsWorker`, as it should |
//! | 101       | a check has failed                                                        |

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
use workring::pool::{Builder, Shutdown, StartError, TaskError, TypedPool, run_if_worker_for};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [role, file] = arguments.as_slice() {
        run_if_worker_for::<Act>();
        return run_parent(role, Path::new(file));
    }
    let [mode, count, script] = arguments.as_slice() else {
        run_if_worker_for::<Act>();
        return run_own_pool();
    };
    count_self(Path::new(count));
    if start_pools(mode, script) {
        ExitCode::from(3)
    } else {
        ExitCode::FAILURE
    }
}

/// Starts pools in a process that may be a worker, and may call `run_if_worker` or not. Returns whether each start has
/// failed with `StartedAsWorker`.
fn start_pools(mode: &str, script: &str) -> bool {
    let start = || is_refused(script);
    match mode {
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
            run_if_worker_for::<Act>();
            start() && start()
        }
        "with a thread" => {
            let (_sender, receiver) = mpsc::channel::<()>();
            thread::spawn(move || receiver.recv());
            run_if_worker_for::<Act>();
            false
        }
        "too early" => {
            let refused = thread::spawn({
                let script = script.to_owned();
                move || is_refused(&script)
            });
            let refused = refused.join().expect("join");
            assert!(refused, "a pool was started");
            run_if_worker_for::<Act>();
            false
        }
        other => {
            eprintln!("no such mode: {other:?}");
            false
        }
    }
}

/// Runs a pool whose workers are this program without arguments, with processes that the tasks start.
fn run_parent(role: &str, file: &Path) -> ExitCode {
    let me = env::current_exe().expect("this program");
    let pool = TypedPool::<Act>::builder().workers(1).program(me);
    match role {
        "parent" => wait_for_escaped_process(pool, file),
        "reaper" => reap_orphans(pool, file),
        "weigh" => limit_memory(pool),
        other => panic!("no such role: {other:?}"),
    }
    println!("done");
    ExitCode::SUCCESS
}

/// Runs a task that starts a process in a session of its own, until this process is killed.
fn wait_for_escaped_process(pool: Builder<TypedPool<Act>>, file: &Path) {
    let pool = pool.start().expect("a pool");
    let escape = Act::Escape(Escape::GroupAndSession, file.to_owned());
    let task = pool.submit(escape).expect("open");
    task.wait().expect("its outcome");
}

/// Gets the orphans of its workers: this process is the first one of a namespace, or asks for them. Checks that the
/// pool reaps them, and not a child that the pool has not started.
fn reap_orphans(pool: Builder<TypedPool<Act>>, directory: &Path) {
    if process::id() != 1 {
        prctl::set_child_subreaper(true).expect("an attribute");
    }
    let mut own_child = process::Command::new("sh");
    let mut own_child = own_child.args(["-c", "exit 5"]).spawn().expect("a child");
    let pool = pool.grace(Duration::from_millis(100));
    let pool = pool.start().expect("a pool");
    let ways = [Escape::Session, Escape::Timeout, Escape::Generations];
    for (number, how) in ways.into_iter().enumerate() {
        let file = directory.join(number.to_string());
        let task = pool.submit(Act::Escape(how, file.clone())).expect("open");
        while !file.exists() {
            thread::yield_now();
        }
        task.cancel_within(Duration::ZERO);
        task.wait().expect_err("cancelled");
    }
    let crash = pool.submit(Act::Shell("sleep 1000 & kill -9 $PPID".to_owned()));
    crash.expect("open").wait().expect_err("it is killed");
    shut_down(&pool);
    let children = fs::read_to_string(format!("/proc/self/task/{}/children", process::id()));
    let children = children.expect("/proc");
    assert_eq!(children.trim(), own_child.id().to_string(), "zombies");
    assert_eq!(own_child.wait().expect("its exit").code(), Some(5));
}

/// Checks the limits on the memory of workers, where `/proc` may be that of another namespace.
fn limit_memory(pool: Builder<TypedPool<Act>>) {
    let pool = pool.memory_limit(64 << 20).recycle_above_memory(32 << 20);
    let pool = pool.start().expect("a pool");
    let task = pool.submit(Act::Take(128 << 20)).expect("open").wait();
    let is_killed = matches!(task, Err(TaskError::TooMuchMemory { .. }));
    assert!(is_killed, "{task:?}");
    let pid = || pool.submit(Act::Pid).expect("open").wait().expect("an id");
    let first = pid();
    assert_eq!(first, pid(), "it is small");
    let keep = pool.submit(Act::Keep(48 << 20)).expect("open");
    keep.wait().expect("kept");
    assert_ne!(first, pid(), "it has grown");
    shut_down(&pool);
}

fn shut_down(pool: &TypedPool<Act>) {
    let report = pool.shutdown(Shutdown::Drain, Duration::from_mins(1));
    report.expect("not a fork");
}

/// Returns whether a pool cannot be started, with the error `StartedAsWorker`.
fn is_refused(script: &str) -> bool {
    match TypedPool::<Act>::builder()
        .workers(1)
        .program(script)
        .start()
    {
        Err(StartError::StartedAsWorker) => true,
        other => {
            eprintln!("{:?}", other.map(drop));
            false
        }
    }
}

/// Prints the outcome of a task of a pool of its own.
fn run_own_pool() -> ExitCode {
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
