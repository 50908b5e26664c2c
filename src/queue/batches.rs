//! The batches that a receiver has taken and not handed out in full.
//!
//! A batch is taken as a whole. Whoever takes it keeps it here, for all threads that share the receiver, and they
//! hand out from it before they look into the queue again. Each message that is handed out keeps the batch alive
//! until it is settled; the last one, when nothing is left to be handed out, gives the block back, and what
//! becomes of it follows from the marks of its messages.
//!
//! HAND-1. What is to be handed out is in `open`, or in a [`Claim`] that is counted, or in the hands of the thread that
//!     has taken the batch, and may be decoding all of it ([`Whole`]); the batch says in shared memory that it is not in
//!     the last place (*opened*).
//! HAND-2. A receiver says `Closed` only when nothing is in any of these three, and keeps nothing afterwards: what is left
//!     of a batch that came by later has been returned after the end, and is given back.

use super::attachment::Attachment;
use super::lease::Held;
use super::receiver::Refusal;
use crate::codec::{Codec, DecodeError};
use crate::protocol::batch::MessageMark;
use crate::protocol::steps::batch::{self, Batch};
use crate::protocol::steps::{OwnedBlock, settle};
use crate::protocol::{Corrupt, SharedState};
use crate::segment::Segment;
use crate::segment::batch_layout::BatchCursor;
use crate::sync::{AtomicBool, AtomicU32, Ordering, fence};
use core::fmt;
use core::ops::Range;
use parking_lot::{Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::Arc;

/// A batch that this process holds. Given back when nobody refers to it any more.
struct HeldBatch {
    attachment: Arc<Attachment>,
    block: Option<OwnedBlock>,
}

impl HeldBatch {
    #[inline(always)]
    fn segment(&self) -> &Segment {
        self.attachment.segment()
    }

    fn in_hand(&self) -> Result<&OwnedBlock, Corrupt> {
        if self.attachment.is_forked_child() {
            return Err(Corrupt::NotOwned);
        }
        self.block.as_ref().ok_or(Corrupt::NotOwned)
    }

    #[inline(always)]
    fn batch(&self) -> Result<Batch<'_>, Corrupt> {
        batch::batch(self.segment(), self.in_hand()?.index())?.ok_or(Corrupt::InvalidBatch)
    }

    #[inline(always)]
    fn payload(&self) -> Result<&[u8], Corrupt> {
        self.segment().batch_payload(self.in_hand()?)
    }

    /// `Release` for all messages at once, which are all in the hands of the only owner.
    fn acknowledge(mut self) {
        if let Some(block) = self.block.take()
            && !self.attachment.is_forked_child()
        {
            // A corrupt word is met, and reported, by the next operation as well.
            let _ = settle::acknowledge_batch(self.segment(), block);
        }
    }
}

impl Drop for HeldBatch {
    fn drop(&mut self) {
        if let Some(block) = self.block.take()
            && !self.attachment.is_forked_child()
        {
            if mutant!(RestOfBatchKept) {
                return;
            }
            // As above.
            let _ = settle::settle_batch(self.segment(), block);
        }
    }
}

/// One message of a batch. Dropping it without more gives it back, together with the rest of the batch.
pub(super) struct Part {
    batch: Arc<HeldBatch>,
    message: usize,
    range: Range<usize>,
    attempts: u8,
}

impl Part {
    pub(super) fn attempts(&self) -> u32 {
        self.attempts.into()
    }

    /// The message, still where its sender wrote it.
    pub(super) fn bytes(&self) -> Result<&[u8], Corrupt> {
        let payload = self.batch.payload()?;
        payload.get(self.range.clone()).ok_or(Corrupt::TooLong)
    }

    /// `Release`, for this message.
    pub(super) fn acknowledge(self) -> Result<(), Corrupt> {
        self.batch.batch()?.marks.mark_done(self.message);
        Ok(())
    }

    /// `Return`, for a message that can't be used by anybody.
    pub(super) fn reject(self) -> Result<(), Corrupt> {
        self.batch.batch()?.marks.mark_rejected(self.message);
        Ok(())
    }
}

/// A batch with messages that are to be handed out, from `next` on.
struct Open {
    batch: Arc<HeldBatch>,
    next: BatchCursor,
}

