//! Leases: messages that are received and not yet acknowledged.

use super::attachment::{Attachment, Entered};
use super::failure::RecvFailure;
use super::held_block::HeldBlock;
use super::taken::{DetachedMessage, TakenMessage};
use crate::codec::{Bincode, Codec, DecodeError};
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use std::sync::Arc;

/// A message that has been received and not yet acknowledged.
///
/// While the lease lives, no other receiver gets the message. [`ack`](Lease::ack) acknowledges it for good. Dropping
/// the lease, as a panic does, or [`nack`](Lease::nack) returns the message to the queue. It is then handed out again,
/// before newer ones, until it has been handed out as often as
/// [`Options::max_deliveries`](crate::Options::max_deliveries) allows; after that it becomes a dead letter.
///
/// A lease borrows the receiver that it came from; [`into_owned`](Lease::into_owned) makes one that does not, and can
/// outlive it. A lease outlives the closing of the queue. One that is forgotten ([`core::mem::forget`]) keeps its
/// message, and this process's place among the attached ones, until the process ends.
///
/// A message that [`Sender::send_many`](crate::Sender::send_many) has batched with others is leased by itself. But it
/// returns to the queue, or becomes a dead letter, together with its batch: when all of the batch has been handed out,
/// or its receiver was dropped, and no lease of another of its messages is left.
///
/// # Examples
///
/// ```
/// let (tx, rx) = workring::channel::<String>(4)?;
/// tx.send("resize".to_owned())?;
///
/// let lease = rx.lease()?;
/// assert_eq!((lease.as_str(), lease.deliveries()), ("resize", 0));
/// drop(lease); // the work failed
///
/// let lease = rx.lease()?;
/// assert_eq!(lease.deliveries(), 1);
/// assert_eq!(lease.ack(), "resize");
/// assert!(rx.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
/// It cannot outlive its receiver:
///
/// ```compile_fail,E0505
/// let (tx, rx) = workring::channel::<String>(4)?;
/// tx.send("resize".to_owned())?;
/// let lease = rx.lease()?;
/// drop(rx);
/// assert_eq!(lease.ack(), "resize");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a lease returns the message to the queue"]
pub struct Lease<'a, T, C: Codec<T> = Bincode> {
    /// Before the message, so that it is returned before the user's `Drop` runs, which may take long.
    leased: LeasedMessage<'a>,
    message: T,
    codec: PhantomData<fn() -> C>,
}

impl<'a, T, C: Codec<T>> Lease<'a, T, C> {
    /// Decodes a message. If the codec panics, or fails, the message is no longer leased.
    #[inline(always)]
    pub(super) fn decode(leased: LeasedMessage<'a>) -> Result<Self, RecvFailure> {
        match C::decode(leased.bytes()?) {
            Ok(message) => Ok(Self {
                leased,
                message,
                codec: PhantomData,
            }),
            Err(error) => Err(leased.undecodable(error)),
        }
    }

    /// Makes a lease that does not borrow its receiver: it can be stored next to it, sent to another thread, and outlive
    /// it.
    ///
    /// This process stays attached to the queue until the last such lease is gone. It costs what a clone of an
    /// [`Arc`] costs.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::Lease;
    ///
    /// struct Job {
    ///     lease: Lease<'static, String>,
    /// }
    ///
    /// let (tx, rx) = workring::channel::<String>(4)?;
    /// tx.send("resize".to_owned())?;
    /// let job = Job { lease: rx.lease()?.into_owned() };
    /// drop(rx);
    /// let worker = std::thread::spawn(move || job.lease.ack());
    /// assert_eq!(worker.join().unwrap(), "resize");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_owned(self) -> Lease<'static, T, C> {
        Lease {
            leased: self.leased.into_owned(),
            message: self.message,
            codec: PhantomData,
        }
    }

    /// Returns the number of earlier, failed deliveries of this message, to any process; 0 the first time. A delivery
    /// fails when its receiver returns the message, or dies while it holds it.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.leased.deliveries()
    }

    /// Acknowledges the message, which no receiver will get again, and returns it. Never waits.
    #[allow(
        clippy::must_use_candidate,
        reason = "acknowledging is the point; the message may not be needed"
    )]
    #[inline]
    pub fn ack(self) -> T {
        self.leased.acknowledge();
        self.message
    }

    /// Returns the message to the queue, as dropping the lease does. Never waits.
    pub fn nack(self) {
        self.leased.count_operation();
        drop(self);
    }
}

impl<T, C: Codec<T>> Deref for Lease<'_, T, C> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.message
    }
}

impl<T: fmt::Debug, C: Codec<T>> fmt::Debug for Lease<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("message", &self.message)
            .field("deliveries", &self.deliveries())
            .finish_non_exhaustive()
    }
}

