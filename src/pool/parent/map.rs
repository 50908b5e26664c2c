//! Many tasks from an iterator, a window of them at a time.
//!
//! A task of a map:
//!
//! | state     | where                              | leaves it                                                   |
//! |-----------|------------------------------------|-------------------------------------------------------------|
//! | in source | the caller's iterator              | there is room for a chunk in the window                     |
//! | in hand   | `pending`                          | the pool has room and memory: sent; it is shut down: refused |
//! | sent      | the pool; `in_order`, if order matters | its outcome is filed in the map's stream                    |
//! | received   | `received`, or its place in `in_order`  | given to the caller, in order if that matters               |
//!
//! MAP-1. Those in hand, sent and received are never more than the window, and never more than a chunk is in hand.
//! MAP-2. A wait ends with what comes first: outcomes of this map, or room and memory for what is in hand. So a pool that others
//!     have filled holds this map up, and never for good; and a caller whose outcomes are there never waits for either.
//! MAP-3. Each task that has left the source has one outcome: that which the pool files for it; or, if it was refused, that
//!     which is made up here. But for one whose [`time_limit`](Task::time_limit) panics: the caller gets the panic.
//! MAP-4. The user's code, which may panic or use the pool, is called while what is here adds up: the source and `time_limit`
//!     before a task is in hand, `Serialize` while it is in an envelope from which it can be taken back, `Drop` after it
//!     has been counted as sent, `Deserialize` after its outcome has left this map.

use super::dispatch::{MEMORY_WAIT, ReservedTickets, Unsent};
use super::results::{FORKED, MapStep, Refused, StreamId, TicketRange, WaitError};
use super::shared::Shared;
use crate::pool::outcome::{Outcome, TaskError, TaskId};
use crate::pool::task::{OutcomeOf, Task};
use crate::pool::wire::result_message::EncodedOutcome;
use crate::pool::wire::task_message::{Envelope, Payload};
use core::fmt;
use core::iter::FusedIterator;
use core::time::Duration;
use std::collections::VecDeque;

/// Tasks in a window for each worker, in chunks, unless something else is asked for; and how many there are at least.
const CHUNKS_EACH: usize = 4;
const LEAST_WINDOW: usize = 64;
/// The largest chunk: what is larger would not share the work out, nor cost less.
const LARGEST_CHUNK: usize = 1024;

/// Outcomes of the tasks of an iterator. Made by [`Pool::map`](crate::pool::Pool::map) and [`Pool::map_unordered`](crate::pool::Pool::map_unordered).
#[must_use = "iterators do nothing unless consumed"]
pub struct Map<'a, T: Task, I: Iterator<Item = T>> {
    shared: &'a Shared<T>,
    /// None once it has ended, or nothing more of it is wanted.
    source: Option<I>,
    chunk: usize,
    window: Option<usize>,
    /// None before the first task.
    stream: Option<StreamId>,
    pending: VecDeque<T>,
    /// So many of them are to be sent one by one: they can't be sent together.
    send_singly: usize,
    /// Whether the last of them could not be sent for lack of memory.
    is_starved: bool,
    /// How long each of those may range, if it says so itself.
    limits: Vec<Option<Duration>>,
    /// Sent, or refused, and not given to the caller yet.
    outstanding: usize,
    received: VecDeque<EncodedOutcome>,
    /// In the order of the tasks, if that matters: all that are outstanding.
    in_order: Option<VecDeque<OrderedPlace>>,
}

/// A task's place in the line.
struct OrderedPlace {
    id: TaskId,
    outcome: Option<EncodedOutcome>,
}

impl<'a, T: Task, I: Iterator<Item = T>> Map<'a, T, I> {
    pub(super) fn new(shared: &'a Shared<T>, source: I, is_ordered: bool) -> Self {
        Self {
            shared,
            source: Some(source),
            chunk: 1,
            window: None,
            stream: None,
            pending: VecDeque::new(),
            send_singly: 0,
            is_starved: false,
            limits: Vec::new(),
            outstanding: 0,
            received: VecDeque::new(),
            in_order: is_ordered.then(VecDeque::new),
        }
    }

    /// How many tasks are sent at once, to the same worker: 1 to 1,024, by default 1.
    ///
    /// What it costs to hand a task over is then shared by all of a chunk, which matters for tasks that take a few
    /// microseconds or less. On the other hand a chunk is taken from the iterator as a whole before any of it is sent, and
    /// one worker is busy with it while others may be idle: leave long tasks alone. Nothing else changes: each task has
    /// its own outcome, which is sent as soon as it is done, and if the worker dies, only the task that it was running is
    /// lost, or [tried again](crate::pool::Builder::retries); the others of the chunk go to other workers.
    ///
    /// Tasks that are too large together for one message are sent one by one.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
    /// let squares = pool.map((0..1000).map(Square)).chunk(100);
    /// assert_eq!(squares.filter_map(|outcome| outcome.result.ok()).last(), Some(998_001));
    /// # Ok(())
    /// # }
    /// ```
    pub fn chunk(mut self, chunk: usize) -> Self {
        self.chunk = chunk.clamp(1, LARGEST_CHUNK);
        self
    }

