//! Leases: messages that are received and not yet acknowledged.

use super::attachment::Attachment;
use super::batches::{HeldBatch, Place};
use super::failure::{Failure, RecvFailure};
use super::held_block::{self, HeldBlock};
use super::taken::DetachedMessage;
use crate::codec::{Bincode, Codec, DecodeError};
use crate::protocol::steps::OwnedBlock;
use crate::segment::{HasRead, ReadableBlock};
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
        self.leased.acknowledge(HasRead::All);
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
///
/// Between a lease and its acknowledgement runs code of the user, which may panic: then the lease is dropped. If the compiler
/// makes that a call which takes the lease's address, it keeps the lease in memory, and copies it there each time it is moved
/// (`docs/BENCHMARKS.md` says what that costs). So the drop must be small enough to be inlined even on a path that is hardly
/// ever taken: it is one call, and its arguments fit registers.
pub(super) struct LeasedMessage<'a> {
    /// `None` once it is settled, or in another lease. Not dropped by itself: that would be a second call.
    keeper: ManuallyDrop<Option<Keeper<'a>>>,
    message: Leased,
}

/// What keeps the attachment of a lease alive. A message of a batch has a keeper with the batch, any other has not.
enum Keeper<'a> {
    /// The receiver that the lease came from.
    Receiver(&'a Arc<Attachment>),
    /// The lease itself.
    Lease(Arc<Attachment>),
    /// The batch. The lease borrows its receiver.
    Batch(Arc<HeldBatch>),
    /// The batch. The lease borrows nothing.
    OwnedBatch(Arc<HeldBatch>),
}

/// The message of a lease.
enum Leased {
    Block(ReadableBlock),
    Batched(Place),
}

impl Keeper<'_> {
    #[inline(always)]
    fn attachment(&self) -> &Attachment {
        match self {
            Self::Receiver(attachment) => attachment,
            Self::Lease(attachment) => attachment,
            Self::Batch(batch) | Self::OwnedBatch(batch) => batch.attachment(),
        }
    }

    /// Counts the end of a lease. Returns whether this process may have others.
    fn count_end(&self) -> bool {
        let leases = &self.attachment().leases;
        match self {
            Self::Receiver(_) | Self::Batch(_) => leases.remove(),
            Self::Lease(_) | Self::OwnedBatch(_) => leases.remove_owned(),
        }
    }

    /// Keeps the attachment alive, and nothing else.
    fn into_attachment(self) -> Arc<Attachment> {
        match self {
            Self::Receiver(attachment) => Arc::clone(attachment),
            Self::Lease(attachment) => attachment,
            Self::Batch(batch) | Self::OwnedBatch(batch) => Arc::clone(batch.attachment()),
        }
    }

    /// Makes the keeper of a lease that borrows nothing.
    fn into_owned(self) -> Keeper<'static> {
        match self {
            Self::Receiver(attachment) => {
                attachment.leases.make_owned();
                Keeper::Lease(Arc::clone(attachment))
            }
            Self::Batch(batch) => {
                batch.attachment().leases.make_owned();
                Keeper::OwnedBatch(batch)
            }
            Self::Lease(attachment) => Keeper::Lease(attachment),
            Self::OwnedBatch(batch) => Keeper::OwnedBatch(batch),
        }
    }
}

impl<'a> LeasedMessage<'a> {
    /// Makes the lease of a message that was taken with this attachment and counted.
    #[inline(always)]
    pub(super) fn counted(attachment: &'a Arc<Attachment>, message: DetachedMessage) -> Self {
        let (keeper, message) = match message {
            DetachedMessage::Block(block) => (Keeper::Receiver(attachment), Leased::Block(block)),
            DetachedMessage::Batched(message) => {
                let (batch, place) = message.into_parts();
                (Keeper::Batch(batch), Leased::Batched(place))
            }
        };
        Self {
            keeper: ManuallyDrop::new(Some(keeper)),
            message,
        }
    }

