//! The ring: `N` slots, each one word, that say which message has which position.
//!
//! A *position* numbers the messages in the order of acceptance. Position `p` lives in slot `p mod N` and
//! belongs to lap `p / N`. A slot word carries the lap that it is good for next:
//!
//! | kind    | lap | meaning                                                                          |
//! |---------|-----|----------------------------------------------------------------------------------|
//! | Empty   | L   | free for a message of lap L                                                      |
//! | Full    | L   | holds the block of the message of lap L                                          |
//! | Vacated | L   | free for lap L; the block of lap L-1 was taken by `row`, who may not know it yet |
//! | Closed  | L   | the end: no position from this one on will ever be filled                        |
//!
//! RING-1. Filled positions are a prefix: a sender fills only the first free slot that it meets, walking from a
//!     hint that is not ahead of the truth.
//! RING-2. Taken positions are a prefix, for the same reason. So if position q is taken, all before it are.
//! RING-3. The lap of a slot never goes back, and Closed never changes.
//! RING-4. Laps compare by wrapped difference. The one assumption: nobody stays stopped for an exact multiple
//!     of 2^32 laps.
//! RING-5. A walk goes on to the next slot with each step, in the same lap or a later one. So it ends after one
//!     trip round the ring, unless others have moved on meanwhile, or the laps are nonsense that wraps round
//!     (RING-4) and leads it in a circle for ever. A sound walk never gets 2^31 laps away from its hint; one that
//!     does has met nonsense.
//!
//! Crash: every transition is one exchange, so a slot is always in one of the four states.
//!
//! The bounded queue with a sequence number per cell is Dmitry Vyukov's
//! (<https://www.1024cores.net/home/lock-free-algorithms/queues/bounded-mpmc-queue>). There, a sender first
//! takes a position and then fills it, so one that dies in between wedges the queue. Here, the exchange that
//! fills the slot is what takes the position.

use super::blocks::BlockIndex;
use super::peers::PeerIndex;
use crate::sync::{AtomicU64, Ordering};

/// The number of a message in order of acceptance.
///
/// Counts without wrapping (2^64 messages take centuries); only its lap, as a slot stores it, wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(pub(crate) u64);

/// One trip round the ring, modulo 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lap(pub(crate) u32);

/// How many slots the ring has: a power of two, so that laps and slots are a shift and a mask away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingSize {
    bits: u32,
    /// The number of slots less one.
    mask: u64,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotKind {
    Empty,
    Vacated,
    Full,
    Closed,
}

/// The value of a slot: kind 2 | peer 10 | block 20 | lap 32, from the top.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SlotState(u64);

/// How the lap in a slot compares with the lap of the position that one is looking for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LapOrder {
    /// The slot lags behind the position: with hints never ahead of the truth, this can't be.
    Behind,
    Same,
    /// The slot is this many laps further, at least one.
    Ahead(u32),
}

impl Position {
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    #[must_use]
    pub(crate) const fn plus(self, count: u64) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// The position `count` earlier, if there is one.
    #[must_use]
    pub(crate) const fn minus(self, count: u64) -> Option<Self> {
        match self.0.checked_sub(count) {
            Some(position) => Some(Self(position)),
            None => None,
        }
    }
}