impl Open {
    fn new(attachment: &Arc<Attachment>, block: OwnedBlock, next: BatchCursor) -> Self {
        Self {
            batch: Arc::new(HeldBatch {
                attachment: Arc::clone(attachment),
                block: Some(block),
            }),
            next,
        }
    }

    /// Leave out the first messages, which are dealt with already.
    fn skip(&mut self, count: usize) {
        let Ok(payload) = self.batch.payload() else {
            return;
        };
        for _ in 0..count {
            if let Some((_, next)) = self.next.locate(payload) {
                self.next = next;
            }
        }
    }

    /// The next message, marked as handed out. `None`: there is none.
    fn hand_out(&mut self) -> Result<Option<Part>, Corrupt> {
        let (batch, payload) = (self.batch.batch()?, self.batch.payload()?);
        let limit = self.batch.segment().limits().max_deliveries;
        while self.next.message < batch.count {
            let message = self.next.message;
            let Some((range, next)) = self.next.locate(payload) else {
                return Err(spoilt(&batch, message));
            };
            self.next = next;
            let mark = batch.marks.get(message);
            if mark.is_live(limit) {
                batch.marks.record_delivery(message, mark);
                return Ok(Some(Part {
                    batch: Arc::clone(&self.batch),
                    message,
                    range,
                    attempts: mark.deliveries(),
                }));
            }
        }
        Ok(None)
    }

    /// Whether anything is left to be handed out.
    fn has_more(&self) -> bool {
        let limit = self.batch.segment().limits().max_deliveries;
        self.batch.batch().is_ok_and(|batch| {
            (self.next.message..batch.count).any(|message| batch.marks.get(message).is_live(limit))
        })
    }
}

/// The table of a batch is nonsense from `message` on: nobody will be able to use those, so that they are not
/// handed round for ever.
#[cold]
fn spoilt(batch: &Batch<'_>, message: usize) -> Corrupt {
    (message..batch.count).for_each(|message| batch.marks.mark_rejected(message));
    Corrupt::TooLong
}

#[derive(Default)]
struct State {
    open: VecDeque<Open>,
    /// Why messages could not be decoded, each for one of the next receives to report.
    errors: VecDeque<DecodeError>,
    /// Those that a cancel has overtaken: nobody gets them. They are the user's, and dropping one may call this receiver,
    /// so that they are kept until it is dropped, and not dropped under the lock.
    overtaken: Vec<DecodeError>,
    /// How many claims there are.
    claims: u32,
    /// `Closed` has been said.
    closed: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// How many threads wait for messages with this receiver.
    waiting: AtomicU32,
}

/// See the module.
#[derive(Default)]
pub(super) struct Batches {
    /// Whether there is anything in `state` for a receive.
    any: AtomicBool,
    shared: Box<Shared>,
}

impl Batches {
    /// Whether a receive has to look here first.
    #[inline(always)]
    pub(super) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    fn note(&self, state: &State) {
        self.any.store(
            !state.errors.is_empty() || !state.open.is_empty(),
            Ordering::Relaxed,
        );
    }

