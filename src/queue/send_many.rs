//! Sending many messages at once, batched into as few blocks as they need.

use super::attachment::Entered;
use super::block_writer::BlockWriter;
use super::encoded_batch::EncodedBatch;
use super::failure::{Failure, SendFailure};
use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
use super::sender::Sender;
use crate::codec::Codec;
use crate::error::{SendManyError, SendManyTimeoutError, TrySendManyError, Unsent};
use crate::protocol::Corrupt;
use crate::segment::geometry::COMMITTED_CLASSES;
use core::time::Duration;
use std::time::Instant;

impl<T, C: Codec<T>> Sender<T, C> {
    /// Sends all messages of an iterator, in batches, and returns their number. Blocks while the queue is full.
    ///
    /// The messages are accepted in order; messages of other senders may come in between. Messages of up to 1 KiB are
    /// *batched*, up to 64 into one block, so that many small ones cost little more than one: they need one place in
    /// the queue's [capacity](Sender::capacity), one block of memory, and one wake of a receiver. A receiver that takes
    /// messages one by one sees one difference: **a batch goes to one receiver**, which keeps the messages that it has
    /// not handed out yet for its own next calls. So send work that takes long, and that several receivers should
    /// share, in small batches or one by one. When that receiver is dropped, the messages that it has not handed out
    /// return to the queue.
    ///
    /// Each message of a batch is acknowledged, leased and returned by itself, and its deliveries are counted by
    /// itself. But a returned one is handed out again only when all others of its batch that were handed out are
    /// settled, and none is left to be handed out.
    ///
    /// An accepted message is never lost, as with [`send`](Sender::send).
    ///
    /// # Errors
    ///
    /// [`SendManyError`]: how many messages were accepted; why the next one was not, as for [`send`](Sender::send); and
    /// all messages that were not sent. The queue may close, and an [`Interrupter`](crate::queue::Interrupter) may end
    /// the wait, between any two batches.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = workring::channel::<u32>(8)?;
    /// assert_eq!(tx.send_many(0..100)?, 100);
    /// tx.close();
    /// assert_eq!(rx.recv()?, 0);
    /// let mut more = Vec::new();
    /// rx.recv_many(&mut more, 1000)?;
    /// assert_eq!(more, (1..100).collect::<Vec<_>>());
    ///
    /// let refused = tx.send_many([7, 8, 9]).unwrap_err();
    /// assert_eq!(refused.accepted, 0);
    /// assert_eq!(refused.into_unsent().collect::<Vec<_>>(), [7, 8, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_many<I: IntoIterator<Item = T>>(
        &self,
        messages: I,
    ) -> Result<usize, SendManyError<I::IntoIter>> {
        self.send_many_with(messages.into_iter(), &Unbounded)
    }

    /// Sends as many of these messages as is possible without waiting. See [`send_many`](Sender::send_many) for the
    /// rest.
    ///
    /// # Errors
    ///
    /// [`TrySendManyError`]: how many messages were accepted, that the queue is full or as for `send_many`, and the
    /// messages that were not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = workring::channel::<u32>(1)?;
    /// let refused = tx.try_send_many(0..100).unwrap_err(); // 64 fit a batch, and one batch fits the queue
    /// assert!(refused.is_full() && refused.accepted == 64);
    /// rx.recv_many(&mut Vec::new(), 64)?;
    /// assert_eq!(tx.try_send_many(refused.into_unsent()).unwrap(), 36);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_send_many<I: IntoIterator<Item = T>>(
        &self,
        messages: I,
    ) -> Result<usize, TrySendManyError<I::IntoIter>> {
        self.send_many_with(messages.into_iter(), &NonBlocking)
    }

    /// Sends all messages, as [`send_many`](Sender::send_many) does. Blocks for at most `timeout` in all.
    ///
    /// # Errors
    ///
    /// [`SendManyTimeoutError`]: how many messages were accepted, that the time limit has passed or as for `send_many`,
    /// and the messages that were not sent.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, _rx) = workring::channel::<u32>(1)?;
    /// let refused = tx.send_many_timeout(0..100, Duration::from_millis(1)).unwrap_err();
    /// assert!(refused.is_timeout() && refused.accepted == 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_many_timeout<I: IntoIterator<Item = T>>(
        &self,
        messages: I,
        timeout: Duration,
    ) -> Result<usize, SendManyTimeoutError<I::IntoIter>> {
        self.send_many_with(messages.into_iter(), &Deadline::after(timeout))
    }

    /// Sends all messages, as [`send_many`](Sender::send_many) does. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`SendManyTimeoutError`], as for [`send_many_timeout`](Sender::send_many_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (tx, _rx) = workring::channel::<u32>(4)?;
    /// assert_eq!(tx.send_many_deadline(0..100, Instant::now() + Duration::from_secs(1))?, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_many_deadline<I: IntoIterator<Item = T>>(
        &self,
        messages: I,
        deadline: Instant,
    ) -> Result<usize, SendManyTimeoutError<I::IntoIter>> {
        self.send_many_with(messages.into_iter(), &Deadline::at(deadline))
    }

    fn send_many_with<I: Iterator<Item = T>, P: WaitPolicy>(
        &self,
        mut source: I,
        policy: &P,
    ) -> Result<usize, SendManyError<I, P::SendError<T>>> {
        let mut batch = EncodedBatch::new(self.scratch.lock().take());
        let mut accepted = 0;
        let failure = loop {
            self.handle.count_operation();
            batch.fill::<C>(&mut source);
            let Some(first) = batch.messages().first() else {
                break None;
            };
            match self.send_first(first, &batch, policy) {
                Ok(count) => {
                    batch.remove_sent(count);
                    accepted += count;
                }
                Err(failure) => break Some(failure),
            }
        };
        let (messages, scratch) = batch.into_parts();
        *self.scratch.lock() = Some(scratch);
        let mut unsent = messages.into_iter();
        match failure.zip(unsent.next()) {
            Some(refused) => Err(SendManyError {
                accepted,
                error: refused.into(),
                rest: Unsent::new(unsent, source),
            }),
            None => Ok(accepted),
        }
    }

    /// Sends as many of the messages as one block holds, at least the first one. Returns how many.
    pub(super) fn send_first<P: WaitPolicy>(
        &self,
        first: &T,
        batch: &EncodedBatch<T>,
        policy: &P,
    ) -> Result<usize, Failure<P::Error, SendFailure>> {
        let queue = self.handle.enter().map_err(SendFailure::from)?;
        if let Some((writer, count)) = self.offer_batch(queue, batch)? {
            self.publish(writer, policy)?;
            return Ok(count);
        }
        self.send_by_reference(first, policy).map(|()| 1)
    }

    /// Returns a block with as many of the encoded messages as it holds, offered, and their number. Returns `None` if
    /// the first message must be sent alone: the second cannot be batched with it, or no block for a batch is free.
    fn offer_batch<'a>(
        &self,
        queue: Entered<'a>,
        batch: &EncodedBatch<T>,
    ) -> Result<Option<(BlockWriter<'a>, usize)>, SendFailure> {
        if batch.encoded() < 2 {
            return Ok(None);
        }
        let classes = &queue.segment().geometry().classes;
        // Blocks of the smallest class hold no batches, and huge ones are not used for them.
        let end = classes.len().min(COMMITTED_CLASSES);
        let mut usable = classes.iter().take(end).skip(1);
        let length = batch.length();
        let fitting = usable.position(|class| length <= class.payload);
        let largest = fitting.map_or(end - 1, |fitting| fitting + 1);
        for class in (1..=largest).rev() {
            let among = class..end.min(class + 2);
            // Without it, the batch is divided.
            queue.segment().commit_class_if_possible(class);
            let Some(mut writer) = self.allocator.block_among(queue, among) else {
                continue;
            };
            let (count, bytes) = batch.prefix(writer.payload()?.len());
            if count < 2 {
                return Ok(None);
            }
            writer.begin_batch(count)?;
            let length = batch
                .write(writer.payload()?, count, bytes)
                .ok_or(Corrupt::TooLong)?;
            writer.offer_batch(length)?;
            return Ok(Some((writer, count)));
        }
        Ok(None)
    }
}
