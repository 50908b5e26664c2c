//! Calls: the functions of the protocol that actions consist of, and their outcomes.

use super::action::Settlement;
use super::memory::ParkingSpot;
use crate::protocol::Corrupt;

/// One call of a function of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    /// No call: the script is finished, or the process is dead.
    Finished,
    Allocate,
    /// The same as [`Call::Allocate`], for an action that waits: fails if the queue is closing.
    AllocateUnlessClosing,
    /// Allocates a huge block of the class of this number.
    AllocateHuge(u8),
    Offer,
    Publish,
    Withdraw,
    WithdrawLeaked,
    /// Gives back the memory of this huge block, which was just freed, unless it keeps it.
    Trim(u8),
    TrimAll,
    Receive,
    Acknowledge,
    Return,
    Reject,
    /// Settles a message or a batch, in configurations with batches.
    Settle(Settlement),
    OpenDeadLetter,
    PutBackDeadLetter,
    DiscardDeadLetter,
    Close,
    Cancel,
    /// Announces a sleep on a parking word.
    Announce(ParkingSpot),
    Sleep(ParkingSpot),
    /// Checks the tail for corruption, after each sleep, and before a future is pending.
    CheckTail,
    /// Puts a future into the line of its process.
    Admit,
    /// Ends a poll: the future is pending.
    Pend,
    /// Takes a future out of the line, and passes the baton. Whether the future has got what it waited for.
    Dismiss(bool),
    /// The reactor attends to its seat.
    Attend,
    /// The reactor sleeps.
    Rest,
    Join,
    /// Makes a ticket for the process of this number.
    HandOff(u8),
    Redeem,
    Leave,
    Detach,
    /// Recovers the tenant of this peer entry if it is dead.
    RecoverIfDead(u8),
    /// The part of a sweep that needs no look at the blocks.
    FinishStalled,
    /// The part of a sweep that looks at every block.
    FinishStalledBlocks,
    /// The rest of a call of the model, which remembers nothing else of its beginning.
    Resumed(Resume),
}

impl Call {
    /// Returns whether the call may hand out a message.
    pub(super) const fn receives(self) -> bool {
        matches!(
            self,
            Self::Receive | Self::Resumed(Resume::TakeAt(..) | Resume::CheckEnd(_))
        )
    }

    /// Returns whether the call takes the lock of the process's lane.
    pub(super) const fn locks_lane(self) -> bool {
        matches!(self, Self::Admit | Self::Dismiss(_) | Self::Attend)
    }

    /// Returns whether the call is part of a sweep, or of a recovery.
    pub(super) const fn sweeps(self) -> bool {
        matches!(
            self,
            Self::FinishStalled
                | Self::FinishStalledBlocks
                | Self::RecoverIfDead(_)
                | Self::Resumed(
                    Resume::RecoverSlots(..)
                        | Resume::RecoverBlocks(..)
                        | Resume::RecoverPeer(..)
                        | Resume::CloseVacantRoles(_)
                )
        )
    }
}

/// Where a call of the model goes on, and all that it still remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Resume {
    PublishAt(u64),
    /// The class of a huge block.
    FindHuge(u8),
    FindMemory(u8),
    /// The position, and whether the queue is sealed.
    TakeAt(u64, bool),
    /// The number of slots that are helped already.
    CheckEnd(u8),
    /// The peer entry, its tenant, and the number of slots that are recovered already.
    RecoverSlots(u8, u64, u8),
    RecoverBlocks(u8, u64),
    RecoverPeer(u8, u64),
    CloseVacantRoles(u64),
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// There was no free block, no dead letter, no free peer entry, or no dead process.
    Unavailable,
    /// There is no memory for a huge block, and none to wait for.
    NoMemory,
    /// The process owns this block.
    Block(Holding),
    Accepted,
    Full,
    Empty,
    Closed,
    /// The queue is closed. True if this closer was the first.
    WasFirst(bool),
    /// The process has this peer entry, with this word.
    Attached(u8, u64),
    /// A sleep is announced. The value is that of the parking word.
    Announced(u64),
    Woken,
    /// The future was dropped while it was pending.
    Dropped,
    /// The reactor has called futures.
    Called,
    /// The sleep lasted a whole liveness interval.
    TimedOut,
    Corrupt(Corrupt),
    /// The call of the model goes on here.
    Continue(Resume),
}

/// A block that the process owns, and its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Holding {
    pub(super) block: u8,
    pub(super) word: u64,
}
