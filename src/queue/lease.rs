//! Leases: messages that are received and not yet acknowledged.

use super::attachment::{Attachment, Entered};
use super::batches::{BatchedMessage, HeldBatch, Place};
use super::failure::{Failure, RecvFailure};
use super::held_block::{self, HeldBlock};
use super::taken::{DetachedMessage, TakenMessage};
use crate::codec::{Bincode, Codec, DecodeError};
use crate::protocol::steps::OwnedBlock;
use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
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
    /// Decodes a message. If the codec panics, or fails, the message is no longer leased. The result is the one of the
    /// caller: moving a message on the way costs more than everything else here.
    #[inline(always)]
    pub(super) fn decode<E: From<Failure<W, RecvFailure>>, W>(
        leased: LeasedMessage<'a>,
    ) -> Result<Self, E> {
        let bytes = match leased.bytes() {
            Ok(bytes) => bytes,
            Err(failure) => return Err(Failure::from(failure).into()),
        };
        match C::decode(bytes) {
            Ok(message) => Ok(Self {
                leased,
                message,
                codec: PhantomData,
            }),
            Err(error) => Err(Failure::from(leased.undecodable(error)).into()),
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

/// A message that is counted as leased. Dropping it returns it to the queue.
pub(super) struct LeasedMessage<'a>(
    /// `None` once it is settled, or in another lease.
    Option<Parts<'a>>,
);

struct Parts<'a> {
    keeper: Keeper<'a>,
    message: DetachedMessage,
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

    /// Counts the end of a lease. Returns whether this process may have others.
    fn count_end(&self) -> bool {
        match self {
            Self::Receiver(attachment) => attachment.leases.remove(),
            Self::Lease(attachment) => attachment.leases.remove_owned(),
        }
    }
}

impl<'a> LeasedMessage<'a> {
    /// Makes the lease of a message that was taken with this attachment and counted.
    #[inline(always)]
    pub(super) fn counted(attachment: &'a Arc<Attachment>, message: DetachedMessage) -> Self {
        Self(Some(Parts {
            keeper: Keeper::Receiver(attachment),
            message,
        }))
    }

    /// Makes the lease keep the attachment alive itself.
    pub(super) fn into_owned(mut self) -> LeasedMessage<'static> {
        LeasedMessage(self.0.take().map(|Parts { keeper, message }| {
            let attachment = Arc::clone(keeper.attachment());
            if matches!(keeper, Keeper::Receiver(_)) {
                attachment.leases.make_owned();
            }
            Parts {
                keeper: Keeper::Lease(attachment),
                message,
            }
        }))
    }

    pub(super) fn deliveries(&self) -> u32 {
        self.0
            .as_ref()
            .map_or(0, |parts| parts.message.deliveries())
    }

    /// Returns the bytes of the message, where its sender wrote them. Fails in a forked child, too.
    #[inline(always)]
    pub(super) fn bytes(&self) -> Result<&[u8], RecvFailure> {
        let Some(Parts { keeper, message }) = &self.0 else {
            return Ok(&[]);
        };
        message.bytes(keeper.attachment().enter()?)
    }

    /// Acknowledges the message (`Release`). Counts as an operation, unless this was the last lease: then another
    /// operation follows that counts.
    #[inline(always)]
    pub(super) fn acknowledge(self) {
        // Not dropped: for that it would have to be in memory.
        let mut lease = ManuallyDrop::new(self);
        // By reference: moving the parts costs more than what follows.
        let Some(Parts {
            keeper: Keeper::Receiver(attachment),
            message: DetachedMessage::Block(block),
        }) = &mut lease.0
        else {
            return lease.0.take().map_or((), acknowledge_unusual);
        };
        let attachment = *attachment;
        let Ok(queue) = attachment.enter() else {
            return;
        };
        let words = queue.view();
        let (block, header) = block.take_rewritten(words);
        // The next operation meets a corrupt word, too, and reports it.
        let _ = held_block::acknowledge(queue, words, header, block);
        if attachment.leases.remove() {
            queue.count_lease_operation();
        }
    }

    /// Makes a message that the codec cannot decode a dead letter.
    #[cold]
    pub(super) fn undecodable(mut self, error: DecodeError) -> RecvFailure {
        let Some(Parts { keeper, message }) = self.0.take() else {
            return RecvFailure::Decode(error);
        };
        // The codec may have forked (ATTACH-4).
        let Ok(queue) = keeper.attachment().enter() else {
            return RecvFailure::Forked;
        };
        let failure = message.attach(queue).undecodable(error);
        keeper.count_end();
        failure
    }

    /// Counts an operation on this lease, which returns its message if counting unwinds.
    pub(super) fn count_operation(&self) {
        if let Some(parts) = &self.0
            && let Ok(queue) = parts.keeper.attachment().enter()
        {
            queue.count_lease_operation();
        }
    }
}

