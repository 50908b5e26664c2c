//! Walks along the ring, from a hint to the first position that is free or not taken.

use super::help::help_taker;
use crate::protocol::ids::Position;
use crate::protocol::ring::{LapOrder, SlotKind, SlotState};
use crate::protocol::{Corrupt, SharedState};

/// What a slot means for a walk to the first free position.
pub(super) enum TailSlot {
    /// The slot may be filled. If it was Vacated, its taker was helped.
    Free,
    /// The first free position is this one or a later one.
    Skip(Position),
    Closed,
}

/// Examines the slot at `position` on a walk to the first free position.
#[inline(never)]
pub(super) fn inspect_tail_slot<S: SharedState>(
    shared: &S,
    position: Position,
    seen: SlotState,
) -> Result<TailSlot, Corrupt> {
    let size = shared.ring_size();
    let next = match (seen.compare_lap(size.lap(position)), seen.kind()) {
        (_, SlotKind::Closed) => return Ok(TailSlot::Closed),
        (LapOrder::Behind, _) => return Err(Corrupt::TailAhead),
        (LapOrder::Same, SlotKind::Full) => size.skip_filled(position, seen, 0),
        (LapOrder::Ahead(laps), _) => size.skip_filled(position, seen, laps),
        (LapOrder::Same, SlotKind::Empty | SlotKind::Vacated) => {
            if !mutant!(OverwriteWithoutHelp) {
                help_taker(shared, position, seen)?;
            }
            return Ok(TailSlot::Free);
        }
    };
    if size.is_runaway(shared.tail().get(), next) {
        return Err(Corrupt::InconsistentLaps);
    }
    Ok(TailSlot::Skip(next))
}

/// Checks that the tail is not ahead of the ring. Called after a sleep.
///
/// A sender that starts at such a tail skips slots. Receivers would then wait forever at the first skipped slot,
/// however
/// much is sent.
#[cold]
pub(crate) fn check_tail<S: SharedState>(shared: &S) -> Result<(), Corrupt> {
    let head = shared.head().get();
    let seen = shared.slot(head).load();
    let is_free = seen.compare_lap(shared.ring_size().lap(head)) == LapOrder::Same
        && matches!(seen.kind(), SlotKind::Empty | SlotKind::Vacated);
    // Positions are filled in order (RING-1), so a tail that was read while this position was free is not after it.
    if is_free && shared.tail().get() > head && shared.slot(head).load() == seen {
        return Err(Corrupt::TailAhead);
    }
    Ok(())
}

/// Returns the first position that is not filled, and the first that is not taken. Each was so at some moment of this
/// call. The second is not after the first.
#[must_use]
pub(crate) fn filled_and_taken<S: SharedState>(shared: &S) -> (Position, Position) {
    let size = shared.ring_size();
    let mut taken = shared.head().get();
    // A walk of one lap is enough. The bound ends a walk that corrupt laps would lead round forever.
    for _ in 0..size.slots() {
        let slot = shared.slot(taken).load();
        match slot.compare_lap(size.lap(taken)) {
            LapOrder::Ahead(laps) => taken = size.skip_taken(taken, laps),
            LapOrder::Same | LapOrder::Behind => break,
        }
    }
    let mut filled = shared.tail().get().max(taken);
    for _ in 0..size.slots() {
        let slot = shared.slot(filled).load();
        match (slot.compare_lap(size.lap(filled)), slot.kind()) {
            (_, SlotKind::Closed)
            | (LapOrder::Behind, _)
            | (LapOrder::Same, SlotKind::Empty | SlotKind::Vacated) => break,
            (LapOrder::Same, SlotKind::Full) => filled = size.skip_filled(filled, slot, 0),
            (LapOrder::Ahead(laps), _) => filled = size.skip_filled(filled, slot, laps),
        }
    }
    (filled, taken)
}
