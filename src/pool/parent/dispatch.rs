//! Sending tasks to the workers.

use super::results::{Results, TicketRange};
use super::shared::Shared;
use crate::codec::EncodeError;
use crate::error::{SendTimeoutError, SubmitError, TrySendError, TrySubmitError, with_causes};
use crate::pool::outcome::TaskError;
use crate::pool::task::Task;
use crate::pool::wire::panics::catch_panic_message;
use crate::pool::wire::task_message::Envelope;
use crate::pool::wire::ticket::Ticket;
use core::time::Duration;

/// How long a submitter waits for memory before it makes room for results again.
pub(super) const MEMORY_WAIT: Duration = Duration::from_millis(5);

impl<T: Task> Shared<T> {
    /// The ticket is in the envelope, and reserved. Gives the task back with it if it can't be sent.
    pub(super) fn send(
        &self,
        envelope: Envelope<T>,
        waits: bool,
    ) -> Result<Envelope<T>, TrySubmitError<T>> {
        // Given back if the task's `Serialize` panics.
        let reserved = ReservedTickets::new(&self.results, envelope.ticket, 1);
        let unsent = match self.deliver(&envelope, waits) {
            Ok(()) => {
                reserved.mark_sent();
                return Ok(envelope);
            }
            Err(unsent) => unsent,
        };
        if !reserved.withdraw() {
            // The pool's end came in between, and has counted it: it was accepted, and is cancelled.
            return Ok(envelope);
        }
        let task = envelope.into_task();
        let task = task.expect("callers send tasks, not letters");
        Err(match unsent {
            Unsent::NotYet => TrySubmitError::Full(task),
            Unsent::Permanent(error) => TrySubmitError::Refused(error.map(|()| task)),
        })
    }

    /// Sends what there is room for (RESULTS-3 of the results), unless it is so large that there are fewer blocks for it.
    fn deliver(&self, envelope: &Envelope<T>, waits: bool) -> Result<(), Unsent> {
        loop {
            match self.offer(envelope, None) {
                Err(Unsent::NotYet) => {}
                other => return other,
            }
            // Its memory comes from workers, who may be waiting for memory for their results.
            self.results.poll();
            match self.offer(envelope, waits.then_some(MEMORY_WAIT)) {
                Err(Unsent::NotYet) if waits => {}
                other => return other,
            }
        }
    }

    /// Sends an envelope, if that is possible now or in a while.
    fn offer(&self, envelope: &Envelope<T>, timeout: Option<Duration>) -> Result<(), Unsent> {
        match timeout {
            None => unsent_now(self.tasks.try_send_ref(envelope)),
            Some(time) => unsent_in_time(self.tasks.send_ref_timeout(envelope, time)),
        }
    }

    /// As [`offer`](Shared::offer), for a map: a task whose `Serialize` panics is one that can't be encoded. What is closed
    /// counts as sent: the pool's end cancels it.
    pub(super) fn offer_caught(
        &self,
        envelope: &Envelope<T>,
        timeout: Option<Duration>,
    ) -> Result<(), Unsent> {
        match catch_panic_message(|| self.offer(envelope, timeout)) {
            Ok(Err(Unsent::Permanent(SubmitError::Closed(())))) => Ok(()),
            Ok(offered) => offered,
            Err(said) => Err(Unsent::Permanent(SubmitError::Encode {
                task: (),
                source: EncodeError::failed(format!("it panicked: {said}")),
            })),
        }
    }

    /// A task of a map that can't be sent at all has its outcome.
    #[cold]
    pub(super) fn cannot_send(&self, ticket: Ticket, error: &SubmitError<()>) {
        if !self.origin.is_current() {
            // `Serialize` has forked; the map finds that it is in the child.
            return;
        }
        let error = match error {
            SubmitError::Corrupt { what, .. } => TaskError::Unknown { what },
            error => TaskError::Transport {
                what: with_causes(error),
            },
        };
        self.results
            .change(|state| state.record_outcome(ticket.id, 0, Err(error)));
    }
}

/// Tickets of tasks that are about to be sent: given back unless they are, also when the user's code unwinds.
pub(super) struct ReservedTickets<'a> {
    results: &'a Results,
    range: TicketRange,
}

impl<'a> ReservedTickets<'a> {
    pub(super) const fn new(results: &'a Results, ticket: Ticket, count: usize) -> Self {
        Self {
            results,
            range: TicketRange { ticket, count },
        }
    }

    /// Those that are not sent yet.
    pub(super) const fn range(&self) -> TicketRange {
        self.range
    }

    /// The first one is sent, or has its outcome.
    pub(super) const fn mark_first_sent(&mut self) {
        self.range.ticket = self.range.ticket.nth(1);
        self.range.count = self.range.count.saturating_sub(1);
    }

    pub(super) fn mark_sent(mut self) {
        self.range.count = 0;
    }

    /// False: all of them have their outcomes, which the pool's end has filed.
    pub(super) fn withdraw(mut self) -> bool {
        let range = self.range;
        self.range.count = 0;
        self.results.withdraw(range)
    }
}

impl Drop for ReservedTickets<'_> {
    fn drop(&mut self) {
        if self.range.count > 0 && self.results.is_here() {
            self.results.withdraw(self.range);
        }
    }
}

/// Why an envelope was not sent.
pub(super) enum Unsent {
    NotYet,
    Permanent(SubmitError<()>),
}

macro_rules! unsent {
    ($name:ident, $error:ident: $($later:ident)|+) => {
        fn $name(sent: Result<(), $error<()>>) -> Result<(), Unsent> {
            let Err(error) = sent else {
                return Ok(());
            };
            Err(match error {
                $($error::$later(()))|+ => Unsent::NotYet,
                $error::Closed(task) => Unsent::Permanent(SubmitError::Closed(task)),
                $error::Forked(task) => Unsent::Permanent(SubmitError::Forked(task)),
                $error::TooLarge { value: task, len, max } => {
                    Unsent::Permanent(SubmitError::TooLarge { task, len, max })
                }
                $error::NoMemory { value: task, limit, wanted, available } => {
                    Unsent::Permanent(SubmitError::NoMemory { task, limit, wanted, available })
                }
                $error::Encode { value: task, source } => {
                    Unsent::Permanent(SubmitError::Encode { task, source })
                }
                $error::Corrupt { value: task, what } => {
                    Unsent::Permanent(SubmitError::Corrupt { task, what })
                }
            })
        }
    };
}

unsent!(unsent_now, TrySendError: Full);
unsent!(unsent_in_time, SendTimeoutError: Timeout | Interrupted);
