//! A running pool, whatever its tasks: what its callers and their handles share with the supervisor, and its end.

use super::handle::TaskHandle;
use super::report::Report;
#[cfg(feature = "async")]
use super::results::{Awaited, Registration};
use super::results::{NextUnclaimed, OwnLimits, Owner, TaskTable, WaitError};
use super::shared::Shared;
use super::shutdown::{Shutdown, ShutdownState};
use crate::error::{ShutdownError, SubmitError, TrySubmitError};
use crate::pool::outcome::{Outcome, TaskId};
use crate::pool::task::Task;
use crate::pool::wire::panics::catch_panic_message;
use crate::pool::wire::result_message::EncodedOutcome;
use crate::pool::wire::task_message::{Envelope, Payload, TaskKey};
use core::fmt;
#[cfg(feature = "async")]
use core::task::{Context, Poll};
use core::time::Duration;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

pub(super) struct RunningPool {
    shared: Arc<Shared>,
    shutdown: Arc<ShutdownState>,
    made_at: &'static Location<'static>,
}

impl RunningPool {
    pub(super) fn new(
        shared: Arc<Shared>,
        shutdown: ShutdownState,
        made_at: &'static Location<'static>,
    ) -> Self {
        Self {
            shared,
            shutdown: Arc::new(shutdown),
            made_at,
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns what a thread needs that shuts the pool down.
    #[cfg(feature = "async")]
    pub(super) fn parts(&self) -> (Arc<Shared>, Arc<ShutdownState>) {
        (Arc::clone(&self.shared), Arc::clone(&self.shutdown))
    }

    /// Submits a task. Blocks while the pool is at capacity.
    pub(super) fn submit<T: Task>(
        &self,
        task: T,
        key: TaskKey,
    ) -> Result<TaskHandle<T>, SubmitError<T>> {
        match self.reserve_and_send(task, key, true) {
            Ok(handle) => Ok(handle),
            Err(TrySubmitError::Refused(error)) => Err(error),
            // Not returned, since there is no deadline.
            Err(TrySubmitError::Full(task)) => Err(SubmitError::Closed(task)),
        }
    }

    /// Submits a task if that is possible without waiting for other tasks.
    pub(super) fn try_submit<T: Task>(
        &self,
        task: T,
        key: TaskKey,
    ) -> Result<TaskHandle<T>, TrySubmitError<T>> {
        self.reserve_and_send(task, key, false)
    }

    #[inline]
    fn reserve_and_send<T: Task>(
        &self,
        task: T,
        key: TaskKey,
        waits: bool,
    ) -> Result<TaskHandle<T>, TrySubmitError<T>> {
        let shared = &self.shared;
        let forked = |task| Err(TrySubmitError::Refused(SubmitError::Forked(task)));
        if !shared.owner.is_current() {
            return forked(task);
        }
        // The program's code: called before anything is reserved.
        let own = OwnLimits::of(&task);
        let deadline = (!waits).then(Instant::now);
        let reserved = shared.results.reserve(Owner::Handle(key), own, deadline);
        let attempt = match reserved {
            Ok(attempt) => attempt,
            // `time_limit` has forked, and this is the child.
            Err(_) if !shared.owner.is_current() => return forked(task),
            Err(error) => return Err(TrySubmitError::from(error).map(|()| task)),
        };
        let envelope = Envelope {
            attempt,
            key,
            payload: Payload::Task(task),
        };
        let sent = shared.send(envelope, waits)?;
        let handle = TaskHandle::new(Arc::clone(shared), attempt.id, key);
        // If the task's `Drop` panics, the handle is dropped as well, and the outcome goes to `drain`.
        drop(sent);
        Ok(handle)
    }

    pub(super) fn unclaimed(&self) -> Unclaimed<'_> {
        Unclaimed {
            pool: self,
            has_reported_fork: false,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        let results = &self.shared.results;
        if !results.is_in_owner() {
            return 0;
        }
        results.with(|tasks| tasks.in_flight())
    }

    pub(super) fn shut_down(
        &self,
        how: Shutdown,
        timeout: Duration,
    ) -> Result<Report, ShutdownError> {
        if !self.shared.owner.is_current() {
            return Err(ShutdownError::Forked);
        }
        Ok(self.shutdown.shut_down(&self.shared, how, timeout))
    }

    pub(super) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("made_at", &self.made_at)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Drop for RunningPool {
    fn drop(&mut self) {
        if !self.shared.owner.is_current() || self.shutdown.is_over() {
            return;
        }
        let report = self
            .shutdown
            .shut_down(&self.shared, Shutdown::Cancel, Duration::ZERO);
        // If the subscriber panics, this does not.
        let _ = catch_panic_message(|| warn_of_drop(self.made_at, &report));
    }
}

#[cfg(feature = "tracing")]
fn warn_of_drop(made_at: &Location<'_>, report: &Report) {
    tracing::warn!(
        target: "workring",
        made_at = %made_at,
        report = %report,
        "a pool was dropped without `shutdown`: its tasks in flight were cancelled"
    );
}

#[cfg(not(feature = "tracing"))]
fn warn_of_drop(_: &Location<'_>, _: &Report) {}

/// Returns the next unclaimed outcome, or that there will be none. `None`: it has not arrived yet.
fn take_unclaimed(tasks: &mut TaskTable) -> Option<NextUnclaimed> {
    match tasks.take_unclaimed() {
        NextUnclaimed::Pending => None,
        next => Some(next),
    }
}

impl NextUnclaimed {
    fn outcome(self) -> Option<(TaskKey, EncodedOutcome)> {
        match self {
            Self::Outcome(key, outcome) => Some((key, outcome)),
            Self::Pending | Self::None => None,
        }
    }
}

/// Claims the outcomes of tasks whose handles were dropped, as they arrive.
pub(super) struct Unclaimed<'a> {
    pool: &'a RunningPool,
    /// Whether the outcome was returned that stands for all tasks in a forked child.
    has_reported_fork: bool,
}

impl<'a> Unclaimed<'a> {
    pub(super) const fn shared(&self) -> &'a Arc<Shared> {
        &self.pool.shared
    }

    pub(super) fn in_flight(&self) -> usize {
        self.pool.in_flight()
    }

    /// Waits for the next outcome. Returns `None` if no such task is in flight.
    pub(super) fn next(&mut self) -> Option<(TaskKey, EncodedOutcome)> {
        let results = &self.pool.shared.results;
        let next = || results.wait_until(None, take_unclaimed);
        match next() {
            Ok(next) => next.outcome(),
            // Each task in flight gets an outcome with this reason.
            Err(WaitError::Unknown(what)) if results.is_in_owner() => {
                results.fail_unknown(what);
                next().ok()?.outcome()
            }
            Err(WaitError::Unknown(what)) => self.report_fork(what),
            Err(WaitError::Ended | WaitError::TimedOut) => None,
        }
    }

    /// Looks for the next outcome, without waiting: see [`next`](Self::next).
    #[cfg(feature = "async")]
    pub(super) fn poll_next(
        &mut self,
        registration: &mut Option<Registration>,
        context: &Context<'_>,
    ) -> Poll<Option<(TaskKey, EncodedOutcome)>> {
        let results = &self.pool.shared.results;
        let next = core::task::ready!(results.poll_until(
            registration,
            Awaited::Change,
            context,
            take_unclaimed
        ));
        Poll::Ready(match next {
            Ok(next) => next.outcome(),
            Err(WaitError::Unknown(_)) if results.is_in_owner() => self.next(),
            Err(WaitError::Unknown(what)) => self.report_fork(what),
            Err(WaitError::Ended | WaitError::TimedOut) => None,
        })
    }

    #[cold]
    fn report_fork(&mut self, what: &'static str) -> Option<(TaskKey, EncodedOutcome)> {
        let is_first = !core::mem::replace(&mut self.has_reported_fork, true);
        is_first.then(|| (TaskKey::NONE, Outcome::unknown(TaskId::NONE, what)))
    }
}
