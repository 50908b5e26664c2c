//! The table of a pool's tasks: entries for those in flight, and outcomes until they are claimed.

use super::emissions::Emissions;
use super::groups::Groups;
use super::in_flight::{AttemptRange, InFlight, NewTask, OwnLimits, Owner};
use super::spans::{TaskSpan, TaskSpans};
use super::streams::Streams;
use super::timings::TaskClock;
use crate::pool::carried::Carried;
use crate::pool::outcome::{TaskError, TaskId};
use crate::pool::parent::report::TaskStats;
use crate::pool::wire::result_message::EncodedOutcome;
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
    pub(super) entries: Vec<Option<InFlight>>,
    capacity: usize,
    pub(super) in_flight: usize,
    /// How many of the tasks in flight do not belong to the pool's `drain`.
    pub(super) not_for_drain: usize,
    /// Outcomes that wait for their handles.
    pub(super) for_handles: HashMap<TaskId, EncodedOutcome>,
    /// Outcomes that wait for their maps.
    pub(super) streams: Streams<EncodedOutcome>,
    /// Groups, and the outcomes that wait for them.
    pub(super) groups: Groups,
    /// Outcomes that wait for the pool's `drain`.
    pub(super) unclaimed: VecDeque<(TaskKey, EncodedOutcome)>,
    /// What the outcomes of tasks in flight will carry. Empty unless callers ask for that.
    pub(super) carried: HashMap<TaskId, Box<Carried>>,
    /// What tasks have emitted.
    pub(super) emissions: Emissions,
    /// The spans of tasks whose callers have a subscriber for them.
    pub(crate) spans: TaskSpans,
    pub(super) stats: TaskStats,
    /// Only if tasks are timed.
    pub(super) clock: Option<TaskClock>,
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

impl TaskTable {
    /// Returns a table for up to `capacity` tasks in flight, with `entries` for them: a power of two, more than the
    /// capacity.
    pub(crate) fn new(
        capacity: usize,
        entries: usize,
        emissions: Emissions,
        clock: Option<TaskClock>,
        spans: TaskSpans,
    ) -> Self {
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
            groups: Groups::default(),
            unclaimed: VecDeque::new(),
            carried: HashMap::new(),
            emissions,
            spans,
            stats: TaskStats::default(),
            clock,
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

    /// Returns the id of the next task.
    pub(super) fn next_id(&self) -> u64 {
        self.next_id
    }

    pub(super) fn entry_count(&self) -> usize {
        self.entries.len()
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
    pub(super) fn reserve(&mut self, task: NewTask) -> Option<TaskAttempt> {
        if self.in_flight >= self.capacity && !mutant!(CapacityIgnored) {
            return None;
        }
        // This loop ends: there are more entries than `capacity`.
        loop {
            let id = self.take_id();
            if let Some(attempt) = self.occupy_entry(id, task) {
                return Some(attempt);
            }
        }
    }

    /// Occupies the entry of `id` if it is free.
    #[inline(always)]
    fn occupy_entry(&mut self, id: TaskId, task: NewTask) -> Option<TaskAttempt> {
        let index = self.index(id);
        let entry = self.entries.get_mut(index)?;
        if entry.is_some() {
            return None;
        }
        let NewTask { owner, key, own } = task;
        let attempt = TaskAttempt { id, number: 1 };
        *entry = Some(InFlight {
            attempt,
            crashes: 0,
            deaths_before_start: 0,
            cancelled: false,
            timed_out: false,
            is_held: false,
            own,
            key,
            owner,
        });
        if own.time.is_some() {
            self.note_limit(own.time);
        }
        self.in_flight += 1;
        self.not_for_drain += usize::from(!owner.is_drain_of_pool());
        if let Some(group) = owner.group() {
            self.groups.enter(group, owner);
        }
        self.stats.submitted += 1;
        if let Some(clock) = &self.clock {
            clock.note_submitted(id);
        }
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
            let first = self.reserve(NewTask::of_map(owner, limit));
            return Ok(first.map(|first| AttemptRange { first, count: 1 }));
        }
        let room = self.capacity - self.in_flight;
        let mut limits = limits.iter().take(room);
        let first = limits
            .next()
            .and_then(|&limit| self.reserve(NewTask::of_map(owner, limit)));
        Ok(first.map(|first| {
            let mut count = 1;
            for &limit in limits {
                let next = TaskId(self.next_id);
                if self
                    .occupy_entry(next, NewTask::of_map(owner, limit))
                    .is_none()
                {
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
        if withdrawn > 0 && !self.carried.is_empty() {
            (0..range.count).for_each(|n| drop(self.carried.remove(&range.first.nth(n).id)));
        }
        if withdrawn > 0 && !self.spans.is_empty() {
            (0..range.count).for_each(|n| self.spans.withdraw(range.first.nth(n).id));
        }
        self.stats.submitted -= withdrawn as u64;
        withdrawn
    }

    /// Adds the span of a task that is reserved. Returns it if the task has its outcome already: the caller drops it without
    /// the lock.
    pub(crate) fn open_span(&mut self, id: TaskId, span: TaskSpan) -> Option<TaskSpan> {
        if self.get_mut(id).is_none() {
            return Some(span);
        }
        self.spans.insert(id, span, self.clock.is_some());
        None
    }

    #[inline]
    pub(super) fn remove(&mut self, id: TaskId) -> Option<InFlight> {
        self.remove_if(id, |_| true)
    }

    /// Removes a task if it is in flight and passes this test.
    #[inline]
    pub(super) fn remove_if(
        &mut self,
        id: TaskId,
        test: impl FnOnce(&InFlight) -> bool,
    ) -> Option<InFlight> {
        let task = self.occupied_entry(id)?.take_if(|task| test(task))?;
        self.in_flight -= 1;
        self.not_for_drain -= usize::from(!task.owner.is_drain_of_pool());
        if let Some(group) = task.owner.group() {
            self.groups.leave(group, task.owner);
        }
        Some(task)
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
        self.spans.close_all();
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

    /// Sets the number of tasks in flight, besides the `held` ones, above which the next reservation wakes the supervisor,
    /// once: `if_idle` if none is in flight now, `if_busy` otherwise. Returns the number of tasks in flight, without those.
    pub(crate) fn set_wake_above(&mut self, if_idle: usize, if_busy: usize, held: usize) -> usize {
        if self.in_flight == 0 {
            // The next task with a limit of its own wakes the supervisor.
            self.shortest_limit = None;
        }
        let active = self.in_flight.saturating_sub(held);
        let threshold = if active == 0 { if_idle } else { if_busy };
        self.wake_above = threshold.saturating_add(held);
        active
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
