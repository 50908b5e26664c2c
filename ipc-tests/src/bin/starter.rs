//! A program that starts pools and children under unusual conditions: its file is removed, signals are ignored,
//! standard streams are closed, it has a terminal, it was forked. Each condition takes a process of its own.
//!
//! ```text
//! starter ROLE REPORT ARGUMENT...
//! ```
//!
//! Runs the function of the role; its comment says which condition, and which arguments follow. The exit code is 0 if
//! all is as expected. Otherwise the role panics (101), and writes the message to the file REPORT, because it may have
//! no standard streams.
//!
//! | file                    | content                                    |
//! | ----------------------- | ------------------------------------------ |
//! | `starter.rs`            | the roles, except for two                  |
//! | `starter/act.rs`        | what the workers do                        |
//! | `starter/amid_calls.rs` | a fork while other threads call the pool   |
//! | `starter/amid_code.rs`  | a fork by the code of a task during a call |
#![allow(
    unsafe_code,
    reason = "signal dispositions, forks and closed descriptors are the subject"
)]

use ipc_tests::role::{self, Io, Role};
use nix::{
    libc,
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction, signal},
        termios::{SetArg, tcgetattr, tcsetattr},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::{ForkResult, Pid, fork, pause},
};
use std::{
    env,
    fs::{self, File},
    os::unix::process::{CommandExt, ExitStatusExt},
    panic,
    process::{self, Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::Duration,
};
use workring::{
    Handoff, Options, Receiver,
    error::{SendTimeoutError, StartError},
    inherit,
    pool::{Builder, TaskError, TypedPool, run_if_worker_for},
};

#[path = "starter/act.rs"]
mod act;
#[path = "starter/amid_calls.rs"]
mod amid_calls;
#[path = "starter/amid_code.rs"]
mod amid_code;

use act::{Act, own_signals};

const ROLES: &[(&str, Role)] = &[
    ("replaced", replaced),
    ("unreaped", unreaped),
    ("reaped", reaped),
    ("signals", signals),
    ("closed", closed),
    ("receive", receive),
    ("another-user", another_user),
    ("terminal", terminal),
    ("forked", forked),
    ("forked-amid-calls", amid_calls::forked_amid_calls),
    ("forked-by-a-task", amid_code::forked_by_a_task),
];

/// Longer than any task takes.
const LIMIT: Duration = Duration::from_mins(1);

fn main() -> ExitCode {
    run_if_worker_for::<Act>();
    if let Some(report) = env::args().nth(2) {
        panic::set_hook(Box::new(move |panic| {
            let _ = fs::write(&report, panic.to_string());
        }));
    }
    role::run(ROLES)
}

fn pool() -> Builder<TypedPool<Act>> {
    TypedPool::builder().workers(1)
}

fn outcome(pool: &TypedPool<Act>, act: Act) -> Result<String, TaskError<String>> {
    let handle = pool.submit(act).expect("open");
    handle.wait_timeout(LIMIT).expect("an outcome in time")
}

/// Removes the file of this program while a pool runs, as an upgrade does.
///
/// Argument: whether another file gets its name.
fn replaced(io: &mut Io) {
    let _report: String = io.argument();
    let is_replaced: bool = io.argument();
    let program = env::current_exe().expect("this program");
    let pool_before = pool().start().expect("a pool");
    let names = outcome(&pool_before, Act::Names).expect("names");
    let file_name = program.file_name().expect("a name").to_string_lossy();
    let name: String = file_name.chars().take(15).collect();
    let path = program.display();
    assert_eq!(names, format!("{name}\n{path}\n{path}"));
    fs::remove_file(&program).expect("removed");
    if is_replaced {
        fs::copy("/bin/true", &program).expect("the new version");
    }
    let crash = outcome(&pool_before, Act::Abort).expect_err("a crash");
    assert!(matches!(crash, TaskError::Crashed { .. }), "{crash}");
    assert_eq!(outcome(&pool_before, Act::Echo(7)).expect("echo"), "7");
    let names = outcome(&pool_before, Act::Names).expect("names");
    assert_eq!(names, format!("{name}\n{path}\n{path} (deleted)"));
    let pool_after = pool().start().expect("another pool");
    assert_eq!(outcome(&pool_after, Act::Echo(8)).expect("echo"), "8");
    let names = outcome(&pool_after, Act::Names).expect("names");
    assert_eq!(names, format!("{name}\n{path}\n{path} (deleted)"));
}

/// Makes the kernel reap the workers of this process itself, without keeping their exit status.
///
/// Argument: `ignored`, or another word for `SA_NOCLDWAIT`.
fn unreaped(io: &mut Io) {
    let _report: String = io.argument();
    let way: String = io.argument();
    if way == "ignored" {
        // SAFETY: installs no handler of this program.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.expect("ignored");
    } else {
        let action = SigAction::new(SigHandler::SigDfl, SaFlags::SA_NOCLDWAIT, SigSet::empty());
        // SAFETY: installs no handler of this program.
        unsafe { sigaction(Signal::SIGCHLD, &action) }.expect("not kept");
    }
    let pool = pool().start().expect("a pool");
    assert_eq!(outcome(&pool, Act::Command).expect("a command"), "hello");
    for act in [Act::Exit(7), Act::Abort] {
        let crash = outcome(&pool, act).expect_err("it ended");
        assert!(
            matches!(crash, TaskError::Crashed { status: None, .. }),
            "{crash:?}"
        );
        assert!(crash.to_string().contains("unknown"), "{crash}");
    }
    let no_worker = TypedPool::<Act>::builder()
        .workers(1)
        .program("/bin/true")
        .start();
    let no_worker = no_worker.map(drop).expect_err("no worker");
    let is_unknown = matches!(no_worker, StartError::NoHandshake { status: None, .. });
    assert!(is_unknown, "{no_worker:?}");
    assert!(no_worker.to_string().contains("unknown"), "{no_worker}");
    let program = "/no/such/program";
    let no_program = TypedPool::<Act>::builder()
        .workers(1)
        .program(program)
        .start();
    let no_program = no_program.map(drop).expect_err("no program");
    assert!(
        matches!(no_program, StartError::Spawn { .. }),
        "{no_program:?}"
    );
}

/// Waits for any child in a thread, as some signal handlers do.
fn reaped(io: &mut Io) {
    let _report: String = io.argument();
    thread::spawn(|| {
        loop {
            // An error: there is no child at the moment.
            let _ = waitpid(None::<Pid>, Some(WaitPidFlag::empty()));
        }
    });
    let pool = pool().start().expect("a pool");
    for _ in 0..20 {
        let crash = outcome(&pool, Act::Exit(7)).expect_err("it ended");
        let TaskError::Crashed { status, .. } = crash else {
            panic!("{crash:?}");
        };
        let expected = ExitStatus::from_raw(7 << 8);
        assert!(status.is_none_or(|status| status == expected), "{status:?}");
    }
}

extern "C" fn handle(_: libc::c_int) {}

/// Ignores, handles and blocks signals.
///
/// Argument: whether SIGHUP is ignored too.
fn signals(io: &mut Io) {
    let _report: String = io.argument();
    let ignores_hangup: bool = io.argument();
    let bit = |signal: Signal| 1_u64 << (signal as u32 - 1);
    let mut ignored = vec![
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGCHLD,
        Signal::SIGUSR1,
        Signal::SIGALRM,
        Signal::SIGTSTP,
    ];
    if ignores_hangup {
        ignored.push(Signal::SIGHUP);
    } else {
        // The tests may run under `nohup`.
        // SAFETY: installs no handler of this program.
        unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }.expect("default");
    }
    for &number in &ignored {
        // SAFETY: installs no handler of this program.
        unsafe { signal(number, SigHandler::SigIgn) }.expect("ignored");
    }
    // SAFETY: the handler does nothing.
    unsafe { signal(Signal::SIGUSR2, SigHandler::Handler(handle)) }.expect("handled");
    SigSet::all().thread_block().expect("blocked");
    let pool = pool().start().expect("a pool");
    SigSet::empty().thread_set_mask().expect("not blocked");
    // The runtime of Rust ignores SIGPIPE in every program.
    let mut expected = bit(Signal::SIGPIPE) | bit(Signal::SIGTTIN) | bit(Signal::SIGTTOU);
    if ignores_hangup {
        expected |= bit(Signal::SIGHUP);
    }
    let found = outcome(&pool, Act::Signals).expect("signals");
    assert_eq!(found, format!("{expected:016x} {:016x}", 0));
    // The dispositions of this process have not changed.
    let own = own_signals().expect("/proc");
    let own = u64::from_str_radix(own.split(' ').next().expect("a set"), 16).expect("a set");
    for number in ignored {
        assert_ne!(own & bit(number), 0, "{number} is no longer ignored");
    }
    assert_eq!(own & bit(Signal::SIGTTIN), 0);
}

