//! Maps: the tasks of an iterator, a window of them at a time.
//!
//! States of a task of a map:
//!
//! | state     | where                                 | leaves it                                               |
//! |-----------|---------------------------------------|---------------------------------------------------------|
//! | in source | the caller's iterator                 | the window has room for a chunk: pending, or, if chunks |
//! |           |                                       | are of one task and the pool has room for it, sent      |
//! | pending   | `pending`                             | the pool has room and memory: sent; it refuses: arrived |
//! | sent      | the pool; `in_order`, if ordered      | its outcome is recorded in the map's stream: arrived    |
//! | arrived   | `arrived`, or its place in `in_order` | returned to the caller, in order if ordered             |
//!
//! MAP-1. Together, the pending, sent and arrived tasks are never more than the window; the pending ones never more
//!     than a chunk.
//! MAP-2. A wait ends when outcomes of this map arrive, or when there is room and memory for the pending tasks,
//!     whichever is first. So a pool that other callers have filled delays this map, but not forever, and a caller
//!     whose outcomes have arrived waits for neither.
//! MAP-3. Each task that was taken from the source has one outcome: the one that the pool records, or, if the pool
//!     refuses it, one that the map makes. The exception is a task whose [`time_limit`](Task::time_limit) panics: the
//!     panic reaches the caller.
//! MAP-4. The program's code may panic or use the pool, so it is called only while the map's state is consistent: the
//!     source and `time_limit` before a task is pending, `Serialize` while the task can be taken back from its
//!     envelope, what makes its tag, and `Drop`, after the task was counted as sent, `Deserialize` after its outcome was
//!     counted as returned. The outcome is removed even if that unwinds.

mod kept;
#[cfg(feature = "async")]
mod poll;
mod refuse;
mod wait;

#[cfg(feature = "async")]
pub(super) use poll::MapWait;

use super::dispatch::ReservedAttempts;
use super::in_order::InOrder;
use super::results::{AttemptRange, FORKED, OwnLimits, ReserveError, StreamId};
use super::shared::Shared;
use crate::error::TrySubmitError;
use crate::pool::carried::Tag;
use crate::pool::task::{OutcomeOf, Task};
use crate::pool::wire::result_message::EncodedOutcome;
use crate::pool::wire::task_message::{Envelope, Payload, TaskKey};
use core::fmt;
use core::iter::FusedIterator;
use core::time::Duration;
use kept::KeptTasks;
use std::collections::VecDeque;

/// The default window, in chunks for each worker.
const CHUNKS_PER_WORKER: usize = 4;
/// The smallest default window.
const MIN_WINDOW: usize = 64;
/// The largest chunk. Larger ones would not cost less per task, and would distribute the work unevenly.
const MAX_CHUNK: usize = 1024;

/// An iterator over the outcomes of tasks. Returned by [`TypedPool::map`](crate::pool::TypedPool::map) and
/// [`TypedPool::map_unordered`](crate::pool::TypedPool::map_unordered).
#[must_use = "iterators do nothing unless consumed"]
pub struct Map<'a, T: Task, I: Iterator<Item = T>> {
    shared: &'a Shared,
    key: TaskKey,
    /// `None` once it has ended, or the pool has refused a task.
    source: Option<I>,
    chunk: usize,
    window: Option<usize>,
    /// `None` before the first task.
    stream: Option<StreamId>,
    pending: VecDeque<T>,
    /// The own limits of the pending tasks.
    limits: Vec<OwnLimits>,
    /// How many of the pending tasks are sent one by one, because they can't be sent as a chunk.
    send_singly: usize,
    /// Whether there was no memory for the first pending task.
    lacks_memory: bool,
    /// Tasks whose outcomes were not returned: sent or arrived.
    outstanding: usize,
    arrived: VecDeque<EncodedOutcome>,
    /// If ordered: all outstanding tasks.
    in_order: Option<InOrder>,
    /// What is kept of tasks that were sent and whose outcomes were not returned.
    kept: KeptTasks<'a, T>,
}

