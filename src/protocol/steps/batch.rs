//! Batches: what is different about a block that holds several messages.

use super::super::batch::{BatchMarks, MAX_BATCH, MessageCounts};
use super::super::blocks::{BlockHeader, BlockIndex, BlockKind, BlockState};
use super::super::peers::PeerIndex;
use super::super::ring::Position;
use super::super::{Corrupt, SharedState};
use super::receive::{finish_return, release};
use super::{OwnedBlock, help_taker, send};
use crate::sync::{Ordering, fence};

/// A block that holds several messages: how many, and their marks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) header: &'a BlockHeader,
    pub(crate) marks: &'a BatchMarks,
    pub(crate) count: usize,
}

/// The batch in a block; `None` if it holds a single message.
#[inline(always)]
pub(crate) fn batch<S: SharedState>(
    shared: &S,
    index: BlockIndex,
) -> Result<Option<Batch<'_>>, Corrupt> {
    let header = shared.block(index).ok_or(Corrupt::NoSuchBlock)?;
    if !header.is_batched() {
        return Ok(None);
    }
    let marks = shared.marks(index).ok_or(Corrupt::InvalidBatch)?;
    let count = header.batched();
    if count == 0 || count > MAX_BATCH {
        return Err(Corrupt::InvalidBatch);
    }
    Ok(Some(Batch {
        header,
        marks,
        count,
    }))
}

/// Whether a block holds several messages.
#[inline(always)]
pub(crate) fn is_batch<S: SharedState>(shared: &S, index: BlockIndex) -> bool {
    shared.block(index).is_some_and(BlockHeader::is_batched)
}

/// Between `Allocate` and `Offer`: the block will hold a batch of `count` messages. Before they are written, because what is stored
/// here is at hand, and would have to wait behind what is not.
pub(crate) fn begin<S: SharedState>(
    shared: &S,
    owned: &OwnedBlock,
    count: usize,
) -> Result<(), Corrupt> {
    let header = shared.block(owned.index()).ok_or(Corrupt::NoSuchBlock)?;
    let marks = shared.marks(owned.index()).ok_or(Corrupt::InvalidBatch)?;
    marks.clear(count);
    marks.reset_counted();
    header.set_batched(count, owned.word().generation());
    Ok(())
}

/// `Offer` for a batch that has been begun, whose payload is complete and `length` bytes long.
pub(crate) fn offer<S: SharedState>(
    shared: &S,
    owned: &mut OwnedBlock,
    length: u32,
) -> Result<(), Corrupt> {
    send::offer(shared, owned, BlockHeader::batched_length(length))
}

/// BATCH-4: count the messages of an accepted batch, if that has not been done. `seen` is the word that the block had when
/// the batch was known to be accepted: by the process that has it in hand, or that is about to take it from the dead.
pub(crate) fn count_accepted<S: SharedState>(shared: &S, index: BlockIndex, seen: BlockState) {
    // Nonsense is met by whoever reads the batch.
    let Ok(Some(batch)) = batch(shared, index) else {
        return;
    };
    let beyond = batch.marks.extra_messages();
    if beyond.includes_current() && !mutant!(CountBatchTwice) {
        return;
    }
    // What was read so far is of this batch if the word is still the same after it: then the exchange can only count
    // this one.
    fence(Ordering::Acquire);
    if mutant!(CountBatchUnverified) || batch.header.word.load() == seen {
        batch.marks.add_extra(beyond, batch.count);
    }
}

/// `Release` for all messages of a batch at once.
pub(crate) fn acknowledge<S: SharedState>(shared: &S, held: OwnedBlock) -> Result<(), Corrupt> {
    count_accepted(shared, held.index(), held.word());
    let to = held.word().free();
    release(shared, held, to)
}

/// How many messages a block stands for that are not done: one, unless it is a batch.
pub(crate) fn message_counts<S: SharedState>(shared: &S, index: BlockIndex) -> MessageCounts {
    match batch(shared, index) {
        Ok(Some(batch)) => batch
            .marks
            .message_counts(batch.count, shared.limits().max_deliveries),
        Ok(None) | Err(_) => MessageCounts { live: 1, spent: 0 },
    }
}

/// `Return` and `Reclaim`: what the block word `held` becomes when its holder gives it back, or has died with it.
///
/// For a batch that is a pure function of its marks (BATCH-3): Free if all is done, Returned if any message may still
/// be handed out, Dead if only dead letters are left.
pub(crate) fn state_after_return<S: SharedState>(
    shared: &S,
    index: BlockIndex,
    held: BlockState,
) -> BlockState {
    let limit = shared.limits().max_deliveries;
    match batch(shared, index) {
        Ok(Some(batch)) => {
            let tally = batch.marks.message_counts(batch.count, limit);
            if tally.unsettled() == 0 {
                held.free()
            } else if tally.live > 0 {
                held.returned()
            } else {
                held.dead()
            }
        }
        // Nonsense where the marks should be: a dead letter, lest it go round for ever.
        Err(_) => held.dead(),
        Ok(None) if mutant!(DeliveryNotCounted) => held.returned(),
        Ok(None) => match held.after_return(limit) {
            dead if dead.is(BlockKind::Dead) && mutant!(DeadLetterDiscarded) => held.free(),
            back => back,
        },
    }
}

/// `Read` and `Reclaim`: what the block word `read` becomes when its reader closes it, or has died with it.
pub(crate) fn state_after_reading<S: SharedState>(
    shared: &S,
    index: BlockIndex,
    read: BlockState,
) -> BlockState {
    if message_counts(shared, index).unsettled() == 0 {
        read.free()
    } else {
        read.dead()
    }
}

/// `Release` and `Return` for a batch: nobody has any of its messages in hand any more. Returned, buried or freed, as its
/// marks say.
pub(crate) fn settle<S: SharedState>(shared: &S, held: OwnedBlock) -> Result<(), Corrupt> {
    count_accepted(shared, held.index(), held.word());
    let left = message_counts(shared, held.index()).unsettled();
    if left > 0 && shared.lifecycle().load().is_cancelled() {
        let to = held.word().free();
        release(shared, held, to)?;
        shared.discarded().fetch_add(left, Ordering::Relaxed);
        return Ok(());
    }
    let to = state_after_return(shared, held.index(), held.word());
    if to.is(BlockKind::Free) {
        return release(shared, held, to);
    }
    finish_return(shared, held, to)
}

/// Whether a thread of the process of row `me` has taken a batch and not yet said so to the others
/// ([`Batch::open`]). What is in there must not be overlooked by one that finds the queue drained.
#[cold]
pub(crate) fn has_unopened_batch<S: SharedState>(
    shared: &S,
    me: PeerIndex,
) -> Result<bool, Corrupt> {
    // As for a verdict: a message that is taken is Held in its block before the blocks are looked at.
    for number in 0..shared.ring_size().slots() {
        let position = Position(number);
        help_taker(shared, position, shared.slot(position).load())?;
    }
    for index in (0..shared.block_count()).filter_map(BlockIndex::new) {
        let word = shared.block(index).ok_or(Corrupt::NoSuchBlock)?.word.load();
        if word.is(BlockKind::Held)
            && word.peer() == me
            && let Some(batch) = batch(shared, index)?
            && !batch.header.is_opened(word.generation())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Batch<'_> {
    /// The process that holds the batch with this word can find it without looking at the blocks.
    pub(crate) fn open(&self, held: BlockState) {
        self.header.set_opened(held.generation());
    }
}