impl Lap {
    #[must_use]
    pub(crate) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

impl RingSize {
    /// The ring for `capacity` messages: at least `least` slots, and always one more than `capacity`, so
    /// that the end of the queue has a place even when it is full.
    #[must_use]
    pub(crate) const fn for_capacity(capacity: u32, least: u32) -> Self {
        let wanted = if capacity + 1 > least {
            capacity + 1
        } else {
            least
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

    /// Which slot the position lives in, less than [`RingSize::slots`].
    #[must_use]
    #[inline(always)]
    pub(crate) const fn slot_number(self, position: Position) -> u64 {
        position.0 & self.mask
    }

    /// Where a sender at `position` goes on after it has met `slot`, which is not free for it.
    ///
    /// A slot that is Full in lap `l` proves that every position up to it is filled, so the first free one
    /// is at least the next; one that is free for lap `l` proves the same of lap `l - 1`.
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

    /// Where a receiver at `position` goes on after it has met a slot that is `laps_ahead` of it, at least
    /// one: whatever it holds, the message that was here one lap before it is taken.
    #[must_use]
    #[inline(always)]
    pub(crate) fn skip_taken(self, position: Position, laps_ahead: u32) -> Position {
        position.plus((u64::from(laps_ahead.saturating_sub(1)) << self.bits) + 1)
    }

    /// Whether a walk from `hint` to `reached` has gone astray (RING-5). Either may have been overtaken by the
    /// other: whoever walks does not stop others from moving the hint.
    #[must_use]
    pub(crate) const fn is_runaway(self, hint: Position, reached: Position) -> bool {
        let beyond = reached.0.wrapping_sub(hint.0).cast_signed();
        beyond >= 1 << (LAP_BITS - 1 + self.bits)
    }
}

const LAP_BITS: u32 = 32;
const BLOCK_BITS: u32 = 20;
const ROW_BITS: u32 = 10;
const BLOCK_SHIFT: u32 = LAP_BITS;
const ROW_SHIFT: u32 = BLOCK_SHIFT + BLOCK_BITS;
const KIND_SHIFT: u32 = ROW_SHIFT + ROW_BITS;

impl SlotState {
    #[inline(always)]
    const fn from_parts(kind: SlotKind, peer: PeerIndex, block: BlockIndex, lap: Lap) -> Self {
        let kind = match kind {
            SlotKind::Empty => 0_u64,
            SlotKind::Vacated => 1,
            SlotKind::Full => 2,
            SlotKind::Closed => 3,
        };
        Self(
            kind << KIND_SHIFT
                | (peer.get() as u64) << ROW_SHIFT
                | (block.get() as u64) << BLOCK_SHIFT
                | lap.0 as u64,
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

    #[must_use]
    pub(crate) const fn empty(lap: Lap) -> Self {
        Self::from_parts(SlotKind::Empty, PeerIndex::FIRST, BlockIndex::FIRST, lap)
    }

    #[must_use]
    pub(crate) const fn full(lap: Lap, block: BlockIndex) -> Self {
        Self::from_parts(SlotKind::Full, PeerIndex::FIRST, block, lap)
    }

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
        match self.0 >> KIND_SHIFT {
            0 => SlotKind::Empty,
            1 => SlotKind::Vacated,
            2 => SlotKind::Full,
            _ => SlotKind::Closed,
        }
    }

    /// The block of a Full or Vacated slot.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn block(self) -> BlockIndex {
        BlockIndex::from_low_bits(self.0 >> BLOCK_SHIFT)
    }

    /// Who took the message of a Vacated slot.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn taker(self) -> PeerIndex {
        PeerIndex::from_low_bits(self.0 >> ROW_SHIFT)
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn lap(self) -> Lap {
        #[allow(clippy::cast_possible_truncation, reason = "the low half is the lap")]
        Lap(self.0 as u32)
    }

    /// Whether this is the slot that a sender hopes for: Empty, for its lap. One comparison.
    #[must_use]
    #[inline(always)]
    pub(crate) fn is_empty_in(self, lap: Lap) -> bool {
        self == Self::empty(lap)
    }

    /// Whether this is the slot that a receiver hopes for: Full, of its lap.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn is_full_in(self, lap: Lap) -> bool {
        const KIND_AND_LAP: u64 = 3 << KIND_SHIFT | ((1 << LAP_BITS) - 1);
        self.0 & KIND_AND_LAP == Self::full(lap, BlockIndex::FIRST).0
    }

    /// How this slot's lap compares with `wanted`.
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
            "{:?}(lap {}, block {}, row {})",
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

    // Acquire: pairs with the release half of whichever exchange wrote the slot, so that a reader of Full
    // sees the block, and a reader of Vacated or Empty all that its taker did before.
    #[must_use]
    #[inline(always)]
    pub(crate) fn load(&self) -> SlotState {
        SlotState(self.0.load(Ordering::Acquire))
    }

    // AcqRel: release publishes what this process did to the block; acquire is for what the failed or
    // replaced value's writer did.
    #[inline(always)]
    fn exchange(&self, seen: SlotState, to: SlotState) -> bool {
        self.0
            .compare_exchange(seen.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// `Publish`: the message in `block` gets this position, if the slot is still as `seen`.
    #[must_use]
    #[inline(always)]
    pub(crate) fn fill(&self, seen: SlotState, block: BlockIndex) -> bool {
        self.exchange(seen, SlotState::full(seen.lap(), block))
    }

    /// `Take`: `taker` takes the message of a Full slot. The new value if it was still there.
    #[must_use]
    #[inline(always)]
    pub(crate) fn take(&self, seen: SlotState, taker: PeerIndex) -> Option<SlotState> {
        let vacated = SlotState::vacated(seen.lap().next(), seen.block(), taker);
        self.exchange(seen, vacated).then_some(vacated)
    }

    /// `Clear`: the taker's name is no longer needed here. Nothing to do if the slot is in use again: whoever
    /// filled it has recorded the taker in the block.
    #[inline(always)]
    pub(crate) fn clear(&self, vacated: SlotState) {
        let _ = self.exchange(vacated, SlotState::empty(vacated.lap()));
    }

    /// `Seal`: nothing comes after this, if the slot is still as `seen`.
    #[must_use]
    pub(crate) fn seal(&self, seen: SlotState) -> bool {
        self.exchange(seen, SlotState::closed(seen.lap()))
    }
}

/// A position that everybody may write and nobody relies on: at most as far as the truth (rule 3).
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct Hint(AtomicU64);

impl Hint {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    // Acquire and release: whoever starts at this hint must not read a slot older than what the writer of
    // the hint saw there, or it would take a true hint for one ahead of the truth.
    #[must_use]
    #[inline(always)]
    pub(crate) fn get(&self) -> Position {
        Position(self.0.load(Ordering::Acquire))
    }

    /// A plain store: it may move the hint back, which only costs somebody a few steps, and it is much
    /// cheaper than an exchange on a line that everybody writes.
    #[inline(always)]
    pub(crate) fn set(&self, position: Position) {
        self.0.store(position.0, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_slot_keeps_its_parts_apart() {
        for (peer, block, lap) in [(0, 0, 0), (1023, (1 << 20) - 1, u32::MAX), (5, 77, 1 << 31)] {
            let (peer, block, lap) = (
                PeerIndex::from_low_bits(peer),
                BlockIndex::from_low_bits(block),
                Lap(lap),
            );
            let slot = SlotState::vacated(lap, block, peer);
            assert_eq!(
                (slot.kind(), slot.taker(), slot.block(), slot.lap()),
                (SlotKind::Vacated, peer, block, lap)
            );
            let slot = SlotState::full(lap, block);
            assert_eq!(
                (slot.kind(), slot.block(), slot.lap()),
                (SlotKind::Full, block, lap)
            );
            assert_eq!(
                (SlotState::empty(lap).kind(), SlotState::empty(lap).lap()),
                (SlotKind::Empty, lap)
            );
            assert_eq!(
                (SlotState::closed(lap).kind(), SlotState::closed(lap).lap()),
                (SlotKind::Closed, lap)
            );
        }
    }

    #[test]
    fn laps_compare_across_the_wrap() {
        let slot = SlotState::empty(Lap(1));
        assert_eq!(slot.compare_lap(Lap(1)), LapOrder::Same);
        assert_eq!(slot.compare_lap(Lap(0)), LapOrder::Ahead(1));
        assert_eq!(slot.compare_lap(Lap(u32::MAX)), LapOrder::Ahead(2));
        assert_eq!(slot.compare_lap(Lap(2)), LapOrder::Behind);
    }

    /// What slot `number` says once `filled` messages were accepted and `taken` of them taken.
    fn slot_of_history(
        size: RingSize,
        filled: u64,
        taken: u64,
        closed: bool,
        number: u64,
    ) -> SlotState {
        let block = BlockIndex::FIRST;
        if closed && size.slot_number(Position(filled)) == number {
            return SlotState::closed(size.lap(Position(filled)));
        }
        match (0..filled)
            .rev()
            .find(|&p| size.slot_number(Position(p)) == number)
        {
            None => SlotState::empty(Lap(0)),
            Some(p) if p >= taken => SlotState::full(size.lap(Position(p)), block),
            Some(p) => SlotState::empty(size.lap(Position(p)).next()),
        }
    }

    /// Every reachable ring of 2, 4 and 8 slots, every hint however old: both walks end at the truth.
    #[test]
    fn an_ancient_hint_leads_to_the_first_free_and_the_first_full_slot() {
        for bits in 1..=3 {
            let size = RingSize::of_bits(bits);
            for filled in 0..5 * size.slots() {
                for taken in filled.saturating_sub(size.slots() - 1)..=filled {
                    for closed in [false, true] {
                        let slot = |p: Position| {
                            slot_of_history(size, filled, taken, closed, size.slot_number(p))
                        };
                        for hint in 0..=filled {
                            let mut p = Position(hint);
                            let free = loop {
                                let s = slot(p);
                                match (s.kind(), s.compare_lap(size.lap(p))) {
                                    (_, LapOrder::Behind) => panic!("{p:?} is ahead of the truth"),
                                    (SlotKind::Closed, _) => break None,
                                    (SlotKind::Empty | SlotKind::Vacated, LapOrder::Same) => {
                                        break Some(p);
                                    }
                                    (SlotKind::Full, LapOrder::Same) => {
                                        p = size.skip_filled(p, s, 0);
                                    }
                                    (_, LapOrder::Ahead(laps)) => p = size.skip_filled(p, s, laps),
                                }
                                assert!(p.0 <= filled, "the jump overtook the truth");
                            };
                            assert_eq!(free, (!closed).then_some(Position(filled)));
                        }
                        for hint in 0..=taken {
                            let mut p = Position(hint);
                            let kind = loop {
                                let s = slot(p);
                                match s.compare_lap(size.lap(p)) {
                                    LapOrder::Behind => panic!("{p:?} is ahead of the truth"),
                                    LapOrder::Same => break s.kind(),
                                    LapOrder::Ahead(laps) => p = size.skip_taken(p, laps),
                                }
                                assert!(p.0 <= taken, "the jump overtook the truth");
                            };
                            assert_eq!(p, Position(taken));
                            assert_eq!(kind == SlotKind::Full, taken < filled);
                            assert_eq!(kind == SlotKind::Closed, taken == filled && closed);
                        }
                    }
                }
            }
        }
    }
}
