//! Receiving many messages at once.

use super::batches::Claim;
use super::lease::{Held, Taken};
use super::receiver::{Receiver, Refusal};
use super::wait::{Deadline, Failure, NonBlocking, Unbounded, WaitPolicy};
use crate::codec::Codec;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::protocol::SharedState;
use crate::protocol::steps::receive::{self, Receive};
use core::time::Duration;

/// What one look at the queue gives.
enum Found<'a> {
    Block(Held<'a>),
    Batch(Held<'a>),
    Claim(Claim<'a>),
    Part(Taken<'a>),
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Receive messages, at the most `max`, and append them to `into`: wait for the first, and take those after it
    /// that are there without waiting. How many there were, at least one (unless `max` is 0).
    ///
    /// All of them are acknowledged, as by [`recv`](Receiver::recv), whether they were sent by `send` or by
    /// [`send_many`](crate::Sender::send_many).
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`recv`](Receiver::recv); `into` is unchanged. A message that can't be decoded is a
    /// dead letter; if it comes after others, these are given, and the error comes with the next receive.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = workring::channel::<u32>(8)?;
    /// tx.send_many(0..5)?;
    /// tx.send(5)?;
    /// let mut messages = Vec::new();
    /// assert_eq!(rx.recv_many(&mut messages, 3)?, 3);
    /// assert_eq!(rx.recv_many(&mut messages, 100)?, 3);
    /// assert_eq!(messages, [0, 1, 2, 3, 4, 5]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_many(&self, into: &mut Vec<T>, max: usize) -> Result<usize, RecvError> {
        Ok(self.receive_many(into, max, &Unbounded)?)
    }

    /// As [`recv_many`](Receiver::recv_many), if there is a message now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: there is none, or as for `recv_many`.
    pub fn try_recv_many(&self, into: &mut Vec<T>, max: usize) -> Result<usize, TryRecvError> {
        Ok(self.receive_many(into, max, &NonBlocking)?)
    }

    /// As [`recv_many`](Receiver::recv_many); wait for the first message for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time is up, or as for `recv_many`.
    pub fn recv_many_timeout(
        &self,
        into: &mut Vec<T>,
        max: usize,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        Ok(self.receive_many(into, max, &Deadline::after(timeout))?)
    }

    fn receive_many<P: WaitPolicy>(
        &self,
        into: &mut Vec<T>,
        max: usize,
        patience: &P,
    ) -> Result<usize, Failure<P::Stop, Refusal>> {
        if self.handle.is_forked_child() {
            return Err(Refusal::Forked.into());
        }
        if max == 0 {
            return Ok(0);
        }
        self.handle.count_operation();
        let before = into.len();
        let first = match self.look()? {
            Some(found) => found,
            None => self.wait_for_messages(|| self.look(), patience)?,
        };
        let mut refused = self.decode(first, into, max);
        while refused.is_ok() && into.len() - before < max && !self.is_drained() {
            refused = match self.look() {
                Ok(Some(found)) => self.decode(found, into, max - (into.len() - before)),
                Ok(None) => break,
                Err(refusal) => Err(refusal),
            };
        }
        let count = into.len() - before;
        match refused {
            Err(refusal) if count == 0 => return Err(refusal.into()),
            Err(Refusal::Decode(error)) => self.batches.postpone(error),
            // Whatever else it is, the next receive meets it again.
            Err(_) | Ok(()) => {}
        }
        Ok(count)
    }

    /// To ask a queue that is closed and drained for more is to hear that it has ended, which is then so for all:
    /// not while this call has messages to give.
    fn is_drained(&self) -> bool {
        !self
            .handle
            .attachment
            .segment()
            .lifecycle()
            .load()
            .is_open()
            && self.has_nothing()
    }

    /// One look: at the batches that are here, then into the queue.
    fn look(&self) -> Result<Option<Found<'_>>, Refusal> {
        let attachment = &self.handle.attachment;
        let segment = attachment.segment();
        if self.batches.any()
            && let Some(claim) = self.batches.claim(segment)?
        {
            return Ok(Some(Found::Claim(claim)));
        }
        match receive::receive(segment, attachment.row())? {
            Receive::Message(block) => {
                let held = Held::new(attachment, block);
                Ok(Some(if held.is_batch() {
                    Found::Batch(held)
                } else {
                    Found::Block(held)
                }))
            }
            Receive::Empty => Ok(None),
            Receive::Closed => Ok(self
                .batches
                .at_the_end(attachment)?
                .map(|part| Found::Part(Taken::Part(part)))),
        }
    }

    fn decode(&self, found: Found<'_>, into: &mut Vec<T>, max: usize) -> Result<(), Refusal> {
        let taken = match found {
            Found::Batch(held) => {
                let attachment = &self.handle.attachment;
                return self
                    .batches
                    .decode_fresh::<T, C>(attachment, held, into, max);
            }
            Found::Claim(claim) => return claim.decode_into::<T, C>(into, max),
            Found::Block(held) => Taken::Block(held),
            Found::Part(taken) => taken,
        };
        into.push(Self::open_taken(taken)?);
        Ok(())
    }
}
