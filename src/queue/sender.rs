//! The sending end, and how it sends one message.

use super::allocator::Allocator;
use super::attachment::{Attachment, Entered};
use super::block_writer::BlockWriter;
use super::end::sealed::{AnyAttachment, AnyHandle, EndRole};
use super::end::{End, Handle, sealed};
use super::failure::{Failure, SendFailure};
use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
use super::prepared;
use crate::codec::{Bincode, Codec};
use crate::error::{SendError, SendTimeoutError, TrySendError};
use crate::protocol::Words;
use crate::protocol::ids::Position;
use crate::protocol::peers::Role;
use crate::protocol::ring::Hint;
use crate::protocol::steps::OwnedBlock;
use crate::protocol::steps::send::{self, Attempt};
use crate::segment::View;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Instant;

/// The sending end of a queue.
///
/// Clones are senders of the same queue; threads may also share one. When the last sender in any process is dropped,
/// the queue closes (unless [`Options::close_on_last_sender`](crate::Options) says otherwise).
///
/// First deliveries follow the order of acceptance, even if a sender dies. A message that is delivered again comes before
/// newer ones. A send that fails returns the message in its error.
///
/// # Examples
///
/// ```
/// use workring::SendError;
/// use workring::error::TrySendError;
///
/// let (tx, rx) = workring::channel::<u32>(2)?;
/// tx.send(1)?;
/// tx.try_send(2)?;
/// assert_eq!(tx.try_send(3), Err(TrySendError::Full(3)));
/// tx.close();
/// assert_eq!(tx.send(4), Err(SendError::Closed(4)));
/// assert_eq!(rx.iter().collect::<Result<Vec<_>, _>>()?, [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Sender<T, C: Codec<T> = Bincode> {
    pub(super) handle: Handle,
    pub(super) allocator: Allocator,
    /// Every position before this is taken, as far as this handle knows.
    pub(super) room: Hint,
    /// Where `send_many` encodes messages, kept between its calls.
    pub(super) scratch: Box<Mutex<Option<Box<[u8]>>>>,
    types: PhantomData<fn(T) -> C>,
}

/// What became of the first attempt to send. Small, so that it is returned in registers.
pub(super) enum SmallSend {
    /// The message is in the queue.
    Accepted,
    /// Nothing was tried: this thread prepares blocks, so this sender may have one for the message.
    Preparing,
    /// The message is in this block, and the first attempt to publish it has not succeeded.
    Offered(OwnedBlock, Attempt),
    /// The message does not fit the smallest block, or there is none free.
    NotSmall,
    /// The blocks beside the slots at this tail are in use: other senders have just taken them, or their last messages are
    /// held.
    TailInUse(Position),
    Forked,
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Creates the sender that a new attachment has counted already.
    pub(super) fn counted(attachment: Arc<Attachment>) -> Self {
        Self::with(Handle::counted(attachment, Role::Sender))
    }

    fn with(handle: Handle) -> Self {
        Self {
            allocator: Allocator::new(&handle.attachment),
            handle,
            room: Hint::new(),
            scratch: Box::default(),
            types: PhantomData,
        }
    }

