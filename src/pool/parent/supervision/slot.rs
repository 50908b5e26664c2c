//! A worker's place, and the process in it.
//!
//! | state       | means                                  | leaves it                                               |
//! |-------------|----------------------------------------|---------------------------------------------------------|
//! | absent      | no process                             | it is started; with the pool                            |
//! | starting    | a process, which has said nothing      | `Hello` that fits; its death                            |
//! | preparing   | it was welcomed                        | `Ready`; its death                                      |
//! | ready       | it takes tasks; may have been told to leave | `Stopping`; its death                              |
//! | stopping    | it takes none any more; `Farewell` sent | its death                                              |
//! | doomed      | any of these, and it was killed        | its death; it lives on for [`UNTIL_GIVEN_UP`]: immortal |
//! | immortal    | its task has its outcome               | its death; with the pool, which leaves it behind        |
//! | backing off | no process, until a moment             | the moment; with the pool                               |
//!
//! A process may be a wrapper that has started the worker: then the worker's death is meant, and it has some time to end, too.
//!
//! Its death is what the kernel says of the process, and nothing else: not what it says itself, nor its silence. Whoever
//! is too late, or has closed its link, is killed, which leads to the same.
//!
//! SLOT-1. A process that was started is reaped once, after its group was killed.
//! SLOT-2. `Started` is told before anything is heard of a process, `Exited` after everything was.
//! SLOT-3. The line on the board belongs to the process; it is read after its death, and cleared before the next one starts.

use super::reasons::{KillReason, LeaveReason};
use crate::os::child::ChildProcess;
use crate::os::clock;
use crate::os::link::Link;
use crate::os::subreaper;
use crate::pool::wire::messages::FromParent;
use crate::segment::board::Running;
use core::time::Duration;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Instant;

/// A process that was killed has no say in it; but the kernel may take its time, over a file system that does not answer.
pub(crate) const UNTIL_GIVEN_UP: Duration = Duration::from_secs(5);

/// A worker's place.
#[derive(Debug)]
pub(crate) struct WorkerSlot {
    pub(crate) number: u32,
    pub(crate) state: SlotState,
    /// How many processes in a row have died here without having run a task.
    pub(crate) consecutive_backoffs: u32,
    /// How many attempts in a row to have a worker here have failed: see [`super::outage`].
    pub(crate) consecutive_failures: u32,
    /// Whether the last process here has ended before it was ready, or before the pool had started; and how.
    pub(crate) died_before_ready: bool,
    pub(crate) last_exit_status: Option<ExitStatus>,
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "as many as there are workers, and moved only when one starts or ends"
)]
pub(crate) enum SlotState {
    Empty,
    Occupied(WorkerProcess),
    BackingOff { until: Instant },
}

/// A worker process that is not reaped yet.
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
#[derive(Debug)]
pub(crate) struct WorkerProcess {
    pub(crate) link: Link,
    pub(crate) process: ChildProcess,
    pub(crate) stage: Stage,
    /// When it is killed if it has not got on by then: while it starts, while it leaves, and after it has closed its link.
    pub(crate) overdue: Option<Instant>,
    /// Whether there is anything to hear from it.
    pub(crate) is_link_open: bool,
    /// Whether its end is this process's doing.
    pub(crate) is_being_ended: bool,
    /// Whether it got `SIGTERM`, and whether it is counted as killed.
    pub(crate) got_sigterm: bool,
    pub(crate) is_counted_as_killed: bool,
    /// Whether it lives on although it was killed: it belongs to another user and is stopped, or is stuck in the kernel.
    pub(crate) survived_kill: bool,
    /// Its process id in its own namespace, by which the queues know it, if that is not the one of `process`.
    pub(crate) pid_in_namespace: Option<u32>,
    /// What was killed with it, if that is to be reaped here.
    pub(crate) strays: Vec<OwnedFd>,
    /// Whether it has started a pool before it became a worker: it will not become one, most likely.
    pub(crate) starts_pool: bool,
    /// Why it can't be prepared, by its own account; or why this process has ended it before it was ready.
    pub(crate) start_failure: Option<String>,
    /// Whether it was told to leave, and why.
    pub(crate) leave_reason: Option<LeaveReason>,
    /// When it has to leave for its age.
    pub(crate) retire_at: Option<Instant>,
    /// What it was killed for, if it was for something.
    pub(crate) kill_reason: Option<KillReason>,
    /// A task that it should be through with, and since when that is known.
    pub(crate) finished_task: Option<(u64, Instant)>,
    /// The start of its last task, and since when there was no other.
    pub(crate) idle_since: Option<(u64, Instant)>,
    /// The last start on its line before it came: if another stands there, it has begun a task.
    pub(crate) previous_start: u64,
    /// Since when it has been ready.
    pub(crate) ready_since: Option<Instant>,
}

/// How far a process has got: see the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Starting,
    Preparing,
    Ready,
    Stopping,
}

