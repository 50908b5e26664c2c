//! Starts, kills, stops and reaps the children of one round.

use crate::{
    child::{ChildArguments, Role},
    config::Config,
    events::{Event, Recorder},
    ids::ProcessNumber,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    env,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Instant,
};
use workring::Handoff;

/// The children that have been started and not reaped.
pub(crate) struct Children {
    program: PathBuf,
    running: Vec<RunningChild>,
    /// How many were started so far.
    started: u32,
    /// The longest pause of a child, in microseconds.
    max_pause: u64,
}

struct RunningChild {
    process: ProcessNumber,
    role: Role,
    child: Child,
    /// If it is stopped: when it is to be resumed.
    stopped_until: Option<Instant>,
}

/// A child that was killed.
pub(crate) struct Killed {
    pub(crate) role: Role,
    pub(crate) pid: u32,
    /// Its exit status, if it had ended before the kill.
    pub(crate) exited: Option<Exited>,
}

/// A child that has ended by itself.
pub(crate) struct Exited {
    process: ProcessNumber,
    role: Role,
    status: ExitStatus,
}

impl Exited {
    /// Describes an exit with an error.
    pub(crate) fn violation(&self) -> Option<String> {
        let Self {
            process,
            role,
            status,
        } = self;
        let describe = || format!("{} {process:?} ended with {status}", role.name());
        (!status.success()).then(describe)
    }

    /// Describes an exit while the queue is open: children have no reason to end before it is closed.
    pub(crate) fn early_exit_violation(&self) -> String {
        format!("{} {:?} has exited early", self.role.name(), self.process)
    }
}

impl Children {
    pub(crate) fn new(max_pause: u64) -> Self {
        Self {
            program: env::current_exe().expect("this program"),
            running: Vec::new(),
            started: 0,
            max_pause,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn any(&self, mut predicate: impl FnMut(Role) -> bool) -> bool {
        self.running.iter().any(|child| predicate(child.role))
    }

    /// Starts a child, which inherits what `handoff` has.
    pub(crate) fn start(
        &mut self,
        role: Role,
        handoff: Handoff,
        config: &Config,
        seed: u64,
        scratch: &Path,
    ) {
        self.started += 1;
        let process = ProcessNumber(self.started);
        let arguments = ChildArguments {
            role,
            process,
            max_length: config.max_length,
            max_batch: config.max_batch,
            max_pause: self.max_pause,
            always_waits: config.liveness_seconds.is_some(),
            by_futures: config.futures.are_used(seed),
            seed,
            scratch,
        };
        let mut command = Command::new(&self.program);
        command.args(arguments.to_arguments());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = handoff.spawn(&mut command).expect("start a child");
        self.running.push(RunningChild {
            process,
            role,
            child,
            stopped_until: None,
        });
    }

    /// Records that a child is about to be killed, kills it and reaps it.
    pub(crate) fn kill(&mut self, index: usize, recorder: &Recorder) -> Killed {
        let mut victim = self.running.swap_remove(index);
        let event = match victim.role {
            Role::Sender => Event::KillingSender,
            Role::Receiver | Role::Lessee => Event::KillingConsumer,
        };
        recorder.record_of(event, victim.process);
        victim.child.kill().expect("kill");
        let status = victim.child.wait().expect("wait");
        let is_killed = status.signal() == Some(Signal::SIGKILL as i32);
        Killed {
            role: victim.role,
            pid: victim.child.id(),
            exited: (!is_killed).then(|| victim.exited(status)),
        }
    }

    /// Stops a child until a time at which [`resume`](Self::resume) has to be called.
    pub(crate) fn stop(&mut self, index: usize, until: Instant) {
        if let Some(child) = self.running.get_mut(index) {
            child.signal(Signal::SIGSTOP);
            child.stopped_until = Some(until);
        }
    }

    /// Resumes each stopped child for whose time `is_due` returns true.
    pub(crate) fn resume(&mut self, is_due: impl Fn(Instant) -> bool) {
        for child in &mut self.running {
            if child.stopped_until.is_some_and(&is_due) {
                child.signal(Signal::SIGCONT);
                child.stopped_until = None;
            }
        }
    }

    /// Returns when the next stopped child is to be resumed.
    pub(crate) fn next_resume(&self) -> Option<Instant> {
        let times = self.running.iter().filter_map(|child| child.stopped_until);
        times.min()
    }

    /// Reaps the children of these roles that have ended by themselves. Does not wait.
    pub(crate) fn reap(&mut self, mut is_meant: impl FnMut(Role) -> bool) -> Vec<Exited> {
        let mut exited = Vec::new();
        let mut index = 0;
        while let Some(child) = self.running.get_mut(index) {
            let status = is_meant(child.role).then(|| child.child.try_wait().expect("wait"));
            if let Some(status) = status.flatten() {
                exited.push(self.running.swap_remove(index).exited(status));
            } else {
                index += 1;
            }
        }
        exited
    }
}

impl RunningChild {
    fn exited(&self, status: ExitStatus) -> Exited {
        Exited {
            process: self.process,
            role: self.role,
            status,
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // It is not reaped before it is removed from the list, so no other process has this id.
        kill(Pid::from_raw(pid), signal).expect("signal a child");
    }
}

/// Kills and reaps the child, in case the parent panics.
impl Drop for RunningChild {
    fn drop(&mut self) {
        // Both do nothing if it was reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
