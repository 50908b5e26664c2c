//! Sending plain old data in place: a value is written where it lies in shared memory, without a copy.

use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
use super::reservation::Reservation;
use super::sender::Sender;
use crate::codec::Bytemuck;
use crate::error::{SendError, SendTimeoutError, TrySendError};
use bytemuck::Pod;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::time::Duration;
use std::sync::OnceLock;
use std::time::Instant;

/// A value in shared memory that is to be sent: write it, then [`commit`](ValueReservation::commit) it. Returned by
/// [`Sender::reserve_value`]. Needs the feature `bytemuck`.
///
/// At first it has *any* value: what an earlier message left in the memory. Write all of it, or begin with
/// [`zeroed`](ValueReservation::zeroed).
///
/// Otherwise it is like a [`Reservation`]. Other processes see the value only when `commit` has accepted it, dropping it
/// before that sends nothing, and a commit that fails leaves the value to be changed or sent again. Once the value was sent,
/// and in a forked child, there is only a value of zeros, and what is written is lost.
///
/// # Trust
///
/// The value is the shared memory itself. No other process writes to it as long as all of them use this crate. But a peer
/// with a bug or with bad intent can do so at any time. So do not rely on reading back what you have written.
#[must_use = "dropping a reservation does not send it: call `commit`"]
pub struct ValueReservation<'a, T: Pod> {
    reservation: Reservation<'a, T, Bytemuck>,
    /// What is read when there is no value.
    absent: OnceLock<Box<T>>,
    /// What is written when there is no value.
    lost: Option<Box<T>>,
}

impl<T: Pod> Sender<T, Bytemuck> {
    /// Reserves a value in shared memory, to be written in place. Blocks while no block of its size is free.
    ///
    /// The value is not cleared: see [`ValueReservation`].
    ///
    /// # Errors
    ///
    /// [`SendError`]: the queue is closed; the type is longer than its messages may be; there is no memory for it (see
    /// [`send`](Sender::send)); an [`Interrupter`](crate::queue::Interrupter) ended the wait.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Bytemuck};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<[f64; 512], Bytemuck>()?;
    /// let mut samples = tx.reserve_value()?;
    /// for (n, sample) in (0..).zip(samples.iter_mut()) {
    ///     *sample = f64::from(n);
    /// }
    /// samples.commit()?;
    /// assert_eq!(rx.recv()?[511], 511.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve_value(&self) -> Result<ValueReservation<'_, T>, SendError<()>> {
        self.reserve_value_with(&Unbounded)
    }

    /// Reserves a value in shared memory if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`]: no block of its size is free now, or as for [`reserve_value`](Sender::reserve_value).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, error::TrySendError, queue::Bytemuck};
    ///
    /// let (tx, _rx) = Options::new(4).channel_with::<u64, Bytemuck>()?;
    /// match tx.try_reserve_value() {
    ///     Ok(mut value) => {
    ///         *value = 7;
    ///         value.commit()?;
    ///     }
    ///     Err(TrySendError::Full(())) => println!("no room now"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_reserve_value(&self) -> Result<ValueReservation<'_, T>, TrySendError<()>> {
        self.reserve_value_with(&NonBlocking)
    }

    /// Reserves a value in shared memory. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`]: the time limit has passed, or as for [`reserve_value`](Sender::reserve_value).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::{Options, queue::Bytemuck};
    ///
    /// let (tx, _rx) = Options::new(4).channel_with::<u64, Bytemuck>()?;
    /// let mut value = tx.reserve_value_timeout(Duration::from_secs(1))?;
    /// *value = 7;
    /// value.commit()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve_value_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ValueReservation<'_, T>, SendTimeoutError<()>> {
        self.reserve_value_with(&Deadline::after(timeout))
    }

    /// Reserves a value in shared memory. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`]: the deadline has passed, or as for [`reserve_value`](Sender::reserve_value).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use workring::{Options, queue::Bytemuck};
    ///
    /// let (tx, _rx) = Options::new(4).channel_with::<u64, Bytemuck>()?;
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// let mut value = tx.reserve_value_deadline(deadline)?;
    /// *value = 7;
    /// value.commit_deadline(deadline)?; // one limit for both
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reserve_value_deadline(
        &self,
        deadline: Instant,
    ) -> Result<ValueReservation<'_, T>, SendTimeoutError<()>> {
        self.reserve_value_with(&Deadline::at(deadline))
    }

    #[inline(always)]
    fn reserve_value_with<P: WaitPolicy>(
        &self,
        policy: &P,
    ) -> Result<ValueReservation<'_, T>, P::SendError<()>> {
        let reservation = self.reserve_for(size_of::<T>(), (), policy)?;
        Ok(ValueReservation {
            reservation,
            absent: OnceLock::new(),
            lost: None,
        })
    }
}

