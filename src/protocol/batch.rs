//! Batches: blocks that hold several messages, with a mark for each message.
//!
//! For the ring, for the exchanges of block words and for every process that does not hold it, a batch is one block
//! like any other. The marks, one byte for each message, say how far each message is:
//!
//! | deliveries | done | rejected | meaning                                                                      |
//! |------------|------|----------|------------------------------------------------------------------------------|
//! | n < max    | 0    | 0        | *live*: delivered n times; it may be delivered (again)                       |
//! | n = max    | 0    | 0        | *spent*: in its last delivery, or a dead letter                              |
//! | n          | 0    | 1        | spent: it cannot be decoded                                                  |
//! | n          | 1    | -        | acknowledged, or discarded                                                   |
//!
//! BATCH-1. The sender clears the marks while the block is Owned. After that only the process that has the block Held
//!     or Read writes them, with plain stores, because each message of a batch is with one thread at a time.
//! BATCH-2. A message is marked as delivered before the receiver's code sees it, and as done before the receiver
//!     learns that it is acknowledged. A process that dies between the two has used up one delivery, and a message
//!     that is done is never delivered again. A mark is taken back only from messages that were decoded together with
//!     one that could not be decoded, and that no code has seen.
//! BATCH-3. The exchange that ends a process's possession of the block publishes the marks and raises the generation.
//!     The next state of the block follows from the marks alone (`steps::batch::state_after_return`), so another
//!     process can compute it for a holder that died.
//! BATCH-4. Accepted messages beyond the first of their batch are counted in the block itself
//!     ([`BatchMarks::extra_messages`]), in one word with a bit that says whether the current batch is included. The
//!     sender clears the bit while the block is Owned. Before a batch leaves Held, its holder, or the process that
//!     recovers it, includes it, by a compare-exchange that can succeed only once. So the count is right after a death
//!     at any point, and a batch that was never accepted is never counted.
//!
//! Crash: the marks are as far as the holder got, and the block word is Held. The messages that were being processed
//! have used up a delivery. They are delivered to another process, together with those that were not delivered yet.

use super::block_header::BlockHeader;
use crate::sync::{AtomicU8, AtomicU64, Ordering};
use core::ops::Range;

/// The largest number of messages in a batch. Their marks and the header of the block share two cache lines.
pub(crate) const MAX_BATCH: usize = 64;

/// How far one message of a batch is. The table above describes the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageMark(u8);

const DELIVERIES: u8 = 0b1111;
const DONE: u8 = 1 << 4;
const REJECTED: u8 = 1 << 5;

impl MessageMark {
    /// The mark of a message that was never delivered.
    pub(crate) const FRESH: Self = Self(0);

    /// Returns the value as it is in memory.
    #[cfg(all(test, not(loom)))]
    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Returns the mark after one more delivery, an acknowledgement, or a rejection.
    #[cfg(all(test, not(loom)))]
    pub(crate) const fn changed(self, delivered: bool, done: bool, rejected: bool) -> Self {
        let mut bits = self.0 + delivered as u8;
        if done {
            bits |= DONE;
        }
        if rejected {
            bits |= REJECTED;
        }
        Self(bits)
    }

    /// Returns how often the message was delivered, the current delivery included.
    #[must_use]
    pub(crate) const fn deliveries(self) -> u8 {
        self.0 & DELIVERIES
    }

    /// Returns the number of deliveries that ended with a return. The delivery in which the message was rejected does
    /// not count.
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

    /// Returns whether the message may be delivered, of `max_deliveries` in all.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn is_live(self, max_deliveries: u8) -> bool {
        self.0 & (DONE | REJECTED) == 0 && self.deliveries() < max_deliveries
    }
}

/// The marks of the current batch of a block, and the count over all batches of that block.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BatchMarks {
    /// An [`ExtraMessages`].
    extra: AtomicU64,
    marks: [AtomicU8; MAX_BATCH],
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<BlockHeader>() + size_of::<BatchMarks>() <= 128);

/// The number of messages that were accepted in a block beyond the first of their batch (BATCH-4). The lowest bit says
/// whether the current batch is included, the bits above it are the count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtraMessages(u64);

const INCLUDES_CURRENT: u64 = 1;

impl ExtraMessages {
    #[must_use]
    pub(crate) const fn includes_current(self) -> bool {
        self.0 & INCLUDES_CURRENT != 0
    }

    /// Returns the value as it is in memory.
    #[cfg(all(test, not(loom)))]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the count.
    #[must_use]
    pub(crate) const fn count(self) -> u64 {
        self.0 >> 1
    }

    /// Returns the value that includes a current batch of this many messages. Wraps if a stray write left a large
    /// count.
    #[must_use]
    pub(crate) const fn with_current(self, messages: usize) -> Self {
        let more = (messages as u64).saturating_sub(1);
        Self((self.0 & !INCLUDES_CURRENT).wrapping_add(more << 1) | INCLUDES_CURRENT)
    }

    /// Returns the value for a new current batch, which is not included yet.
    pub(super) const fn without_current(self) -> Self {
        Self(self.0 & !INCLUDES_CURRENT)
    }
}

/// How many messages of a batch, or of a block with a single message, are not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageCounts {
    /// Messages that may be delivered (again).
    pub(crate) live: u64,
    /// Messages in their last delivery, and dead letters.
    pub(crate) spent: u64,
}

impl MessageCounts {
    /// Returns the number of all messages that are not done.
    #[must_use]
    pub(crate) const fn unsettled(self) -> u64 {
        self.live + self.spent
    }
}

