//! The shared memory of one small queue: each word is a plain number, encoded as in a real segment.

use super::lane::LaneAccess;
use crate::protocol::batch::MessageMark;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::BlockState;
use crate::protocol::ids::Lap;
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::peers::PeerState;
use crate::protocol::ring::{RingSize, SlotState};

/// No queue here has more slots, or more blocks, than this.
pub(super) const MAX_BLOCKS: usize = 4;
/// No queue here has more peer entries than this.
const MAX_PEERS: usize = 6;
/// Blocks that may hold batches.
pub(super) const MAX_BATCHES: usize = 2;
/// Messages in a batch.
pub(super) const BATCH: u8 = 2;

const _: () = assert!(MAX_BLOCKS <= 8, "a mask of blocks has eight bits");
const _: () = assert!(
    MAX_BLOCKS <= 4,
    "one word has a mark and a size for each block"
);

// Where words are in `Memory`: slots, blocks, positions, peer entries, single words, the words of
// batches, and those of huge blocks.
const SINGLE_WORDS: usize = 3 * MAX_BLOCKS + MAX_PEERS;
const BATCHES: usize = SINGLE_WORDS + 7;
const HUGE: usize = BATCHES + 2 * MAX_BATCHES;
const COUNT: usize = HUGE + 1;

/// The name of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Slot(u8),
    Block(u8),
    /// The position of the message in a block.
    Position(u8),
    /// The length of the message in a block, and whether it is a batch.
    Length(u8),
    /// The number of messages in a batch, and whether its holder has opened it.
    Note(u8),
    /// The number of messages that were accepted in a block beyond the first of each batch.
    ExtraMessages(u8),
    /// The mark of a message: the block, and the message's number in its batch.
    Mark(u8, u8),
    /// Whether a huge block is marked as having memory.
    Committed(u8),
    /// How much memory a huge block has.
    MemoryOf(u8),
    /// How much memory each huge block has, as one number ([`memory_in_use`]).
    Memory,
    Peer(u8),
    Lifecycle,
    Returned,
    Head,
    Tail,
    Parking(ParkingSpot),
    /// What the threads of a process with futures share. In no queue's memory.
    Lane,
}

/// The parking words: what processes sleep on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum ParkingSpot {
    Items,
    Space,
    Blocks,
}

impl Word {
    fn number(self) -> usize {
        match self {
            Self::Slot(number) => number.into(),
            Self::Block(number) => MAX_BLOCKS + usize::from(number),
            Self::Position(number) => 2 * MAX_BLOCKS + usize::from(number),
            Self::Peer(number) => 3 * MAX_BLOCKS + usize::from(number),
            Self::Lifecycle => SINGLE_WORDS,
            Self::Returned => SINGLE_WORDS + 1,
            Self::Head => SINGLE_WORDS + 2,
            Self::Tail => SINGLE_WORDS + 3,
            Self::Parking(ParkingSpot::Items) => SINGLE_WORDS + 4,
            Self::Parking(ParkingSpot::Space) => SINGLE_WORDS + 5,
            Self::Parking(ParkingSpot::Blocks) => SINGLE_WORDS + 6,
            Self::Length(block) | Self::Note(block) => BATCHES + 2 * usize::from(block),
            Self::ExtraMessages(block) | Self::Mark(block, _) => {
                BATCHES + 1 + 2 * usize::from(block)
            }
            Self::Committed(_) | Self::MemoryOf(_) | Self::Memory => HUGE,
            Self::Lane => unreachable!("a lane is not in the memory of the queue"),
        }
    }

    /// Returns the first bit and the number of bits of the word in its number: small words share one.
    fn bits(self) -> (u32, u32) {
        match self {
            Self::Length(_) | Self::Memory => (0, 32),
            Self::Note(_) => (32, 32),
            Self::Mark(_, message) => (8 * u32::from(message), 8),
            Self::ExtraMessages(_) => (8 * u32::from(BATCH), 64 - 8 * u32::from(BATCH)),
            Self::MemoryOf(block) => (8 * u32::from(block), 8),
            Self::Committed(block) => (32 + 8 * u32::from(block), 8),
            _ => (0, 64),
        }
    }
}

