//! Sending in place: a message is written where it lies in shared memory, without a copy.

use super::attachment::Entered;
use super::block_writer::{BlockWriter, withdraw};
use super::failure::{Failure, SendFailure};
use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
use super::prepared;
use super::sender::Sender;
use crate::codec::{Codec, Raw};
use crate::error::{SendError, SendTimeoutError, TrySendError};
use crate::protocol::steps::OwnedBlock;
use crate::protocol::steps::send::{self, Attempt, Publish};
use crate::protocol::{Corrupt, Words};
use crate::segment::WritableBlock;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::time::Duration;
use std::time::Instant;

/// A buffer in shared memory for one message: fill it, then [`commit`](Reservation::commit) it. Returned by
/// [`Sender::reserve`].
///
/// Other processes see the message only when [`commit`](Reservation::commit) has accepted it. Dropping the reservation
/// before that frees the buffer. A reservation that is forgotten ([`core::mem::forget`]) keeps the buffer until the
/// last sender of this process is dropped. At first the buffer contains bytes of earlier messages. It begins at a multiple
/// of 8 bytes.
///
/// A commit that fails leaves the message in the reservation: change it, try again, or drop it. A reservation whose
/// message was sent is empty, and committing it again does nothing.
///
/// # Trust
///
/// The slice is the shared memory itself. No other process writes to it as long as all of them use this crate. But a peer
/// with a bug or with bad intent can do so at any time. So do not rely on reading back what you have written.
#[must_use = "dropping a reservation does not send it: call `commit`"]
pub struct Reservation<'a, T, C: Codec<T> = Raw> {
    sender: &'a Sender<T, C>,
    /// Spent once the message was sent.
    block: WritableBlock,
    length: usize,
    sent: bool,
}

impl<T> Sender<T, Raw>
where
    Raw: Codec<T>,
{
    /// Reserves a buffer for a message of `length` bytes, to be written in place. Blocks while no block of that size is
    /// free.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the length as its value: the queue is closed; the message would be too large; there is no
    /// memory for it (see [`send`](Sender::send)); an [`Interrupter`](crate::queue::Interrupter) ended the wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// let mut room = tx.reserve(8)?;
    /// room.copy_from_slice(b"in place");
    /// room.commit()?;
    /// assert_eq!(rx.recv()?, b"in place");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&self, length: usize) -> Result<Reservation<'_, T>, SendError<usize>> {
        self.reserve_for(length, length, &Unbounded)
    }

    /// Reserves a buffer for a message of `length` bytes if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`], with the length as its value: no block of that size is free now, or as for
    /// [`reserve`](Sender::reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::error::TrySendError;
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, _rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// match tx.try_reserve(8) {
    ///     Ok(mut room) => {
    ///         room.copy_from_slice(b"in place");
    ///         room.commit()?;
    ///     }
    ///     Err(TrySendError::Full(length)) => println!("no room for {length} bytes now"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_reserve(&self, length: usize) -> Result<Reservation<'_, T>, TrySendError<usize>> {
        self.reserve_for(length, length, &NonBlocking)
    }

    /// Reserves a buffer for a message of `length` bytes. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the length as its value: the time limit has passed, or as for
    /// [`reserve`](Sender::reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// let mut room = tx.reserve_timeout(8, Duration::from_secs(1))?;
    /// room.copy_from_slice(b"in place");
    /// room.commit()?;
    /// # drop(rx);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve_timeout(
        &self,
        length: usize,
        timeout: Duration,
    ) -> Result<Reservation<'_, T>, SendTimeoutError<usize>> {
        self.reserve_for(length, length, &Deadline::after(timeout))
    }

    /// Reserves a buffer for a message of `length` bytes. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the length as its value: the deadline has passed, or as for
    /// [`reserve`](Sender::reserve).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// let mut room = tx.reserve_deadline(8, deadline)?;
    /// room.copy_from_slice(b"in place");
    /// room.commit_deadline(deadline)?; // one limit for both
    /// # drop(rx);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve_deadline(
        &self,
        length: usize,
        deadline: Instant,
    ) -> Result<Reservation<'_, T>, SendTimeoutError<usize>> {
        self.reserve_for(length, length, &Deadline::at(deadline))
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Reserves the usual buffer: the cell at the tail, if the message fits and it is free. An error has `returned` as
    /// its value.
    #[inline(always)]
    pub(super) fn reserve_for<P: WaitPolicy, V>(
        &self,
        length: usize,
        returned: V,
        policy: &P,
    ) -> Result<Reservation<'_, T, C>, P::SendError<V>> {
        let Ok(queue) = self.handle.begin() else {
            return Err((Failure::from(SendFailure::Forked), returned).into());
        };
        self.handle.attachment.note_reservation();
        let words = queue.view();
        let is_usual = !words.lifecycle().load().is_closing() && !prepared::is_preparing();
        if length <= words.small_payload() && is_usual {
            let tail = words.tail().get();
            self.handle.prefetch.prefetch_known(words, tail, length);
            if let Some(block) = send::allocate_beside(words, queue.peer(), tail) {
                let block = WritableBlock::near(words, tail, block, length);
                return Ok(Reservation::new(self, block, length));
            }
        }
        let block = self.reserve_after(queue, length, returned, policy)?;
        Ok(Reservation::new(self, block, length))
    }

    /// Allocates a block for a reservation when the cell at the tail is not free, not large enough, or may be prepared.
    #[cold]
    #[inline(never)]
    fn reserve_after<P: WaitPolicy, V>(
        &self,
        queue: Entered<'_>,
        length: usize,
        returned: V,
        policy: &P,
    ) -> Result<WritableBlock, P::SendError<V>> {
        let words = queue.view();
        if !words.lifecycle().load().is_closing() {
            let block = if length <= words.small_payload() {
                let tail = words.tail().get();
                let beside = if prepared::is_preparing() {
                    self.handle.prefetch.prefetch_known(words, tail, length);
                    self.handle.prepared.allocate(queue, tail)
                } else {
                    self.handle.prepared.take(queue, tail)
                };
                beside.or_else(|| self.allocator.distant_cell(queue, tail))
            } else {
                let class = self.allocator.likely_larger(queue);
                class
                    .filter(|class| class.suits(length))
                    .and_then(|class| class.next_block(queue))
            };
            if let Some(block) = block {
                return Ok(WritableBlock::new(words, block, length));
            }
        }
        match self.wait_for_block(queue, length, policy) {
            Ok(writer) => Ok(WritableBlock::new(words, writer.into_block(), length)),
            Err(failure) => Err((failure, returned).into()),
        }
    }
}

