//! What the pool and requests need of both ends beyond the public interface: sending messages by reference, sending and
//! receiving messages with another type and codec than the queue was made with (the caller vouches that both sides agree),
//! and how often a message is delivered.

use super::options::Options;
use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
use super::receiver::Receiver;
use super::sender::Sender;
use crate::codec::Codec;
use crate::error::{SendError, SendTimeoutError, TrySendError};
use core::time::Duration;

impl<T, C: Codec<T>> Sender<T, C> {
    /// Does the same as [`send`](Sender::send), for a message that `D` encodes. It stays with the caller, who drops it
    /// where that does no harm.
    #[inline]
    pub(crate) fn send_ref<M, D: Codec<M>>(&self, message: &M) -> Result<(), SendError<()>> {
        self.send_ref_with::<M, D, _>(message, &Unbounded)
    }

    /// Does the same as [`try_send`](Sender::try_send), for a message that `D` encodes, by reference.
    #[inline]
    pub(crate) fn try_send_ref<M, D: Codec<M>>(&self, message: &M) -> Result<(), TrySendError<()>> {
        self.send_ref_with::<M, D, _>(message, &NonBlocking)
    }

    /// Does the same as [`send_timeout`](Sender::send_timeout), for a message that `D` encodes, by reference.
    pub(crate) fn send_ref_timeout<M, D: Codec<M>>(
        &self,
        message: &M,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<()>> {
        self.send_ref_with::<M, D, _>(message, &Deadline::after(timeout))
    }

    #[inline(always)]
    fn send_ref_with<M, D: Codec<M>, P: WaitPolicy>(
        &self,
        message: &M,
        policy: &P,
    ) -> Result<(), P::SendError<()>> {
        self.send_encoded::<M, D, P>(message, policy)
            .map_err(|failure| (failure, ()).into())
    }
}

impl Options {
    /// Returns the same options with one more delivery.
    pub(crate) fn with_one_more_delivery(&self) -> Self {
        let deliveries = self.deliveries().saturating_add(1);
        self.clone().max_deliveries(deliveries)
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Returns how often the queue delivers a message, as [`Options::max_deliveries`] says.
    pub(crate) fn max_deliveries(&self) -> u32 {
        u32::from(self.handle.attachment.settings().limits.max_deliveries)
    }

    /// Returns the same end, which decodes messages as values of `U` by `D`. The caller vouches that `D` can: the queue
    /// itself still has the type and the codec that it was made with.
    pub(crate) fn decoding<U, D: Codec<U>>(self) -> Receiver<U, D> {
        let Self {
            batches, handle, ..
        } = self;
        Receiver::from_parts(batches, handle)
    }
}
