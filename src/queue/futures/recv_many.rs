//! Receiving many messages at once.

use super::super::receiver::Receiver;
use super::waiting::Waiting;
use crate::codec::{Bincode, Codec};
use crate::error::RecvError;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Receives many messages. Returned by [`Receiver::recv_many_async`].
///
/// Dropping it before it has completed takes no message.
#[must_use = "futures do nothing unless polled"]
pub struct RecvManyFuture<'a, T, C: Codec<T> = Bincode> {
    waiting: Waiting<'a, Receiver<T, C>>,
    into: &'a mut Vec<T>,
    max: usize,
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Receives up to `max` messages and appends them to `into`. The future completes when there is one, with those after
    /// it that there are at that moment, and returns how many it has received: at least one, unless `max` is 0. Needs the
    /// feature `async`.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`recv_many`](Receiver::recv_many).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (tx, rx) = workring::channel::<u32>(8)?;
    /// tx.send_many_async(0..100).await?;
    /// let mut messages = Vec::new();
    /// assert_eq!(rx.recv_many_async(&mut messages, 1000).await?, 100);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recv_many_async<'a>(
        &'a self,
        into: &'a mut Vec<T>,
        max: usize,
    ) -> RecvManyFuture<'a, T, C> {
        RecvManyFuture {
            waiting: Waiting::borrowed(self),
            into,
            max,
        }
    }
}

impl<T, C: Codec<T>> Future for RecvManyFuture<'_, T, C> {
    type Output = Result<usize, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { waiting, into, max } = &mut *self;
        let received = waiting.poll(context, |receiver, policy| {
            receiver.recv_many_with(into, *max, policy)
        });
        received.map_err(RecvError::from)
    }
}

impl<T, C: Codec<T>> fmt::Debug for RecvManyFuture<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvManyFuture")
            .field("receiver", self.waiting.end())
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}
