//! Receiving one message by value.

use super::attachment::Entered;
use super::failure::{Failure, RecvFailure};
use super::held_block::{AcknowledgedAtEnd, HeldBlock, OpenBlock};
use super::policy::WaitPolicy;
use super::receiver::Receiver;
use super::taken::TakenMessage;
use crate::codec::Codec;
use crate::protocol::Corrupt;
use crate::protocol::ids::Position;
use crate::protocol::ring::SlotState;
use crate::protocol::steps::receive::{self, Found, Miss};
use crate::segment::View;

/// The largest values, in bytes, that the compiler moves through registers. Larger ones are not moved: `docs/BENCHMARKS.md` says
/// what that saves a message of 1 KiB.
const LARGEST_MOVED: usize = 128;

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Receives the usual message: there is one. Straight into the caller's result: moving a message on the way costs
    /// more than everything else here.
    #[inline(always)]
    pub(super) fn receive<P: WaitPolicy>(&self, policy: &P) -> Result<T, P::RecvError> {
        let Ok(queue) = self.handle.begin() else {
            return Err(Failure::from(RecvFailure::Forked).into());
        };
        if self.batches.any() {
            return self.receive_after(queue, None, policy);
        }
        let words = queue.view();
        let found = match receive::look(words) {
            Ok(found) => found,
            Err(Miss::Elsewhere(position, slot)) => {
                return self.receive_elsewhere(queue, position, slot, policy);
            }
            Err(miss) => return self.receive_after(queue, Some(miss), policy),
        };
        match receive::take_found(queue.segment(), words, queue.peer(), found) {
            Ok(block) => self.open(words, found, HeldBlock::new(queue, block), policy),
            Err(error) => self.receive_after(queue, Some(found.missed(error)), policy),
        }
    }

    /// Decodes and acknowledges a message. If the codec panics, the message returns to the queue.
    #[inline(always)]
    fn open<P: WaitPolicy>(
        &self,
        words: View<'_>,
        found: Found,
        held: HeldBlock<'_>,
        policy: &P,
    ) -> Result<T, P::RecvError> {
        if size_of::<T>() > LARGEST_MOVED {
            return self.open_large(held, policy);
        }
        let (bytes, beside) = match held.beside(words, found.place()) {
            Ok(found) => found,
            // A batch looks like a message that is too long.
            Err(corrupt) => return self.open_unusual(held, corrupt, policy),
        };
        match C::decode(bytes) {
            Ok(message) => {
                // Acknowledges the message when it is where the caller gets it, so that it is moved only once.
                let _acknowledged = AcknowledgedAtEnd::new(held, beside);
                Ok(message)
            }
            Err(error) => Err(Failure::from(held.undecodable(error)).into()),
        }
    }

    /// Does the same for a large value, which is decoded to where the caller gets it, and for any message that lies beside no
    /// slot. For small ones that takes more instructions than moving them.
    #[inline(always)]
    fn open_large<P: WaitPolicy>(
        &self,
        held: HeldBlock<'_>,
        policy: &P,
    ) -> Result<T, P::RecvError> {
        let open = OpenBlock::new(held);
        let bytes = match open.bytes() {
            Ok(bytes) => bytes,
            Err(corrupt) => return self.open_unusual(open.into_held(), corrupt, policy),
        };
        C::decode_as(
            bytes,
            |message| {
                open.acknowledge_at_end();
                Ok(message)
            },
            |error| {
                open.reject_at_end();
                Err(Failure::from(RecvFailure::Decode(error)).into())
            },
        )
    }

    /// Does the same as [`receive`](Self::receive) for a poll: `usual` puts the message into its result, all other outcomes
    /// go through `otherwise`. Apart from `receive`, which made of this costs 64 bytes by value a third of their speed.
    #[cfg(feature = "async")]
    #[inline(always)]
    pub(super) fn receive_as<P: WaitPolicy, R>(
        &self,
        policy: &P,
        usual: impl FnOnce(T) -> R,
        otherwise: impl FnOnce(Result<T, P::RecvError>) -> R,
    ) -> R {
        let Ok(queue) = self.handle.begin() else {
            return otherwise(Err(Failure::from(RecvFailure::Forked).into()));
        };
        if self.batches.any() {
            return otherwise(self.receive_after(queue, None, policy));
        }
        let words = queue.view();
        let found = match receive::look(words) {
            Ok(found) => found,
            Err(Miss::Elsewhere(position, slot)) => {
                return otherwise(self.receive_elsewhere(queue, position, slot, policy));
            }
            Err(miss) => return otherwise(self.receive_after(queue, Some(miss), policy)),
        };
        let held = match receive::take_found(queue.segment(), words, queue.peer(), found) {
            Ok(block) => HeldBlock::new(queue, block),
            Err(error) => {
                let miss = Some(found.missed(error));
                return otherwise(self.receive_after(queue, miss, policy));
            }
        };
        let (bytes, beside) = match held.beside(words, found.place()) {
            Ok(found) => found,
            // A batch looks like a message that is too long.
            Err(corrupt) => return otherwise(self.open_unusual(held, corrupt, policy)),
        };
        match C::decode(bytes) {
            Ok(message) => {
                // Acknowledges the message when it is where the caller gets it, so that it is moved only once. If the
                // codec panics, the message returns to the queue.
                let _acknowledged = AcknowledgedAtEnd::new(held, beside);
                usual(message)
            }
            Err(error) => otherwise(Err(Failure::from(held.undecodable(error)).into())),
        }
    }

    /// Opens a block whose bytes are not simply a message.
    #[cold]
    #[inline(never)]
    fn open_unusual<P: WaitPolicy>(
        &self,
        held: HeldBlock<'_>,
        corrupt: Corrupt,
        policy: &P,
    ) -> Result<T, P::RecvError> {
        if !held.is_batch() {
            return Err(Failure::from(RecvFailure::Corrupt(corrupt)).into());
        }
        let queue = held.queue();
        let opened = match self.batches.admit(&self.handle.attachment, held) {
            Ok(Some(message)) => TakenMessage::Batched(message).receive::<T, C>(),
            Ok(None) => return self.receive_after(queue, None, policy),
            Err(failure) => Err(failure),
        };
        opened.map_err(|failure| Failure::from(failure).into())
    }

    /// Receives the message of this position, whose slot was seen like this, and whose block lies beside no slot. Not unusual: the
    /// message may be too long for a cell, or other messages are leased.
    #[inline(never)]
    fn receive_elsewhere<P: WaitPolicy>(
        &self,
        queue: Entered<'_>,
        position: Position,
        slot: SlotState,
        policy: &P,
    ) -> Result<T, P::RecvError> {
        match receive::take_elsewhere(queue.segment(), queue.peer(), position, slot) {
            Ok(block) => self.open_large(HeldBlock::new(queue, block), policy),
            Err(reason) => self.receive_after(queue, Some(Miss::of(position, reason)), policy),
        }
    }

    /// Receives a message after a first look that has missed. `None`: there was no first look.
    #[cold]
    #[inline(never)]
    fn receive_after<P: WaitPolicy>(
        &self,
        queue: Entered<'_>,
        miss: Option<Miss>,
        policy: &P,
    ) -> Result<T, P::RecvError> {
        let miss = match miss.map(|miss| self.take_after_miss(queue, miss, policy)) {
            // Not unusual, if several processes receive.
            Some(Ok(block)) => return self.open_large(HeldBlock::new(queue, block), policy),
            Some(Err(miss)) => Some(miss),
            None => None,
        };
        let taken = self.take_after(queue, miss, policy);
        let received = taken.and_then(|taken| Ok(taken.receive::<T, C>()?));
        Ok(received?)
    }

    fn take_after<'a, P: WaitPolicy>(
        &'a self,
        queue: Entered<'a>,
        miss: Option<Miss>,
        policy: &P,
    ) -> Result<TakenMessage<'a>, Failure<P::Error, RecvFailure>> {
        let taken = match miss {
            Some(miss) => self.sort_after(queue, miss)?,
            None => self.take_one(queue)?,
        };
        match taken {
            Some(taken) => Ok(taken),
            None => self.wait_for_messages(queue, || self.take_one(queue), policy),
        }
    }
}
