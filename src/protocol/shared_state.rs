//! Access to the words of one queue, wherever they are.

use super::batch::BatchMarks;
use super::block_header::BlockHeader;
use super::ids::{BlockIndex, PeerIndex, Position};
use super::lifecycle::LifecycleWord;
use super::parking::ParkingWord;
use super::peers::PeerEntry;
use super::returned::ReturnedWord;
use super::ring::{Hint, RingSize, SlotWord};
use crate::sync::AtomicU64;

/// The limits of one queue. They are fixed when it is made, and the same for all peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The number of messages that the ring accepts before it is full.
    pub(crate) capacity: u32,
    /// The number of deliveries after which a message becomes a dead letter, 1 to 15.
    pub(crate) max_deliveries: u8,
    /// The number of dead letters that are kept.
    pub(crate) max_dead_letters: u32,
    /// Whether a closed queue ends only when every message is acknowledged or a dead letter.
    pub(crate) close_waits_for_leases: bool,
    /// Whether the queue closes when the last sender leaves.
    pub(crate) close_on_last_sender: bool,
    /// Whether the queue closes when the last receiver leaves.
    pub(crate) close_on_last_receiver: bool,
}

/// Where the words are that every message needs: a few numbers and addresses, which are passed by value.
///
/// A fast path gets them once and uses them for the whole operation. So the compiler keeps them in registers. It would
/// read the fields of a [`SharedState`] again after each access to an atomic, because they might have changed.
///
/// An index that was read from shared memory may be out of range, because a peer or a stray pointer can overwrite any
/// word. The lookups then return `None`.
pub(crate) trait Words<'a>: Copy {
    fn ring_size(self) -> RingSize;
    fn slot(self, position: Position) -> &'a SlotWord;
    /// Returns the header of a block. `None`: there is no such block, or it has no memory yet, so that it is Free.
    fn block(self, index: BlockIndex) -> Option<&'a BlockHeader>;
    /// Returns the header of the block that lies beside the slot of a position. `None`: no block lies there.
    #[inline(always)]
    fn block_beside(self, position: Position) -> Option<&'a BlockHeader> {
        self.block(self.ring_size().index_beside(position))
    }
    /// Returns the header of a block that probably lies beside the slot of a position: then the address of the slot, which
    /// is known, is that of the block.
    #[inline(always)]
    fn block_near(self, position: Position, index: BlockIndex) -> Option<&'a BlockHeader> {
        if index == self.ring_size().index_beside(position) {
            self.block_beside(position)
        } else {
            self.block(index)
        }
    }
    fn lifecycle(self) -> &'a LifecycleWord;
    fn returned(self) -> &'a ReturnedWord;
    /// Returns the hint where receivers start to look for a message.
    fn head(self) -> &'a Hint;
    /// Returns the hint where senders start to look for a free slot.
    fn tail(self) -> &'a Hint;
    /// Returns the word on which receivers sleep.
    fn items(self) -> &'a ParkingWord;
    /// Returns the word on which senders sleep that own a block and wait for room in the ring.
    fn space(self) -> &'a ParkingWord;
    /// Returns the word on which senders sleep that wait for a free block, of any size.
    fn blocks(self) -> &'a ParkingWord;
    /// Returns whether [`SharedState::fence_others`] makes fences for this process.
    fn is_fenced_by_others(self) -> bool;
    /// Tells the processor that the block will be used soon, and its header written.
    fn prefetch_block(self, index: BlockIndex);
    /// Tells the processor that a message will soon be written to this block, which lies in no cell. It is probably as long as the
    /// last one in the block `like`.
    fn prefetch_room(self, index: BlockIndex, like: BlockIndex);
    /// Tells the processor that the message of this position, if it is there, will be received soon. If it lies in no cell, it
    /// is probably as long as the one in the block `like`.
    fn prefetch_message(self, position: Position, like: BlockIndex);
    /// Tells the processor that the slot of this position, and the block beside it, will be used soon.
    fn prefetch_cell(self, position: Position);
    /// Does so for a slot that receivers come to soon after this position, whose message was just taken, if messages wait there.
    fn prefetch_after(self, position: Position);
}

/// The words of one queue: in a mapping that processes share, or on the heap of a test.
pub(crate) trait SharedState {
    type Words<'a>: Words<'a>
    where
        Self: 'a;

    fn words(&self) -> Self::Words<'_>;
    fn limits(&self) -> &Limits;
    /// Returns the number of blocks of the smallest class. Those with the number of a slot lie beside that slot.
    fn cell_count(&self) -> u32;
    fn block_count(&self) -> u32;
    /// Returns the marks of the batch in a block. `None`: there is no such block, it has no memory yet, or its size class
    /// holds no batches.
    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks>;
    /// Returns the number of peer entries that have memory. The others are Free.
    fn peer_count(&self) -> u16;
    fn peer(&self, index: PeerIndex) -> Option<&PeerEntry>;
    /// Returns the number of dead letters that `Evict` dropped. Only for statistics.
    fn evicted(&self) -> &AtomicU64;
    /// Returns the number of messages that a cancel discarded. Only for statistics.
    fn discarded(&self) -> &AtomicU64;
    /// Makes a full fence in all processes that [are fenced by others](Words::is_fenced_by_others), and in this one.
    /// Returns false if that is not possible.
    #[must_use]
    fn fence_others(&self) -> bool;
    /// Wakes up to `count` sleepers on `word`. Returns the number of sleepers that were woken.
    fn wake(&self, word: &ParkingWord, count: u32) -> u32;

    #[inline(always)]
    fn ring_size(&self) -> RingSize {
        self.words().ring_size()
    }

    #[inline(always)]
    fn slot(&self, position: Position) -> &SlotWord {
        self.words().slot(position)
    }

    #[inline(always)]
    fn block(&self, index: BlockIndex) -> Option<&BlockHeader> {
        self.words().block(index)
    }

    #[inline(always)]
    fn lifecycle(&self) -> &LifecycleWord {
        self.words().lifecycle()
    }

    #[inline(always)]
    fn returned(&self) -> &ReturnedWord {
        self.words().returned()
    }

    #[inline(always)]
    fn head(&self) -> &Hint {
        self.words().head()
    }

    #[inline(always)]
    fn tail(&self) -> &Hint {
        self.words().tail()
    }

    #[inline(always)]
    fn items(&self) -> &ParkingWord {
        self.words().items()
    }

    #[inline(always)]
    fn space(&self) -> &ParkingWord {
        self.words().space()
    }

    #[inline(always)]
    fn blocks(&self) -> &ParkingWord {
        self.words().blocks()
    }
}