impl<'a, T: Task, I: Iterator<Item = T>> Map<'a, T, I> {
    pub(super) fn new(shared: &'a Shared, key: TaskKey, source: I, is_ordered: bool) -> Self {
        Self {
            shared,
            key,
            source: Some(source),
            chunk: 1,
            window: None,
            stream: None,
            pending: VecDeque::new(),
            limits: Vec::new(),
            send_singly: 0,
            lacks_memory: false,
            outstanding: 0,
            arrived: VecDeque::new(),
            in_order: is_ordered.then(InOrder::default),
            kept: KeptTasks::new(shared.settings.returns_tasks),
        }
    }

    /// Sets how many tasks are sent in one message, to one worker: 1 to 1,024, by default 1.
    ///
    /// The tasks of a chunk share the cost of a message, which matters for tasks that take a few microseconds or
    /// less. On the other hand, all tasks of a chunk are taken from the iterator before any is sent, and one worker
    /// runs them while others may be idle: do not use it for long tasks. Nothing else changes: each outcome is sent
    /// as soon as its task is done. If the worker dies, only the task that it was running is lost, or
    /// [retried](crate::pool::Builder::retries); the other tasks of the chunk go to other workers.
    ///
    /// Tasks that are together too large for one message are sent one by one.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let squares = pool.map((0..1000).map(Square)).chunk(100);
    /// assert_eq!(squares.filter_map(|outcome| outcome.result.ok()).last(), Some(998_001));
    /// # Ok(())
    /// # }
    /// ```
    pub fn chunk(mut self, chunk: usize) -> Self {
        self.chunk = chunk.clamp(1, MAX_CHUNK);
        self
    }

    /// Sets the window: how many tasks, at most, have been taken from the iterator and their outcomes not been
    /// returned. It is at least a chunk; by default four chunks for each worker, and at least 64 tasks.
    ///
    /// A window can be larger than the pool's [capacity](crate::pool::Builder::capacity): outcomes that wait for the
    /// caller count as well.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
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