/// What keeps the attachment of a lease alive.
enum Keeper<'a> {
    /// The receiver that the lease came from.
    Receiver(&'a Arc<Attachment>),
    /// The lease itself.
    Lease(Arc<Attachment>),
}

impl Keeper<'_> {
    #[inline(always)]
    fn attachment(&self) -> &Arc<Attachment> {
        match self {
            Self::Receiver(attachment) => attachment,
            Self::Lease(attachment) => attachment,
        }
    }
}

/// A taken message that is counted as leased. Dropping it returns it to the queue.
pub(super) struct LeasedMessage<'a> {
    keeper: Keeper<'a>,
    /// Spent once it is settled, or in another lease: then it is not counted here.
    message: DetachedMessage,
}

impl<'a> LeasedMessage<'a> {
    /// Leases a message that was taken with this attachment.
    #[inline(always)]
    pub(super) fn new(attachment: &'a Arc<Attachment>, taken: TakenMessage<'_>) -> Self {
        attachment.leases.add();
        Self {
            keeper: Keeper::Receiver(attachment),
            message: taken.detach(),
        }
    }

    /// Makes the lease keep the attachment alive itself.
    pub(super) fn into_owned(mut self) -> LeasedMessage<'static> {
        let attachment = Arc::clone(self.keeper.attachment());
        if matches!(self.keeper, Keeper::Receiver(_)) {
            attachment.leases.make_owned();
        }
        LeasedMessage {
            keeper: Keeper::Lease(attachment),
            message: self.message.take(),
        }
    }

    pub(super) fn deliveries(&self) -> u32 {
        self.message.deliveries()
    }

    /// Returns the bytes of the message, where its sender wrote them. Fails in a forked child, too.
    #[inline(always)]
    pub(super) fn bytes(&self) -> Result<&[u8], RecvFailure> {
        let queue = self.keeper.attachment().enter()?;
        self.message.bytes(queue)
    }

    /// Acknowledges the message (`Release`).
    #[inline(always)]
    pub(super) fn acknowledge(mut self) {
        let Keeper::Receiver(attachment) = self.keeper else {
            return self.acknowledge_other();
        };
        let DetachedMessage::Block(block) = &mut self.message else {
            return self.acknowledge_other();
        };
        let block = block.take();
        // It neither has a message any more, nor a reference to the attachment.
        core::mem::forget(self);
        let Ok(queue) = attachment.enter() else {
            return;
        };
        // The next operation meets a corrupt word, too, and reports it.
        let _ = HeldBlock::new(queue, block).acknowledge();
        attachment.leases.remove();
        count_operation_after_ack(queue);
    }

    /// Acknowledges a message of a batch, or one whose lease is owned.
    #[inline(never)]
    fn acknowledge_other(mut self) {
        let Ok(queue) = self.keeper.attachment().enter() else {
            return;
        };
        // As in `acknowledge`.
        let _ = self.message.take().attach(queue).acknowledge();
        self.count_end();
        count_operation_after_ack(queue);
    }

    /// Makes a message that the codec cannot decode a dead letter.
    #[cold]
    pub(super) fn undecodable(mut self, error: DecodeError) -> RecvFailure {
        // The codec may have forked (ATTACH-4).
        let Ok(queue) = self.keeper.attachment().enter() else {
            return RecvFailure::Forked;
        };
        let failure = self.message.take().attach(queue).undecodable(error);
        self.count_end();
        failure
    }

    /// Counts an operation on this lease, which returns its message if counting unwinds.
    pub(super) fn count_operation(&self) {
        if let Ok(queue) = self.keeper.attachment().enter() {
            queue.count_lease_operation();
        }
    }

    /// Counts the end of this lease.
    fn count_end(&self) {
        match &self.keeper {
            Keeper::Receiver(attachment) => attachment.leases.remove(),
            Keeper::Lease(attachment) => attachment.leases.remove_owned(),
        }
    }

    #[cold]
    #[inline(never)]
    fn return_message(&mut self) {
        let Ok(queue) = self.keeper.attachment().enter() else {
            return;
        };
        let message = self.message.take().attach(queue);
        if mutant!(LeaseDropAcknowledges) {
            let _ = message.acknowledge();
        } else {
            drop(message);
        }
        self.count_end();
    }
}

impl Drop for LeasedMessage<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.message.is_spent() {
            self.return_message();
        }
    }
}

/// Counts an operation after a lease was acknowledged, unless it was the last one: then another operation follows that
/// counts.
#[inline(always)]
fn count_operation_after_ack(queue: Entered<'_>) {
    if queue.attachment().leases.total() > 0 {
        queue.count_lease_operation();
    }
}
