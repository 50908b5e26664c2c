//! The header at the start of every block: its word, and what its sender records about the message.
//!
//! | field    | written by                         | meaning                                                          |
//! |----------|------------------------------------|------------------------------------------------------------------|
//! | word     | see [`super::blocks`]              | which process may use the block                                  |
//! | position | the sender, in Owned and Offered   | none at `Offer`; then the position that `Publish` is tried for   |
//! | length   | the sender, in Owned               | bytes of the payload; the highest bit marks a batch; all bits    |
//! |          |                                    | mark a block that is prepared ([`super::steps::token_room`])     |
//! | note     | huge block: its owner              | whether the block has memory ([`super::huge_memory`])            |
//! | note     | batch: its sender, then its holder | number of messages, and in which generation the holder opened it |
//!
//! Huge blocks hold no batches, so the two uses of `note` never meet.
//!
//! Crash: a header is read only in states that follow its last write (BLOCK-4).

use super::bits::Field;
use super::blocks::BlockWord;
use super::ids::Position;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The header of one block in shared memory.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BlockHeader {
    pub(crate) word: BlockWord,
    position: AtomicU64,
    length: AtomicU32,
    note: AtomicU32,
}

/// The value of the field `position` before `Publish` is tried. No message has this position.
const NO_POSITION: u64 = u64::MAX;

/// The bit of a length that marks a batch. No message is that long, so a reader that expects a single message finds the
/// length out of range and checks for a batch.
const IS_BATCH: u32 = 1 << 31;

/// The value of the field `length` of a block that its sender has prepared. No batch is that long.
const PREPARED: u32 = u32::MAX;

/// Fields of the note of a batch: the number of messages, and the lowest bits of the generation in which it was opened.
const COUNT: Field = Field::lowest(8);
const OPENED_IN: Field = COUNT.above(24);

/// Returns the fields as a note.
const fn note(opened_in: u64, count: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation, reason = "8 and 24 bits")]
    {
        (OPENED_IN.pack(OPENED_IN.wrap(opened_in)) | COUNT.pack(COUNT.wrap(count))) as u32
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<BlockHeader>() == 24);

// Accesses to the position, the length and the note are Relaxed unless they say otherwise. The exchange of the slot
// (`Publish`) or of the block word (`Return`) publishes them, and threads of one process use a lock.
//
// The position is written by Release and read by Acquire where a decision rests on it (BLOCK-5). So a process that sees the
// position of a later message also sees that the earlier one was held, and its exchange of the earlier word fails.
impl BlockHeader {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self {
            word: BlockWord::new(),
            position: AtomicU64::new(0),
            length: AtomicU32::new(0),
            note: AtomicU32::new(0),
        }
    }

    #[inline(always)]
    pub(crate) fn set_position(&self, position: Position) {
        self.position.store(position.0, Ordering::Release);
    }

    /// Records that `Publish` has been tried for no position yet. Called by the sender, before `Offer` (BLOCK-5).
    #[inline(always)]
    pub(crate) fn set_no_position(&self) {
        self.position.store(NO_POSITION, Ordering::Release);
    }

    /// Returns the place of an accepted message in the order of acceptance.
    #[must_use]
    pub(crate) fn position(&self) -> Position {
        Position(self.position.load(Ordering::Relaxed))
    }

    /// Returns the position that `Publish` was last tried for, if there is one.
    #[must_use]
    pub(crate) fn tried_position(&self) -> Option<Position> {
        let position = self.position.load(Ordering::Acquire);
        (position != NO_POSITION).then_some(Position(position))
    }

    #[inline(always)]
    pub(crate) fn set_length(&self, length: u32) {
        self.length.store(length, Ordering::Relaxed);
    }

    /// Records that the sender owns the block, but has no message for it yet.
    pub(crate) fn set_prepared(&self) {
        self.set_length(PREPARED);
    }

    /// Records that the sender gives up the block, which it may have prepared.
    pub(crate) fn set_not_prepared(&self) {
        self.set_length(0);
    }

    /// Returns whether the sender that owns the block has no message for it yet. Only meaningful in Owned.
    #[must_use]
    pub(crate) fn is_prepared(&self) -> bool {
        self.length() == PREPARED
    }

    /// Returns the number of bytes of the message. Not checked against the size of the block.
    #[must_use]
    #[inline(always)]
    pub(crate) fn length(&self) -> u32 {
        self.length.load(Ordering::Relaxed)
    }

    /// Returns whether a huge block has memory.
    // Acquire here and Release below: no access to the payload moves before the block is known to have memory, or after
    // it is recorded as having none.
    #[must_use]
    pub(crate) fn is_committed(&self) -> bool {
        self.note.load(Ordering::Acquire) != 0
    }

    /// Records whether a huge block has memory. Called by the owner of the block.
    pub(crate) fn note_committed(&self, committed: bool) {
        self.note.store(u32::from(committed), Ordering::Release);
    }

    /// Returns the value of [`length`](Self::length) for a batch whose payload has `length` bytes.
    pub(crate) const fn batched_length(length: u32) -> u32 {
        length | IS_BATCH
    }

    /// Returns whether the block holds a batch.
    #[must_use]
    #[inline(always)]
    pub(crate) fn is_batched(&self) -> bool {
        Self::is_batched_length(self.length())
    }

    #[inline(always)]
    pub(crate) const fn is_batched_length(length: u32) -> bool {
        length & IS_BATCH != 0
    }

    /// Returns the number of bytes of a batch's payload. Not checked against the size of the block.
    #[must_use]
    pub(crate) fn length_of_batch(&self) -> u32 {
        self.length() & !IS_BATCH
    }

    /// Records that the block will hold `count` messages, and is not opened in this generation. Called by the sender.
    pub(crate) fn set_batched(&self, count: usize, generation: u64) {
        self.note
            .store(Self::batched_note(count, generation), Ordering::Relaxed);
    }

    pub(super) fn batched_note(count: usize, generation: u64) -> u32 {
        note(!generation, count as u64)
    }

    /// Returns the number of messages of a batch. Not checked.
    #[must_use]
    pub(crate) fn batched(&self) -> usize {
        #[allow(clippy::cast_possible_truncation, reason = "a field of 8 bits")]
        {
            COUNT.get(self.note.load(Ordering::Relaxed).into()) as usize
        }
    }

    /// Records that every thread of the holder's process can find the batch. Called by the holder.
    pub(crate) fn set_opened(&self, generation: u64) {
        let note = Self::opened_note(self.note.load(Ordering::Relaxed), generation);
        self.note.store(note, Ordering::Relaxed);
    }

    pub(super) const fn opened_note(old: u32, generation: u64) -> u32 {
        note(generation, COUNT.get(old as u64))
    }

    /// Returns whether the holder has opened the batch since it took it.
    #[must_use]
    pub(crate) fn is_opened(&self, generation: u64) -> bool {
        let note = self.note.load(Ordering::Relaxed);
        OPENED_IN.get(note.into()) == OPENED_IN.wrap(generation)
    }
}