/// A process that has ended, and whose task is still to be settled.
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on each other"
)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadWorker {
    pub(crate) pid: u32,
    /// `None`: something else in this process has reaped it.
    pub(crate) status: Option<ExitStatus>,
    /// The task that it was running.
    pub(crate) running: Option<Running>,
    /// Whether it was only decoding that task.
    pub(crate) was_decoding: bool,
    /// Whether it has begun a task at all.
    pub(crate) has_started_task: bool,
    /// Whether this process has ended it because the pool is at its end.
    pub(crate) was_ended_by_shutdown: bool,
    /// And for what, if for something.
    pub(crate) kill_reason: Option<KillReason>,
    /// Whether it will never have become a worker: it has renounced that, or has closed its link before it said what it is.
    pub(crate) never_became_worker: bool,
}

impl WorkerSlot {
    pub(crate) const fn new(number: u32) -> Self {
        Self {
            number,
            state: SlotState::Empty,
            consecutive_backoffs: 0,
            consecutive_failures: 0,
            died_before_ready: false,
            last_exit_status: None,
        }
    }

    pub(crate) fn worker(&self) -> Option<&WorkerProcess> {
        match &self.state {
            SlotState::Occupied(worker) => Some(worker),
            SlotState::Empty | SlotState::BackingOff { .. } => None,
        }
    }

    pub(crate) fn worker_mut(&mut self) -> Option<&mut WorkerProcess> {
        match &mut self.state {
            SlotState::Occupied(worker) => Some(worker),
            SlotState::Empty | SlotState::BackingOff { .. } => None,
        }
    }

    /// When there is something to do here although nothing is heard.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.state {
            SlotState::Empty => None,
            SlotState::Occupied(worker) => [worker.overdue, worker.retire_at]
                .into_iter()
                .flatten()
                .min(),
            SlotState::BackingOff { until } => Some(*until),
        }
    }
}

impl WorkerProcess {
    /// A process that was just started, and has until `overdue` to become ready.
    pub(crate) const fn new(link: Link, process: ChildProcess, overdue: Option<Instant>) -> Self {
        Self {
            link,
            process,
            stage: Stage::Starting,
            overdue,
            is_link_open: true,
            is_being_ended: false,
            got_sigterm: false,
            is_counted_as_killed: false,
            survived_kill: false,
            pid_in_namespace: None,
            strays: Vec::new(),
            starts_pool: false,
            start_failure: None,
            leave_reason: None,
            retire_at: None,
            kill_reason: None,
            finished_task: None,
            idle_since: None,
            previous_start: 0,
            ready_since: None,
        }
    }

    /// Whether it has not become a worker, and will not: it has renounced that, or closed its link before it said what it is.
    pub(crate) fn never_became_worker(&self) -> bool {
        let is_silent = !self.is_link_open || !self.process.has_running();
        self.stage == Stage::Starting && (self.starts_pool || is_silent)
    }

    /// Whether it takes tasks, and is to go on doing so.
    pub(crate) fn accepts_tasks(&self) -> bool {
        let ends = self.is_being_ended || self.process.only_wrapper_runs();
        self.stage == Stage::Ready && self.leave_reason.is_none() && !ends
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// SUPERVISE-2 of the supervisor. One that does not listen has no room for more, or has ended.
    pub(crate) fn send(&self, message: FromParent) {
        let _ = self.link.try_send(&message.encode());
    }

    /// It says that it is `pid`, in its own namespace. `sender`: who it is in this process's, as the kernel says.
    pub(crate) fn set_process_id(&mut self, pid: u32, sender: Option<u32>) {
        self.pid_in_namespace = Some(pid);
        if let Some(sender) = sender {
            let link = &self.link;
            // While it has its side of the link, it has not ended, and its id is its own.
            self.process
                .set_worker(sender, || link.has_hung_up().is_ok_and(|ended| !ended));
        }
    }

    /// Whether it has ended, as far as the kernel says so. A process that has ended before it has said who it is may be only a
    /// wrapper, as long as another one has its side of the link.
    pub(crate) fn has_ended(&mut self) -> bool {
        let may_be_elsewhere = self.stage == Stage::Starting
            && !self.is_being_ended
            && self.link.has_hung_up().is_ok_and(|has| !has);
        self.process.update_exits(may_be_elsewhere)
    }

    /// Kills it, its group, and all that it has started. Its death is noticed as any other. Returns whether it was not counted
    /// as killed before.
    ///
    /// A parent that has given up its privileges may not signal a worker that has them still. So the worker is asked over
    /// its link, too: its watcher thread kills the group, whatever the task does. One that is stopped does neither: that is
    /// noticed when it is overdue.
    pub(crate) fn kill(&mut self) -> bool {
        self.is_being_ended = true;
        self.overdue = Some(clock::after(Instant::now(), UNTIL_GIVEN_UP));
        self.retire_at = None;
        let descendants = self.process.kill_tree();
        if subreaper::is_reaper() {
            self.strays.extend(descendants);
        }
        self.send(FromParent::EndGroup);
        !core::mem::replace(&mut self.is_counted_as_killed, true)
    }
}
