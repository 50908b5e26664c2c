//! Sending many messages at once, batched.

use super::super::encoded_batch::EncodedBatch;
use super::super::failure::{Failure, Interrupted, SendFailure};
use super::super::sender::Sender;
use super::waiting::Waiting;
use crate::codec::{Bincode, Codec};
use crate::error::{SendManyError, Unsent};
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

/// Sends all messages of an iterator. Returned by [`Sender::send_many_async`].
///
/// Dropping it before it has completed drops the messages that the queue has not accepted yet; those that it has accepted
/// are sent.
///
/// # Panics
///
/// If it is polled after it has completed.
#[must_use = "futures do nothing unless polled"]
pub struct SendManyFuture<'a, I: Iterator, C: Codec<I::Item> = Bincode> {
    waiting: Waiting<'a, Sender<I::Item, C>>,
    /// `None` once this has completed.
    rest: Option<Rest<I>>,
    accepted: usize,
}

/// What is still to be sent.
struct Rest<I: Iterator> {
    batch: EncodedBatch<I::Item>,
    source: I,
    /// Whether messages of `batch` are encoded that are not sent yet.
    is_filled: bool,
}

/// Nothing in it is ever pinned.
impl<I: Iterator, C: Codec<I::Item>> Unpin for SendManyFuture<'_, I, C> {}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Sends all messages of an iterator, in batches as [`send_many`](Sender::send_many) does, and returns their number. The
    /// future waits while the queue is full. Needs the feature `async`.
    ///
    /// Dropping the future before it has completed drops the messages that are not accepted yet. To find out which those
    /// are, pass an iterator by reference: what it still yields was not sent, but up to 64 messages before that may have
    /// been taken from it and dropped.
    ///
    /// # Errors
    ///
    /// [`SendManyError`], as for [`send_many`](Sender::send_many).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (tx, rx) = workring::channel::<u32>(1)?;
    /// let sending = tokio::spawn(async move { tx.send_many_async(0..1000).await });
    /// for n in 0..1000 {
    ///     assert_eq!(rx.recv_async().await?, n);
    /// }
    /// assert_eq!(sending.await??, 1000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn send_many_async<I: IntoIterator<Item = T>>(
        &self,
        messages: I,
    ) -> SendManyFuture<'_, I::IntoIter, C> {
        SendManyFuture {
            waiting: Waiting::borrowed(self),
            rest: Some(Rest {
                batch: EncodedBatch::new(self.scratch.lock().take()),
                source: messages.into_iter(),
                is_filled: false,
            }),
            accepted: 0,
        }
    }
}

impl<I: Iterator, C: Codec<I::Item>> SendManyFuture<'_, I, C> {
    /// Sends batches until all messages are sent, or one must wait. Returns why the first of the rest was refused.
    fn poll_batches(
        &mut self,
        context: &Context<'_>,
    ) -> Poll<Option<Failure<Interrupted, SendFailure>>> {
        let Some(Rest {
            batch,
            source,
            is_filled,
        }) = &mut self.rest
        else {
            return Poll::Ready(None);
        };
        loop {
            if !*is_filled {
                batch.fill::<C>(source);
                *is_filled = true;
            }
            if batch.messages().is_empty() {
                return Poll::Ready(None);
            }
            let sent = self.waiting.poll(context, |sender, policy| {
                sender.handle.count_operation();
                match batch.messages().first() {
                    Some(first) => sender.send_first(first, batch, policy),
                    None => Ok(0),
                }
            });
            match ready!(sent) {
                Ok(count) => {
                    batch.remove_sent(count);
                    self.accepted += count;
                    *is_filled = false;
                }
                Err(failure) => return Poll::Ready(Some(failure)),
            }
        }
    }
}

impl<I: Iterator, C: Codec<I::Item>> Future for SendManyFuture<'_, I, C> {
    type Output = Result<usize, SendManyError<I>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(
            self.rest.is_some(),
            "`SendManyFuture` polled after completion"
        );
        let failure = ready!(self.poll_batches(context));
        let Some(Rest { batch, source, .. }) = self.rest.take() else {
            return Poll::Ready(Ok(self.accepted));
        };
        let (messages, scratch) = batch.into_parts();
        *self.waiting.end().scratch.lock() = Some(scratch);
        let mut unsent = messages.into_iter();
        Poll::Ready(match failure.zip(unsent.next()) {
            Some(refused) => Err(SendManyError {
                accepted: self.accepted,
                error: refused.into(),
                rest: Unsent::new(unsent, source),
            }),
            None => Ok(self.accepted),
        })
    }
}

impl<I: Iterator, C: Codec<I::Item>> fmt::Debug for SendManyFuture<'_, I, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendManyFuture")
            .field("sender", self.waiting.end())
            .field("accepted", &self.accepted)
            .finish_non_exhaustive()
    }
}
