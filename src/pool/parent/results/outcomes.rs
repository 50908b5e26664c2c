//! Recording the outcomes of tasks, each for its owner, and taking them.

use super::groups::NextUnclaimed;
use super::in_flight::{GroupId, Home, InFlight, Owner};
use super::streams::StreamId;
use super::table::TaskTable;
use crate::pool::carried::{Carried, KeptTask};
use crate::pool::outcome::{Outcome, TaskError, TaskId};
use crate::pool::wire::result_message::{Encoded, EncodedOutcome, EncodedResult, NO_ATTEMPT};
use crate::pool::wire::task_message::TaskKey;
use std::collections::VecDeque;

/// An outcome, and what it would carry, that is discarded. The caller drops it when it has released the lock: that may run the
/// program's code.
#[derive(Default)]
#[must_use = "it is dropped without the lock"]
pub(crate) struct Leftovers {
    _outcome: Option<EncodedOutcome>,
    _carried: Option<Box<Carried>>,
}

impl TaskTable {
    /// Records the result of a worker, unless the outcome of the task is known or another attempt of it has been
    /// started (RESULTS-1).
    // By reference: the outcome goes straight from the buffer to its owner's list. If a part of it were written first, the
    // processor would have to wait before it could copy the whole.
    #[inline]
    pub(super) fn record_result(&mut self, received: &mut EncodedResult) {
        let EncodedResult { attempt, outcome } = received;
        let Some(task) = self.remove_if(outcome.id, |task| task.attempt.number == *attempt) else {
            if *attempt == NO_ATTEMPT {
                self.record_emission(outcome.take());
            }
            return;
        };
        if task.timed_out
            && let Err(error @ (TaskError::Failed(_) | TaskError::Cancelled)) = &mut outcome.result
        {
            *error = TaskError::TimedOut;
            outcome.attempts = 1;
        }
        if task.crashes > 0 {
            outcome.attempts += task.crashes;
        }
        self.deliver(&task, outcome, true);
    }

    /// Records the outcome of a task, unless it is known (RESULTS-1).
    pub(crate) fn record_outcome(
        &mut self,
        id: TaskId,
        attempts: u32,
        result: Result<Encoded, TaskError<Encoded>>,
    ) {
        let Some(task) = self.remove(id) else {
            return;
        };
        if mutant!(DoubleOutcome) && matches!(result, Err(TaskError::Crashed { .. })) {
            self.stats.count(&result);
        }
        self.deliver(&task, &mut Outcome::new(id, attempts, result), false);
    }

    /// Counts the outcome of a task that was removed, and takes it for the task's owner.
    #[inline(always)]
    fn deliver(&mut self, task: &InFlight, outcome: &mut EncodedOutcome, is_from_worker: bool) {
        self.stats.count(&outcome.result);
        if let Some(clock) = &mut self.clock {
            clock.note_outcome(outcome.id);
        }
        if !self.spans.is_empty() {
            let kind = outcome
                .result
                .as_ref()
                .map_or_else(TaskError::kind, |_| "completed");
            (self.spans).end(outcome.id, task.attempt.number, kind, is_from_worker);
        }
        if !self.carried.is_empty() {
            outcome.carried = self.carried.remove(&outcome.id);
        }
        match task.owner {
            Owner::Map(stream) => self.streams.push(stream, outcome.take()),
            Owner::Handle(_) => {
                self.for_handles.insert(outcome.id, outcome.take());
            }
            Owner::Drain(Home::Pool) => self.unclaimed.push_back((task.key, outcome.take())),
            Owner::Drain(Home::Group(group)) => {
                let _no_group = self.groups.push(group, task.key, outcome.take());
            }
            // It carries no task, whose `Drop` would run under the lock.
            Owner::Discarded(_) => {}
        }
    }

    /// Moves one task from *completed* to *failed* in the statistics: its output could not be decoded.
    pub(super) fn recount_undecodable(&mut self) {
        self.stats.recount_undecodable();
    }

