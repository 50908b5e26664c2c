//! The parent's own memory of its tasks: which are in flight, and outcomes that nobody has claimed yet.
//!
//! A task, as the results knows it:
//!
//! | state    | where                               | leaves it                                             |
//! |----------|-------------------------------------|-------------------------------------------------------|
//! | reserved | `in_flight_ids`, not sent yet             | sent: in flight; refused: withdrawn, as if never there |
//! | in flight| `in_flight_ids`                           | its answer arrives, or the supervisor knows of its end |
//! | kept     | `for_handles`, for its handle              | the handle takes it; is dropped: unclaimed                 |
//! | received  | `streams`, for its map              | the map takes it; is dropped: gone                     |
//! | unclaimed    | `unclaimed`, for whoever drains         | `drain`                                                |
//!
//! RESULTS-1. A task has one outcome: whoever files it removes the flight, and what comes later for the same number and
//!     attempt, or another attempt, finds no flight and is dropped.
//! RESULTS-2. The flight of task n has the place n modulo the number of places; a number whose place is taken is skipped. So
//!     no two tasks in flight share a place, here or on the board.
//! RESULTS-3. At most `capacity` tasks are in flight, and the results queue has room for as many results: no worker ever
//!     waits for its parent to read, unless results are so large that there are fewer blocks for them.
//! RESULTS-4. At most one thread, the *leader*, receives from the results queue, and it does so without the lock. Whoever
//!     waits and finds no leader becomes it; the others sleep on `changed`, and are woken after each batch and when
//!     the leader is free. There is no thread whose business this is.
//! RESULTS-5. The supervisor, when it has to be sure that all results so far are filed, interrupts the leader and goes
//!     before everybody else (`collecting`).
//! RESULTS-6. Once `ended`, every task has its outcome, and no wait sleeps.
//! RESULTS-7. Nothing here is of the user's types: results stay [encoded](Encoded). So whatever the user's `Deserialize` and `Drop`
//!     do, they do it to the caller who claims the outcome, without the lock and without the leader.
//! RESULTS-8. The leader is given back, and what it has received is filed, also when receiving unwinds: a subscriber of `tracing`
//!     that is told of a dead process may panic. Where events go through [`crate::announce`], they wait until the leader and
//!     the lock are given back.
//! RESULTS-9. A forked child of the pool's process never takes the lock, which may have been held by a thread that the child does
//!     not have. Every function that callers reach looks whether it is in such a child first.

use super::streams::{StreamId, Streams};
use crate::pool::outcome::{Outcome, TaskError, TaskId};
use crate::pool::pace::Pace;
use crate::pool::parent::report::TaskStats;
use crate::pool::wire::result_message::{Encoded, EncodedOutcome, EncodedResult, WorkerResult};
use crate::pool::wire::ticket::Ticket;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

pub(crate) struct State {
    /// Whether tasks are accepted.
    pub(crate) open: bool,
    /// RESULTS-6.
    pub(crate) ended: bool,
    /// What keeps this process from knowing any more.
    pub(crate) unknown: Option<&'static str>,
    /// Why no worker can be had, during an outage.
    pub(crate) outage: Option<Arc<str>>,
    pub(crate) next: u64,
    pub(crate) entries: Vec<Option<InFlight>>,
    pub(crate) in_flight: usize,
    /// Of these, the ones that are not for whoever drains.
    pub(crate) owned: usize,
    pub(crate) capacity: usize,
    /// With more than so many in flight the supervisor wants to be woken.
    pub(crate) wake_above: usize,
    /// The shortest limit that a task has of its own, of those that were accepted since nothing was in flight. While it is
    /// there, the supervisor looks at its workers that often.
    pub(crate) shortest_limit: Option<Duration>,
    pub(crate) for_handles: HashMap<TaskId, EncodedOutcome>,
    pub(crate) unclaimed: VecDeque<EncodedOutcome>,
    pub(crate) streams: Streams<EncodedOutcome>,
    pub(crate) task_stats: TaskStats,
    pub(crate) has_leader: bool,
    pub(crate) waiters: usize,
    /// How often results come.
    pub(crate) pace: Pace,
    pub(crate) collecting: usize,
    /// The leader's, while there is one.
    pub(crate) buffer: Vec<EncodedResult>,
}

/// A task whose outcome is not known yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) ticket: Ticket,
    /// How often it was started, as far as anybody knows: attempts that ended with their worker.
    pub(crate) crashes: u32,
    /// How many workers have died with it in hand that had not begun it.
    pub(crate) deaths_before_start: u32,
    /// Whether somebody has asked for its end.
    pub(crate) cancelled: bool,
    /// Whether it has run for too long: how it ends from now on is a time-out.
    pub(crate) timed_out: bool,
    /// How long it may run, if it says so itself.
    pub(crate) limit: Option<Duration>,
    pub(crate) owner: Owner,
}

