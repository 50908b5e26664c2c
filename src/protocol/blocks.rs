//! Blocks: the cells that messages live in, each with one word that says whose it is.
//!
//! | state    | row    | meaning                                                                |
//! |----------|--------|------------------------------------------------------------------------|
//! | Free     | -      | anybody may allocate it, by the exchange to Owned                      |
//! | Owned    | sender | being filled                                                           |
//! | Offered  | sender | filled; in the ring, or about to be, or taken by somebody who may not have noted it yet |
//! | Held     | taker  | taken, and neither acknowledged nor returned                           |
//! | Returned | -      | waits to be handed out again, before anything in the ring              |
//! | Dead     | -      | a dead letter: handed out too often, or can't be decoded               |
//! | Read     | reader | a dead letter that somebody is looking at                              |
//!
//! BLOCK-1. In Owned, Held and Read only the process of that row changes the word, for as long as it lives. So
//!     its own changes may be plain stores.
//! BLOCK-2. Offered becomes Held by the taker or by any helper, always to the same value, named by the slot.
//! BLOCK-3. Whenever a block stops being somebody's (Free, Returned, Dead), its generation rises: an exact
//!     exchange prepared before that can't succeed after it.
//! BLOCK-4. The payload and the header are written in Owned only, and read in Held and Read only (the position,
//!     which is atomic, also in Returned and Dead). A batch is different in its marks, which its holder or
//!     reader writes too, and anybody may read ([`super::batch`]).
//!
//! Crash: the word of a dead process's block says what is to be done with it: Owned is freed, Held returned,
//! Read made Dead again, Offered freed if no slot knows of it.
use super::peers::PeerIndex;
use super::ring::Position;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The number of a block, below 2^20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlockIndex(u32);

impl BlockIndex {
    pub(crate) const FIRST: Self = Self(0);
    /// How many blocks can be numbered.
    pub(crate) const COUNT: u32 = 1 << 20;
    /// Names no block: every queue has fewer.
    pub(super) const NONE: Self = Self(Self::COUNT - 1);

    #[must_use]
    pub(crate) const fn new(index: u32) -> Option<Self> {
        if index < Self::COUNT {
            Some(Self(index))
        } else {
            None
        }
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn from_low_bits(bits: u64) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "masked to 20 bits")]
        Self((bits & (Self::COUNT as u64 - 1)) as u32)
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

/// See the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Free,
    Owned,
    Offered,
    Held,
    Returned,
    Dead,
    Read,
}

/// The value of a block word: state 3 | peer 10 | attempts 4 | generation 47, from the top.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockState(u64);

const GENERATION_BITS: u32 = 47;
const ATTEMPTS_BITS: u32 = 4;
const ROW_BITS: u32 = 10;
pub(super) const ATTEMPTS_SHIFT: u32 = GENERATION_BITS;
const ROW_SHIFT: u32 = ATTEMPTS_SHIFT + ATTEMPTS_BITS;
const STATE_SHIFT: u32 = ROW_SHIFT + ROW_BITS;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
const ATTEMPTS_MASK: u64 = (1 << ATTEMPTS_BITS) - 1;

impl BlockState {
    /// The one pattern that stands for no state.
    pub(super) const NONE: Self = Self(u64::MAX);

    #[inline(always)]
    const fn from_parts(state: BlockKind, peer: PeerIndex, attempts: u64, generation: u64) -> Self {
        let state = match state {
            BlockKind::Free => 0_u64,
            BlockKind::Owned => 1,
            BlockKind::Offered => 2,
            BlockKind::Held => 3,
            BlockKind::Returned => 4,
            BlockKind::Dead => 5,
            BlockKind::Read => 6,
        };
        Self(
            state << STATE_SHIFT
                | (peer.get() as u64) << ROW_SHIFT
                | (attempts & ATTEMPTS_MASK) << ATTEMPTS_SHIFT
                | (generation & GENERATION_MASK),
        )
    }

