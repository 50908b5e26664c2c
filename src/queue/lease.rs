//! A message in hand, and the public guard around it.

use super::attachment::Attachment;
use super::batches::Part;
use crate::codec::{Bincode, Codec, DecodeError};
use crate::protocol::Corrupt;
use crate::protocol::steps::{OwnedBlock, batch, settle};
use crate::sync::Ordering;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use std::sync::Arc;

/// A block that this process holds; returned to the queue (`Return`) unless it is dealt with otherwise.
pub(super) struct Held<'a> {
    attachment: &'a Attachment,
    block: OwnedBlock,
}

impl<'a> Held<'a> {
    #[inline(always)]
    pub(super) fn new(attachment: &'a Attachment, block: OwnedBlock) -> Self {
        Self { attachment, block }
    }

    /// The message, still where its sender wrote it.
    #[inline(always)]
    pub(super) fn bytes(&self) -> Result<&[u8], Corrupt> {
        self.attachment.segment().payload(&self.block)
    }

    /// The block, to be dealt with by the caller.
    #[inline(always)]
    pub(super) fn into_block(mut self) -> (&'a Attachment, OwnedBlock) {
        let block = self.block.take();
        let attachment = self.attachment;
        core::mem::forget(self);
        (attachment, block)
    }

    /// Whether the block holds several messages.
    #[inline(always)]
    pub(super) fn is_batch(&self) -> bool {
        batch::is_batch(self.attachment.segment(), self.block.index())
    }

    /// `Release`.
    #[inline(always)]
    pub(super) fn acknowledge(self) -> Result<(), Corrupt> {
        let (attachment, block) = self.into_block();
        // The same look as that of the way to the block's word, so that it costs a small message nothing.
        if !attachment
            .segment()
            .small_blocks()
            .contains(&block.index().get())
        {
            return acknowledge_larger(attachment, block);
        }
        settle::acknowledge(attachment.segment(), block)
    }

    /// `Return`, for a message that can't be used by anybody.
    pub(super) fn reject(self) -> Result<(), Corrupt> {
        let (attachment, block) = self.into_block();
        if mutant!(UndecodableReturned) {
            return settle::return_message(attachment.segment(), block);
        }
        settle::reject(attachment.segment(), block)
    }
}

impl Drop for Held<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        give_back(self.attachment, self.block.take());
    }
}

/// `Release` for a message that may have been so large that its memory is to be given back.
#[inline(never)]
fn acknowledge_larger(attachment: &Attachment, block: OwnedBlock) -> Result<(), Corrupt> {
    let index = block.index();
    settle::acknowledge(attachment.segment(), block)?;
    attachment.segment().trim(attachment.row(), index);
    Ok(())
}

/// By value, so that a message that is acknowledged never has to leave the registers.
#[cold]
#[inline(never)]
fn give_back(attachment: &Attachment, block: OwnedBlock) {
    if attachment.is_forked_child() {
        return;
    }
    // Corrupt memory is reported by the operation that meets it; here nobody listens.
    let index = block.index();
    let _ = settle::return_message(attachment.segment(), block);
    // After a cancel the block is free now.
    attachment.segment().trim(attachment.row(), index);
}

/// A message that was taken: a block, or a part of one that several messages share.
pub(super) enum Taken<'a> {
    Block(Held<'a>),
    Part(Part),
}

impl Taken<'_> {
    /// The message, still where its sender wrote it.
    #[inline]
    pub(super) fn bytes(&self) -> Result<&[u8], Corrupt> {
        match self {
            Self::Block(held) => held.bytes(),
            Self::Part(part) => part.bytes(),
        }
    }

    /// `Release`.
    #[inline]
    pub(super) fn acknowledge(self) -> Result<(), Corrupt> {
        match self {
            Self::Block(held) => held.acknowledge(),
            Self::Part(part) => part.acknowledge(),
        }
    }

    /// `Return`, for a message that can't be used by anybody.
    pub(super) fn reject(self) -> Result<(), Corrupt> {
        match self {
            Self::Block(held) => held.reject(),
            Self::Part(part) => part.reject(),
        }
    }
}

/// A message that has been received and not yet acknowledged.
///
/// While the lease lives, nobody else gets the message. [`ack`](Lease::ack) ends that for good; dropping the
/// lease, as a panic does, or [`nack`](Lease::nack) returns the message to the queue: it is handed out again,
/// before newer ones, until it has been handed out as often as
/// [`Options::max_deliveries`](crate::Options::max_deliveries) allows; then it becomes a dead letter.
///
/// A lease outlives the receiver that it came from, and the closing of the queue. One that is forgotten
/// ([`core::mem::forget`]) keeps its message, and this process's place among those attached, until the process ends.
///
/// A message that [`Sender::send_many`](crate::Sender::send_many) has batched with others is leased by itself, but
/// comes back together with its batch, or becomes a dead letter with it: when all of it has been handed out, or its
/// receiver was dropped, and no lease of another of its messages is left.
///
/// # Examples
///
/// ```
/// let (tx, rx) = workring::channel::<String>(4)?;
/// tx.send("resize".to_owned())?;
///
/// let lease = rx.lease()?;
/// assert_eq!((lease.as_str(), lease.deliveries()), ("resize", 0));
/// drop(lease); // did not work out
///
/// let lease = rx.lease()?;
/// assert_eq!(lease.deliveries(), 1);
/// assert_eq!(lease.ack(), "resize");
/// assert!(rx.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a lease returns the message to the queue"]
pub struct Lease<T, C: Codec<T> = Bincode> {
    /// Before the message, so that it is returned before the user's `Drop` runs, which may take its time.
    held: Leased,
    message: T,
    codec: PhantomData<fn() -> C>,
}