    /// Sets what makes the tag of each task, which its [outcome](crate::pool::Outcome::tag) carries. It is called when the
    /// task was sent.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// for outcome in pool.map_unordered((0..100).map(Square)).tag(|square| square.0) {
    ///     let n = outcome.tag().and_then(Tag::number).expect("a number");
    ///     assert_eq!(outcome.result?, n * n);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn tag<G: Into<Tag>>(mut self, tag: impl Fn(&T) -> G + Send + Sync + 'a) -> Self {
        self.kept.set_tag_of(Box::new(move |task| tag(task).into()));
        self
    }

    fn window_or_default(&self) -> usize {
        let default = || {
            let workers = self.shared.settings.workers.room as usize;
            MIN_WINDOW.max(CHUNKS_PER_WORKER * workers * self.chunk)
        };
        self.window.unwrap_or_else(default).max(self.chunk)
    }

    fn stream(&mut self) -> StreamId {
        let results = &self.shared.results;
        *self.stream.get_or_insert_with(|| results.open_stream())
    }

    /// Takes and sends as many tasks as there is room for (MAP-1). Never waits.
    fn send_available(&mut self) {
        while self.chunk == 1 && self.has_room() {
            if !self.send_next() {
                if self.lacks_memory {
                    return;
                }
                break;
            }
        }
        while self.take_chunk() {
            if !self.shared.owner.is_current() {
                self.refuse(&ReserveError::Unknown(FORKED));
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
                Err(error) => self.refuse(&error),
            }
        }
    }

    /// Takes a chunk from the source if no task is pending and the window has room. Returns whether any task is
    /// pending.
    fn take_chunk(&mut self) -> bool {
        if self.has_room()
            && let Some(source) = &mut self.source
        {
            // All at once: the memory of the chunk before went into its message.
            self.pending.reserve(self.chunk);
            for task in source.by_ref().take(self.chunk) {
                self.limits.push(OwnLimits::of(&task));
                self.pending.push_back(task);
            }
            if self.pending.len() < self.chunk {
                self.source = None;
            }
        }
        !self.pending.is_empty()
    }

    /// Returns whether no task is pending and the window has room for a chunk.
    #[inline]
    fn has_room(&self) -> bool {
        self.pending.is_empty()
            && (mutant!(WindowIgnored) || self.outstanding + self.chunk <= self.window_or_default())
    }

    /// Takes one task from the source, and sends it before it is ever pending. Returns `false` if there is none, or if
    /// it is pending now, since the pool has no room or memory for it or refuses it.
    #[inline]
    fn send_next(&mut self) -> bool {
        let Some(task) = self.source.as_mut().and_then(Iterator::next) else {
            self.source = None;
            return false;
        };
        self.limits.push(OwnLimits::of(&task));
        let shared = self.shared;
        let range = if shared.owner.is_current() {
            let stream = self.stream();
            shared.results.reserve_range(stream, &self.limits)
        } else {
            Ok(None)
        };
        let Ok(Some(range)) = range else {
            self.pending.push_back(task);
            return false;
        };
        let mut reserved = ReservedAttempts::new(&shared.results, range.first, range.count);
        shared.open_spans::<T>(range);
        let envelope = self.envelope_of(task, &reserved);
        if self.send_one(&mut reserved, &envelope, None) {
            self.keep_sent(envelope);
            return true;
        }
        self.take_back(envelope);
        self.note_lack_of_memory(reserved)
    }

    /// Sends the pending tasks for which this range is reserved, and waits for memory for up to `timeout`. If it
    /// returns `false`, tasks are left, and their reservation was withdrawn.
    fn send(&mut self, range: AttemptRange, timeout: Option<Duration>) -> bool {
        let shared = self.shared;
        self.lacks_memory = false;
        let mut reserved = ReservedAttempts::new(&shared.results, range.first, range.count);
        shared.open_spans::<T>(range);
        if range.count > 1 && self.send_singly == 0 {
            let rest = self.pending.split_off(range.count);
            let tasks = core::mem::replace(&mut self.pending, rest).into();
            let envelope = Envelope {
                attempt: range.first,
                key: self.key,
                payload: Payload::Chunk(tasks),
            };
            match shared.try_send_caught(&envelope, timeout) {
                Ok(()) => {
                    reserved.mark_all_sent();
                    self.note_sent(range);
                    self.kept.keep(range, envelope);
                    return true;
                }
                Err(TrySubmitError::Full(())) => {
                    self.take_back(envelope);
                    return self.note_lack_of_memory(reserved);
                }
                Err(TrySubmitError::Refused(_)) => {
                    self.take_back(envelope);
                    self.send_singly = range.count;
                }
            }
        }
        let (mut sent, mut are_all_sent) = (Vec::new(), true);
        while reserved.unsent().count > 0
            && let Some(task) = self.pending.pop_front()
        {
            let envelope = self.envelope_of(task, &reserved);
            if self.send_one(&mut reserved, &envelope, timeout) {
                sent.push(envelope);
            } else {
                self.take_back(envelope);
                are_all_sent = self.note_lack_of_memory(reserved);
                break;
            }
        }
        // The program's code, which may panic, when no task is reserved and pending any more (MAP-4).
        for envelope in sent {
            self.keep_sent(envelope);
        }
        are_all_sent
    }

    /// Returns the envelope of one task, with the first of these reservations.
    #[inline]
    fn envelope_of(&self, task: T, reserved: &ReservedAttempts<'_>) -> Envelope<T> {
        Envelope {
            attempt: reserved.unsent().first,
            key: self.key,
            payload: Payload::Task(task),
        }
    }

    /// Sends one task, with the first of these reservations, or records why it can't be sent. Returns `false` if there is no
    /// memory for it.
    #[inline]
    fn send_one(
        &mut self,
        reserved: &mut ReservedAttempts<'_>,
        envelope: &Envelope<T>,
        timeout: Option<Duration>,
    ) -> bool {
        let first = envelope.attempt;
        match self.shared.try_send_caught(envelope, timeout) {
            Ok(()) => {}
            Err(TrySubmitError::Full(())) => return false,
            Err(TrySubmitError::Refused(error)) => self.shared.record_unsendable(first, &error),
        }
        reserved.mark_first_sent();
        self.send_singly = self.send_singly.saturating_sub(1);
        self.note_sent(AttemptRange { first, count: 1 });
        true
    }

    /// Keeps what is wanted of a task that was sent by itself. Runs the program's code.
    #[inline]
    fn keep_sent(&mut self, envelope: Envelope<T>) {
        let range = AttemptRange {
            first: envelope.attempt,
            count: 1,
        };
        self.kept.keep(range, envelope);
    }

    #[cold]
    fn take_back(&mut self, envelope: Envelope<T>) {
        for task in envelope.into_tasks().into_iter().rev() {
            self.pending.push_front(task);
        }
    }

    /// Notes that there is no memory for the first pending task. Returns `true` if the pool has ended since the tasks
    /// were reserved, so that they have outcomes.
    #[cold]
    fn note_lack_of_memory(&mut self, reserved: ReservedAttempts<'_>) -> bool {
        let range = reserved.unsent();
        if reserved.withdraw() {
            self.lacks_memory = true;
            return false;
        }
        let ended: Vec<T> = self.pending.drain(..range.count).collect();
        self.note_sent(range);
        self.kept.keep_all(range.first.id, ended);
        true
    }

    /// Counts tasks as sent. They have outcomes, or will have.
    #[inline]
    fn note_sent(&mut self, range: AttemptRange) {
        self.outstanding += range.count;
        if range.count == self.limits.len() {
            self.limits.clear();
        } else {
            self.limits.drain(..range.count);
        }
        if let Some(in_order) = &mut self.in_order {
            in_order.add_sent(range);
        }
    }

    /// Takes and decodes the next outcome, if it has arrived.
    fn take_outcome(&mut self) -> Option<OutcomeOf<T>> {
        let mut outcome = if let Some(in_order) = &mut self.in_order {
            for outcome in self.arrived.drain(..) {
                in_order.put(outcome);
            }
            let first = in_order.take_first()?;
            self.outstanding -= 1;
            self.shared.decode::<T>(first)
        } else {
            // Decoded where it lies. It is gone even if decoding unwinds.
            let first = PoppedAtEnd(&mut self.arrived);
            let encoded = first.0.front_mut()?;
            self.outstanding -= 1;
            self.shared.decode_in_place::<T>(encoded)
        };
        self.kept.give_back(&mut outcome);
        Some(outcome)
    }
}

/// Removes the first item of a list when it is dropped.
struct PoppedAtEnd<'a, O>(&'a mut VecDeque<O>);

impl<O> Drop for PoppedAtEnd<'_, O> {
    #[inline]
    fn drop(&mut self) {
        drop(self.0.pop_front());
    }
}

impl<T: Task, I: Iterator<Item = T>> Iterator for Map<'_, T, I> {
    type Item = OutcomeOf<T>;

    fn next(&mut self) -> Option<OutcomeOf<T>> {
        loop {
            self.send_available();
            if let Some(outcome) = self.take_outcome() {
                return Some(outcome);
            }
            if self.outstanding == 0 && self.pending.is_empty() || !self.wait() {
                return None;
            }
        }
    }
}

/// Once it has ended it stays ended, whatever the iterator of tasks does.
impl<T: Task, I: Iterator<Item = T>> FusedIterator for Map<'_, T, I> {}

impl<T: Task, I: Iterator<Item = T>> Drop for Map<'_, T, I> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream
            && self.shared.owner.is_current()
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
