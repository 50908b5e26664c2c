//! What callers, maps and the supervisor do with the table of tasks.

use super::in_flight::{AttemptRange, GroupId, Home, NewTask, OwnLimits, Owner};
use super::receive::{Results, WaitError};
use super::streams::StreamId;
use super::table::{MapStep, ReserveError, TaskTable};
use crate::pool::carried::{Carried, KeptTask, Tag};
use crate::pool::outcome::{TaskError, TaskId};
use crate::pool::wire::result_message::EncodedOutcome;
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::TaskKey;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

impl From<WaitError> for ReserveError {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::TimedOut => Self::Full,
            WaitError::Ended => Self::Closed,
            WaitError::Unknown(what) => Self::Unknown(what),
        }
    }
}

/// Operations of callers.
impl Results {
    /// Reserves an id and an entry for a task, and takes its tag. While the pool is at capacity, waits until `deadline`, or
    /// without end if that is `None`, and records results that arrive.
    pub(crate) fn reserve(
        &self,
        task: NewTask,
        tag: &mut Option<Tag>,
        deadline: Option<Instant>,
    ) -> Result<TaskAttempt, ReserveError> {
        self.wait_until(deadline, |tasks| self.try_reserve(tasks, task, tag))?
    }

    /// Reserves an id and an entry for a task, and takes its tag, if that is possible now. Returns `None` while the pool is
    /// at capacity.
    pub(crate) fn try_reserve(
        &self,
        tasks: &mut TaskTable,
        task: NewTask,
        tag: &mut Option<Tag>,
    ) -> Option<Result<TaskAttempt, ReserveError>> {
        let max = self.max_unclaimed;
        if let Err(error) = tasks.check_accepts() {
            return Some(Err(error));
        }
        if let Some(attempt) = tasks.reserve(task) {
            if let Some(tag) = tag.take() {
                let carried = Box::new(Carried::of_tag(tag));
                tasks.carried.insert(attempt.id, carried);
            }
            self.wake_supervisor(tasks);
            return Some(Ok(attempt));
        }
        (tasks.stored_count() >= max && !mutant!(UnclaimedUnbounded))
            .then_some(Err(ReserveError::TooManyUnclaimed { max }))
    }

    /// Undoes the reservation of tasks that were not sent after all. Returns `false` if all of them have their
    /// outcomes, because the pool has ended in the meantime. In a forked child, which the task's own code may have
    /// made, there is nothing to undo.
    pub(crate) fn withdraw(&self, range: AttemptRange) -> bool {
        if !self.is_in_owner() {
            return true;
        }
        self.change(|tasks| tasks.withdraw(range) > 0)
    }

    /// Leaves the outcome of a task whose handle was dropped to `drain` of its home.
    pub(crate) fn release_handle(&self, id: TaskId, key: TaskKey, home: Home) {
        if self.is_in_owner() {
            // Dropped without the lock.
            let _leftovers = self.change_if(|tasks| tasks.release_handle(id, key, home));
        }
    }

    /// Discards the outcome of a task whose handle was dropped.
    pub(crate) fn discard_handle(&self, id: TaskId) {
        if self.is_in_owner() {
            // Dropped without the lock.
            let _leftovers = self.with(|tasks| tasks.discard_handle(id));
        }
    }

    /// Keeps a task that was sent, for its outcome to carry, unless it is of no use.
    #[cold]
    pub(crate) fn keep_task(&self, id: TaskId, task: KeptTask) {
        if self.is_in_owner() {
            // Dropped without the lock.
            let _unwanted = self.with(|tasks| tasks.keep_task(id, task));
        }
    }

    /// Moves one task from *completed* to *failed* in the statistics: its output could not be decoded.
    #[cold]
    pub(crate) fn recount_undecodable(&self) {
        if self.is_in_owner() {
            self.with(TaskTable::recount_undecodable);
        }
    }

    /// Wakes the supervisor if more tasks are in flight than it can leave alone.
    fn wake_supervisor(&self, tasks: &mut TaskTable) {
        if tasks.take_wake() {
            self.supervisor.notify();
        }
    }
}

