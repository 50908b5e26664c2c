//! The parent's own memory of its tasks: which are in flight, and outcomes that nobody has claimed yet.
//!
//! A task, as the inbox knows it:
//!
//! | state    | where                               | leaves it                                             |
//! |----------|-------------------------------------|-------------------------------------------------------|
//! | reserved | `flights`, not sent yet             | sent: in flight; refused: withdrawn, as if never there |
//! | in flight| `flights`                           | its answer arrives, or the supervisor knows of its end |
//! | kept     | `kept`, for its handle              | the handle takes it; is dropped: loose                 |
//! | arrived  | `streams`, for its map              | the map takes it; is dropped: gone                     |
//! | loose    | `loose`, for whoever drains         | `drain`                                                |
//!
//! RESULTS-1. A task has one outcome: whoever files it removes the flight, and what comes later for the same number and
//!     attempt, or another attempt, finds no flight and is dropped.
//! RESULTS-2. The flight of task n has the place n modulo the number of places; a number whose place is taken is skipped. So
//!     no two tasks in flight share a place, here or on the board.
//! RESULTS-3. At most `capacity` tasks are in flight, and the results queue has room for as many results: no worker ever
//!     waits for its parent to read, unless results are so large that there are fewer blocks for them.
//! RESULTS-4. At most one thread, the *leader*, receives from the results queue, and it does so without the lock. Whoever
//!     waits and finds no leader becomes it; the others sleep on `changed`, and are woken after each batch and when
//!     the lead is free. There is no thread whose business this is.
//! RESULTS-5. The supervisor, when it has to be sure that all results so far are filed, interrupts the leader and goes
//!     before everybody else (`urgent`).
//! RESULTS-6. Once `ended`, every task has its outcome, and no wait sleeps.
//! RESULTS-7. Nothing here is of the user's types: results stay [encoded](Encoded). So whatever the user's `Deserialize` and `Drop`
//!     do, they do it to the caller who claims the outcome, without the lock and without the lead.
//! RESULTS-8. The lead is given back, and what it has received is filed, also when receiving unwinds: a subscriber of `tracing`
//!     that is told of a dead process may panic. Where events go through [`crate::announce`], they wait until the lead and
//!     the lock are given back.
//! RESULTS-9. A forked child of the pool's process never takes the lock, which may have been held by a thread that the child does
//!     not have. Every function that callers reach looks whether it is in such a child first.

use super::envelope::{Arrived, ArrivedCodec, Done, Encoded, Sealed, Ticket};
use super::pace::Pace;
use super::report::Tally;
use super::streams::{StreamId, Streams};
use super::supervisor::Commands;
use super::task::{Outcome, TaskError, TaskId};
use crate::announce::later;
use crate::error::RecvTimeoutError;
use crate::os::fork::Origin;
use crate::queue::{Interrupter, Receiver};
use core::time::Duration;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Results received at a time: enough that the lock is taken rarely, few enough that none waits for long.
const BATCH: usize = 64;

/// What a forked child of the pool's process gets to hear.
pub(super) const FORKED: &str = "this process was forked from the pool's, and has no part in it";

pub(super) struct Results {
    state: Mutex<State>,
    changed: Condvar,
    queue: Receiver<Arrived, ArrivedCodec>,
    interrupter: Interrupter,
    supervisor: Arc<Commands>,
    max_unclaimed: usize,
    origin: Origin,
}

pub(super) struct State {
    /// Whether tasks are accepted.
    open: bool,
    /// RESULTS-6.
    ended: bool,
    /// What keeps this process from knowing any more.
    unknown: Option<&'static str>,
    /// Why no worker can be had, during an outage.
    outage: Option<Arc<str>>,
    next: u64,
    flights: Vec<Option<InFlight>>,
    in_flight: usize,
    /// Of these, the ones that are not for whoever drains.
    held: usize,
    capacity: usize,
    /// With more than so many in flight the supervisor wants to be woken.
    wake_above: usize,
    /// The shortest limit that a task has of its own, of those that were accepted since nothing was in flight. While it is
    /// there, the supervisor looks at its workers that often.
    shortest_limit: Option<Duration>,
    kept: HashMap<TaskId, Sealed>,
    loose: VecDeque<Sealed>,
    streams: Streams<Sealed>,
    tally: Tally,
    has_leader: bool,
    followers: usize,
    /// How often results come.
    pace: Pace,
    urgent: usize,
    /// The leader's, while there is one.
    buffer: Vec<Arrived>,
}

