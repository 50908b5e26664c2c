//! Leases: messages that are received and not yet acknowledged.

use super::attachment::Attachment;
use super::failure::RecvFailure;
use super::taken::{DetachedMessage, TakenMessage};
use crate::codec::{Bincode, Codec};
use crate::sync::Ordering;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use parking_lot::MutexGuard;
use std::sync::Arc;

/// A message that has been received and not yet acknowledged.
///
/// While the lease lives, no other receiver gets the message. [`ack`](Lease::ack) acknowledges it for good. Dropping
/// the lease, as a panic does, or [`nack`](Lease::nack) returns the message to the queue. It is then handed out again,
/// before newer ones, until it has been handed out as often as
/// [`Options::max_deliveries`](crate::Options::max_deliveries) allows; after that it becomes a dead letter.
///
/// A lease outlives the receiver that it came from, and the closing of the queue. One that is forgotten
/// ([`core::mem::forget`]) keeps its message, and this process's place among the attached ones, until the process ends.
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
#[must_use = "dropping a lease returns the message to the queue"]
pub struct Lease<T, C: Codec<T> = Bincode> {
    /// Before the message, so that it is returned before the user's `Drop` runs, which may take long.
    leased: LeasedMessage,
    message: T,
    codec: PhantomData<fn() -> C>,
}

impl<T, C: Codec<T>> Lease<T, C> {
    /// Leases a message that was taken by the attachment that `count` belongs to.
    pub(super) fn new(count: LeaseCount, taken: TakenMessage<'_>) -> Result<Self, RecvFailure> {
        // If the codec panics, `taken` returns the message.
        match C::decode(taken.bytes()?) {
            Ok(message) => Ok(Self {
                leased: LeasedMessage::new(count, taken),
                message,
                codec: PhantomData,
            }),
            Err(error) => Err(taken.undecodable(error)),
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
    pub fn ack(mut self) -> T {
        self.leased.acknowledge();
        self.message
    }

    /// Returns the message to the queue, as dropping the lease does. Never waits.
    pub fn nack(self) {
        self.leased.count_operation();
        drop(self);
    }
}

impl<T, C: Codec<T>> Deref for Lease<T, C> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.message
    }
}

impl<T: fmt::Debug, C: Codec<T>> fmt::Debug for Lease<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("message", &self.message)
            .field("deliveries", &self.deliveries())
            .finish_non_exhaustive()
    }
}

/// A taken message that is counted as leased, and does not borrow from the receiver. Dropping it returns it to the
/// queue.
pub(super) struct LeasedMessage {
    count: LeaseCount,
    /// `None` once it is acknowledged.
    message: Option<DetachedMessage>,
}

impl LeasedMessage {
    /// Leases a message that was taken by the attachment that `count` belongs to.
    pub(super) fn new(count: LeaseCount, taken: TakenMessage<'_>) -> Self {
        Self {
            count,
            message: Some(taken.detach()),
        }
    }

    fn attachment(&self) -> &Attachment {
        &self.count.0
    }

    pub(super) fn deliveries(&self) -> u32 {
        self.message.as_ref().map_or(0, DetachedMessage::deliveries)
    }

    /// Returns the bytes of the message, where its sender wrote them; `None` in a forked child, or if the memory is
    /// corrupt.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        let queue = self.attachment().enter().ok()?;
        self.message.as_ref()?.bytes(queue)
    }

    /// Acknowledges the message (`Release`).
    pub(super) fn acknowledge(&mut self) {
        let Ok(queue) = self.count.0.enter() else {
            return;
        };
        if let Some(message) = self.message.take() {
            // The next operation meets a corrupt word, too, and reports it.
            let _ = message.attach(queue).acknowledge();
        }
        // After the last lease another operation follows that counts.
        if self.attachment().leases.load(Ordering::Relaxed) > 1 {
            queue.count_lease_operation();
        }
    }

    /// Counts an operation on this lease, which returns its message if counting unwinds.
    pub(super) fn count_operation(&self) {
        if let Ok(queue) = self.attachment().enter() {
            queue.count_lease_operation();
        }
    }
}

impl Drop for LeasedMessage {
    fn drop(&mut self) {
        if mutant!(LeaseDropAcknowledges) {
            self.acknowledge();
        }
        if let Some(message) = self.message.take()
            && let Ok(queue) = self.attachment().enter()
        {
            drop(message.attach(queue));
        }
    }
}

/// One lease of this process, counted for as long as this lives.
pub(super) struct LeaseCount(Arc<Attachment>);

/// Permission to take one message for a lease. While it lives, no other thread of this process takes one.
pub(super) struct LeasePermit<'a> {
    attachment: &'a Arc<Attachment>,
    _one_at_a_time: MutexGuard<'a, ()>,
}

impl<'a> LeasePermit<'a> {
    /// Returns `None` if this process has as many leases as it may have.
    #[inline(always)]
    pub(super) fn acquire(attachment: &'a Arc<Attachment>) -> Option<Self> {
        let max = attachment.settings().max_leases as usize;
        let one_at_a_time = attachment.leasing.lock();
        // Relaxed: the lock orders all threads that raise the count, and one that lowers it at the same time does no
        // harm.
        if attachment.leases.load(Ordering::Relaxed) >= max {
            return None;
        }
        Some(Self {
            attachment,
            _one_at_a_time: one_at_a_time,
        })
    }

    /// Counts the lease of a message that was taken.
    #[inline(always)]
    pub(super) fn count(self) -> LeaseCount {
        let one = usize::from(!mutant!(LeaseNotCounted));
        self.attachment.leases.fetch_add(one, Ordering::Relaxed);
        LeaseCount(Arc::clone(self.attachment))
    }
}

impl Drop for LeaseCount {
    fn drop(&mut self) {
        let counted = !mutant!(LeaseCountNeverFalls) && !mutant!(LeaseNotCounted);
        self.0
            .leases
            .fetch_sub(usize::from(counted), Ordering::Relaxed);
    }
}
