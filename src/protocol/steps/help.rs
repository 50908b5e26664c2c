//! Helping: `Hold` in the place of a receiver that has taken a message and not recorded that yet.
//!
//! A slot names the block and the taker of its last message until it is filled again, and most takers have recorded that
//! message, and acknowledged it, long before. The block may have another message by then. A helper tells by the block's
//! position (BLOCK-5): `Offer` removes it, and `Publish` writes one that no earlier message of the block had.

use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::Position;
use crate::protocol::ring::{SlotKind, SlotState};
use crate::protocol::{Corrupt, SharedState};

/// Records in the block of a Vacated slot that the taker holds the message. Transition `Hold`.
///
/// `Publish` and `Seal` overwrite a Vacated slot only after this call, because until `Hold` only the slot names the taker. One
/// case needs no help: if the block in the slot is the sender's own by now, its last message was settled.
pub(super) fn help_taker<S: SharedState>(
    shared: &S,
    position: Position,
    seen: SlotState,
) -> Result<(), Corrupt> {
    if let Some((header, offered)) = unrecorded(shared, position, seen)? {
        // Failure means that the taker, or another helper, was faster.
        let _ = header.word.exchange(offered, offered.held_by(seen.taker()));
    }
    Ok(())
}

/// Returns the block of a Vacated slot and its word, if its taker has not recorded yet that it holds the message (BLOCK-5).
pub(super) fn unrecorded<S: SharedState>(
    shared: &S,
    position: Position,
    seen: SlotState,
) -> Result<Option<(&BlockHeader, BlockState)>, Corrupt> {
    if seen.kind() != SlotKind::Vacated {
        return Ok(None);
    }
    let header = shared.block(seen.block()).ok_or(Corrupt::NoSuchBlock)?;
    // Before the position: so that is the one of this word's message, or of a later one.
    let block = header.word.load();
    if !block.is(BlockKind::Offered) {
        return Ok(None);
    }
    let is_its = mutant!(HelpIgnoresPosition)
        || header
            .tried_position()
            .is_some_and(|message| shared.ring_size().was_taken_from(message, position, seen));
    Ok(is_its.then_some((header, block)))
}

/// Helps the takers of all slots, so that every message taken before this call is Held in its block.
pub(super) fn help_all_takers<S: SharedState>(shared: &S) -> Result<(), Corrupt> {
    for position in (0..shared.ring_size().slots()).map(Position) {
        help_taker(shared, position, shared.slot(position).load())?;
    }
    Ok(())
}
