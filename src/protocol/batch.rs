//! Batches: blocks that hold several messages, and the marks that say what has become of each.
//!
//! To the ring, to the exchanges of block words and to everybody who does not hold it, a batch is one block like
//! any other. One mark, a byte for each message, says the rest:
//!
//! | handed out | done | rejected | meaning                                                         |
//! |------------|------|----------|-----------------------------------------------------------------|
//! | n < limit  | 0    | 0        | *live*: is or was in n hands; to be handed out (again)          |
//! | n = limit  | 0    | 0        | *spent*: in its last hands, or a dead letter                    |
//! | n          | 0    | 1        | spent: nobody can decode it                                     |
//! | n          | 1    | -        | acknowledged, or discarded                                      |
//!
//! BATCH-1. The sender clears the marks in Owned. After that only the process that has the block in Held or Read
//!     changes them, by plain stores: each message of a batch is in one thread's hands at a time.
//! BATCH-2. A message is marked as handed out before anybody gets to see it, and as done before its receiver is told
//!     that it is. So whoever dies between the two is counted once, and what is done is never handed out again.
//!     Only what was decoded together with a message that could not be, and has reached nobody, is taken back.
//! BATCH-3. Whoever has had the block in hand publishes its marks with the exchange that ends that, which raises the
//!     generation. What becomes of the block then follows from the marks alone (`steps::batch::state_after_return`),
//!     so that somebody else can work it out in the place of a holder that died.
//! BATCH-4. The accepted messages beyond the first of their batch are counted in the block itself ([`BatchMarks::beyond`]), in one
//!     word with a bit that says whether the present batch is among them. The sender clears the bit in Owned. Before a
//!     batch leaves Held, its holder, or whoever recovers it, counts it, by an exact exchange that can succeed only
//!     once. So the count is right whoever dies wherever, and a batch that was never accepted is never in it.
//!
//! Crash: the marks are as far as the holder got, and the block word says Held: a message that was in hand has
//! been counted, and goes to somebody else together with those that were not handed out, which have not.

use super::blocks::BlockHeader;
use crate::sync::{AtomicU8, AtomicU64, Ordering};
use core::ops::Range;

/// How many messages a batch may have. Their marks stand next to the block's own words, on two lines together.
pub(crate) const MAX_BATCH: usize = 64;

/// What has become of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageMark(u8);

const HANDED_OUT: u8 = 0b1111;
const DONE: u8 = 1 << 4;
const REJECTED: u8 = 1 << 5;

impl MessageMark {
    /// Of a message that has never been handed out.
    pub(crate) const FRESH: Self = Self(0);

    /// As it is in memory, for [`super::verify`].
    #[cfg(all(test, not(loom)))]
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The same, handed out once more, done with, or rejected.
    #[cfg(all(test, not(loom)))]
    pub(crate) const fn changed(self, out: bool, done: bool, rejected: bool) -> Self {
        let mut bits = self.0 + out as u8;
        if done {
            bits |= DONE;
        }
        if rejected {
            bits |= REJECTED;
        }
        Self(bits)
    }

    /// How often the message has been handed out.
    #[must_use]
    pub(crate) const fn deliveries(self) -> u8 {
        self.0 & HANDED_OUT
    }

    /// How often it has come back. The hands that found that it can't be decoded don't count.
    #[must_use]
    pub(crate) const fn failed_deliveries(self) -> u8 {
        self.deliveries()
            .saturating_sub((self.0 & REJECTED != 0) as u8)
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn is_done(self) -> bool {
        self.0 & DONE != 0
    }

    /// Whether it may be handed out (again), if that may happen `limit` times.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn is_live(self, limit: u8) -> bool {
        self.0 & (DONE | REJECTED) == 0 && self.deliveries() < limit
    }
}

/// The marks of one batch, and the count of all batches that were in this block.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BatchMarks {
    /// See [`ExtraMessages`].
    beyond: AtomicU64,
    marks: [AtomicU8; MAX_BATCH],
}

/// How many messages have been accepted in this block beyond the first of their batches (BATCH-4): the count, and in the
/// lowest bit whether it has those of the present batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtraMessages(u64);

const COUNTED: u64 = 1;

impl ExtraMessages {
    #[must_use]
    pub(crate) const fn includes_current(self) -> bool {
        self.0 & COUNTED != 0
    }

    /// As it is in memory, for [`super::verify`].
    #[cfg(all(test, not(loom)))]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// How many there are, those of the present batch not included unless they have been counted.
    #[must_use]
    pub(crate) const fn count(self) -> u64 {
        self.0 >> 1
    }

    /// With a present batch of this many messages. A peer may have written nonsense: wraps.
    #[must_use]
    pub(crate) const fn with_current(self, messages: usize) -> Self {
        let more = (messages as u64).saturating_sub(1);
        Self((self.0 & !COUNTED).wrapping_add(more << 1) | COUNTED)
    }

    /// As it is when another batch comes.
    pub(super) const fn without_current(self) -> Self {
        Self(self.0 & !COUNTED)
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<BlockHeader>() + size_of::<BatchMarks>() <= 128);

/// How many messages of a batch are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageCounts {
    /// To be handed out (again), or in hands that are not the last.
    pub(crate) live: u64,
    /// Dead letters, or about to be.
    pub(crate) spent: u64,
}

impl MessageCounts {
    /// All that are not done.
    #[must_use]
    pub(crate) const fn unsettled(self) -> u64 {
        self.live + self.spent
    }
}

impl BatchMarks {
    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Self {
        Self {
            beyond: AtomicU64::new(0),
            marks: core::array::from_fn(|_| AtomicU8::new(0)),
        }
    }

