//! The sending end.

use super::attachment::Attachment;
use super::end::sealed::{AnyAttachment, AnyHandle, EndRole};
use super::end::{End, Handle, sealed};
use super::wait::{
    Awaited, Deadline, Failure, Interrupted, NonBlocking, Reason, Unbounded, WaitPolicy, WouldBlock,
};
use crate::codec::{Bincode, Codec, EncodeError};
use crate::error::{SendError, SendTimeoutError, TrySendError};
use crate::os::budget::OutOfMemory;
use crate::protocol::peers::Role;
use crate::protocol::ring::Hint;
use crate::protocol::steps::send::{self, Publish};
use crate::protocol::steps::{OwnedBlock, batch, dead_letters};
use crate::protocol::{Corrupt, SharedState};
use crate::segment::geometry::COMMITTED_CLASSES;
use crate::sync::{AtomicU32, AtomicUsize, Ordering};
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;
use core::time::Duration;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;

/// The sending end of a queue.
///
/// Clones are senders of the same queue; threads may also share one. When the last sender of all processes
/// is dropped, the queue closes (unless [`Options::close_on_last_sender`](crate::Options) says otherwise).
///
/// A message that a send has accepted is received in the order of acceptance, whatever becomes of the
/// sender. A send that fails gives the message back.
///
/// # Examples
///
/// ```
/// let (tx, rx) = workring::channel::<u32>(2)?;
/// tx.send(1)?;
/// tx.try_send(2)?;
/// assert!(matches!(tx.try_send(3), Err(workring::error::TrySendError::Full(3))));
/// tx.close();
/// assert!(matches!(tx.send(4), Err(workring::SendError::Closed(4))));
/// assert_eq!(rx.iter().collect::<Result<Vec<_>, _>>()?, [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sender<T, C: Codec<T> = Bincode> {
    pub(super) handle: Handle,
    /// Every position before this is taken, as far as this handle knows.
    room: Hint,
    /// Where this handle looks next for a free block, for each class that has memory from the start.
    cursors: [AtomicU32; COMMITTED_CLASSES],
    /// The class of the last message: the next one is probably alike.
    class: AtomicUsize,
    /// Where `send_many` encodes, between two of its calls.
    pub(super) scratch: Box<Mutex<Option<Box<[u8]>>>>,
    types: PhantomData<fn(T) -> C>,
}

/// How many blocks apart senders start to look for free ones.
const SENDERS_APART: u32 = 61;

/// What became of a first attempt to send.
enum Attempt {
    /// The message is in the queue.
    Accepted,
    /// It lies in this block, but the queue is full.
    Full(OwnedBlock),
    /// It is larger than the smallest block, or there is none for it.
    NotSmall,
    Refused(Early),
}

/// The refusals that a first attempt meets. Small, so that it is returned in registers.
enum Early {
    Closed,
    Forked,
    Corrupt(Corrupt),
}

impl From<Early> for Refusal {
    fn from(early: Early) -> Self {
        match early {
            Early::Closed => Self::Closed,
            Early::Forked => Self::Forked,
            Early::Corrupt(corrupt) => Self::Corrupt(corrupt),
        }
    }
}

/// Why a send will never work.
pub(super) enum Refusal {
    Closed,
    /// This is a forked child of the attached process.
    Forked,
    TooLarge {
        len: usize,
        max: usize,
    },
    NoMemory(OutOfMemory),
    Encode(EncodeError),
    Corrupt(Corrupt),
}

impl Refusal {
    pub(super) fn into_send<V>(self, value: V) -> SendError<V> {
        match self {
            Self::Closed => SendError::Closed(value),
            Self::Forked => SendError::Forked(value),
            Self::TooLarge { len, max } => SendError::TooLarge { value, len, max },
            Self::NoMemory(OutOfMemory {
                limit,
                wanted,
                available,
            }) => SendError::NoMemory {
                value,
                limit,
                wanted,
                available,
            },
            Self::Encode(source) => SendError::Encode { value, source },
            Self::Corrupt(corrupt) => SendError::Corrupt {
                value,
                what: corrupt.what(),
            },
        }
    }

