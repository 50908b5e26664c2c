//! What callers and the supervisor do with the results.

use super::receive::Results;
use super::state::{MapStep, Owner, Refused, State, TicketRange, WaitError};
use super::streams::StreamId;
use crate::pool::outcome::{TaskError, TaskId};
use crate::pool::wire::result_message::EncodedOutcome;
use crate::pool::wire::ticket::Ticket;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

impl Results {
    /// A ticket for a task that is about to be sent, and has this limit of its own. While there is no room, wait until `deadline` (none: for ever),
    /// moving results into this results.
    pub(crate) fn reserve(
        &self,
        owner: Owner,
        limit: Option<Duration>,
        deadline: Option<Instant>,
    ) -> Result<Result<Ticket, Refused>, WaitError> {
        let max = self.max_unclaimed;
        self.wait_until(deadline, |state| {
            if let Some(what) = state.unknown {
                return Some(Err(Refused::Unknown(what)));
            }
            if !state.open {
                return Some(Err(Refused::Closed));
            }
            if let Some(why) = &state.outage {
                return Some(Err(Refused::NoWorkers(Arc::clone(why))));
            }
            if let Some(ticket) = state.reserve(owner, limit) {
                self.wake_supervisor(state);
                return Some(Ok(ticket));
            }
            (state.stored_count() >= max && !mutant!(UnclaimedUnbounded))
                .then_some(Err(Refused::Unclaimed { max }))
        })
    }

    /// Moves the outcomes of a map that have received into `received`, which is empty. False: there are none.
    pub(crate) fn take_arrived(
        &self,
        stream: StreamId,
        received: &mut VecDeque<EncodedOutcome>,
    ) -> bool {
        self.poll();
        self.with(|state| state.streams.take(stream, received))
    }

    /// An output that was counted as such could not be decoded by the caller who has claimed it.
    #[cold]
    pub(crate) fn recount_undecodable(&self) {
        if self.is_here() {
            self.with(|state| state.task_stats.recount_undecodable());
        }
    }

    /// The number of a task that is not accepted.
    pub(crate) fn number(&self) -> TaskId {
        self.with(State::number)
    }

    /// A place for the outcomes of a map.
    pub(crate) fn open_stream(&self) -> StreamId {
        self.with(|state| state.streams.open())
    }

    /// See `State::abandon`.
    pub(crate) fn abandon(
        &self,
        stream: StreamId,
        has_tasks: bool,
    ) -> (Vec<TaskId>, VecDeque<EncodedOutcome>) {
        self.with(|state| state.abandon(stream, has_tasks))
    }

    /// Room for tasks of a map, which have these limits of their own, if there is some now: perhaps not for all.
    pub(crate) fn reserve_range(
        &self,
        stream: StreamId,
        limits: &[Option<Duration>],
    ) -> Result<Option<TicketRange>, Refused> {
        self.with(|state| {
            let run = state.reserve_range(limits, Owner::Map(stream));
            self.wake_supervisor(state);
            run
        })
    }

    /// Wait until a map can go on: with outcomes, all of which are moved into `received`, which is empty; or with room for
    /// tasks, if it has any, whose own `limits` these are.
    pub(crate) fn step(
        &self,
        stream: StreamId,
        limits: &[Option<Duration>],
        received: &mut VecDeque<EncodedOutcome>,
    ) -> Result<MapStep, WaitError> {
        self.wait_until(None, |state| {
            if state.streams.take(stream, received) {
                return Some(MapStep::Outcomes);
            }
            if limits.is_empty() {
                return None;
            }
            let run = state.reserve_range(limits, Owner::Map(stream));
            self.wake_supervisor(state);
            match run {
                Ok(run) => run.map(MapStep::Reserved),
                Err(refused) => Some(MapStep::Refused(refused)),
            }
        })
    }

    /// Wake the supervisor, once, if more is in flight than it can do without a look at its workers.
    fn wake_supervisor(&self, state: &mut State) {
        if state.in_flight > state.wake_above {
            state.wake_above = usize::MAX;
            self.supervisor.notify();
        }
    }

    /// The tasks of these tickets were not sent after all. False: they have outcomes already, all of them, since the pool's
    /// end came in between. In a forked child, which the task's own code may have made meanwhile, there is nothing to do.
    pub(crate) fn withdraw(&self, run: TicketRange) -> bool {
        if !self.is_here() {
            return true;
        }
        self.change(|state| {
            let withdrawn =
                (0..run.count).filter(|&n| state.remove(run.ticket.nth(n).id).is_some());
            let withdrawn = withdrawn.count();
            state.task_stats.submitted -= withdrawn as u64;
            withdrawn > 0
        })
    }

    /// No task is accepted from now on.
    pub(crate) fn refuse(&self) {
        self.change(|state| state.open = false);
    }

    /// No task is accepted while there is a cause why no worker can be had.
    pub(crate) fn set_outage(&self, cause: Option<Arc<str>>) {
        self.change(|state| state.outage = cause);
    }

    /// Nothing will come any more (RESULTS-6).
    pub(crate) fn end(&self) {
        self.change(|state| {
            debug_assert_eq!(state.in_flight, 0, "a task without an outcome");
            state.open = false;
            state.ended = true;
        });
    }

    /// Nothing can be known any more: whatever has no outcome gets one that says so.
    pub(crate) fn lose(&self, what: &'static str) {
        self.change(|state| {
            for id in state.in_flight_ids() {
                state.record_outcome(id, 0, Err(TaskError::Unknown { what }));
            }
            state.open = false;
            state.unknown = Some(what);
        });
    }

    /// The handle of a task is gone: its outcome is anybody's.
    pub(crate) fn release(&self, id: TaskId) {
        if !self.is_here() {
            return;
        }
        let mut state = self.state.lock();
        if let Some(flight) = state.flight(id)
            && flight.owner == Owner::Handle
        {
            flight.owner = Owner::Drain;
            state.owned -= 1;
        } else if let Some(outcome) = state.for_handles.remove(&id) {
            if mutant!(DroppedHandleLosesOutcome) {
                return;
            }
            state.unclaimed.push_back(outcome);
            self.wake_waiters(&state);
        }
    }
}