impl<'a, T, C: Codec<T>> Reservation<'a, T, C> {
    #[inline(always)]
    fn new(sender: &'a Sender<T, C>, block: WritableBlock, length: usize) -> Self {
        Self {
            sender,
            block,
            length,
            sent: false,
        }
    }

    #[cfg(feature = "async")]
    pub(super) fn sender(&self) -> &'a Sender<T, C> {
        self.sender
    }

    /// Sends the message. Blocks while the queue is full. The guarantees of [`Sender::send`] apply.
    ///
    /// # Errors
    ///
    /// [`SendError`]. The message stays in the reservation.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, SendError, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// let mut room = tx.reserve(4)?;
    /// room.copy_from_slice(b"late");
    /// rx.close();
    /// assert_eq!(room.commit(), Err(SendError::Closed(())));
    /// assert_eq!(*room, *b"late");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn commit(&mut self) -> Result<(), SendError<()>> {
        self.commit_with(&Unbounded)
    }

    /// Sends the message if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`]: the queue is full, or as for [`commit`](Reservation::commit). The message stays in the
    /// reservation.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::error::TrySendError;
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(1).channel_with::<Vec<u8>, Raw>()?;
    /// tx.send(b"first".to_vec())?;
    /// let mut room = tx.reserve(6)?;
    /// room.copy_from_slice(b"second");
    /// while room.try_commit() == Err(TrySendError::Full(())) {
    ///     assert_eq!(rx.recv()?, b"first");
    /// }
    /// assert_eq!(rx.recv()?, b"second");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_commit(&mut self) -> Result<(), TrySendError<()>> {
        self.commit_with(&NonBlocking)
    }

    /// Sends the message. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`]: the time limit has passed, or as for [`commit`](Reservation::commit). The message stays in
    /// the reservation.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(1).channel_with::<Vec<u8>, Raw>()?;
    /// tx.send(b"first".to_vec())?;
    /// let mut room = tx.reserve(6)?;
    /// room.copy_from_slice(b"second");
    /// assert!(room.commit_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// rx.recv()?;
    /// room.commit_timeout(Duration::from_secs(1))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn commit_timeout(&mut self, timeout: Duration) -> Result<(), SendTimeoutError<()>> {
        self.commit_with(&Deadline::after(timeout))
    }

    /// Sends the message. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`]: the deadline has passed, or as for [`commit`](Reservation::commit). The message stays in
    /// the reservation.
    ///
    /// # Examples
    ///
    /// See [`Sender::reserve_deadline`].
    pub fn commit_deadline(&mut self, deadline: Instant) -> Result<(), SendTimeoutError<()>> {
        self.commit_with(&Deadline::at(deadline))
    }

    /// Sends the message when the queue has room, as usual.
    #[inline(always)]
    pub(super) fn commit_with<P: WaitPolicy>(
        &mut self,
        policy: &P,
    ) -> Result<(), P::SendError<()>> {
        let Ok(queue) = self.sender.handle.enter() else {
            return Err((Failure::from(SendFailure::Forked), ()).into());
        };
        if self.sent {
            return Ok(());
        }
        let words = queue.view();
        let sender = self.sender;
        // Out of the reservation, and not in a closure: so the block never has to leave the registers.
        let header = self.block.header(words);
        let mut block = self.block.take();
        let first = match (header, u32::try_from(self.length)) {
            (Some(header), Ok(length)) => {
                send::offer_block(header, &mut block, length);
                match send::publish_at_tail(queue.segment(), words, header, block, &sender.room) {
                    Ok(()) => {
                        self.sent = true;
                        if prepared::is_preparing() && self.length <= words.small_payload() {
                            sender.handle.prepared.prepare(queue);
                        }
                        return Ok(());
                    }
                    Err((offered, attempt)) => {
                        block = offered;
                        Ok(attempt)
                    }
                }
            }
            (None, _) => Err(Corrupt::NoSuchBlock),
            (_, Err(_)) => Err(Corrupt::TooLong),
        };
        let Some((block, error)) = commit_after(sender, queue, block, first, policy) else {
            self.sent = true;
            return Ok(());
        };
        self.block = WritableBlock::new(words, block, self.length);
        Err(error)
    }
}