    /// How many tasks have been taken from the iterator, and their outcomes not been given to the caller, at the most: at
    /// least a chunk; by default four chunks for each worker, and at least 64.
    ///
    /// A window larger than the pool's [capacity](crate::pool::Builder::capacity) allows for outcomes that wait for the caller.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
    /// let taken = std::cell::Cell::new(0);
    /// let tasks = (0..1000).map(|n| {
    ///     taken.set(n + 1);
    ///     Square(n)
    /// });
    /// let mut squares = pool.map(tasks).window(10);
    /// assert_eq!(squares.next().expect("the first").result?, 0);
    /// assert_eq!(taken.get(), 10);
    /// # Ok(())
    /// # }
    /// ```
    pub fn window(mut self, window: usize) -> Self {
        self.window = Some(window);
        self
    }

    fn window_or_default(&self) -> usize {
        let by_default = || {
            let workers = self.shared.settings.workers.max as usize;
            LEAST_WINDOW.max(CHUNKS_EACH * workers * self.chunk)
        };
        self.window.unwrap_or_else(by_default).max(self.chunk)
    }

    fn stream(&mut self) -> StreamId {
        let results = &self.shared.results;
        *self.stream.get_or_insert_with(|| results.open_stream())
    }

    /// Send what there is room for, without waiting (MAP-1).
    fn send_available(&mut self) {
        while self.take_chunk() {
            if !self.shared.origin.is_current() {
                self.refuse(&Refused::Unknown(FORKED));
                return;
            }
            let stream = self.stream();
            let results = &self.shared.results;
            match results.reserve_range(stream, &self.limits) {
                Ok(Some(range)) => {
                    if !self.send(range, None) {
                        return;
                    }
                }
                Ok(None) => return,
                Err(refused) => self.refuse(&refused),
            }
        }
    }

    /// Take a chunk from the source if there is room for one. Whether anything is in hand.
    fn take_chunk(&mut self) -> bool {
        if self.pending.is_empty()
            && (mutant!(WindowIgnored) || self.outstanding + self.chunk <= self.window_or_default())
            && let Some(source) = &mut self.source
        {
            for task in source.by_ref().take(self.chunk) {
                self.limits.push(task.time_limit());
                self.pending.push_back(task);
            }
            if self.pending.len() < self.chunk {
                self.source = None;
            }
        }
        !self.pending.is_empty()
    }

    /// Send those in hand for which these tickets are; wait for memory for so long. False: some of them, or all, are
    /// still in hand, and their tickets are given back.
    fn send(&mut self, range: TicketRange, timeout: Option<Duration>) -> bool {
        let shared = self.shared;
        self.is_starved = false;
        let mut reserved = ReservedTickets::new(&shared.results, range.ticket, range.count);
        if range.count > 1 && self.send_singly == 0 {
            let tasks = self.pending.drain(..range.count).collect();
            let (ticket, payload) = (range.ticket, Payload::Chunk(tasks));
            let envelope = Envelope { ticket, payload };
            match shared.offer_caught(&envelope, timeout) {
                Ok(()) => {
                    reserved.mark_sent();
                    self.record_sent(range);
                    return true;
                }
                Err(Unsent::NotYet) => {
                    self.take_back(envelope);
                    return self.starve(reserved);
                }
                Err(Unsent::Permanent(_)) => {
                    self.take_back(envelope);
                    self.send_singly = range.count;
                }
            }
        }
        while reserved.range().count > 0
            && let Some(task) = self.pending.pop_front()
        {
            let (ticket, payload) = (reserved.range().ticket, Payload::Task(task));
            let envelope = Envelope { ticket, payload };
            match shared.offer_caught(&envelope, timeout) {
                Ok(()) => {}
                Err(Unsent::NotYet) => {
                    self.take_back(envelope);
                    return self.starve(reserved);
                }
                Err(Unsent::Permanent(error)) => shared.cannot_send(ticket, &error),
            }
            reserved.mark_first_sent();
            self.send_singly = self.send_singly.saturating_sub(1);
            self.record_sent(TicketRange { ticket, count: 1 });
        }
        true
    }

    fn take_back(&mut self, envelope: Envelope<T>) {
        for task in envelope.into_tasks().into_iter().rev() {
            self.pending.push_front(task);
        }
    }

    /// There is no memory for the first of those in hand. True: they have outcomes, since the pool's end came in between.
    fn starve(&mut self, reserved: ReservedTickets<'_>) -> bool {
        let range = reserved.range();
        if reserved.withdraw() {
            self.is_starved = true;
            return false;
        }
        let _ended: Vec<T> = self.pending.drain(..range.count).collect();
        self.record_sent(range);
        true
    }

    /// These have left this map's hands, and have an outcome, or will have one.
    fn record_sent(&mut self, range: TicketRange) {
        let TicketRange { ticket, count } = range;
        self.outstanding += count;
        self.limits.drain(..count);
        if let Some(in_order) = &mut self.in_order {
            in_order.extend((0..count).map(|n| OrderedPlace {
                id: ticket.nth(n).id,
                outcome: None,
            }));
        }
    }

