//! The books: how many messages are where, counted from the words of the queue.
//!
//! Each word is read once, one after the other, while others go on changing them. On a queue at rest the sums are
//! exact, whoever died wherever and has been recovered; but what is discarded or dropped is counted just after its
//! block is freed, so that a death between the two leaves a message, or a batch, that counts as acknowledged.

use super::super::batch::Tally;
use super::super::blocks::{Block, BlockIndex, State};
use super::super::peers::PeerIndex;
use super::super::ring::{Kind, Position};
use super::super::{Corrupt, SharedState};
use super::{batch, dead_letters, receive};
use crate::sync::Ordering;

/// How many messages are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Books {
    /// Since the queue was made.
    pub(crate) accepted: u64,
    /// In the ring.
    pub(crate) queued: u64,
    /// In somebody's hands.
    pub(crate) held: u64,
    /// To be handed out again, or batched with one that is.
    pub(crate) returned: u64,
    /// Dead letters, those included that somebody reads.
    pub(crate) letters: u64,
    pub(crate) dropped: u64,
    pub(crate) discarded: u64,
}

impl Books {
    /// What is accepted and nowhere else.
    #[must_use]
    pub(crate) fn acknowledged(&self) -> u64 {
        let elsewhere = [
            self.queued,
            self.held,
            self.returned,
            self.letters,
            self.dropped,
            self.discarded,
        ];
        elsewhere
            .iter()
            .fold(self.accepted, |rest, count| rest.saturating_sub(*count))
    }
}

/// Whether a slot names the block of an accepted message that no block word tells of yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Not,
    /// It is in the ring.
    Full,
    /// It was taken by the process of this row.
    TakenBy(PeerIndex),
}

/// One block at the moment of the count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) word: Block,
    pub(crate) tally: Tally,
    named: Named,
}

impl Counted {
    /// The process that has the block's messages in hand.
    #[must_use]
    pub(crate) fn holder(&self) -> Option<PeerIndex> {
        match self.named {
            Named::TakenBy(row) => Some(row),
            _ => self.word.is(State::Held).then(|| self.word.row()),
        }
    }

    /// Whether there is an accepted message in it.
    fn is_accepted(&self) -> bool {
        match self.word.state() {
            Some(State::Offered) => self.named != Named::Not,
            Some(State::Held | State::Returned | State::Dead | State::Read) => true,
            Some(State::Free | State::Owned) | None => false,
        }
    }
}

/// All blocks, by number.
pub(crate) fn blocks<W: SharedState>(words: &W) -> Vec<Counted> {
    // The ring first: a message that is taken meanwhile is then found in its block.
    let mut named = vec![Named::Not; words.block_count() as usize];
    let size = words.ring_size();
    for slot in (0..size.slots()).map(|number| words.slot(Position(number)).load()) {
        let what = match slot.kind() {
            Kind::Full => Named::Full,
            Kind::Vacated => Named::TakenBy(slot.taker()),
            Kind::Empty | Kind::Closed => continue,
        };
        if let Some(named) = named.get_mut(slot.block().get() as usize) {
            *named = what;
        }
    }
    let counted = |(number, named)| {
        let index = BlockIndex::new(number)?;
        let word = words.block(index)?.word.load();
        let tally = batch::messages(words, index);
        // A slot may name a block for long after its taker has noted that it has it.
        let named = if word.is(State::Offered) {
            named
        } else {
            Named::Not
        };
        Some(Counted { word, tally, named })
    };
    (0..).zip(named).filter_map(counted).collect()
}

/// Counts everything. `blocks` are those of [`blocks`].
pub(crate) fn count<W: SharedState>(words: &W, blocks: &[Counted]) -> Books {
    let life = words.lifecycle().load();
    let (filled, taken) = receive::extent(words);
    let mut books = Books {
        accepted: filled.0,
        // One each for their place in the ring, and below those that are batched with them.
        queued: filled.0.saturating_sub(taken.0),
        dropped: words.dropped_letters().load(Ordering::Relaxed),
        discarded: words.discarded().load(Ordering::Relaxed),
        ..Books::default()
    };
    for (number, block) in (0..).zip(blocks) {
        let left = block.tally.left();
        if block.named == Named::Full {
            books.queued = books.queued.saturating_add(left.saturating_sub(1));
        } else if block.holder().is_some() {
            books.held += left;
        } else if dead_letters::is_letter(life, block.word) || block.word.is(State::Read) {
            books.letters += left;
        } else if block.word.is(State::Returned) {
            books.returned += left;
        }
        let beyond = beyond_the_first(words, number, block).unwrap_or_default();
        books.accepted = books.accepted.saturating_add(beyond);
    }
    books
}

/// How many messages have been accepted in a block beyond the first of their batch (BATCH-4 of `batch`).
fn beyond_the_first<W: SharedState>(
    words: &W,
    number: u32,
    block: &Counted,
) -> Result<u64, Corrupt> {
    let index = BlockIndex::new(number).ok_or(Corrupt::NoSuchBlock)?;
    let Some(marks) = words.marks(index) else {
        return Ok(0);
    };
    let beyond = marks.beyond();
    match batch::batch(words, index)? {
        Some(batch) if block.is_accepted() && !beyond.has_present() => {
            Ok(beyond.with_present(batch.count).count())
        }
        _ => Ok(beyond.count()),
    }
}
