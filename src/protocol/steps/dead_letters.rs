//! Dead letters: messages that were delivered too often, or that cannot be decoded. A limited number of them is kept
//! for a process that reads and discards them.

use super::OwnedBlock;
use super::batch::{self, message_counts, state_after_reading};
use super::scan::{FoundBlock, find_blocks};
use super::send::allocate_one;
use super::wake::wake_block_waiters;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::{Corrupt, SharedState};
use crate::sync::Ordering;
use core::ops::Range;

/// Returns whether a block holds a dead letter.
///
/// Once the queue has ended, a returned message is a dead letter too, because no receiver will take it. After a
/// cancel it is not: it is about to be discarded.
#[must_use]
pub(super) fn is_dead_letter(life: LifecycleState, block: BlockState) -> bool {
    let is_late = life.has_ended() && !life.is_cancelled();
    block.is(BlockKind::Dead) || is_late && block.is(BlockKind::Returned)
}

/// Drops the oldest dead letters until there are no more than the limit, and counts them. Transition `Evict`.
///
/// Part of a batch can be dropped only by a process `me` that is attached. Without one, the dead letters of a batch are
/// dropped together, or not at all.
#[cold]
pub(super) fn trim_dead_letters<S: SharedState>(shared: &S, me: Option<PeerIndex>) {
    let life = shared.lifecycle().load();
    let found = find_blocks(shared, |block| is_dead_letter(life, block));
    let mut letters: Vec<_> = found
        .into_iter()
        .map(|letter| (letter, message_counts(shared, letter.index).unsettled()))
        .collect();
    if mutant!(NewestDeadLetterEvicted) {
        letters.reverse();
    }
    let all: u64 = letters.iter().map(|&(_, count)| count).sum();
    let mut excess = all.saturating_sub(u64::from(shared.limits().max_dead_letters));
    for (letter, count) in letters {
        if excess == 0 {
            return;
        }
        if count <= excess {
            evict(shared, letter);
        } else if let Some(me) = me {
            evict_from_batch(shared, me, letter, excess);
        }
        excess = excess.saturating_sub(count);
    }
}

/// Drops all dead letters of a block. Returns whether the block is free now. Transition `Evict`.
fn evict<S: SharedState>(shared: &S, letter: FoundBlock) -> bool {
    let count = message_counts(shared, letter.index).unsettled();
    let evicted = shared
        .block(letter.index)
        .is_some_and(|header| header.word.exchange(letter.state, letter.state.free()));
    if evicted {
        shared.evicted().fetch_add(count, Ordering::Relaxed);
        wake_block_waiters(shared);
    }
    evicted
}

/// Drops the first `excess` dead letters of a batch that has more, as their reader. Transitions `Read` and `Evict`.
fn evict_from_batch<S: SharedState>(shared: &S, me: PeerIndex, letter: FoundBlock, excess: u64) {
    let Some(header) = shared.block(letter.index) else {
        return;
    };
    let Some(word) = header.word.read_dead(letter.state, me) else {
        return;
    };
    let mut evicted = 0;
    if let Ok(Some(batch)) = batch::batch(shared, letter.index) {
        for message in 0..batch.count {
            if evicted < excess && !batch.marks.get(message).is_done() {
                batch.marks.mark_done(message);
                evicted += 1;
            }
        }
    }
    shared.evicted().fetch_add(evicted, Ordering::Relaxed);
    // The next operation finds a corrupt word as well, and reports it.
    let _ = finish_read(shared, OwnedBlock::new(letter.index, word), word.dead());
}

/// Allocates the block of the oldest dead letter among the blocks with these numbers, for a sender that finds no block
/// free. Transitions `Evict` and `Allocate`.
#[cold]
pub(crate) fn allocate_by_eviction<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    numbers: &Range<u32>,
) -> Option<OwnedBlock> {
    let letter = oldest_dead_letter(shared, numbers)?;
    if evict(shared, letter) {
        allocate_one(shared, me, letter.index.get())
    } else {
        None
    }
}

/// Drops the oldest dead letter among the blocks with these numbers. Returns whether that freed a block. Transition
/// `Evict`.
#[cold]
pub(crate) fn evict_oldest<S: SharedState>(shared: &S, numbers: &Range<u32>) -> bool {
    oldest_dead_letter(shared, numbers).is_some_and(|letter| evict(shared, letter))
}

fn oldest_dead_letter<S: SharedState>(shared: &S, numbers: &Range<u32>) -> Option<FoundBlock> {
    let letters = numbers
        .clone()
        .filter_map(BlockIndex::new)
        .filter_map(|index| {
            let header = shared.block(index)?;
            let state = header.word.load();
            state.is(BlockKind::Dead).then(|| FoundBlock {
                position: header.position(),
                index,
                state,
            })
        });
    letters.min_by_key(|letter| letter.position)
}

/// Returns the current dead letters, oldest first.
#[must_use]
pub(crate) fn list<S: SharedState>(shared: &S) -> Vec<(Position, BlockIndex)> {
    let life = shared.lifecycle().load();
    let letters = find_blocks(shared, |block| is_dead_letter(life, block));
    letters
        .into_iter()
        .map(|letter| (letter.position, letter.index))
        .collect()
}

/// Opens the dead letter that was accepted at `position`. `None`: it is gone, or another process reads it. Transition
/// `Read`.
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

/// Discards an open dead letter. The end of `Read`.
pub(crate) fn discard<S: SharedState>(shared: &S, read: OwnedBlock) -> Result<(), Corrupt> {
    let to = read.word().free();
    finish_read(shared, read, to)
}

/// Keeps an open dead letter; of a batch, those that were not discarded. The end of `Read`.
pub(crate) fn put_back<S: SharedState>(shared: &S, read: OwnedBlock) -> Result<(), Corrupt> {
    let to = state_after_reading(shared, read.index(), read.word());
    let me = read.word().peer();
    finish_read(shared, read, to)?;
    trim_dead_letters(shared, Some(me));
    Ok(())
}

fn finish_read<S: SharedState>(
    shared: &S,
    read: OwnedBlock,
    to: BlockState,
) -> Result<(), Corrupt> {
    let (index, read) = read.into_parts();
    let header = shared.block(index).ok_or(Corrupt::NoSuchBlock)?;
    let released = header.word.release(read, to);
    wake_block_waiters(shared);
    if released {
        Ok(())
    } else {
        Err(Corrupt::OwnedBlockChanged)
    }
}
