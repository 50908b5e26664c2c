//! A program whose pools and children are started under circumstances that only a process of its own can have: its file is
//! gone, signals are ignored, standard streams are closed, it has a terminal, it was forked.
//!
//! `starter ROLE REPORT ARGUMENT...`: a role that fails writes why to the file REPORT, for it may have no standard streams.
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
use serde::{Deserialize, Serialize};
use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
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
    pool::{Builder, Context, Pool, Task, TaskError, run_if_worker},
};

#[path = "starter/amid_calls.rs"]
mod amid_calls;
#[path = "starter/amid_code.rs"]
mod amid_code;

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

/// Nothing takes so long that goes on at all.
const LIMIT: Duration = Duration::from_mins(1);

/// What a worker does.
#[derive(Debug, Serialize, Deserialize)]
enum Act {
    Echo(u64),
    AwaitCancel,
    Abort,
    Exit(i32),
    /// Gives the output of a command.
    Command,
    /// Gives the signals that are ignored and blocked, as `/proc` shows them.
    Signals,
    /// Gives the name, the first argument and the executable of the process, one a line.
    Names,
    /// Gives the numbers of the descriptors below 3 that are open, and what standard input has.
    Streams,
    /// Reads from the terminal, sets its attributes and writes to it.
    Terminal,
}

impl Task for Act {
    type Output = String;
    type Error = String;

    fn run(self, context: &Context) -> Result<String, String> {
        let done = match self {
            Self::Echo(number) => Ok(number.to_string()),
            Self::AwaitCancel => {
                while !context.is_cancelled() {
                    thread::yield_now();
                }
                Ok("cancelled".to_owned())
            }
            Self::Abort => process::abort(),
            Self::Exit(code) => process::exit(code),
            Self::Command => command(),
            Self::Signals => own_signals(),
            Self::Names => names(),
            Self::Streams => streams(),
            Self::Terminal => touch_terminal(),
        };
        done.map_err(|error| error.to_string())
    }
}

fn command() -> io::Result<String> {
    let output = Command::new("echo").arg("hello").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn own_signals() -> io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let set = |name| status.lines().find_map(|line| line.strip_prefix(name));
    let set = |name| set(name).unwrap_or_default().trim().to_owned();
    Ok(format!("{} {}", set("SigIgn:"), set("SigBlk:")))
}

fn names() -> io::Result<String> {
    let name = fs::read_to_string("/proc/self/comm")?;
    let arguments = fs::read_to_string("/proc/self/cmdline")?;
    let first = arguments.split('\0').next().unwrap_or_default();
    let executable = env::current_exe()?;
    Ok(format!(
        "{}\n{first}\n{}",
        name.trim(),
        executable.display()
    ))
}

fn streams() -> io::Result<String> {
    let open = |number: &i32| fs::read_link(format!("/proc/self/fd/{number}")).is_ok();
    let open: Vec<i32> = (0..3).filter(open).collect();
    let read = io::stdin().read(&mut [0])?;
    Ok(format!("{open:?} {read}"))
}

fn touch_terminal() -> io::Result<String> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
    let read = terminal.read(&mut [0]).expect_err("in the background");
    let attributes = tcgetattr(&terminal)?;
    tcsetattr(&terminal, SetArg::TCSANOW, &attributes)?;
    terminal.write_all(b"written\n")?;
    Ok(read.raw_os_error().unwrap_or(0).to_string())
}

fn main() -> ExitCode {
    run_if_worker::<Act>();
    if let Some(report) = env::args().nth(2) {
        panic::set_hook(Box::new(move |panic| {
            let _ = fs::write(&report, panic.to_string());
        }));
    }
    role::run(ROLES)
}

fn pool() -> Builder<Act> {
    Pool::builder().workers(1)
}

fn outcome(pool: &Pool<Act>, act: Act) -> Result<String, TaskError<String>> {
    let handle = pool.submit(act).expect("open");
    handle.wait_timeout(LIMIT).expect("an outcome in time")
}

