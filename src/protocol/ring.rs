//! The ring: an array of slots, each one word, that records which message has which position.
//!
//! A *position* numbers the messages in order of acceptance. In a ring of N slots, position p is in slot p mod N and
//! belongs to lap p / N. A slot word has the lap that its slot is in:
//!
//! | kind    | lap | meaning                                                                                 |
//! |---------|-----|-----------------------------------------------------------------------------------------|
//! | Empty   | L   | free for the message of lap L                                                           |
//! | Full    | L   | names the block of the message of lap L                                                 |
//! | Vacated | L   | free for lap L; still names the block and the taker of the message of lap L-1           |
//! | Closed  | L   | the end of the queue: no position from this one on is ever filled                       |
//!
//! | transition | change of the slot                                                   |
//! |------------|----------------------------------------------------------------------|
//! | `Publish`  | Empty or Vacated L -> Full L                                         |
//! | `Take`     | Full L -> Vacated L+1                                                |
//! | `Clear`    | Vacated L -> Empty L, only if the block does not lie beside the slot |
//! | `Seal`     | Empty or Vacated L -> Closed L                                       |
//!
//! RING-1. The filled positions are a prefix of all positions: a sender fills only the first free slot that it finds on
//!     its walk from a hint that is never ahead of the first free slot.
//! RING-2. The taken positions are a prefix too, for the same reason. So if a position is taken, all before it are.
//! RING-3. The lap of a slot never decreases, and a Closed slot never changes.
//! RING-4. Laps wrap at 2^32 and are compared by their wrapped difference. This assumes that no process is stopped
//!     between two accesses for an exact multiple of 2^32 laps.
//! RING-5. Every step of a walk leads to the next slot, in the same lap or a later one. A walk therefore ends after one
//!     round through the ring, unless other processes move the ends of the queue during the walk, or memory was
//!     overwritten with laps that lead the walk round forever. A correct walk never gets 2^31 laps ahead of its hint,
//!     so a walk that does reports corruption.
//! RING-6. A Vacated slot stays so until it is filled or sealed, long after its message was acknowledged, and its block may
//!     hold other messages by then. Whether a block still has the message that was taken from the slot, its position says
//!     (BLOCK-5).
//!
//! Crash: every transition is one atomic exchange, so a slot is always in one of the four states.
//!
//! The bounded queue with a sequence number per cell is Dmitry Vyukov's
//! (<https://www.1024cores.net/home/lock-free-algorithms/queues/bounded-mpmc-queue>). There, a sender first takes a
//! position and then fills it, so a sender that dies in between blocks the queue. Here, one exchange does both.

use super::bits::Field;
use super::ids::{BlockIndex, Lap, PeerIndex, Position};
use crate::sync::{AtomicU64, Ordering};

/// The number of slots in the ring: a power of two, so that the lap and the slot of a position are a shift and a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingSize {
    bits: u32,
    /// The number of slots less one.
    mask: u64,
}

impl RingSize {
    /// Returns the size of a ring for `capacity` messages, with at least `min_slots` slots. There is always at least
    /// one slot more than messages, so that a full queue still has a free slot for `Seal`.
    #[must_use]
    pub(crate) const fn for_capacity(capacity: u32, min_slots: u32) -> Self {
        let wanted = if capacity + 1 > min_slots {
            capacity + 1
        } else {
            min_slots
        };
        Self::of_bits(wanted.next_power_of_two().trailing_zeros())
    }

    const fn of_bits(bits: u32) -> Self {
        Self {
            bits,
            mask: (1 << bits) - 1,
        }
    }

    #[must_use]
    pub(crate) const fn slots(self) -> u64 {
        self.mask + 1
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn lap(self, position: Position) -> Lap {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "laps wrap at 2^32 by design (RING-4)"
        )]
        Lap((position.0 >> self.bits) as u32)
    }

    /// Returns the number of the slot that a position is in, less than [`RingSize::slots`].
    #[must_use]
    #[inline(always)]
    pub(crate) const fn slot_number(self, position: Position) -> u64 {
        position.0 & self.mask
    }

    /// Returns the index of the block that lies beside the slot of a position. It has the number of that slot; there are
    /// more indices than slots.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn index_beside(self, position: Position) -> BlockIndex {
        BlockIndex::from_low_bits(self.slot_number(position))
    }

    /// Returns a position whose slot lies beside the block with this index. `None`: the block lies beside no slot.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn position_beside(self, index: BlockIndex) -> Option<Position> {
        let position = Position(index.get() as u64);
        if position.0 <= self.mask {
            Some(position)
        } else {
            None
        }
    }

    /// Returns whether the slot of `place` became `vacated` when the message of position `message` was taken (RING-4).
    #[must_use]
    #[inline(always)]
    pub(crate) fn was_taken_from(
        self,
        message: Position,
        place: Position,
        vacated: SlotState,
    ) -> bool {
        self.slot_number(message) == self.slot_number(place)
            && self.lap(message).next() == vacated.lap()
    }

    /// Returns where a sender continues that met `slot` at `position`, not free for it and `laps_ahead` of it.
    ///
    /// A slot that is Full in lap L proves that all positions up to its own in lap L are filled, so the first free
    /// position comes after that. A slot that is free for lap L proves the same for lap L - 1.
    #[must_use]
    #[inline(always)]
    pub(crate) fn skip_filled(
        self,
        position: Position,
        slot: SlotState,
        laps_ahead: u32,
    ) -> Position {
        match slot.kind() {
            SlotKind::Full => position.plus((u64::from(laps_ahead) << self.bits) + 1),
            SlotKind::Empty | SlotKind::Vacated | SlotKind::Closed => {
                self.skip_taken(position, laps_ahead)
            }
        }
    }

    /// Returns where a receiver continues that met a slot `laps_ahead` of `position`, at least one. In whatever state
    /// the slot is, its message of one lap before is taken.
    #[must_use]
    #[inline(always)]
    pub(crate) fn skip_taken(self, position: Position, laps_ahead: u32) -> Position {
        position.plus((u64::from(laps_ahead.saturating_sub(1)) << self.bits) + 1)
    }

    /// Returns whether a walk from `hint` that reached `position` is too long to be correct (RING-5). The hint may be
    /// ahead of the position, because other processes move it during the walk.
    #[must_use]
    pub(crate) const fn is_runaway(self, hint: Position, position: Position) -> bool {
        let distance = position.0.wrapping_sub(hint.0).cast_signed();
        distance >= 1 << (Lap::BITS - 1 + self.bits)
    }
}

