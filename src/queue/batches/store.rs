//! The batches that a receiver has taken and not yet handed out in full, shared by its threads.
//!
//! The state is private to the process, and the lock too: no other process ever waits for it. User code (the `Drop` of
//! an error, a codec, a lease) never runs under the lock.

use super::super::attachment::{Attachment, Entered};
use super::super::failure::RecvFailure;
use super::super::held_block::HeldBlock;
#[cfg(feature = "async")]
use super::super::reactor::Word;
use super::held::{BatchedMessage, OpenBatch};
use crate::codec::DecodeError;
use crate::protocol::steps::batch;
use crate::protocol::{Corrupt, SharedState};
use crate::sync::{AtomicBool, AtomicU32, Ordering, fence};
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Default)]
struct State {
    /// The batches to hand out from, oldest first.
    unfinished: VecDeque<OpenBatch>,
    /// Postponed decode errors. Each of the next receives reports one.
    errors: VecDeque<DecodeError>,
    /// Errors that are not reported because the queue was cancelled first. A [`DecodeError`] contains a value of the
    /// user whose `Drop` may call this receiver, so they are kept until the receiver is dropped, instead of being
    /// dropped under the lock.
    overtaken: Vec<DecodeError>,
    /// How many batches are in a [`Claim`](super::Claim), each with a thread that decodes many messages at once. They
    /// are not in `unfinished`.
    claims: u32,
    /// Whether the receiver has reported `Closed`.
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// How many threads wait for messages with this receiver.
    waiting: AtomicU32,
    /// How many futures do.
    #[cfg(feature = "async")]
    futures: AtomicU32,
}

/// The batches of one receiver: see the [module](super) for how they relate to other batches.
#[derive(Default)]
pub(in crate::queue) struct Batches {
    /// Whether `unfinished` or `errors` is not empty. A hint, read without the lock.
    any: AtomicBool,
    /// Boxed to keep the receiver small: a receive usually reads only `any`.
    shared: Box<Shared>,
}

/// A thread that waits for messages with a receiver.
pub(in crate::queue) struct RegisteredWaiter<'a>(&'a AtomicU32);

impl Drop for RegisteredWaiter<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Batches {
    /// Returns whether a receive has to look in this store first.
    #[inline(always)]
    pub(in crate::queue) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// Sets the hint. Called under the lock, after each change of `state`.
    fn update_any(&self, state: &State) {
        self.any.store(
            !state.errors.is_empty() || !state.unfinished.is_empty(),
            Ordering::Relaxed,
        );
    }

