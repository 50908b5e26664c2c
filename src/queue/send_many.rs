//! Sending many messages at once, batched into as few blocks as they need.

use super::sender::{BlockWriter, Refusal, Sender};
use super::wait::{
    Deadline, Failure, Interrupted, NonBlocking, Reason, Unbounded, WaitPolicy, WouldBlock,
};
use crate::codec::Codec;
use crate::error::{
    SendError, SendManyError, SendManyTimeoutError, SendTimeoutError, TrySendError,
    TrySendManyError, Unsent,
};
use crate::protocol::Corrupt;
use crate::protocol::batch::MAX_BATCH;
use crate::segment::batch_layout;
use crate::segment::geometry::COMMITTED_CLASSES;
use core::time::Duration;

/// The largest message that is batched, in bytes. What a larger one costs is its bytes, not the queue's words, and
/// batches should not keep much work in one receiver's hands.
const LARGEST: usize = 1024;

/// Room for the messages of a batch, each of at most [`LARGEST`] bytes.
type Scratch = Box<[u8]>;

/// Messages that are to be sent next, the first ones encoded.
struct Batching<T> {
    /// In order. The first `encoded` of them are encoded.
    messages: Vec<T>,
    encoded: usize,
    /// How long those are, and whether they are all equally long.
    lengths: [u32; MAX_BATCH],
    equal: bool,
    /// The encoded messages, each padded; as much as is `used`.
    bytes: Scratch,
    used: usize,
}

/// Why sending many ended early.
struct Ended<I: Iterator, S> {
    accepted: usize,
    /// Not sent; the first of them is the one that was refused.
    messages: Vec<I::Item>,
    rest: I,
    failure: Failure<S, Refusal>,
}

impl<T> Batching<T> {
    fn new(scratch: Option<Scratch>) -> Self {
        Self {
            messages: Vec::with_capacity(MAX_BATCH),
            encoded: 0,
            lengths: [0; MAX_BATCH],
            equal: false,
            bytes: scratch.unwrap_or_else(|| vec![0; MAX_BATCH * LARGEST].into()),
            used: 0,
        }
    }

    /// Take messages and encode them, until there are enough for a batch, no more come, or one has to go alone.
    #[inline(always)]
    fn fill<C: Codec<T>>(&mut self, source: &mut impl Iterator<Item = T>) {
        self.messages
            .extend(source.take(MAX_BATCH - self.messages.len()));
        // Nothing is encoded yet. Counted in registers: in memory, each message would wait for the one before.
        let (mut used, mut encoded) = (0, 0);
        let bytes = &mut *self.bytes;
        for (message, noted) in self.messages.iter().zip(&mut self.lengths) {
            let Some(room) = bytes.get_mut(used..used + LARGEST) else {
                break;
            };
            // Whatever is the matter with a message is found out when it is sent alone.
            match C::encode(message, room).map(u32::try_from) {
                Ok(Ok(length)) if length as usize <= LARGEST => {
                    *noted = length;
                    used += batch_layout::padded(length as usize);
                }
                _ => break,
            }
            encoded += 1;
        }
        (self.used, self.encoded) = (used, encoded);
        let [first, ..] = self.lengths;
        // Without a way out in between, which is faster.
        let differences = (self.lengths().iter()).fold(0, |sum, length| sum | (length ^ first));
        self.equal = differences == 0;
    }

    /// How long the encoded messages are.
    fn lengths(&self) -> &[u32] {
        self.lengths.get(..self.encoded).unwrap_or_default()
    }

    /// How many of the encoded messages fit a payload of `room` bytes, and how many bytes they take up.
    fn prefix(&self, room: usize) -> (usize, usize) {
        if batch_layout::length(self.encoded, self.equal, self.used) <= room {
            return (self.encoded, self.used);
        }
        let mut bytes = 0;
        for (count, length) in self.lengths().iter().enumerate() {
            let more = bytes + batch_layout::padded(*length as usize);
            if batch_layout::length(count + 1, self.equal, more) > room {
                return (count, bytes);
            }
            bytes = more;
        }
        (self.lengths.len(), bytes)
    }

    /// The first `count` messages are accepted.
    fn sent(&mut self, count: usize) {
        // What is left is encoded again: there is hardly ever anything.
        self.messages.drain(..count);
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Send many messages; wait while the queue is full. How many there were: all.
    ///
    /// They are accepted in order, and other senders' messages may come in between. Messages of up to 1 KiB are
    /// *batched*, up to 64 into one entry of the queue, so that many small ones cost little more than one: one place
    /// in the queue's [capacity](Sender::capacity), one block of memory, one wake of a receiver. A receiver that
    /// takes messages one by one does not see the difference, but for this: **a batch goes to one receiver**, which
    /// keeps what it has not handed out yet for its own next calls. So send in small batches, or one by one, what
    /// takes long to work on and is to be shared. When that receiver is dropped, the messages that it has not
    /// handed out go back to the queue.
    ///
    /// Each message of a batch is acknowledged, leased and returned by itself, and has its own attempts. But a
    /// returned one is handed out again only when all others of its batch that were handed out have been settled, and
    /// none is left to be handed out.
    ///
    /// A message that is accepted is never lost, as with [`send`](Sender::send).
    ///
    /// # Errors
    ///
    /// [`SendManyError`]: how many were accepted; what is the matter with the one after them, as for
    /// [`send`](Sender::send); and all others that were not sent. The queue may close, and an
    /// [`Interrupter`](crate::queue::Interrupter) may end the wait, between any two batches.
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
        self.send_all(messages.into_iter(), &Unbounded)
            .map_err(|ended| {
                ended.into_error(|failure, value| match failure {
                    Failure::Stopped(Interrupted) => SendError::Interrupted(value),
                    Failure::Refused(refusal) => refusal.into_send(value),
                })
            })
    }