/// What a slot holds. The table above describes each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotKind {
    Empty,
    Vacated,
    Full,
    Closed,
}

/// The value of a slot word: lap 32 | block 20 | taker 10 | kind 2 bits, from the highest.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotState(u64);

// The kind is lowest and the lap highest, so that a test of the one and an increment of the other are short instructions.
const KIND: Field = Field::lowest(2);
const TAKER: Field = KIND.above(PeerIndex::BITS);
const BLOCK: Field = TAKER.above(BlockIndex::BITS);
const LAP: Field = BLOCK.above(Lap::BITS);

/// The kind Vacated, as a number.
const VACATED: u64 = 1;

/// How the lap of a slot compares with the lap of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LapOrder {
    /// The slot is behind the position. A walk from a correct hint never meets this.
    Behind,
    Same,
    /// The slot is this many laps ahead, at least one.
    Ahead(u32),
}

impl SlotState {
    #[inline(always)]
    const fn from_parts(kind: SlotKind, taker: PeerIndex, block: BlockIndex, lap: Lap) -> Self {
        let kind = match kind {
            SlotKind::Empty => 0_u64,
            SlotKind::Vacated => VACATED,
            SlotKind::Full => 2,
            SlotKind::Closed => 3,
        };
        Self(
            KIND.pack(kind)
                | TAKER.pack(taker.get() as u64)
                | BLOCK.pack(block.get() as u64)
                | LAP.pack(lap.0 as u64),
        )
    }

    /// Returns the value as it is in memory.
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

    #[must_use]
    pub(crate) const fn empty(lap: Lap) -> Self {
        Self::from_parts(SlotKind::Empty, PeerIndex::FIRST, BlockIndex::FIRST, lap)
    }

    #[must_use]
    pub(crate) const fn full(lap: Lap, block: BlockIndex) -> Self {
        Self::from_parts(SlotKind::Full, PeerIndex::FIRST, block, lap)
    }

    #[cfg(test)]
    #[must_use]
    pub(crate) const fn vacated(lap: Lap, block: BlockIndex, taker: PeerIndex) -> Self {
        Self::from_parts(SlotKind::Vacated, taker, block, lap)
    }

    #[must_use]
    pub(crate) const fn closed(lap: Lap) -> Self {
        Self::from_parts(SlotKind::Closed, PeerIndex::FIRST, BlockIndex::FIRST, lap)
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn kind(self) -> SlotKind {
        match KIND.get(self.0) {
            0 => SlotKind::Empty,
            VACATED => SlotKind::Vacated,
            2 => SlotKind::Full,
            _ => SlotKind::Closed,
        }
    }

    /// Returns the block that a Full or Vacated slot names.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn block(self) -> BlockIndex {
        BlockIndex::from_low_bits(BLOCK.get(self.0))
    }

    /// Returns the receiver that took the message of a Vacated slot.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn taker(self) -> PeerIndex {
        PeerIndex::from_low_bits(TAKER.get(self.0))
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn lap(self) -> Lap {
        #[allow(clippy::cast_possible_truncation, reason = "a field of 32 bits")]
        Lap(LAP.get(self.0) as u32)
    }

