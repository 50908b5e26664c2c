//! The operations: sequences of single-word exchanges, each step a row of the table in [`super`].
//!
//! All of them are lock-free: a step fails only because another process has made progress.

pub(crate) mod batch;
pub(crate) mod books;
pub(crate) mod close;
pub(crate) mod dead_letters;
pub(crate) mod membership;
mod owned_block;
pub(crate) mod receive;
pub(crate) mod recover;
pub(crate) mod send;

pub(crate) use owned_block::OwnedBlock;

use super::blocks::{Block, BlockIndex, State};
use super::mutants::{Mutant, active};
use super::ring::{Kind, Position, Slot};
use super::{Corrupt, SharedState};

/// Help the taker of a Vacated slot: record in the block that it holds the message (`Hold` in its place).
///
/// Must precede every exchange that overwrites a Vacated slot, for the slot is the only place that knows the
/// taker until the block says so too.
fn help<W: SharedState>(words: &W, position: Position, seen: Slot) -> Result<(), Corrupt> {
    if seen.kind() != Kind::Vacated {
        return Ok(());
    }
    let header = words.block(seen.block()).ok_or(Corrupt::NoSuchBlock)?;
    let block = header.word.load();
    // If the slot is still the same after the block was read, then the block's word is of the message that
    // the slot is about, and the exact exchange can only help that one.
    let is_same = active(Mutant::HelpWithoutReread) || words.slot(position).load() == seen;
    if is_same && block.is(State::Offered) {
        // Failure means that the taker, or another helper, was faster.
        let _ = header.word.exchange(block, block.held_by(seen.taker()));
    }
    Ok(())
}

/// What the word of a held message becomes when it comes back: from its holder (`Return`), or because that died
/// (`Reclaim`). Returned with one attempt more, or Dead at the limit; after a cancel Free.
fn come_back<W: SharedState>(words: &W, index: BlockIndex, held: Block) -> Block {
    if words.lifecycle().load().is_cancelled() {
        held.free()
    } else {
        batch::given_back(words, index, held)
    }
}

/// All blocks in `state`, in order of acceptance.
fn blocks_in<W: SharedState>(
    words: &W,
    wanted: impl Fn(Block) -> bool,
) -> Vec<(Position, BlockIndex, Block)> {
    let mut found: Vec<_> = (0..words.block_count())
        .filter_map(|index| {
            let index = BlockIndex::new(index)?;
            let header = words.block(index)?;
            let word = header.word.load();
            wanted(word).then(|| (header.position(), index, word))
        })
        .collect();
    found.sort_unstable_by_key(|&(position, ..)| position);
    found
}

/// Wake everybody who sleeps on any word of the queue.
fn wake_everybody<W: SharedState>(words: &W) {
    for word in [words.items(), words.space(), words.blocks()] {
        word.notify(|word| words.wake(word, u32::MAX));
    }
}
