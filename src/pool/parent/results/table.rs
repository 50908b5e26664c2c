//! The table of a pool's tasks: entries for those in flight, and outcomes until they are claimed.

use super::emissions::Emissions;
use super::in_flight::{AttemptRange, InFlight, OwnLimits, Owner};
use super::streams::{StreamId, Streams};
use crate::pool::outcome::{Outcome, TaskError, TaskId};
use crate::pool::parent::report::TaskStats;
use crate::pool::wire::result_message::{Encoded, EncodedOutcome, EncodedResult, NO_ATTEMPT};
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::TaskKey;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// All tasks of a pool that are in flight or whose outcome is not claimed.
pub(crate) struct TaskTable {
    /// Whether tasks are accepted.
    accepts: bool,
    /// Whether all tasks have their outcomes, and no more are accepted (RESULTS-6).
    ended: bool,
    /// Set once outcomes can no longer be received: the reason.
    unknown: Option<&'static str>,
    /// Why no worker can be started, during an outage.
    outage: Option<Arc<str>>,
    next_id: u64,
    /// Tasks that are reserved or in flight. The length is a power of two, more than `capacity` (RESULTS-2).
    entries: Vec<Option<InFlight>>,
    capacity: usize,
    in_flight: usize,
    /// How many of the tasks in flight do not belong to `drain`.
    not_for_drain: usize,
    /// Outcomes that wait for their handles.
    for_handles: HashMap<TaskId, EncodedOutcome>,
    /// Outcomes that wait for their maps.
    pub(super) streams: Streams<EncodedOutcome>,
    /// Outcomes that wait for `drain`.
    unclaimed: VecDeque<(TaskKey, EncodedOutcome)>,
    /// What tasks have emitted.
    pub(super) emissions: Emissions,
    stats: TaskStats,
    /// The number of tasks in flight above which the next reservation wakes the supervisor, once.
    wake_above: usize,
    /// The shortest [`Task::time_limit`](crate::pool::Task::time_limit) of the tasks reserved since the supervisor last
    /// found no task in flight. While it is set, the supervisor inspects its workers at least this often.
    shortest_limit: Option<Duration>,
}

/// What a map can do next.
#[derive(Debug)]
pub(crate) enum MapStep {
    /// Outcomes of the map have arrived.
    Outcomes,
    /// Room was reserved, perhaps for fewer tasks than requested.
    Reserved(AttemptRange),
    /// No room was reserved, for this reason.
    Refused(ReserveError),
}

/// Why no room was reserved for a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReserveError {
    /// The pool is at capacity, and the deadline has passed.
    Full,
    /// The pool is being shut down.
    Closed,
    /// No worker can be started, for this reason.
    NoWorkers(Arc<str>),
    /// The pool is at capacity, and `max` outcomes are unclaimed already.
    TooManyUnclaimed { max: usize },
    /// Outcomes can no longer be received, for this reason.
    Unknown(&'static str),
}

impl<E> From<&ReserveError> for TaskError<E> {
    fn from(error: &ReserveError) -> Self {
        match error {
            ReserveError::Unknown(what) => Self::Unknown { what },
            ReserveError::NoWorkers(why) => Self::NoWorkers {
                why: why.as_ref().to_owned(),
            },
            // Only maps convert these errors. A map waits without a deadline and stores no unclaimed outcomes, so of
            // these three it only meets `Closed`.
            ReserveError::Full | ReserveError::Closed | ReserveError::TooManyUnclaimed { .. } => {
                Self::Cancelled
            }
        }
    }
}

/// The next outcome for `drain`.
pub(crate) enum NextUnclaimed {
    Outcome(TaskKey, EncodedOutcome),
    /// A task is in flight whose outcome will be unclaimed.
    Pending,
    /// No such task is in flight.
    None,
}

