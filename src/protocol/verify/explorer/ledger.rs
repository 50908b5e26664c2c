//! The ledger: where each message is, recorded outside the queue, from the changes of its words.

use super::memory::{BATCH, MAX_BLOCKS, Memory};
use crate::protocol::peers::PeerKind;
use core::ops::Range;

/// No configuration sends more messages than this.
pub(super) const MAX_MESSAGES: usize = 6;
/// Stands for no process, or for no message.
pub(super) const NONE: u8 = u8::MAX;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum MessageState {
    Unsent,
    /// In the ring.
    Queued,
    /// Held by a process.
    Taken,
    Returned,
    DeadLetter,
    Acknowledged,
    /// By a cancel, or, as a dead letter, by its reader.
    Discarded,
    /// Dropped because there were too many dead letters.
    Evicted,
}

impl MessageState {
    /// Returns whether the message has ended, in one of the ways of EXPLORE-5.
    pub(super) const fn is_final(self) -> bool {
        matches!(self, Self::Acknowledged | Self::Discarded | Self::Evicted)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    /// The message in each block; of a batch, the first one. The messages of a batch have consecutive numbers.
    pub(super) message_in: [u8; MAX_BLOCKS],
    /// The process that owns each block, or owned it when it died.
    pub(super) holder_of: [u8; MAX_BLOCKS],
    /// The messages in the ring, by position; of a batch, the first one.
    pub(super) queued: Vec<u8>,
    pub(super) messages: [MessageState; MAX_MESSAGES],
    pub(super) taker_of: [u8; MAX_MESSAGES],
    pub(super) deliveries: [u8; MAX_MESSAGES],
    /// The blocks that are Returned and that the `returned` word announces, as a mask.
    pub(super) announced: u8,
    /// The number of positions that were filled, ...
    pub(super) filled: u8,
    /// ... and of those that were taken.
    pub(super) taken: u8,
    pub(super) sealed: bool,
    /// Whether a receiver has returned Closed.
    pub(super) closed_reported: bool,
    /// Whether a close has returned that it was the first.
    pub(super) first_closer_reported: bool,
    /// The peer entries whose arrival has been counted, as a mask.
    pub(super) arrived: u8,
}

impl Ledger {
    pub(super) fn new(memory: &Memory, peers: u8) -> Self {
        let arrived = (0..peers).filter(|&peer| memory.peer(peer).kind() == Some(PeerKind::Live));
        Self {
            message_in: [NONE; MAX_BLOCKS],
            holder_of: [NONE; MAX_BLOCKS],
            queued: Vec::new(),
            messages: [MessageState::Unsent; MAX_MESSAGES],
            taker_of: [NONE; MAX_MESSAGES],
            deliveries: [0; MAX_MESSAGES],
            announced: 0,
            filled: 0,
            taken: 0,
            sealed: false,
            closed_reported: false,
            first_closer_reported: false,
            arrived: arrived.fold(0, |mask, peer| mask | 1 << peer),
        }
    }

    /// Returns the numbers of the messages in `block`, of which `first` is the first.
    pub(super) fn members(memory: &Memory, first: u8, block: u8) -> Range<usize> {
        let count = if memory.is_batch(block) { BATCH } else { 1 };
        let first = usize::from(first);
        first..first + usize::from(count)
    }

    /// Returns the messages in `block` that have not ended.
    pub(super) fn unsettled(
        &self,
        memory: &Memory,
        block: u8,
    ) -> impl Iterator<Item = usize> + use<> {
        let messages = self.messages;
        let is_unsettled = move |message: &usize| {
            messages
                .get(*message)
                .is_some_and(|message| !message.is_final())
        };
        Self::members(memory, self.message_in[usize::from(block)], block).filter(is_unsettled)
    }

    /// Returns whether no process holds a message.
    pub(super) fn is_settled(&self) -> bool {
        !self.messages.contains(&MessageState::Taken)
    }
}
