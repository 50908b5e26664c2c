//! Receiving a message as a lease.

use super::attachment::Entered;
use super::failure::{Failure, RecvFailure};
use super::lease::{Lease, LeasedMessage};
use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
use super::receiver::Receiver;
use super::taken::{DetachedMessage, TakenMessage};
use crate::codec::Codec;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::protocol::SharedState;
use crate::protocol::steps::OwnedBlock;
use crate::protocol::steps::receive::{self, Miss, Receive};
use crate::segment::ReadableBlock;
use core::time::Duration;
use std::time::Instant;

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Leases a message, without acknowledging it. Blocks until there is one, or the queue is closed and none is left.
    ///
    /// # Errors
    ///
    /// [`RecvError`]: as for [`recv`](Receiver::recv), or this process has
    /// [as many leases](crate::Options::max_leases) as it may have.
    ///
    /// # Examples
    ///
    /// See [`Lease`].
    pub fn lease(&self) -> Result<Lease<'_, T, C>, RecvError> {
        self.lease_with(&Unbounded)
    }

    /// Leases a message if there is one now: receives it without acknowledging it.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: there is none, or as for [`lease`](Receiver::lease).
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// assert!(rx.try_lease().unwrap_err().is_empty());
    /// tx.send(1)?;
    /// assert_eq!(rx.try_lease()?.ack(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_lease(&self) -> Result<Lease<'_, T, C>, TryRecvError> {
        self.lease_with(&NonBlocking)
    }

    /// Leases a message: receives it without acknowledging it. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time limit has passed, or as for [`lease`](Receiver::lease).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// tx.send(1)?;
    /// let lease = rx.lease_timeout(Duration::from_secs(1))?;
    /// assert!(rx.lease_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// assert_eq!(lease.ack(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_timeout(&self, timeout: Duration) -> Result<Lease<'_, T, C>, RecvTimeoutError> {
        self.lease_with(&Deadline::after(timeout))
    }

    /// Leases a message: receives it without acknowledging it. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the deadline has passed, or as for [`lease`](Receiver::lease).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// tx.send(1)?;
    /// let lease = rx.lease_deadline(Instant::now() + Duration::from_secs(1))?;
    /// assert_eq!(lease.ack(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_deadline(&self, deadline: Instant) -> Result<Lease<'_, T, C>, RecvTimeoutError> {
        self.lease_with(&Deadline::at(deadline))
    }

    #[inline(always)]
    pub(super) fn lease_with<P: WaitPolicy>(
        &self,
        policy: &P,
    ) -> Result<Lease<'_, T, C>, P::RecvError> {
        match self.lease_message(policy) {
            Ok(leased) => Lease::decode(leased),
            Err(error) => Err(error),
        }
    }

    /// Leases the usual message without decoding it: there is one, and this process may have one more lease.
    #[inline(always)]
    pub(super) fn lease_message<P: WaitPolicy>(
        &self,
        policy: &P,
    ) -> Result<LeasedMessage<'_>, P::RecvError> {
        let Ok(queue) = self.handle.begin() else {
            return Err(Failure::from(RecvFailure::Forked).into());
        };
        let missed = if self.batches.any() || !self.may_lease() {
            None
        } else {
            let words = queue.view();
            match receive::look(words) {
                Ok(found) => {
                    match receive::take_found(queue.segment(), words, queue.peer(), found) {
                        Ok(block) => match ReadableBlock::near(words, found.place(), block) {
                            Ok(block) => {
                                let attachment = &self.handle.attachment;
                                attachment.leases.add();
                                let message = DetachedMessage::Block(block);
                                return Ok(LeasedMessage::counted(attachment, message));
                            }
                            // A batch looks like a message that is too long.
                            Err((block, _)) => {
                                let message = self.lease_unusual(queue, block, policy)?;
                                return Ok(LeasedMessage::counted(
                                    &self.handle.attachment,
                                    message,
                                ));
                            }
                        },
                        Err(reason) => Some(found.missed(reason)),
                    }
                }
                Err(miss) => Some(miss),
            }
        };
        let message = self.lease_after(queue, missed, policy)?;
        Ok(LeasedMessage::counted(&self.handle.attachment, message))
    }

    /// Leases a message after a first look that has missed. `None`: there was no first look.
    #[cold]
    #[inline(never)]
    fn lease_after<P: WaitPolicy>(
        &self,
        queue: Entered<'_>,
        miss: Option<Miss>,
        policy: &P,
    ) -> Result<DetachedMessage, P::RecvError> {
        let (segment, peer) = (queue.segment(), queue.peer());
        let taken = match miss {
            // Not unusual: the message may be too long for a cell. Apart, since a `Miss` that is passed on is moved by vectors right
            // after it was written by words, and the processor waits for that.
            Some(Miss::Elsewhere(position, slot)) => {
                receive::take_elsewhere(segment, peer, position, slot)
                    .map_err(|reason| Miss::of(position, reason))
            }
            Some(miss) => self.take_after_miss(queue, miss, policy),
            None => return self.lease_waiting(queue, self.take_counted(queue), policy),
        };
        let taken = match taken {
            Ok(block) => return self.lease_block(queue, block, policy),
            Err(miss) => self.sort_after(queue, miss),
        };
        self.lease_waiting(queue, self.count_if_any(taken), policy)
    }

    /// Leases the message in a block that was taken. This process may have one more lease.
    #[inline(always)]
    fn lease_block<P: WaitPolicy>(
        &self,
        queue: Entered<'_>,
        block: OwnedBlock,
        policy: &P,
    ) -> Result<DetachedMessage, P::RecvError> {
        match ReadableBlock::new(queue.view(), block) {
            Ok(block) => {
                self.handle.attachment.leases.add();
                Ok(DetachedMessage::Block(block))
            }
            // A batch looks like a message that is too long.
            Err((block, _)) => self.lease_unusual(queue, block, policy),
        }
    }

    /// Leases a message from a block whose bytes are not simply a message.
    #[cold]
    #[inline(never)]
    fn lease_unusual<P: WaitPolicy>(
        &self,
        queue: Entered<'_>,
        block: OwnedBlock,
        policy: &P,
    ) -> Result<DetachedMessage, P::RecvError> {
        let taken = self.sort(queue, Receive::Message(block));
        self.lease_waiting(queue, self.count_if_any(taken), policy)
    }

    /// Makes the lease of a message that was taken and counted. Waits for one if there is none.
    fn lease_waiting<P: WaitPolicy>(
        &self,
        queue: Entered<'_>,
        taken: Result<Option<DetachedMessage>, RecvFailure>,
        policy: &P,
    ) -> Result<DetachedMessage, P::RecvError> {
        match taken {
            Ok(Some(message)) => Ok(message),
            Ok(None) => Ok(self.wait_for_messages(queue, || self.take_counted(queue), policy)?),
            Err(failure) => Err(Failure::Operation(failure).into()),
        }
    }

    /// Looks once for a message, as [`take_one`](Self::take_one) does, if this process may have one more lease.
    pub(super) fn lease_one(
        &self,
        queue: Entered<'_>,
    ) -> Result<Option<LeasedMessage<'_>>, RecvFailure> {
        let taken = self.take_counted(queue)?;
        Ok(taken.map(|taken| LeasedMessage::counted(&self.handle.attachment, taken)))
    }

    /// Looks once for a message, and holds it as a lease, whether or not this process may have one more.
    pub(super) fn hold_one(
        &self,
        queue: Entered<'_>,
    ) -> Result<Option<LeasedMessage<'_>>, RecvFailure> {
        let taken = self.take_one(queue)?.map(|taken| self.count(taken));
        Ok(taken
            .transpose()?
            .map(|taken| LeasedMessage::counted(&self.handle.attachment, taken)))
    }

    fn take_counted(&self, queue: Entered<'_>) -> Result<Option<DetachedMessage>, RecvFailure> {
        if !self.may_lease() {
            return Err(self.too_many_leases(queue));
        }
        self.count_if_any(self.take_one(queue))
    }

    fn count_if_any(
        &self,
        taken: Result<Option<TakenMessage<'_>>, RecvFailure>,
    ) -> Result<Option<DetachedMessage>, RecvFailure> {
        taken?.map(|taken| self.count(taken)).transpose()
    }

    fn count(&self, taken: TakenMessage<'_>) -> Result<DetachedMessage, RecvFailure> {
        let message = taken.detach()?;
        self.handle.attachment.leases.add();
        Ok(message)
    }

    /// Returns whether this process may have one more lease.
    #[inline(always)]
    fn may_lease(&self) -> bool {
        self.handle.attachment.leases.has_room()
    }

    #[cold]
    fn too_many_leases(&self, queue: Entered<'_>) -> RecvFailure {
        let segment = queue.segment();
        if segment.lifecycle().load().has_ended() {
            match self.batches.try_close(queue) {
                Ok(true) => return RecvFailure::Closed,
                Ok(false) => {}
                Err(corrupt) => return corrupt.into(),
            }
        }
        // A wake that this wait may have received is for a thread that can take the message (PARK-4).
        segment.items().pass_on_wake(|word| segment.wake(word, 1));
        RecvFailure::TooManyLeases {
            max: segment.settings().max_leases as usize,
        }
    }
}