    /// The pool takes nothing more: what is in hand has its outcome (MAP-3), and the rest stays where it is.
    #[cold]
    fn refuse(&mut self, refused: &Refused) {
        let results = &self.shared.results;
        let source = self.source.take();
        let pending = core::mem::take(&mut self.pending);
        self.limits.clear();
        self.send_singly = 0;
        for _ in 0..pending.len() {
            let error = match refused {
                Refused::Unknown(what) => TaskError::Unknown { what },
                Refused::NoWorkers(why) => TaskError::NoWorkers {
                    why: why.as_ref().to_owned(),
                },
                Refused::Closed | Refused::Unclaimed { .. } => TaskError::Cancelled,
            };
            let id = if results.is_here() {
                results.number()
            } else {
                TaskId::NONE
            };
            let outcome = Outcome {
                id,
                attempts: 0,
                result: Err(error),
            };
            self.outstanding += 1;
            match &mut self.in_order {
                Some(in_order) => in_order.push_back(OrderedPlace {
                    id,
                    outcome: Some(outcome),
                }),
                None => self.received.push_back(outcome),
            }
        }
        // Last: their `Drop` is the user's (MAP-4).
        drop((pending, source));
    }

    /// In a forked child: nothing comes for what was sent.
    #[cold]
    fn lose(&mut self, what: &'static str) {
        match &mut self.in_order {
            Some(in_order) => {
                for place in in_order {
                    let lost = || Outcome::unknown(place.id, what);
                    place.outcome.get_or_insert_with(lost);
                }
            }
            // Which of them are missing is not known here.
            None => self
                .received
                .resize_with(self.outstanding, || Outcome::unknown(TaskId::NONE, what)),
        }
    }

    /// The next outcome for the caller, if it is there.
    fn take(&mut self) -> Option<OutcomeOf<T>> {
        let outcome = match &mut self.in_order {
            None => self.received.pop_front(),
            Some(in_order) => {
                for outcome in self.received.drain(..) {
                    let place = in_order.binary_search_by_key(&outcome.id, |place| place.id);
                    if let Some(place) = place.ok().and_then(|place| in_order.get_mut(place)) {
                        place.outcome = Some(outcome);
                    }
                }
                let first = in_order.front_mut().and_then(|place| place.outcome.take());
                if first.is_some() {
                    in_order.pop_front();
                }
                first
            }
        }?;
        self.outstanding -= 1;
        Some(self.shared.open(outcome))
    }

    /// MAP-2. False: nothing will ever come.
    fn wait(&mut self) -> bool {
        let results = &self.shared.results;
        if !results.is_here() {
            self.lose(FORKED);
            return true;
        }
        if self.is_starved {
            return self.wait_for_memory();
        }
        let stream = self.stream();
        match results.step(stream, &self.limits, &mut self.received) {
            Ok(MapStep::Outcomes) => {}
            Ok(MapStep::Reserved(range)) => {
                self.send(range, None);
            }
            Ok(MapStep::Refused(refused)) => self.refuse(&refused),
            Err(WaitError::Unknown(what)) => {
                results.lose(what);
                return results.step(stream, &[], &mut self.received).is_ok();
            }
            Err(WaitError::Ended | WaitError::Deadline) => return false,
        }
        true
    }

    /// What is in hand is so large that there are no blocks for it now. They are freed by workers, who may be waiting for
    /// this process to take results.
    #[cold]
    fn wait_for_memory(&mut self) -> bool {
        let stream = self.stream();
        let results = &self.shared.results;
        // The code of the tasks may have forked meanwhile.
        while results.is_here() && !results.take_arrived(stream, &mut self.received) {
            match results.reserve_range(stream, &self.limits) {
                Ok(Some(range)) => {
                    if self.send(range, Some(MEMORY_WAIT)) {
                        break;
                    }
                }
                Ok(None) => {
                    self.is_starved = false;
                    return self.wait();
                }
                Err(refused) => {
                    self.refuse(&refused);
                    break;
                }
            }
        }
        true
    }
}

impl<T: Task, I: Iterator<Item = T>> Iterator for Map<'_, T, I> {
    type Item = OutcomeOf<T>;

    fn next(&mut self) -> Option<OutcomeOf<T>> {
        loop {
            self.send_available();
            if let Some(outcome) = self.take() {
                return Some(outcome);
            }
            if self.outstanding == 0 && self.pending.is_empty() || !self.wait() {
                return None;
            }
        }
    }
}

/// After its end it stays at its end, whatever the iterator of tasks does.
impl<T: Task, I: Iterator<Item = T>> FusedIterator for Map<'_, T, I> {}

impl<T: Task, I: Iterator<Item = T>> Drop for Map<'_, T, I> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream
            && self.shared.origin.is_current()
        {
            self.shared.abandon(stream, self.outstanding > 0);
        }
    }
}

impl<T: Task, I: Iterator<Item = T>> fmt::Debug for Map<'_, T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map")
            .field("chunk", &self.chunk)
            .field("window", &self.window_or_default())
            .field("outstanding", &self.outstanding)
            .finish_non_exhaustive()
    }
}
