//! Bytes in place: messages that are written and read where they lie, in shared memory, without a copy.

use super::lease::Leased;
use super::receiver::Receiver;
use super::sender::{BlockWriter, Refusal, Sender};
use super::wait::{
    Deadline, Failure, Interrupted, NonBlocking, Reason, Unbounded, WaitPolicy, WouldBlock,
};
use crate::codec::{Codec, Raw};
use crate::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::time::Duration;

/// Room for a message in shared memory, to be filled and then sent. Made by [`Sender::reserve`].
///
/// Nobody sees it before [`commit`](Reservation::commit); dropping it gives the room back. One that is forgotten
/// ([`core::mem::forget`]) keeps it until the last sender of this process is dropped. What it holds at first is left
/// over from earlier messages.
#[must_use = "a reservation that is dropped is not sent"]
pub struct Reservation<'a, T>
where
    Raw: Codec<T>,
{
    sender: &'a Sender<T, Raw>,
    filling: BlockWriter<'a>,
    length: usize,
}

impl<T> Sender<T, Raw>
where
    Raw: Codec<T>,
{
    /// Room for a message of `length` bytes, to be written in place; wait while no block of that size is free.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the length as its value: the queue is closed; the message would be too large; there is
    /// no memory for it (see [`send`](Sender::send)); an [`Interrupter`](crate::queue::Interrupter) ended the wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// let mut room = tx.reserve(8)?;
    /// room.copy_from_slice(b"in place");
    /// room.commit().map_err(|refused| refused.map(drop))?;
    /// assert_eq!(rx.recv()?, b"in place");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve(&self, length: usize) -> Result<Reservation<'_, T>, SendError<usize>> {
        self.reserve_with(length, &Unbounded)
            .map_err(|failure| forever(length, failure))
    }

    /// As [`reserve`](Sender::reserve), without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`], with the length as its value: no block of that size is free now, or as for `reserve`.
    pub fn try_reserve(&self, length: usize) -> Result<Reservation<'_, T>, TrySendError<usize>> {
        self.reserve_with(length, &NonBlocking)
            .map_err(|failure| never(length, failure))
    }

    /// As [`reserve`](Sender::reserve), for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the length as its value: the time is up, or as for `reserve`.
    pub fn reserve_timeout(
        &self,
        length: usize,
        timeout: Duration,
    ) -> Result<Reservation<'_, T>, SendTimeoutError<usize>> {
        self.reserve_with(length, &Deadline::after(timeout))
            .map_err(|failure| until(length, failure))
    }

    fn reserve_with<P: WaitPolicy>(
        &self,
        length: usize,
        patience: &P,
    ) -> Result<Reservation<'_, T>, Failure<P::Stop, Refusal>> {
        self.handle.count_look();
        self.attachment().note_reservation();
        let filling = self.block_for(length, patience)?;
        Ok(Reservation {
            sender: self,
            filling,
            length,
        })
    }
}

fn forever<V>(value: V, failure: Failure<Interrupted, Refusal>) -> SendError<V> {
    match failure {
        Failure::Stopped(Interrupted) => SendError::Interrupted(value),
        Failure::Refused(refusal) => refusal.into_send(value),
    }
}

fn never<V>(value: V, failure: Failure<WouldBlock, Refusal>) -> TrySendError<V> {
    match failure {
        Failure::Stopped(WouldBlock) => TrySendError::Full(value),
        Failure::Refused(refusal) => refusal.into_try_send(value),
    }
}

fn until<V>(value: V, failure: Failure<Reason, Refusal>) -> SendTimeoutError<V> {
    match failure {
        Failure::Stopped(Reason::Deadline) => SendTimeoutError::Timeout(value),
        Failure::Stopped(Reason::Interrupted) => SendTimeoutError::Interrupted(value),
        Failure::Refused(refusal) => refusal.into_send_timeout(value),
    }
}