/// Closes standard streams.
///
/// Argument: their numbers, separated by commas.
fn closed(io: &mut Io) {
    let report: String = io.argument();
    let numbers: String = io.argument();
    let numbers: Vec<i32> = numbers
        .split(',')
        .map(|number| number.parse().expect("a number"))
        .collect();
    for &number in &numbers {
        // SAFETY: this program does not use the descriptor from here on.
        unsafe { libc::close(number) };
    }
    let (tx, rx) = Options::new(8).channel::<u64>().expect("a queue");
    for gets_stdin in [false, true] {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["receive", &report]);
        if gets_stdin {
            command.stdin(Stdio::null());
        }
        let handoff = Handoff::new().give("tasks", &rx).expect("given");
        let mut child = handoff.spawn(&mut command).expect("a child");
        tx.send(7).expect("room");
        let status = child.wait().expect("its exit");
        assert_eq!(status.code(), Some(7), "{status}, stdin {gets_stdin}");
    }
    let pool = pool().start().expect("a pool");
    // No descriptor of the crate has one of these numbers, where other code would write to it.
    for &number in &numbers {
        let found = fs::read_link(format!("/proc/self/fd/{number}"));
        assert!(found.is_err(), "{number} is {found:?}");
    }
    for number in 0..100 {
        let echo = outcome(&pool, Act::Echo(number)).expect("echo");
        assert_eq!(echo, number.to_string());
    }
    let streams = outcome(&pool, Act::Streams).expect("streams");
    assert_eq!(streams, "[0, 1, 2] 0");
    let crash = outcome(&pool, Act::Exit(7)).expect_err("a crash");
    assert!(matches!(crash, TaskError::Crashed { .. }), "{crash}");
    assert_eq!(outcome(&pool, Act::Echo(1)).expect("another worker"), "1");
    let name = format!("starter-{}", process::id());
    let named = Options::new(8).create_named::<u64>(&name).expect("a queue");
    let opened = workring::open::<Receiver<u64>>(&name).expect("it is there");
    workring::queue::remove_named(&name).expect_err("in use");
    for &number in &numbers {
        let found = fs::read_link(format!("/proc/self/fd/{number}"));
        assert!(found.is_err(), "{number} is {found:?}");
    }
    drop((named, opened));
    workring::queue::remove_named(&name).expect("not in use");
}

