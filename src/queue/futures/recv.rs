//! Receiving one message.

use super::super::receiver::Receiver;
use super::waiting::Waiting;
use crate::codec::{Bincode, Codec};
use crate::error::RecvError;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Receives a message. Returned by [`Receiver::recv_async`].
///
/// Dropping it loses no message: either it has completed and returned one, or it has taken none.
#[must_use = "futures do nothing unless polled"]
pub struct RecvFuture<'a, T, C: Codec<T> = Bincode> {
    waiting: Waiting<'a, Receiver<T, C>>,
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Receives a message and acknowledges it. The future completes when there is one, or when the queue is closed and none
    /// is left. Needs the feature `async`.
    ///
    /// Several tasks may receive with one receiver; each message goes to one of them. Dropping the future before it has
    /// completed loses no message, so it may be used in a `select!` or with a time limit of the runtime.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`recv`](Receiver::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (tx, rx) = workring::channel::<String>(4)?;
    /// let sending = tokio::spawn(async move { tx.send_async("resize 7.png".to_owned()).await });
    /// assert_eq!(rx.recv_async().await?, "resize 7.png");
    /// sending.await??;
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn recv_async(&self) -> RecvFuture<'_, T, C> {
        RecvFuture {
            waiting: Waiting::borrowed(self),
        }
    }
}

impl<T, C: Codec<T>> Future for RecvFuture<'_, T, C> {
    type Output = Result<T, RecvError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        (self.waiting).poll_receive(
            context,
            |message| Poll::Ready(Ok(message)),
            |received| received.map_err(RecvError::from),
        )
    }
}

impl<T, C: Codec<T>> fmt::Debug for RecvFuture<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFuture")
            .field("receiver", self.waiting.end())
            .finish_non_exhaustive()
    }
}
