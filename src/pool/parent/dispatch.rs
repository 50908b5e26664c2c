//! Dispatch of tasks: sending them, with the ids that were reserved for them, to the workers.

use super::results::{AttemptRange, ReserveError, Results, TaskSpan, are_spans_wanted};
use super::shared::{Shared, TaskSender};
use crate::codec::EncodeError;
use crate::error::{SendTimeoutError, SubmitError, TrySendError, TrySubmitError, with_causes};
use crate::pool::outcome::TaskError;
use crate::pool::task::Task;
use crate::pool::wire::panics::catch_panic_message;
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::{Envelope, TaskCodec};
use core::any::type_name;
use core::time::Duration;

/// How long a sender waits for memory before it receives results again, since workers may be waiting for memory, too.
pub(super) const MEMORY_WAIT: Duration = Duration::from_millis(5);

impl Shared {
    /// Opens the spans of tasks that are reserved and not sent yet, in the span that this thread is in, if a subscriber may
    /// want them. Calls the subscriber; the caller holds no lock.
    #[inline]
    pub(super) fn open_spans<T: Task>(&self, tasks: AttemptRange) {
        if are_spans_wanted() {
            self.open_spans_named(type_name::<T>(), tasks);
        }
    }

    #[cold]
    fn open_spans_named(&self, name: &'static str, tasks: AttemptRange) {
        for id in (0..tasks.count).map(|n| tasks.first.nth(n).id) {
            // The subscriber may fork: then this is the child.
            if let Some(span) = TaskSpan::new(id, name)
                && self.owner.is_current()
            {
                let left = self.results.with(|tasks| tasks.open_span(id, span));
                left.into_iter().for_each(TaskSpan::release);
            }
        }
    }

    /// Sends an envelope whose task has a reservation to this queue, and returns it. If it can't be sent, withdraws the reservation
    /// and returns the task with the reason.
    pub(super) fn send<T: Task>(
        &self,
        queue: &TaskSender,
        envelope: Envelope<T>,
        waits: bool,
    ) -> Result<Envelope<T>, TrySubmitError<T>> {
        // Withdraws the reservation if the task's `Serialize` panics.
        let reserved = ReservedAttempts::new(&self.results, envelope.attempt, 1);
        let error = match self.send_when_possible(queue, &envelope, waits) {
            Ok(()) => {
                reserved.mark_all_sent();
                return Ok(envelope);
            }
            Err(error) => error,
        };
        reserved.refuse(envelope, error)
    }

    /// Sends an envelope; if `waits`, as soon as there is memory for it. The queue always has room for it
    /// (RESULTS-3), but a large task may have to wait for a block.
    fn send_when_possible<T: Task>(
        &self,
        queue: &TaskSender,
        envelope: &Envelope<T>,
        waits: bool,
    ) -> Result<(), TrySubmitError<()>> {
        loop {
            match try_send(queue, envelope, None) {
                Err(TrySubmitError::Full(())) => {}
                other => return other,
            }
            // Workers free memory, and may themselves be waiting for memory for their results.
            self.results.poll();
            match try_send(queue, envelope, waits.then_some(MEMORY_WAIT)) {
                Err(TrySubmitError::Full(())) if waits => {}
                other => return other,
            }
        }
    }

    /// Sends an envelope of a map if that is possible at once, or within the time. A panic of the task's `Serialize` is
    /// reported as an error of encoding. If the queue is closed, the task counts as sent, and the end of the pool
    /// cancels it.
    #[inline]
    pub(super) fn try_send_caught<T: Task>(
        &self,
        envelope: &Envelope<T>,
        timeout: Option<Duration>,
    ) -> Result<(), TrySubmitError<()>> {
        match catch_panic_message(|| try_send(&self.tasks.normal, envelope, timeout)) {
            Ok(Err(TrySubmitError::Refused(SubmitError::Closed(())))) => Ok(()),
            Ok(sent) => sent,
            Err(message) => Err(TrySubmitError::Refused(SubmitError::Encode {
                task: (),
                source: EncodeError::failed(format!("it panicked: {message}")),
            })),
        }
    }

    /// Records the outcome of a map's task that can't be sent.
    #[cold]
    pub(super) fn record_unsendable(&self, attempt: TaskAttempt, error: &SubmitError<()>) {
        if !self.owner.is_current() {
            // `Serialize` has forked. The map notices that it runs in the child.
            return;
        }
        let error = match error {
            SubmitError::Corrupt { what, .. } => TaskError::Unknown { what },
            error => TaskError::Transport {
                what: with_causes(error),
            },
        };
        self.results
            .change(|tasks| tasks.record_outcome(attempt.id, 0, Err(error)));
    }
}

