//! Blocks: the cells for messages, each with one word that says which process may use it for what.
//!
//! | kind     | peer   | meaning                                                                                  |
//! |----------|--------|------------------------------------------------------------------------------------------|
//! | Free     | -      | any sender may allocate it                                                               |
//! | Owned    | sender | the sender writes the message, or has prepared the block for its next one                |
//! | Offered  | sender | the message is complete: not yet in the ring, in the ring, or taken but not yet Held     |
//! | Held     | taker  | the message was received, and is neither acknowledged nor returned                       |
//! | Returned | -      | the message waits to be delivered again, before all messages in the ring                 |
//! | Dead     | -      | a dead letter: delivered too often, or it cannot be decoded                              |
//! | Read     | reader | a dead letter that a process is reading                                                  |
//!
//! The table in [`super`] lists the transitions between them.
//!
//! BLOCK-1. While a block is Owned, Held or Read, only the process that the word names changes the word, unless that
//!     process is dead. Its own changes may therefore be plain stores.
//! BLOCK-2. `Hold`, from Offered to Held, is done by the taker or by any helper. All of them write the same value,
//!     because the slot of the message names the taker.
//! BLOCK-3. Every transition to Free, Returned or Dead raises the generation. An exchange that was prepared before it
//!     cannot succeed after it.
//! BLOCK-4. The payload and the header are written in Owned only, and read in Held and Read only. Exceptions: the
//!     position, which is atomic, is also written in Offered, and read in any state (BLOCK-5); the length, which is
//!     atomic too, is read in any state to guess what to prefetch, and in Owned to see whether the block is only
//!     prepared; the process that holds a block may write to its payload what is there (`segment::rewrite`); the marks
//!     of a batch are also written by the process that holds or reads it, and may be read by any process at any time
//!     ([`super::batch`]).
//! BLOCK-5. While a block is Offered, its position is none, or one whose slot its sender has seen free since `Offer`. A slot
//!     that was filled before the block was allocated is never seen free after that. So if the position is that of a message
//!     that was taken from the ring in this block, the block still has this very message, and not a later one.
//!
//! Crash: the word of a block that a dead process owned says what recovery does: Owned becomes Free, Held becomes
//! Returned, Read becomes Dead again, and Offered becomes Free if no slot names the block for this message.

use super::bits::Field;
use super::ids::PeerIndex;
use crate::sync::{AtomicU64, Ordering};

/// What a block is in use for. The table above describes each kind.
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

/// The value of a block word: generation 47 | failed deliveries 4 | peer 10 | kind 3 bits, from the highest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockState(u64);

// The kind is lowest and the generation highest, so that a test of the one and an increment of the other are short
// instructions.
const KIND: Field = Field::lowest(3);
const PEER: Field = KIND.above(PeerIndex::BITS);
pub(super) const FAILED_DELIVERIES: Field = PEER.above(4);
const GENERATION: Field = FAILED_DELIVERIES.above(47);

impl BlockState {
    /// The state of a block in a new queue: Free.
    pub(crate) const NEW: Self = Self(0);

    /// The bit pattern that stands for no kind. A spent [`OwnedBlock`](super::steps::OwnedBlock) has it.
    pub(super) const NONE: Self = Self(u64::MAX);

    #[inline(always)]
    const fn from_parts(
        kind: BlockKind,
        peer: PeerIndex,
        failed_deliveries: u64,
        generation: u64,
    ) -> Self {
        let kind = match kind {
            BlockKind::Free => 0_u64,
            BlockKind::Owned => 1,
            BlockKind::Offered => 2,
            BlockKind::Held => 3,
            BlockKind::Returned => 4,
            BlockKind::Dead => 5,
            BlockKind::Read => 6,
        };
        Self(
            KIND.pack(kind)
                | PEER.pack(peer.get() as u64)
                | FAILED_DELIVERIES.pack(FAILED_DELIVERIES.wrap(failed_deliveries))
                | GENERATION.pack(GENERATION.wrap(generation)),
        )
    }