    pub(super) fn into_try_send<V>(self, value: V) -> TrySendError<V> {
        match self {
            Self::Closed => TrySendError::Closed(value),
            Self::Forked => TrySendError::Forked(value),
            Self::TooLarge { len, max } => TrySendError::TooLarge { value, len, max },
            Self::NoMemory(OutOfMemory {
                limit,
                wanted,
                available,
            }) => TrySendError::NoMemory {
                value,
                limit,
                wanted,
                available,
            },
            Self::Encode(source) => TrySendError::Encode { value, source },
            Self::Corrupt(corrupt) => TrySendError::Corrupt {
                value,
                what: corrupt.what(),
            },
        }
    }

    pub(super) fn into_send_timeout<V>(self, value: V) -> SendTimeoutError<V> {
        match self {
            Self::Closed => SendTimeoutError::Closed(value),
            Self::Forked => SendTimeoutError::Forked(value),
            Self::TooLarge { len, max } => SendTimeoutError::TooLarge { value, len, max },
            Self::NoMemory(OutOfMemory {
                limit,
                wanted,
                available,
            }) => SendTimeoutError::NoMemory {
                value,
                limit,
                wanted,
                available,
            },
            Self::Encode(source) => SendTimeoutError::Encode { value, source },
            Self::Corrupt(corrupt) => SendTimeoutError::Corrupt {
                value,
                what: corrupt.what(),
            },
        }
    }
}

impl From<Corrupt> for Refusal {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// A block that this sender has in hand; freed again (`Withdraw`) unless it is accepted.
pub(super) struct BlockWriter<'a> {
    attachment: &'a Attachment,
    block: OwnedBlock,
}

impl<'a> BlockWriter<'a> {
    #[inline(always)]
    pub(super) fn new(attachment: &'a Attachment, block: OwnedBlock) -> Self {
        Self { attachment, block }
    }

    #[inline(always)]
    pub(super) fn payload(&mut self) -> Result<&mut [u8], Corrupt> {
        self.attachment.segment().payload_mut(&mut self.block)
    }

    fn class(&self) -> Option<usize> {
        let classes = &self.attachment.segment().geometry().classes;
        classes
            .iter()
            .position(|class| class.blocks.contains(&self.block.index().get()))
    }

    /// Whether this is a copy in a forked child, where there is no such block.
    pub(super) fn is_forked_child(&self) -> bool {
        self.attachment.is_forked_child()
    }

    /// Say how long the message is, no longer than the room that there was, and offer it (`Offer`).
    #[inline(always)]
    pub(super) fn complete(&mut self, length: usize) -> Result<(), Corrupt> {
        let length = u32::try_from(length).map_err(|_| Corrupt::TooLong)?;
        send::offer(self.attachment.segment(), &mut self.block, length)
    }

    /// Say that this will be a batch of `count` messages.
    pub(super) fn begin_batch(&mut self, count: usize) -> Result<(), Corrupt> {
        batch::begin(self.attachment.segment(), &self.block, count)
    }

    /// As [`complete`](Self::complete), for a batch.
    pub(super) fn complete_batch(&mut self, length: usize) -> Result<(), Corrupt> {
        let length = u32::try_from(length).map_err(|_| Corrupt::TooLong)?;
        batch::offer(self.attachment.segment(), &mut self.block, length)
    }

    /// After it could not be sent: it may be changed again.
    pub(super) fn reopen(&mut self) -> Result<(), Corrupt> {
        send::reopen(self.attachment.segment(), &mut self.block)
    }

    /// What has been written so far.
    pub(super) fn so_far(&self) -> Result<&[u8], Corrupt> {
        self.attachment.segment().unfinished_payload(&self.block)
    }

    /// The block, to be dealt with by the caller.
    #[inline(always)]
    fn into_block(mut self) -> OwnedBlock {
        let block = self.block.take();
        core::mem::forget(self);
        block
    }

    /// It is accepted: nothing is in hand any more.
    #[inline(always)]
    pub(super) fn accepted(self) {
        core::mem::forget(self);
    }
}