impl Drop for LeasedMessage<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        match self.0.take() {
            None => {}
            Some(Parts { keeper, message }) => match message {
                DetachedMessage::Block(mut block) => return_block(keeper, block.take()),
                DetachedMessage::Batched(message) => {
                    let (batch, place) = message.into_parts();
                    return_batched(keeper, batch, place);
                }
            },
        }
    }
}

// The parts of a lease are passed on piece by piece, each small enough for registers. If a function took the whole, the
// compiler would keep every lease in memory, and copy it there each time it is moved: a quarter of a receiver's time.

/// Acknowledges a message of a batch, or one whose lease is owned.
#[inline(always)]
fn acknowledge_unusual(Parts { keeper, message }: Parts<'_>) {
    match message {
        DetachedMessage::Block(mut block) => acknowledge_owned(keeper, block.take()),
        DetachedMessage::Batched(message) => {
            let (batch, place) = message.into_parts();
            acknowledge_batched(keeper, batch, place);
        }
    }
}

#[inline(never)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "by reference, it would have to be in memory"
)]
fn acknowledge_owned(keeper: Keeper<'_>, block: OwnedBlock) {
    acknowledge_message(&keeper, |queue| {
        TakenMessage::Block(HeldBlock::new(queue, block))
    });
}

#[inline(never)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "by reference, it would have to be in memory"
)]
fn acknowledge_batched(keeper: Keeper<'_>, batch: Arc<HeldBatch>, place: Place) {
    acknowledge_message(&keeper, |_| {
        TakenMessage::Batched(BatchedMessage::from_parts(batch, place))
    });
}

fn acknowledge_message<'a>(
    keeper: &'a Keeper<'_>,
    message: impl FnOnce(Entered<'a>) -> TakenMessage<'a>,
) {
    let Ok(queue) = keeper.attachment().enter() else {
        return;
    };
    // As in `LeasedMessage::acknowledge`.
    let _ = message(queue).acknowledge();
    if keeper.count_end() {
        queue.count_lease_operation();
    }
}

/// Returns a message to the queue, and ends its lease.
#[cold]
#[inline(never)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "by reference, it would have to be in memory"
)]
fn return_block(keeper: Keeper<'_>, block: OwnedBlock) {
    return_message(&keeper, |queue| {
        TakenMessage::Block(HeldBlock::new(queue, block))
    });
}

/// Returns a message of a batch to the queue, and ends its lease.
#[cold]
#[inline(never)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "by reference, it would have to be in memory"
)]
fn return_batched(keeper: Keeper<'_>, batch: Arc<HeldBatch>, place: Place) {
    return_message(&keeper, |_| {
        TakenMessage::Batched(BatchedMessage::from_parts(batch, place))
    });
}

fn return_message<'a>(
    keeper: &'a Keeper<'_>,
    message: impl FnOnce(Entered<'a>) -> TakenMessage<'a>,
) {
    let Ok(queue) = keeper.attachment().enter() else {
        return;
    };
    let message = message(queue);
    if mutant!(LeaseDropAcknowledges) {
        let _ = message.acknowledge();
    } else {
        drop(message);
    }
    keeper.count_end();
}
