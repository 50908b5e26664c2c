//! A child process that is traced, and executes one machine instruction at a time.
//!
//! The child asks to be traced and then stops itself at each *mark*: at the beginning of its operation, at the end of
//! it, and after it has printed what the operation returned. Between marks it is stepped, or runs to a breakpoint.
//!
//! All children have the same addresses, so an address that one child has reached means the same in the next.

use nix::{
    libc,
    sys::{
        personality::{self, Persona},
        ptrace,
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    ffi::c_void,
    fs,
    io::{BufRead, BufReader, Read},
    mem::{self, offset_of},
    process::{Child, ChildStdout, Command, Stdio},
    thread,
};
use workring::Handoff;

/// The signal by which a child stops itself. Not `SIGSTOP`, which any other process may send it.
pub(crate) const MARK: Signal = Signal::SIGUSR2;

/// The line that a child prints before its first mark, after everything else that it prints there.
pub(crate) const READY: &str = "ready";

/// How often the end of a step is polled before it is worth the cost to check whether the child sleeps.
const POLLS_PER_CHECK: u32 = 500;

/// Makes the addresses of children that are started from now on the same.
pub(crate) fn disable_address_randomization() {
    let persona = personality::get().expect("the personality");
    personality::set(persona | Persona::ADDR_NO_RANDOMIZE).expect("no randomization");
}

/// Why a traced child does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It has executed one instruction (a system call is one), or has reached its breakpoint.
    Stepped,
    /// It has stopped itself at a mark.
    Marked,
    /// It sleeps in a system call. It is not stopped.
    Asleep,
    /// It has ended, with this exit code.
    Ended(i32),
}

/// A traced child, which dies with this process.
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are independent of each other"
)]
pub(crate) struct TracedChild {
    pid: Pid,
    output: BufReader<ChildStdout>,
    /// What it has printed so far.
    printed: String,
    /// Whether it was resumed for a single step last.
    is_stepping: bool,
    /// Whether it sleeps in a system call, from which another process has to wake it.
    is_asleep: bool,
    /// Whether it may fall asleep at all. It costs time to check.
    pub(crate) may_sleep: bool,
    is_reaped: bool,
}

impl TracedChild {
    /// Starts a child and lets it run to its first mark.
    #[allow(
        clippy::zombie_processes,
        reason = "a tracer has to wait by process id, to be notified of stops as well"
    )]
    pub(crate) fn start(command: &mut Command, handoff: Handoff) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child: Child = handoff.spawn(command).expect("start a child");
        let mut traced = Self {
            pid: Pid::from_raw(child.id().try_into().expect("a pid is positive")),
            output: BufReader::new(child.stdout.take().expect("standard output is a pipe")),
            printed: String::new(),
            is_stepping: false,
            is_asleep: false,
            may_sleep: false,
            is_reaped: false,
        };
        assert_eq!(traced.wait(), Stop::Marked, "a child failed to prepare");
        ptrace::setoptions(traced.pid, ptrace::Options::PTRACE_O_EXITKILL).expect("trace");
        traced.read_until_ready();
        traced
    }

    fn read_until_ready(&mut self) {
        let mut line = String::new();
        loop {
            line.clear();
            self.output.read_line(&mut line).expect("a pipe");
            match line.trim_end() {
                READY => return,
                "" => panic!("a child has reached its first mark and is not ready"),
                _ => self.printed.push_str(&line),
            }
        }
    }

    /// Returns what the child printed before its operation.
    pub(crate) fn printed(&self) -> &str {
        &self.printed
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid.as_raw().try_into().expect("a pid is positive")
    }

    /// Returns the address of the next instruction.
    pub(crate) fn address(&self) -> u64 {
        ptrace::getregs(self.pid).expect("registers").rip
    }

    /// Executes one instruction.
    pub(crate) fn step(&mut self) -> Stop {
        self.is_stepping = true;
        if !self.is_asleep {
            self.resume();
        }
        self.wait()
    }

    /// Sets the breakpoint, or removes it: the child stops whenever it is about to execute the instruction there.
    ///
    /// Uses a debug register of the processor, so memory stays as it is.
    pub(crate) fn set_breakpoint(&self, address: Option<u64>) {
        let register = |number: usize| {
            let offset =
                offset_of!(libc::user, u_debugreg) + number * size_of::<libc::c_ulonglong>();
            offset as *mut c_void
        };
        let set = |number, value: u64| {
            let value = value.cast_signed();
            ptrace::write_user(self.pid, register(number), value).expect("a debug register");
        };
        // Register 7 enables the others: here the first one, for execution.
        set(7, 0);
        if let Some(address) = address {
            set(0, address);
            set(7, 1);
        }
    }

    /// Runs to the next mark or to the breakpoint, or until the child falls asleep or ends.
    pub(crate) fn run_to_breakpoint(&mut self) -> Stop {
        self.is_stepping = false;
        if !self.is_asleep {
            self.resume();
        }
        self.wait()
    }

    /// Runs to the next mark, or until the child falls asleep or ends.
    pub(crate) fn run_to_mark(&mut self) -> Stop {
        loop {
            // A step that a signal has interrupted leaves a trap.
            match self.run_to_breakpoint() {
                Stop::Stepped => {}
                stop => return stop,
            }
        }
    }

    fn resume(&self) {
        let resumed = if self.is_stepping {
            ptrace::step(self.pid, None)
        } else {
            ptrace::cont(self.pid, None)
        };
        resumed.expect("it is stopped");
    }

    /// Kills the child, wherever it is. Returns what it has printed.
    pub(crate) fn kill(mut self) -> String {
        self.kill_and_reap()
    }

    /// Returns what a child that has ended has printed.
    pub(crate) fn all_printed(&mut self) -> String {
        assert!(self.is_reaped);
        let mut printed = mem::take(&mut self.printed);
        self.output.read_to_string(&mut printed).expect("a pipe");
        printed
    }

    fn kill_and_reap(&mut self) -> String {
        kill(self.pid, Signal::SIGKILL).expect("only this process reaps it");
        while !matches!(self.wait(), Stop::Ended(_)) {}
        self.all_printed()
    }

    fn wait(&mut self) -> Stop {
        // A child that was found asleep is about to be woken, and is not checked again.
        let check_sleep = self.may_sleep && !self.is_asleep;
        let mut polls = 0;
        loop {
            let flag = check_sleep.then_some(WaitPidFlag::WNOHANG);
            match waitpid(self.pid, flag).expect("a child") {
                WaitStatus::StillAlive => {
                    polls += 1;
                    if polls % POLLS_PER_CHECK == 0 && self.sleeps() {
                        self.is_asleep = true;
                        return Stop::Asleep;
                    }
                    thread::yield_now();
                }
                // All processes of this machine were stopped for a while, or a child of the child has ended.
                WaitStatus::Stopped(_, Signal::SIGSTOP | Signal::SIGCONT | Signal::SIGCHLD) => {
                    self.resume();
                }
                status => {
                    self.is_asleep = false;
                    return self.stop_of(status);
                }
            }
        }
    }

    fn stop_of(&mut self, status: WaitStatus) -> Stop {
        match status {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => Stop::Stepped,
            WaitStatus::Stopped(_, MARK) => Stop::Marked,
            WaitStatus::Exited(_, code) => {
                self.is_reaped = true;
                Stop::Ended(code)
            }
            WaitStatus::Signaled(..) => {
                self.is_reaped = true;
                Stop::Ended(-1)
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

impl Drop for TracedChild {
    fn drop(&mut self) {
        if !self.is_reaped {
            self.kill_and_reap();
        }
    }
}