    /// Keeps a task for its outcome to carry. The handle exists, so that no one else has taken the outcome. Returns the task if
    /// it is of no use.
    pub(super) fn keep_task(&mut self, id: TaskId, task: KeptTask) -> Option<KeptTask> {
        if self.home_of_handle(id).is_some() {
            self.carried.entry(id).or_default().keep(task);
            return None;
        }
        match self.for_handles.get_mut(&id) {
            // Also of one with an output, which may turn out to be undecodable when it is claimed.
            Some(outcome) => {
                outcome.carry_task(task);
                None
            }
            None => Some(task),
        }
    }

    /// Takes the outcome that its handle waits for.
    pub(crate) fn take_for_handle(&mut self, id: TaskId) -> Option<EncodedOutcome> {
        let outcome = self.for_handles.remove(&id)?;
        self.emissions.remove_handle(id);
        Some(outcome)
    }

    /// Returns whether a handle exists for this task, or may.
    pub(super) fn has_handle(&mut self, id: TaskId) -> bool {
        let task = self.get_mut(id);
        task.is_some_and(|task| matches!(task.owner, Owner::Handle(_)))
            || self.for_handles.contains_key(&id)
    }

    /// Takes the next unclaimed outcome of a home.
    pub(crate) fn take_unclaimed(&mut self, home: Home) -> NextUnclaimed {
        if let Home::Group(group) = home {
            return self.groups.take(group);
        }
        match self.unclaimed.pop_front() {
            Some((key, outcome)) => NextUnclaimed::Outcome(key, outcome),
            None if self.in_flight == self.not_for_drain => NextUnclaimed::None,
            None => NextUnclaimed::Pending,
        }
    }

    /// Returns how many outcomes wait for a handle or for `drain`.
    pub(super) fn stored_count(&self) -> usize {
        self.for_handles.len() + self.unclaimed.len() + self.groups.stored_count()
    }

    /// Changes who gets the outcome of a task in flight, and all counts that depend on it.
    fn set_owner(&mut self, id: TaskId, to: Owner) {
        let Some(task) = self.get_mut(id) else {
            return;
        };
        let from = core::mem::replace(&mut task.owner, to);
        self.not_for_drain += usize::from(!to.is_drain_of_pool());
        self.not_for_drain -= usize::from(!from.is_drain_of_pool());
        if let Some(group) = from.group() {
            self.groups.leave(group, from);
        }
        if let Some(group) = to.group() {
            self.groups.enter(group, to);
        }
    }

    /// Returns where a task was submitted, if its handle exists and it is in flight.
    fn home_of_handle(&mut self, id: TaskId) -> Option<Home> {
        match self.get_mut(id)?.owner {
            Owner::Handle(home) => Some(home),
            _ => None,
        }
    }

    /// Records that a handle was dropped: its task, or the outcome, now belongs to `drain` of its home. Returns whether to
    /// wake the waiters.
    pub(super) fn release_handle(
        &mut self,
        id: TaskId,
        key: TaskKey,
        home: Home,
    ) -> (Leftovers, bool) {
        if !self.groups.exists(home) {
            return (self.discard_handle(id), false);
        }
        self.emissions.remove_handle(id);
        if self.home_of_handle(id).is_some() {
            self.set_owner(id, Owner::Drain(home));
        } else if let Some(outcome) = self.for_handles.remove(&id)
            && !mutant!(DroppedHandleLosesOutcome)
        {
            match home {
                Home::Pool => self.unclaimed.push_back((key, outcome)),
                Home::Group(group) => {
                    let _no_group = self.groups.push(group, key, outcome);
                }
            }
            return (Leftovers::default(), true);
        }
        (Leftovers::default(), false)
    }

    /// Records that a handle is gone whose outcome is of no use.
    pub(super) fn discard_handle(&mut self, id: TaskId) -> Leftovers {
        self.emissions.remove_handle(id);
        if let Some(home) = self.home_of_handle(id) {
            self.set_owner(id, Owner::Discarded(home));
            return Leftovers {
                _outcome: None,
                _carried: self.carried.remove(&id),
            };
        }
        Leftovers {
            _outcome: self.for_handles.remove(&id),
            _carried: None,
        }
    }

