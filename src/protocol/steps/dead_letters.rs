//! Dead letters: messages that came back too often, or that nobody could decode. They are kept, up to a
//! limit, until somebody reads and discards them (`Read`).

use super::super::blocks::{Block, BlockIndex, State};
use super::super::lifecycle::Lifecycle;
use super::super::peers::PeerIndex;
use super::super::ring::Position;
use super::super::{Corrupt, SharedState};
use super::send::wake_block_waiters;
use super::{OwnedBlock, batch, blocks_in};
use crate::mutants::{Mutant, active};
use crate::sync::Ordering;

/// Whether a block is a dead letter: once the queue has ended, a message that comes back is one too, for
/// nobody will ever receive it. After a cancel it is about to be discarded.
pub(super) fn is_letter(life: Lifecycle, word: Block) -> bool {
    let is_late = life.has_ended() && !life.is_cancelled();
    word.is(State::Dead) || is_late && word.is(State::Returned)
}

/// `Evict`, by the process of row `me`: keep no more dead letters than the limit says; the oldest go first, and are
/// counted. Without a row, which only a process lacks that is about to attach, the letters of a batch go together or
/// not at all.
#[cold]
pub(super) fn bury<W: SharedState>(words: &W, me: Option<PeerIndex>) {
    let life = words.lifecycle().load();
    let letters = blocks_in(words, |word| is_letter(life, word));
    let mut counted: Vec<_> = letters
        .into_iter()
        .map(|(_, index, word)| (index, word, batch::messages(words, index).left()))
        .collect();
    if active(Mutant::NewestLetterEvicted) {
        counted.reverse();
    }
    let all: u64 = counted.iter().map(|&(.., count)| count).sum();
    let mut excess = all.saturating_sub(u64::from(words.limits().max_dead_letters));
    for (index, word, count) in counted {
        if excess == 0 {
            return;
        }
        if count <= excess {
            drop_letter(words, index, word);
        } else if let Some(me) = me {
            drop_some(words, me, index, word, excess);
        }
        excess = excess.saturating_sub(count);
    }
}

/// `Evict`, for one letter, or a batch of them. True if its block is free now.
pub(super) fn drop_letter<W: SharedState>(words: &W, index: BlockIndex, letter: Block) -> bool {
    let count = batch::messages(words, index).left();
    let dropped = words
        .block(index)
        .is_some_and(|header| header.word.exchange(letter, letter.free()));
    if dropped {
        words.dropped_letters().fetch_add(count, Ordering::Relaxed);
        wake_block_waiters(words);
    }
    dropped
}

/// `Evict`, for the first `excess` letters of a batch that has more: as their reader (`Read`).
fn drop_some<W: SharedState>(
    words: &W,
    me: PeerIndex,
    index: BlockIndex,
    letter: Block,
    excess: u64,
) {
    let Some(header) = words.block(index) else {
        return;
    };
    let Some(word) = header.word.read_dead(letter, me) else {
        return;
    };
    let mut dropped = 0;
    if let Ok(Some(batch)) = batch::batch(words, index) {
        for message in 0..batch.count {
            if dropped < excess && !batch.marks.get(message).is_done() {
                batch.marks.finish(message);
                dropped += 1;
            }
        }
    }
    words
        .dropped_letters()
        .fetch_add(dropped, Ordering::Relaxed);
    // A corrupt word is met, and reported, by the next operation as well.
    let _ = put(words, OwnedBlock::new(index, word), word.dead());
}

/// The dead letters of this moment, oldest first, to be opened one by one.
#[must_use]
pub(crate) fn letters<W: SharedState>(words: &W) -> Vec<(Position, BlockIndex)> {
    let life = words.lifecycle().load();
    let letters = blocks_in(words, |word| is_letter(life, word));
    letters
        .into_iter()
        .map(|(position, index, _)| (position, index))
        .collect()
}

/// `Read`: open the letter that was accepted at `position`. `None` if it is gone, or somebody else is looking
/// at it.
#[must_use]
pub(crate) fn open<W: SharedState>(
    words: &W,
    me: PeerIndex,
    position: Position,
    index: BlockIndex,
) -> Option<OwnedBlock> {
    let header = words.block(index)?;
    let letter = header.word.load();
    // The position was written before the word that was just read, and stays until the generation rises.
    if !is_letter(words.lifecycle().load(), letter) || header.position() != position {
        return None;
    }
    let word = header.word.read_dead(letter, me)?;
    Some(OwnedBlock::new(index, word))
}

/// `Read`: the letter is done with.
pub(crate) fn discard<W: SharedState>(words: &W, read: OwnedBlock) -> Result<(), Corrupt> {
    let to = read.word().free();
    put(words, read, to)
}

/// `Read`: the letter goes back to the others; so do those of a batch that have not been discarded.
pub(crate) fn put_back<W: SharedState>(words: &W, read: OwnedBlock) -> Result<(), Corrupt> {
    let to = batch::put_back(words, read.index(), read.word());
    let me = read.word().row();
    put(words, read, to)?;
    bury(words, Some(me));
    Ok(())
}

fn put<W: SharedState>(words: &W, read: OwnedBlock, to: Block) -> Result<(), Corrupt> {
    let header = words.block(read.index()).ok_or(Corrupt::NoSuchBlock)?;
    let released = header.word.release(read.word(), to);
    wake_block_waiters(words);
    if released {
        Ok(())
    } else {
        Err(Corrupt::ChangedInHand)
    }
}
