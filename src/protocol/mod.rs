//! The protocol: what the words of a queue mean and how they may change.
//!
//! One file per shared state machine, each with its state table and its numbered invariants, and
//! [`operations`], which strings the single-word exchanges together. Nothing here maps memory and nothing is
//! `unsafe`: the words may live in a mapping or on the heap ([`SharedState`]), so that the very same code runs
//! between processes and under a model checker.
//!
//! Everything rests on three rules.
//!
//! 1. Every change of state is one exchange of one 64-bit word. There is no lock, and no state between two
//!    words that somebody would have to wait for.
//! 2. Whoever needs a step that another process has begun and not finished does that step in its place
//!    (*helping*), by an exact exchange that can happen only once.
//! 3. Hints (the head, the tail, cursors) only save time. They are never ahead of the truth, may be as old
//!    as they like, and nothing is ever decided by them.
//!
//! # The rows of the protocol
//!
//! Comments throughout the crate cite these numbers. `S` is a sender, `C` a receiver, `L` a lap, `b` a
//! block, `g` its generation.
//!
//! | row | who | word: from -> to |
//! |----|-----|------------------|
//! | `Allocate` | S | block: Free g -> Owned S g. The exchange is the allocation |
//! | `Offer` | S, payload written | block: -> Offered S g |
//! | `Publish` | S, below capacity, having helped a Vacated slot | slot: Empty/Vacated L -> Full L,b. The send is accepted |
//! | `AdvanceTail` | anyone | tail hint |
//! | `Take` | C | slot: Full L,b -> Vacated L+1,b,C. The message is taken, the slot is free for the next lap |
//! | `Hold` | C or a helper | block: Offered g -> Held C g |
//! | `Clear` | C, before 8 or 10, if the slot is unchanged | slot: Vacated -> Empty L+1 |
//! | `Release` | C | block: Held C g -> Free g+1. The message is acknowledged |
//! | `Seal` | closer | slot: Empty/Vacated L at the tail, helped -> Closed L. Final |
//! | `Return` | C returns | block: Held C g -> Returned g+1 with one attempt more, or Dead g+1 at the limit |
//! | `Withdraw` | S withdraws | block: Owned/Offered S g -> Free g+1 |
//! | `Retake` | C | block: Returned g -> Held C g |
//! | `Read` | reader C of a dead letter | block: Dead g -> Read C g; then Free g+1, or Dead g+1 when put back |
//! | `Evict` | anyone, too many dead letters | block: the oldest Dead g -> Free g+1 |
//! | `Discard` | anyone, after a cancel | block: Returned g -> Free g+1. The message is discarded |
//!
//! A block may hold several messages, a *batch* ([`batch`]): `Release`, `Return` and `Read` then come when its last message is
//! settled, and the marks of the messages say which of them it is.
//!
//! A process that stops between any two rows leaves nothing that blocks another one: after 1 or 2 the block
//! is merely out of use; after 3 the message is there; after 5 the slot says who took the message, and
//! whoever needs the slot records that in the block first (`Hold` in the taker's place). What a process has left
//! that died between any two rows is finished or undone by the others: [`steps::recover`].

pub(crate) mod batch;
pub(crate) mod blocks;
pub(crate) mod lifecycle;
pub(crate) mod parking;
pub(crate) mod peers;
pub(crate) mod returned;
pub(crate) mod ring;
pub(crate) mod steps;
#[cfg(test)]
mod verify;

use batch::BatchMarks;
use blocks::{BlockHeader, BlockIndex};
use lifecycle::LifecycleWord;
use parking::ParkingWord;
use peers::{PeerEntry, PeerIndex};
use returned::ReturnedWord;
use ring::{Hint, Position, RingSize, SlotWord};

/// The limits of one queue, fixed when it is made. All peers read the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// How many messages the ring accepts before it is full.
    pub(crate) capacity: u32,
    /// How often a message is handed out before it becomes a dead letter, 1 to 15.
    pub(crate) max_deliveries: u8,
    /// How many dead letters are kept.
    pub(crate) max_dead_letters: u32,
    /// Whether receivers end only once every message is acknowledged or dead (*settled*).
    pub(crate) close_waits_for_leases: bool,
    /// Whether the queue closes when the last sender leaves.
    pub(crate) close_on_last_sender: bool,
    /// Whether the queue closes when the last receiver leaves.
    pub(crate) close_on_last_receiver: bool,
}

/// Where the words of one queue live: a mapping shared by processes, or the heap of a test.
///
/// Lookups by a number that came from shared memory are checked: `None` means that a peer, or a stray
/// pointer, has written nonsense.
pub(crate) trait SharedState {
    fn limits(&self) -> &Limits;
    fn ring_size(&self) -> RingSize;
    fn slot(&self, position: Position) -> &SlotWord;
    fn block_count(&self) -> u32;
    fn block(&self, index: BlockIndex) -> Option<&BlockHeader>;
    /// The marks of the batch in a block; `None` if it is of a class that takes none, or does not exist.
    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks>;
    fn peer_count(&self) -> u16;
    fn peer(&self, peer: PeerIndex) -> Option<&PeerEntry>;
    fn lifecycle(&self) -> &LifecycleWord;
    fn returned(&self) -> &ReturnedWord;
    fn head(&self) -> &Hint;
    fn tail(&self) -> &Hint;
    /// Receivers sleep here.
    fn items(&self) -> &ParkingWord;
    /// Senders that hold a block and wait for a place in the ring sleep here.
    fn space(&self) -> &ParkingWord;
    /// Senders that wait for a block, of any class, sleep here.
    fn blocks(&self) -> &ParkingWord;
    /// Advisory count of the dead letters dropped by `Evict`.
    fn evicted(&self) -> &crate::sync::AtomicU64;
    /// Advisory count of the messages that a cancel discarded.
    fn discarded(&self) -> &crate::sync::AtomicU64;
    /// Wake up to `count` sleepers on `word`; how many there were.
    fn wake(&self, word: &ParkingWord, count: u32) -> u32;
    /// Tell the processor that `block` will be written soon. Only a hint.
    fn prefetch_block(&self, index: BlockIndex);
}

/// Shared memory holds something that the protocol never writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Corrupt {
    NoSuchBlock,
    NoSuchPeer,
    NotOffered,
    NotOwned,
    OwnedBlockChanged,
    PeerChanged,
    TooLong,
    NotCommitted,
    InvalidBatch,
    HeadAhead,
    TailAhead,
    InconsistentLaps,
}

impl Corrupt {
    /// What is wrong, for people.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::NoSuchBlock => "a word names a block that does not exist",
            Self::NoSuchPeer => "a row does not exist",
            Self::NotOffered => "the block of a message is not offered",
            Self::NotOwned => "a block is used that is not in hand",
            Self::OwnedBlockChanged => "a block changed in the hands of its process",
            Self::PeerChanged => "a row changed under its own process",
            Self::TooLong => "a message is longer than its block",
            Self::NotCommitted => "a message lies in a block that has no memory",
            Self::InvalidBatch => "a block of several messages does not say which",
            Self::HeadAhead => "the head is ahead of the ring",
            Self::TailAhead => "the tail is ahead of the ring",
            Self::InconsistentLaps => "the laps of the ring contradict each other",
        }
    }
}
