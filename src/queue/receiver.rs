//! The receiving end, and how it looks for messages.

use super::attachment::{Attachment, Entered};
use super::batches::Batches;
use super::dead_letters::DeadLetters;
use super::end::sealed::{AnyAttachment, AnyHandle, EndRole};
use super::end::{End, Handle, sealed};
use super::failure::{Failure, RecvFailure};
use super::held_block::HeldBlock;
use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
use super::taken::TakenMessage;
use super::wait::Awaited;
use crate::codec::{Bincode, Codec};
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::protocol::peers::Role;
use crate::protocol::steps::receive::{self, Miss, Receive};
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

/// The receiving end of a queue.
///
/// Clones are receivers of the same queue; threads may also share one. Each message goes to one receiver of one
/// process. When the last receiver of all processes is dropped, the queue closes (unless
/// [`Options::close_on_last_receiver`](crate::Options) says otherwise).
///
/// The forms of `recv` acknowledge the message at once: it is not delivered again if this process dies. To acknowledge
/// it when its work is done, use [`lease`](Receiver::lease): dropping the lease, or dying, returns the message.
///
/// A receive that ends without a message (time limit, interrupt, close) has taken none, so giving up loses nothing.
///
/// # Examples
///
/// ```
/// let (tx, rx) = workring::channel::<u32>(8)?;
/// for n in 0..3 {
///     tx.send(n)?;
/// }
/// tx.close();
/// for n in &rx {
///     println!("{}", n?);
/// }
/// assert_eq!(rx.recv(), Err(workring::RecvError::Closed));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Receiver<T, C: Codec<T> = Bincode> {
    /// Before the handle, so that what they hold is returned before the role is given up.
    pub(super) batches: Batches,
    pub(super) handle: Handle,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Creates the receiver that a new attachment has counted already.
    pub(super) fn counted(attachment: Arc<Attachment>) -> Self {
        Self::with(Handle::counted(attachment, Role::Receiver))
    }

    fn with(handle: Handle) -> Self {
        Self::from_parts(Batches::default(), handle)
    }

    pub(super) fn from_parts(batches: Batches, handle: Handle) -> Self {
        Self {
            batches,
            handle,
            types: PhantomData,
        }
    }

    /// Receives a message and acknowledges it. Blocks until there is one, or the queue is closed and none is left.
    ///
    /// # Errors
    ///
    /// [`RecvError`]: the queue is closed and drained; an [`Interrupter`](crate::queue::Interrupter) ended the wait;
    /// the message could not be decoded, and is a dead letter now.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = workring::channel::<String>(4)?;
    /// tx.send("resize 7.png".to_owned())?;
    /// assert_eq!(rx.recv()?, "resize 7.png");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv(&self) -> Result<T, RecvError> {
        self.receive(&Unbounded)
    }

    /// Receives a message and acknowledges it, if there is one now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: there is none, or as for [`recv`](Receiver::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::error::TryRecvError;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    /// tx.send(1)?;
    /// assert_eq!(rx.try_recv(), Ok(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.receive(&NonBlocking)
    }

    /// Receives a message and acknowledges it. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time limit has passed, or as for [`recv`](Receiver::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// assert!(rx.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # drop(tx);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.receive(&Deadline::after(timeout))
    }

    /// Receives a message and acknowledges it. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the deadline has passed, or as for [`recv`](Receiver::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// tx.send_many(0..4)?;
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// for n in 0..4 {
    ///     assert_eq!(rx.recv_deadline(deadline)?, n); // one limit for all four
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.receive(&Deadline::at(deadline))
    }

    /// Returns the dead letters that the queue has now, oldest first, to be read and discarded.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = workring::Options::new(4).max_deliveries(1).channel::<u32>()?;
    /// tx.send(7)?;
    /// rx.lease()?.nack(); // the only delivery
    /// for letter in rx.dead_letters() {
    ///     assert_eq!((letter.decode()?, letter.deliveries()), (7, 1));
    ///     letter.discard();
    /// }
    /// assert!(rx.dead_letters().next().is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters<T, C> {
        DeadLetters::new(&self.handle.attachment)
    }

    /// Returns whether no message waits for its first delivery, in the queue or in a batch of this receiver. Returned
    /// messages are not counted: [`try_recv`](Receiver::try_recv) finds them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.handle.count_operation();
        self.has_nothing()
    }

    pub(super) fn has_nothing(&self) -> bool {
        self.handle.len() == 0 && self.batches.is_empty()
    }

    /// Waits until `look` finds something, after it has found nothing.
    pub(super) fn wait_for_messages<P: WaitPolicy, R>(
        &self,
        queue: Entered<'_>,
        mut look: impl FnMut() -> Result<Option<R>, RecvFailure>,
        policy: &P,
    ) -> Result<R, Failure<P::Error, RecvFailure>> {
        let awaited = Awaited::message(queue, false);
        let waiter = &self.handle.waiter;
        if let Some(found) = waiter.spin(queue, &awaited, policy, &mut look)? {
            return Ok(found);
        }
        // Counted before the last look, so that a thread that puts something into `batches` after that look wakes this
        // one.
        let _waiting = self.batches.register_waiter();
        waiter.sleep(queue, &awaited, policy, look)
    }

    /// Looks once more after a first look that has missed.
    pub(super) fn sort_after<'a>(
        &'a self,
        queue: Entered<'a>,
        miss: Miss,
    ) -> Result<Option<TakenMessage<'a>>, RecvFailure> {
        let received = receive::receive_after(queue.segment(), queue.peer(), miss)?;
        self.sort(queue, received)
    }

    #[inline(always)]
    pub(super) fn sort<'a>(
        &'a self,
        queue: Entered<'a>,
        received: Receive,
    ) -> Result<Option<TakenMessage<'a>>, RecvFailure> {
        match received {
            Receive::Message(block) => {
                let held = HeldBlock::new(queue, block);
                if !held.is_batch() {
                    return Ok(Some(TakenMessage::Block(held)));
                }
                let first = self.batches.admit(&self.handle.attachment, held)?;
                Ok(first.map(TakenMessage::Batched))
            }
            Receive::Empty => Ok(None),
            Receive::Closed => Ok(self.batches.at_the_end(queue)?.map(TakenMessage::Batched)),
        }
    }

    /// Looks once for a message: in the batches that are here, then in the queue.
    #[inline(always)]
    pub(super) fn take_one<'a>(
        &'a self,
        queue: Entered<'a>,
    ) -> Result<Option<TakenMessage<'a>>, RecvFailure> {
        if self.batches.any()
            && let Some(message) = self.batches.next(queue)?
        {
            return Ok(Some(TakenMessage::Batched(message)));
        }
        self.sort(
            queue,
            receive::receive(queue.segment(), queue.view(), queue.peer())?,
        )
    }
}