/// The child of [`closed`].
fn receive(_: &mut Io) {
    let tasks: Receiver<u64> = inherit("tasks").expect("given");
    let number = tasks.recv().expect("a number");
    process::exit(number.try_into().expect("small"));
}

/// Starts a child of another user, which cannot open a queue's file by its path, but inherits the descriptor.
fn another_user(io: &mut Io) {
    /// Usually `nobody`. The test runs as root.
    const USER: u32 = 65_534;
    let report: String = io.argument();
    let (tx, rx) = Options::new(8).channel::<u64>().expect("a queue");
    // The path of this program may lead through directories that the user cannot search.
    let mut command = Command::new("/proc/self/exe");
    command.args(["receive", &report]).uid(USER).gid(USER);
    let handoff = Handoff::new().give("tasks", &rx).expect("given");
    let mut child = handoff.spawn(&mut command).expect("a child");
    drop(rx);
    tx.send(7).expect("the child has the other end");
    assert_eq!(child.wait().expect("its exit").code(), Some(7));
}

/// Uses a terminal: this process leads its session, in the foreground.
fn terminal(io: &mut Io) {
    let _report: String = io.argument();
    let terminal = File::open("/dev/tty").expect("a terminal");
    let mut attributes = tcgetattr(&terminal).expect("a terminal");
    // Writing in the background stops a process too.
    attributes.local_flags |= nix::sys::termios::LocalFlags::TOSTOP;
    tcsetattr(&terminal, SetArg::TCSANOW, &attributes).expect("its attributes");
    let pool = pool().start().expect("a pool");
    let error = outcome(&pool, Act::Terminal).expect("it was stopped");
    assert_eq!(error, libc::EIO.to_string());
    // A child of a worker is not stopped either: ignored signals are inherited.
    assert_eq!(outcome(&pool, Act::Command).expect("a command"), "hello");
}

