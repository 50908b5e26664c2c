//! The words of one small queue as plain numbers, each encoded as in shared memory.

use super::configuration::Configuration;
use crate::protocol::batch::MessageMark;
use crate::protocol::blocks::{BlockHeader, BlockState};
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::peers::PeerState;
use crate::protocol::ring::{Lap, Position, RingSize, SlotState};

/// No queue here has more slots or blocks than this, ...
pub(super) const MOST: usize = 4;
/// ... or more rows than this.
const MOST_ROWS: usize = 6;
const OTHERS: usize = 3 * MOST + MOST_ROWS;
const BATCHES: usize = OTHERS + 7;
const COUNT: usize = BATCHES + 2 * MOST_BATCHES;
/// How many blocks may hold batches, and how many messages a batch has.
pub(super) const MOST_BATCHES: usize = 2;
pub(super) const BATCH: u8 = 2;

/// The name of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Slot(u8),
    Block(u8),
    /// Where the message in a block stands in the order of acceptance.
    Position(u8),
    /// How long the message in a block is, and whether it is a batch.
    Length(u8),
    /// How many messages a batch has, and whether its holder has opened it.
    Note(u8),
    /// How many messages were accepted in a block beyond the first of their batch.
    Beyond(u8),
    /// What has become of a message of the batch in a block.
    Mark(u8, u8),
    PeerIndex(u8),
    Lifecycle,
    Returned,
    Head,
    Tail,
    Parking(Park),
}

/// What processes sleep on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Park {
    Items,
    Space,
    Blocks,
}

impl Word {
    fn number(self) -> usize {
        match self {
            Self::Slot(number) => number.into(),
            Self::Block(number) => MOST + usize::from(number),
            Self::Position(number) => 2 * MOST + usize::from(number),
            Self::PeerIndex(number) => 3 * MOST + usize::from(number),
            Self::Lifecycle => OTHERS,
            Self::Returned => OTHERS + 1,
            Self::Head => OTHERS + 2,
            Self::Tail => OTHERS + 3,
            Self::Parking(Park::Items) => OTHERS + 4,
            Self::Parking(Park::Space) => OTHERS + 5,
            Self::Parking(Park::Blocks) => OTHERS + 6,
            Self::Length(block) | Self::Note(block) => BATCHES + 2 * usize::from(block),
            Self::Beyond(block) | Self::Mark(block, _) => BATCHES + 1 + 2 * usize::from(block),
        }
    }

    /// Which bits of a number the word is, for several words share one: the first, and how many.
    fn bits(self) -> (u32, u32) {
        match self {
            Self::Length(_) => (0, 32),
            Self::Note(_) => (32, 32),
            Self::Mark(_, message) => (8 * u32::from(message), 8),
            Self::Beyond(_) => (8 * u32::from(BATCH), 64 - 8 * u32::from(BATCH)),
            _ => (0, 64),
        }
    }
}

/// What is done in one step, which nothing else can get into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Load,
    Store(u64),
    /// To the second value, if it is the first.
    Exchange(u64, u64),
    Swap(u64),
    Add(u64),
    Or(u64),
    And(u64),
    /// The futex call: up to so many sleepers.
    Wake(u32),
    /// The futex call: if the word is still this.
    Sleep(u64),
    /// Ask the kernel whether the tenant of a row, of this incarnation, has died.
    Verdict(u64),
    /// Ask the kernel for the lock of a row in this incarnation.
    Lock(u64),
}

/// All words of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Memory([u64; COUNT]);

impl Memory {
    /// A new queue, to which nobody is attached, with all hints and slots at the start of a lap.
    pub(super) fn new(size: RingSize, first_lap: u32) -> Self {
        let mut memory = Self([0; COUNT]);
        for slot in 0..small(size.slots()) {
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

    /// Do what memory can do by itself; what was there before.
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

    /// Whether the block holds a batch.
    pub(super) fn is_batch(&self, number: u8) -> bool {
        usize::from(number) < MOST_BATCHES
            && BlockHeader::is_batched_length(small_length(self.get(Word::Length(number))))
    }

    pub(super) fn mark(&self, number: u8, message: u8) -> MessageMark {
        MessageMark::from_bits(small(self.get(Word::Mark(number, message))))
    }

    pub(super) fn row(&self, number: u8) -> PeerState {
        PeerState::from_bits(self.get(Word::PeerIndex(number)))
    }

    pub(super) fn lifecycle(&self) -> LifecycleState {
        LifecycleState::from_bits(self.get(Word::Lifecycle))
    }
}

/// A number that is known to be small.
pub(super) fn small(number: u64) -> u8 {
    u8::try_from(number).expect("a small number")
}

fn small_length(length: u64) -> u32 {
    u32::try_from(length).expect("a word of 32 bits")
}

/// Which slot a position lives in.
pub(super) fn slot_of(configuration: &Configuration, position: Position) -> Word {
    Word::Slot(small(configuration.size().slot_number(position)))
}
