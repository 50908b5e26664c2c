//! Actions: what a script lets a process do, one after the other.

use super::memory::BATCH;
use crate::protocol::peers::Role;

/// In the place of a number of a class: the class of the largest blocks.
pub(super) const LARGEST: u8 = u8::MAX;

/// One action of a script: a few calls of the protocol's functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send the next message, if there is a free block and room in the ring.
    Send,
    /// Send the next message; wait while there is no free block or no room.
    SendBlocking,
    /// Send the next messages in a batch, if there is a free block and room in the ring.
    SendBatch,
    /// Send the next messages in a batch; wait while there is no free block or no room.
    SendBatchBlocking,
    /// Allocate a block if one is free, and leak it, as a caller does that forgets a reservation. When the
    /// process gives up its sender side or detaches, it withdraws the blocks that it has leaked.
    Leak,
    /// Send the next message in a huge block of the class of this number, if one is free and has memory, or can have
    /// some, and there is room in the ring.
    SendHuge(u8),
    /// Do the same; wait while there is no such block, or no room.
    SendHugeBlocking(u8),
    /// Allocate a huge block of this class, if that is possible, and withdraw it, as a caller does that drops a
    /// reservation.
    Abandon(u8),
    /// Give back the memory of all idle huge blocks that keep none.
    TrimAll,
    /// Receive a message if there is one.
    Receive(Settlement),
    /// Wait for a message.
    ReceiveBlocking(Settlement),
    /// Wait for a message, but give up when the first sleep has brought none.
    ReceiveOneSleep(Settlement),
    /// Wait for messages until the queue is closed.
    ReceiveUntilClosed(Settlement),
    /// Wait for a message with a future.
    ReceiveAsync(Settlement),
    /// Do the same with a future that may be dropped whenever it is not polled.
    ReceiveAsyncOrDrop(Settlement),
    /// Sleep for the futures of the process, without end: the reactor's thread.
    React,
    /// Receive messages until there is none.
    Drain(Settlement),
    /// Open the oldest dead letter and put it back.
    PeekDeadLetter,
    /// Open the oldest dead letter and discard it.
    DiscardDeadLetter,
    DiscardDeadLetters,
    Close,
    Cancel,
    /// Attach in the first free peer entry, as both sender and receiver.
    Join,
    /// Make a ticket with this role for the process of this number, and start that process.
    HandOff(u8, Role),
    /// Use the ticket that this process was started with.
    Redeem,
    Leave(Role),
    Detach,
    /// Wait until the tenant of this peer entry has died, then recover it.
    RecoverAfterDeath(u8),
    /// Look after all other peers, as a process does whose liveness interval is over.
    Sweep,
}

/// What a receiver does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Settlement {
    /// Acknowledge it. Of a batch: acknowledge the messages one by one.
    Acknowledge,
    /// Return it. Of a batch: hand out one message and return it; all others go back with it.
    Return,
    /// Reject it. Of a batch: reject one message; all others go back.
    Reject,
    /// Hold it until the end.
    Keep,
    /// Acknowledge it. Of a batch: acknowledge all messages at once, if none was handed out before.
    AcknowledgeBatch,
}

impl Action {
    /// Returns whether the action sleeps while it can do nothing.
    pub(super) const fn waits(self) -> bool {
        matches!(
            self,
            Self::SendBlocking
                | Self::SendBatchBlocking
                | Self::SendHugeBlocking(_)
                | Self::ReceiveBlocking(_)
                | Self::ReceiveOneSleep(_)
                | Self::ReceiveUntilClosed(_)
                | Self::React
        ) || self.is_future()
    }

    /// Returns whether the action is that of a future.
    pub(super) const fn is_future(self) -> bool {
        matches!(self, Self::ReceiveAsync(_) | Self::ReceiveAsyncOrDrop(_))
    }

    /// Returns whether the action starts over after it has succeeded.
    pub(super) const fn repeats(self) -> bool {
        matches!(
            self,
            Self::ReceiveUntilClosed(_) | Self::Drain(_) | Self::DiscardDeadLetters
        )
    }

    /// Returns the number of messages that the action sends.
    pub(super) const fn messages(self) -> u8 {
        match self {
            Self::Send | Self::SendBlocking | Self::SendHuge(_) | Self::SendHugeBlocking(_) => 1,
            Self::SendBatch | Self::SendBatchBlocking => BATCH,
            _ => 0,
        }
    }

    /// What an action that receives does with each message.
    pub(super) const fn settlement(self) -> Option<Settlement> {
        match self {
            Self::Receive(settlement)
            | Self::ReceiveBlocking(settlement)
            | Self::ReceiveOneSleep(settlement)
            | Self::ReceiveUntilClosed(settlement)
            | Self::ReceiveAsync(settlement)
            | Self::ReceiveAsyncOrDrop(settlement)
            | Self::Drain(settlement) => Some(settlement),
            _ => None,
        }
    }

    /// Returns whether the action may change a peer entry.
    pub(super) const fn changes_peers(self) -> bool {
        matches!(
            self,
            Self::Join | Self::HandOff(..) | Self::Redeem | Self::Leave(_) | Self::Detach
        )
    }

    /// Returns whether the action may change the lifecycle word.
    pub(super) const fn changes_lifecycle(self) -> bool {
        matches!(self, Self::Close | Self::Cancel) || self.changes_peers()
    }

    /// Returns whether the action may make a message Returned.
    pub(super) const fn returns_messages(self) -> bool {
        matches!(
            self.settlement(),
            Some(Settlement::Return | Settlement::Reject | Settlement::AcknowledgeBatch)
        )
    }
}

/// Returns the number of messages that a script sends at most.
pub(super) fn messages_in(script: &[Action]) -> usize {
    script
        .iter()
        .map(|action| usize::from(action.messages()))
        .sum()
}
