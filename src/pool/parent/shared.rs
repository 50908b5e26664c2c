//! State that the callers of a pool, their handles and its supervisor share.

use super::commands::{Command, Commands};
#[cfg(feature = "metrics")]
use super::published_timings::PublishedTimings;
#[cfg(feature = "async")]
use super::results::{Awaited, Registration};
use super::results::{GroupId, Home, Results, StreamId, TaskTable, WaitError};
use super::settings::{Settings, WhenFull};
use super::staff::PublishedStaff;
use crate::error::JoinTimeout;
use crate::os::clock;
use crate::os::fork::OwnerProcess;
use crate::pool::context::CANCELLED_BY_HANDLE;
use crate::pool::outcome::TaskId;
use crate::pool::priority::Levels;
use crate::pool::task::{OutcomeOf, Task};
use crate::pool::wire::messages::Identity;
#[cfg(feature = "macros")]
use crate::pool::wire::messages::REGISTERED;
use crate::pool::wire::result_message::EncodedOutcome;
use crate::pool::wire::task_message::{EncodedTask, EncodedTaskCodec, TaskKey};
#[cfg(feature = "macros")]
use crate::pool::worker::registry::registered;
use crate::queue::Sender;
use crate::segment::board::Board;
#[cfg(feature = "async")]
use core::task::{Context, Poll};
use core::time::Duration;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

/// An end of a queue of tasks that tasks are sent to.
pub(super) type TaskSender = Sender<EncodedTask, EncodedTaskCodec>;

pub(super) struct Shared {
    /// What the workers must be.
    pub(super) identity: Identity,
    pub(super) results: Arc<Results>,
    /// Takes the tasks of callers, of any type, in the encoding of [`TaskCodec`](crate::pool::wire::task_message::TaskCodec).
    pub(super) tasks: Levels<TaskSender>,
    pub(super) board: Arc<Board>,
    /// The values from which workers build their states, in a file, if there are any.
    pub(super) states: Option<OwnedFd>,
    pub(super) settings: Settings,
    pub(super) owner: OwnerProcess,
    pub(super) commands: Arc<Commands>,
    pub(super) staff: PublishedStaff,
    #[cfg(feature = "metrics")]
    pub(super) published_timings: PublishedTimings,
}

impl Shared {
    /// Returns the name of a task: that of the registered one with this key, or the type of all tasks of the pool.
    pub(super) fn task_name(&self, key: TaskKey) -> Option<String> {
        #[cfg(feature = "macros")]
        if self.identity.task == REGISTERED {
            let name = registered().ok()?.name(key)?;
            return Some(name.to_owned());
        }
        #[cfg(not(feature = "macros"))]
        let _ = key;
        Some(self.identity.task.clone())
    }

    /// Returns how many tasks of the pool, or of a group, are in flight.
    pub(super) fn in_flight(&self, home: Home) -> usize {
        if !self.results.is_in_owner() {
            return 0;
        }
        self.results.with(|tasks| tasks.in_flight_of(home))
    }

    /// Waits until no task of the pool, or of a group, is in flight.
    pub(super) fn join(&self, home: Home, deadline: Option<Instant>) -> Result<(), JoinTimeout> {
        let results = &self.results;
        if self.settings.progress.when_full == WhenFull::Wait {
            results.stop_waiting_for_readers(home);
        }
        let waited = results.wait_until(deadline, |tasks| is_idle(tasks, home));
        self.joined(home, waited)
    }

    /// Looks whether a task of the pool, or of a group, is in flight, without waiting: see [`join`](Self::join).
    #[cfg(feature = "async")]
    pub(super) fn poll_join(
        &self,
        home: Home,
        registration: &mut Option<Registration>,
        context: &Context<'_>,
    ) -> Poll<()> {
        let results = &self.results;
        let is_first = registration.is_none();
        if is_first && self.settings.progress.when_full == WhenFull::Wait {
            results.stop_waiting_for_readers(home);
        }
        let look = |tasks: &mut TaskTable| is_idle(tasks, home);
        let waited = results.poll_until(registration, Awaited::Change, context, look);
        // Without a deadline it never fails.
        waited.map(|waited| {
            let _ = self.joined(home, waited);
        })
    }