    /// Closes the stream of a map that was dropped, and cancels its tasks in flight. Returns their ids, and the
    /// outcomes that the map has not taken. `has_tasks` is `false` if the map surely has none in flight: that saves a
    /// search.
    pub(crate) fn abandon(
        &mut self,
        stream: StreamId,
        has_tasks: bool,
    ) -> (Vec<TaskId>, VecDeque<EncodedOutcome>) {
        let mut cancelled = Vec::new();
        let entries = self.entries.iter_mut().filter(|_| has_tasks);
        for task in entries.flatten() {
            if task.owner == Owner::Map(stream) {
                task.owner = Owner::Discarded(Home::Pool);
                task.cancelled = true;
                cancelled.push(task.attempt.id);
            }
        }
        (cancelled, self.streams.close(stream))
    }

    // Groups.

    /// Returns the ids of the tasks of a home that are in flight and have handles.
    pub(super) fn ids_with_handles(&self, home: Home) -> Vec<TaskId> {
        let is_of_home = |owner| match home {
            Home::Pool => matches!(owner, Owner::Handle(_)),
            Home::Group(_) => owner == Owner::Handle(home),
        };
        let tasks = self.entries.iter().flatten();
        tasks
            .filter(|task| is_of_home(task.owner))
            .map(|task| task.attempt.id)
            .collect()
    }

    /// Returns the ids of the tasks of a group that are in flight.
    fn ids_of_group(&self, group: GroupId) -> Vec<TaskId> {
        if self.groups.in_flight(group) == 0 {
            return Vec::new();
        }
        let tasks = self.entries.iter().flatten();
        tasks
            .filter(|task| task.owner.group() == Some(group))
            .map(|task| task.attempt.id)
            .collect()
    }

    /// Marks the tasks of a group that are in flight as cancelled. Returns their ids.
    pub(crate) fn cancel_group(&mut self, group: GroupId) -> Vec<TaskId> {
        let ids = self.ids_of_group(group);
        for &id in &ids {
            if let Some(task) = self.get_mut(id) {
                task.cancelled = true;
            }
        }
        ids
    }

    /// Closes a group: the outcomes of its tasks are discarded, except for those that a handle waits for. Returns what is
    /// to be dropped without the lock.
    pub(super) fn close_group(
        &mut self,
        group: GroupId,
    ) -> (Vec<Leftovers>, VecDeque<(TaskKey, EncodedOutcome)>) {
        let mut leftovers = Vec::new();
        for id in self.ids_of_group(group) {
            if self.home_of_handle(id).is_none() {
                self.set_owner(id, Owner::Discarded(Home::Pool));
                leftovers.push(Leftovers {
                    _outcome: None,
                    _carried: self.carried.remove(&id),
                });
            }
        }
        (leftovers, self.groups.close(group))
    }

