//! What a process reports when shared memory holds something that the protocol never writes.

/// The contradiction that was found in shared memory. A peer, or a stray pointer, has overwritten a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Corrupt {
    NoSuchBlock,
    NoSuchPeer,
    NotOffered,
    NotOwned,
    OwnedBlockChanged,
    PeerChanged,
    TooLong,
    NotCommitted,
    InvalidBatch,
    HeadAhead,
    TailAhead,
    InconsistentLaps,
}

impl Corrupt {
    /// Returns a description for error messages.
    pub(crate) const fn what(self) -> &'static str {
        match self {
            Self::NoSuchBlock => "a word names a block that does not exist",
            Self::NoSuchPeer => "a word names a peer that does not exist",
            Self::NotOffered => "the block of a message in the ring is not in state Offered",
            Self::NotOwned => "a block is used by a process that does not own it",
            Self::OwnedBlockChanged => "a block was changed while a process owned it",
            Self::PeerChanged => "the table entry of a process was changed by another process",
            Self::TooLong => "a message is longer than its block",
            Self::NotCommitted => "the block of a message has no memory",
            Self::InvalidBatch => "the number of messages in a batch is out of range",
            Self::HeadAhead => "the head is ahead of the ring",
            Self::TailAhead => "the tail is ahead of the ring",
            Self::InconsistentLaps => "the laps of the ring contradict each other",
        }
    }
}
