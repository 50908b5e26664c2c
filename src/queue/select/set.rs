//! The set of operations that a select waits for.

use super::super::policy::{Deadline, NonBlocking, Unbounded};
use super::super::receiver::Receiver;
use super::super::sender::Sender;
use super::super::wait::Interrupter;
use super::operation::Kind;
use super::receiving::Receiving;
use super::selected::SelectedOperation;
use super::sending::Sending;
use super::wait::SelectWait;
use crate::codec::Codec;
use crate::error::{SelectError, SelectTimeoutError, TrySelectError};
use core::fmt;
use core::time::Duration;
use std::time::Instant;

/// Waits for several queues at once: receives from one of them, or sends to one of them.
///
/// The shape is that of crossbeam-channel's `Select`: register operations, wait, and complete the one that was selected.
/// Receivers and senders may be of any types. Two things differ, because other processes use the queues too, and because
/// whether there is room for a message depends on its length:
///
/// - When an operation is selected, it *is done*. A receive holds its message as a [`Lease`](super::super::Lease) does,
///   and a send has sent it. So completing it never waits and never finds that another process was faster.
/// - For that, a send is registered with its message, by reference: encoding needs no more. The caller has the message
///   before and after. A send that was selected is removed, so that it is not sent twice.
///
/// An operation is ready if it would not wait: also if it fails, as on a closed queue. If several are ready, one of them
/// is selected at random. What was not selected has neither taken nor sent anything. While a select waits for room, it
/// keeps a block with the encoded message, as a [`send`](crate::Sender::send) does; it frees it when the wait ends
/// otherwise.
///
/// There are no methods that only tell which operation is ready, as crossbeam-channel has: another process could take the
/// message before the caller does.
///
/// A select first tries all operations, spins for at most the longest [spin time](crate::Options::spin) of its queues,
/// and then sleeps until a queue is ready. It wakes for the [liveness intervals](crate::Options::liveness_interval) of
/// its queues, and for nothing else. It can receive from, and send to, 127 queues; one that it does both with counts
/// twice. On kernels before 5.16, and where a filter refuses `futex_waitv`, a select that sleeps has a thread for each
/// queue until it is dropped: there, keep it instead of making a new one for each wait.
///
/// # Examples
///
/// ```
/// use workring::queue::Select;
///
/// let (jobs, job_rx) = workring::channel::<String>(4)?;
/// let (numbers, number_rx) = workring::channel::<u32>(4)?;
/// numbers.send(7)?;
/// # drop(jobs);
///
/// let mut select = Select::new();
/// let job = select.recv(&job_rx);
/// let number = select.recv(&number_rx);
/// # assert!(select.remove(job));
/// let selected = select.select()?;
/// if selected.index() == job {
///     println!("job {}", selected.recv(&job_rx)?);
/// } else {
///     assert_eq!(selected.index(), number);
///     assert_eq!(selected.recv(&number_rx)?, 7);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Select<'a> {
    wait: SelectWait<'a>,
}

impl<'a> Select<'a> {
    /// Returns a select without operations.
    #[must_use]
    pub fn new() -> Self {
        Self {
            wait: SelectWait::new(),
        }
    }

    /// Registers a receive, which acknowledges its message when it is completed. Returns its index: the operations are
    /// numbered from 0 in the order of their registration.
    pub fn recv<T, C: Codec<T>>(&mut self, receiver: &'a Receiver<T, C>) -> usize {
        self.wait.add(Box::new(Receiving {
            receiver,
            kind: Kind::Receive,
        }))
    }

