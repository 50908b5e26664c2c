//! Holding a task back until it is due.

use super::commands::{Command, HeldTask};
use super::dispatch::ReservedAttempts;
use super::shared::{Shared, TaskSender};
use super::when::When;
use crate::error::{SubmitError, TrySubmitError};
use crate::pool::priority::Priority;
use crate::pool::task::Task;
use crate::pool::wire::task_message::{EncodedTask, Envelope};
use std::time::Instant;

impl Shared {
    /// Sends a task that has a reservation to the queue of its priority, or holds it back until it is due. Otherwise as
    /// [`send`](Self::send).
    #[cold]
    pub(super) fn send_when<T: Task>(
        &self,
        when: When,
        envelope: Envelope<T>,
        waits: bool,
    ) -> Result<Envelope<T>, TrySubmitError<T>> {
        match when.due() {
            Some(due) => self.hold_until(due, when.priority, envelope),
            None => self.send(self.queue_of(when.priority), envelope, waits),
        }
    }

    /// Returns the queue for tasks of a priority. Whether the pool has priorities is checked before a task is reserved.
    pub(super) fn queue_of(&self, priority: Priority) -> &TaskSender {
        self.tasks.of(priority).unwrap_or(&self.tasks.normal)
    }

    /// Lets the supervisor hold a task back that has a reservation, and returns its envelope. If the task can't be encoded,
    /// withdraws the reservation and returns the task with the reason.
    pub(super) fn hold_until<T: Task>(
        &self,
        due: Instant,
        priority: Priority,
        envelope: Envelope<T>,
    ) -> Result<Envelope<T>, TrySubmitError<T>> {
        let attempt = envelope.attempt;
        // Withdraws the reservation if the task's `Serialize` panics.
        let reserved = ReservedAttempts::new(&self.results, attempt, 1);
        let encoded = EncodedTask::encode(&envelope);
        let error = if self.owner.is_current() {
            match encoded {
                Ok((task, len)) if len <= self.settings.max_message_len => {
                    reserved.mark_all_sent();
                    self.results.with(|tasks| {
                        if let Some(task) = tasks.get_mut(attempt.id) {
                            task.is_held = true;
                        }
                    });
                    self.commands.send(Command::Hold(HeldTask {
                        due,
                        priority,
                        task,
                        is_retry: false,
                    }));
                    return Ok(envelope);
                }
                Ok((_, len)) => SubmitError::TooLarge {
                    task: (),
                    len,
                    max: self.settings.max_message_len,
                },
                Err(source) => SubmitError::Encode { task: (), source },
            }
        } else {
            // `Serialize` has forked.
            SubmitError::Forked(())
        };
        reserved.refuse(envelope, TrySubmitError::Refused(error))
    }
}
