//! The books: how many messages are where, counted from the words of the queue.
//!
//! Each word is read once, one after the other, while others go on changing them. On a queue at rest the sums are
//! exact, whoever died wherever and has been recovered; but what is discarded or dropped is counted just after its
//! block is freed, so that a death between the two leaves a message, or a batch, that counts as acknowledged.

use super::super::batch::MessageCounts;
use super::super::blocks::{BlockIndex, BlockKind, BlockState};
use super::super::peers::PeerIndex;
use super::super::ring::{Position, SlotKind};
use super::super::{Corrupt, SharedState};
use super::{batch, dead_letters, receive};
use crate::sync::Ordering;

/// How many messages are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageStats {
    /// Since the queue was made.
    pub(crate) accepted: u64,
    /// In the ring.
    pub(crate) queued: u64,
    /// In somebody's hands.
    pub(crate) held: u64,
    /// To be handed out again, or batched with one that is.
    pub(crate) returned: u64,
    /// Dead letters, those included that somebody reads.
    pub(crate) dead_letters: u64,
    pub(crate) evicted: u64,
    pub(crate) discarded: u64,
}

impl MessageStats {
    /// What is accepted and nowhere else.
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

/// Whether a slot names the block of an accepted message that no block word tells of yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotReference {
    Not,
    /// It is in the ring.
    Full,
    /// It was taken by the process of this row.
    TakenBy(PeerIndex),
}

/// One block at the moment of the count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockSnapshot {
    pub(crate) word: BlockState,
    pub(crate) tally: MessageCounts,
    named: SlotReference,
}

impl BlockSnapshot {
    /// The process that has the block's messages in hand.
    #[must_use]
    pub(crate) fn holder(&self) -> Option<PeerIndex> {
        match self.named {
            SlotReference::TakenBy(peer) => Some(peer),
            _ => self.word.is(BlockKind::Held).then(|| self.word.peer()),
        }
    }

    /// Whether there is an accepted message in it.
    fn is_accepted(&self) -> bool {
        match self.word.kind() {
            Some(BlockKind::Offered) => self.named != SlotReference::Not,
            Some(BlockKind::Held | BlockKind::Returned | BlockKind::Dead | BlockKind::Read) => true,
            Some(BlockKind::Free | BlockKind::Owned) | None => false,
        }
    }
}

/// All blocks, by number.
pub(crate) fn snapshot_blocks<S: SharedState>(shared: &S) -> Vec<BlockSnapshot> {
    // The ring first: a message that is taken meanwhile is then found in its block.
    let mut named = vec![SlotReference::Not; shared.block_count() as usize];
    let size = shared.ring_size();
    for slot in (0..size.slots()).map(|number| shared.slot(Position(number)).load()) {
        let what = match slot.kind() {
            SlotKind::Full => SlotReference::Full,
            SlotKind::Vacated => SlotReference::TakenBy(slot.taker()),
            SlotKind::Empty | SlotKind::Closed => continue,
        };
        if let Some(named) = named.get_mut(slot.block().get() as usize) {
            *named = what;
        }
    }
    let counted = |(number, named)| {
        let index = BlockIndex::new(number)?;
        let word = shared.block(index)?.word.load();
        let tally = batch::message_counts(shared, index);
        // A slot may name a block for long after its taker has noted that it has it.
        let named = if word.is(BlockKind::Offered) {
            named
        } else {
            SlotReference::Not
        };
        Some(BlockSnapshot { word, tally, named })
    };
    (0..).zip(named).filter_map(counted).collect()
}

/// Counts everything. `blocks` are those of [`blocks`].
pub(crate) fn count<S: SharedState>(shared: &S, blocks: &[BlockSnapshot]) -> MessageStats {
    let life = shared.lifecycle().load();
    let (filled, taken) = receive::filled_and_taken(shared);
    let mut books = MessageStats {
        accepted: filled.0,
        // One each for their place in the ring, and below those that are batched with them.
        queued: filled.0.saturating_sub(taken.0),
        evicted: shared.evicted().load(Ordering::Relaxed),
        discarded: shared.discarded().load(Ordering::Relaxed),
        ..MessageStats::default()
    };
    for (number, block) in (0..).zip(blocks) {
        let left = block.tally.unsettled();
        if block.named == SlotReference::Full {
            books.queued = books.queued.saturating_add(left.saturating_sub(1));
        } else if block.holder().is_some() {
            books.held += left;
        } else if dead_letters::is_dead_letter(life, block.word) || block.word.is(BlockKind::Read) {
            books.dead_letters += left;
        } else if block.word.is(BlockKind::Returned) {
            books.returned += left;
        }
        let beyond = beyond_the_first(shared, number, block).unwrap_or_default();
        books.accepted = books.accepted.saturating_add(beyond);
    }
    books
}

/// How many messages have been accepted in a block beyond the first of their batch (BATCH-4 of `batch`).
fn beyond_the_first<S: SharedState>(
    shared: &S,
    number: u32,
    block: &BlockSnapshot,
) -> Result<u64, Corrupt> {
    let index = BlockIndex::new(number).ok_or(Corrupt::NoSuchBlock)?;
    let Some(marks) = shared.marks(index) else {
        return Ok(0);
    };
    let beyond = marks.extra_messages();
    match batch::batch(shared, index)? {
        Some(batch) if block.is_accepted() && !beyond.includes_current() => {
            Ok(beyond.with_current(batch.count).count())
        }
        _ => Ok(beyond.count()),
    }
}