/// The file of this program is removed, and another one has its name, while a pool runs. (An upgrade does this.)
fn replaced(io: &mut Io) {
    let _report: String = io.argument();
    let and_replaced: bool = io.argument();
    let program = env::current_exe().expect("this program");
    let pool_before = pool().start().expect("a pool");
    let names = outcome(&pool_before, Act::Names).expect("names");
    let file_name = program.file_name().expect("a name").to_string_lossy();
    let name: String = file_name.chars().take(15).collect();
    let path = program.display();
    assert_eq!(names, format!("{name}\n{path}\n{path}"));
    fs::remove_file(&program).expect("removed");
    if and_replaced {
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

/// The kernel reaps the workers of this process itself, and forgets how they ended.
fn unreaped(io: &mut Io) {
    let _report: String = io.argument();
    let way: String = io.argument();
    if way == "ignored" {
        // SAFETY: no handler of this program.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.expect("ignored");
    } else {
        let action = SigAction::new(SigHandler::SigDfl, SaFlags::SA_NOCLDWAIT, SigSet::empty());
        // SAFETY: no handler of this program.
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
    let no_worker = Pool::<Act>::builder()
        .workers(1)
        .program("/bin/true")
        .start();
    let no_worker = no_worker.map(drop).expect_err("no worker");
    let is_unknown = matches!(no_worker, StartError::NoHandshake { status: None, .. });
    assert!(is_unknown, "{no_worker:?}");
    assert!(no_worker.to_string().contains("unknown"), "{no_worker}");
    let program = "/no/such/program";
    let no_program = Pool::<Act>::builder().workers(1).program(program).start();
    let no_program = no_program.map(drop).expect_err("no program");
    assert!(
        matches!(no_program, StartError::Spawn { .. }),
        "{no_program:?}"
    );
}

/// A thread of this process waits for any child, as some signal handlers do.
fn reaped(io: &mut Io) {
    let _report: String = io.argument();
    thread::spawn(|| {
        loop {
            // With no child: again.
            let _ = waitpid(None::<Pid>, Some(WaitPidFlag::empty()));
        }
    });
    let pool = pool().start().expect("a pool");
    for _ in 0..20 {
        let crash = outcome(&pool, Act::Exit(7)).expect_err("it ended");
        let TaskError::Crashed { status, .. } = crash else {
            panic!("{crash:?}");
        };
        let true_one = ExitStatus::from_raw(7 << 8);
        assert!(status.is_none_or(|status| status == true_one), "{status:?}");
    }
}

extern "C" fn handle(_: libc::c_int) {}

/// This process ignores, handles and blocks signals.
fn signals(io: &mut Io) {
    let _report: String = io.argument();
    let hangs_up: bool = io.argument();
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
    if hangs_up {
        ignored.push(Signal::SIGHUP);
    }
    for &number in &ignored {
        // SAFETY: no handler of this program.
        unsafe { signal(number, SigHandler::SigIgn) }.expect("ignored");
    }
    // SAFETY: a handler that does nothing.
    unsafe { signal(Signal::SIGUSR2, SigHandler::Handler(handle)) }.expect("handled");
    SigSet::all().thread_block().expect("blocked");
    let pool = pool().start().expect("a pool");
    SigSet::empty().thread_set_mask().expect("not blocked");
    // The runtime of Rust ignores SIGPIPE in every program.
    let mut expected = bit(Signal::SIGPIPE) | bit(Signal::SIGTTIN) | bit(Signal::SIGTTOU);
    if hangs_up {
        expected |= bit(Signal::SIGHUP);
    }
    let found = outcome(&pool, Act::Signals).expect("signals");
    assert_eq!(found, format!("{expected:016x} {:016x}", 0));
    // Those of this process are as they were.
    let own = own_signals().expect("/proc");
    let own = u64::from_str_radix(own.split(' ').next().expect("a set"), 16).expect("a set");
    for number in ignored {
        assert_ne!(own & bit(number), 0, "{number} is not ignored any more");
    }
    assert_eq!(own & bit(Signal::SIGTTIN), 0);
}

/// Some standard streams are closed.
fn closed(io: &mut Io) {
    let report: String = io.argument();
    let numbers: String = io.argument();
    let numbers: Vec<i32> = numbers
        .split(',')
        .map(|number| number.parse().expect("a number"))
        .collect();
    for &number in &numbers {
        // SAFETY: this program does not use it from here on.
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
        let status = child.wait().expect("its end");
        assert_eq!(status.code(), Some(7), "{status}, stdin {gets_stdin}");
    }
    let pool = pool().start().expect("a pool");
    // Nothing of the crate has taken their place: what is written there goes nowhere.
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

/// The child is of another user, who can't open a queue's file: it has the descriptor.
fn another_user(io: &mut Io) {
    /// "nobody", as a rule; the tests run as root here.
    const USER: u32 = 65_534;
    let report: String = io.argument();
    let (tx, rx) = Options::new(8).channel::<u64>().expect("a queue");
    // Its path may lead through directories that are closed to that user.
    let mut command = Command::new("/proc/self/exe");
    command.args(["receive", &report]).uid(USER).gid(USER);
    let handoff = Handoff::new().give("tasks", &rx).expect("given");
    let mut child = handoff.spawn(&mut command).expect("a child");
    drop(rx);
    tx.send(7).expect("the child has the other end");
    assert_eq!(child.wait().expect("its end").code(), Some(7));
}

/// This process leads a session with a terminal, which it has in the foreground.
fn terminal(io: &mut Io) {
    let _report: String = io.argument();
    let terminal = File::open("/dev/tty").expect("a terminal");
    let mut attributes = tcgetattr(&terminal).expect("a terminal");
    // Writing in the background counts, too.
    attributes.local_flags |= nix::sys::termios::LocalFlags::TOSTOP;
    tcsetattr(&terminal, SetArg::TCSANOW, &attributes).expect("its attributes");
    let pool = pool().start().expect("a pool");
    let error = outcome(&pool, Act::Terminal).expect("it was stopped");
    assert_eq!(error, libc::EIO.to_string());
    // Also what a worker starts: ignored signals are inherited.
    assert_eq!(outcome(&pool, Act::Command).expect("a command"), "hello");
}

/// Another process was forked after a ticket was made, and lives on.
fn forked(io: &mut Io) {
    let report: String = io.argument();
    let then: String = io.argument();
    let (tx, rx) = Options::new(1).channel::<u64>().expect("a queue");
    let handoff = Handoff::new().give("tasks", &rx).expect("given");
    // SAFETY: the child makes one system call after the other, and ends by a signal.
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
        // It never asks for what it was given.
        "ended" => {
            let mut child = spawn("true", &[]).expect("a child");
            assert!(child.wait().expect("its end").success());
        }
        "killed" => {
            let mut child = spawn("sleep", &["1000"]).expect("a child");
            let refused = tx.send_timeout(8, Duration::from_millis(300));
            let lives = matches!(refused, Err(SendTimeoutError::Timeout(_)));
            assert!(lives, "the child has the ticket: {refused:?}");
            child.kill().expect("killed");
            child.wait().expect("its end");
        }
        "taken" => {
            let own = env::current_exe().expect("this program");
            let mut child = spawn(&own.to_string_lossy(), &["receive", &report]).expect("a child");
            assert_eq!(child.wait().expect("its end").code(), Some(7));
        }
        "not started" => {
            spawn("/no/such/program", &[]).expect_err("no program");
        }
        other => panic!("{other:?} is none of these"),
    }
    // There is no receiver any more, and none to come.
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

/// Killed at the end.
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