    /// As it is in memory, for [`super::verify`].
    #[cfg(all(test, not(loom)))]
    #[must_use]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    #[cfg(all(test, not(loom)))]
    #[must_use]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// `None` for the one pattern that stands for nothing.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn kind(self) -> Option<BlockKind> {
        Some(match self.0 >> STATE_SHIFT {
            0 => BlockKind::Free,
            1 => BlockKind::Owned,
            2 => BlockKind::Offered,
            3 => BlockKind::Held,
            4 => BlockKind::Returned,
            5 => BlockKind::Dead,
            6 => BlockKind::Read,
            _ => return None,
        })
    }

    #[must_use]
    #[inline(always)]
    pub(crate) fn is(self, state: BlockKind) -> bool {
        self.kind() == Some(state)
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn peer(self) -> PeerIndex {
        PeerIndex::from_low_bits(self.0 >> ROW_SHIFT)
    }

    /// How often the message has been handed out and come back.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn failed_deliveries(self) -> u8 {
        #[allow(clippy::cast_possible_truncation, reason = "masked to 4 bits")]
        {
            (self.0 >> ATTEMPTS_SHIFT & ATTEMPTS_MASK) as u8
        }
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn generation(self) -> u64 {
        self.0 & GENERATION_MASK
    }

    /// The same message in another state and hand.
    #[inline(always)]
    pub(super) const fn with_owner(self, state: BlockKind, peer: PeerIndex) -> Self {
        Self::from_parts(
            state,
            peer,
            self.failed_deliveries() as u64,
            self.generation(),
        )
    }

    /// Out of everybody's hands: the generation rises (BLOCK-3).
    #[inline(always)]
    const fn released(self, state: BlockKind, attempts: u8) -> Self {
        Self::from_parts(
            state,
            PeerIndex::FIRST,
            attempts as u64,
            self.generation() + 1,
        )
    }

    /// `Hold`: what the word becomes once `taker` holds the message.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn held_by(self, taker: PeerIndex) -> Self {
        self.with_owner(BlockKind::Held, taker)
    }

    /// What the word must not become: as it should be, but of the generation of `other`.
    #[must_use]
    pub(crate) const fn in_generation_of(self, other: Self) -> Self {
        Self(self.0 & !GENERATION_MASK | other.generation())
    }

    /// `Return`: what the word becomes when its holder returns the message, if it may be handed out `limit`
    /// times.
    #[must_use]
    pub(crate) const fn after_return(self, limit: u8) -> Self {
        let attempts = self.failed_deliveries() + 1;
        if attempts >= limit {
            self.released(BlockKind::Dead, limit)
        } else {
            self.released(BlockKind::Returned, attempts)
        }
    }

    /// `Return` for a batch, whose marks count the attempts.
    #[must_use]
    pub(crate) const fn returned(self) -> Self {
        self.released(BlockKind::Returned, self.failed_deliveries())
    }

    /// `Return` and `Read`: what the word becomes when the message is nobody's business any more but may be
    /// looked at.
    #[must_use]
    pub(crate) const fn dead(self) -> Self {
        self.released(BlockKind::Dead, self.failed_deliveries())
    }

    /// `Release` and `Withdraw`, 13 and 14.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn free(self) -> Self {
        self.released(BlockKind::Free, 0)
    }
}

impl core::fmt::Debug for BlockState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (peer, attempts, generation) = (
            self.peer().get(),
            self.failed_deliveries(),
            self.generation(),
        );
        write!(
            f,
            "{:?}(peer {peer}, attempts {attempts}, generation {generation})",
            self.kind()
        )
    }
}

/// A block word in shared memory.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct BlockWord(AtomicU64);