    /// Sends a message. Blocks while the queue is full, or has no free block for a message of this size.
    ///
    /// Memory for messages above [`inline_len`](crate::Options::inline_len) is taken when the first message of a size is
    /// sent, unless it was [preallocated](crate::Options::preallocate). If there is not enough, the send fails with
    /// `NoMemory`. A message above 64 KiB first waits while others of this queue hold memory that it could use.
    ///
    /// `Ok` means accepted: the message will be delivered or become a dead letter, unless the queue is cancelled. That
    /// holds even if this process dies right afterwards. The number of dead letters that are kept is
    /// [limited](crate::Options::max_dead_letters).
    ///
    /// # Errors
    ///
    /// [`SendError`], with the message: the queue is closed, or closes during the wait; an
    /// [`Interrupter`](crate::queue::Interrupter) ended the wait; the message is too large or could not be encoded;
    /// there is [no memory](SendError::NoMemory) for it.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = workring::channel::<String>(16)?;
    /// tx.send("resize 7.png".to_owned())?;
    /// assert_eq!(rx.recv()?, "resize 7.png");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.send_with(value, &Unbounded)
    }

    /// Sends a message if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// [`TrySendError`], with the message: the queue is full or has no free block for it, or as for
    /// [`send`](Sender::send).
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, _rx) = workring::channel::<u32>(1)?;
    /// tx.try_send(1)?;
    /// let refused = tx.try_send(2).unwrap_err();
    /// assert!(refused.is_full());
    /// assert_eq!(refused.into_inner(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.send_with(value, &NonBlocking)
    }

    /// Sends a message. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the message: the time limit has passed, or as for [`send`](Sender::send).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let (tx, _rx) = workring::channel::<u32>(1)?;
    /// tx.send_timeout(1, Duration::from_secs(1))?;
    /// assert!(tx.send_timeout(2, Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_with(value, &Deadline::after(timeout))
    }

    /// Sends a message. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`SendTimeoutError`], with the message: the deadline has passed, or as for [`send`](Sender::send).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let deadline = Instant::now() + Duration::from_secs(1);
    /// for n in 0..4 {
    ///     tx.send_deadline(n, deadline)?; // one limit for all four
    /// }
    /// # drop(rx);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_with(value, &Deadline::at(deadline))
    }

    /// Returns whether no message waits for its first delivery. Messages that were returned are not counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.handle.count_operation();
        self.handle.len() == 0
    }

    #[inline(always)]
    fn send_with<P: WaitPolicy>(&self, value: T, policy: &P) -> Result<(), P::SendError<T>> {
        match self.send_small::<T, C>(&value) {
            SmallSend::Accepted => Ok(()),
            // By reference: moving a large message costs more than everything else here.
            other => match self.send_after::<T, C, P>(other, &value, policy) {
                Ok(()) => Ok(()),
                Err(failure) => Err((failure, value).into()),
            },
        }
    }

    /// Sends a message that stays with the caller.
    #[inline(always)]
    pub(super) fn send_by_reference<P: WaitPolicy>(
        &self,
        message: &T,
        policy: &P,
    ) -> Result<(), Failure<P::Error, SendFailure>> {
        self.send_encoded::<T, C, P>(message, policy)
    }

    /// Sends a message that stays with the caller, encoded by `D`. Receivers must be able to decode that.
    #[inline(always)]
    pub(super) fn send_encoded<M, D: Codec<M>, P: WaitPolicy>(
        &self,
        message: &M,
        policy: &P,
    ) -> Result<(), Failure<P::Error, SendFailure>> {
        match self.send_small::<M, D>(message) {
            SmallSend::Accepted => Ok(()),
            other => self.send_after::<M, D, P>(other, message, policy),
        }
    }

    /// Sends the usual message: it fits the block beside the slot at the tail, that is free, and the queue has room.
    /// Everything is in registers here: an exchange waits for all stores before it, also for those to this thread's stack.
    #[inline(always)]
    fn send_small<M, D: Codec<M>>(&self, message: &M) -> SmallSend {
        let Ok(queue) = self.handle.begin() else {
            return SmallSend::Forked;
        };
        if self.allocator.likely_class() != 0 {
            return SmallSend::NotSmall;
        }
        if prepared::is_preparing() {
            return SmallSend::Preparing;
        }
        let words = queue.view();
        let tail = words.tail().get();
        self.handle.prefetch.prefetch(words, tail);
        match send::allocate_beside(words, queue.peer(), tail) {
            Some(block) => self.send_in::<M, D>(queue, words, tail, block, message),
            None => SmallSend::TailInUse(tail),
        }
    }

    /// Sends a message in this block, if it fits. The block probably lies beside the slot of the position `place`.
    #[inline(always)]
    pub(super) fn send_in<M, D: Codec<M>>(
        &self,
        queue: Entered<'_>,
        words: View<'_>,
        place: Position,
        block: OwnedBlock,
        message: &M,
    ) -> SmallSend {
        // Withdrawn if the codec panics.
        let mut writer = BlockWriter::new(queue, block);
        let Ok(payload) = words.payload_mut_near(place, writer.block_mut()) else {
            return SmallSend::NotSmall;
        };
        let room = payload.len();
        let length = match D::encode(message, payload) {
            // `send_after` reports a codec that claims to have written more than there was room for.
            Ok(length) if length <= room => u32::try_from(length),
            _ => return SmallSend::NotSmall,
        };
        let index = writer.block_mut().index();
        let (Ok(length), Some(header)) = (length, words.block_near(place, index)) else {
            return SmallSend::NotSmall;
        };
        let mut block = writer.into_block();
        send::offer_block(header, &mut block, length);
        match send::publish_at_tail(queue.segment(), words, header, block, &self.room) {
            Ok(()) => SmallSend::Accepted,
            Err((block, attempt)) => SmallSend::Offered(block, attempt),
        }
    }

    /// Does the same as [`send_small`](Self::send_small), in a function of its own.
    #[cfg(feature = "async")]
    #[inline(never)]
    pub(super) fn send_at_once(&self, message: &T) -> SmallSend {
        self.send_small::<T, C>(message)
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
