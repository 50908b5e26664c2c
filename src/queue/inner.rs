//! What the pool needs of both ends beyond the public interface: messages that are sent by reference, and ends that
//! encode or decode the queue's messages in another way than its codec does.

use super::receiver::Receiver;
use super::sender::Sender;
use super::wait::{Deadline, Failure, Interrupted, NonBlocking, Reason, Unbounded, WouldBlock};
use crate::codec::Codec;
use crate::error::{SendError, SendTimeoutError, TrySendError};
use core::time::Duration;

impl<T, C: Codec<T>> Sender<T, C> {
    /// As [`send`](Sender::send). The message stays with the caller, who drops it where that does no harm.
    #[inline]
    pub(crate) fn send_ref(&self, message: &T) -> Result<(), SendError<()>> {
        self.send_by_reference(message, &Unbounded, |failure| match failure {
            Failure::Stopped(Interrupted) => SendError::Interrupted(()),
            Failure::Refused(refusal) => refusal.into_send(()),
        })
    }

    /// As [`try_send`](Sender::try_send), by reference.
    #[inline]
    pub(crate) fn try_send_ref(&self, message: &T) -> Result<(), TrySendError<()>> {
        self.send_by_reference(message, &NonBlocking, |failure| match failure {
            Failure::Stopped(WouldBlock) => TrySendError::Full(()),
            Failure::Refused(refusal) => refusal.into_try_send(()),
        })
    }

    /// As [`send_timeout`](Sender::send_timeout), by reference.
    pub(crate) fn send_ref_timeout(
        &self,
        message: &T,
        timeout: Duration,
    ) -> Result<(), SendTimeoutError<()>> {
        let until = Deadline::after(timeout);
        self.send_by_reference(message, &until, |failure| match failure {
            Failure::Stopped(Reason::Deadline) => SendTimeoutError::Timeout(()),
            Failure::Stopped(Reason::Interrupted) => SendTimeoutError::Interrupted(()),
            Failure::Refused(refusal) => refusal.into_send_timeout(()),
        })
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// The same end, which decodes messages as values of `U` by `D`. The caller vouches that `D` can: the queue itself
    /// still carries the type and the codec that it was made with.
    pub(crate) fn decoding<U, D: Codec<U>>(self) -> Receiver<U, D> {
        let Self {
            batches, handle, ..
        } = self;
        Receiver::from_parts(batches, handle)
    }
}
