//! A child process that goes one machine instruction at a time.
//!
//! The child asks to be traced and then stops itself, once for each mark: where its operation begins, where that has
//! ended, and where it has said what came of it. Between marks it is stepped.

use nix::{
    sys::{
        ptrace,
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    fs,
    io::Read,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};
use workring::Handoff;

/// How often a step is asked for before it is worth while to look whether it waits.
const ASKS: u32 = 500;

/// Why a traced process has come to a halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// It has done one instruction; a system call is one.
    Stepped,
    /// It has stopped itself.
    Marked,
    /// It sleeps in a system call. It is not stopped.
    Asleep,
    /// It has ended, with this exit code.
    Ended(i32),
}

/// A traced child. It dies with this process.
pub(crate) struct Traced {
    pid: Pid,
    output: ChildStdout,
    /// Whether it sleeps in a system call, from which only others can wake it.
    asleep: bool,
    /// Whether it may fall asleep at all. It costs to look.
    pub(crate) sleeper: bool,
    reaped: bool,
}

impl Traced {
    /// Starts a child and lets it run to its first mark.
    #[allow(
        clippy::zombie_processes,
        reason = "whoever traces has to wait by process id, to hear of halts as well"
    )]
    pub(crate) fn start(command: &mut Command, handoff: Handoff) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child: Child = handoff.spawn(command).expect("start a child");
        let mut traced = Self {
            pid: Pid::from_raw(child.id().try_into().expect("a pid is positive")),
            output: child.stdout.take().expect("standard output is a pipe"),
            asleep: false,
            sleeper: false,
            reaped: false,
        };
        assert_eq!(traced.wait(), Halt::Marked, "a child failed to prepare");
        ptrace::setoptions(traced.pid, ptrace::Options::PTRACE_O_EXITKILL).expect("trace");
        traced
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw().try_into().expect("a pid is positive")
    }

    /// The address of the next instruction.
    pub(crate) fn address(&self) -> u64 {
        ptrace::getregs(self.pid).expect("registers").rip
    }

    /// Does one instruction.
    pub(crate) fn step(&mut self) -> Halt {
        if !self.asleep {
            ptrace::step(self.pid, None).expect("step");
        }
        self.wait()
    }

    /// Runs to the next mark, or until it falls asleep or ends.
    pub(crate) fn run(&mut self) -> Halt {
        loop {
            if !self.asleep {
                ptrace::cont(self.pid, None).expect("continue");
            }
            // A step that was stopped by a signal has a trap left over.
            match self.wait() {
                Halt::Stepped => {}
                halt => return halt,
            }
        }
    }

    /// Kills it, wherever it is. What it has said.
    pub(crate) fn kill(mut self) -> String {
        self.end()
    }

    /// What it has said, once it has ended.
    pub(crate) fn last_words(&mut self) -> String {
        assert!(self.reaped);
        let mut said = String::new();
        self.output.read_to_string(&mut said).expect("a pipe");
        said
    }

    fn end(&mut self) -> String {
        kill(self.pid, Signal::SIGKILL).expect("nobody else has reaped it");
        while !matches!(self.wait(), Halt::Ended(_)) {}
        self.last_words()
    }

    fn wait(&mut self) -> Halt {
        // Who was found asleep is to be woken: it is not asked again whether it sleeps.
        let look = self.sleeper && !self.asleep;
        let mut asked = 0;
        loop {
            let flag = look.then_some(WaitPidFlag::WNOHANG);
            match waitpid(self.pid, flag).expect("a child") {
                WaitStatus::StillAlive => {
                    asked += 1;
                    if asked % ASKS == 0 && self.sleeps() {
                        self.asleep = true;
                        return Halt::Asleep;
                    }
                    thread::yield_now();
                }
                status => {
                    self.asleep = false;
                    return self.halt(status);
                }
            }
        }
    }

    fn halt(&mut self, status: WaitStatus) -> Halt {
        match status {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => Halt::Stepped,
            WaitStatus::Stopped(_, Signal::SIGSTOP) => Halt::Marked,
            WaitStatus::Exited(_, code) => {
                self.reaped = true;
                Halt::Ended(code)
            }
            WaitStatus::Signaled(..) => {
                self.reaped = true;
                Halt::Ended(-1)
            }
            other => panic!("a traced child: {other:?}"),
        }
    }

    fn sleeps(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('S'))
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if !self.reaped {
            self.end();
        }
    }
}
