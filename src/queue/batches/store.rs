//! The batches of one receiver that its threads hand out from.

use super::super::attachment::{Attachment, Entered};
use super::super::failure::RecvFailure;
use super::super::held_block::HeldBlock;
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
    open: VecDeque<OpenBatch>,
    /// Why messages could not be decoded. Each is for one of the next receives to report.
    errors: VecDeque<DecodeError>,
    /// Errors that a cancel has overtaken, and that are not reported. An error is the user's, and dropping it may call
    /// this receiver. So they are not dropped under the lock, but with the receiver.
    overtaken: Vec<DecodeError>,
    /// The number of claims.
    claims: u32,
    /// Whether the receiver has reported `Closed`.
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// How many threads wait for messages with this receiver.
    waiting: AtomicU32,
}

/// See the [module](super).
#[derive(Default)]
pub(in crate::queue) struct Batches {
    /// Whether a receive finds anything in `state`.
    any: AtomicBool,
    shared: Box<Shared>,
}

impl Batches {
    /// Returns whether a receive has to look here first.
    #[inline(always)]
    pub(in crate::queue) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn note(&self, state: &State) {
        self.any.store(
            !state.errors.is_empty() || !state.open.is_empty(),
            Ordering::Relaxed,
        );
    }

    /// Counts a thread that waits, for as long as the result lives.
    pub(in crate::queue) fn waiting(&self) -> impl Drop + '_ {
        struct Waiting<'a>(&'a AtomicU32);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.shared.waiting)
    }

    /// Wakes other threads of this receiver after `any` may have been set: they may sleep although there is something
    /// here now, or wait for this thread before they report `Closed`.
    pub(super) fn wake(&self, queue: Entered<'_>) {
        let segment = queue.segment();
        // Pairs with the fence in `ParkingWord::prepare_wait`: either we see the thread that waits, or its last attempt
        // before it sleeps sees what we have put here.
        fence(Ordering::SeqCst);
        let shared = self.shared.waiting.load(Ordering::Relaxed) > 0;
        if (shared || !segment.lifecycle().load().is_open()) && segment.items().has_waiters() {
            // The word does not say which sleepers wait with this receiver.
            segment.items().notify(|word| segment.wake(word, u32::MAX));
        }
    }

    /// Locks the state, without the batches that a cancel has discarded. If an error is due, returns it instead.
    fn lock(&self, queue: Entered<'_>) -> Result<MutexGuard<'_, State>, RecvFailure> {
        let mut state = self.shared.state.lock();
        if queue.segment().lifecycle().load().is_cancelled() {
            state.open.clear();
            let overtaken = core::mem::take(&mut state.errors);
            state.overtaken.extend(overtaken);
        }
        let error = state.errors.pop_front();
        self.note(&state);
        error.map_or(Ok(state), |error| Err(RecvFailure::Decode(error)))
    }

    /// Returns the next message of the batches that are here.
    #[cold]
    pub(in crate::queue) fn next(
        &self,
        queue: Entered<'_>,
    ) -> Result<Option<BatchedMessage>, RecvFailure> {
        let mut state = self.lock(queue)?;
        while let Some(first) = state.open.front_mut() {
            let message = first.hand_out(queue);
            // The last message alone then keeps the batch alive.
            let used_up = (!first.has_more(queue)).then(|| state.open.pop_front());
            self.note(&state);
            if !matches!(message, Ok(None)) {
                drop(state);
                drop(used_up);
                return Ok(message?);
            }
        }
        Ok(None)
    }

    /// Takes the first batch that is here, for a claim.
    pub(super) fn take_for_claim(
        &self,
        queue: Entered<'_>,
    ) -> Result<Option<OpenBatch>, RecvFailure> {
        let mut state = self.lock(queue)?;
        let first = state.open.pop_front();
        if first.is_some() {
            state.claims += 1;
        }
        self.note(&state);
        Ok(first)
    }

    /// Counts a claim of a batch that has just been taken.
    pub(super) fn begin_claim(&self, queue: Entered<'_>, open: &OpenBatch) {
        let mut state = self.shared.state.lock();
        state.claims += 1;
        open.note_opened(queue);
    }

    /// Ends a claim and keeps what is left of its batch. Returns the batch if nothing is left, or it is too late.
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

    /// Returns the first message of a batch that has just been taken, and keeps the others here.
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
        let late = self.keep(&mut state, queue, open, more);
        drop(state);
        drop(late);
        self.wake(queue);
        Ok(first?)
    }

    /// Keeps what is left of a batch, before all others, which are not older. Returns the batch, to be dropped without
    /// the lock, if nothing is left or it is too late (HAND-2).
    fn keep(
        &self,
        state: &mut State,
        queue: Entered<'_>,
        open: OpenBatch,
        more: bool,
    ) -> Option<OpenBatch> {
        let late = state.closed || queue.segment().lifecycle().load().is_cancelled();
        if late || !more {
            return Some(open);
        }
        state.open.push_front(open);
        self.note(state);
        None
    }

    /// Keeps an error for the next receive to report, because this one has messages to return.
    pub(in crate::queue) fn postpone(&self, error: DecodeError) {
        let mut state = self.shared.state.lock();
        if !state.closed {
            state.errors.push_back(error);
            self.note(&state);
        }
    }

    /// Looks for messages here when the queue has ended. Fails with `Closed` if there will be none; returns `None` if
    /// another thread may still put one here (HAND-2).
    #[cold]
    pub(in crate::queue) fn at_the_end(
        &self,
        queue: Entered<'_>,
    ) -> Result<Option<BatchedMessage>, RecvFailure> {
        if let Some(message) = self.next(queue)? {
            return Ok(Some(message));
        }
        if self.are_closed(queue)? {
            return Err(RecvFailure::Closed);
        }
        Ok(None)
    }

    /// Returns whether this receiver may report that the queue, which has ended, is closed. From then on it is
    /// (HAND-2).
    #[cold]
    pub(in crate::queue) fn are_closed(&self, queue: Entered<'_>) -> Result<bool, Corrupt> {
        let segment = queue.segment();
        let mut state = self.shared.state.lock();
        if !state.closed && !segment.lifecycle().load().is_cancelled() {
            let here = !state.errors.is_empty() || !state.open.is_empty() || state.claims > 0;
            if here || batch::has_unopened_batch(segment, queue.peer())? {
                return Ok(false);
            }
        }
        state.closed = true;
        Ok(true)
    }

    /// Returns whether no message is here to be handed out.
    pub(in crate::queue) fn is_empty(&self) -> bool {
        self.shared.state.lock().open.is_empty()
    }
}