/// Makes a hand-off ticket and then forks a process, which lives on while the ticket is used or given up.
///
/// Argument: what happens to the ticket.
fn forked(io: &mut Io) {
    let report: String = io.argument();
    let then: String = io.argument();
    let (tx, rx) = Options::new(1).channel::<u64>().expect("a queue");
    let handoff = Handoff::new().give("tasks", &rx).expect("given");
    // SAFETY: the child only makes system calls, and ends by a signal.
    let fork = match unsafe { fork() }.expect("a fork") {
        ForkResult::Parent { child } => Fork(child),
        ForkResult::Child => loop {
            pause();
        },
    };
    drop(rx);
    tx.send(7).expect("the ticket counts as a receiver");
    let spawn =
        |program: &str, arguments: &[&str]| handoff.spawn(Command::new(program).args(arguments));
    match then.as_str() {
        "dropped" => drop(spawn),
        // The child never attaches.
        "ended" => {
            let mut child = spawn("true", &[]).expect("a child");
            assert!(child.wait().expect("its exit").success());
        }
        "killed" => {
            let mut child = spawn("sleep", &["1000"]).expect("a child");
            let refused = tx.send_timeout(8, Duration::from_millis(300));
            let lives = matches!(refused, Err(SendTimeoutError::Timeout(_)));
            assert!(lives, "the child has the ticket: {refused:?}");
            child.kill().expect("killed");
            child.wait().expect("its exit");
        }
        "taken" => {
            let own = env::current_exe().expect("this program");
            let mut child = spawn(&own.to_string_lossy(), &["receive", &report]).expect("a child");
            assert_eq!(child.wait().expect("its exit").code(), Some(7));
        }
        "not started" => {
            spawn("/no/such/program", &[]).expect_err("no program");
        }
        other => panic!("{other:?} is none of these"),
    }
    // There is no receiver any more, and no ticket for one.
    let mut next = 8;
    let refused = loop {
        match tx.send_timeout(next, LIMIT) {
            Ok(()) => next += 1,
            Err(refused) => break refused,
        }
    };
    assert!(
        matches!(refused, SendTimeoutError::Closed(_)),
        "{refused:?}"
    );
    fork.assert_alive();
}

/// A forked process, which is killed when this is dropped.
struct Fork(Pid);

impl Fork {
    fn assert_alive(&self) {
        let ended = waitpid(self.0, Some(WaitPidFlag::WNOHANG)).expect("a child");
        assert_eq!(ended, nix::sys::wait::WaitStatus::StillAlive);
    }
}

impl Drop for Fork {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}
