//! Stalled steps: those that a stopped process, or a recoverer that died, left unfinished and that no peer entry records.
//! They are found by looking at the shared words.

use super::batch::message_counts;
use super::dead_letters::{is_dead_letter, trim_dead_letters};
use super::membership::close_if_role_vacant;
use super::seal::help_seal;
use super::settle::discard_returned;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::peers::Role;
use crate::protocol::{Corrupt, SharedState};

/// Finishes the stalled steps that can be found without a look at the blocks.
#[cold]
pub(crate) fn finish_stalled<S: SharedState>(shared: &S) -> Result<(), Corrupt> {
    // A process may have died after it gave up its role and before it closed the queue.
    for role in [Role::Sender, Role::Receiver] {
        close_if_role_vacant(shared, role)?;
    }
    let life = shared.lifecycle().load();
    if life.is_closing() {
        help_seal(shared)?;
    }
    if life.is_cancelled() {
        discard_returned(shared);
    }
    Ok(())
}

/// Finishes the stalled steps that a scan of all blocks finds. `me` is the caller, which has time for a scan.
#[cold]
pub(crate) fn finish_stalled_blocks<S: SharedState>(shared: &S, me: PeerIndex) {
    let life = shared.lifecycle().load();
    let mut dead_letters = 0_u64;
    for index in (0..shared.block_count()).filter_map(BlockIndex::new) {
        let Some(header) = shared.block(index) else {
            continue;
        };
        let block = header.word.load();
        if is_dead_letter(life, block) {
            dead_letters += message_counts(shared, index).unsettled();
        }
        // The process that returned the message may be stopped just before it sets the dirty bit (RETURNED-1).
        if block.is(BlockKind::Returned) && !shared.returned().load().is_dirty() {
            shared.returned().set();
        }
    }
    // The process that made one dead letter too many may have died before it could drop the oldest (`Evict`).
    if dead_letters > u64::from(shared.limits().max_dead_letters) {
        trim_dead_letters(shared, Some(me));
    }
}