impl<T, C: Codec<T>> Clone for Receiver<T, C> {
    fn clone(&self) -> Self {
        Self::with(self.handle.clone())
    }
}

impl<T, C: Codec<T>> fmt::Debug for Receiver<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.handle.len())
            .field("capacity", &self.capacity())
            .field("is_closed", &self.handle.is_closed())
            .finish_non_exhaustive()
    }
}

impl<T, C: Codec<T>> End for Receiver<T, C> {}

impl<T, C: Codec<T>> sealed::End for Receiver<T, C> {
    const ROLE: EndRole = EndRole(Role::Receiver);
    fn type_name() -> &'static str {
        core::any::type_name::<T>()
    }
    fn codec_name() -> &'static str {
        C::NAME
    }
    fn handle(&self) -> AnyHandle<'_> {
        AnyHandle(&self.handle)
    }
    fn from_attachment(AnyAttachment(attachment): AnyAttachment) -> Self {
        Self::counted(Arc::new(attachment))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::Receiver;
    use crate::queue::Options;

    /// More messages than pass between two looks.
    const MESSAGES: u64 = 3000;

    /// Sends messages, and receives with `receive` while more than `waiting` wait. Expects receivers to prefetch far ahead only
    /// while many wait.
    fn check(receive: impl Fn(&Receiver<u64>)) {
        let options = Options::new(1024);
        let (tx, rx) = options.channel::<u64>().expect("a queue");
        let ahead = || {
            rx.handle
                .begin()
                .expect("not forked")
                .view()
                .receivers_ahead()
        };
        let [here, near, far] = [0, 2, 8];
        assert_eq!(ahead(), near);
        for (waiting, expected) in [(200, far), (50, near), (200, far), (0, here)] {
            for number in 0..MESSAGES {
                tx.send(number).expect("open");
                while rx.len() > waiting {
                    receive(&rx);
                }
            }
            assert_eq!(ahead(), expected, "{waiting} messages wait");
        }
    }

    #[test]
    fn receivers_prefetch_far_ahead_only_while_many_messages_wait() {
        check(|rx| _ = rx.recv().expect("a message"));
    }

    #[test]
    fn receivers_of_many_messages_look_how_many_wait_too() {
        check(|rx| _ = rx.recv_many(&mut Vec::new(), 16).expect("messages"));
    }
}