    /// Count a thread that waits, for as long as the result lives.
    pub(super) fn waiting(&self) -> impl Drop + '_ {
        struct Waiting<'a>(&'a AtomicU32);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.shared.waiting)
    }

    /// After `any` may have been set: other threads of this receiver may sleep, who would find something here,
    /// or wait for this thread to be able to say `Closed`.
    fn wake(&self, segment: &Segment) {
        // Pairs with the fence in `ParkingWord::announce`: either we see the thread that waits, or its last
        // look before it sleeps sees what we have put here.
        fence(Ordering::SeqCst);
        let shared = self.shared.waiting.load(Ordering::Relaxed) > 0;
        if (shared || !segment.lifecycle().load().is_open()) && segment.items().has_waiters() {
            // Which of the sleepers are meant can't be told.
            segment.items().notify(|word| segment.wake(word, u32::MAX));
        }
    }

    /// The batches, less those that a cancel has discarded; the error that is due comes first.
    fn lock(&self, segment: &Segment) -> Result<MutexGuard<'_, State>, DecodeError> {
        let mut state = self.shared.state.lock();
        if segment.lifecycle().load().is_cancelled() {
            state.open.clear();
            let overtaken = core::mem::take(&mut state.errors);
            state.overtaken.extend(overtaken);
        }
        let error = state.errors.pop_front();
        self.note(&state);
        error.map_or(Ok(state), Err)
    }

    /// The next message of those that are here.
    #[cold]
    pub(super) fn next(&self, segment: &Segment) -> Result<Option<Part>, Refusal> {
        let mut state = self.lock(segment).map_err(Refusal::Decode)?;
        while let Some(first) = state.open.front_mut() {
            let part = first.hand_out();
            // The last message alone keeps the batch alive.
            let used_up = (!first.has_more()).then(|| state.open.pop_front());
            self.note(&state);
            if !matches!(part, Ok(None)) {
                drop(state);
                drop(used_up);
                return Ok(part?);
            }
        }
        Ok(None)
    }

    /// All messages of the first batch that is here.
    #[cold]
    pub(super) fn claim(&self, segment: &Segment) -> Result<Option<Claim<'_>>, Refusal> {
        let mut state = self.lock(segment).map_err(Refusal::Decode)?;
        let first = state.open.pop_front();
        if first.is_some() {
            state.claims += 1;
        }
        self.note(&state);
        drop(state);
        Ok(first.map(|open| Claim::new(self, open)))
    }

    /// A batch that has just been taken: its first message; the others are kept here.
    #[cold]
    pub(super) fn admit(
        &self,
        attachment: &Arc<Attachment>,
        held: Held<'_>,
    ) -> Result<Option<Part>, Refusal> {
        let mut open = Self::open(attachment, held)?;
        let part = open.hand_out();
        let more = open.has_more();
        let mut state = self.shared.state.lock();
        opened(&open);
        let late = self.keep(&mut state, open, more, attachment.segment());
        drop(state);
        drop(late);
        self.wake(attachment.segment());
        Ok(part?)
    }

    /// A batch that has just been taken: all of it for the caller.
    fn claim_all(&self, open: Open) -> Claim<'_> {
        let mut state = self.shared.state.lock();
        state.claims += 1;
        opened(&open);
        drop(state);
        Claim::new(self, open)
    }

    /// Decode up to `max` messages of a batch that has just been taken; otherwise as [`Claim::decode_into`].
    #[inline(always)]
    pub(super) fn decode_fresh<T, C: Codec<T>>(
        &self,
        attachment: &Arc<Attachment>,
        held: Held<'_>,
        into: &mut Vec<T>,
        max: usize,
    ) -> Result<(), Refusal> {
        let mut whole = Whole {
            batches: self,
            attachment,
            block: Some(held.into_block().1),
            into,
            values: Vec::new(),
            stage: Stage::Untouched,
        };
        if whole.decode::<C>(max).is_some() {
            return Ok(());
        }
        let Some(block) = whole.block.take() else {
            return Ok(());
        };
        let (claim, received) = whole.give_up(block)?;
        drop(whole);
        claim.decode_into::<T, C>(into, max - received)
    }

    fn open(attachment: &Arc<Attachment>, held: Held<'_>) -> Result<Open, Corrupt> {
        let segment = attachment.segment();
        let (_, block) = held.into_block();
        let first = batch::batch(segment, block.index()).and_then(|batch| {
            let count = batch.ok_or(Corrupt::InvalidBatch)?.count;
            Ok(BatchCursor::first(count, segment.batch_payload(&block)?))
        });
        match first {
            Ok(next) => Ok(Open::new(attachment, block, next)),
            Err(corrupt) => {
                // Lest it be handed round for ever.
                settle::reject(segment, block)?;
                Err(corrupt)
            }
        }
    }

    /// Keep what is left of a batch, before all others: they are not older. Given back to the caller, to be dropped
    /// without the lock, if there is nothing left or it came too late (HAND-2).
    fn keep(&self, state: &mut State, open: Open, more: bool, segment: &Segment) -> Option<Open> {
        let late = state.closed || segment.lifecycle().load().is_cancelled();
        if late || !more {
            return Some(open);
        }
        state.open.push_front(open);
        self.note(state);
        None
    }

    /// An error that the next receive is to say, because this one has messages to give.
    pub(super) fn postpone(&self, error: DecodeError) {
        let mut state = self.shared.state.lock();
        if !state.closed {
            state.errors.push_back(error);
            self.note(&state);
        }
    }

    /// The queue says `Closed`. Does this receiver, too? A message if there still is one here; `None` if another
    /// thread may still come with one (HAND-2).
    #[cold]
    pub(super) fn at_the_end(&self, attachment: &Attachment) -> Result<Option<Part>, Refusal> {
        let segment = attachment.segment();
        if let Some(part) = self.next(segment)? {
            return Ok(Some(part));
        }
        if self.are_closed(attachment)? {
            return Err(Refusal::Closed);
        }
        Ok(None)
    }

    /// Whether this receiver may say, and then has said, that the queue has ended, which it has (HAND-2).
    #[cold]
    pub(super) fn are_closed(&self, attachment: &Attachment) -> Result<bool, Corrupt> {
        let segment = attachment.segment();
        let mut state = self.shared.state.lock();
        if !state.closed && !segment.lifecycle().load().is_cancelled() {
            let here = !state.errors.is_empty() || !state.open.is_empty() || state.claims > 0;
            if here || batch::has_unopened_batch(segment, attachment.row())? {
                return Ok(false);
            }
        }
        state.closed = true;
        Ok(true)
    }

    /// Whether any message is here to be handed out.
    pub(super) fn is_empty(&self) -> bool {
        self.shared.state.lock().open.is_empty()
    }
}