    /// Registers a lease, whose message is acknowledged later. Returns its index.
    ///
    /// It is ready, and fails, as long as this process has as many leases of the queue as it
    /// [may have](crate::Options::max_leases).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::queue::Select;
    ///
    /// let (tx, rx) = workring::channel::<String>(4)?;
    /// tx.send("resize".to_owned())?;
    /// let mut select = Select::new();
    /// select.lease(&rx);
    /// let lease = select.select()?.lease(&rx)?;
    /// assert_eq!(lease.ack(), "resize");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease<T, C: Codec<T>>(&mut self, receiver: &'a Receiver<T, C>) -> usize {
        self.wait.add(Box::new(Receiving {
            receiver,
            kind: Kind::Lease,
        }))
    }

    /// Registers a send of this message. Returns its index. When the send is selected, the message was sent or never will
    /// be, and the operation is removed.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::queue::Select;
    ///
    /// let (full, _full_rx) = workring::channel::<u32>(1)?;
    /// full.send(1)?;
    /// let (tx, rx) = workring::channel::<String>(1)?;
    /// let (number, text) = (2, "sent".to_owned());
    ///
    /// let mut select = Select::new();
    /// select.send(&full, &number);
    /// let sending = select.send(&tx, &text);
    /// let selected = select.select()?;
    /// assert_eq!(selected.index(), sending);
    /// selected.send(&tx)?;
    /// assert_eq!(rx.recv()?, text);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send<T, C: Codec<T>>(&mut self, sender: &'a Sender<T, C>, message: &'a T) -> usize {
        self.wait.add(Box::new(Sending::new(sender, message)))
    }

    /// Removes an operation. Returns whether there was one with this index. The indices of the others stay as they are.
    pub fn remove(&mut self, index: usize) -> bool {
        self.wait.remove(index)
    }

    /// Waits until an operation is ready, and does it.
    ///
    /// # Errors
    ///
    /// [`SelectError`]: an [interrupter](Select::interrupter) ended the wait; there are no operations, or too many; the
    /// system is out of memory or threads. Nothing was taken or sent.
    ///
    /// # Examples
    ///
    /// See [`Select`].
    pub fn select(&mut self) -> Result<SelectedOperation<'a>, SelectError> {
        Ok(self.wait.select(&Unbounded)?)
    }

    /// Does an operation that is ready now, if there is one.
    ///
    /// # Errors
    ///
    /// [`TrySelectError`]: none is ready, or there are no operations.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::queue::Select;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let mut select = Select::new();
    /// select.recv(&rx);
    /// assert!(select.try_select().unwrap_err().is_not_ready());
    /// tx.send(1)?;
    /// assert_eq!(select.try_select()?.recv(&rx)?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        Ok(self.wait.select(&NonBlocking)?)
    }

    /// Waits until an operation is ready, and does it. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`SelectTimeoutError`]: the time limit has passed, or as for [`select`](Select::select).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::queue::Select;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let mut select = Select::new();
    /// select.recv(&rx);
    /// let late = select.select_timeout(Duration::from_millis(1)).unwrap_err();
    /// assert!(late.is_timeout());
    /// # drop(tx);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn select_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        Ok(self.wait.select(&Deadline::after(timeout))?)
    }

    /// Waits until an operation is ready, and does it. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`SelectTimeoutError`]: the deadline has passed, or as for [`select`](Select::select).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use workring::queue::Select;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// tx.send_many(0..4)?;
    /// let mut select = Select::new();
    /// select.recv(&rx);
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// for n in 0..4 {
    ///     assert_eq!(select.select_deadline(deadline)?.recv(&rx)?, n); // one limit for all four
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        Ok(self.wait.select(&Deadline::at(deadline))?)
    }

    /// Returns an object that can end a wait of this select from any thread. Interrupters of its receivers and senders do
    /// not.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::queue::Select;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let mut select = Select::new();
    /// select.recv(&rx);
    /// let interrupter = select.interrupter();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| interrupter.interrupt());
    ///     assert!(select.select().unwrap_err().is_interrupted());
    /// });
    /// # drop(tx);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        self.wait.interrupter()
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select")
            .field("operations", &self.wait.len())
            .finish_non_exhaustive()
    }
}