/// A task whose outcome is not known yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct InFlight {
    pub(super) ticket: Ticket,
    /// How often it was started, as far as anybody knows: attempts that ended with their worker.
    pub(super) crashes: u32,
    /// How many workers have died with it in hand that had not begun it.
    pub(super) unbegun: u32,
    /// Whether somebody has asked for its end.
    pub(super) cancelled: bool,
    /// Whether it has run for too long: how it ends from now on is a time-out.
    pub(super) timed_out: bool,
    /// How long it may run, if it says so itself.
    pub(super) limit: Option<Duration>,
    owner: Owner,
}

/// Whose an outcome is going to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A handle's, which knows its number.
    Handle,
    /// A map's.
    Stream(StreamId),
    /// That of whoever drains.
    Anybody,
    /// Nobody's any more.
    Nobody,
}

/// Tickets for tasks with consecutive numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// That of the first.
    pub(super) ticket: Ticket,
    pub(super) count: usize,
}

/// What a map can go on with.
#[derive(Debug)]
pub(super) enum Step {
    /// Outcomes of its own.
    Arrived,
    /// Room for tasks, perhaps not for as many as were wanted.
    Room(Run),
    Refused(Refused),
}

/// Why no task is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
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
pub(super) enum Vain {
    Deadline,
    /// Nothing will ever come.
    Ended,
    Unknown(&'static str),
}

/// Whether there is an outcome that belongs to no handle.
pub(super) enum Unclaimed<O> {
    Here(O),
    /// One is on its way.
    NotYet,
    /// None will come by itself.
    None,
}

impl State {
    fn place(&self, id: TaskId) -> usize {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "masked to less than the number of places"
        )]
        {
            (id.0 & (self.flights.len() as u64 - 1)) as usize
        }
    }

    fn entry(&mut self, id: TaskId) -> Option<&mut Option<InFlight>> {
        let place = self.place(id);
        let entry = self.flights.get_mut(place)?;
        entry
            .is_some_and(|flight| flight.ticket.id == id)
            .then_some(entry)
    }

    /// The flight of a task; none if its outcome is known.
    pub(super) fn flight(&mut self, id: TaskId) -> Option<&mut InFlight> {
        self.entry(id)?.as_mut()
    }

    /// All tasks whose outcome is not known.
    pub(super) fn flights(&self) -> Vec<TaskId> {
        let flights = self.flights.iter().flatten();
        flights.map(|flight| flight.ticket.id).collect()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// A number that no other task has, or will have.
    fn number(&mut self) -> TaskId {
        let id = TaskId(self.next);
        self.next += 1;
        id
    }

    /// A ticket for another task; `None`: there are as many in flight as there may be.
    fn reserve(&mut self, owner: Owner, limit: Option<Duration>) -> Option<Ticket> {
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
    fn take_place(&mut self, id: TaskId, owner: Owner, limit: Option<Duration>) -> Option<Ticket> {
        let place = self.place(id);
        let entry = self.flights.get_mut(place)?;
        if entry.is_some() {
            return None;
        }
        let ticket = Ticket { id, attempt: 1 };
        *entry = Some(InFlight {
            ticket,
            crashes: 0,
            unbegun: 0,
            cancelled: false,
            timed_out: false,
            limit,
            owner,
        });
        if limit.is_some() {
            self.note_limit(limit);
        }
        self.in_flight += 1;
        self.held += usize::from(owner != Owner::Anybody);
        self.tally.submitted += 1;
        Some(ticket)
    }

    /// The supervisor is to look sooner than it would, if this is shorter than what it knows.
    #[cold]
    fn note_limit(&mut self, limit: Option<Duration>) {
        if self.shortest_limit.is_none() || limit < self.shortest_limit {
            self.shortest_limit = limit;
            self.wake_above = 0;
        }
    }

    /// Tickets for as many tasks as there is room for, with these limits of their own, whose numbers are consecutive (RESULTS-2).
    /// `None`: there is no room now.
    fn reserve_run(
        &mut self,
        limits: &[Option<Duration>],
        owner: Owner,
    ) -> Result<Option<Run>, Refused> {
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
            Run { ticket, count }
        }))
    }

    fn remove(&mut self, id: TaskId) -> Option<InFlight> {
        let flight = self.entry(id)?.take()?;
        self.in_flight -= 1;
        self.held -= usize::from(flight.owner != Owner::Anybody);
        Some(flight)
    }

    /// A map has gone: its tasks in flight, if it has any, are cancelled, and are nobody's. Which these are, and the outcomes
    /// that nobody has taken.
    fn abandon(&mut self, stream: StreamId, has_tasks: bool) -> (Vec<TaskId>, VecDeque<Sealed>) {
        let mut cancelled = Vec::new();
        let flights = self.flights.iter_mut().filter(|_| has_tasks);
        for flight in flights.flatten() {
            if flight.owner == Owner::Stream(stream) {
                flight.owner = Owner::Nobody;
                flight.cancelled = true;
                cancelled.push(flight.ticket.id);
            }
        }
        (cancelled, self.streams.close(stream))
    }

    /// File what a worker says of a task, unless its outcome is known, or it was started again since (RESULTS-1).
    fn arrive(&mut self, arrived: Arrived) {
        let Arrived { ticket, done } = arrived;
        let known = self.flight(ticket.id).map(|flight| *flight);
        let Some(flight) = known.filter(|flight| flight.ticket == ticket) else {
            return;
        };
        let result = match done {
            Done::Output(output) => Ok(output),
            Done::Failed(_) | Done::Cancelled if flight.timed_out => Err(TaskError::TimedOut),
            Done::Cancelled => Err(TaskError::Cancelled),
            Done::Failed(error) => Err(TaskError::Failed(error)),
            Done::Panicked(panic) => Err(TaskError::Panicked(panic)),
            Done::Transport(what) => Err(TaskError::Transport { what }),
        };
        let started = u32::from(!matches!(result, Err(TaskError::Cancelled)));
        self.file(ticket.id, flight.crashes + started, result);
    }

    /// File the outcome of a task, unless it is known (RESULTS-1).
    pub(super) fn file(
        &mut self,
        id: TaskId,
        attempts: u32,
        result: Result<Encoded, TaskError<Encoded>>,
    ) {
        let Some(flight) = self.remove(id) else {
            return;
        };
        if mutant!(DoubleOutcome) && matches!(result, Err(TaskError::Crashed { .. })) {
            self.tally.count(&result);
        }
        self.tally.count(&result);
        let outcome = Outcome {
            id,
            attempts,
            result,
        };
        match flight.owner {
            Owner::Stream(stream) => self.streams.push(stream, outcome),
            Owner::Handle => {
                self.kept.insert(id, outcome);
            }
            Owner::Anybody => self.loose.push_back(outcome),
            Owner::Nobody => {}
        }
    }

    /// Take the outcome that is kept for a handle.
    pub(super) fn take_kept(&mut self, id: TaskId) -> Option<Sealed> {
        self.kept.remove(&id)
    }

    /// Take the next outcome that belongs to no handle.
    pub(super) fn take_loose(&mut self) -> Unclaimed<Sealed> {
        match self.loose.pop_front() {
            Some(outcome) => Unclaimed::Here(outcome),
            None if self.in_flight == self.held => Unclaimed::None,
            None => Unclaimed::NotYet,
        }
    }

    /// Wake the supervisor, once, when more than `idle` tasks are in flight, if none is now, or else more than `busy`. How
    /// many are.
    pub(super) fn wake_above(&mut self, idle: usize, busy: usize) -> usize {
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
    pub(super) fn shortest_limit(&self) -> Option<Duration> {
        self.shortest_limit
    }

    fn unclaimed(&self) -> usize {
        self.kept.len() + self.loose.len()
    }
}