/// HAND-1: from now on the batch is found here.
fn opened(open: &Open) {
    if let (Some(block), Ok(batch)) = (&open.batch.block, open.batch.batch()) {
        batch.open(block.word());
    }
}

/// The largest values that are decoded into a place of their own and moved from there.
const LARGEST_MOVED: usize = 64;

/// How far a [`Whole`] has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Untouched,
    /// The codec has been called.
    Begun,
    /// The caller has all messages.
    Received,
}

/// A batch that one thread has just taken and that nobody else knows of. As long as it has not been opened, that alone
/// says where it is (HAND-1).
///
/// Mostly all of its messages are decoded and acknowledged together: if they are equally long and not empty, none has
/// been handed out before, the caller has room for all, and the values are small. All else is for a [`Claim`].
struct Whole<'a, 'v, T> {
    batches: &'a Batches,
    attachment: &'a Arc<Attachment>,
    block: Option<OwnedBlock>,
    into: &'v mut Vec<T>,
    /// What the codec has made of the first messages.
    values: Vec<Option<T>>,
    stage: Stage,
}

impl<'a, T> Whole<'a, '_, T> {
    /// Decode all messages, if there are at most `max`. `None`: that was not possible, and the rest is to be
    /// [given up](Self::give_up).
    ///
    /// Message by message, each would wait until the one before has stored the length of `into`; like this they are
    /// worked on side by side.
    #[inline(always)]
    fn decode<C: Codec<T>>(&mut self, max: usize) -> Option<()> {
        let (segment, block) = (self.attachment.segment(), self.block.as_ref()?);
        let Batch { count, marks, .. } = batch::batch(segment, block.index()).ok()??;
        if size_of::<T>() > LARGEST_MOVED || count > max || !marks.are_fresh(count) {
            return None;
        }
        let payload = segment.batch_payload(block).ok()?;
        let messages = BatchCursor::first(count, payload).equal_messages(payload, count)?;
        self.stage = Stage::Begun;
        self.values.reserve(count);
        let mut failures = 0;
        self.values
            .extend(messages.enumerate().map(|(message, bytes)| {
                marks.record_delivery(message, MessageMark::FRESH);
                let value = C::decode(bytes).ok();
                failures += usize::from(value.is_none());
                value
            }));
        if failures > 0 {
            return None;
        }
        self.into.extend(self.values.drain(..).map(|value| {
            let Some(value) = value else {
                unreachable!("there were no failures")
            };
            value
        }));
        self.stage = Stage::Received;
        Some(())
    }

    /// What is before the first failure is received; what was decoded after it is taken back, for it has reached nobody.
    /// The rest is for the claim, and how many messages were received.
    #[cold]
    #[inline(never)]
    fn give_up(&mut self, block: OwnedBlock) -> Result<(Claim<'a>, usize), Refusal> {
        if self.attachment.is_forked_child() {
            return Err(Refusal::Forked);
        }
        let (decoded, before) = (self.values.len(), self.into.len());
        let mut values = core::mem::take(&mut self.values).into_iter();
        self.into.extend(values.by_ref().map_while(|value| value));
        let received = self.into.len() - before;
        if let Ok(Some(batch)) = batch::batch(self.attachment.segment(), block.index()) {
            batch.marks.reset_to_fresh(received..decoded);
        }
        // All have been decoded, and one has failed; or the codec has panicked, with the one after these.
        let panicked = self.stage == Stage::Begun && received == decoded;
        let mut open = Batches::open(self.attachment, Held::new(self.attachment, block))?;
        open.skip(received + usize::from(panicked));
        let mut claim = self.batches.claim_all(open);
        claim.decoded = (1 << received) - 1;
        // Now, lest a panic in there leave the batch to nobody.
        drop(values);
        Ok((claim, received))
    }
}