impl BlockWord {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(
            BlockState::from_parts(BlockKind::Free, PeerIndex::FIRST, 0, 0).0,
        ))
    }

    // Acquire: pairs with the release of whoever wrote the word; the reader may go on to the payload or
    // hand out the block again, after all that was done with it before.
    #[must_use]
    #[inline(always)]
    pub(crate) fn load(&self) -> BlockState {
        BlockState(self.0.load(Ordering::Acquire))
    }

    // AcqRel: the winner publishes what it did to the payload and sees what the loser of the race, or the
    // former owner, did before.
    #[must_use]
    #[inline(always)]
    pub(in crate::protocol) fn exchange(&self, seen: BlockState, to: BlockState) -> bool {
        self.0
            .compare_exchange(seen.0, to.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// `Allocate`: `sender` makes the block its own.
    #[must_use]
    #[inline(always)]
    pub(in crate::protocol) fn allocate(
        &self,
        free: BlockState,
        sender: PeerIndex,
    ) -> Option<BlockState> {
        let owned = free.with_owner(BlockKind::Owned, sender);
        self.exchange(free, owned).then_some(owned)
    }

    /// `Offer`, by the owner: the payload is complete. A plain store (BLOCK-1).
    #[inline(always)]
    pub(in crate::protocol) fn offer(&self, owned: BlockState) -> BlockState {
        let offered = owned.with_owner(BlockKind::Offered, owned.peer());
        self.0.store(offered.0, Ordering::Release);
        offered
    }

    /// `Offer` undone, by the owner, before the block has been in the ring: the payload may be changed again. A
    /// plain store (BLOCK-1): nobody else knows of the block yet.
    pub(in crate::protocol) fn reopen(&self, offered: BlockState) -> BlockState {
        let owned = offered.with_owner(BlockKind::Owned, offered.peer());
        self.0.store(owned.0, Ordering::Release);
        owned
    }

    /// `Hold`, by the taker itself. A plain store: a helper's exchange before it wrote this very value, one
    /// after it fails (BLOCK-1, BLOCK-2).
    #[inline(always)]
    pub(in crate::protocol) fn hold(&self, held: BlockState) {
        self.0.store(held.0, Ordering::Release);
    }

    /// `Release` and `Return`, 11 and 13, by whoever has the block in hand (BLOCK-1). An exchange, so that a full fence
    /// before the look at who sleeps costs nothing more. False if the word was not `mine`: then memory is
    /// corrupt, or a caller has released twice.
    #[must_use]
    #[inline(always)]
    pub(in crate::protocol) fn release(&self, mine: BlockState, to: BlockState) -> bool {
        self.0.swap(to.0, Ordering::AcqRel) == mine.0
    }

    /// `Retake`: `taker` takes a returned message.
    #[must_use]
    pub(in crate::protocol) fn take_returned(
        &self,
        returned: BlockState,
        taker: PeerIndex,
    ) -> Option<BlockState> {
        let held = returned.held_by(taker);
        self.exchange(returned, held).then_some(held)
    }

    /// `Read`: `reader` opens a dead letter (or, once the queue has ended, a message that came back too
    /// late).
    #[must_use]
    pub(in crate::protocol) fn read_dead(
        &self,
        dead: BlockState,
        reader: PeerIndex,
    ) -> Option<BlockState> {
        let read = if mutant!(ReadDeadLetterAsHeld) {
            dead.held_by(reader)
        } else {
            dead.with_owner(BlockKind::Read, reader)
        };
        self.exchange(dead, read).then_some(read)
    }
}

/// What stands at the start of every block: its word, and what its owner says of the message.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BlockHeader {
    pub(crate) word: BlockWord,
    position: AtomicU64,
    length: AtomicU32,
    /// Of a huge block: whether it has memory. Of any other, if it holds a batch: how many messages, and whether its
    /// holder has opened it. Huge blocks hold no batches.
    note: AtomicU32,
}

/// In the length: the block holds a batch. No message is that long, so whoever expects one looks again.
const BATCHED: u32 = 1 << 31;
/// In `batched`: 8 bits for the number of messages, the rest for the generation in which it was opened.
const COUNT_BITS: u32 = 8;