/// Whose an outcome is going to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A handle's, which knows its number.
    Handle,
    /// A map's.
    Map(StreamId),
    /// That of whoever drains.
    Drain,
    /// Nobody's any more.
    Discarded,
}

/// Tickets for tasks with consecutive numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TicketRange {
    /// That of the first.
    pub(crate) ticket: Ticket,
    pub(crate) count: usize,
}

/// What a map can go on with.
#[derive(Debug)]
pub(crate) enum MapStep {
    /// Outcomes of its own.
    Outcomes,
    /// Room for tasks, perhaps not for as many as were wanted.
    Reserved(TicketRange),
    Refused(Refused),
}

/// Why no task is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Closed,
    /// No worker can be had, and why.
    NoWorkers(Arc<str>),
    Unclaimed {
        max: usize,
    },
    Unknown(&'static str),
}

/// Why a wait has ended without what it was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitError {
    Deadline,
    /// Nothing will ever come.
    Ended,
    Unknown(&'static str),
}

/// Whether there is an outcome that belongs to no handle.
pub(crate) enum NextUnclaimed<O> {
    Outcome(O),
    /// One is on its way.
    Pending,
    /// None will come by itself.
    None,
}

impl State {
    pub(crate) fn place(&self, id: TaskId) -> usize {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "masked to less than the number of places"
        )]
        {
            (id.0 & (self.entries.len() as u64 - 1)) as usize
        }
    }

    pub(crate) fn entry(&mut self, id: TaskId) -> Option<&mut Option<InFlight>> {
        let place = self.place(id);
        let entry = self.entries.get_mut(place)?;
        entry
            .is_some_and(|flight| flight.ticket.id == id)
            .then_some(entry)
    }

    /// The flight of a task; none if its outcome is known.
    pub(crate) fn flight(&mut self, id: TaskId) -> Option<&mut InFlight> {
        self.entry(id)?.as_mut()
    }

    /// All tasks whose outcome is not known.
    pub(crate) fn in_flight_ids(&self) -> Vec<TaskId> {
        let entries = self.entries.iter().flatten();
        entries.map(|flight| flight.ticket.id).collect()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn task_stats(&self) -> TaskStats {
        self.task_stats
    }

    /// A number that no other task has, or will have.
    pub(crate) fn number(&mut self) -> TaskId {
        let id = TaskId(self.next);
        self.next += 1;
        id
    }

    /// A ticket for another task; `None`: there are as many in flight as there may be.
    pub(crate) fn reserve(&mut self, owner: Owner, limit: Option<Duration>) -> Option<Ticket> {
        if self.in_flight >= self.capacity && !mutant!(CapacityIgnored) {
            return None;
        }
        // Ends: there are more places than the capacity.
        loop {
            let id = self.number();
            if let Some(ticket) = self.take_place(id, owner, limit) {
                return Some(ticket);
            }
        }
    }

    /// The place of this number, if it is free.
    pub(crate) fn take_place(
        &mut self,
        id: TaskId,
        owner: Owner,
        limit: Option<Duration>,
    ) -> Option<Ticket> {
        let place = self.place(id);
        let entry = self.entries.get_mut(place)?;
        if entry.is_some() {
            return None;
        }
        let ticket = Ticket { id, attempt: 1 };
        *entry = Some(InFlight {
            ticket,
            crashes: 0,
            deaths_before_start: 0,
            cancelled: false,
            timed_out: false,
            limit,
            owner,
        });
        if limit.is_some() {
            self.note_limit(limit);
        }
        self.in_flight += 1;
        self.owned += usize::from(owner != Owner::Drain);
        self.task_stats.submitted += 1;
        Some(ticket)
    }

    /// The supervisor is to look sooner than it would, if this is shorter than what it knows.
    #[cold]
    pub(crate) fn note_limit(&mut self, limit: Option<Duration>) {
        if self.shortest_limit.is_none() || limit < self.shortest_limit {
            self.shortest_limit = limit;
            self.wake_above = 0;
        }
    }

    /// Tickets for as many tasks as there is room for, with these limits of their own, whose numbers are consecutive (RESULTS-2).
    /// `None`: there is no room now.
    pub(crate) fn reserve_range(
        &mut self,
        limits: &[Option<Duration>],
        owner: Owner,
    ) -> Result<Option<TicketRange>, Refused> {
        if let Some(what) = self.unknown {
            return Err(Refused::Unknown(what));
        }
        if !self.open {
            return Err(Refused::Closed);
        }
        if let Some(why) = &self.outage {
            return Err(Refused::NoWorkers(Arc::clone(why)));
        }
        let room = self.capacity - self.in_flight;
        let mut limits = limits.iter().take(room);
        let first = limits.next().and_then(|&limit| self.reserve(owner, limit));
        Ok(first.map(|ticket| {
            let mut count = 1;
            for &limit in limits {
                if self.take_place(TaskId(self.next), owner, limit).is_none() {
                    break;
                }
                self.next += 1;
                count += 1;
            }
            TicketRange { ticket, count }
        }))
    }

    pub(crate) fn remove(&mut self, id: TaskId) -> Option<InFlight> {
        let flight = self.entry(id)?.take()?;
        self.in_flight -= 1;
        self.owned -= usize::from(flight.owner != Owner::Drain);
        Some(flight)
    }

    /// A map has gone: its tasks in flight, if it has any, are cancelled, and are nobody's. Which these are, and the outcomes
    /// that nobody has taken.
    pub(crate) fn abandon(
        &mut self,
        stream: StreamId,
        has_tasks: bool,
    ) -> (Vec<TaskId>, VecDeque<EncodedOutcome>) {
        let mut cancelled = Vec::new();
        let entries = self.entries.iter_mut().filter(|_| has_tasks);
        for flight in entries.flatten() {
            if flight.owner == Owner::Map(stream) {
                flight.owner = Owner::Discarded;
                flight.cancelled = true;
                cancelled.push(flight.ticket.id);
            }
        }
        (cancelled, self.streams.close(stream))
    }

    /// File what a worker says of a task, unless its outcome is known, or it was started again since (RESULTS-1).
    pub(crate) fn record_result(&mut self, received: EncodedResult) {
        let EncodedResult { ticket, result } = received;
        let known = self.flight(ticket.id).map(|flight| *flight);
        let Some(flight) = known.filter(|flight| flight.ticket == ticket) else {
            return;
        };
        let result = match result {
            WorkerResult::Output(output) => Ok(output),
            WorkerResult::Failed(_) | WorkerResult::Cancelled if flight.timed_out => {
                Err(TaskError::TimedOut)
            }
            WorkerResult::Cancelled => Err(TaskError::Cancelled),
            WorkerResult::Failed(error) => Err(TaskError::Failed(error)),
            WorkerResult::Panicked(panic) => Err(TaskError::Panicked(panic)),
            WorkerResult::Transport(what) => Err(TaskError::Transport { what }),
        };
        let started = u32::from(!matches!(result, Err(TaskError::Cancelled)));
        self.record_outcome(ticket.id, flight.crashes + started, result);
    }

    /// File the outcome of a task, unless it is known (RESULTS-1).
    pub(crate) fn record_outcome(
        &mut self,
        id: TaskId,
        attempts: u32,
        result: Result<Encoded, TaskError<Encoded>>,
    ) {
        let Some(flight) = self.remove(id) else {
            return;
        };
        if mutant!(DoubleOutcome) && matches!(result, Err(TaskError::Crashed { .. })) {
            self.task_stats.count(&result);
        }
        self.task_stats.count(&result);
        let outcome = Outcome {
            id,
            attempts,
            result,
        };
        match flight.owner {
            Owner::Map(stream) => self.streams.push(stream, outcome),
            Owner::Handle => {
                self.for_handles.insert(id, outcome);
            }
            Owner::Drain => self.unclaimed.push_back(outcome),
            Owner::Discarded => {}
        }
    }

    /// Take the outcome that is kept for a handle.
    pub(crate) fn take_for_handle(&mut self, id: TaskId) -> Option<EncodedOutcome> {
        self.for_handles.remove(&id)
    }

    /// Take the next outcome that belongs to no handle.
    pub(crate) fn take_unclaimed(&mut self) -> NextUnclaimed<EncodedOutcome> {
        match self.unclaimed.pop_front() {
            Some(outcome) => NextUnclaimed::Outcome(outcome),
            None if self.in_flight == self.owned => NextUnclaimed::None,
            None => NextUnclaimed::Pending,
        }
    }

    /// Wake the supervisor, once, when more than `idle` tasks are in flight, if none is now, or else more than `busy`. How
    /// many are.
    pub(crate) fn wake_above(&mut self, idle: usize, busy: usize) -> usize {
        self.wake_above = if self.in_flight == 0 {
            // The next one that has a limit of its own wakes it.
            self.shortest_limit = None;
            idle
        } else {
            busy
        };
        self.in_flight
    }

    /// How long nothing needs to be looked at after a look at which nothing ran, for tasks with a limit of their own.
    pub(crate) fn shortest_limit(&self) -> Option<Duration> {
        self.shortest_limit
    }

    pub(crate) fn stored_count(&self) -> usize {
        self.for_handles.len() + self.unclaimed.len()
    }
}