impl<T> Drop for Whole<'_, '_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        let Some(block) = self.block.take() else {
            return;
        };
        // A corrupt word is met, and reported, by the next operation as well.
        if self.stage != Stage::Received {
            let _ = self.give_up(block);
        } else if !self.attachment.is_forked_child() {
            // This also wakes whoever waits for this batch to be able to say `Closed`; nobody else could have had anything
            // of it.
            let _ = settle::acknowledge_batch(self.attachment.segment(), block);
        }
    }
}

/// How far a claim has come: in registers, and noted when it ends, also by a panic of the codec. The message that it
/// was called for has been handed out then, and those after it have not.
struct Progress<'a> {
    place: BatchCursor,
    decoded: u64,
    next: &'a mut BatchCursor,
    noted: &'a mut u64,
}

impl Drop for Progress<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        *self.next = self.place;
        *self.noted = self.decoded;
    }
}

/// The rest of a batch, for one thread. What it does not decode goes back to the others.
pub(super) struct Claim<'a> {
    batches: &'a Batches,
    open: Option<Open>,
    /// Which messages have been decoded, a bit for each.
    decoded: u64,
}

impl<'a> Claim<'a> {
    fn new(batches: &'a Batches, open: Open) -> Self {
        Self {
            batches,
            open: Some(open),
            decoded: 0,
        }
    }

    /// Decode up to `max` messages, all of which then count as received. An error is that of the message after
    /// them, or nonsense found there.
    pub(super) fn decode_into<T, C: Codec<T>>(
        mut self,
        into: &mut Vec<T>,
        max: usize,
    ) -> Result<(), Refusal> {
        let Some(Open { batch: held, next }) = self.open.as_mut() else {
            return Ok(());
        };
        let (batch, payload) = (held.batch()?, held.payload()?);
        let limit = held.segment().limits().max_deliveries;
        let mut progress = Progress {
            place: *next,
            decoded: self.decoded,
            next,
            noted: &mut self.decoded,
        };
        into.reserve(max.min(batch.count - progress.place.message.min(batch.count)));
        let room = into.len().saturating_add(max);
        while into.len() < room && progress.place.message < batch.count {
            let message = progress.place.message;
            let Some((range, next)) = progress.place.locate(payload) else {
                return Err(spoilt(&batch, message).into());
            };
            progress.place = next;
            let mark = batch.marks.get(message);
            if !mark.is_live(limit) {
                continue;
            }
            batch.marks.record_delivery(message, mark);
            match C::decode(payload.get(range).unwrap_or_default()) {
                Ok(value) => {
                    into.push(value);
                    progress.decoded |= 1 << message;
                }
                Err(error) => {
                    batch.marks.mark_rejected(message);
                    return Err(Refusal::Decode(error));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let attachment = Arc::clone(&open.batch.attachment);
        if attachment.is_forked_child() {
            return;
        }
        let (mut all, mut more) = (false, false);
        if let Ok(batch) = open.batch.batch() {
            all = self.decoded.count_ones() as usize == batch.count;
            if !all {
                (0..batch.count)
                    .filter(|message| self.decoded >> message & 1 == 1)
                    .for_each(|message| batch.marks.mark_done(message));
                more = open.has_more();
            }
        }
        let mut state = self.batches.shared.state.lock();
        state.claims -= 1;
        let left = self
            .batches
            .keep(&mut state, open, more, attachment.segment());
        drop(state);
        if all {
            // Nobody else has any of its messages.
            if let Some(batch) = left.and_then(|open| Arc::into_inner(open.batch)) {
                batch.acknowledge();
            }
        } else {
            drop(left);
        }
        self.batches.wake(attachment.segment());
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}
