//! The parent's side, as its callers see it.

use super::builder::{Builder, Settings};
use super::context::BY_HANDLE;
use super::envelope::{Envelope, TaskCodec, Ticket};
use super::handle::TaskHandle;
use super::inbox::{Inbox, Loose, Refused, Vain};
use super::report::Report;
use super::shutdown::{Ending, Shutdown};
use super::supervisor::{Command, Orders};
use super::task::{OutcomeOf, Task, TaskId};
use crate::error::{SendTimeoutError, ShutdownError, SubmitError, TrySendError, TrySubmitError};
use crate::host::board::Board;
use crate::host::fork::Origin;
use crate::queue::Sender;
use core::fmt;
use core::time::Duration;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

/// How long a submitter waits for memory before it makes room for results again.
const PAUSE: Duration = Duration::from_millis(5);

/// What the callers, their handles and the supervisor share.
pub(super) struct Shared<T: Task> {
    pub(super) inbox: Inbox<T>,
    pub(super) tasks: Sender<Envelope<T>, TaskCodec>,
    pub(super) board: Board,
    pub(super) settings: Settings,
    pub(super) origin: Origin,
    pub(super) orders: Arc<Orders>,
}

impl<T: Task> Shared<T> {
    /// See [`TaskHandle::cancel`].
    pub(super) fn cancel(&self, id: TaskId) -> bool {
        let cancelled = self.inbox.with(|state| {
            let flight = state.flight(id)?;
            flight.cancelled = true;
            Some(())
        });
        if cancelled.is_some() {
            self.board.cancel(id.0, BY_HANDLE);
        }
        cancelled.is_some()
    }

    /// See [`TaskHandle::cancel_within`].
    pub(super) fn cancel_within(&self, id: TaskId, grace: Duration) -> bool {
        let is_cancelled = self.cancel(id);
        if is_cancelled && let Some(due) = Instant::now().checked_add(grace) {
            self.orders.give(Command::Kill { task: id, due });
        }
        is_cancelled
    }

    fn submit(
        &self,
        task: T,
        has_handle: bool,
        deadline: Option<Instant>,
    ) -> Result<TaskId, TrySubmitError<T>> {
        let refused = |error| Err(TrySubmitError::Refused(error));
        if !self.origin.is_here() {
            return refused(SubmitError::Forked(task));
        }
        match self.inbox.reserve(has_handle, deadline) {
            Ok(Ok(ticket)) => self.send(ticket, task),
            Ok(Err(Refused::Closed)) | Err(Vain::Ended) => refused(SubmitError::Closed(task)),
            Ok(Err(Refused::Unclaimed { max })) => refused(SubmitError::Unclaimed { task, max }),
            Ok(Err(Refused::Unknown(what))) | Err(Vain::Unknown(what)) => {
                refused(SubmitError::Corrupt { task, what })
            }
            Err(Vain::Deadline) => Err(TrySubmitError::Full(task)),
        }
    }

    /// Send a task for which there is room (I3 of the inbox), unless it is so large that there are fewer blocks for it.
    fn send(&self, ticket: Ticket, task: T) -> Result<TaskId, TrySubmitError<T>> {
        let id = ticket.id;
        let mut envelope = Envelope::new(ticket, task);
        let error = loop {
            envelope = match unsent_now(self.tasks.try_send(envelope)) {
                Ok(()) => return Ok(id),
                Err(Unsent::NotYet(envelope)) => envelope,
                Err(Unsent::Never(error)) => break error,
            };
            // Its memory comes from workers, who may be waiting for memory for their results.
            self.inbox.glance();
            envelope = match unsent_in_time(self.tasks.send_timeout(envelope, PAUSE)) {
                Ok(()) => return Ok(id),
                Err(Unsent::NotYet(envelope)) => envelope,
                Err(Unsent::Never(error)) => break error,
            };
        };
        if !self.inbox.withdraw(ticket) {
            // The pool's end came in between, and has counted it: it was accepted, and is cancelled.
            return Ok(id);
        }
        Err(TrySubmitError::Refused(error))
    }
}

/// Why a task was not sent.
enum Unsent<T> {
    NotYet(Envelope<T>),
    Never(SubmitError<T>),
}

macro_rules! unsent {
    ($name:ident, $error:ident: $($later:ident)|+) => {
        fn $name<T>(sent: Result<(), $error<Envelope<T>>>) -> Result<(), Unsent<T>> {
            let Err(error) = sent else {
                return Ok(());
            };
            if let $($error::$later(envelope))|+ = error {
                return Err(Unsent::NotYet(envelope));
            }
            Err(Unsent::Never(match error.map(task_of) {
                $error::Closed(task) => SubmitError::Closed(task),
                $error::Forked(task) => SubmitError::Forked(task),
                $error::TooLarge { value: task, len, max } => SubmitError::TooLarge { task, len, max },
                $error::NoMemory { value: task, limit, wanted, available } => {
                    SubmitError::NoMemory { task, limit, wanted, available }
                }
                $error::Encode { value: task, source } => SubmitError::Encode { task, source },
                $error::Corrupt { value: task, what } => SubmitError::Corrupt { task, what },
                $($error::$later(task))|+ => SubmitError::Corrupt { task, what: "it was neither sent nor refused" },
            }))
        }
    };
}

unsent!(unsent_now, TrySendError: Full);
unsent!(unsent_in_time, SendTimeoutError: Timeout | Interrupted);