/// Sends a message, which is offered, after a first attempt that has not simply succeeded. If that fails, returns the
/// block, so that the message can be changed again, and the error. The block is passed by value, so that the one of a
/// message that is accepted at once never has to leave the registers.
#[cold]
#[inline(never)]
fn commit_after<T, C: Codec<T>, P: WaitPolicy>(
    sender: &Sender<T, C>,
    queue: Entered<'_>,
    block: OwnedBlock,
    first: Result<Attempt, Corrupt>,
    policy: &P,
) -> Option<(OwnedBlock, P::SendError<()>)> {
    // Withdrawn if the check of the peers or the wait unwinds.
    let mut writer = BlockWriter::new(queue, block);
    // The first attempt is part of the operation that `reserve` has counted; a commit may be tried any number of times.
    sender.handle.count_operation();
    let published = first.and_then(|attempt| {
        send::publish_after(queue.segment(), writer.block_mut(), &sender.room, attempt)
    });
    let published = match published.map_err(SendFailure::from) {
        Ok(Publish::Accepted) => Ok(()),
        Ok(Publish::Full) => sender.wait_for_room(queue, writer.block_mut(), policy),
        Ok(Publish::Closed) => Err(SendFailure::Closed.into()),
        Err(failure) => Err(failure.into()),
    };
    let mut block = writer.into_block();
    let failure = published.err()?;
    let error = match send::reopen(queue.segment(), &mut block) {
        Ok(()) => failure,
        Err(corrupt) => SendFailure::from(corrupt).into(),
    };
    Some((block, (error, ()).into()))
}

/// The bytes of a reservation in a forked child. A function of its own, so that the usual way is the straight one.
#[cold]
#[inline(never)]
fn no_bytes<'a>() -> &'a mut [u8] {
    &mut []
}

impl<T, C: Codec<T>> Deref for Reservation<'_, T, C> {
    type Target = [u8];
    /// Returns the buffer. Empty in a forked child, and once the message was sent.
    #[inline]
    fn deref(&self) -> &[u8] {
        match self.sender.handle.enter() {
            Ok(queue) => self.block.bytes(queue.view()),
            Err(_) => no_bytes(),
        }
    }
}

impl<T, C: Codec<T>> DerefMut for Reservation<'_, T, C> {
    /// Returns the buffer. Empty in a forked child, and once the message was sent.
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self.sender.handle.enter() {
            Ok(queue) => self.block.bytes_mut(queue.view()),
            Err(_) => no_bytes(),
        }
    }
}

impl<T, C: Codec<T>> Drop for Reservation<'_, T, C> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.sent {
            withdraw(&self.sender.handle.attachment, self.block.take());
        }
    }
}

impl<T, C: Codec<T>> fmt::Debug for Reservation<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("length", &self.length)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}