    /// Makes the lease keep the attachment alive itself.
    pub(super) fn into_owned(self) -> LeasedMessage<'static> {
        let mut lease = ManuallyDrop::new(self);
        let keeper = lease.keeper.take().map(Keeper::into_owned);
        LeasedMessage {
            keeper: ManuallyDrop::new(keeper),
            message: core::mem::replace(&mut lease.message, Leased::Batched(Place::NONE)),
        }
    }

    pub(super) fn deliveries(&self) -> u32 {
        match &self.message {
            Leased::Block(block) => block.block().word().failed_deliveries().into(),
            Leased::Batched(place) => place.deliveries(),
        }
    }

    /// Returns the bytes of the message, where its sender wrote them. Fails in a forked child, too.
    #[inline(always)]
    pub(super) fn bytes(&self) -> Result<&[u8], RecvFailure> {
        match (&*self.keeper, &self.message) {
            (Some(keeper), Leased::Block(block)) => {
                Ok(block.bytes(keeper.attachment().enter()?.view()))
            }
            (Some(Keeper::Batch(batch) | Keeper::OwnedBatch(batch)), Leased::Batched(place)) => {
                batch.message(*place)
            }
            _ => Ok(&[]),
        }
    }

    /// Takes out what is needed to settle the message.
    #[inline(always)]
    fn take(&mut self) -> (Option<Keeper<'a>>, OwnedBlock, Place) {
        let keeper = self.keeper.take();
        match &mut self.message {
            Leased::Block(block) => (keeper, block.take(), Place::NONE),
            Leased::Batched(place) => (keeper, OwnedBlock::NONE, *place),
        }
    }

    /// Acknowledges the message (`Release`). Counts as an operation, unless this was the last lease: then another
    /// operation follows that counts.
    #[inline(always)]
    pub(super) fn acknowledge(self, read: HasRead) {
        // Not dropped: for that it would have to be in memory.
        let mut lease = ManuallyDrop::new(self);
        let lease = &mut *lease;
        let (Some(Keeper::Receiver(attachment)), Leased::Block(block)) =
            (&*lease.keeper, &mut lease.message)
        else {
            let (keeper, block, place) = lease.take();
            return acknowledge_unusual(keeper, block, place, read);
        };
        let attachment = *attachment;
        let Ok(queue) = attachment.enter() else {
            return;
        };
        let words = queue.view();
        let (block, header) = block.take_rewritten(words, read);
        // The next operation meets a corrupt word, too, and reports it.
        let _ = held_block::acknowledge(queue, words, header, block);
        if attachment.leases.remove() {
            queue.count_lease_operation();
        }
    }

    /// Makes a message that the codec cannot decode a dead letter.
    #[cold]
    pub(super) fn undecodable(self, error: DecodeError) -> RecvFailure {
        let (keeper, block, place) = ManuallyDrop::new(self).take();
        let Some(keeper) = keeper else {
            return RecvFailure::Decode(error);
        };
        // The codec may have forked (ATTACH-4).
        let Ok(queue) = keeper.attachment().enter() else {
            return RecvFailure::Forked;
        };
        let rejected = match &keeper {
            Keeper::Receiver(_) | Keeper::Lease(_) => HeldBlock::new(queue, block).reject(),
            Keeper::Batch(batch) | Keeper::OwnedBatch(batch) => batch.reject(place),
        };
        keeper.count_end();
        rejected.err().unwrap_or(RecvFailure::Decode(error))
    }

    /// Counts an operation on this lease, which returns its message if counting unwinds.
    pub(super) fn count_operation(&self) {
        if let Some(keeper) = &*self.keeper
            && let Ok(queue) = keeper.attachment().enter()
        {
            queue.count_lease_operation();
        }
    }
}

impl Drop for LeasedMessage<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let (keeper, block, _) = self.take();
        return_message(keeper, block);
    }
}

/// Acknowledges a message of a batch, or one whose lease is owned. `block` is that of a message alone, `place` that of one in a
/// batch.
#[inline(never)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "by reference, it would have to be in memory"
)]
fn acknowledge_unusual(keeper: Option<Keeper<'_>>, block: OwnedBlock, place: Place, read: HasRead) {
    let Some(keeper) = keeper else {
        return;
    };
    let Ok(queue) = keeper.attachment().enter() else {
        return;
    };
    // As in `LeasedMessage::acknowledge`.
    match &keeper {
        Keeper::Receiver(_) | Keeper::Lease(_) => {
            let _ = HeldBlock::new(queue, block).acknowledge(read);
        }
        Keeper::Batch(batch) | Keeper::OwnedBatch(batch) => {
            let _ = batch.acknowledge_message(place);
        }
    }
    if keeper.count_end() {
        // Without the batch, which goes back if this was its last message: the operation must hold nothing (LIVENESS-1).
        let attachment = keeper.into_attachment();
        if let Ok(queue) = attachment.enter() {
            queue.count_lease_operation();
        }
    }
}

/// Returns a message to the queue, and ends its lease. One of a batch returns with its batch, unless it is acknowledged.
#[cold]
#[inline(never)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "by reference, it would have to be in memory"
)]
fn return_message(keeper: Option<Keeper<'_>>, block: OwnedBlock) {
    let Some(keeper) = keeper else {
        return;
    };
    let Ok(queue) = keeper.attachment().enter() else {
        return;
    };
    if matches!(keeper, Keeper::Receiver(_) | Keeper::Lease(_)) {
        let held = HeldBlock::new(queue, block);
        if mutant!(LeaseDropAcknowledges) {
            let _ = held.acknowledge(HasRead::All);
        } else {
            drop(held);
        }
    }
    keeper.count_end();
}
