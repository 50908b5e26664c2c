//! Statistics: where the messages of a queue are, counted from its words.
//!
//! Each word is read once, one after the other, while other processes change them. On a queue at rest the sums are
//! exact, even after deaths and their recovery, with one exception: messages that are discarded or evicted are
//! counted just after their block is freed, so a death between the two leaves them counted as acknowledged.

use super::batch;
use super::dead_letters::is_dead_letter;
use super::help::unrecorded;
use super::walk::filled_and_taken;
use crate::protocol::batch::MessageCounts;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::ring::SlotKind;
use crate::protocol::{Corrupt, SharedState};
use crate::sync::Ordering;

/// The numbers of messages in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageStats {
    /// Messages accepted since the queue was made.
    pub(crate) accepted: u64,
    /// Messages in the ring.
    pub(crate) queued: u64,
    /// Messages that a receiver holds.
    pub(crate) held: u64,
    /// Messages that wait to be delivered again, and those that share a batch with one.
    pub(crate) returned: u64,
    /// Dead letters, including those that a process reads.
    pub(crate) dead_letters: u64,
    /// Dead letters that were dropped.
    pub(crate) evicted: u64,
    /// Messages that a cancel discarded.
    pub(crate) discarded: u64,
}

impl MessageStats {
    /// Returns the number of accepted messages that are in none of the other states.
    #[must_use]
    pub(crate) fn acknowledged(&self) -> u64 {
        let elsewhere = [
            self.queued,
            self.held,
            self.returned,
            self.dead_letters,
            self.evicted,
            self.discarded,
        ];
        elsewhere
            .iter()
            .fold(self.accepted, |rest, count| rest.saturating_sub(*count))
    }
}

/// What a slot says about an Offered block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotReference {
    /// No slot names the block for this message, which is not accepted.
    Unnamed,
    /// The message is in the ring.
    Queued,
    /// The message was taken, and the block, with this word, does not say so yet.
    TakenBy(PeerIndex, BlockState),
}

/// A block at the moment of the count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockSnapshot {
    pub(crate) state: BlockState,
    pub(crate) messages: MessageCounts,
    slot: SlotReference,
}

impl BlockSnapshot {
    /// Returns the process that holds the messages of the block.
    #[must_use]
    pub(crate) fn holder(&self) -> Option<PeerIndex> {
        match self.slot {
            SlotReference::TakenBy(taker, _) => Some(taker),
            _ => self.state.is(BlockKind::Held).then(|| self.state.peer()),
        }
    }

    /// Returns whether the messages of the block are accepted.
    fn is_accepted(&self) -> bool {
        match self.state.kind() {
            Some(BlockKind::Offered) => self.slot != SlotReference::Unnamed,
            Some(BlockKind::Held | BlockKind::Returned | BlockKind::Dead | BlockKind::Read) => true,
            Some(BlockKind::Free | BlockKind::Owned) | None => false,
        }
    }
}

/// Returns a snapshot of every block, ordered by number.
#[must_use]
pub(crate) fn snapshot_blocks<S: SharedState>(shared: &S) -> Vec<BlockSnapshot> {
    // The ring comes first: a message that is taken in between is then found in its block.
    let mut references = vec![SlotReference::Unnamed; shared.block_count() as usize];
    let size = shared.ring_size();
    for position in (0..size.slots()).map(Position) {
        let slot = shared.slot(position).load();
        let found = match unrecorded(shared, position, slot) {
            Ok(Some((_, offered))) => SlotReference::TakenBy(slot.taker(), offered),
            _ if slot.kind() == SlotKind::Full => SlotReference::Queued,
            _ => continue,
        };
        if let Some(reference) = references.get_mut(slot.block().get() as usize) {
            *reference = found;
        }
    }
    let snapshot = |(number, reference)| {
        let index = BlockIndex::new(number)?;
        // A block without memory is Free.
        let state = shared
            .block(index)
            .map_or(BlockState::NEW, |header| header.word.load());
        let messages = batch::message_counts(shared, index);
        // Since the look at the slot, the taker may have recorded that it holds the message, and the block may have another.
        let slot = match reference {
            SlotReference::Queued if !state.is(BlockKind::Offered) => SlotReference::Unnamed,
            SlotReference::TakenBy(_, offered) if state != offered => SlotReference::Unnamed,
            reference => reference,
        };
        Some(BlockSnapshot {
            state,
            messages,
            slot,
        })
    };
    (0..).zip(references).filter_map(snapshot).collect()
}

/// Counts all messages. `blocks` are those of [`snapshot_blocks`].
#[must_use]
pub(crate) fn count<S: SharedState>(shared: &S, blocks: &[BlockSnapshot]) -> MessageStats {
    let life = shared.lifecycle().load();
    let (filled, taken) = filled_and_taken(shared);
    let mut stats = MessageStats {
        accepted: filled.0,
        // One message for each filled slot. The loop adds the others of their batches.
        queued: filled.0.saturating_sub(taken.0),
        evicted: shared.evicted().load(Ordering::Relaxed),
        discarded: shared.discarded().load(Ordering::Relaxed),
        ..MessageStats::default()
    };
    for (number, block) in (0..).zip(blocks) {
        let unsettled = block.messages.unsettled();
        if block.slot == SlotReference::Queued {
            stats.queued = stats.queued.saturating_add(unsettled.saturating_sub(1));
        } else if block.holder().is_some() {
            stats.held += unsettled;
        } else if is_dead_letter(life, block.state) || block.state.is(BlockKind::Read) {
            stats.dead_letters += unsettled;
        } else if block.state.is(BlockKind::Returned) {
            stats.returned += unsettled;
        }
        let extra = extra_messages(shared, number, block).unwrap_or_default();
        stats.accepted = stats.accepted.saturating_add(extra);
    }
    stats
}

/// Returns the number of messages accepted in a block beyond the first of their batch (BATCH-4).
fn extra_messages<S: SharedState>(
    shared: &S,
    number: u32,
    block: &BlockSnapshot,
) -> Result<u64, Corrupt> {
    let index = BlockIndex::new(number).ok_or(Corrupt::NoSuchBlock)?;
    let Some(marks) = shared.marks(index) else {
        return Ok(0);
    };
    let extra = marks.extra_messages();
    match batch::batch(shared, index)? {
        Some(batch) if block.is_accepted() && !extra.includes_current() => {
            Ok(extra.with_current(batch.count).count())
        }
        _ => Ok(extra.count()),
    }
}
