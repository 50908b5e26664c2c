//! The operations: sequences of single-word exchanges, each step a row of the table in [`super`].
//!
//! All of them are lock-free: a step fails only because another process has made progress.

pub(crate) mod batch;
pub(crate) mod close;
pub(crate) mod dead_letters;
pub(crate) mod membership;
mod owned_block;
pub(crate) mod receive;
pub(crate) mod recover;
pub(crate) mod send;
pub(crate) mod stats;

pub(crate) use owned_block::OwnedBlock;

use super::blocks::{BlockIndex, BlockKind, BlockState};
use super::ring::{Position, SlotKind, SlotState};
use super::{Corrupt, SharedState};

/// Help the taker of a Vacated slot: record in the block that it holds the message (`Hold` in its place).
///
/// Must precede every exchange that overwrites a Vacated slot, for the slot is the only place that knows the
/// taker until the block says so too.
fn help_taker<S: SharedState>(
    shared: &S,
    position: Position,
    seen: SlotState,
) -> Result<(), Corrupt> {
    if seen.kind() != SlotKind::Vacated {
        return Ok(());
    }
    let header = shared.block(seen.block()).ok_or(Corrupt::NoSuchBlock)?;
    let block = header.word.load();
    // If the slot is still the same after the block was read, then the block's word is of the message that
    // the slot is about, and the exact exchange can only help that one.
    let is_same = mutant!(HelpWithoutReread) || shared.slot(position).load() == seen;
    if is_same && block.is(BlockKind::Offered) {
        // Failure means that the taker, or another helper, was faster.
        let _ = header.word.exchange(block, block.held_by(seen.taker()));
    }
    Ok(())
}

/// What the word of a held message becomes when it comes back: from its holder (`Return`), or because that died
/// (`Reclaim`). Returned with one attempt more, or Dead at the limit; after a cancel Free.
fn state_after_return_or_cancel<S: SharedState>(
    shared: &S,
    index: BlockIndex,
    held: BlockState,
) -> BlockState {
    if shared.lifecycle().load().is_cancelled() {
        held.free()
    } else {
        batch::state_after_return(shared, index, held)
    }
}

/// All blocks in `state`, in order of acceptance.
fn find_blocks<S: SharedState>(
    shared: &S,
    wanted: impl Fn(BlockState) -> bool,
) -> Vec<(Position, BlockIndex, BlockState)> {
    let mut found: Vec<_> = (0..shared.block_count())
        .filter_map(|index| {
            let index = BlockIndex::new(index)?;
            let header = shared.block(index)?;
            let word = header.word.load();
            wanted(word).then(|| (header.position(), index, word))
        })
        .collect();
    found.sort_unstable_by_key(|&(position, ..)| position);
    found
}

/// Wake everybody who sleeps on any word of the queue.
fn wake_all<S: SharedState>(shared: &S) {
    for word in [shared.items(), shared.space(), shared.blocks()] {
        word.notify(|word| shared.wake(word, u32::MAX));
    }
}