impl Results {
    /// Room for `capacity` tasks in flight, with `places` for them: a power of two, more than the capacity.
    pub(super) fn new(
        results: Receiver<Arrived, ArrivedCodec>,
        capacity: usize,
        places: usize,
        max_unclaimed_results: usize,
        supervisor: Arc<Commands>,
        origin: Origin,
    ) -> Self {
        debug_assert!(places.is_power_of_two() && places > capacity);
        let state = State {
            open: true,
            ended: false,
            unknown: None,
            outage: None,
            next: 0,
            flights: vec![None; places],
            in_flight: 0,
            held: 0,
            capacity,
            wake_above: usize::MAX,
            shortest_limit: None,
            kept: HashMap::new(),
            loose: VecDeque::new(),
            streams: Streams::default(),
            tally: Tally::default(),
            has_leader: false,
            followers: 0,
            pace: Pace::default(),
            urgent: 0,
            buffer: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            interrupter: results.interrupter(),
            queue: results,
            supervisor,
            max_unclaimed: max_unclaimed_results,
            origin,
        }
    }

    /// A ticket for a task that is about to be sent, and has this limit of its own. While there is no room, wait until `deadline` (none: for ever),
    /// moving results into this inbox.
    pub(super) fn reserve(
        &self,
        owner: Owner,
        limit: Option<Duration>,
        deadline: Option<Instant>,
    ) -> Result<Result<Ticket, Refused>, Vain> {
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
                self.rouse(state);
                return Some(Ok(ticket));
            }
            (state.unclaimed() >= max && !mutant!(UnclaimedUnbounded))
                .then_some(Err(Refused::Unclaimed { max }))
        })
    }

    /// Moves the outcomes of a map that have arrived into `arrived`, which is empty. False: there are none.
    pub(super) fn take_arrived(&self, stream: StreamId, arrived: &mut VecDeque<Sealed>) -> bool {
        self.glance();
        self.with(|state| state.streams.take(stream, arrived))
    }

    /// An output that was counted as such could not be decoded by the caller who has claimed it.
    #[cold]
    pub(super) fn recount_undecodable(&self) {
        if self.is_here() {
            self.with(|state| state.tally.recount_undecodable());
        }
    }

    /// The number of a task that is not accepted.
    pub(super) fn number(&self) -> TaskId {
        self.with(State::number)
    }

    /// A place for the outcomes of a map.
    pub(super) fn open_stream(&self) -> StreamId {
        self.with(|state| state.streams.open())
    }

    /// See `State::abandon`.
    pub(super) fn abandon(
        &self,
        stream: StreamId,
        has_tasks: bool,
    ) -> (Vec<TaskId>, VecDeque<Sealed>) {
        self.with(|state| state.abandon(stream, has_tasks))
    }

    /// Room for tasks of a map, which have these limits of their own, if there is some now: perhaps not for all.
    pub(super) fn reserve_run(
        &self,
        stream: StreamId,
        limits: &[Option<Duration>],
    ) -> Result<Option<Run>, Refused> {
        self.with(|state| {
            let run = state.reserve_run(limits, Owner::Stream(stream));
            self.rouse(state);
            run
        })
    }

    /// Wait until a map can go on: with outcomes, all of which are moved into `arrived`, which is empty; or with room for
    /// tasks, if it has any, whose own `limits` these are.
    pub(super) fn step(
        &self,
        stream: StreamId,
        limits: &[Option<Duration>],
        arrived: &mut VecDeque<Sealed>,
    ) -> Result<Step, Vain> {
        self.wait_until(None, |state| {
            if state.streams.take(stream, arrived) {
                return Some(Step::Arrived);
            }
            if limits.is_empty() {
                return None;
            }
            let run = state.reserve_run(limits, Owner::Stream(stream));
            self.rouse(state);
            match run {
                Ok(run) => run.map(Step::Room),
                Err(refused) => Some(Step::Refused(refused)),
            }
        })
    }

    /// Wake the supervisor, once, if more is in flight than it can do without a look at its workers.
    fn rouse(&self, state: &mut State) {
        if state.in_flight > state.wake_above {
            state.wake_above = usize::MAX;
            self.supervisor.ring();
        }
    }

    /// The tasks of these tickets were not sent after all. False: they have outcomes already, all of them, since the pool's
    /// end came in between. In a forked child, which the task's own code may have made meanwhile, there is nothing to do.
    pub(super) fn withdraw(&self, run: Run) -> bool {
        if !self.is_here() {
            return true;
        }
        self.change(|state| {
            let withdrawn =
                (0..run.count).filter(|&n| state.remove(run.ticket.nth(n).id).is_some());
            let withdrawn = withdrawn.count();
            state.tally.submitted -= withdrawn as u64;
            withdrawn > 0
        })
    }

    /// Whether this is the pool's process, and not a forked child of it (RESULTS-9).
    #[inline]
    pub(super) fn is_here(&self) -> bool {
        self.origin.is_here()
    }

    /// Do something with the state, in a moment. Not in a forked child (RESULTS-9).
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock())
    }

    /// As [`with`](Results::with), where others may be waiting for what it changes.
    pub(super) fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = act(&mut state);
        self.tell(&state);
        result
    }

    /// No task is accepted from now on.
    pub(super) fn refuse(&self) {
        self.change(|state| state.open = false);
    }

    /// No task is accepted while there is a cause why no worker can be had.
    pub(super) fn set_outage(&self, cause: Option<Arc<str>>) {
        self.change(|state| state.outage = cause);
    }

    /// Nothing will come any more (RESULTS-6).
    pub(super) fn end(&self) {
        self.change(|state| {
            debug_assert_eq!(state.in_flight, 0, "a task without an outcome");
            state.open = false;
            state.ended = true;
        });
    }

    /// Nothing can be known any more: whatever has no outcome gets one that says so.
    pub(super) fn lose(&self, what: &'static str) {
        self.change(|state| {
            for id in state.flights() {
                state.file(id, 0, Err(TaskError::Unknown { what }));
            }
            state.open = false;
            state.unknown = Some(what);
        });
    }

    /// The handle of a task is gone: its outcome is anybody's.
    pub(super) fn release(&self, id: TaskId) {
        if !self.is_here() {
            return;
        }
        let mut state = self.state.lock();
        if let Some(flight) = state.flight(id)
            && flight.owner == Owner::Handle
        {
            flight.owner = Owner::Anybody;
            state.held -= 1;
        } else if let Some(outcome) = state.kept.remove(&id) {
            if mutant!(DroppedHandleLosesOutcome) {
                return;
            }
            state.loose.push_back(outcome);
            self.tell(&state);
        }
    }

    /// All look again: those who sleep, and the leader.
    fn tell(&self, state: &State) {
        if state.followers > 0 {
            self.changed.notify_all();
        }
        if state.has_leader {
            self.interrupter.interrupt();
        }
    }

    /// Wait until `look` finds something, receiving results meanwhile if nobody else does (RESULTS-4).
    pub(super) fn wait_until<R>(
        &self,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut State) -> Option<R>,
    ) -> Result<R, Vain> {
        if !self.is_here() {
            return Err(Vain::Unknown(FORKED));
        }
        let _later = later();
        let mut state = self.state.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Ok(found);
            }
            if let Some(what) = state.unknown {
                return Err(Vain::Unknown(what));
            }
            if state.ended {
                return Err(Vain::Ended);
            }
            if !state.has_leader && state.urgent == 0 {
                let (again, is_late) = self.lead(state, deadline);
                state = again;
                if is_late {
                    return look(&mut state).ok_or(Vain::Deadline);
                }
                continue;
            }
            state.followers += 1;
            let is_late = match deadline {
                None => {
                    self.changed.wait(&mut state);
                    false
                }
                Some(deadline) => self.changed.wait_until(&mut state, deadline).timed_out(),
            };
            state.followers -= 1;
            if is_late {
                return look(&mut state).ok_or(Vain::Deadline);
            }
        }
    }

    /// Receive once, as the leader, and file what has come. True: the deadline has passed.
    fn lead<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, State>, bool) {
        let (pace, are_several_due) = (state.pace, state.in_flight > 1);
        let mut lead = Lead::take(self, state);
        if are_several_due && deadline.is_none_or(|deadline| deadline > Instant::now()) {
            pace.give_way_if(|| self.queue.is_empty());
        }
        let received = match deadline {
            None => self
                .queue
                .recv_many(&mut lead.buffer, BATCH)
                .map_err(Into::into),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                self.queue.recv_many_timeout(&mut lead.buffer, BATCH, left)
            }
        };
        let mut state = lead.give_back();
        if received.is_ok() {
            state.pace.step();
        }
        let mut is_late = false;
        match received {
            Ok(_) | Err(RecvTimeoutError::Interrupted | RecvTimeoutError::Decode(_)) => {}
            Err(RecvTimeoutError::Timeout) => is_late = true,
            // Only the supervisor closes it, and says so afterwards.
            Err(RecvTimeoutError::Closed) => state = self.await_the_end(state),
            Err(error) => state.unknown = Some(unknown(&error)),
        }
        if state.followers > 0 {
            self.changed.notify_all();
        }
        (state, is_late)
    }

    /// The results queue is closed: the supervisor is about to file what is left.
    fn await_the_end<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while !state.ended && state.unknown.is_none() {
            state.followers += 1;
            self.changed.wait(&mut state);
            state.followers -= 1;
        }
        state
    }

    /// File all results that have been accepted so far, before anybody else receives (RESULTS-5). For the supervisor.
    pub(super) fn collect(&self) {
        let mut state = self.state.lock();
        state.urgent += 1;
        while state.has_leader {
            self.interrupter.interrupt();
            state.followers += 1;
            self.changed.wait(&mut state);
            state.followers -= 1;
        }
        state.urgent -= 1;
        let mut lead = Lead::take(self, state);
        let end = loop {
            let received = self
                .queue
                .recv_many_timeout(&mut lead.buffer, BATCH, Duration::ZERO);
            match received {
                Ok(_) | Err(RecvTimeoutError::Interrupted | RecvTimeoutError::Decode(_)) => {
                    lead.file();
                }
                Err(error) => break error,
            }
        };
        let mut state = lead.give_back();
        if !matches!(end, RecvTimeoutError::Timeout | RecvTimeoutError::Closed) {
            state.unknown = Some(unknown(&end));
        }
        self.changed.notify_all();
    }

    /// File what has arrived, unless somebody else is doing so.
    pub(super) fn glance(&self) {
        if !self.is_here() {
            return;
        }
        let _later = later();
        let state = self.state.lock();
        if !state.has_leader && state.urgent == 0 {
            drop(self.lead(state, Some(Instant::now())));
        }
    }

    /// For reports of processes that have ended, and the closing of the queue.
    pub(super) fn results(&self) -> &Receiver<Arrived, ArrivedCodec> {
        &self.queue
    }
}