impl<T> Reservation<'_, T>
where
    Raw: Codec<T>,
{
    /// Send it; wait while the queue is full. What [`Sender::send`] says of its messages holds here too.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the reservation, which may be changed and tried again.
    pub fn commit(self) -> Result<(), SendError<Self>> {
        self.commit_with(&Unbounded)
            .map_err(|(this, failure)| forever(this, failure))
    }

    /// Send it if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`], with the reservation, which may be changed and tried again.
    pub fn try_commit(self) -> Result<(), TrySendError<Self>> {
        self.commit_with(&NonBlocking)
            .map_err(|(this, failure)| never(this, failure))
    }

    /// Send it; wait for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the reservation, which may be changed and tried again.
    pub fn commit_timeout(self, timeout: Duration) -> Result<(), SendTimeoutError<Self>> {
        self.commit_with(&Deadline::after(timeout))
            .map_err(|(this, failure)| until(this, failure))
    }

    fn commit_with<P: WaitPolicy>(
        mut self,
        patience: &P,
    ) -> Result<(), (Self, Failure<P::Stop, Refusal>)> {
        if self.filling.is_forked_child() {
            return Err((self, Failure::Refused(Refusal::Forked)));
        }
        self.sender.handle.count_operation();
        let failure = match self.filling.complete(self.length) {
            Ok(()) => match self.sender.publish_in_hand(&mut self.filling, patience) {
                Ok(()) => {
                    self.filling.accepted();
                    return Ok(());
                }
                Err(failure) => failure,
            },
            Err(corrupt) => Failure::Refused(Refusal::Corrupt(corrupt)),
        };
        match self.filling.reopen() {
            Ok(()) => Err((self, failure)),
            Err(corrupt) => Err((self, Failure::Refused(Refusal::Corrupt(corrupt)))),
        }
    }
}

impl<T> Deref for Reservation<'_, T>
where
    Raw: Codec<T>,
{
    type Target = [u8];
    /// Empty in a forked child.
    fn deref(&self) -> &[u8] {
        if self.filling.is_forked_child() {
            return &[];
        }
        self.filling
            .so_far()
            .ok()
            .and_then(|all| all.get(..self.length))
            .unwrap_or_default()
    }
}

impl<T> DerefMut for Reservation<'_, T>
where
    Raw: Codec<T>,
{
    /// Empty in a forked child.
    fn deref_mut(&mut self) -> &mut [u8] {
        if self.filling.is_forked_child() {
            return &mut [];
        }
        let length = self.length;
        self.filling
            .payload()
            .ok()
            .and_then(|all| all.get_mut(..length))
            .unwrap_or_default()
    }
}

impl<T> fmt::Debug for Reservation<'_, T>
where
    Raw: Codec<T>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// A message that has been received and not yet acknowledged, as it lies in shared memory. Made by
/// [`Receiver::lease_bytes`].
///
/// What [`Lease`](crate::Lease) says holds here too: dropping it returns the message.
#[must_use = "dropping a lease returns the message to the queue"]
pub struct BytesLease {
    held: Leased,
}

impl<T> Receiver<T, Raw>
where
    Raw: Codec<T>,
{
    /// Receive a message without copying or acknowledging it; wait while there is none.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`lease`](Receiver::lease).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// let mut room = tx.reserve(8)?;
    /// room.copy_from_slice(b"in place");
    /// room.commit().map_err(|refused| refused.map(drop))?;
    /// let message = rx.lease_bytes()?;
    /// assert_eq!(&*message, b"in place");
    /// message.ack();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_bytes(&self) -> Result<BytesLease, RecvError> {
        Ok(BytesLease {
            held: self.leased(&Unbounded)?,
        })
    }

    /// As [`lease_bytes`](Receiver::lease_bytes), if there is a message now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`], as for [`try_lease`](Receiver::try_lease).
    pub fn try_lease_bytes(&self) -> Result<BytesLease, TryRecvError> {
        Ok(BytesLease {
            held: self.leased(&NonBlocking)?,
        })
    }

    /// As [`lease_bytes`](Receiver::lease_bytes), for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`], as for [`lease_timeout`](Receiver::lease_timeout).
    pub fn lease_bytes_timeout(&self, timeout: Duration) -> Result<BytesLease, RecvTimeoutError> {
        Ok(BytesLease {
            held: self.leased(&Deadline::after(timeout))?,
        })
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Receives a message without decoding or acknowledging it, if there is one now: for a process that has to know no more
    /// of it than its first bytes, and may not be able to decode it.
    pub(crate) fn try_lease_undecoded(&self) -> Result<BytesLease, TryRecvError> {
        Ok(BytesLease {
            held: self.leased(&NonBlocking)?,
        })
    }
}

impl BytesLease {
    /// Returns how many deliveries of this message, to any process, came before this one and failed: 0 for the first
    /// delivery. A delivery fails when its receiver returns the message, or dies while it holds it.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.held.attempts()
    }

    /// The message is done with: its memory is free again. Never waits.
    pub fn ack(mut self) {
        self.held.acknowledge();
    }

    /// Return the message to the queue, as dropping the lease does. Never waits.
    pub fn nack(self) {
        self.held.count_operation();
        drop(self);
    }
}

impl Deref for BytesLease {
    type Target = [u8];
    /// Empty in a forked child.
    fn deref(&self) -> &[u8] {
        self.held.bytes().unwrap_or_default()
    }
}

impl fmt::Debug for BytesLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BytesLease")
            .field("length", &self.len())
            .field("deliveries", &self.deliveries())
            .finish_non_exhaustive()
    }
}
