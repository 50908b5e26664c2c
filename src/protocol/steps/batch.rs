//! Batches: what is different about a block that holds several messages.

use super::super::batch::{MOST, Marks, Tally};
use super::super::blocks::{Block, BlockHeader, BlockIndex, State};
use super::super::peers::PeerIndex;
use super::super::ring::Position;
use super::super::{Corrupt, SharedState};
use super::receive::{give, release};
use super::{OwnedBlock, help, send};
use crate::mutants::{Mutant, active};
use crate::sync::{Ordering, fence};

/// A block that holds several messages: how many, and their marks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) header: &'a BlockHeader,
    pub(crate) marks: &'a Marks,
    pub(crate) count: usize,
}

/// The batch in a block; `None` if it holds a single message.
#[inline(always)]
pub(crate) fn batch<W: SharedState>(
    words: &W,
    index: BlockIndex,
) -> Result<Option<Batch<'_>>, Corrupt> {
    let header = words.block(index).ok_or(Corrupt::NoSuchBlock)?;
    if !header.is_batched() {
        return Ok(None);
    }
    let marks = words.marks(index).ok_or(Corrupt::NotABatch)?;
    let count = header.batched();
    if count == 0 || count > MOST {
        return Err(Corrupt::NotABatch);
    }
    Ok(Some(Batch {
        header,
        marks,
        count,
    }))
}

/// Whether a block holds several messages.
#[inline(always)]
pub(crate) fn is_batch<W: SharedState>(words: &W, index: BlockIndex) -> bool {
    words.block(index).is_some_and(BlockHeader::is_batched)
}

/// Between `Allocate` and `Offer`: the block will hold a batch of `count` messages. Before they are written, because what is stored
/// here is at hand, and would have to wait behind what is not.
pub(crate) fn begin<W: SharedState>(
    words: &W,
    owned: &OwnedBlock,
    count: usize,
) -> Result<(), Corrupt> {
    let header = words.block(owned.index()).ok_or(Corrupt::NoSuchBlock)?;
    let marks = words.marks(owned.index()).ok_or(Corrupt::NotABatch)?;
    marks.clear(count);
    marks.begin_count();
    header.set_batched(count, owned.word().generation());
    Ok(())
}

/// `Offer` for a batch that has been begun, whose payload is complete and `length` bytes long.
pub(crate) fn offer<W: SharedState>(
    words: &W,
    owned: &mut OwnedBlock,
    length: u32,
) -> Result<(), Corrupt> {
    send::offer(words, owned, BlockHeader::batched_length(length))
}

/// BATCH-4: count the messages of an accepted batch, if that has not been done. `seen` is the word that the block had when
/// the batch was known to be accepted: by the process that has it in hand, or that is about to take it from the dead.
pub(crate) fn count_accepted<W: SharedState>(words: &W, index: BlockIndex, seen: Block) {
    // Nonsense is met by whoever reads the batch.
    let Ok(Some(batch)) = batch(words, index) else {
        return;
    };
    let beyond = batch.marks.beyond();
    if beyond.has_present() && !active(Mutant::CountBatchAgain) {
        return;
    }
    // What was read so far is of this batch if the word is still the same after it: then the exchange can only count
    // this one.
    fence(Ordering::Acquire);
    if active(Mutant::CountBatchUnseen) || batch.header.word.load() == seen {
        batch.marks.count(beyond, batch.count);
    }
}

/// `Release` for all messages of a batch at once.
pub(crate) fn acknowledge<W: SharedState>(words: &W, held: OwnedBlock) -> Result<(), Corrupt> {
    count_accepted(words, held.index(), held.word());
    let to = held.word().free();
    release(words, held, to)
}

/// How many messages a block stands for that are not done: one, unless it is a batch.
pub(crate) fn messages<W: SharedState>(words: &W, index: BlockIndex) -> Tally {
    match batch(words, index) {
        Ok(Some(batch)) => batch
            .marks
            .tally(batch.count, words.limits().max_deliveries),
        Ok(None) | Err(_) => Tally { live: 1, spent: 0 },
    }
}

/// `Return` and `Reclaim`: what the block word `held` becomes when its holder gives it back, or has died with it.
///
/// For a batch that is a pure function of its marks (BATCH-3): Free if all is done, Returned if any message may still
/// be handed out, Dead if only dead letters are left.
pub(crate) fn given_back<W: SharedState>(words: &W, index: BlockIndex, held: Block) -> Block {
    let limit = words.limits().max_deliveries;
    match batch(words, index) {
        Ok(Some(batch)) => {
            let tally = batch.marks.tally(batch.count, limit);
            if tally.left() == 0 {
                held.free()
            } else if tally.live > 0 {
                held.returned()
            } else {
                held.dead()
            }
        }
        // Nonsense where the marks should be: a dead letter, lest it go round for ever.
        Err(_) => held.dead(),
        Ok(None) if active(Mutant::AttemptNotCounted) => held.returned(),
        Ok(None) => match held.given_back(limit) {
            dead if dead.is(State::Dead) && active(Mutant::DeadLetterDiscarded) => held.free(),
            back => back,
        },
    }
}

/// `Read` and `Reclaim`: what the block word `read` becomes when its reader closes it, or has died with it.
pub(crate) fn put_back<W: SharedState>(words: &W, index: BlockIndex, read: Block) -> Block {
    if messages(words, index).left() == 0 {
        read.free()
    } else {
        read.dead()
    }
}

/// `Release` and `Return` for a batch: nobody has any of its messages in hand any more. Returned, buried or freed, as its
/// marks say.
pub(crate) fn settle<W: SharedState>(words: &W, held: OwnedBlock) -> Result<(), Corrupt> {
    count_accepted(words, held.index(), held.word());
    let left = messages(words, held.index()).left();
    if left > 0 && words.lifecycle().load().is_cancelled() {
        let to = held.word().free();
        release(words, held, to)?;
        words.discarded().fetch_add(left, Ordering::Relaxed);
        return Ok(());
    }
    let to = given_back(words, held.index(), held.word());
    if to.is(State::Free) {
        return release(words, held, to);
    }
    give(words, held, to)
}

/// Whether a thread of the process of row `me` has taken a batch and not yet said so to the others
/// ([`Batch::open`]). What is in there must not be overlooked by one that finds the queue drained.
#[cold]
pub(crate) fn in_transit<W: SharedState>(words: &W, me: PeerIndex) -> Result<bool, Corrupt> {
    // As for a verdict: a message that is taken is Held in its block before the blocks are looked at.
    for number in 0..words.ring_size().slots() {
        let position = Position(number);
        help(words, position, words.slot(position).load())?;
    }
    for index in (0..words.block_count()).filter_map(BlockIndex::new) {
        let word = words.block(index).ok_or(Corrupt::NoSuchBlock)?.word.load();
        if word.is(State::Held)
            && word.row() == me
            && let Some(batch) = batch(words, index)?
            && !batch.header.is_opened(word.generation())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Batch<'_> {
    /// The process that holds the batch with this word can find it without looking at the blocks.
    pub(crate) fn open(&self, held: Block) {
        self.header.set_opened(held.generation());
    }
}
