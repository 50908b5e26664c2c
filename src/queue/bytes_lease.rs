//! Receiving in place: a message is read where it lies in shared memory, without a copy.

use super::lease::LeasedMessage;
use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
use super::receiver::Receiver;
use crate::codec::{Codec, Raw};
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::segment::HasRead;
use core::fmt;
use core::ops::Deref;
use core::time::Duration;
use std::time::Instant;

/// A message that has been received and not yet acknowledged, as a slice of shared memory. Returned by
/// [`Receiver::lease_bytes`].
///
/// As with a [`Lease`](crate::Lease), dropping it returns the message to the queue, and it borrows its receiver. The slice
/// begins at a multiple of 8 bytes.
///
/// # Trust
///
/// The slice is the shared memory itself. No process writes a message that another one holds, as long as all of them use
/// this crate. But a peer with a bug or with bad intent can write to any byte of the queue at any time: then the bytes change
/// while you look at them. The slice stays where it is, within the message's block. Unless you trust every process that has
/// the queue, copy the message ([`to_vec`](slice::to_vec)) before you check it, and use the copy.
#[must_use = "dropping a lease returns the message to the queue"]
pub struct BytesLease<'a> {
    leased: LeasedMessage<'a>,
}

impl<T> Receiver<T, Raw>
where
    Raw: Codec<T>,
{
    /// Leases a message without copying it. Blocks until there is one or the queue is closed.
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
    /// tx.send(b"in place".to_vec())?;
    /// let message = rx.lease_bytes()?;
    /// assert_eq!(&*message, b"in place");
    /// message.ack();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn lease_bytes(&self) -> Result<BytesLease<'_>, RecvError> {
        self.lease_bytes_with(&Unbounded)
    }

    /// Leases a message without copying it, if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`], as for [`try_lease`](Receiver::try_lease).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// assert!(rx.try_lease_bytes().unwrap_err().is_empty());
    /// tx.send(b"in place".to_vec())?;
    /// rx.try_lease_bytes()?.ack();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_lease_bytes(&self) -> Result<BytesLease<'_>, TryRecvError> {
        self.try_lease_undecoded()
    }

    /// Leases a message without copying it. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`], as for [`lease_timeout`](Receiver::lease_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// let late = rx.lease_bytes_timeout(Duration::from_millis(1));
    /// assert!(late.unwrap_err().is_timeout());
    /// # drop(tx);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_bytes_timeout(
        &self,
        timeout: Duration,
    ) -> Result<BytesLease<'_>, RecvTimeoutError> {
        self.lease_bytes_with(&Deadline::after(timeout))
    }

    /// Leases a message without copying it. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`], as for [`lease_deadline`](Receiver::lease_deadline).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// tx.send(b"in place".to_vec())?;
    /// let message = rx.lease_bytes_deadline(Instant::now() + Duration::from_secs(1))?;
    /// assert_eq!(message.len(), 8);
    /// # message.ack();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_bytes_deadline(
        &self,
        deadline: Instant,
    ) -> Result<BytesLease<'_>, RecvTimeoutError> {
        self.lease_bytes_with(&Deadline::at(deadline))
    }
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Leases a message without decoding it, if there is one now: for a process that reads only the first bytes of it,
    /// and may not be able to decode it.
    pub(crate) fn try_lease_undecoded(&self) -> Result<BytesLease<'_>, TryRecvError> {
        self.lease_bytes_with(&NonBlocking)
    }

    // Not by `Result::map`, which moves the lease once more in memory.
    #[inline(always)]
    fn lease_bytes_with<P: WaitPolicy>(&self, policy: &P) -> Result<BytesLease<'_>, P::RecvError> {
        match self.lease_message(policy) {
            Ok(leased) => Ok(BytesLease::new(leased)),
            Err(error) => Err(error),
        }
    }
}

impl<'a> BytesLease<'a> {
    #[inline(always)]
    pub(super) fn new(leased: LeasedMessage<'a>) -> Self {
        Self { leased }
    }

    /// Makes a lease that does not borrow its receiver, as [`Lease::into_owned`](crate::Lease::into_owned) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Raw};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// tx.send(b"in place".to_vec())?;
    /// let message = rx.lease_bytes()?.into_owned();
    /// drop(rx);
    /// assert_eq!(&*message, b"in place");
    /// message.ack();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_owned(self) -> BytesLease<'static> {
        BytesLease {
            leased: self.leased.into_owned(),
        }
    }

    /// Returns the number of earlier, failed deliveries of this message, to any process; 0 the first time. A delivery
    /// fails when its receiver returns the message, or dies while it holds it.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.leased.deliveries()
    }

    /// Acknowledges the message and frees its memory. Never waits.
    #[inline]
    pub fn ack(self) {
        self.leased.acknowledge(HasRead::PerhapsPart);
    }

    /// Returns the message to the queue, as dropping the lease does. Never waits.
    pub fn nack(self) {
        self.leased.count_operation();
        drop(self);
    }
}

impl Deref for BytesLease<'_> {
    type Target = [u8];
    /// Returns the message. Empty in a forked child.
    #[inline]
    fn deref(&self) -> &[u8] {
        self.leased.bytes().unwrap_or_default()
    }
}

impl fmt::Debug for BytesLease<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BytesLease")
            .field("length", &self.len())
            .field("deliveries", &self.deliveries())
            .finish_non_exhaustive()
    }
}