    /// Send as many of these messages as is possible without waiting; otherwise as
    /// [`send_many`](Sender::send_many).
    ///
    /// # Errors
    ///
    /// [`TrySendManyError`]: how many were accepted, that the queue is full or as for `send_many`, and the messages
    /// that were not sent.
    pub fn try_send_many<I: IntoIterator<Item = T>>(
        &self,
        messages: I,
    ) -> Result<usize, TrySendManyError<I::IntoIter>> {
        self.send_all(messages.into_iter(), &NonBlocking)
            .map_err(|ended| {
                ended.into_error(|failure, value| match failure {
                    Failure::Stopped(WouldBlock) => TrySendError::Full(value),
                    Failure::Refused(refusal) => refusal.into_try_send(value),
                })
            })
    }

    /// As [`send_many`](Sender::send_many), for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`SendManyTimeoutError`]: how many were accepted, that the time is up or as for `send_many`, and the messages
    /// that were not sent.
    pub fn send_many_timeout<I: IntoIterator<Item = T>>(
        &self,
        messages: I,
        timeout: Duration,
    ) -> Result<usize, SendManyTimeoutError<I::IntoIter>> {
        self.send_all(messages.into_iter(), &Deadline::after(timeout))
            .map_err(|ended| {
                ended.into_error(|failure, value| match failure {
                    Failure::Stopped(Reason::Deadline) => SendTimeoutError::Timeout(value),
                    Failure::Stopped(Reason::Interrupted) => SendTimeoutError::Interrupted(value),
                    Failure::Refused(refusal) => refusal.into_send_timeout(value),
                })
            })
    }

    fn send_all<I: Iterator<Item = T>, P: WaitPolicy>(
        &self,
        mut source: I,
        patience: &P,
    ) -> Result<usize, Ended<I, P::Stop>> {
        let mut batching = Batching::new(self.scratch.lock().take());
        let mut accepted = 0;
        let result = loop {
            self.handle.count_look();
            batching.fill::<C>(&mut source);
            if batching.messages.is_empty() {
                break Ok(());
            }
            match self.send_first(&batching, patience) {
                Ok(count) => {
                    batching.sent(count);
                    accepted += count;
                }
                Err(failure) => break Err(failure),
            }
        };
        *self.scratch.lock() = Some(batching.bytes);
        match result {
            Ok(()) => Ok(accepted),
            Err(failure) => Err(Ended {
                accepted,
                messages: batching.messages,
                rest: source,
                failure,
            }),
        }
    }

    /// Send as many of the messages as one block takes. How many that were.
    fn send_first<P: WaitPolicy>(
        &self,
        batching: &Batching<T>,
        patience: &P,
    ) -> Result<usize, Failure<P::Stop, Refusal>> {
        if let Some((mut filling, count)) = self.batch(batching)? {
            self.publish_in_hand(&mut filling, patience)?;
            filling.accepted();
            return Ok(count);
        }
        match batching.messages.first() {
            Some(message) => self.send_with(message, patience).map(|()| 1),
            None => Ok(0),
        }
    }

    /// A block with as many of the encoded messages as it takes, and how many those are. `None`: the first message
    /// has to go alone, because the second can't be batched with it, or because no block for a batch is free.
    fn batch(&self, batching: &Batching<T>) -> Result<Option<(BlockWriter<'_>, usize)>, Refusal> {
        let segment = self.handle.attachment.segment();
        let classes = &segment.geometry().classes;
        let (all, bytes) = (batching.encoded, batching.used);
        if all < 2 {
            return Ok(None);
        }
        let length = batch_layout::length(all, batching.equal, bytes);
        // The smallest class takes no batches, and neither do huge blocks.
        let end = classes.len().min(COMMITTED_CLASSES);
        let mut takers = classes.iter().take(end).skip(1);
        let fitting = takers.position(|class| length <= class.payload);
        let largest = fitting.map_or(end - 1, |fitting| fitting + 1);
        for class in (1..=largest).rev() {
            let Some(mut filling) = self.allocate_among(class..end.min(class + 2)) else {
                continue;
            };
            let payload = filling.payload()?;
            let (count, bytes) = batching.prefix(payload.len());
            if count < 2 {
                return Ok(None);
            }
            let lengths = batching.lengths().get(..count).unwrap_or_default();
            let messages = batching.bytes.get(..bytes).unwrap_or_default();
            filling.begin_batch(count)?;
            let length = batch_layout::write(filling.payload()?, lengths, batching.equal, messages)
                .ok_or(Corrupt::TooLong)?;
            filling.complete_batch(length)?;
            return Ok(Some((filling, count)));
        }
        Ok(None)
    }
}

impl<I: Iterator, S> Ended<I, S> {
    fn into_error<E>(
        self,
        error: impl FnOnce(Failure<S, Refusal>, I::Item) -> E,
    ) -> SendManyError<I, E> {
        let mut messages = self.messages.into_iter();
        let Some(refused) = messages.next() else {
            unreachable!("only a message can be refused");
        };
        SendManyError {
            accepted: self.accepted,
            error: error(self.failure, refused),
            rest: Unsent::new(messages, self.rest),
        }
    }
}
