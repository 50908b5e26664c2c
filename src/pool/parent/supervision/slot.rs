//! The slot of a worker, and the process in it.
//!
//! | state       | meaning                                        | leaves it                             |
//! |-------------|------------------------------------------------|---------------------------------------|
//! | empty       | no process                                     | a process is started                  |
//! | starting    | a process that has not identified itself       | `Hello`, if it matches; its death     |
//! | preparing   | it was welcomed                                | `Ready`; its death                    |
//! | ready       | it takes tasks; it may have been asked to stop | `Stopping`; its death                 |
//! | stopping    | it takes no more tasks; `Farewell` was sent    | its death                             |
//! | being ended | any of these four, and it got a signal to end  | its death; [`KILL_TIMEOUT`]: survived |
//! | survived    | its task has its outcome                       | its death; the end of the pool        |
//! | backing off | no process, until a time                       | that time; the end of the pool        |
//!
//! The process may be a wrapper that has started the worker. Then the states are those of the worker, and after its
//! death the wrapper gets some time to end, too.
//!
//! A death is what the kernel reports of the process, never what the process sends or fails to send. A worker that
//! misses a deadline, or has closed its link, is killed.
//!
//! SLOT-1. Each process that was started is reaped once, after its group was killed.
//! SLOT-2. The event `Started` comes before all messages of a process, `Exited` after all of them.
//! SLOT-3. The entry on the board belongs to the process. It is read after the death of the process, and reset before
//!     the next process starts.

use super::captured::CapturedStream;
use super::reasons::{KillReason, LeaveReason};
use crate::os::child::ChildProcess;
use crate::os::link::Link;
use crate::os::{clock, subreaper};
use crate::pool::outcome::TaskId;
use crate::pool::wire::messages::FromParent;
use core::time::Duration;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::time::Instant;

/// How long a killed process may take to end. The kernel may need long if a file system does not answer.
pub(super) const KILL_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct WorkerSlot {
    pub(super) number: u32,
    pub(super) state: SlotState,
    /// How many times in a row no worker started here has run a task. Sets the next back-off.
    pub(super) consecutive_backoffs: u32,
    /// How many attempts in a row to get a worker here have failed, as [`super::outage`] counts them.
    pub(super) consecutive_failures: u32,
    /// Whether the last process here ended before the worker was ready, or before the pool had started.
    pub(super) died_before_ready: bool,
    pub(super) last_exit_status: Option<ExitStatus>,
    /// The latest generation of which a worker has been ready here, since the slot was last given up.
    pub(super) ready_generation: Option<u64>,
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each worker, and it is moved only when a worker starts or ends"
)]
pub(super) enum SlotState {
    Empty,
    Occupied(WorkerProcess),
    BackingOff { until: Instant },
}