impl Drop for BlockWriter<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if mutant!(ReservationKeepsBlock) {
            return;
        }
        withdraw(self.attachment, self.block.take());
    }
}

/// By value, so that a message that is accepted never has to leave the registers.
#[cold]
#[inline(never)]
fn withdraw(attachment: &Attachment, block: OwnedBlock) {
    if attachment.is_forked_child() {
        return;
    }
    let index = block.index();
    // Corrupt memory is reported by the operation that meets it; here nobody listens.
    let _ = send::withdraw(attachment.segment(), block);
    attachment.segment().trim(attachment.row(), index);
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// The sender that a new attachment has counted already.
    pub(super) fn counted(attachment: Arc<Attachment>) -> Self {
        Self::with(Handle::counted(attachment, Role::Sender))
    }

    pub(super) fn attachment(&self) -> &Attachment {
        &self.handle.attachment
    }

    fn with(handle: Handle) -> Self {
        let geometry = handle.attachment.segment().geometry();
        // Senders that start at different places do not fight over the same blocks.
        let nth = u32::from(handle.attachment.row().get()) + handle.attachment.count(Role::Sender);
        let spread = nth.wrapping_mul(SENDERS_APART);
        let cursors = core::array::from_fn(|class| {
            let blocks = geometry
                .classes
                .get(class)
                .map_or(0..1, |class| class.blocks.clone());
            AtomicU32::new(blocks.start + spread % (blocks.end - blocks.start).max(1))
        });
        Self {
            handle,
            room: Hint::new(),
            cursors,
            class: AtomicUsize::new(0),
            scratch: Box::default(),
            types: PhantomData,
        }
    }

    /// Send a message; wait while the queue is full, or has no free block for a message of this size.
    ///
    /// A message of more than 64 KiB may also have to wait for memory: while other such messages of this queue have
    /// what it needs. If there is none to wait for, the send fails at once.
    ///
    /// Ok means accepted: the message will be received, unless the queue is cancelled, even if this process
    /// dies right after.
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message: the queue is closed, or closes during the wait; an
    /// [`Interrupter`](crate::queue::Interrupter) ended the wait; the message is too large or can't be encoded; there is
    /// [no memory](SendError::NoMemory) for it.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_or(value, &Unbounded, |failure, value| match failure {
            Failure::Stopped(Interrupted) => SendError::Interrupted(value),
            Failure::Refused(refusal) => refusal.into_send(value),
        })
    }

    /// Send a message if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`], with the message: the queue is full or has no free block for it, or as for
    /// [`send`](Sender::send).
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.send_or(value, &NonBlocking, |failure, value| match failure {
            Failure::Stopped(WouldBlock) => TrySendError::Full(value),
            Failure::Refused(refusal) => refusal.into_try_send(value),
        })
    }

    /// Send a message; wait for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the message: the time is up, or as for [`send`](Sender::send).
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, &Deadline::after(timeout))
    }

    /// Send a message; wait until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the message: the time is up, or as for [`send`](Sender::send).
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_until(value, &Deadline(Some(deadline)))
    }

    fn send_until(&self, value: T, until: &Deadline) -> Result<(), SendTimeoutError<T>> {
        self.send_or(value, until, |failure, value| match failure {
            Failure::Stopped(Reason::Deadline) => SendTimeoutError::Timeout(value),
            Failure::Stopped(Reason::Interrupted) => SendTimeoutError::Interrupted(value),
            Failure::Refused(refusal) => refusal.into_send_timeout(value),
        })
    }

    /// Sends a message that stays with the caller.
    #[inline(always)]
    pub(super) fn send_by_reference<P: WaitPolicy, E>(
        &self,
        message: &T,
        patience: &P,
        error: impl FnOnce(Failure<P::Stop, Refusal>) -> E,
    ) -> Result<(), E> {
        match self.send_small(message) {
            Attempt::Accepted => Ok(()),
            other => self.send_later(other, message, patience).map_err(error),
        }
    }

    /// Send a message, or give it back in what `error` makes of the failure.
    #[inline(always)]
    fn send_or<P: WaitPolicy, E>(
        &self,
        value: T,
        patience: &P,
        error: impl FnOnce(Failure<P::Stop, Refusal>, T) -> E,
    ) -> Result<(), E> {
        match self.send_small(&value) {
            Attempt::Accepted => Ok(()),
            // By reference: to move a large message costs more than all else here.
            other => match self.send_later(other, &value, patience) {
                Ok(()) => Ok(()),
                Err(failure) => Err(error(failure, value)),
            },
        }
    }

    /// Send a message.
    pub(super) fn send_with<P: WaitPolicy>(
        &self,
        message: &T,
        patience: &P,
    ) -> Result<(), Failure<P::Stop, Refusal>> {
        self.send_later(self.send_small(message), message, patience)
    }

    /// The way of nearly every message: it fits the smallest block, one is free, and there is room. Everything is
    /// in registers here: an exchange waits for all stores before it, also for those to this thread's stack.
    #[inline(always)]
    fn send_small(&self, message: &T) -> Attempt {
        let attachment = &*self.handle.attachment;
        if attachment.is_forked_child() {
            return Attempt::Refused(Early::Forked);
        }
        self.handle.count_operation();
        let segment = attachment.segment();
        let [cursor, ..] = &self.cursors;
        if self.class.load(Ordering::Relaxed) != 0 {
            return Attempt::NotSmall;
        }
        let Some(owned) = send::allocate(segment, attachment.row(), segment.small_blocks(), cursor)
        else {
            return Attempt::NotSmall;
        };
        let mut filling = BlockWriter::new(attachment, owned);
        let Ok(payload) = filling.payload() else {
            return Attempt::NotSmall;
        };
        let room = payload.len();
        let length = match C::encode(message, payload) {
            // A codec that claims to have written more than there was room for is dealt with later.
            Ok(length) if length <= room => length,
            _ => return Attempt::NotSmall,
        };
        if let Err(corrupt) = filling.complete(length) {
            return Attempt::Refused(Early::Corrupt(corrupt));
        }
        match send::publish(segment, &mut filling.block, &self.room) {
            Ok(Publish::Accepted) => {
                filling.accepted();
                Attempt::Accepted
            }
            Ok(Publish::Full) => Attempt::Full(filling.into_block()),
            Ok(Publish::Closed) => Attempt::Refused(Early::Closed),
            Err(corrupt) => Attempt::Refused(Early::Corrupt(corrupt)),
        }
    }

    /// What is left to do after a first attempt.
    #[cold]
    #[inline(never)]
    fn send_later<P: WaitPolicy>(
        &self,
        attempt: Attempt,
        message: &T,
        patience: &P,
    ) -> Result<(), Failure<P::Stop, Refusal>> {
        match attempt {
            Attempt::Accepted => Ok(()),
            Attempt::NotSmall => self.send_sized(message, patience),
            Attempt::Full(block) => {
                let filling = BlockWriter::new(&self.handle.attachment, block);
                self.publish_later(filling, patience)
            }
            Attempt::Refused(early) => Err(Refusal::from(early).into()),
        }
    }

    /// `Publish`, waiting for room if there is none.
    #[inline(always)]
    fn publish<P: WaitPolicy>(
        &self,
        mut filling: BlockWriter<'_>,
        patience: &P,
    ) -> Result<(), Failure<P::Stop, Refusal>> {
        match send::publish(
            self.handle.attachment.segment(),
            &mut filling.block,
            &self.room,
        ) {
            Ok(Publish::Accepted) => {
                filling.accepted();
                Ok(())
            }
            Ok(Publish::Full) => self.publish_later(filling, patience),
            Ok(Publish::Closed) => Err(Refusal::Closed.into()),
            Err(corrupt) => Err(Refusal::Corrupt(corrupt).into()),
        }
    }

    #[cold]
    fn publish_later<P: WaitPolicy>(
        &self,
        mut filling: BlockWriter<'_>,
        patience: &P,
    ) -> Result<(), Failure<P::Stop, Refusal>> {
        self.wait_for_room(&mut filling, patience)?;
        filling.accepted();
        Ok(())
    }

    /// `Publish`. When it works, nothing is in hand any more.
    pub(super) fn publish_in_hand<P: WaitPolicy>(
        &self,
        filling: &mut BlockWriter<'_>,
        patience: &P,
    ) -> Result<(), Failure<P::Stop, Refusal>> {
        if self.handle.is_forked_child() {
            return Err(Refusal::Forked.into());
        }
        let segment = self.handle.attachment.segment();
        match send::publish(segment, &mut filling.block, &self.room).map_err(Refusal::from)? {
            Publish::Accepted => Ok(()),
            Publish::Full => self.wait_for_room(filling, patience),
            Publish::Closed => Err(Refusal::Closed.into()),
        }
    }

    /// `Publish`, after it has found the queue full.
    fn wait_for_room<P: WaitPolicy>(
        &self,
        filling: &mut BlockWriter<'_>,
        patience: &P,
    ) -> Result<(), Failure<P::Stop, Refusal>> {
        let attachment = &*self.handle.attachment;
        let segment = attachment.segment();
        let attempt = || match send::publish(segment, &mut filling.block, &self.room)? {
            Publish::Accepted => Ok(Some(())),
            Publish::Full => Ok(None),
            Publish::Closed => Err(Refusal::Closed),
        };
        let awaited = Awaited {
            word: segment.space(),
            progress: segment.tail(),
        };
        self.handle
            .waiter
            .wait_more(attachment, &awaited, patience, attempt)
    }

    /// Send a message that is not small, could not be encoded at once, or for which no block was free.
    #[cold]
    fn send_sized<P: WaitPolicy>(
        &self,
        message: &T,
        patience: &P,
    ) -> Result<(), Failure<P::Stop, Refusal>> {
        // Whatever else there may be to say of the message.
        if self.handle.is_closed() {
            return Err(Refusal::Closed.into());
        }
        let guess = self.class.load(Ordering::Relaxed);
        if guess > 0
            && let Some(mut filling) = self.allocate(guess)
        {
            let payload = filling.payload().map_err(Refusal::from)?;
            let room = payload.len();
            match C::encode(message, payload) {
                Ok(length) if length <= room => {
                    return self.publish(self.right_size(filling, length)?, patience);
                }
                Ok(_) | Err(EncodeError::NoRoom) => {}
                Err(error) => return Err(Refusal::Encode(error).into()),
            }
        }
        let filling = self.fill_exactly(message, patience)?;
        self.publish(filling, patience)
    }

    /// A block with the message, when the guess was wrong or there is no such block: find out first how long
    /// the message is, then wait for a block for it.
    fn fill_exactly<P: WaitPolicy>(
        &self,
        message: &T,
        patience: &P,
    ) -> Result<BlockWriter<'_>, Failure<P::Stop, Refusal>> {
        let len = C::encoded_len(message).map_err(Refusal::Encode)?;
        let mut filling = self.block_for(len, patience)?;
        let refused = |said| {
            Refusal::Encode(EncodeError::failed(format!(
                "the codec asked for {len} bytes, but {said}"
            )))
        };
        let length = match C::encode(message, filling.payload().map_err(Refusal::from)?) {
            Ok(length) if length <= len => length,
            Ok(length) => return Err(refused(format!("wrote {length}")).into()),
            Err(EncodeError::NoRoom) => return Err(refused("needs more".to_owned()).into()),
            Err(error) => return Err(Refusal::Encode(error).into()),
        };
        filling.complete(length).map_err(Refusal::from)?;
        Ok(filling)
    }

    /// A block for a message of `len` bytes, waiting while none is free.
    pub(super) fn block_for<P: WaitPolicy>(
        &self,
        len: usize,
        patience: &P,
    ) -> Result<BlockWriter<'_>, Failure<P::Stop, Refusal>> {
        if self.handle.is_forked_child() {
            return Err(Refusal::Forked.into());
        }
        let attachment = &*self.handle.attachment;
        let segment = attachment.segment();
        let attempt = || {
            if segment.lifecycle().load().is_closing() {
                return Err(Refusal::Closed);
            }
            let class = self.class_for(len)?;
            self.class.store(class, Ordering::Relaxed);
            if class >= COMMITTED_CLASSES {
                return self.huge_block(class);
            }
            Ok(self
                .allocate(class)
                .or_else(|| self.allocate_from_letters(class)))
        };
        let awaited = Awaited {
            word: segment.blocks(),
            progress: segment.tail(),
        };
        self.handle
            .waiter
            .wait_for(attachment, &awaited, patience, attempt)
    }

    fn class_for(&self, len: usize) -> Result<usize, Refusal> {
        let geometry = self.handle.attachment.segment().geometry();
        geometry.class_for(len).ok_or(Refusal::TooLarge {
            len,
            max: geometry.max_message,
        })
    }

    /// A message that is smaller than the last one moves to a smaller block, if one is free: the large ones
    /// are few.
    fn right_size<'a>(
        &'a self,
        mut filling: BlockWriter<'a>,
        length: usize,
    ) -> Result<BlockWriter<'a>, Refusal> {
        let class = self.class_for(length)?;
        if filling.class().is_some_and(|larger| class < larger) {
            self.class.store(class, Ordering::Relaxed);
            if let Some(mut smaller) = self.allocate(class)
                && smaller.class() == Some(class)
            {
                let encoded = filling.payload()?.get(..length).ok_or(Corrupt::TooLong)?;
                smaller
                    .payload()?
                    .get_mut(..length)
                    .ok_or(Corrupt::TooLong)?
                    .copy_from_slice(encoded);
                filling = smaller;
            }
        }
        filling.complete(length)?;
        Ok(filling)
    }

    /// A free block of `class`, or of the next one when all of those are in use; of huge ones, one that has memory.
    pub(super) fn allocate(&self, class: usize) -> Option<BlockWriter<'_>> {
        self.allocate_among(class..class + 2)
    }

    /// A free block of the first of these classes that has one.
    pub(super) fn allocate_among(&self, among: Range<usize>) -> Option<BlockWriter<'_>> {
        let attachment = &*self.handle.attachment;
        let (segment, row) = (attachment.segment(), attachment.row());
        let classes = segment.geometry().classes.iter().enumerate();
        for (number, class) in classes.skip(among.start).take(among.len()) {
            let block = match self.cursors.get(number) {
                Some(cursor) => send::allocate(segment, row, class.blocks.clone(), cursor),
                None => segment.allocate_committed(row, class),
            };
            if let Some(block) = block {
                return Some(BlockWriter::new(attachment, block));
            }
        }
        None
    }

    /// The block of a dead letter, if it gives way, when all blocks of `class` and the next are in use. Not while the
    /// queue is full, for then the message could not be sent anyway.
    fn allocate_from_letters(&self, class: usize) -> Option<BlockWriter<'_>> {
        let attachment = &*self.handle.attachment;
        let segment = attachment.segment();
        if !segment.settings().evict_dead_letters || send::is_full(segment) {
            return None;
        }
        let blocks = &segment.geometry().classes.get(class)?.blocks;
        let block = dead_letters::allocate_by_eviction(segment, attachment.row(), blocks)?;
        Some(BlockWriter::new(attachment, block))
    }

    /// Whether [`len`](Sender::len) is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.handle.count_look();
        self.handle.len() == 0
    }
}

impl<T, C: Codec<T>> Clone for Sender<T, C> {
    fn clone(&self) -> Self {
        Self::with(self.handle.clone())
    }
}

impl<T, C: Codec<T>> fmt::Debug for Sender<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("len", &self.handle.len())
            .field("capacity", &self.capacity())
            .field("is_closed", &self.handle.is_closed())
            .finish_non_exhaustive()
    }
}

impl<T, C: Codec<T>> End for Sender<T, C> {}

impl<T, C: Codec<T>> sealed::End for Sender<T, C> {
    const ROLE: EndRole = EndRole(Role::Sender);
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