    /// Returns the value as it is in memory.
    #[must_use]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the value that is in memory like this.
    #[must_use]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns `None` for the one bit pattern that stands for no kind.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn kind(self) -> Option<BlockKind> {
        Some(match KIND.get(self.0) {
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
    pub(crate) fn is(self, kind: BlockKind) -> bool {
        self.kind() == Some(kind)
    }

    /// Returns the process that the word names: the sender, the taker or the reader.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn peer(self) -> PeerIndex {
        PeerIndex::from_low_bits(PEER.get(self.0))
    }

    /// Returns the number of deliveries that ended with a return. Of a batch this is 0: its marks count for each
    /// message.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn failed_deliveries(self) -> u8 {
        #[allow(clippy::cast_possible_truncation, reason = "a field of 4 bits")]
        {
            FAILED_DELIVERIES.get(self.0) as u8
        }
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn generation(self) -> u64 {
        GENERATION.get(self.0)
    }

    /// Returns the state of the same message after a transition that keeps the generation.
    #[inline(always)]
    pub(super) const fn with_owner(self, kind: BlockKind, peer: PeerIndex) -> Self {
        Self::from_parts(
            kind,
            peer,
            self.failed_deliveries() as u64,
            self.generation(),
        )
    }

    /// Returns the state after a transition to Free, Returned or Dead, which raises the generation (BLOCK-3).
    #[inline(always)]
    const fn released(self, kind: BlockKind, failed_deliveries: u8) -> Self {
        Self::from_parts(
            kind,
            PeerIndex::FIRST,
            failed_deliveries as u64,
            self.generation() + 1,
        )
    }

    /// Returns the state after `taker` received the message. Transitions `Hold` and `Retake`.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn held_by(self, taker: PeerIndex) -> Self {
        self.with_owner(BlockKind::Held, taker)
    }

    /// Returns this state with the generation of `other`: a fault that a mutant makes.
    #[must_use]
    pub(crate) const fn in_generation_of(self, other: Self) -> Self {
        Self(self.0 & !GENERATION.mask() | GENERATION.pack(other.generation()))
    }

    /// Returns the state after the message was returned: Dead if that was its last delivery of `max_deliveries`.
    /// Transition `Return`.
    #[must_use]
    pub(crate) const fn after_return(self, max_deliveries: u8) -> Self {
        let failed_deliveries = self.failed_deliveries() + 1;
        if failed_deliveries >= max_deliveries {
            self.released(BlockKind::Dead, max_deliveries)
        } else {
            self.released(BlockKind::Returned, failed_deliveries)
        }
    }

    /// Returns the state after a batch was returned. Transition `Return`.
    #[must_use]
    pub(crate) const fn returned(self) -> Self {
        self.released(BlockKind::Returned, self.failed_deliveries())
    }

    /// Returns the state of a message that is never delivered again. Transition `Return`, and the end of `Read`.
    #[must_use]
    pub(crate) const fn dead(self) -> Self {
        self.released(BlockKind::Dead, self.failed_deliveries())
    }

    /// Returns the state of a block without a message. Transitions `Release`, `Withdraw`, `Evict`, `Discard`, and the
    /// end of `Read`.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn free(self) -> Self {
        self.released(BlockKind::Free, 0)
    }
}