/// A worker process that is not reaped yet.
#[allow(
    clippy::struct_excessive_bools,
    reason = "the flags are independent of each other"
)]
#[derive(Debug)]
pub(super) struct WorkerProcess {
    pub(super) link: Link,
    pub(super) process: ChildProcess,
    /// Its standard streams, if they are captured, until they end.
    pub(super) output: Vec<CapturedStream>,
    pub(super) stage: Stage,
    /// When it is killed unless it makes progress: set while it starts, while it stops, and after it has closed its
    /// link.
    pub(super) deadline: Option<Instant>,
    /// Whether messages may arrive from it.
    pub(super) is_link_open: bool,
    /// Whether this process has sent `SIGTERM` or `SIGKILL` to it.
    pub(super) is_being_ended: bool,
    pub(super) got_sigterm: bool,
    pub(super) is_counted_as_killed: bool,
    /// Whether it lives although it was killed: it is stopped and belongs to another user, or is stuck in the kernel.
    pub(super) survived_kill: bool,
    /// Its process id in its own namespace, by which the queues know it, if that differs from the id of `process`.
    pub(super) pid_in_namespace: Option<u32>,
    /// Descendants that were killed with it and have to be reaped here.
    pub(super) strays: Vec<OwnedFd>,
    /// Whether it has started a pool before it became a worker, and so will probably not become one.
    pub(super) starts_pool: bool,
    /// Why it can't be prepared, by its own account; or why this process has ended it before it was ready.
    pub(super) start_failure: Option<String>,
    /// Why it was asked to stop, if it was.
    pub(super) leave_reason: Option<LeaveReason>,
    /// When it is asked to stop because of its age.
    pub(super) retire_at: Option<Instant>,
    /// Why it was killed, if for a reason of its own.
    pub(super) kill_reason: Option<KillReason>,
    /// A task that it has finished but not left, and since when that is known.
    pub(super) finished_task: Option<(TaskId, Instant)>,
    /// The start time of its last task, and since when it is known that no other has started.
    pub(super) idle_since: Option<(u64, Instant)>,
    /// The last start time on its entry before it was started. If there is another one, it has started a task.
    pub(super) previous_start: u64,
    pub(super) ready_since: Option<Instant>,
    /// How many restarts of all workers had begun when it was started.
    pub(super) generation: u64,
}

/// How far a worker has got: see the table of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Starting,
    Preparing,
    Ready,
    Stopping,
}

/// A worker that has ended, and whose task is not settled yet.
#[allow(
    clippy::struct_excessive_bools,
    reason = "the flags are independent of each other"
)]
#[derive(Clone, Copy, Debug)]
pub(super) struct DeadWorker {
    /// The number of its slot.
    pub(super) worker: u32,
    /// Its process id, as this process sees it.
    pub(super) pid_here: u32,
    /// Its process id in its own namespace, by which the queues know it.
    pub(super) pid: u32,
    /// `None` if other code of this process has reaped it.
    pub(super) status: Option<ExitStatus>,
    /// The task that it was running.
    pub(super) running: Option<TaskId>,
    /// Whether it was decoding that task, and had not started it.
    pub(super) was_decoding: bool,
    /// Whether it has started any task.
    pub(super) has_started_task: bool,
    /// Whether this process has ended it because the pool is at its end.
    pub(super) was_ended_by_shutdown: bool,
    pub(super) kill_reason: Option<KillReason>,
    /// Whether it would never have become a worker: it has started a pool, or closed its link without identifying
    /// itself.
    pub(super) never_became_worker: bool,
}

impl WorkerSlot {
    pub(super) const fn new(number: u32) -> Self {
        Self {
            number,
            state: SlotState::Empty,
            consecutive_backoffs: 0,
            consecutive_failures: 0,
            died_before_ready: false,
            last_exit_status: None,
            ready_generation: None,
        }
    }

    pub(super) fn worker(&self) -> Option<&WorkerProcess> {
        match &self.state {
            SlotState::Occupied(worker) => Some(worker),
            SlotState::Empty | SlotState::BackingOff { .. } => None,
        }
    }

    pub(super) fn worker_mut(&mut self) -> Option<&mut WorkerProcess> {
        match &mut self.state {
            SlotState::Occupied(worker) => Some(worker),
            SlotState::Empty | SlotState::BackingOff { .. } => None,
        }
    }

    /// Returns whether it has no process, and none is to be started in it.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(self.state, SlotState::Empty)
    }

    /// Returns whether it has a worker that takes tasks, and goes on doing so.
    pub(super) fn takes_tasks(&self) -> bool {
        self.worker().is_some_and(WorkerProcess::accepts_tasks)
    }

    /// Notes that the worker takes tasks from now on.
    pub(super) fn note_ready(&mut self) {
        let Some(worker) = self.worker_mut() else {
            return;
        };
        worker.stage = Stage::Ready;
        worker.deadline = None;
        worker.ready_since = Some(Instant::now());
        let generation = worker.generation;
        self.died_before_ready = false;
        self.ready_generation = Some(generation);
    }

    /// Leaves the slot without a worker, and without one to come.
    pub(super) fn empty(&mut self) {
        self.state = SlotState::Empty;
        self.ready_generation = None;
    }

    /// Returns when something has to be done here even if the worker sends nothing.
    pub(super) fn next_due(&self) -> Option<Instant> {
        match &self.state {
            SlotState::Empty => None,
            SlotState::Occupied(worker) => [worker.deadline, worker.retire_at]
                .into_iter()
                .flatten()
                .min(),
            SlotState::BackingOff { until } => Some(*until),
        }
    }
}