    /// Registers a waiting thread until the returned guard is dropped.
    pub(in crate::queue) fn register_waiter(&self) -> RegisteredWaiter<'_> {
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        RegisteredWaiter(&self.shared.waiting)
    }

    /// Counts a future that waits, before its last attempt.
    #[cfg(feature = "async")]
    pub(in crate::queue) fn add_future(&self) {
        self.shared.futures.fetch_add(1, Ordering::Relaxed);
        // Pairs with the fence in `wake`.
        fence(Ordering::SeqCst);
    }

    #[cfg(feature = "async")]
    pub(in crate::queue) fn remove_future(&self) {
        self.shared.futures.fetch_sub(1, Ordering::Relaxed);
    }

    /// Wakes threads of this receiver: a message may be available in this store now, or a thread may be waiting for
    /// this one before it reports `Closed`.
    pub(super) fn wake(&self, queue: Entered<'_>) {
        let segment = queue.segment();
        // Pairs with the fence in `ParkingWord::prepare_wait`: either we see the thread that waits, or its last attempt
        // before it sleeps sees what we have put here.
        fence(Ordering::SeqCst);
        #[cfg(feature = "async")]
        if self.shared.futures.load(Ordering::Relaxed) > 0 {
            queue.attachment().seats.call_all(Word::Items);
        }
        let others_wait = self.shared.waiting.load(Ordering::Relaxed) > 0;
        if (others_wait || !segment.lifecycle().load().is_open()) && segment.items().has_waiters() {
            // The word does not say which sleepers wait with this receiver.
            segment.items().notify(|word| segment.wake(word, u32::MAX));
        }
    }

    /// Locks the state; if the queue is cancelled, first discards what is in it. If an error was postponed, fails with
    /// it.
    fn lock(&self, queue: Entered<'_>) -> Result<MutexGuard<'_, State>, RecvFailure> {
        let mut state = self.shared.state.lock();
        if queue.segment().lifecycle().load().is_cancelled() {
            state.unfinished.clear();
            let overtaken = core::mem::take(&mut state.errors);
            state.overtaken.extend(overtaken);
        }
        let error = state.errors.pop_front();
        self.update_any(&state);
        error.map_or(Ok(state), |error| Err(RecvFailure::Decode(error)))
    }

    /// Returns the next message of the batches in this store.
    #[cold]
    pub(in crate::queue) fn next(
        &self,
        queue: Entered<'_>,
    ) -> Result<Option<BatchedMessage>, RecvFailure> {
        let mut state = self.lock(queue)?;
        while let Some(first) = state.unfinished.front_mut() {
            let message = first.hand_out(queue);
            // If this was the last message, drop the list's reference: the message itself keeps the batch alive.
            let used_up = (!first.has_more(queue)).then(|| state.unfinished.pop_front());
            self.update_any(&state);
            if !matches!(message, Ok(None)) {
                drop(state);
                drop(used_up);
                return Ok(message?);
            }
        }
        Ok(None)
    }

    /// Begins a claim of the first batch in this store.
    pub(super) fn take_for_claim(
        &self,
        queue: Entered<'_>,
    ) -> Result<Option<OpenBatch>, RecvFailure> {
        let mut state = self.lock(queue)?;
        let first = state.unfinished.pop_front();
        if first.is_some() {
            state.claims += 1;
        }
        self.update_any(&state);
        Ok(first)
    }

    /// Begins a claim of a batch that was just taken from the queue, and marks the batch as *opened* (HAND-1).
    pub(super) fn begin_claim(&self, queue: Entered<'_>, open: &OpenBatch) {
        let mut state = self.shared.state.lock();
        state.claims += 1;
        open.note_opened(queue);
    }

    /// Ends a claim and puts the batch back into this store, or returns it, as [`keep`](Self::keep) does.
    pub(super) fn end_claim(
        &self,
        queue: Entered<'_>,
        open: OpenBatch,
        more: bool,
    ) -> Option<OpenBatch> {
        let mut state = self.shared.state.lock();
        state.claims -= 1;
        self.keep(&mut state, queue, open, more)
    }

    /// Returns the first message of a batch that was just taken, and keeps the others in this store.
    #[cold]
    pub(in crate::queue) fn admit(
        &self,
        attachment: &Arc<Attachment>,
        held: HeldBlock<'_>,
    ) -> Result<Option<BatchedMessage>, RecvFailure> {
        let queue = held.queue();
        let mut open = OpenBatch::new(queue, attachment, held.into_block())?;
        let first = open.hand_out(queue);
        let more = open.has_more(queue);
        let mut state = self.shared.state.lock();
        open.note_opened(queue);
        let rejected = self.keep(&mut state, queue, open, more);
        drop(state);
        drop(rejected);
        self.wake(queue);
        Ok(first?)
    }

    /// Puts a batch with remaining messages at the front of the list: no other batch is older. If it has none, or if
    /// this receiver has already reported `Closed` (HAND-2) or the queue is cancelled, returns the batch. The caller
    /// drops it after releasing the lock.
    fn keep(
        &self,
        state: &mut State,
        queue: Entered<'_>,
        open: OpenBatch,
        more: bool,
    ) -> Option<OpenBatch> {
        let is_rejected = state.closed || queue.segment().lifecycle().load().is_cancelled();
        if is_rejected || !more {
            return Some(open);
        }
        state.unfinished.push_front(open);
        self.update_any(state);
        None
    }

    /// Keeps an error for the next receive to report, because this one has messages to return. Once this receiver has
    /// reported `Closed`, drops it, at the end of the call: parameters are dropped after the lock is released.
    pub(in crate::queue) fn postpone(&self, error: DecodeError) {
        let mut state = self.shared.state.lock();
        if !state.closed {
            state.errors.push_back(error);
            self.update_any(&state);
        }
    }

    /// Called when the queue has ended. Returns a remaining message of this store; fails with `Closed` if there can be
    /// none any more; returns `None` if another thread may still put one into this store (HAND-2).
    #[cold]
    pub(in crate::queue) fn at_the_end(
        &self,
        queue: Entered<'_>,
    ) -> Result<Option<BatchedMessage>, RecvFailure> {
        if let Some(message) = self.next(queue)? {
            return Ok(Some(message));
        }
        if self.try_close(queue)? {
            return Err(RecvFailure::Closed);
        }
        Ok(None)
    }

    /// Marks this receiver as closed if the queue is cancelled, or if no batch, claim or error is left (HAND-2).
    /// Returns whether it is marked. Call it when the queue has ended. Afterwards this store accepts nothing.
    #[cold]
    pub(in crate::queue) fn try_close(&self, queue: Entered<'_>) -> Result<bool, Corrupt> {
        let segment = queue.segment();
        let mut state = self.shared.state.lock();
        if !state.closed && !segment.lifecycle().load().is_cancelled() {
            let is_occupied =
                !state.errors.is_empty() || !state.unfinished.is_empty() || state.claims > 0;
            if is_occupied || batch::has_unopened_batch(segment, queue.peer())? {
                return Ok(false);
            }
        }
        state.closed = true;
        Ok(true)
    }

    /// Returns whether no batch is in this store.
    pub(in crate::queue) fn is_empty(&self) -> bool {
        self.shared.state.lock().unfinished.is_empty()
    }
}
