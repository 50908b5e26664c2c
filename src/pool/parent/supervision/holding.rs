//! Tasks that this process holds back until they are due: those that wait for their back-off before they are tried again,
//! and those that were submitted with a time before which they are not to begin.
//!
//! They are in flight, so their outcomes, the capacity and the books are those of any other task. What ends the state:
//!
//! | event                                         | then                                                           |
//! |-----------------------------------------------|----------------------------------------------------------------|
//! | the time has come                             | the task is sent to the queue of its priority                  |
//! | its handle, group or map cancels it           | its outcome is `Cancelled`                                     |
//! | the pool shuts down, and will end before then | its outcome is `Cancelled`                                     |
//! | an outage                                     | if it is a retry, or due, its outcome is `NoWorkers`           |
//!
//! HELD-1. `InFlight::is_held` is set as long as a task is here, or on the way here. So a caller who cancels a task knows
//!     whether to ask the supervisor to end it, and a cancelled task that is sent in that moment is cancelled by its worker.

use super::supervisor::Supervisor;
use crate::error::{TrySendError, with_causes};
use crate::os::clock;
use crate::pool::outcome::TaskError;
use crate::pool::parent::commands::HeldTask;
use crate::pool::priority::Priority;
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::EncodedTask;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

/// The pause before a send that was not possible is repeated.
const RETRY_DELAY: Duration = Duration::from_millis(10);

impl Supervisor {
    /// Holds a task back until it is due.
    pub(super) fn hold(&mut self, mut task: HeldTask) {
        if mutant!(NotBeforeIgnored) && !task.is_retry {
            task.due = Instant::now();
        }
        let id = task.task.attempt.id;
        let is_too_late = self.held.last.is_some_and(|last| task.due > last);
        let is_cancelled = self.results().with(|tasks| {
            let Some(task) = tasks.get_mut(id) else {
                return true;
            };
            task.is_held = true;
            task.cancelled
        });
        self.held.insert(task);
        if is_too_late || is_cancelled {
            let taken = self.held.take_if(|task| task.task.attempt.id == id);
            self.record_cancelled(&taken);
        }
    }

    /// Ends the tasks that are held back and cancelled.
    pub(super) fn withdraw_cancelled(&mut self) {
        if mutant!(HeldNotWithdrawn) {
            return;
        }
        let results = Arc::clone(&self.launcher.shared.results);
        let taken = results.with(|tasks| {
            let mut is_cancelled = |id| tasks.get_mut(id).is_none_or(|task| task.cancelled);
            self.held.take_if(|held| is_cancelled(held.task.attempt.id))
        });
        self.record_cancelled(&taken);
    }

    /// Cancels the tasks that are due later, and all those that will be held beyond this time.
    pub(super) fn withdraw_after(&mut self, last: Instant) {
        self.held.last = Some(last);
        let taken = self.held.take_if(|task| task.due > last);
        self.record_cancelled(&taken);
    }

    fn record_cancelled(&self, attempts: &[TaskAttempt]) {
        if attempts.is_empty() {
            return;
        }
        self.results().change(|tasks| {
            for attempt in attempts {
                let known = tasks.get_mut(attempt.id).map(|task| *task);
                if let Some(task) = known.filter(|task| task.attempt == *attempt) {
                    tasks.record_outcome(attempt.id, task.crashes, Err(TaskError::Cancelled));
                }
            }
        });
    }

    /// Sends the tasks that are due to the workers.
    pub(super) fn send_due_tasks(&mut self, now: Instant) {
        while let Some(held) = self.held.take_due(now) {
            self.results().with(|tasks| {
                if let Some(task) = tasks.get_mut(held.task.attempt.id) {
                    task.is_held = false;
                }
            });
            let tasks = &self.launcher.shared.tasks;
            let priority = if mutant!(RetryLosesPriority) {
                Priority::Normal
            } else {
                held.priority
            };
            let queue = tasks.of(priority).unwrap_or(&tasks.normal);
            match queue.try_send(held.task) {
                // It is queued now, and may exceed a limit, or need another worker.
                Ok(()) => self.inspect_soon(),
                // The pool is at its end, which cancels what is left.
                Err(TrySendError::Closed(_)) => {}
                Err(error @ (TrySendError::Full(_) | TrySendError::NoMemory { .. })) => {
                    self.hold(HeldTask {
                        due: clock::after(now, RETRY_DELAY),
                        task: error.into_inner(),
                        ..held
                    });
                }
                Err(error) => self.record_unsendable(error),
            }
        }
    }

    /// Takes the tasks that fail in an outage: retries, and those that are due (OUTAGE-2).
    pub(super) fn take_held(&mut self, now: Instant) -> Vec<TaskAttempt> {
        self.held.take_if(|task| task.is_retry || task.due <= now)
    }

    /// Records the outcome of a task that can't be sent.
    fn record_unsendable(&self, error: TrySendError<EncodedTask>) {
        let what = with_causes(&error);
        let id = error.into_inner().attempt.id;
        self.results().change(|tasks| {
            let crashes = tasks.get_mut(id).map_or(0, |task| task.crashes);
            tasks.record_outcome(id, crashes, Err(TaskError::Transport { what }));
        });
    }
}