/// What a lease holds: as [`Held`], but counted, and independent of the receiver.
pub(super) struct Leased {
    count: LeaseCount,
    message: Option<Message>,
}

/// As [`Taken`], without its place in the types of the receiver.
enum Message {
    Block(OwnedBlock),
    Part(Part),
}

impl Leased {
    /// The message just taken by the attachment that `count` is of.
    pub(super) fn new(count: LeaseCount, taken: Taken<'_>) -> Self {
        let message = match taken {
            Taken::Block(held) => Message::Block(held.into_block().1),
            Taken::Part(part) => Message::Part(part),
        };
        Self {
            count,
            message: Some(message),
        }
    }

    pub(super) fn attempts(&self) -> u32 {
        match &self.message {
            Some(Message::Block(block)) => block.word().failed_deliveries().into(),
            Some(Message::Part(part)) => part.attempts(),
            None => 0,
        }
    }

    /// The message, still where its sender wrote it.
    pub(super) fn bytes(&self) -> Result<&[u8], Corrupt> {
        if self.count.0.is_forked_child() {
            return Err(Corrupt::NotOwned);
        }
        match self.message.as_ref().ok_or(Corrupt::NotOwned)? {
            Message::Block(block) => self.count.0.segment().payload(block),
            Message::Part(part) => part.bytes(),
        }
    }

    fn take(&mut self) -> Option<Taken<'_>> {
        Some(match self.message.take()? {
            Message::Block(block) => Taken::Block(Held::new(&self.count.0, block)),
            Message::Part(part) => Taken::Part(part),
        })
    }

    /// `Release`. Nothing to do if it has been dealt with.
    pub(super) fn acknowledge(&mut self) {
        if self.count.0.is_forked_child() {
            return;
        }
        if let Some(taken) = self.take() {
            // A corrupt word is met, and reported, by the next operation as well.
            let _ = taken.acknowledge();
        }
        // After the last one comes another lease, which counts.
        if self.count.0.leases.load(Ordering::Relaxed) > 1 {
            self.count.0.count_operation();
        }
    }

    /// Counts an operation on this lease, which is returned if that unwinds.
    pub(super) fn count_operation(&self) {
        if !self.count.0.is_forked_child() {
            self.count.0.count_operation();
        }
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        if mutant!(LeaseDropAcknowledges) {
            self.acknowledge();
        }
        drop(self.take());
    }
}

/// One lease of this process, counted for as long as it lives.
pub(super) struct LeaseCount(Arc<Attachment>);

impl LeaseCount {
    /// What `take` gives, with a lease counted for it; the limit if there are that many already.
    pub(super) fn with<R, E>(
        attachment: &Arc<Attachment>,
        take: impl FnOnce() -> Result<Option<R>, E>,
    ) -> Result<Result<Option<(Self, R)>, E>, usize> {
        let max = attachment.segment().settings().max_leases as usize;
        let _one_at_a_time = attachment.leasing.lock();
        // Relaxed: the lock orders all that raise the count, and one that is lowered meanwhile does no harm.
        if attachment.leases.load(Ordering::Relaxed) >= max {
            return Err(max);
        }
        Ok(take().map(|taken| {
            taken.map(|message| {
                let more = usize::from(!mutant!(LeaseNotCounted));
                attachment.leases.fetch_add(more, Ordering::Relaxed);
                (Self(Arc::clone(attachment)), message)
            })
        }))
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

impl<T, C: Codec<T>> Lease<T, C> {
    /// The lease of a message just taken by the attachment that `count` is of.
    pub(super) fn new(count: LeaseCount, taken: Taken<'_>) -> Result<Self, Failed> {
        // If the codec panics, `taken` returns the message.
        match C::decode(taken.bytes().map_err(Failed::Corrupt)?) {
            Ok(message) => Ok(Self {
                message,
                held: Leased::new(count, taken),
                codec: PhantomData,
            }),
            Err(error) => {
                taken.reject().map_err(Failed::Corrupt)?;
                Err(Failed::Decode(error))
            }
        }
    }

    /// Returns how many deliveries of this message, to any process, came before this one and failed: 0 for the first
    /// delivery. A delivery fails when its receiver returns the message, or dies while it holds it.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        self.held.attempts()
    }

    /// The message is done with: nobody will get it again. Gives it to the caller. Never waits.
    #[allow(
        clippy::must_use_candidate,
        reason = "acknowledging is the point; the message may not be needed"
    )]
    pub fn ack(mut self) -> T {
        self.held.acknowledge();
        self.message
    }

    /// Return the message to the queue, as dropping the lease does. Never waits.
    pub fn nack(self) {
        self.held.count_operation();
        drop(self);
    }
}

/// Why there is no lease although there was a message.
pub(super) enum Failed {
    Decode(DecodeError),
    Corrupt(Corrupt),
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