impl core::fmt::Debug for BlockState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let peer = self.peer().get();
        let (failed, generation) = (self.failed_deliveries(), self.generation());
        write!(
            f,
            "{:?}(peer {peer}, failed deliveries {failed}, generation {generation})",
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
        let free = BlockState::from_parts(BlockKind::Free, PeerIndex::FIRST, 0, 0);
        Self(AtomicU64::new(free.0))
    }

    // Acquire: pairs with the release of the write of the value. The reader may then read the payload, or use the block
    // again, after everything that was done with it before.
    #[must_use]
    #[inline(always)]
    pub(crate) fn load(&self) -> BlockState {
        BlockState(self.0.load(Ordering::Acquire))
    }

    /// Changes the word from exactly `seen` to `to`. False if it had another value.
    // AcqRel: the release publishes what this process did to the payload; the acquire pairs with the process that had
    // the block before.
    #[must_use]
    #[inline(always)]
    pub(in crate::protocol) fn exchange(&self, seen: BlockState, to: BlockState) -> bool {
        self.0
            .compare_exchange(seen.0, to.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Gives a Free block to `sender`, if the word is still as `free`. Transition `Allocate`.
    #[must_use]
    #[inline(always)]
    pub(in crate::protocol) fn allocate(
        &self,
        free: BlockState,
        sender: PeerIndex,
    ) -> Option<BlockState> {
        let owned = free.with_owner(BlockKind::Owned, sender);
        if mutant!(AllocateByStore) {
            self.0.store(owned.0, Ordering::Relaxed);
            return Some(owned);
        }
        self.exchange(free, owned).then_some(owned)
    }

    /// Declares the payload complete. Transition `Offer`. A plain store by the owner (BLOCK-1).
    #[must_use]
    #[inline(always)]
    pub(in crate::protocol) fn offer(&self, owned: BlockState) -> BlockState {
        let offered = owned.with_owner(BlockKind::Offered, owned.peer());
        self.0.store(offered.0, Ordering::Release);
        offered
    }

    /// Undoes `Offer` for a block that was not published, so that its payload may be written again. A plain store by
    /// the sender: no slot names the block for this message, so no other process changes it.
    #[must_use]
    pub(in crate::protocol) fn reopen(&self, offered: BlockState) -> BlockState {
        let owned = offered.with_owner(BlockKind::Owned, offered.peer());
        self.0.store(owned.0, Ordering::Release);
        owned
    }

    /// Records that the taker holds the message. Transition `Hold`, by the taker itself.
    ///
    /// A plain store: an exchange by a helper either wrote this very value before, or fails after it (BLOCK-1,
    /// BLOCK-2).
    #[inline(always)]
    pub(in crate::protocol) fn hold(&self, held: BlockState) {
        self.0.store(held.0, Ordering::Release);
    }

    /// Gives up a block that the calling process owns (BLOCK-1). Transitions `Release` of a batch, `Return` and
    /// `Withdraw`, and the end of `Read`. False if the word was not `mine`: then memory is corrupt, or the block was given up twice.
    ///
    /// A swap instead of a store: a caller that checks for sleepers next needs a full fence, which the swap includes.
    #[must_use]
    #[inline(always)]
    pub(in crate::protocol) fn release(&self, mine: BlockState, to: BlockState) -> bool {
        self.0.swap(to.0, Ordering::AcqRel) == mine.0
    }

    /// Gives up a Held block whose message is acknowledged. Transition `Release`, for single messages. False if the word
    /// was not `mine`, as in [`release`](BlockWord::release).
    ///
    /// A plain store, because no other process changes the word of a Held block (BLOCK-1). It is no fence: a caller that
    /// checks for sleepers next needs one (PARK-2).
    #[must_use]
    #[inline(always)]
    pub(in crate::protocol) fn acknowledge(&self, mine: BlockState, to: BlockState) -> bool {
        if self.0.load(Ordering::Relaxed) != mine.0 {
            return false;
        }
        // Release: pairs with the load of the next process that allocates the block.
        self.0.store(to.0, Ordering::Release);
        true
    }

    /// Takes a Returned message for `taker`, if the word is still as `returned`. Transition `Retake`.
    #[must_use]
    pub(in crate::protocol) fn take_returned(
        &self,
        returned: BlockState,
        taker: PeerIndex,
    ) -> Option<BlockState> {
        let held = returned.held_by(taker);
        self.exchange(returned, held).then_some(held)
    }

    /// Opens a dead letter for `reader`, if the word is still as `dead`. Transition `Read`.
    ///
    /// Once the queue has ended, a Returned message is a dead letter too.
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_block_word_keeps_its_fields_apart() {
        let all = [
            BlockKind::Free,
            BlockKind::Owned,
            BlockKind::Offered,
            BlockKind::Held,
            BlockKind::Returned,
            BlockKind::Dead,
            BlockKind::Read,
        ];
        for kind in all {
            for (peer, failed, generation) in
                [(0, 0, 0), (1023, 15, GENERATION.max()), (512, 9, 12345)]
            {
                let peer = PeerIndex::from_low_bits(peer);
                let block = BlockState::from_parts(kind, peer, failed, generation);
                assert_eq!(block.kind(), Some(kind));
                assert_eq!(
                    (
                        block.peer(),
                        u64::from(block.failed_deliveries()),
                        block.generation()
                    ),
                    (peer, failed, generation)
                );
            }
        }
        assert_eq!(BlockState::NONE.kind(), None);
    }

    #[test]
    fn every_release_raises_the_generation_which_wraps() {
        let holder = PeerIndex::from_low_bits(3);
        let held = BlockState::from_parts(BlockKind::Held, holder, 0, GENERATION.max());
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
    fn the_return_of_the_last_delivery_makes_a_dead_letter() {
        let mut block = BlockState::from_parts(BlockKind::Held, PeerIndex::FIRST, 0, 0);
        for failed in 1..15 {
            block = block.after_return(15);
            assert!(block.is(BlockKind::Returned) && block.failed_deliveries() == failed);
        }
        block = block.after_return(15);
        assert!(block.is(BlockKind::Dead) && block.failed_deliveries() == 15);
    }
}