    fn joined(&self, home: Home, waited: Result<(), WaitError>) -> Result<(), JoinTimeout> {
        let results = &self.results;
        match waited {
            Err(WaitError::TimedOut) => match self.in_flight(home) {
                // The last one has just ended.
                0 => Ok(()),
                in_flight => Err(JoinTimeout { in_flight }),
            },
            // Each task in flight gets an outcome with this reason.
            Err(WaitError::Unknown(what)) if results.is_in_owner() => {
                results.fail_unknown(what);
                Ok(())
            }
            Ok(()) | Err(WaitError::Ended | WaitError::Unknown(_)) => Ok(()),
        }
    }

    /// Cancels the tasks of a group that are in flight. Returns their number.
    pub(super) fn cancel_group(&self, group: GroupId) -> usize {
        let ids = self.results.with(|tasks| {
            let ids = tasks.cancel_group(group);
            for &id in &ids {
                self.cancel_on_board(tasks, id);
            }
            ids
        });
        self.withdraw_held(&ids);
        ids.len()
    }

    /// Lets the worker of a task know that the task is cancelled. Under the lock of the table: once the task has its outcome, its
    /// cell on the board may belong to another one, which may be cancelled, too.
    fn cancel_on_board(&self, tasks: &TaskTable, id: TaskId) {
        self.board.cancel(id.0, CANCELLED_BY_HANDLE);
        tasks.wake_emitter(id);
    }

    /// See [`TaskHandle::cancel`](crate::pool::TaskHandle::cancel).
    pub(super) fn cancel(&self, id: TaskId) -> bool {
        if !self.owner.is_current() {
            return false;
        }
        let is_held = self.results.with(|tasks| {
            let task = tasks.get_mut(id)?;
            task.cancelled = true;
            let is_held = task.is_held;
            self.cancel_on_board(tasks, id);
            Some(is_held)
        });
        if is_held == Some(true) {
            self.commands.send(Command::WithdrawCancelled);
        }
        is_held.is_some()
    }

    /// Ends those of these cancelled tasks that are held back (HELD-1).
    fn withdraw_held(&self, ids: &[TaskId]) {
        let is_held = |tasks: &mut TaskTable, id| tasks.get_mut(id).is_some_and(|it| it.is_held);
        let any = self
            .results
            .with(|tasks| ids.iter().any(|&id| is_held(tasks, id)));
        if any {
            self.commands.send(Command::WithdrawCancelled);
        }
    }

    /// See [`TaskHandle::cancel_within`](crate::pool::TaskHandle::cancel_within).
    pub(super) fn cancel_within(&self, id: TaskId, grace: Duration) -> bool {
        let is_cancelled = self.cancel(id);
        if is_cancelled {
            let due = clock::after(Instant::now(), grace);
            self.commands.send(Command::Kill { task: id, due });
        }
        is_cancelled
    }

    /// Decodes an outcome for the caller who has claimed it. Calls the program's `Deserialize`, so the caller must hold
    /// nothing of the pool (RESULTS-7).
    #[inline]
    pub(super) fn decode<T: Task>(&self, mut encoded: EncodedOutcome) -> OutcomeOf<T> {
        self.decode_in_place::<T>(&mut encoded)
    }

    /// Does the same where the outcome lies, since each move copies it. What is left there is of no use.
    #[inline]
    pub(super) fn decode_in_place<T: Task>(&self, encoded: &mut EncodedOutcome) -> OutcomeOf<T> {
        let has_output = encoded.result.is_ok();
        let outcome = encoded.decode::<T>();
        if has_output && outcome.result.is_err() {
            self.results.recount_undecodable();
        }
        outcome
    }

    /// Cancels the tasks of a map that was dropped, if it `has_tasks`, and discards their outcomes.
    pub(super) fn abandon(&self, stream: StreamId, has_tasks: bool) {
        // Outcomes that were not taken are dropped here, after the lock was released.
        let (cancelled, _left) = self.results.with(|tasks| {
            let (cancelled, left) = tasks.abandon(stream, has_tasks);
            for &id in &cancelled {
                self.cancel_on_board(tasks, id);
            }
            (cancelled, left)
        });
        self.withdraw_held(&cancelled);
    }
}

fn is_idle(tasks: &mut TaskTable, home: Home) -> Option<()> {
    (tasks.in_flight_of(home) == 0).then_some(())
}
