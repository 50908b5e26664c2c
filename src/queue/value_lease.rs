//! Receiving plain old data in place: a value is read where it lies in shared memory, without a copy.

use super::bytes_lease::BytesLease;
use super::failure::Failure;
use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
use super::receiver::Receiver;
use crate::codec::Bytemuck;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::segment::batch_layout;
use bytemuck::Pod;
use core::fmt;
use core::ops::Deref;
use core::time::Duration;
use std::sync::OnceLock;
use std::time::Instant;

// A message alone in a block is aligned at least as well as one of a batch.
const _: () = assert!(batch_layout::ALIGNMENT.is_multiple_of(Bytemuck::MAX_ALIGN));

/// A value that has been received and not yet acknowledged, in shared memory. Returned by [`Receiver::lease_value`]. Needs
/// the feature `bytemuck`.
///
/// As with a [`Lease`](crate::Lease), dropping it returns the value to the queue, and it borrows its receiver.
///
/// # Trust
///
/// The value is the shared memory itself. No process writes a message that another one holds, as long as all of them use
/// this crate. But a peer with a bug or with bad intent can write to any byte of the queue at any time: then the value changes
/// while you look at it, or is all zeros if its length was changed. Unless you trust every process that has the queue, copy
/// the value before you check it, and use the copy.
#[must_use = "dropping a lease returns the message to the queue"]
pub struct ValueLease<'a, T: Pod> {
    lease: BytesLease<'a>,
    /// What is read when there is no value.
    absent: OnceLock<Box<T>>,
}

impl<T: Pod> Receiver<T, Bytemuck> {
    /// Leases a value without copying it. Blocks until there is one or the queue is closed.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`lease`](Receiver::lease).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Bytemuck};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<[u32; 64], Bytemuck>()?;
    /// tx.send([7; 64])?;
    /// let value = rx.lease_value()?;
    /// assert_eq!(value.iter().sum::<u32>(), 7 * 64);
    /// value.ack();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_value(&self) -> Result<ValueLease<'_, T>, RecvError> {
        self.lease_value_with(&Unbounded)
    }

    /// Leases a value without copying it, if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`], as for [`try_lease`](Receiver::try_lease).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Bytemuck};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<u64, Bytemuck>()?;
    /// assert!(rx.try_lease_value().unwrap_err().is_empty());
    /// tx.send(7)?;
    /// rx.try_lease_value()?.ack();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_lease_value(&self) -> Result<ValueLease<'_, T>, TryRecvError> {
        self.lease_value_with(&NonBlocking)
    }

    /// Leases a value without copying it. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`], as for [`lease_timeout`](Receiver::lease_timeout).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::{Options, queue::Bytemuck};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<u64, Bytemuck>()?;
    /// let late = rx.lease_value_timeout(Duration::from_millis(1));
    /// assert!(late.unwrap_err().is_timeout());
    /// # drop(tx);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_value_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ValueLease<'_, T>, RecvTimeoutError> {
        self.lease_value_with(&Deadline::after(timeout))
    }

    /// Leases a value without copying it. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`], as for [`lease_deadline`](Receiver::lease_deadline).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use workring::{Options, queue::Bytemuck};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<u64, Bytemuck>()?;
    /// tx.send(7)?;
    /// let value = rx.lease_value_deadline(Instant::now() + Duration::from_secs(1))?;
    /// assert_eq!(*value, 7);
    /// # value.ack();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_value_deadline(
        &self,
        deadline: Instant,
    ) -> Result<ValueLease<'_, T>, RecvTimeoutError> {
        self.lease_value_with(&Deadline::at(deadline))
    }

    #[inline(always)]
    fn lease_value_with<P: WaitPolicy>(
        &self,
        policy: &P,
    ) -> Result<ValueLease<'_, T>, P::RecvError> {
        let leased = self.lease_message(policy)?;
        let failure = match leased.bytes().map(Bytemuck::check::<T>) {
            Ok(Ok(())) => {
                return Ok(ValueLease {
                    lease: BytesLease::new(leased),
                    absent: OnceLock::new(),
                });
            }
            Ok(Err(error)) => leased.undecodable(error),
            Err(failure) => failure,
        };
        Err(Failure::from(failure).into())
    }
}

impl<T: Pod> ValueLease<'_, T> {
    /// Makes a lease that does not borrow its receiver, as [`Lease::into_owned`](crate::Lease::into_owned) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Bytemuck};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<u64, Bytemuck>()?;
    /// tx.send(7)?;
    /// let value = rx.lease_value()?.into_owned();
    /// drop(rx);
    /// assert_eq!(*value, 7);
    /// value.ack();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_owned(self) -> ValueLease<'static, T> {
        ValueLease {
            lease: self.lease.into_owned(),
            absent: self.absent,
        }
    }

    /// Returns the number of earlier, failed deliveries of this message, to any process; 0 the first time. A delivery
    /// fails when its receiver returns the message, or dies while it holds it.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.lease.deliveries()
    }

    /// Acknowledges the value and frees its memory. Never waits.
    #[inline]
    pub fn ack(self) {
        self.lease.ack();
    }

    /// Returns the value to the queue, as dropping the lease does. Never waits.
    pub fn nack(self) {
        self.lease.nack();
    }
}

impl<T: Pod> Deref for ValueLease<'_, T> {
    type Target = T;
    /// Returns the value. Zeros in a forked child.
    #[inline]
    fn deref(&self) -> &T {
        match Bytemuck::value(&self.lease) {
            Ok(value) => value,
            Err(_) => self.absent.get_or_init(bytemuck::zeroed_box),
        }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ValueLease<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueLease")
            .field("value", &**self)
            .field("deliveries", &self.deliveries())
            .finish_non_exhaustive()
    }
}