/// The lead (RESULTS-4), and what its holder has received and not filed yet. Given back in any case (RESULTS-8).
struct Lead<'a> {
    inbox: &'a Results,
    buffer: Vec<Arrived>,
    is_over: bool,
}

impl<'a> Lead<'a> {
    /// There is no leader now.
    fn take(inbox: &'a Results, mut state: MutexGuard<'a, State>) -> Self {
        state.has_leader = true;
        Self {
            inbox,
            buffer: core::mem::take(&mut state.buffer),
            is_over: false,
        }
    }

    /// Files what has been received so far.
    fn file(&mut self) {
        let mut state = self.inbox.state.lock();
        self.file_in(&mut state);
    }

    fn file_in(&mut self, state: &mut State) {
        for arrived in self.buffer.drain(..) {
            state.arrive(arrived);
        }
    }

    /// Files what has been received. Whoever waits has to look again.
    fn give_back(mut self) -> MutexGuard<'a, State> {
        let mut state = self.inbox.state.lock();
        self.end(&mut state);
        state
    }

    fn end(&mut self, state: &mut State) {
        self.file_in(state);
        state.buffer = core::mem::take(&mut self.buffer);
        state.has_leader = false;
        self.is_over = true;
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        if !self.is_over && self.inbox.is_here() {
            let mut state = self.inbox.state.lock();
            self.end(&mut state);
            self.inbox.changed.notify_all();
        }
    }
}

/// Why nothing more can be known, in words.
fn unknown(error: &RecvTimeoutError) -> &'static str {
    match error {
        RecvTimeoutError::Forked => FORKED,
        RecvTimeoutError::Corrupt { what } => what,
        _ => "the results can't be received",
    }
}
