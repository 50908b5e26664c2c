//! Receiving many messages at once.

use super::attachment::Entered;
use super::batches::Claim;
use super::failure::{Failure, RecvFailure};
use super::held_block::HeldBlock;
use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
use super::receiver::Receiver;
use super::taken::TakenMessage;
use crate::codec::Codec;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::protocol::SharedState;
use crate::protocol::steps::receive::{self, Receive};
use core::time::Duration;
use std::time::Instant;

/// What one look at the queue has found.
enum Found<'a> {
    Message(TakenMessage<'a>),
    /// A batch that has just been taken.
    Batch(HeldBlock<'a>),
    /// The rest of a batch that this receiver has taken before.
    Claim(Claim<'a>),
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Receives up to `max` messages and appends them to `into`. Blocks until there is one, and takes those after it
    /// that there are without waiting. Returns how many it received: at least one, unless `max` is 0.
    ///
    /// All of them are acknowledged, as by [`recv`](Receiver::recv), whether they were sent by `send` or by
    /// [`send_many`](crate::Sender::send_many).
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`recv`](Receiver::recv); `into` is unchanged. A message that cannot be decoded becomes a
    /// dead letter. If it comes after others, this call returns those, and the next receive returns the error.
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
        Ok(self.recv_many_with(into, max, &Unbounded)?)
    }

    /// Receives up to `max` messages, as [`recv_many`](Receiver::recv_many) does, if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: there is none, or as for `recv_many`.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = workring::channel::<u32>(8)?;
    /// let mut messages = Vec::new();
    /// assert!(rx.try_recv_many(&mut messages, 10).unwrap_err().is_empty());
    /// tx.send_many(0..5)?;
    /// assert_eq!(rx.try_recv_many(&mut messages, 10)?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv_many(&self, into: &mut Vec<T>, max: usize) -> Result<usize, TryRecvError> {
        Ok(self.recv_many_with(into, max, &NonBlocking)?)
    }

    /// Receives up to `max` messages, as [`recv_many`](Receiver::recv_many) does. Blocks for the first one for at most
    /// `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time limit has passed, or as for `recv_many`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = workring::channel::<u32>(8)?;
    /// let late = rx.recv_many_timeout(&mut Vec::new(), 10, Duration::from_millis(1));
    /// assert!(late.unwrap_err().is_timeout());
    /// # drop(tx);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_many_timeout(
        &self,
        into: &mut Vec<T>,
        max: usize,
        timeout: Duration,
    ) -> Result<usize, RecvTimeoutError> {
        Ok(self.recv_many_with(into, max, &Deadline::after(timeout))?)
    }

    /// Receives up to `max` messages, as [`recv_many`](Receiver::recv_many) does. Blocks for the first one until
    /// `deadline` at most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the deadline has passed, or as for `recv_many`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (tx, rx) = workring::channel::<u32>(8)?;
    /// tx.send_many(0..5)?;
    /// let (mut messages, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(1));
    /// assert_eq!(rx.recv_many_deadline(&mut messages, 10, deadline)?, 5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_many_deadline(
        &self,
        into: &mut Vec<T>,
        max: usize,
        deadline: Instant,
    ) -> Result<usize, RecvTimeoutError> {
        Ok(self.recv_many_with(into, max, &Deadline::at(deadline))?)
    }

    pub(super) fn recv_many_with<P: WaitPolicy>(
        &self,
        into: &mut Vec<T>,
        max: usize,
        policy: &P,
    ) -> Result<usize, Failure<P::Error, RecvFailure>> {
        let queue = self.handle.begin().map_err(RecvFailure::from)?;
        if max == 0 {
            return Ok(0);
        }
        let before = into.len();
        let first = match self.look(queue)? {
            Some(found) => found,
            None => self.wait_for_messages(queue, || self.look(queue), policy)?,
        };
        let mut result = self.decode(first, into, max);
        while result.is_ok() && into.len() - before < max {
            result = match self.look_for_more() {
                Ok(Some(found)) => self.decode(found, into, max - (into.len() - before)),
                Ok(None) => break,
                Err(failure) => Err(failure),
            };
        }
        let count = into.len() - before;
        match result {
            Err(failure) if count == 0 => return Err(failure.into()),
            Err(RecvFailure::Decode(error)) => self.batches.postpone(error),
            // The next receive meets any other failure, too.
            Err(_) | Ok(()) => {}
        }
        Ok(count)
    }

    /// Looks for messages after the first ones. Finds none in a queue that is closed and drained, without a look: that
    /// would end the queue for all receivers, which must not happen while this call has messages to return.
    fn look_for_more(&self) -> Result<Option<Found<'_>>, RecvFailure> {
        // The codec may have forked (ATTACH-4).
        let queue = self.handle.enter()?;
        if !queue.segment().lifecycle().load().is_open() && self.has_nothing() {
            return Ok(None);
        }
        self.look(queue)
    }

    /// Looks once for messages: in the batches that are here, then in the queue.
    fn look<'a>(&'a self, queue: Entered<'a>) -> Result<Option<Found<'a>>, RecvFailure> {
        if self.batches.any()
            && let Some(claim) = self.batches.claim(queue)?
        {
            return Ok(Some(Found::Claim(claim)));
        }
        match receive::receive(queue.segment(), queue.view(), queue.peer())? {
            Receive::Message(block) => {
                let held = HeldBlock::new(queue, block);
                Ok(Some(if held.is_batch() {
                    Found::Batch(held)
                } else {
                    Found::Message(TakenMessage::Block(held))
                }))
            }
            Receive::Empty => Ok(None),
            Receive::Closed => Ok(self
                .batches
                .at_the_end(queue)?
                .map(|message| Found::Message(TakenMessage::Batched(message)))),
        }
    }

    fn decode(&self, found: Found<'_>, into: &mut Vec<T>, max: usize) -> Result<(), RecvFailure> {
        match found {
            Found::Message(taken) => {
                into.push(taken.receive::<T, C>()?);
                Ok(())
            }
            Found::Batch(held) => {
                let attachment = &self.handle.attachment;
                self.batches
                    .decode_fresh::<T, C>(attachment, held, into, max)
            }
            Found::Claim(claim) => claim.decode_into::<T, C>(into, max),
        }
    }
}