    /// Returns whether the slot is Vacated in `lap` and names this block, as the sender expects it that owns this block, and
    /// fills the slot beside it. One comparison.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn is_vacated_with(self, block: BlockIndex, lap: Lap) -> bool {
        let vacated = Self::from_parts(SlotKind::Vacated, PeerIndex::FIRST, block, lap);
        self.0 & !TAKER.mask() == vacated.0
    }

    /// Returns whether the slot is Empty in `lap`, as a sender expects it whose block lies elsewhere. One comparison.
    #[must_use]
    #[inline(always)]
    pub(crate) fn is_empty_in(self, lap: Lap) -> bool {
        self == Self::empty(lap)
    }

    /// Returns whether the slot is Full in `lap`, as a receiver expects it.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn is_full_in(self, lap: Lap) -> bool {
        const KIND_AND_LAP: u64 = KIND.mask() | LAP.mask();
        self.0 & KIND_AND_LAP == Self::full(lap, BlockIndex::FIRST).0
    }

    /// Returns what a Full slot becomes when `taker` has taken its message: Vacated in the next lap.
    #[must_use]
    #[inline(always)]
    const fn after_take(self, taker: PeerIndex) -> Self {
        let next = (self.0 & (BLOCK.mask() | LAP.mask())).wrapping_add(LAP.pack(1));
        Self(next | TAKER.pack(taker.get() as u64) | KIND.pack(VACATED))
    }

    /// Compares the lap of the slot with `wanted` (RING-4).
    #[must_use]
    #[inline(always)]
    pub(crate) const fn compare_lap(self, wanted: Lap) -> LapOrder {
        let ahead = self.lap().0.wrapping_sub(wanted.0);
        if ahead == 0 {
            LapOrder::Same
        } else if ahead < 1 << 31 {
            LapOrder::Ahead(ahead)
        } else {
            LapOrder::Behind
        }
    }
}

impl core::fmt::Debug for SlotState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{:?}(lap {}, block {}, peer {})",
            self.kind(),
            self.lap().0,
            self.block().get(),
            self.taker().get()
        )
    }
}

/// A slot in shared memory.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct SlotWord(AtomicU64);

impl SlotWord {
    #[cfg(test)]
    pub(crate) fn new(slot: SlotState) -> Self {
        Self(AtomicU64::new(slot.0))
    }

    // Acquire: pairs with the release of the exchange that wrote the slot. A reader of Full sees the block as its
    // sender left it; a reader of Vacated or Empty sees everything that the taker did before.
    #[must_use]
    #[inline(always)]
    pub(crate) fn load(&self) -> SlotState {
        SlotState(self.0.load(Ordering::Acquire))
    }

    // AcqRel: the release publishes what this process did to the block; the acquire pairs with the writer of the value
    // that was replaced, or that made the exchange fail.
    #[inline(always)]
    fn exchange(&self, seen: SlotState, to: SlotState) -> bool {
        self.0
            .compare_exchange(seen.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Gives this position to the message in `block`, if the slot is still as `seen`. Transition `Publish`.
    #[must_use]
    #[inline(always)]
    pub(crate) fn fill(&self, seen: SlotState, block: BlockIndex) -> bool {
        self.exchange(seen, SlotState::full(seen.lap(), block))
    }

    /// Takes the message of a Full slot for `taker`, if the slot is still as `seen`, and returns the slot's new value.
    /// Transition `Take`.
    #[must_use]
    #[inline(always)]
    pub(crate) fn take(&self, seen: SlotState, taker: PeerIndex) -> Option<SlotState> {
        let vacated = seen.after_take(taker);
        self.exchange(seen, vacated).then_some(vacated)
    }

    /// Removes the names of the block and of the taker from the slot. Transition `Clear`.
    ///
    /// Only for speed: the next sender need not look at that block, whose cache line it does not have. Does nothing if the slot
    /// is in use again.
    #[inline(always)]
    pub(crate) fn clear(&self, vacated: SlotState) {
        let _ = self.exchange(vacated, SlotState::empty(vacated.lap()));
    }

    /// Writes to the slot what is there, if that is still `seen`, and so changes nothing.
    ///
    /// Only for speed: the processor then has the cache line as one that it has written to.
    // Relaxed: this publishes nothing. Who reads the value afterwards still pairs with the exchange that made it, because
    // this exchange continues that one's release sequence.
    #[cfg(not(loom))]
    pub(crate) fn rewrite(&self, seen: SlotState) {
        if mutant!(SlotRewrittenByStore) {
            return self.0.store(seen.0, Ordering::Relaxed);
        }
        let _ = self
            .0
            .compare_exchange(seen.0, seen.0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Makes this position the end of the queue, if the slot is still as `seen`. Transition `Seal`.
    #[must_use]
    pub(crate) fn seal(&self, seen: SlotState) -> bool {
        self.exchange(seen, SlotState::closed(seen.lap()))
    }
}

/// A position where walks start. It may be old, and is never ahead of the end of the queue that it stands for
/// (PROTOCOL-3).
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Hint(AtomicU64);

impl Hint {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    // Acquire: a walk must not read a slot older than what the writer of the hint saw there. Otherwise it would mistake
    // a correct hint for one that is ahead.
    #[must_use]
    #[inline(always)]
    pub(crate) fn get(&self) -> Position {
        Position(self.0.load(Ordering::Acquire))
    }

    /// Sets the hint. Transitions `AdvanceTail` and `AdvanceHead`.
    ///
    /// A plain store can move the hint back, which costs a walk a few more steps. It is much cheaper than an exchange
    /// on a cache line that every process writes.
    #[inline(always)]
    pub(crate) fn set(&self, position: Position) {
        self.0.store(position.0, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