impl<T: Pod> ValueReservation<'_, T> {
    /// Sets the value to zeros.
    ///
    /// # Examples
    ///
    /// See [`Bytemuck`](crate::queue::Bytemuck).
    #[inline]
    pub fn zeroed(mut self) -> Self {
        self.reservation.fill(0);
        self
    }

    /// Sends the value. Blocks while the queue is full. The guarantees of [`Sender::send`] apply.
    ///
    /// # Errors
    ///
    /// [`SendError`]. The value stays in the reservation.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, SendError, queue::Bytemuck};
    ///
    /// let (tx, rx) = Options::new(4).channel_with::<u64, Bytemuck>()?;
    /// let mut value = tx.reserve_value()?;
    /// *value = 7;
    /// rx.close();
    /// assert_eq!(value.commit(), Err(SendError::Closed(())));
    /// assert_eq!(*value, 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn commit(&mut self) -> Result<(), SendError<()>> {
        self.reservation.commit()
    }

    /// Sends the value if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`]: the queue is full, or as for [`commit`](ValueReservation::commit). The value stays in the
    /// reservation.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Bytemuck};
    ///
    /// let (tx, rx) = Options::new(1).channel_with::<u64, Bytemuck>()?;
    /// tx.send(1)?;
    /// let mut value = tx.reserve_value()?;
    /// *value = 2;
    /// assert!(value.try_commit().unwrap_err().is_full());
    /// assert_eq!(rx.recv()?, 1);
    /// value.try_commit()?;
    /// assert_eq!(rx.recv()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_commit(&mut self) -> Result<(), TrySendError<()>> {
        self.reservation.try_commit()
    }

    /// Sends the value. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`]: the time limit has passed, or as for [`commit`](ValueReservation::commit). The value stays
    /// in the reservation.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::{Options, queue::Bytemuck};
    ///
    /// let (tx, _rx) = Options::new(1).channel_with::<u64, Bytemuck>()?;
    /// tx.send(1)?;
    /// let mut value = tx.reserve_value()?;
    /// *value = 2;
    /// assert!(value.commit_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn commit_timeout(&mut self, timeout: Duration) -> Result<(), SendTimeoutError<()>> {
        self.reservation.commit_timeout(timeout)
    }

    /// Sends the value. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`]: the deadline has passed, or as for [`commit`](ValueReservation::commit). The value stays in
    /// the reservation.
    ///
    /// # Examples
    ///
    /// See [`Sender::reserve_value_deadline`].
    #[inline]
    pub fn commit_deadline(&mut self, deadline: Instant) -> Result<(), SendTimeoutError<()>> {
        self.reservation.commit_deadline(deadline)
    }
}

impl<T: Pod> Deref for ValueReservation<'_, T> {
    type Target = T;
    /// Returns the value. Zeros in a forked child, and once the value was sent.
    #[inline]
    fn deref(&self) -> &T {
        match Bytemuck::value(&self.reservation) {
            Ok(value) => value,
            Err(_) => self.absent.get_or_init(bytemuck::zeroed_box),
        }
    }
}

impl<T: Pod> DerefMut for ValueReservation<'_, T> {
    /// Returns the value. In a forked child, and once the value was sent, returns one whose changes are lost.
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match Bytemuck::value_mut(&mut self.reservation) {
            Ok(value) => value,
            Err(_) => self.lost.insert(bytemuck::zeroed_box()),
        }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ValueReservation<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValueReservation")
            .field("value", &**self)
            .finish_non_exhaustive()
    }
}
