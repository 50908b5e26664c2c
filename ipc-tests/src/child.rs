//! A second process of a test, and the lines that synchronise the two.
//!
//! The test writes lines to the peer's standard input and reads lines from its standard output; `role` is the
//! other side. A received line is the only proof of the peer's progress: no test sleeps.
//!
//! HELPER-1. A peer that is killed at any time has sent a line whole or not at all: text without a newline is no line.
//! HELPER-2. When a [`Peer`] is dropped its process is killed and reaped, stopped or not: no zombie, no orphan.
//! HELPER-3. A process that was reaped gets no signal: another process may have its pid by then.

use crate::procfs::Stat;
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use std::{
    env,
    ffi::OsStr,
    fmt::Display,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
};

/// Returns the path of a program of this package. Cargo builds them before the tests, into the folder above theirs.
#[must_use]
pub fn program(name: &str) -> String {
    let this = env::current_exe().expect("the path of this program");
    let mut folder = this.parent().expect("the folder of this program");
    if folder.ends_with("deps") {
        folder = folder.parent().expect("the folder above");
    }
    let path = folder.join(name);
    path.into_os_string()
        .into_string()
        .expect("a path in UTF-8")
}

/// Whether the process exists and has not ended. A zombie has ended.
#[must_use]
pub fn is_running(pid: Pid) -> bool {
    Stat::of(pid).is_some_and(|stat| !stat.state.starts_with(['Z', 'X']))
}

/// A running child process that plays a role.
#[derive(Debug)]
pub struct Peer {
    role: String,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    ended: Option<ExitStatus>,
}

impl Peer {
    /// Starts `program` in a role. `spawn` does the start itself: `Command::spawn`, or what hands queues over.
    /// It may add to the command, but has to leave standard input and output as they are.
    ///
    /// # Errors
    ///
    /// The errors of `spawn`.
    pub fn spawn<E>(
        program: impl AsRef<OsStr>,
        role: &str,
        arguments: &[&dyn Display],
        spawn: impl FnOnce(&mut Command) -> Result<Child, E>,
    ) -> Result<Self, E> {
        let mut command = Command::new(program);
        command
            .arg(role)
            .args(arguments.iter().map(ToString::to_string));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(&mut command)?;
        let input = child.stdin.take();
        let output = child.stdout.take().expect("standard output is a pipe");
        Ok(Self {
            role: role.to_owned(),
            child,
            input,
            output: BufReader::new(output),
            ended: None,
        })
    }

    /// Sends one line. Panics if the peer has ended.
    pub fn say(&mut self, line: impl Display) {
        let result = self.try_say(line);
        assert!(result.is_ok(), "{} is not listening: {result:?}", self.role);
    }

    /// Sends one line to a peer that may have been killed.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if the peer has ended or [`finish`](Self::finish) was called.
    pub fn try_say(&mut self, line: impl Display) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(format!("{line}\n").as_bytes())
    }

    /// Waits for the next line. Panics if the peer ends without one.
    pub fn answer(&mut self) -> String {
        let line = self.try_answer();
        line.unwrap_or_else(|| panic!("{} ({}) ended without a line", self.role, self.pid()))
    }

    /// Waits for the next line. Returns `None` once the peer and all heirs of its output have ended.
    pub fn try_answer(&mut self) -> Option<String> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .expect("read from the peer");
        line.strip_suffix('\n').map(str::to_owned)
    }

    /// Closes the peer's input: a role that reads it to its end now ends.
    pub fn finish(&mut self) {
        self.input = None;
    }

    /// Closes the peer's input, waits for its end and reaps it. It must not print more than a pipe holds (64 KiB).
    pub fn wait(&mut self) -> ExitStatus {
        self.finish();
        let status = self.child.wait().expect("wait for the peer");
        self.ended = Some(status);
        status
    }

    /// Waits until the peer has ended and leaves it a zombie.
    pub fn wait_unreaped(&self) {
        self.await_state(WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT);
    }

    /// Sends a signal. Panics if the peer was reaped (HELPER-3).
    pub fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "{} was reaped already", self.role);
        kill(self.pid(), signal).expect("signal the peer");
    }

    /// Stops every thread of the peer, and returns when all of them have stopped.
    pub fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        self.await_state(WaitPidFlag::WSTOPPED);
    }

    /// Continues a stopped peer.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Returns the process id. After [`wait`](Self::wait) another process may have it.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().expect("a pid is positive"))
    }

    fn await_state(&self, state: WaitPidFlag) {
        waitid(Id::Pid(self.pid()), state).expect("wait for a change of the peer");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // On an error another thread has reaped it, and nothing is left to do.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
