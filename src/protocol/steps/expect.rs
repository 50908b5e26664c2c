//! What a receiver sees that waits for the next message of the ring. No transitions: it only looks.

use crate::protocol::Words;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::Position;
use crate::protocol::ring::SlotState;

/// The place of the next message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) position: Position,
    /// The value of the slot of that position.
    pub(crate) slot: SlotState,
    /// Whether a sender owns the block beside that slot.
    pub(crate) has_sender: bool,
    /// Whether it does, and has not [prepared](super::token_room) it: then it is probably about to fill the slot.
    pub(crate) is_being_sent: bool,
}

/// Looks at the place of the next message.
pub(crate) fn expect<'a>(words: impl Words<'a>) -> Expected {
    let position = words.head().get();
    let slot = words.slot(position).load();
    let block = words.block_beside(position);
    let kind = block.and_then(|block| block.word.load().kind());
    let has_sender = matches!(kind, Some(BlockKind::Owned | BlockKind::Offered));
    let is_prepared = kind == Some(BlockKind::Owned) && block.is_some_and(BlockHeader::is_prepared);
    Expected {
        position,
        slot,
        has_sender,
        is_being_sent: has_sender && (!is_prepared || mutant!(PreparedSeenAsBeingSent)),
    }
}
