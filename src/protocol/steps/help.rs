//! Helping: `Hold` in the place of a receiver that has taken a message and not recorded that yet.

use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::Position;
use crate::protocol::ring::{SlotKind, SlotState};
use crate::protocol::{Corrupt, SharedState};

/// Records in the block of a Vacated slot that the taker holds the message. Transition `Hold`.
///
/// Every exchange that overwrites a Vacated slot comes after this call, because until `Hold` only the slot names the
/// taker.
pub(super) fn help_taker<S: SharedState>(
    shared: &S,
    position: Position,
    seen: SlotState,
) -> Result<(), Corrupt> {
    if seen.kind() != SlotKind::Vacated {
        return Ok(());
    }
    let header = shared.block(seen.block()).ok_or(Corrupt::NoSuchBlock)?;
    let block = header.word.load();
    // If the slot is unchanged after the block was read, the block word belongs to the message that the slot is about,
    // and the compare-exchange can only make that message Held.
    let is_same = mutant!(HelpWithoutReread) || shared.slot(position).load() == seen;
    if is_same && block.is(BlockKind::Offered) {
        // Failure means that the taker, or another helper, was faster.
        let _ = header.word.exchange(block, block.held_by(seen.taker()));
    }
    Ok(())
}

/// Helps the takers of all slots, so that every message taken before this call is Held in its block.
pub(super) fn help_all_takers<S: SharedState>(shared: &S) -> Result<(), Corrupt> {
    for position in (0..shared.ring_size().slots()).map(Position) {
        help_taker(shared, position, shared.slot(position).load())?;
    }
    Ok(())
}
