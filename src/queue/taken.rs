//! A message that a receive has taken.

use super::batches::BatchedMessage;
use super::failure::RecvFailure;
use super::held_block::HeldBlock;
use crate::codec::{Codec, DecodeError};
use crate::protocol::Corrupt;
use crate::segment::{HasRead, ReadableBlock};

/// A message that was taken: a block of its own, or one of a batch. Dropping it returns it to the queue.
pub(super) enum TakenMessage<'a> {
    Block(HeldBlock<'a>),
    Batched(BatchedMessage),
}

/// A taken message that does not borrow from the queue's attachment. It must become that of a lease: dropping it leaves the
/// message out of use.
pub(super) enum DetachedMessage {
    Block(ReadableBlock),
    Batched(BatchedMessage),
}

impl TakenMessage<'_> {
    /// Returns the bytes of the message, where its sender wrote them.
    #[inline]
    pub(super) fn bytes(&self) -> Result<&[u8], RecvFailure> {
        match self {
            Self::Block(held) => Ok(held.bytes()?),
            Self::Batched(message) => message.bytes(),
        }
    }

    /// Acknowledges the message (`Release`), which was decoded.
    #[inline(always)]
    pub(super) fn acknowledge(self) -> Result<(), RecvFailure> {
        match self {
            Self::Block(held) => Ok(held.acknowledge(HasRead::All)?),
            Self::Batched(message) => message.acknowledge(),
        }
    }

    /// Makes the message a dead letter (`Return`), because no receiver can decode it.
    fn reject(self) -> Result<(), RecvFailure> {
        match self {
            Self::Block(held) => held.reject(),
            Self::Batched(message) => message.reject(),
        }
    }

    /// Makes a message that the codec cannot decode a dead letter.
    #[cold]
    pub(super) fn undecodable(self, error: DecodeError) -> RecvFailure {
        match self.reject() {
            Ok(()) => RecvFailure::Decode(error),
            Err(failure) => failure,
        }
    }

    /// Decodes and acknowledges the message. If the codec panics, the message returns to the queue.
    pub(super) fn receive<T, C: Codec<T>>(self) -> Result<T, RecvFailure> {
        match C::decode(self.bytes()?) {
            Ok(message) => {
                self.acknowledge()?;
                Ok(message)
            }
            Err(error) => Err(self.undecodable(error)),
        }
    }

    /// Returns the message without its borrow. A corrupt one returns to the queue.
    pub(super) fn detach(self) -> Result<DetachedMessage, Corrupt> {
        match self {
            Self::Block(held) => match held.into_readable() {
                Ok(block) => Ok(DetachedMessage::Block(block)),
                Err((_held, corrupt)) => Err(corrupt),
            },
            Self::Batched(message) => Ok(DetachedMessage::Batched(message)),
        }
    }
}