    /// Returns how many tasks of a home are in flight.
    pub(crate) fn in_flight_of(&self, home: Home) -> usize {
        match home {
            Home::Pool => self.in_flight,
            Home::Group(group) => self.groups.in_flight(group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::emissions::Emissions;
    use super::super::in_flight::{NewTask, OwnLimits};
    use super::super::spans::TaskSpans;
    use super::*;
    use crate::pool::parent::settings::{ProgressSettings, WhenFull};
    use crate::segment::board::Board;
    use std::sync::Arc;

    fn table() -> TaskTable {
        let board = Arc::new(Board::create(1, 8, false).expect("a board"));
        let settings = ProgressSettings {
            bound: 1,
            when_full: WhenFull::DropOldest,
        };
        let spans = TaskSpans::new(Arc::clone(&board));
        TaskTable::new(4, 8, Emissions::new(board, settings), None, spans)
    }

    /// Reserves a task with a handle, as a submission does.
    fn submitted(table: &mut TaskTable) -> TaskId {
        let task = NewTask {
            owner: Owner::Handle(Home::Pool),
            key: TaskKey::NONE,
            own: OwnLimits::default(),
        };
        table.reserve(task).expect("room").id
    }

    fn outcome_of(table: &mut TaskTable, id: TaskId) -> EncodedOutcome {
        table.take_for_handle(id).expect("its outcome")
    }

    /// The submitting thread keeps the task after it has sent it, and a worker may be faster than that.
    #[test]
    fn a_task_that_is_kept_after_its_result_has_arrived_is_carried_by_the_outcome() {
        for keeps_first in [true, false] {
            let mut table = table();
            let id = submitted(&mut table);
            let keep = |table: &mut TaskTable| {
                assert!(table.keep_task(id, KeptTask::new("the task")).is_none());
            };
            if keeps_first {
                keep(&mut table);
            }
            table.record_outcome(id, 1, Err(TaskError::TimedOut));
            if !keeps_first {
                keep(&mut table);
            }
            assert!(table.carried.is_empty(), "nothing is left behind");
            let mut outcome = outcome_of(&mut table, id);
            assert_eq!(outcome.take_task(), Some("the task"));
        }
    }

    /// An output may turn out to be undecodable when it is claimed: then the outcome has an error.
    #[test]
    fn a_task_is_kept_until_its_output_is_decoded() {
        for keeps_first in [true, false] {
            let mut table = table();
            let id = submitted(&mut table);
            if keeps_first {
                assert!(table.keep_task(id, KeptTask::new(7)).is_none());
            }
            table.record_outcome(id, 1, Ok(an_output()));
            if !keeps_first {
                assert!(table.keep_task(id, KeptTask::new(7)).is_none());
            }
            let mut outcome = outcome_of(&mut table, id);
            assert_eq!(outcome.take_task(), Some(7), "{keeps_first}");
        }
    }

    #[test]
    fn a_cancelled_task_has_run_out_of_its_time_if_it_had_reached_its_limit() {
        for timed_out in [true, false] {
            let mut table = table();
            let id = submitted(&mut table);
            let task = table.get_mut(id).expect("in flight");
            (task.timed_out, task.crashes) = (timed_out, 2);
            let mut received = EncodedResult {
                attempt: task.attempt.number,
                outcome: Outcome::new(id, 0, Err(TaskError::Cancelled)),
            };
            table.record_result(&mut received);
            let outcome = outcome_of(&mut table, id);
            let is_late = matches!(outcome.result, Err(TaskError::TimedOut));
            let attempts = 2 + u32::from(timed_out);
            assert_eq!((is_late, outcome.attempts), (timed_out, attempts));
        }
    }

    #[test]
    fn a_task_whose_handle_is_gone_is_not_kept() {
        let mut table = table();
        for has_outcome in [true, false] {
            let id = submitted(&mut table);
            if has_outcome {
                table.record_outcome(id, 1, Err(TaskError::TimedOut));
            }
            let _leftovers = table.discard_handle(id);
            assert!(table.keep_task(id, KeptTask::new(7)).is_some());
            assert!(table.carried.is_empty());
        }
    }

    /// Returns an output as it arrives.
    fn an_output() -> Encoded {
        use crate::codec::Codec;
        use crate::pool::wire::result_message::{
            EncodedResultCodec, ResultCodec, ResultMessage, WorkerResult,
        };
        use crate::pool::wire::task_attempt::TaskAttempt;
        let message = ResultMessage::<u8, ()> {
            attempt: TaskAttempt {
                id: TaskId(0),
                number: 1,
            },
            result: WorkerResult::Output(1),
        };
        let mut bytes = vec![0; ResultCodec::encoded_len(&message).expect("a length")];
        ResultCodec::encode(&message, &mut bytes).expect("room");
        let received = EncodedResultCodec::decode(&bytes).expect("a result");
        received.outcome.result.expect("an output")
    }
}