/// What a caller has given.
fn task_of<T>(envelope: Envelope<T>) -> T {
    envelope
        .into_task()
        .expect("callers send tasks, not letters")
}

/// A pool of worker processes.
///
/// See [the module](super) for what it is and does. All methods take `&self`: threads may share a pool.
///
/// Dropping a pool that was not [shut down](Pool::shutdown) cancels what is left, ends the workers, those that don't obey
/// after [`Builder::grace`] by force, and logs a warning that names the place where the pool was made.
pub struct Pool<T: Task> {
    shared: Arc<Shared<T>>,
    ending: Ending,
    made_at: &'static Location<'static>,
}

impl<T: Task> Pool<T> {
    /// What the pool is made with. Nothing is started yet.
    pub fn builder() -> Builder<T> {
        Builder::new()
    }

    pub(super) fn new(
        shared: Arc<Shared<T>>,
        ending: Ending,
        made_at: &'static Location<'static>,
    ) -> Self {
        Self {
            shared,
            ending,
            made_at,
        }
    }

    /// Hand a task in. While as many are [in flight](Builder::capacity) as may be, wait, and meanwhile move results that
    /// arrive into this process's own memory: so whoever submits everything first and reads afterwards does not wait for
    /// ever.
    ///
    /// Keep the handle to wait for this very task, or drop it and take the outcome from [`drain`](Pool::drain).
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task: the pool is being shut down; too many outcomes were not claimed; the task is too
    /// large, or can't be encoded.
    pub fn submit(&self, task: T) -> Result<TaskHandle<T>, SubmitError<T>> {
        match self.shared.submit(task, true, None) {
            Ok(id) => Ok(TaskHandle::new(Arc::clone(&self.shared), id)),
            Err(TrySubmitError::Refused(error)) => Err(error),
            // It waits for ever.
            Err(TrySubmitError::Full(task)) => Err(SubmitError::Closed(task)),
        }
    }

    /// Hand a task in, if that needs no wait for others. Results that have arrived are moved into this process's memory.
    ///
    /// # Errors
    ///
    /// [`TrySubmitError`], with the task: as many are in flight as may be, or as for [`submit`](Pool::submit).
    pub fn try_submit(&self, task: T) -> Result<TaskHandle<T>, TrySubmitError<T>> {
        let id = self.shared.submit(task, true, Some(Instant::now()))?;
        Ok(TaskHandle::new(Arc::clone(&self.shared), id))
    }

    /// The outcomes of all tasks whose handles were dropped, in the order in which they arrive, waiting for each. Ends when
    /// no such task is in flight; those that are submitted meanwhile count, too. Several threads may drain: each outcome
    /// goes to one of them.
    ///
    /// After [`shutdown`](Pool::shutdown) it gives what nobody has claimed before.
    pub fn drain(&self) -> Drain<'_, T> {
        Drain { pool: self }
    }

    /// How many tasks were submitted and have no outcome yet, or one that has not been looked at.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.inbox.with(|state| state.in_flight())
    }

    /// End the pool, within bounds: refuse submissions; with [`Shutdown::Drain`], let what was submitted be done, for
    /// `timeout` at the most; cancel what is left; stop the workers, by `SIGTERM` and then by `SIGKILL` where they don't obey
    /// within [`Builder::grace`] each; file the results that have arrived. Every task has its outcome then, which can be
    /// claimed as before.
    ///
    /// May be called again, and by several threads at once: all get the same report. [`Shutdown::Cancel`], and an earlier end
    /// of the time, hurry those on that wait.
    ///
    /// # Errors
    ///
    /// [`ShutdownError::Forked`]: this is a forked child, and not its pool.
    pub fn shutdown(&self, how: Shutdown, timeout: Duration) -> Result<Report, ShutdownError> {
        if !self.shared.origin.is_here() {
            return Err(ShutdownError::Forked);
        }
        Ok(self.ending.shut_down(&self.shared, how, timeout))
    }
}

impl<T: Task> Drop for Pool<T> {
    fn drop(&mut self) {
        if !self.shared.origin.is_here() || self.ending.is_over() {
            return;
        }
        let report = self
            .ending
            .shut_down(&self.shared, Shutdown::Cancel, Duration::ZERO);
        warn_of_drop(self.made_at, &report);
    }
}

#[cfg(feature = "tracing")]
fn warn_of_drop(made_at: &Location<'_>, report: &Report) {
    tracing::warn!(
        target: "workring",
        made_at = %made_at,
        report = %report,
        "a pool was dropped without `shutdown`: what it had not done was cancelled"
    );
}

#[cfg(not(feature = "tracing"))]
fn warn_of_drop(_: &Location<'_>, _: &Report) {}

impl<T: Task> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("made_at", &self.made_at)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// Outcomes as they arrive. Made by [`Pool::drain`].
#[must_use = "iterators do nothing unless consumed"]
pub struct Drain<'a, T: Task> {
    pool: &'a Pool<T>,
}

impl<T: Task> Iterator for Drain<'_, T> {
    type Item = OutcomeOf<T>;

    fn next(&mut self) -> Option<OutcomeOf<T>> {
        let inbox = &self.pool.shared.inbox;
        let next = inbox.wait_until(None, |state| match state.take_loose() {
            Loose::Here(outcome) => Some(Some(outcome)),
            Loose::Never => Some(None),
            Loose::NotYet => None,
        });
        next.ok()?
    }
}

impl<T: Task> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(self.pool).finish()
    }
}