impl WorkerProcess {
    /// Returns the state of a process that was just started, and has to be ready by `deadline`.
    pub(super) const fn new(
        link: Link,
        process: ChildProcess,
        deadline: Instant,
        previous_start: u64,
    ) -> Self {
        Self {
            link,
            process,
            output: Vec::new(),
            stage: Stage::Starting,
            deadline: Some(deadline),
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
            previous_start,
            ready_since: None,
            generation: 0,
        }
    }

    /// Returns whether it has not become a worker, and will not: it has started a pool, or closed its link without
    /// identifying itself.
    pub(super) fn never_became_worker(&self) -> bool {
        let is_silent = !self.is_link_open || !self.process.has_running();
        self.stage == Stage::Starting && (self.starts_pool || is_silent)
    }

    /// Returns whether it takes tasks, and goes on doing so.
    pub(super) fn accepts_tasks(&self) -> bool {
        let ends = self.is_being_ended || self.process.only_wrapper_runs();
        self.stage == Stage::Ready && self.leave_reason.is_none() && !ends
    }

    /// Returns whether no other worker takes its place when it has ended.
    pub(super) fn is_not_replaced(&self) -> bool {
        matches!(
            self.leave_reason,
            Some(LeaveReason::Idle | LeaveReason::Surplus)
        )
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends a message. Never waits (SUPERVISE-2): if the link has no room, the worker does not read, or has ended.
    pub(super) fn send(&self, message: FromParent) {
        let _ = self.link.try_send(&message.encode());
    }

    /// Records its process id: `pid` in its own namespace, and, from the kernel, `sender` in the namespace of this
    /// process.
    pub(super) fn set_process_id(&mut self, pid: u32, sender: Option<u32>) {
        self.pid_in_namespace = Some(pid);
        if let Some(sender) = sender {
            let link = &self.link;
            // While its side of the link is open it has not ended, so the id still refers to it.
            self.process
                .set_worker(sender, || link.has_hung_up().is_ok_and(|ended| !ended));
        }
    }

    /// Returns whether it has ended, according to the kernel. A process that has ended without identifying itself may
    /// be a wrapper, as long as another process has its side of the link.
    pub(super) fn has_ended(&mut self) -> bool {
        let may_be_wrapper = self.stage == Stage::Starting
            && !self.is_being_ended
            && self.link.has_hung_up().is_ok_and(|has| !has);
        self.process.update_exits(may_be_wrapper)
    }

    /// Kills it, its group, and all its descendants. The supervisor notices its death as any other. Returns whether
    /// the kill has to be counted: it was not counted before.
    ///
    /// A parent that has given up its privileges may have no permission to signal a worker. So it also asks the
    /// worker over the link: the worker's watcher thread then kills the group, whatever the task does. A stopped
    /// worker reacts to neither; the supervisor notices that at the deadline.
    pub(super) fn kill(&mut self) -> bool {
        self.is_being_ended = true;
        self.deadline = Some(clock::after(Instant::now(), KILL_TIMEOUT));
        self.retire_at = None;
        let descendants = self.process.kill_tree();
        if subreaper::is_reaper() {
            self.strays.extend(descendants);
        }
        self.send(FromParent::EndGroup);
        !core::mem::replace(&mut self.is_counted_as_killed, true)
    }
}