/// The low bits of a generation, as they fit next to the count.
const fn short(generation: u64) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the low bits are asked for"
    )]
    let low = generation as u32;
    low << COUNT_BITS
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<BlockHeader>() == 24);

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

    // Relaxed: published by the exchange of the slot (`Publish`), or by that of the word (`Return`).
    #[inline(always)]
    pub(crate) fn set_position(&self, position: Position) {
        self.position.store(position.0, Ordering::Relaxed);
    }

    /// Where the message stands in the order of acceptance.
    #[must_use]
    pub(crate) fn position(&self) -> Position {
        Position(self.position.load(Ordering::Relaxed))
    }

    #[inline(always)]
    pub(crate) fn set_length(&self, length: u32) {
        self.length.store(length, Ordering::Relaxed);
    }

    /// Whether a block whose memory comes and goes is noted as having it; `segment::huge` has the rules.
    // Acquire and Release, so that nothing of a payload is touched before it is known to be there, or after it is
    // known to go.
    #[must_use]
    pub(crate) fn is_committed(&self) -> bool {
        self.note.load(Ordering::Acquire) != 0
    }

    /// By the owner.
    pub(crate) fn note_committed(&self, committed: bool) {
        self.note.store(u32::from(committed), Ordering::Release);
    }

    /// What [`length`](Self::length) says of a batch with a payload of `length` bytes.
    pub(crate) const fn batched_length(length: u32) -> u32 {
        length | BATCHED
    }

    /// Whether the block holds several messages.
    #[must_use]
    pub(crate) fn is_batched(&self) -> bool {
        Self::is_batched_length(self.length())
    }

    pub(crate) const fn is_batched_length(length: u32) -> bool {
        length & BATCHED != 0
    }

    /// How many bytes the payload of a batch has. Not checked against the size of the block.
    #[must_use]
    pub(crate) fn length_of_batch(&self) -> u32 {
        self.length() & !BATCHED
    }

    // Relaxed, here and below: as for the position, or between threads of one process, which have a lock.
    /// By the owner: the block will hold `count` messages, and nobody has opened it in this generation.
    pub(crate) fn set_batched(&self, count: usize, generation: u64) {
        self.note
            .store(Self::batched_note(count, generation), Ordering::Relaxed);
    }

    pub(super) fn batched_note(count: usize, generation: u64) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX) & ((1 << COUNT_BITS) - 1);
        short(!generation) | count
    }

    /// How many messages the batch has. Not checked.
    #[must_use]
    pub(crate) fn batched(&self) -> usize {
        (self.note.load(Ordering::Relaxed) & ((1 << COUNT_BITS) - 1)) as usize
    }

    /// By the holder: all threads of its process can find the batch.
    pub(crate) fn set_opened(&self, generation: u64) {
        let note = Self::opened_note(self.note.load(Ordering::Relaxed), generation);
        self.note.store(note, Ordering::Relaxed);
    }

    pub(super) const fn opened_note(note: u32, generation: u64) -> u32 {
        short(generation) | note & ((1 << COUNT_BITS) - 1)
    }

    /// Whether its holder has opened the batch since it has it in hand.
    #[must_use]
    pub(crate) fn is_opened(&self, generation: u64) -> bool {
        (self.note.load(Ordering::Relaxed) ^ short(generation)) >> COUNT_BITS == 0
    }

    /// How many bytes the message has. Not checked against the size of the block.
    #[must_use]
    #[inline(always)]
    pub(crate) fn length(&self) -> u32 {
        self.length.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_block_word_keeps_its_parts_apart() {
        let all = [
            BlockKind::Free,
            BlockKind::Owned,
            BlockKind::Offered,
            BlockKind::Held,
            BlockKind::Returned,
            BlockKind::Dead,
            BlockKind::Read,
        ];
        for state in all {
            for (peer, attempts, generation) in
                [(0, 0, 0), (1023, 15, GENERATION_MASK), (512, 9, 12345)]
            {
                let peer = PeerIndex::from_low_bits(peer);
                let block = BlockState::from_parts(state, peer, attempts, generation);
                assert_eq!(block.kind(), Some(state));
                assert_eq!(
                    (
                        block.peer(),
                        u64::from(block.failed_deliveries()),
                        block.generation()
                    ),
                    (peer, attempts, generation)
                );
            }
        }
        assert_eq!(BlockState(u64::MAX).kind(), None);
    }

    #[test]
    fn every_release_raises_the_generation_and_wraps() {
        let held = BlockState::from_parts(
            BlockKind::Held,
            PeerIndex::from_low_bits(3),
            0,
            GENERATION_MASK,
        );
        for released in [
            held.free(),
            held.dead(),
            held.after_return(3),
            held.after_return(1),
        ] {
            assert_eq!(
                (released.generation(), released.peer()),
                (0, PeerIndex::FIRST)
            );
        }
    }

    #[test]
    fn the_last_attempt_makes_a_dead_letter() {
        let mut word = BlockState::from_parts(BlockKind::Held, PeerIndex::FIRST, 0, 0);
        for attempt in 1..15 {
            word = word.after_return(15);
            assert!(word.is(BlockKind::Returned) && word.failed_deliveries() == attempt);
        }
        word = word.after_return(15);
        assert!(word.is(BlockKind::Dead) && word.failed_deliveries() == 15);
    }
}
