//! Claiming outcomes that no handle waits for, as they arrive: those of the pool, or of one of its groups.

#[cfg(feature = "async")]
use super::results::{Awaited, Registration};
use super::results::{Home, NextUnclaimed, TaskTable, WaitError};
use super::shared::Shared;
use crate::pool::outcome::{Outcome, TaskId};
use crate::pool::wire::result_message::EncodedOutcome;
use crate::pool::wire::task_message::TaskKey;
#[cfg(feature = "async")]
use core::task::{Context, Poll};
use std::sync::Arc;
use std::time::Instant;

/// Claims the outcomes of tasks whose handles were dropped, as they arrive.
pub(super) struct Unclaimed<'a> {
    shared: &'a Arc<Shared>,
    home: Home,
    /// Whether it goes on while no such task is in flight, up to the end of the pool.
    until_shutdown: bool,
    /// Whether the last look has found that there is no outcome to wait for.
    is_over: bool,
    /// Whether the outcome was returned that stands for all tasks in a forked child.
    has_reported_fork: bool,
}

impl<'a> Unclaimed<'a> {
    pub(super) const fn new(shared: &'a Arc<Shared>, home: Home) -> Self {
        Self {
            shared,
            home,
            until_shutdown: false,
            is_over: false,
            has_reported_fork: false,
        }
    }

    /// Makes it go on while no such task is in flight, up to the end of the pool.
    pub(super) const fn until_shutdown(mut self) -> Self {
        self.until_shutdown = true;
        self
    }

    pub(super) const fn shared(&self) -> &'a Arc<Shared> {
        self.shared
    }

    pub(super) fn in_flight(&self) -> usize {
        self.shared.in_flight(self.home)
    }

    /// Returns whether the last look has found that there is no outcome to wait for.
    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Waits for the next outcome. Returns `None` if no such task is in flight, the pool has ended, or the deadline has passed.
    pub(super) fn next_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Option<(TaskKey, EncodedOutcome)> {
        let results = &self.shared.results;
        let (home, until_shutdown) = (self.home, self.until_shutdown);
        let next =
            |deadline| results.wait_until(deadline, |tasks| take(tasks, home, until_shutdown));
        let found = match next(deadline) {
            Err(WaitError::TimedOut) => {
                self.is_over = false;
                return None;
            }
            Ok(next) => next.outcome(),
            // Each task in flight gets an outcome with this reason.
            Err(WaitError::Unknown(what)) if results.is_in_owner() => {
                results.fail_unknown(what);
                next(None).ok().and_then(NextUnclaimed::outcome)
            }
            Err(WaitError::Unknown(what)) => self.report_fork(what),
            Err(WaitError::Ended) => None,
        };
        self.is_over = found.is_none();
        found
    }

    /// Looks for the next outcome, without waiting: see [`next`](Self::next).
    #[cfg(feature = "async")]
    pub(super) fn poll_next(
        &mut self,
        registration: &mut Option<Registration>,
        context: &Context<'_>,
    ) -> Poll<Option<(TaskKey, EncodedOutcome)>> {
        let results = &self.shared.results;
        let (home, until_shutdown) = (self.home, self.until_shutdown);
        let next = core::task::ready!(results.poll_until(
            registration,
            Awaited::Change,
            context,
            |tasks| take(tasks, home, until_shutdown)
        ));
        Poll::Ready(match next {
            Ok(next) => next.outcome(),
            Err(WaitError::Unknown(_)) if results.is_in_owner() => self.next_until(None),
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

/// Returns the next unclaimed outcome, or that there will be none. `None`: it has not arrived yet.
fn take(tasks: &mut TaskTable, home: Home, until_shutdown: bool) -> Option<NextUnclaimed> {
    match tasks.take_unclaimed(home) {
        NextUnclaimed::Pending => None,
        NextUnclaimed::None if until_shutdown => None,
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
