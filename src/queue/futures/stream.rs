//! A stream of messages.

use super::super::receiver::Receiver;
use super::waiting::{Owner, Waiting};
use crate::codec::{Bincode, Codec};
use crate::error::RecvError;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use futures_core::{FusedStream, Stream};

/// The messages of a queue as a [`Stream`]. Returned by [`Receiver::stream`], which borrows the receiver, and by
/// [`Receiver::into_stream`].
///
/// Dropping it, or a future for its next item, loses no message: the queue keeps those that were not returned.
#[must_use = "streams do nothing unless polled"]
pub struct RecvStream<'a, T, C: Codec<T> = Bincode> {
    waiting: Waiting<'a, Receiver<T, C>>,
    is_over: bool,
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Returns a stream of the messages of the queue, until it is closed and drained. Needs the feature `async`.
    ///
    /// Errors other than `Closed` are items. The stream continues after them, except after `Corrupt` and `Forked`, with
    /// which it ends. An [interrupt](crate::queue::Interrupter) is such an item.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::TryStreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// tokio::spawn(async move {
    ///     for n in 0..100 {
    ///         tx.send_async(n).await?;
    ///     }
    ///     Ok::<(), workring::SendError<u32>>(()) // drops the last sender: the queue closes
    /// });
    /// let numbers: Vec<u32> = rx.stream().try_collect().await?;
    /// assert!(numbers.into_iter().eq(0..100));
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&self) -> RecvStream<'_, T, C> {
        RecvStream {
            waiting: Waiting::borrowed(self),
            is_over: false,
        }
    }

    /// Does the same as [`stream`](Receiver::stream), and owns the receiver, so that the stream can be given to another
    /// task. Needs the feature `async`.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::StreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let counting = tokio::spawn(rx.into_stream().count());
    /// tx.send_async(7).await?;
    /// drop(tx);
    /// assert_eq!(counting.await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_stream(self) -> RecvStream<'static, T, C> {
        RecvStream {
            waiting: Waiting::new(Owner::Owned(Box::new(self))),
            is_over: false,
        }
    }
}

impl<T, C: Codec<T>> Stream for RecvStream<'_, T, C> {
    type Item = Result<T, RecvError>;

    #[inline]
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { waiting, is_over } = &mut *self;
        if *is_over {
            return Poll::Ready(None);
        }
        waiting.poll_receive(
            context,
            |message| Poll::Ready(Some(Ok(message))),
            |received| unusual(received.map_err(RecvError::from), is_over),
        )
    }
}

/// Makes an item of what a receive has come to. Notes if the stream ends with it.
#[cold]
#[inline(never)]
fn unusual<T>(
    received: Poll<Result<T, RecvError>>,
    is_over: &mut bool,
) -> Poll<Option<Result<T, RecvError>>> {
    let item = ready!(received);
    *is_over = matches!(
        item,
        Err(RecvError::Closed | RecvError::Corrupt { .. } | RecvError::Forked)
    );
    Poll::Ready(if matches!(item, Err(RecvError::Closed)) {
        None
    } else {
        Some(item)
    })
}

impl<T, C: Codec<T>> FusedStream for RecvStream<'_, T, C> {
    fn is_terminated(&self) -> bool {
        self.is_over
    }
}

impl<T, C: Codec<T>> fmt::Debug for RecvStream<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream")
            .field("receiver", self.waiting.end())
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
