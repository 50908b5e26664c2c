//! A sink of messages.

use super::super::sender::Sender;
use super::send::poll_send;
use super::waiting::{Owner, Waiting};
use crate::codec::{Bincode, Codec};
use crate::error::SendError;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_sink::Sink;

/// A sender as a [`Sink`]. Returned by [`Sender::sink`], which borrows the sender, and by [`Sender::into_sink`].
///
/// It holds at most one message that the queue has not accepted: flushing the sink waits until it has. Dropping the sink
/// drops that message. Closing the sink flushes it and leaves the queue open, which closes with its last sender.
///
/// A message that cannot be sent is in the error.
#[must_use = "sinks do nothing unless polled"]
pub struct SendSink<'a, T, C: Codec<T> = Bincode> {
    waiting: Waiting<'a, Sender<T, C>>,
    message: Option<T>,
}

/// Nothing in it is ever pinned.
impl<T, C: Codec<T>> Unpin for SendSink<'_, T, C> {}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Returns a sink that sends messages with this sender. Needs the feature `async`.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures::{StreamExt, stream};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let sending = stream::iter(0..100).map(Ok).forward(tx.into_sink());
    /// let (sent, count) = tokio::join!(sending, rx.stream().count());
    /// sent?;
    /// assert_eq!(count, 100);
    /// # Ok(())
    /// # }
    /// ```
    pub fn sink(&self) -> SendSink<'_, T, C> {
        SendSink {
            waiting: Waiting::borrowed(self),
            message: None,
        }
    }

    /// Does the same as [`sink`](Sender::sink), and owns the sender. Needs the feature `async`.
    ///
    /// # Examples
    ///
    /// See [`sink`](Sender::sink).
    pub fn into_sink(self) -> SendSink<'static, T, C> {
        SendSink {
            waiting: Waiting::new(Owner::Owned(Box::new(self))),
            message: None,
        }
    }
}

impl<T, C: Codec<T>> SendSink<'_, T, C> {
    #[inline]
    fn poll_message(&mut self, context: &Context<'_>) -> Poll<Result<(), SendError<T>>> {
        poll_send(&mut self.waiting, &mut self.message, context)
    }
}

impl<T, C: Codec<T>> Sink<T> for SendSink<'_, T, C> {
    type Error = SendError<T>;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        self.poll_message(context)
    }

    /// Keeps the message, which the next poll sends.
    ///
    /// # Panics
    ///
    /// If `poll_ready` has not returned `Ready` before.
    fn start_send(mut self: Pin<&mut Self>, message: T) -> Result<(), SendError<T>> {
        assert!(self.message.is_none(), "`start_send` without `poll_ready`");
        self.message = Some(message);
        Ok(())
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        self.poll_message(context)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<T>>> {
        self.poll_message(context)
    }
}

impl<T, C: Codec<T>> fmt::Debug for SendSink<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendSink")
            .field("sender", self.waiting.end())
            .field("holds_message", &self.message.is_some())
            .finish_non_exhaustive()
    }
}
