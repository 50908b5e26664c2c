//! What becomes of tasks while no worker can be had.
//!
//! | state    | means                                                     | leaves it                                         |
//! |----------|-----------------------------------------------------------|---------------------------------------------------|
//! | served   | a worker takes tasks, or one may soon                     | no worker takes tasks, and the budget of every slot is used up: out |
//! | out      | submissions are refused, and what is queued has its outcome, both with the cause | a worker is ready: served  |
//!
//! The budget of a slot is [`Builder::max_worker_failures`](super::Builder::max_worker_failures): attempts in a row that
//! failed. An attempt fails if no process can be started, or if the process ends before it is ready, or before it has begun
//! a task although tasks wait. It succeeds with the first task, or if a process that was ready ends while none waits. An
//! immortal worker (see the slot) uses up the budget of its slot until it ends.
//!
//! OUTAGE-1. Slots are tried again during an outage as before it, with their back-off: the pool recovers by itself.
//! OUTAGE-2. Only a task that this process has in hand gets its outcome here: one that it received itself from the tasks
//!           queue, or that waits to be tried again. What a worker has leased is judged by its death, as always. So no
//!           task runs that was reported as not run.
//! OUTAGE-3. A task may be sent by a thread that was accepted just before the outage began. So the queue is looked at
//!           every [`LOOK_AGAIN`] as long as anything is in flight.

use super::log;
use super::slot::{SlotState, Stage, WorkerProcess, WorkerSlot};
use super::supervisor::{Outage, Phase, Supervisor};
use crate::error::{StartError, TryRecvError, ending};
use crate::os::clock;
use crate::pool::outcome::TaskError;
use crate::pool::task::Task;
use crate::pool::wire::task_message::Envelope;
use crate::pool::wire::ticket::Ticket;
use core::time::Duration;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

/// How often the tasks queue is looked at during an outage (OUTAGE-3).
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A worker that has been ready for this long has not failed to come, whatever ends it.
const STEADY: Duration = Duration::from_secs(10);

/// What a process that has ended was good for.
pub(crate) struct EndedWorker {
    pub(crate) stage: Stage,
    pub(crate) is_being_ended: bool,
    pub(crate) start_failure: Option<String>,
    pub(crate) status: Option<ExitStatus>,
    /// Whether it has begun a task.
    pub(crate) has_started_task: bool,
    pub(crate) ready_since: Option<Instant>,
}

impl EndedWorker {
    /// Why no task was run.
    fn failure(self) -> String {
        let status = self.status;
        match self.start_failure {
            // Found by this process.
            Some(what) if self.is_being_ended => what,
            Some(what) => StartError::Unfit { what }.to_string(),
            None if self.is_being_ended && self.stage < Stage::Ready => {
                StartError::TimedOut.to_string()
            }
            None if self.stage == Stage::Starting
                && status.is_none_or(|status| status.code().is_some()) =>
            {
                StartError::NoHandshake { status }.to_string()
            }
            None => format!(
                "a worker died before it had begun a task ({})",
                ending(status)
            ),
        }
    }

    fn was_steady(&self) -> bool {
        self.ready_since
            .is_some_and(|since| since.elapsed() >= STEADY)
    }
}

impl<T: Task> Supervisor<T> {
    /// Counts a process that has ended as a success or a failure of its slot.
    pub(crate) fn record_end(&mut self, index: usize, service: EndedWorker) {
        let was_idle = service.stage >= Stage::Ready && self.launcher.shared.tasks.is_empty();
        if service.has_started_task || was_idle || service.was_steady() {
            if let Some(slot) = self.slots.get_mut(index) {
                slot.consecutive_failures = 0;
            }
        } else {
            self.record_failure(index, service.failure());
        }
    }

    /// Counts an attempt of a slot that has failed.
    pub(crate) fn record_failure(&mut self, index: usize, cause: String) {
        if let Some(slot) = self.slots.get_mut(index) {
            slot.consecutive_failures = slot.consecutive_failures.saturating_add(1);
        }
        self.outage.cause = Some(cause);
    }

    /// Declares an outage, keeps it, or ends it.
    pub(crate) fn update_outage(&mut self, now: Instant) {
        let is_cause_known = self.outage.cause.is_some();
        if self.phase != Phase::Running || !is_cause_known {
            self.outage.next_look = None;
            return;
        }
        if !self.outage.is_declared {
            if self.is_exhausted() {
                self.declare_outage();
                self.fail_queued_tasks(now);
            }
        } else if self.slots.iter().any(takes_tasks) {
            self.outage = Outage::default();
            self.launcher.shared.results.set_outage(None);
            log::outage_ended();
        } else if self.outage.next_look.is_none_or(|due| due <= now) {
            self.fail_queued_tasks(now);
        }
    }

    fn is_exhausted(&self) -> bool {
        let max = self.settings().max_worker_failures;
        let is_used_up = |slot: &WorkerSlot| match &slot.state {
            SlotState::Empty => true,
            SlotState::Occupied(worker) => {
                worker.survived_kill
                    || slot.consecutive_failures >= max && worker.stage < Stage::Ready
            }
            SlotState::BackingOff { .. } => slot.consecutive_failures >= max,
        };
        self.slots.iter().all(is_used_up)
    }

    fn declare_outage(&mut self) {
        let cause = self.outage.cause.as_deref().unwrap_or_default();
        log::outage(cause);
        self.outage.is_declared = true;
        let cause = Some(Arc::from(cause));
        self.launcher.shared.results.set_outage(cause);
    }

    /// OUTAGE-2.
    fn fail_queued_tasks(&mut self, now: Instant) {
        let mut tickets: Vec<Ticket> = self.take_retries();
        loop {
            match self.launcher.to_do.try_lease_undecoded() {
                Ok(lease) => {
                    match Envelope::<T>::from_dead_letter(&lease) {
                        Ok(tasks) => tickets.extend(tasks.iter().map(|task| task.ticket)),
                        Err(error) => log::unreadable_task(&error.cause().to_string()),
                    }
                    lease.ack();
                }
                Err(TryRecvError::Decode(_)) => {}
                Err(_) => break,
            }
        }
        let why = self.outage.cause.clone().unwrap_or_default();
        let in_flight = self.launcher.shared.results.change(|state| {
            for ticket in tickets {
                let known = state.flight(ticket.id).map(|flight| *flight);
                let Some(flight) = known.filter(|flight| flight.ticket == ticket) else {
                    continue;
                };
                let error = if flight.timed_out {
                    TaskError::TimedOut
                } else if flight.cancelled {
                    TaskError::Cancelled
                } else {
                    TaskError::NoWorkers { why: why.clone() }
                };
                state.record_outcome(ticket.id, flight.crashes, Err(error));
            }
            state.in_flight()
        });
        self.outage.next_look = (in_flight > 0).then(|| clock::after(now, LOOK_AGAIN));
    }
}

fn takes_tasks(slot: &WorkerSlot) -> bool {
    slot.worker().is_some_and(WorkerProcess::accepts_tasks)
}