/// Operations of maps.
impl Results {
    /// Takes an id for a task that is not accepted.
    pub(crate) fn take_id(&self) -> TaskId {
        self.with(TaskTable::take_id)
    }

    /// Opens a stream for the outcomes of a map.
    pub(crate) fn open_stream(&self) -> StreamId {
        self.with(|tasks| tasks.streams.open())
    }

    /// Reserves consecutive ids for tasks of a map with these time limits of their own, for as many as there is room.
    /// Returns `None` if there is no room. Never waits.
    pub(crate) fn reserve_range(
        &self,
        stream: StreamId,
        limits: &[OwnLimits],
    ) -> Result<Option<AttemptRange>, ReserveError> {
        self.with(|tasks| {
            let range = tasks.reserve_range(limits, Owner::Map(stream));
            self.wake_supervisor(tasks);
            range
        })
    }

    /// Moves the outcomes of a map that have arrived into `outcomes`, which must be empty. Returns whether there are
    /// any. Never waits.
    pub(crate) fn take_outcomes(
        &self,
        stream: StreamId,
        outcomes: &mut VecDeque<EncodedOutcome>,
    ) -> bool {
        self.poll();
        self.with(|tasks| tasks.streams.take(stream, outcomes))
    }

    /// Waits until outcomes of the map have arrived, and moves them into `outcomes`, which must be empty; or until
    /// there is room for tasks, and reserves it. `limits` are the own time limits of the map's next tasks; empty if it
    /// has none.
    pub(crate) fn wait_for_step(
        &self,
        stream: StreamId,
        limits: &[OwnLimits],
        outcomes: &mut VecDeque<EncodedOutcome>,
    ) -> Result<MapStep, WaitError> {
        self.wait_until(None, |tasks| self.map_step(tasks, stream, limits, outcomes))
    }

    /// Looks for what [`wait_for_step`](Self::wait_for_step) waits for. Returns `None` if there is nothing yet.
    pub(crate) fn map_step(
        &self,
        tasks: &mut TaskTable,
        stream: StreamId,
        limits: &[OwnLimits],
        outcomes: &mut VecDeque<EncodedOutcome>,
    ) -> Option<MapStep> {
        if tasks.streams.take(stream, outcomes) {
            return Some(MapStep::Outcomes);
        }
        if limits.is_empty() {
            return None;
        }
        let range = tasks.reserve_range(limits, Owner::Map(stream));
        self.wake_supervisor(tasks);
        match range {
            Ok(range) => range.map(MapStep::Reserved),
            Err(error) => Some(MapStep::Refused(error)),
        }
    }
}

/// Operations of groups.
impl Results {
    pub(crate) fn open_group(&self) -> GroupId {
        self.with(|tasks| tasks.groups.open())
    }

    /// Closes a group that was dropped: see `TaskTable::close_group`.
    pub(crate) fn close_group(&self, group: GroupId) {
        // Dropped without the lock.
        let _leftovers = self.with(|tasks| tasks.close_group(group));
    }
}

/// Operations on the pool as a whole.
impl Results {
    /// Refuses all tasks from now on.
    pub(crate) fn close(&self) {
        self.change(TaskTable::close);
    }

    /// Refuses tasks while there is a reason why no worker can be started.
    pub(crate) fn set_outage(&self, reason: Option<Arc<str>>) {
        self.change(|tasks| tasks.set_outage(reason));
    }

    /// Ends all waits. Every task must have its outcome (RESULTS-6).
    pub(crate) fn end(&self) {
        self.change(TaskTable::end);
    }

    /// Refuses all tasks from now on, and gives those in flight the outcome `Unknown`: this process can't learn what
    /// became of them.
    pub(crate) fn fail_unknown(&self, what: &'static str) {
        self.change(|tasks| {
            for id in tasks.in_flight_ids() {
                tasks.record_outcome(id, 0, Err(TaskError::Unknown { what }));
            }
            tasks.close();
            tasks.set_unknown(what);
        });
    }
}