/// An atomic access to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Load,
    Store(u64),
    /// Replaces the first value by the second.
    Exchange(u64, u64),
    Swap(u64),
    Add(u64),
    Or(u64),
    And(u64),
    /// The futex call that wakes at most this many sleepers.
    Wake(u32),
    /// The futex call that sleeps if the word still has this value.
    Sleep(u64),
    /// Asks the kernel whether the tenant of a peer entry, of this incarnation, is dead.
    IsDead(u64),
    /// Asks the kernel for the lock of a peer entry, of this incarnation.
    Lock(u64),
    /// The system call that takes memory for this unit of a payload. Gives 0 if the kernel refuses.
    TakeMemory(u64),
    /// The system call that gives the memory of this unit back.
    GiveMemoryBack(u64),
    /// Plain reads or writes of a payload.
    UsePayload,
    Lane(LaneAccess),
}

/// All words of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Memory([u64; COUNT]);

impl Memory {
    /// Returns the memory of a new queue without peers, whose slots and hints are all at the start of `first_lap`.
    pub(super) fn new(size: RingSize, first_lap: u32) -> Self {
        let mut memory = Self([0; COUNT]);
        for slot in 0..to_u8(size.slots()) {
            memory.set(Word::Slot(slot), SlotState::empty(Lap(first_lap)).bits());
        }
        let start = u64::from(first_lap) * size.slots();
        memory.set(Word::Head, start);
        memory.set(Word::Tail, start);
        memory
    }

    pub(super) fn get(&self, word: Word) -> u64 {
        let (first, count) = word.bits();
        self.0[word.number()] >> first & (u64::MAX >> (64 - count))
    }

    pub(super) fn set(&mut self, word: Word, value: u64) {
        let (first, count) = word.bits();
        let mask = u64::MAX >> (64 - count) << first;
        let number = &mut self.0[word.number()];
        *number = *number & !mask | value << first & mask;
    }

    /// Does an access that needs no kernel. Returns the value that the word had before.
    pub(super) fn access(&mut self, word: Word, access: Access) -> u64 {
        let seen = self.get(word);
        let now = match access {
            Access::Store(value) | Access::Swap(value) => value,
            Access::Exchange(expected, to) if seen == expected => to,
            Access::Add(value) => seen.wrapping_add(value),
            Access::Or(bits) => seen | bits,
            Access::And(bits) => seen & bits,
            _ => seen,
        };
        self.set(word, now);
        seen
    }

    pub(super) fn block(&self, number: u8) -> BlockState {
        BlockState::from_bits(self.get(Word::Block(number)))
    }

    /// Returns whether the block holds a batch.
    pub(super) fn is_batch(&self, number: u8) -> bool {
        usize::from(number) < MAX_BATCHES
            && BlockHeader::is_batched_length(to_u32(self.get(Word::Length(number))))
    }

    pub(super) fn mark(&self, number: u8, message: u8) -> MessageMark {
        MessageMark::from_bits(to_u8(self.get(Word::Mark(number, message))))
    }

    pub(super) fn peer(&self, number: u8) -> PeerState {
        PeerState::from_bits(self.get(Word::Peer(number)))
    }

    pub(super) fn lifecycle(&self) -> LifecycleState {
        LifecycleState::from_bits(self.get(Word::Lifecycle))
    }
}

/// Returns the sum of what the blocks have, from the value of [`Word::Memory`].
pub(super) fn memory_in_use(seen: u64) -> u64 {
    seen.to_le_bytes().into_iter().map(u64::from).sum()
}

/// Converts a number that is known to be small.
pub(super) fn to_u8(number: u64) -> u8 {
    u8::try_from(number).expect("a small number")
}

/// Converts the value of a word of 32 bits.
pub(super) fn to_u32(value: u64) -> u32 {
    u32::try_from(value).expect("a word of 32 bits")
}
