//! What becomes of tasks while no worker can be started.
//!
//! | state  | meaning                                                 | leaves it                                     |
//! |--------|---------------------------------------------------------|-----------------------------------------------|
//! | served | a worker takes tasks, or may soon                       | all slots have used up their attempts: outage |
//! | outage | tasks are refused, and queued ones fail, with the cause | a worker is ready: served                     |
//!
//! A slot has [`Builder::max_worker_failures`](crate::pool::Builder::max_worker_failures) attempts in a row to get a
//! worker. An attempt fails if no process can be started, or if the process ends before it is ready, or before it has
//! started a task although tasks are queued. It succeeds with the first task, or if a process that was ready ends
//! while no task is queued. A worker that has survived its kill uses up the attempts of its slot until it ends.
//!
//! OUTAGE-1. During an outage, slots are filled as before, with their back-off, so the pool recovers by itself.
//! OUTAGE-2. An outage records outcomes only for tasks that this process holds: tasks that it has received itself
//!     from the queue, and tasks that it holds back for their retry, or that are due. What a worker has leased is settled when the worker dies,
//!     as always. So no task runs whose outcome says that it was not run.
//! OUTAGE-3. A thread whose task was accepted right before the outage may send it later. So the queue is read every
//!     [`LOOK_INTERVAL`] while tasks are in flight.

use super::log;
use super::slot::{DeadWorker, SlotState, Stage, WorkerProcess, WorkerSlot};
use super::supervisor::{Outage, Phase, Supervisor};
use crate::error::{StartError, TryRecvError, ending};
use crate::os::clock;
use crate::pool::outcome::TaskError;
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::{EncodedTask, EncodedTaskCodec};
use crate::queue::Receiver;
use core::time::Duration;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

/// How often the queue of tasks is read during an outage (OUTAGE-3).
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// If a worker has been ready for this long, its attempt has not failed, whatever ends it.
const STEADY_TIME: Duration = Duration::from_secs(10);

impl Supervisor {
    /// Counts a worker that has ended as a success or a failure of its slot.
    pub(super) fn record_end(&mut self, index: usize, worker: &WorkerProcess, death: &DeadWorker) {
        let was_idle = worker.stage >= Stage::Ready && !self.is_task_queued();
        let ready_since = worker.ready_since;
        let was_steady = ready_since.is_some_and(|since| since.elapsed() >= STEADY_TIME);
        if death.has_started_task || was_idle || was_steady {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.consecutive_failures = 0;
            }
        } else {
            self.record_failure(index, reason_of_failure(worker, death.status));
        }
    }

    /// Counts a failed attempt of a slot.
    pub(super) fn record_failure(&mut self, index: usize, cause: String) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.consecutive_failures = slot.consecutive_failures.saturating_add(1);
        }
        self.outage.cause = Some(cause);
    }

    /// Declares, continues or ends an outage.
    pub(super) fn update_outage(&mut self, now: Instant) {
        let is_cause_known = self.outage.cause.is_some();
        if self.phase != Phase::Running || !is_cause_known {
            self.outage.look_at = None;
            return;
        }
        if !self.outage.is_declared {
            if self.slots.iter().all(|slot| self.is_used_up(slot)) {
                self.declare_outage();
                self.fail_queued_tasks(now);
            }
        } else if self.slots.iter().any(WorkerSlot::takes_tasks) {
            self.outage = Outage::default();
            self.results().set_outage(None);
            log::outage_ended();
        } else if self.outage.look_at.is_none_or(|due| due <= now) {
            self.fail_queued_tasks(now);
        }
    }

    /// Returns whether a slot has no worker that takes tasks, and has used up its attempts to get one.
    fn is_used_up(&self, slot: &WorkerSlot) -> bool {
        let has_failed = slot.consecutive_failures >= self.settings().max_worker_failures;
        match &slot.state {
            SlotState::Empty => true,
            SlotState::Occupied(worker) => {
                worker.survived_kill || has_failed && worker.stage < Stage::Ready
            }
            SlotState::BackingOff { .. } => has_failed,
        }
    }

    fn declare_outage(&mut self) {
        let cause = self.outage.cause.as_deref().unwrap_or_default();
        log::outage(cause);
        let cause = Some(Arc::from(cause));
        self.outage.is_declared = true;
        self.results().set_outage(cause);
    }

    /// Records outcomes for the tasks that are queued or held back for their retry (OUTAGE-2).
    fn fail_queued_tasks(&mut self, now: Instant) {
        let mut attempts = self.take_held(now);
        for (_, tasks) in self.launcher.tasks.iter() {
            take_queued(tasks, &mut attempts);
        }
        let why = self.outage.cause.clone().unwrap_or_default();
        let in_flight = self.results().change(|tasks| {
            for attempt in attempts {
                let known = tasks.get_mut(attempt.id).map(|task| *task);
                let Some(task) = known.filter(|task| task.attempt == attempt) else {
                    continue;
                };
                let error = if task.timed_out {
                    TaskError::TimedOut
                } else if task.cancelled {
                    TaskError::Cancelled
                } else {
                    TaskError::NoWorkers { why: why.clone() }
                };
                tasks.record_outcome(attempt.id, task.crashes, Err(error));
            }
            tasks.in_flight()
        });
        self.outage.look_at = (in_flight > 0).then(|| clock::after(now, LOOK_INTERVAL));
    }
}

/// Takes all tasks out of a queue.
fn take_queued(tasks: &Receiver<EncodedTask, EncodedTaskCodec>, attempts: &mut Vec<TaskAttempt>) {
    loop {
        match tasks.try_lease_undecoded() {
            Ok(lease) => {
                match EncodedTask::all_of(&lease) {
                    Ok(tasks) => attempts.extend(tasks.iter().map(|task| task.attempt)),
                    Err(error) => log::unreadable_task(&error.cause().to_string()),
                }
                lease.ack();
            }
            Err(TryRecvError::Decode(_)) => {}
            Err(_) => return,
        }
    }
}

/// Returns why a worker has run no task.
fn reason_of_failure(worker: &WorkerProcess, status: Option<ExitStatus>) -> String {
    let has_exited = status.is_none_or(|status| status.code().is_some());
    match &worker.start_failure {
        // This process has found it, and ended the worker.
        Some(what) if worker.is_being_ended => what.clone(),
        Some(what) => StartError::Unfit { what: what.clone() }.to_string(),
        None if worker.is_being_ended && worker.stage < Stage::Ready => {
            StartError::TimedOut.to_string()
        }
        None if worker.stage == Stage::Starting && has_exited => {
            StartError::NoHandshake { status }.to_string()
        }
        None => format!(
            "a worker died before it had started a task ({})",
            ending(status)
        ),
    }
}
