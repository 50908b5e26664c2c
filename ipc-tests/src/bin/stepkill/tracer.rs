//! A child process that goes one machine instruction at a time.
//!
//! The child asks to be traced and then stops itself, once for each mark: where its operation begins, where that has
//! ended, and where it has said what came of it. Between marks it is stepped, or runs to a certain address.
//!
//! All children are laid out alike in memory, so an address that one has passed means the same in the next.

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

/// What a child stops itself with. Not `SIGSTOP`, which anybody else may send it.
pub(crate) const MARK: Signal = Signal::SIGUSR2;

/// The line that a child says before it first stops itself, after all that it has to say of what was before.
pub(crate) const READY: &str = "ready";

/// How often a step is asked for before it is worth while to look whether it waits.
const ASKS: u32 = 500;

/// Children started from here on are laid out alike in memory.
pub(crate) fn lay_out_alike() {
    let persona = personality::get().expect("the personality");
    personality::set(persona | Persona::ADDR_NO_RANDOMIZE).expect("no randomness");
}

/// Why a traced process has come to a halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// It has done one instruction (a system call is one), or is about to do the one that it is to halt at.
    Stepped,
    /// It has stopped itself.
    Marked,
    /// It sleeps in a system call. It is not stopped.
    Asleep,
    /// It has ended, with this exit code.
    Ended(i32),
}

/// A traced child. It dies with this process.
#[allow(
    clippy::struct_excessive_bools,
    reason = "they are independent of each other"
)]
pub(crate) struct Traced {
    pid: Pid,
    output: BufReader<ChildStdout>,
    /// What it has said so far.
    said: String,
    /// Whether it was last told to do one instruction, and not to run.
    stepping: bool,
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
            output: BufReader::new(child.stdout.take().expect("standard output is a pipe")),
            said: String::new(),
            stepping: false,
            asleep: false,
            sleeper: false,
            reaped: false,
        };
        assert_eq!(traced.wait(), Halt::Marked, "a child failed to prepare");
        ptrace::setoptions(traced.pid, ptrace::Options::PTRACE_O_EXITKILL).expect("trace");
        traced.answer();
        traced
    }

    /// Reads what it has said before it was ready.
    fn answer(&mut self) {
        let mut line = String::new();
        loop {
            line.clear();
            self.output.read_line(&mut line).expect("a pipe");
            match line.trim_end() {
                READY => return,
                "" => panic!("a child has prepared and does not say so"),
                _ => self.said.push_str(&line),
            }
        }
    }

    /// What it has said before its operation.
    pub(crate) fn said(&self) -> &str {
        &self.said
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
        self.stepping = true;
        if !self.asleep {
            self.go();
        }
        self.wait()
    }

    /// From here on it halts whenever it is about to do the instruction at this address. `None`: nowhere.
    ///
    /// By a debug register of the processor: memory stays as it is.
    pub(crate) fn halt_at(&self, address: Option<u64>) {
        let register = |number: usize| {
            let offset =
                offset_of!(libc::user, u_debugreg) + number * size_of::<libc::c_ulonglong>();
            offset as *mut c_void
        };
        let set = |number, value: u64| {
            let value = value.cast_signed();
            ptrace::write_user(self.pid, register(number), value).expect("a debug register");
        };
        // Register 7 says which of the others count: here the first, and execution.
        set(7, 0);
        if let Some(address) = address {
            set(0, address);
            set(7, 1);
        }
    }

    /// Runs to the next mark, or to the address where it is to halt, or until it falls asleep or ends.
    pub(crate) fn run_on(&mut self) -> Halt {
        self.stepping = false;
        if !self.asleep {
            self.go();
        }
        self.wait()
    }

    /// Runs to the next mark, or until it falls asleep or ends.
    pub(crate) fn run(&mut self) -> Halt {
        loop {
            // A step that was stopped by a signal has a trap left over.
            match self.run_on() {
                Halt::Stepped => {}
                halt => return halt,
            }
        }
    }

    fn go(&self) {
        let gone = if self.stepping {
            ptrace::step(self.pid, None)
        } else {
            ptrace::cont(self.pid, None)
        };
        gone.expect("it has halted");
    }

    /// Kills it, wherever it is. What it has said.
    pub(crate) fn kill(mut self) -> String {
        self.end()
    }

    /// What it has said, once it has ended.
    pub(crate) fn last_words(&mut self) -> String {
        assert!(self.reaped);
        let mut said = mem::take(&mut self.said);
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
                // Somebody has stopped all processes for a while, or a child of its own has ended.
                WaitStatus::Stopped(_, Signal::SIGSTOP | Signal::SIGCONT | Signal::SIGCHLD) => {
                    self.go();
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
            WaitStatus::Stopped(_, MARK) => Halt::Marked,
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