impl TaskTable {
    /// Returns a table for up to `capacity` tasks in flight, with `entries` for them: a power of two, more than the
    /// capacity.
    pub(crate) fn new(capacity: usize, entries: usize, emissions: Emissions) -> Self {
        debug_assert!(entries.is_power_of_two() && entries > capacity);
        Self {
            accepts: true,
            ended: false,
            unknown: None,
            outage: None,
            next_id: 0,
            entries: vec![None; entries],
            capacity,
            in_flight: 0,
            not_for_drain: 0,
            for_handles: HashMap::new(),
            streams: Streams::default(),
            unclaimed: VecDeque::new(),
            emissions,
            stats: TaskStats::default(),
            wake_above: usize::MAX,
            shortest_limit: None,
        }
    }

    // Tasks in flight.

    #[inline]
    fn index(&self, id: TaskId) -> usize {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "masked to less than the number of entries"
        )]
        {
            (id.0 & (self.entries.len() as u64 - 1)) as usize
        }
    }

    #[inline]
    fn occupied_entry(&mut self, id: TaskId) -> Option<&mut Option<InFlight>> {
        let index = self.index(id);
        let entry = self.entries.get_mut(index)?;
        entry
            .is_some_and(|task| task.attempt.id == id)
            .then_some(entry)
    }

    /// Returns the entry of a task; `None` if its outcome is known.
    pub(crate) fn get_mut(&mut self, id: TaskId) -> Option<&mut InFlight> {
        self.occupied_entry(id)?.as_mut()
    }

    /// Returns the ids of all tasks in flight.
    pub(crate) fn in_flight_ids(&self) -> Vec<TaskId> {
        let tasks = self.entries.iter().flatten();
        tasks.map(|task| task.attempt.id).collect()
    }

    /// Returns how many tasks are in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn stats(&self) -> TaskStats {
        self.stats
    }

    /// Takes the next id, which no other task of the pool ever gets.
    pub(super) fn take_id(&mut self) -> TaskId {
        let id = TaskId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Fails if the pool does not accept tasks, with the reason.
    pub(super) fn check_accepts(&self) -> Result<(), ReserveError> {
        if let Some(what) = self.unknown {
            return Err(ReserveError::Unknown(what));
        }
        if !self.accepts {
            return Err(ReserveError::Closed);
        }
        match &self.outage {
            Some(why) => Err(ReserveError::NoWorkers(Arc::clone(why))),
            None => Ok(()),
        }
    }

    /// Reserves the next id and its entry. Returns `None` if the pool is at capacity.
    #[inline]
    pub(super) fn reserve(&mut self, owner: Owner, own: OwnLimits) -> Option<TaskAttempt> {
        if self.in_flight >= self.capacity && !mutant!(CapacityIgnored) {
            return None;
        }
        // This loop ends: there are more entries than `capacity`.
        loop {
            let id = self.take_id();
            if let Some(attempt) = self.occupy_entry(id, owner, own) {
                return Some(attempt);
            }
        }
    }

    /// Occupies the entry of `id` if it is free.
    #[inline]
    fn occupy_entry(&mut self, id: TaskId, owner: Owner, own: OwnLimits) -> Option<TaskAttempt> {
        let index = self.index(id);
        let entry = self.entries.get_mut(index)?;
        if entry.is_some() {
            return None;
        }
        let attempt = TaskAttempt { id, number: 1 };
        *entry = Some(InFlight {
            attempt,
            crashes: 0,
            deaths_before_start: 0,
            cancelled: false,
            timed_out: false,
            own,
            owner,
        });
        if own.time.is_some() {
            self.note_limit(own.time);
        }
        self.in_flight += 1;
        self.not_for_drain += usize::from(!matches!(owner, Owner::Drain(_)));
        self.stats.submitted += 1;
        Some(attempt)
    }

    /// Makes the supervisor check its workers sooner, if this limit is shorter than those that it knows.
    #[cold]
    fn note_limit(&mut self, limit: Option<Duration>) {
        if self.shortest_limit.is_none() || limit < self.shortest_limit {
            self.shortest_limit = limit;
            self.wake_above = 0;
        }
    }

    /// Reserves consecutive ids and their entries for tasks with these time limits of their own, for as many as there
    /// is room. Returns `None` if there is no room.
    #[inline]
    pub(super) fn reserve_range(
        &mut self,
        limits: &[OwnLimits],
        owner: Owner,
    ) -> Result<Option<AttemptRange>, ReserveError> {
        self.check_accepts()?;
        if let [limit] = *limits {
            let first = self.reserve(owner, limit);
            return Ok(first.map(|first| AttemptRange { first, count: 1 }));
        }
        let room = self.capacity - self.in_flight;
        let mut limits = limits.iter().take(room);
        let first = limits.next().and_then(|&limit| self.reserve(owner, limit));
        Ok(first.map(|first| {
            let mut count = 1;
            for &limit in limits {
                let next = TaskId(self.next_id);
                if self.occupy_entry(next, owner, limit).is_none() {
                    break;
                }
                self.next_id += 1;
                count += 1;
            }
            AttemptRange { first, count }
        }))
    }

    /// Undoes the reservation of those tasks of the range that have no outcome. Returns their number.
    pub(super) fn withdraw(&mut self, range: AttemptRange) -> usize {
        let ids = (0..range.count).map(|n| range.first.nth(n).id);
        let withdrawn = ids.filter(|&id| self.remove(id).is_some()).count();
        self.stats.submitted -= withdrawn as u64;
        withdrawn
    }

    #[inline]
    fn remove(&mut self, id: TaskId) -> Option<InFlight> {
        self.remove_if(id, |_| true)
    }

    /// Removes a task if it is in flight and passes this test.
    #[inline]
    fn remove_if(&mut self, id: TaskId, test: impl FnOnce(&InFlight) -> bool) -> Option<InFlight> {
        let task = self.occupied_entry(id)?.take_if(|task| test(task))?;
        self.in_flight -= 1;
        self.not_for_drain -= usize::from(!matches!(task.owner, Owner::Drain(_)));
        Some(task)
    }

    // Outcomes.

    /// Records the result of a worker, unless the outcome of the task is known or another attempt of it has been
    /// started (RESULTS-1).
    #[inline]
    pub(super) fn record_result(&mut self, received: EncodedResult) {
        let EncodedResult {
            attempt,
            mut outcome,
        } = received;
        let Some(task) = self.remove_if(outcome.id, |task| task.attempt.number == attempt) else {
            if attempt == NO_ATTEMPT {
                self.record_emission(outcome);
            }
            return;
        };
        if task.timed_out
            && let Err(error @ (TaskError::Failed(_) | TaskError::Cancelled)) = &mut outcome.result
        {
            *error = TaskError::TimedOut;
        }
        let started = u32::from(!matches!(outcome.result, Err(TaskError::Cancelled)));
        outcome.attempts = task.crashes + started;
        self.deliver(task.owner, outcome);
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
        let outcome = Outcome {
            id,
            attempts,
            result,
        };
        self.deliver(task.owner, outcome);
    }

    /// Counts the outcome of a task that was removed, and stores it for the task's owner.
    #[inline]
    fn deliver(&mut self, owner: Owner, outcome: EncodedOutcome) {
        self.stats.count(&outcome.result);
        match owner {
            Owner::Map(stream) => self.streams.push(stream, outcome),
            Owner::Handle(_) => {
                self.for_handles.insert(outcome.id, outcome);
            }
            Owner::Drain(key) => self.unclaimed.push_back((key, outcome)),
            Owner::Discarded => {}
        }
    }

    /// Moves one task from *completed* to *failed* in the statistics: its output could not be decoded.
    pub(super) fn recount_undecodable(&mut self) {
        self.stats.recount_undecodable();
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

    /// Takes the next unclaimed outcome.
    pub(crate) fn take_unclaimed(&mut self) -> NextUnclaimed {
        match self.unclaimed.pop_front() {
            Some((key, outcome)) => NextUnclaimed::Outcome(key, outcome),
            None if self.in_flight == self.not_for_drain => NextUnclaimed::None,
            None => NextUnclaimed::Pending,
        }
    }

    /// Returns how many outcomes wait for a handle or for `drain`.
    pub(super) fn stored_count(&self) -> usize {
        self.for_handles.len() + self.unclaimed.len()
    }

    /// Records that a handle was dropped: its task, or the outcome, now belongs to `drain`. Returns whether to
    /// wake the waiters.
    pub(super) fn release_handle(&mut self, id: TaskId, key: TaskKey) -> bool {
        self.emissions.remove_handle(id);
        if let Some(task) = self.get_mut(id)
            && let Owner::Handle(key) = task.owner
        {
            task.owner = Owner::Drain(key);
            self.not_for_drain -= 1;
        } else if let Some(outcome) = self.for_handles.remove(&id)
            && !mutant!(DroppedHandleLosesOutcome)
        {
            self.unclaimed.push_back((key, outcome));
            return true;
        }
        false
    }

    /// Records that a handle was dropped whose outcome is of no use. Returns the outcome, if it is known.
    pub(super) fn discard_handle(&mut self, id: TaskId) -> Option<EncodedOutcome> {
        self.emissions.remove_handle(id);
        match self.get_mut(id) {
            Some(task) if matches!(task.owner, Owner::Handle(_)) => {
                task.owner = Owner::Discarded;
                None
            }
            _ => self.for_handles.remove(&id),
        }
    }

    /// Closes the stream of a map that was dropped, and cancels its tasks in flight. Returns their ids, and the
    /// outcomes that the map has not taken. `has_tasks` is `false` if the map surely has none in flight: that saves a
    /// search.
    pub(super) fn abandon(
        &mut self,
        stream: StreamId,
        has_tasks: bool,
    ) -> (Vec<TaskId>, VecDeque<EncodedOutcome>) {
        let mut cancelled = Vec::new();
        let entries = self.entries.iter_mut().filter(|_| has_tasks);
        for task in entries.flatten() {
            if task.owner == Owner::Map(stream) {
                task.owner = Owner::Discarded;
                task.cancelled = true;
                cancelled.push(task.attempt.id);
            }
        }
        (cancelled, self.streams.close(stream))
    }

    // The pool as a whole.

    /// Refuses all tasks from now on.
    pub(super) fn close(&mut self) {
        self.accepts = false;
        self.emissions.close();
    }

    /// Refuses tasks while there is a reason why no worker can be started.
    pub(super) fn set_outage(&mut self, reason: Option<Arc<str>>) {
        self.outage = reason;
    }

    /// Ends all waits (RESULTS-6).
    pub(super) fn end(&mut self) {
        debug_assert_eq!(self.in_flight, 0, "a task has no outcome");
        self.accepts = false;
        self.ended = true;
    }

    /// Returns whether all tasks have their outcomes, and no more are accepted (RESULTS-6).
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Records that outcomes can no longer be received.
    pub(super) fn set_unknown(&mut self, what: &'static str) {
        self.unknown = Some(what);
    }

    /// Returns why outcomes can no longer be received; `None` if they can.
    pub(super) fn unknown(&self) -> Option<&'static str> {
        self.unknown
    }

    /// Sets the number of tasks in flight above which the next reservation wakes the supervisor, once: `if_idle` if no
    /// task is in flight now, `if_busy` otherwise. Returns the number of tasks in flight.
    pub(crate) fn set_wake_above(&mut self, if_idle: usize, if_busy: usize) -> usize {
        self.wake_above = if self.in_flight == 0 {
            // The next task with a limit of its own wakes the supervisor.
            self.shortest_limit = None;
            if_idle
        } else {
            if_busy
        };
        self.in_flight
    }

    /// Returns whether the supervisor has to be woken now. If so, it is not woken again until it sets a new threshold.
    pub(super) fn take_wake(&mut self) -> bool {
        let is_due = self.in_flight > self.wake_above;
        if is_due {
            self.wake_above = usize::MAX;
        }
        is_due
    }

    /// Returns the longest time between two inspections of the workers that tasks with a time limit of their own allow.
    pub(crate) fn shortest_limit(&self) -> Option<Duration> {
        self.shortest_limit
    }
}
