//! Dead letters: messages that came back too often, or that nobody could decode. They are kept, up to a
//! limit, until somebody reads and discards them (`Read`).

use super::super::blocks::{BlockIndex, BlockKind, BlockState};
use super::super::lifecycle::LifecycleState;
use super::super::peers::PeerIndex;
use super::super::ring::Position;
use super::super::{Corrupt, SharedState};
use super::send::wake_block_waiters;
use super::{OwnedBlock, batch, find_blocks};
use crate::sync::Ordering;

/// Whether a block is a dead letter: once the queue has ended, a message that comes back is one too, for
/// nobody will ever receive it. After a cancel it is about to be discarded.
pub(super) fn is_dead_letter(life: LifecycleState, word: BlockState) -> bool {
    let is_late = life.has_ended() && !life.is_cancelled();
    word.is(BlockKind::Dead) || is_late && word.is(BlockKind::Returned)
}

/// `Evict`, by the process of row `me`: keep no more dead letters than the limit says; the oldest go first, and are
/// counted. Without a row, which only a process lacks that is about to attach, the letters of a batch go together or
/// not at all.
#[cold]
pub(super) fn trim_dead_letters<S: SharedState>(shared: &S, me: Option<PeerIndex>) {
    let life = shared.lifecycle().load();
    let letters = find_blocks(shared, |word| is_dead_letter(life, word));
    let mut counted: Vec<_> = letters
        .into_iter()
        .map(|(_, index, word)| {
            (
                index,
                word,
                batch::message_counts(shared, index).unsettled(),
            )
        })
        .collect();
    if mutant!(NewestDeadLetterEvicted) {
        counted.reverse();
    }
    let all: u64 = counted.iter().map(|&(.., count)| count).sum();
    let mut excess = all.saturating_sub(u64::from(shared.limits().max_dead_letters));
    for (index, word, count) in counted {
        if excess == 0 {
            return;
        }
        if count <= excess {
            evict(shared, index, word);
        } else if let Some(me) = me {
            evict_from_batch(shared, me, index, word, excess);
        }
        excess = excess.saturating_sub(count);
    }
}

/// `Evict`, for one letter, or a batch of them. True if its block is free now.
pub(super) fn evict<S: SharedState>(shared: &S, index: BlockIndex, letter: BlockState) -> bool {
    let count = batch::message_counts(shared, index).unsettled();
    let dropped = shared
        .block(index)
        .is_some_and(|header| header.word.exchange(letter, letter.free()));
    if dropped {
        shared.evicted().fetch_add(count, Ordering::Relaxed);
        wake_block_waiters(shared);
    }
    dropped
}

/// `Evict`, for the first `excess` letters of a batch that has more: as their reader (`Read`).
fn evict_from_batch<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    index: BlockIndex,
    letter: BlockState,
    excess: u64,
) {
    let Some(header) = shared.block(index) else {
        return;
    };
    let Some(word) = header.word.read_dead(letter, me) else {
        return;
    };
    let mut dropped = 0;
    if let Ok(Some(batch)) = batch::batch(shared, index) {
        for message in 0..batch.count {
            if dropped < excess && !batch.marks.get(message).is_done() {
                batch.marks.mark_done(message);
                dropped += 1;
            }
        }
    }
    shared.evicted().fetch_add(dropped, Ordering::Relaxed);
    // A corrupt word is met, and reported, by the next operation as well.
    let _ = put(shared, OwnedBlock::new(index, word), word.dead());
}

/// The dead letters of this moment, oldest first, to be opened one by one.
#[must_use]
pub(crate) fn list<S: SharedState>(shared: &S) -> Vec<(Position, BlockIndex)> {
    let life = shared.lifecycle().load();
    let letters = find_blocks(shared, |word| is_dead_letter(life, word));
    letters
        .into_iter()
        .map(|(position, index, _)| (position, index))
        .collect()
}

/// `Read`: open the letter that was accepted at `position`. `None` if it is gone, or somebody else is looking
/// at it.
#[must_use]
pub(crate) fn open<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    position: Position,
    index: BlockIndex,
) -> Option<OwnedBlock> {
    let header = shared.block(index)?;
    let letter = header.word.load();
    // The position was written before the word that was just read, and stays until the generation rises.
    if !is_dead_letter(shared.lifecycle().load(), letter) || header.position() != position {
        return None;
    }
    let word = header.word.read_dead(letter, me)?;
    Some(OwnedBlock::new(index, word))
}

/// `Read`: the letter is done with.
pub(crate) fn discard<S: SharedState>(shared: &S, read: OwnedBlock) -> Result<(), Corrupt> {
    let to = read.word().free();
    put(shared, read, to)
}

/// `Read`: the letter goes back to the others; so do those of a batch that have not been discarded.
pub(crate) fn put_back<S: SharedState>(shared: &S, read: OwnedBlock) -> Result<(), Corrupt> {
    let to = batch::state_after_reading(shared, read.index(), read.word());
    let me = read.word().peer();
    put(shared, read, to)?;
    trim_dead_letters(shared, Some(me));
    Ok(())
}

fn put<S: SharedState>(shared: &S, read: OwnedBlock, to: BlockState) -> Result<(), Corrupt> {
    let header = shared.block(read.index()).ok_or(Corrupt::NoSuchBlock)?;
    let released = header.word.release(read.word(), to);
    wake_block_waiters(shared);
    if released {
        Ok(())
    } else {
        Err(Corrupt::OwnedBlockChanged)
    }
}
