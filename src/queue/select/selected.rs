//! Completing an operation that was selected.

use super::super::end::Handle;
use super::super::failure::{Failure, Interrupted, RecvFailure};
use super::super::lease::{Lease, LeasedMessage};
use super::super::receiver::Receiver;
use super::super::sender::Sender;
use super::operation::{Kind, Outcome};
use crate::codec::Codec;
use crate::error::{RecvError, SendError};
use crate::segment::HasRead;
use core::{fmt, ptr};

/// An operation that a [`Select`](super::Select) has selected. It has taken its message, or sent it, or failed.
///
/// [`index`](SelectedOperation::index) says which one it is. Complete it with the method that it was registered with and
/// with the same receiver or sender: that never waits, and takes nothing from others.
///
/// A message that was taken and not completed returns to its queue when this is dropped, as the message of a
/// [`Lease`] does, which counts as a failed delivery.
#[must_use = "dropping this returns a message that was received to its queue, and hides whether one was sent"]
pub struct SelectedOperation<'a> {
    pub(super) index: usize,
    pub(super) kind: Kind,
    pub(super) handle: &'a Handle,
    pub(super) outcome: Outcome<'a>,
}

impl<'a> SelectedOperation<'a> {
    /// Returns the index of the operation, as returned when it was registered.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Completes a receive: decodes and acknowledges the message.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`Receiver::recv`]: the queue is closed and drained; the message could not be decoded. Never
    /// `Interrupted`.
    ///
    /// # Panics
    ///
    /// If the selected operation is not a [`recv`](super::Select::recv) with this receiver.
    ///
    /// # Examples
    ///
    /// See [`Select`](super::Select).
    pub fn recv<T, C: Codec<T>>(self, receiver: &Receiver<T, C>) -> Result<T, RecvError> {
        self.check(Kind::Receive, &receiver.handle);
        let leased = self.message().map_err(error)?;
        match C::decode(leased.bytes().map_err(error)?) {
            Ok(message) => {
                leased.acknowledge(HasRead::All);
                Ok(message)
            }
            Err(cause) => Err(error(leased.undecodable(cause))),
        }
    }

    /// Completes a lease: decodes the message, without acknowledging it.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`Receiver::lease`]. Never `Interrupted`.
    ///
    /// # Panics
    ///
    /// If the selected operation is not a [`lease`](super::Select::lease) with this receiver.
    ///
    /// # Examples
    ///
    /// See [`Select::lease`](super::Select::lease).
    pub fn lease<T, C: Codec<T>>(
        self,
        receiver: &'a Receiver<T, C>,
    ) -> Result<Lease<'a, T, C>, RecvError> {
        self.check(Kind::Lease, &receiver.handle);
        Lease::decode::<RecvError, Interrupted>(self.message().map_err(error)?)
    }

    /// Completes a send: returns whether the queue has accepted the message.
    ///
    /// # Errors
    ///
    /// [`SendError`], as for [`Sender::send`], without the message, which the caller has. Never `Interrupted`.
    ///
    /// # Panics
    ///
    /// If the selected operation is not a [`send`](super::Select::send) with this sender.
    ///
    /// # Examples
    ///
    /// See [`Select::send`](super::Select::send).
    pub fn send<T, C: Codec<T>>(self, sender: &Sender<T, C>) -> Result<(), SendError<()>> {
        self.check(Kind::Send, &sender.handle);
        match self.outcome {
            Outcome::Sent(Err(failure)) => {
                Err((Failure::<Interrupted, _>::from(failure), ()).into())
            }
            Outcome::Sent(Ok(())) | Outcome::Message(_) => Ok(()),
        }
    }

    /// Checks that the operation was registered in this way.
    fn check(&self, kind: Kind, handle: &Handle) {
        assert!(
            self.kind == kind && ptr::eq(self.handle, handle),
            "the selected operation was registered otherwise: complete it with the same method and the same receiver or \
             sender, which its index tells"
        );
    }

    fn message(self) -> Result<LeasedMessage<'a>, RecvFailure> {
        match self.outcome {
            Outcome::Message(message) => message,
            // `check` excludes it.
            Outcome::Sent(_) => Err(RecvFailure::Closed),
        }
    }
}

fn error(failure: RecvFailure) -> RecvError {
    Failure::<Interrupted, _>::from(failure).into()
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SelectedOperation")
            .field("index", &self.index)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}