impl BatchMarks {
    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Self {
        Self {
            extra: AtomicU64::new(0),
            marks: core::array::from_fn(|_| AtomicU8::new(0)),
        }
    }

    /// Returns the number of extra messages of this block (BATCH-4).
    // Acquire: a load of the block word after this one sees what the word was when the count had this value, or later.
    #[must_use]
    pub(crate) fn extra_messages(&self) -> ExtraMessages {
        ExtraMessages(self.extra.load(Ordering::Acquire))
    }

    /// Records that the count does not include the batch that is about to be sent (BATCH-4). Called by the sender while
    /// the block is Owned.
    ///
    /// A plain store: a process that is late with the exchange for the previous batch fails, because that batch is
    /// included.
    pub(crate) fn reset_counted(&self) {
        // The store that offers the block publishes this one.
        let next = self.extra_messages().without_current();
        self.extra.store(next.0, Ordering::Relaxed);
    }

    /// Includes the current batch, of this many messages, if the count is still `seen` (BATCH-4). Otherwise another
    /// process has included it.
    pub(crate) fn add_extra(&self, seen: ExtraMessages, messages: usize) {
        let to = seen.with_current(messages);
        // AcqRel: a reader of both words sees this exchange before the one with which the batch leaves Held.
        let _ = self
            .extra
            .compare_exchange(seen.0, to.0, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Returns the addresses of the count and of the marks.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn addresses(&self) -> (usize, impl Iterator<Item = usize> + '_) {
        let marks = self
            .marks
            .iter()
            .map(|mark| core::ptr::from_ref(mark).addr());
        (core::ptr::from_ref(&self.extra).addr(), marks)
    }

    /// Clears the marks of the first `count` messages. Called by the sender (BATCH-1).
    pub(crate) fn clear(&self, count: usize) {
        for mark in self.marks.iter().take(count) {
            mark.store(MessageMark::FRESH.0, Ordering::Relaxed);
        }
    }

    // All accesses to the marks are Relaxed: the exchange of the block word publishes them (BATCH-3). Other processes
    // read them only for statistics, where an older value does no harm.
    /// Returns the mark of a message. Beyond the last message, the mark is done.
    #[must_use]
    #[inline(always)]
    pub(crate) fn get(&self, message: usize) -> MessageMark {
        MessageMark(
            self.marks
                .get(message)
                .map_or(DONE, |mark| mark.load(Ordering::Relaxed)),
        )
    }

    /// Returns whether none of the first `count` messages was ever delivered.
    #[must_use]
    #[inline(always)]
    pub(crate) fn are_fresh(&self, count: usize) -> bool {
        let marks = self.marks.iter().take(count);
        marks.fold(0, |any, mark| any | mark.load(Ordering::Relaxed)) == MessageMark::FRESH.0
    }

    /// Takes back the first delivery of messages that no code has seen (BATCH-2).
    pub(crate) fn reset_to_fresh(&self, messages: Range<usize>) {
        messages.for_each(|message| self.set(message, MessageMark::FRESH.0));
    }

    #[inline(always)]
    fn set(&self, message: usize, mark: u8) {
        if let Some(word) = self.marks.get(message) {
            word.store(mark, Ordering::Relaxed);
        }
    }

    /// Counts a delivery that is about to happen (BATCH-2). The mark so far is `seen`, which is live.
    #[inline(always)]
    pub(crate) fn record_delivery(&self, message: usize, seen: MessageMark) {
        self.set(message, seen.0 + 1);
    }

    /// Marks a message as acknowledged, or as a dead letter that was discarded (BATCH-2).
    #[inline(always)]
    pub(crate) fn mark_done(&self, message: usize) {
        self.set(message, self.get(message).0 | DONE);
    }

    /// Marks a message that cannot be decoded.
    pub(crate) fn mark_rejected(&self, message: usize) {
        self.set(message, self.get(message).0 | REJECTED);
    }

    /// Counts the first `count` messages by their marks.
    #[must_use]
    pub(crate) fn message_counts(&self, count: usize, max_deliveries: u8) -> MessageCounts {
        let mut counts = MessageCounts::default();
        for mark in (0..count).map(|message| self.get(message)) {
            if mark.is_live(max_deliveries) {
                counts.live += 1;
            } else if !mark.is_done() {
                counts.spent += 1;
            }
        }
        counts
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_live_until_its_last_delivery_and_then_spent() {
        let marks = BatchMarks::new();
        for max_deliveries in [1, 3, 15] {
            marks.clear(MAX_BATCH);
            for failed in 0..max_deliveries {
                let mark = marks.get(5);
                assert!(mark.is_live(max_deliveries) && mark.failed_deliveries() == failed);
                marks.record_delivery(5, mark);
            }
            let counts = marks.message_counts(6, max_deliveries);
            assert_eq!((counts.live, counts.spent), (5, 1));
            assert_eq!(marks.get(5).failed_deliveries(), max_deliveries);
        }
    }

    #[test]
    fn a_rejected_message_is_spent_and_its_last_delivery_is_not_counted() {
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
    fn a_message_beyond_the_last_is_done() {
        let marks = BatchMarks::new();
        marks.record_delivery(MAX_BATCH, marks.get(0));
        marks.mark_done(MAX_BATCH);
        assert!(marks.get(MAX_BATCH).is_done());
        let counts = marks.message_counts(MAX_BATCH + 9, 1);
        assert_eq!(counts.unsettled(), MAX_BATCH as u64);
    }
}
