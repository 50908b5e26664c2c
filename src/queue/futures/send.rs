//! Sending one message.

use super::super::sender::{Sender, SmallSend};
use super::waiting::Waiting;
use crate::codec::{Bincode, Codec};
use crate::error::SendError;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Sends a message. Returned by [`Sender::send_async`].
///
/// Dropping it before it has completed drops the message, which is not sent.
///
/// # Panics
///
/// If it is polled after it has completed.
#[must_use = "futures do nothing unless polled"]
pub struct SendFuture<'a, T, C: Codec<T> = Bincode> {
    waiting: Waiting<'a, Sender<T, C>>,
    /// `None` once this has completed.
    message: Option<T>,
}

/// Nothing in it is ever pinned.
impl<T, C: Codec<T>> Unpin for SendFuture<'_, T, C> {}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Sends a message. The future completes when the queue has accepted it: it waits while the queue is full, or has no
    /// free block for a message of this size. Needs the feature `async`.
    ///
    /// The guarantees of [`send`](Sender::send) apply. Dropping the future before it has completed drops the message,
    /// which is not sent. The message is encoded when the future is polled, and again when there is room.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message, as for [`send`](Sender::send).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (tx, rx) = workring::channel::<u32>(1)?;
    /// tx.send_async(1).await?;
    /// let second = tokio::spawn(async move { tx.send_async(2).await }); // waits for room
    /// assert_eq!(rx.recv_async().await?, 1);
    /// assert_eq!(rx.recv_async().await?, 2);
    /// second.await??;
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn send_async(&self, message: T) -> SendFuture<'_, T, C> {
        SendFuture {
            waiting: Waiting::borrowed(self),
            message: Some(message),
        }
    }
}

/// Polls the sending of the message that is there. Takes it back if it was not sent.
#[inline(always)]
pub(super) fn poll_send<T, C: Codec<T>>(
    waiting: &mut Waiting<'_, Sender<T, C>>,
    message: &mut Option<T>,
    context: &Context<'_>,
) -> Poll<Result<(), SendError<T>>> {
    let Some(value) = message else {
        return Poll::Ready(Ok(()));
    };
    let mut first = None;
    if waiting.is_first() {
        // Not part of the caller's code, where it would find too few free registers.
        match waiting.end().send_at_once(value) {
            SmallSend::Accepted => {
                *message = None;
                return Poll::Ready(Ok(()));
            }
            other => first = Some(other),
        }
    }
    poll_send_again(waiting, message, first, context)
}

/// Continues [`poll_send`] after a first attempt that has not succeeded, if there was one.
#[cold]
#[inline(never)]
fn poll_send_again<T, C: Codec<T>>(
    waiting: &mut Waiting<'_, Sender<T, C>>,
    message: &mut Option<T>,
    mut first: Option<SmallSend>,
    context: &Context<'_>,
) -> Poll<Result<(), SendError<T>>> {
    let Some(value) = message else {
        return Poll::Ready(Ok(()));
    };
    let sent = waiting.poll(context, |sender, policy| match first.take() {
        Some(attempt) => sender.send_after::<T, C, _>(attempt, value, policy),
        None => sender.send_by_reference(value, policy),
    });
    sent.map(|sent| match (sent, message.take()) {
        (Err(failure), Some(value)) => Err((failure, value).into()),
        (Ok(()), _) | (Err(_), None) => Ok(()),
    })
}

impl<T, C: Codec<T>> Future for SendFuture<'_, T, C> {
    type Output = Result<(), SendError<T>>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { waiting, message } = &mut *self;
        assert!(message.is_some(), "`SendFuture` polled after completion");
        poll_send(waiting, message, context)
    }
}

impl<T, C: Codec<T>> fmt::Debug for SendFuture<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendFuture")
            .field("sender", self.waiting.end())
            .field("is_complete", &self.message.is_none())
            .finish_non_exhaustive()
    }
}
