//! Batches: what differs for a block that holds several messages.

use super::help::help_all_takers;
use super::{OwnedBlock, send};
use crate::protocol::batch::{BatchMarks, MAX_BATCH, MessageCounts};
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::{Corrupt, SharedState, Words};
use crate::sync::{Ordering, fence};

/// A block that holds a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) header: &'a BlockHeader,
    pub(crate) marks: &'a BatchMarks,
    /// The number of its messages, from 1 to [`MAX_BATCH`].
    pub(crate) count: usize,
}

/// Returns the batch in a block, or `None` if the block holds a single message.
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

/// Returns whether a block holds a batch.
#[must_use]
#[inline(always)]
pub(crate) fn is_batch<'a>(words: impl Words<'a>, index: BlockIndex) -> bool {
    words.block(index).is_some_and(BlockHeader::is_batched)
}

/// Prepares an Owned block for a batch of `count` messages.
///
/// Called before the messages are written: the stores here hit lines that are in the cache, and would otherwise wait
/// behind stores to lines that are not.
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

/// Declares the payload of a batch, `length` bytes long, complete. Transition `Offer`.
pub(crate) fn offer<S: SharedState>(
    shared: &S,
    owned: &mut OwnedBlock,
    length: u32,
) -> Result<(), Corrupt> {
    send::offer(shared.words(), owned, BlockHeader::batched_length(length))
}

/// Counts the messages of an accepted batch, unless that is done (BATCH-4).
///
/// `seen` is the state of the block when the batch was known to be accepted. The process that holds the batch calls
/// this, or the one that recovers it.
pub(crate) fn count_accepted<S: SharedState>(shared: &S, index: BlockIndex, seen: BlockState) {
    // A corrupt batch is reported by the operation that reads it.
    let Ok(Some(batch)) = batch(shared, index) else {
        return;
    };
    let extra = batch.marks.extra_messages();
    if extra.includes_current() && !mutant!(CountBatchTwice) {
        return;
    }
    // If the block word is still the same, everything read so far belongs to this batch, and the exchange can count no
    // other one.
    fence(Ordering::Acquire);
    if mutant!(CountBatchUnverified) || batch.header.word.load() == seen {
        batch.marks.add_extra(extra, batch.count);
    }
}

/// Returns how many messages of a block are not done. For a single message, that is the message itself.
#[must_use]
pub(crate) fn message_counts<S: SharedState>(shared: &S, index: BlockIndex) -> MessageCounts {
    match batch(shared, index) {
        Ok(Some(batch)) => {
            let max_deliveries = shared.limits().max_deliveries;
            batch.marks.message_counts(batch.count, max_deliveries)
        }
        Ok(None) | Err(_) => MessageCounts { live: 1, spent: 0 },
    }
}

/// Returns the state of a Held block after its holder gave it back, or has died. Transitions `Return` and `Reclaim`.
///
/// For a batch it follows from the marks alone (BATCH-3): Free if all messages are done, Returned if one may still be
/// delivered, Dead if only dead letters are left.
#[must_use]
pub(super) fn state_after_return<S: SharedState>(
    shared: &S,
    index: BlockIndex,
    held: BlockState,
) -> BlockState {
    let max_deliveries = shared.limits().max_deliveries;
    match batch(shared, index) {
        Ok(Some(batch)) => {
            let counts = batch.marks.message_counts(batch.count, max_deliveries);
            if counts.unsettled() == 0 {
                held.free()
            } else if counts.live > 0 {
                held.returned()
            } else {
                held.dead()
            }
        }
        // The batch is corrupt: a dead letter, so that it is not delivered again forever.
        Err(_) => held.dead(),
        Ok(None) if mutant!(DeliveryNotCounted) => held.returned(),
        Ok(None) => match held.after_return(max_deliveries) {
            dead if dead.is(BlockKind::Dead) && mutant!(DeadLetterDiscarded) => held.free(),
            back => back,
        },
    }
}

/// Returns the state of a Held block after its holder gave it back, or has died: Free after a cancel, otherwise as
/// [`state_after_return`]. Transitions `Return` and `Reclaim`.
#[must_use]
pub(super) fn state_after_return_or_cancel<S: SharedState>(
    shared: &S,
    index: BlockIndex,
    held: BlockState,
) -> BlockState {
    if shared.lifecycle().load().is_cancelled() {
        held.free()
    } else {
        state_after_return(shared, index, held)
    }
}

/// Returns the state of a Read block after its reader closed the dead letter, or has died. The end of `Read`, and
/// transition `Reclaim`.
#[must_use]
pub(super) fn state_after_reading<S: SharedState>(
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

/// Returns whether a thread of the process `me` has taken a batch and not yet opened it for the other threads
/// ([`Batch::open`]).
///
/// A thread that finds the queue drained calls this, because such a batch may hold messages for it.
#[cold]
pub(crate) fn has_unopened_batch<S: SharedState>(
    shared: &S,
    me: PeerIndex,
) -> Result<bool, Corrupt> {
    help_all_takers(shared)?;
    for index in (0..shared.block_count()).filter_map(BlockIndex::new) {
        let Some(header) = shared.block(index) else {
            continue;
        };
        let block = header.word.load();
        if block.is(BlockKind::Held)
            && block.peer() == me
            && let Some(batch) = batch(shared, index)?
            && !batch.header.is_opened(block.generation())
        {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Batch<'_> {
    /// Records that the threads of the holder's process can find the batch without looking at the blocks.
    pub(crate) fn open(&self, held: BlockState) {
        self.header.set_opened(held.generation());
    }
}
