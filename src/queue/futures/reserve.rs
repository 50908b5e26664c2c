//! Sending in place.

use super::super::reservation::Reservation;
use super::super::sender::Sender;
use super::waiting::Waiting;
use crate::codec::{Codec, Raw};
use crate::error::SendError;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Reserves a buffer. Returned by [`Sender::reserve_async`].
///
/// Dropping it before it has completed reserves nothing. Once it has returned a reservation, dropping that frees the buffer.
#[must_use = "futures do nothing unless polled"]
pub struct ReserveFuture<'a, T>
where
    Raw: Codec<T>,
{
    sender: &'a Sender<T, Raw>,
    waiting: Waiting<'a, Sender<T, Raw>>,
    length: usize,
}

/// Sends a message that was written in place. Returned by [`Reservation::commit_async`].
///
/// Dropping it before it has completed leaves the message in the reservation, which can be committed again.
#[must_use = "futures do nothing unless polled"]
pub struct CommitFuture<'a, 'r, T, C: Codec<T> = Raw> {
    waiting: Waiting<'a, Sender<T, C>>,
    reservation: &'r mut Reservation<'a, T, C>,
}

impl<T> Sender<T, Raw>
where
    Raw: Codec<T>,
{
    /// Reserves a buffer for a message of `length` bytes, to be written in place. The future completes when a block of that
    /// size is free. Needs the feature `async`.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the length as its value, as for [`reserve`](Sender::reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Raw};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// let mut room = tx.reserve_async(8).await?;
    /// room.copy_from_slice(b"in place");
    /// room.commit_async().await?;
    /// assert_eq!(rx.recv_async().await?, b"in place");
    /// # Ok(())
    /// # }
    /// ```
    pub fn reserve_async(&self, length: usize) -> ReserveFuture<'_, T> {
        ReserveFuture {
            sender: self,
            waiting: Waiting::borrowed(self),
            length,
        }
    }
}

impl<'a, T, C: Codec<T>> Reservation<'a, T, C> {
    /// Sends the message. The future completes when the queue has accepted it: it waits while the queue is full. Needs the
    /// feature `async`.
    ///
    /// Dropping the future before it has completed leaves the message in the reservation.
    ///
    /// # Errors
    ///
    /// [`SendError`], as for [`commit`](Reservation::commit). The message stays in the reservation.
    ///
    /// # Examples
    ///
    /// See [`Sender::reserve_async`].
    pub fn commit_async<'r>(&'r mut self) -> CommitFuture<'a, 'r, T, C> {
        CommitFuture {
            waiting: Waiting::borrowed(self.sender()),
            reservation: self,
        }
    }
}

impl<'a, T> Future for ReserveFuture<'a, T>
where
    Raw: Codec<T>,
{
    type Output = Result<Reservation<'a, T>, SendError<usize>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (sender, length) = (self.sender, self.length);
        let reserved = self.waiting.poll(context, |_, policy| {
            let reserved = sender.reserve_for(length, (), policy);
            reserved.map_err(|(failure, ())| failure)
        });
        reserved.map_err(|failure| (failure, length).into())
    }
}

impl<T, C: Codec<T>> Future for CommitFuture<'_, '_, T, C> {
    type Output = Result<(), SendError<()>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self {
            waiting,
            reservation,
        } = &mut *self;
        let sent = waiting.poll(context, |_, policy| {
            let sent = reservation.commit_with(policy);
            sent.map_err(|(failure, ())| failure)
        });
        sent.map_err(|failure| (failure, ()).into())
    }
}

impl<T> fmt::Debug for ReserveFuture<'_, T>
where
    Raw: Codec<T>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReserveFuture")
            .field("sender", self.sender)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl<T, C: Codec<T>> fmt::Debug for CommitFuture<'_, '_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommitFuture")
            .field("reservation", &self.reservation)
            .finish_non_exhaustive()
    }
}
