use super::*;

#[test]
fn a_slot_word_keeps_its_fields_apart() {
    for (taker, block, lap) in [(0, 0, 0), (1023, (1 << 20) - 1, u32::MAX), (5, 77, 1 << 31)] {
        let (taker, block, lap) = (
            PeerIndex::from_low_bits(taker),
            BlockIndex::from_low_bits(block),
            Lap(lap),
        );
        let slot = SlotState::vacated(lap, block, taker);
        assert_eq!(
            (slot.kind(), slot.taker(), slot.block(), slot.lap()),
            (SlotKind::Vacated, taker, block, lap)
        );
        let slot = SlotState::full(lap, block);
        assert_eq!(
            (slot.kind(), slot.block(), slot.lap()),
            (SlotKind::Full, block, lap)
        );
        let slot = SlotState::empty(lap);
        assert_eq!((slot.kind(), slot.lap()), (SlotKind::Empty, lap));
        let slot = SlotState::closed(lap);
        assert_eq!((slot.kind(), slot.lap()), (SlotKind::Closed, lap));
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

/// A ring after `filled` messages were accepted and `taken` of them were taken.
#[derive(Clone, Copy, Debug)]
struct History {
    size: RingSize,
    filled: u64,
    taken: u64,
    closed: bool,
}

impl History {
    /// Returns the state of the slot that `position` is in.
    fn slot(&self, position: Position) -> SlotState {
        let size = self.size;
        let number = size.slot_number(position);
        let is_here = |p: &u64| size.slot_number(Position(*p)) == number;
        if self.closed && is_here(&self.filled) {
            return SlotState::closed(size.lap(Position(self.filled)));
        }
        match (0..self.filled).rev().find(is_here) {
            None => SlotState::empty(Lap(0)),
            Some(p) if p >= self.taken => SlotState::full(size.lap(Position(p)), BlockIndex::FIRST),
            Some(p) => SlotState::empty(size.lap(Position(p)).next()),
        }
    }

    /// Walks as a sender does. Returns the first free position, or `None` at the end of a closed queue.
    fn first_free(&self, hint: Position) -> Option<Position> {
        let (mut p, size) = (hint, self.size);
        loop {
            let slot = self.slot(p);
            match (slot.kind(), slot.compare_lap(size.lap(p))) {
                (_, LapOrder::Behind) => panic!("{p:?} is ahead of the ring: {self:?}"),
                (SlotKind::Closed, _) => return None,
                (SlotKind::Empty | SlotKind::Vacated, LapOrder::Same) => return Some(p),
                (SlotKind::Full, LapOrder::Same) => p = size.skip_filled(p, slot, 0),
                (_, LapOrder::Ahead(laps)) => p = size.skip_filled(p, slot, laps),
            }
            assert!(p.0 <= self.filled, "the walk skipped a free slot: {self:?}");
        }
    }

    /// Walks as a receiver does. Returns the first position that is not taken, and its slot.
    fn first_not_taken(&self, hint: Position) -> (Position, SlotState) {
        let (mut p, size) = (hint, self.size);
        loop {
            let slot = self.slot(p);
            match slot.compare_lap(size.lap(p)) {
                LapOrder::Behind => panic!("{p:?} is ahead of the ring: {self:?}"),
                LapOrder::Same => return (p, slot),
                LapOrder::Ahead(laps) => p = size.skip_taken(p, laps),
            }
            assert!(p.0 <= self.taken, "the walk skipped a message: {self:?}");
        }
    }
}

/// Every reachable ring of 2, 4 and 8 slots over five laps, with every hint that is not ahead.
#[test]
fn walks_from_every_old_hint_end_at_the_first_free_and_the_first_full_slot() {
    for size in (1..=3).map(RingSize::of_bits) {
        for filled in 0..5 * size.slots() {
            for taken in filled.saturating_sub(size.slots() - 1)..=filled {
                for closed in [false, true] {
                    let history = History {
                        size,
                        filled,
                        taken,
                        closed,
                    };
                    for hint in (0..=filled).map(Position) {
                        let free = history.first_free(hint);
                        assert_eq!(free, (!closed).then_some(Position(filled)));
                    }
                    for hint in (0..=taken).map(Position) {
                        let (position, slot) = history.first_not_taken(hint);
                        assert_eq!(position, Position(taken));
                        assert_eq!(slot.kind() == SlotKind::Full, taken < filled);
                        let is_end = taken == filled && closed;
                        assert_eq!(slot.kind() == SlotKind::Closed, is_end);
                    }
                }
            }
        }
    }
}

#[test]
fn rewriting_a_slot_changes_nothing_even_if_the_slot_has_changed() {
    let [seen, full] = [
        SlotState::empty(Lap(3)),
        SlotState::full(Lap(3), BlockIndex::FIRST),
    ];
    let slot = SlotWord::new(seen);
    slot.rewrite(seen);
    assert_eq!(slot.load(), seen);
    assert!(slot.fill(seen, BlockIndex::FIRST));
    slot.rewrite(seen);
    assert_eq!(slot.load(), full);
}