/// Sends an envelope if that is possible at once, or within the time.
#[inline]
pub(super) fn try_send<T: Task>(
    queue: &TaskSender,
    envelope: &Envelope<T>,
    timeout: Option<Duration>,
) -> Result<(), TrySubmitError<()>> {
    match timeout {
        None => {
            let sent = queue.try_send_ref::<_, TaskCodec>(envelope);
            sent.map_err(from_try_send)
        }
        Some(time) => {
            let sent = queue.send_ref_timeout::<_, TaskCodec>(envelope, time);
            sent.map_err(from_send_timeout)
        }
    }
}

/// The reservation of tasks that are not sent yet. Dropping it withdraws the reservation, even when the program's code
/// panics.
pub(super) struct ReservedAttempts<'a> {
    results: &'a Results,
    unsent: AttemptRange,
}

impl<'a> ReservedAttempts<'a> {
    pub(super) const fn new(results: &'a Results, first: TaskAttempt, count: usize) -> Self {
        Self {
            results,
            unsent: AttemptRange { first, count },
        }
    }

    pub(super) const fn unsent(&self) -> AttemptRange {
        self.unsent
    }

    /// Records that the first task is sent, or has its outcome.
    pub(super) const fn mark_first_sent(&mut self) {
        self.unsent.first = self.unsent.first.nth(1);
        self.unsent.count = self.unsent.count.saturating_sub(1);
    }

    /// Keeps the reservation, for a later attempt to send.
    #[cfg(feature = "async")]
    pub(super) fn keep(self) {
        self.mark_all_sent();
    }

    pub(super) fn mark_all_sent(mut self) {
        self.unsent.count = 0;
    }

    /// Withdraws the reservation of a single task, which can't be sent, and returns it with the error. If the pool has ended since
    /// the reservation, it has counted the task as accepted, and as cancelled: then it is returned as one that was sent.
    #[cold]
    pub(super) fn refuse<T: Task>(
        self,
        envelope: Envelope<T>,
        error: TrySubmitError<()>,
    ) -> Result<Envelope<T>, TrySubmitError<T>> {
        if !self.withdraw() {
            return Ok(envelope);
        }
        let task = envelope.into_task();
        Err(error.map(|()| task.expect("the envelope of a caller holds a task")))
    }

    /// Withdraws the reservation. Returns `false` if the pool has ended since, and all of the tasks have outcomes.
    pub(super) fn withdraw(mut self) -> bool {
        let unsent = self.unsent;
        self.unsent.count = 0;
        self.results.withdraw(unsent)
    }
}

impl Drop for ReservedAttempts<'_> {
    fn drop(&mut self) {
        if self.unsent.count > 0 && self.results.is_in_owner() {
            self.results.withdraw(self.unsent);
        }
    }
}

impl From<ReserveError> for TrySubmitError<()> {
    fn from(error: ReserveError) -> Self {
        Self::Refused(match error {
            ReserveError::Full => return Self::Full(()),
            ReserveError::Closed => SubmitError::Closed(()),
            ReserveError::NoWorkers(why) => SubmitError::NoWorkers {
                task: (),
                why: why.as_ref().to_owned(),
            },
            ReserveError::TooManyUnclaimed { max } => SubmitError::Unclaimed { task: (), max },
            ReserveError::Unknown(what) => SubmitError::Corrupt { task: (), what },
        })
    }
}

/// Defines the conversion of the error of one kind of send. Its variants `full` mean that a later attempt may succeed.
macro_rules! conversion {
    ($name:ident, $error:ident, full: $($full:ident)|+) => {
        fn $name(error: $error<()>) -> TrySubmitError<()> {
            TrySubmitError::Refused(match error {
                $($error::$full(()))|+ => return TrySubmitError::Full(()),
                $error::Closed(task) => SubmitError::Closed(task),
                $error::Forked(task) => SubmitError::Forked(task),
                $error::TooLarge { value: task, len, max } => {
                    SubmitError::TooLarge { task, len, max }
                }
                $error::NoMemory { value: task, limit, wanted, available } => {
                    SubmitError::NoMemory { task, limit, wanted, available }
                }
                $error::Encode { value: task, source } => SubmitError::Encode { task, source },
                $error::Corrupt { value: task, what } => SubmitError::Corrupt { task, what },
            })
        }
    };
}

conversion!(from_try_send, TrySendError, full: Full);
conversion!(from_send_timeout, SendTimeoutError, full: Timeout | Interrupted);