    /// BATCH-4. Acquire: the look at the block word that follows finds what it was when the count was this, or later.
    #[must_use]
    pub(crate) fn extra_messages(&self) -> ExtraMessages {
        ExtraMessages(self.beyond.load(Ordering::Acquire))
    }

    /// BATCH-4, by the sender in Owned: the batch that is about to be sent is not counted. A plain store: the exchange of
    /// somebody who was late with the batch before fails, for that one is in the count.
    pub(crate) fn reset_counted(&self) {
        // Published by the store that offers the block.
        let next = self.extra_messages().without_current();
        self.beyond.store(next.0, Ordering::Relaxed);
    }

    /// BATCH-4: count the present batch, of this many messages, if the count is still `seen`. Failure means that somebody
    /// else has counted it.
    pub(crate) fn add_extra(&self, seen: ExtraMessages, messages: usize) {
        let to = seen.with_current(messages);
        // AcqRel: it precedes the exchange with which the batch leaves Held, for whoever reads both.
        let _ = self
            .beyond
            .compare_exchange(seen.0, to.0, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Where the word of BATCH-4 and the first marks are, for [`super::verify`].
    #[cfg(all(test, not(loom)))]
    pub(crate) fn addresses(&self) -> (usize, impl Iterator<Item = usize> + '_) {
        let marks = self
            .marks
            .iter()
            .map(|mark| core::ptr::from_ref(mark).addr());
        (core::ptr::from_ref(&self.beyond).addr(), marks)
    }

    /// BATCH-1, by the sender.
    pub(crate) fn clear(&self, count: usize) {
        for mark in self.marks.iter().take(count) {
            mark.store(0, Ordering::Relaxed);
        }
    }

    // Relaxed, all of them: published by the exchange of the block word (BATCH-3), and read for the books by others,
    // who can do with an older value.
    /// The mark of a message. One beyond the last counts as done.
    #[must_use]
    #[inline(always)]
    pub(crate) fn get(&self, message: usize) -> MessageMark {
        MessageMark(
            self.marks
                .get(message)
                .map_or(DONE, |mark| mark.load(Ordering::Relaxed)),
        )
    }

    /// Whether none of the first `count` messages has ever been handed out.
    #[inline(always)]
    pub(crate) fn are_fresh(&self, count: usize) -> bool {
        let marks = self.marks.iter().take(count);
        marks.fold(0, |any, mark| any | mark.load(Ordering::Relaxed)) == MessageMark::FRESH.0
    }

    /// Messages that had never been handed out before, and now have been to nobody.
    pub(crate) fn reset_to_fresh(&self, messages: Range<usize>) {
        messages.for_each(|message| self.set(message, MessageMark::FRESH.0));
    }

    #[inline(always)]
    fn set(&self, message: usize, mark: u8) {
        if let Some(word) = self.marks.get(message) {
            word.store(mark, Ordering::Relaxed);
        }
    }

    /// BATCH-2: the message is about to be handed out, which its mark so far, `seen`, allows.
    #[inline(always)]
    pub(crate) fn record_delivery(&self, message: usize, seen: MessageMark) {
        self.set(message, seen.0 + 1);
    }

    /// BATCH-2: the message is acknowledged, or its letter discarded.
    #[inline(always)]
    pub(crate) fn mark_done(&self, message: usize) {
        self.set(message, self.get(message).0 | DONE);
    }

    /// Nobody will ever be able to use the message.
    pub(crate) fn mark_rejected(&self, message: usize) {
        self.set(message, self.get(message).0 | REJECTED);
    }

    /// Where the first `count` messages are, if each may be handed out `limit` times.
    #[must_use]
    pub(crate) fn message_counts(&self, count: usize, limit: u8) -> MessageCounts {
        let mut tally = MessageCounts::default();
        for mark in (0..count).map(|message| self.get(message)) {
            if mark.is_live(limit) {
                tally.live += 1;
            } else if !mark.is_done() {
                tally.spent += 1;
            }
        }
        tally
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_live_until_its_last_hands_and_then_spent() {
        let marks = BatchMarks::new();
        for limit in [1, 3, 15] {
            marks.clear(MAX_BATCH);
            for attempt in 0..limit {
                let mark = marks.get(5);
                assert!(mark.is_live(limit) && mark.failed_deliveries() == attempt);
                marks.record_delivery(5, mark);
            }
            let tally = marks.message_counts(6, limit);
            assert_eq!((tally.live, tally.spent), (5, 1));
            assert_eq!(marks.get(5).failed_deliveries(), limit);
        }
    }

    #[test]
    fn a_rejected_message_is_spent_and_keeps_its_attempts() {
        let marks = BatchMarks::new();
        marks.record_delivery(0, marks.get(0));
        marks.record_delivery(0, marks.get(0));
        marks.mark_rejected(0);
        assert_eq!(marks.get(0).failed_deliveries(), 1);
        assert_eq!(
            marks.message_counts(1, 15),
            MessageCounts { live: 0, spent: 1 }
        );
        marks.mark_done(0);
        assert_eq!(marks.message_counts(1, 15).unsettled(), 0);
    }

    #[test]
    fn there_is_nothing_beyond_the_last_message() {
        let marks = BatchMarks::new();
        marks.record_delivery(MAX_BATCH, marks.get(0));
        marks.mark_done(MAX_BATCH);
        assert!(marks.get(MAX_BATCH).is_done());
        assert_eq!(
            marks.message_counts(MAX_BATCH + 9, 1).unsettled(),
            MAX_BATCH as u64
        );
    }
}
