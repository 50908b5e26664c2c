//! The sending end, and how it sends one message.

use super::allocator::Allocator;
use super::attachment::{Attachment, Entered};
use super::block_writer::BlockWriter;
use super::end::sealed::{AnyAttachment, AnyHandle, EndRole};
use super::end::{End, Handle, sealed};
use super::failure::{Failure, SendFailure};
use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
#[cfg(feature = "async")]
use super::reactor::Word;
use super::wait::Awaited;
use crate::codec::{Bincode, Codec, EncodeError};
use crate::error::{SendError, SendTimeoutError, TrySendError};
use crate::protocol::peers::Role;
use crate::protocol::ring::Hint;
use crate::protocol::steps::OwnedBlock;
use crate::protocol::steps::send::{self, Publish};
use crate::protocol::{Corrupt, SharedState};
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
    /// The message is in this block, but the queue is full.
    Full(OwnedBlock),
    /// The message does not fit the smallest block, or there is none free.
    NotSmall,
    Closed,
    Forked,
    Corrupt(Corrupt),
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

    /// Sends the usual message: it fits the smallest block, one is free, and the queue has room. Everything is in
    /// registers here: an exchange waits for all stores before it, also for those to this thread's stack.
    #[inline(always)]
    fn send_small<M, D: Codec<M>>(&self, message: &M) -> SmallSend {
        let Ok(queue) = self.handle.begin() else {
            return SmallSend::Forked;
        };
        if self.allocator.likely_class() != 0 {
            return SmallSend::NotSmall;
        }
        let words = queue.view();
        let Some(mut writer) = self.allocator.smallest(queue, words) else {
            return SmallSend::NotSmall;
        };
        let Ok(payload) = words.payload_mut(writer.block_mut()) else {
            return SmallSend::NotSmall;
        };
        let room = payload.len();
        let length = match D::encode(message, payload) {
            // `send_after` reports a codec that claims to have written more than there was room for.
            Ok(length) if length <= room => length,
            _ => return SmallSend::NotSmall,
        };
        if let Err(corrupt) = writer.offer_with(words, length) {
            return SmallSend::Corrupt(corrupt);
        }
        match send::publish(queue.segment(), words, writer.block_mut(), &self.room) {
            Ok(Publish::Accepted) => {
                writer.forget();
                SmallSend::Accepted
            }
            Ok(Publish::Full) => SmallSend::Full(writer.into_block()),
            Ok(Publish::Closed) => SmallSend::Closed,
            Err(corrupt) => SmallSend::Corrupt(corrupt),
        }
    }

    /// Does the same as [`send_small`](Self::send_small), in a function of its own.
    #[cfg(feature = "async")]
    #[inline(never)]
    pub(super) fn send_at_once(&self, message: &T) -> SmallSend {
        self.send_small::<T, C>(message)
    }

    /// Sends a message after a first attempt.
    #[cold]
    #[inline(never)]
    pub(super) fn send_after<M, D: Codec<M>, P: WaitPolicy>(
        &self,
        attempt: SmallSend,
        message: &M,
        policy: &P,
    ) -> Result<(), Failure<P::Error, SendFailure>> {
        let queue = self.enter_again()?;
        match attempt {
            SmallSend::Accepted => Ok(()),
            SmallSend::NotSmall => self.send_sized::<M, D, P>(queue, message, policy),
            SmallSend::Full(block) => {
                let mut writer = BlockWriter::new(queue, block);
                self.wait_for_room(queue, writer.block_mut(), policy)?;
                writer.forget();
                Ok(())
            }
            SmallSend::Closed => Err(SendFailure::Closed.into()),
            SmallSend::Forked => Err(SendFailure::Forked.into()),
            SmallSend::Corrupt(corrupt) => Err(SendFailure::Corrupt(corrupt).into()),
        }
    }

    /// Sends a message that is not small, that could not be encoded at once, or for which no block was free.
    #[cold]
    fn send_sized<M, D: Codec<M>, P: WaitPolicy>(
        &self,
        queue: Entered<'_>,
        message: &M,
        policy: &P,
    ) -> Result<(), Failure<P::Error, SendFailure>> {
        // That the queue is closed matters more than any other reason.
        if queue.segment().lifecycle().load().is_closing() {
            return Err(SendFailure::Closed.into());
        }
        let likely = self.allocator.likely_class();
        if likely > 0
            && let Some(mut writer) = self.allocator.block(queue, likely)
        {
            let payload = writer.payload().map_err(SendFailure::from)?;
            let room = payload.len();
            let encoded = D::encode(message, payload);
            self.enter_again()?;
            match encoded {
                Ok(length) if length <= room => {
                    let writer = self.allocator.offer_in_right_size(writer, length)?;
                    return self.publish(writer, policy);
                }
                Ok(_) | Err(EncodeError::NoRoom) => {}
                Err(error) => return Err(SendFailure::Encode(error).into()),
            }
        }
        let writer = self.encode_exactly::<M, D, P>(message, policy)?;
        self.publish(writer, policy)
    }

    /// Enters again after a call of the codec, which may have forked (ATTACH-4).
    fn enter_again(&self) -> Result<Entered<'_>, SendFailure> {
        Ok(self.handle.enter()?)
    }

    /// Returns a block with the message, offered, when the likely class was wrong or had no block: measures the message
    /// first, then waits for a block.
    fn encode_exactly<M, D: Codec<M>, P: WaitPolicy>(
        &self,
        message: &M,
        policy: &P,
    ) -> Result<BlockWriter<'_>, Failure<P::Error, SendFailure>> {
        let len = D::encoded_len(message).map_err(SendFailure::Encode)?;
        let writer = self.wait_for_block(self.enter_again()?, len, policy)?;
        Ok(self.encode_in::<M, D>(writer, message, len)?)
    }

    /// Returns the length of the encoded message.
    pub(super) fn measure(&self, message: &T) -> Result<usize, SendFailure> {
        let len = C::encoded_len(message).map_err(SendFailure::Encode)?;
        self.enter_again()?;
        Ok(len)
    }

    /// Encodes a message whose length was measured, and offers it.
    pub(super) fn encode_in<'a, M, D: Codec<M>>(
        &self,
        mut writer: BlockWriter<'a>,
        message: &M,
        len: usize,
    ) -> Result<BlockWriter<'a>, SendFailure> {
        let inconsistent = |what| {
            SendFailure::Encode(EncodeError::failed(format!(
                "the codec asked for {len} bytes, but {what}"
            )))
        };
        let encoded = D::encode(message, writer.payload()?);
        self.enter_again()?;
        let length = match encoded {
            Ok(length) if length <= len => length,
            Ok(length) => return Err(inconsistent(format!("wrote {length}"))),
            Err(EncodeError::NoRoom) => return Err(inconsistent("needs more".to_owned())),
            Err(error) => return Err(SendFailure::Encode(error)),
        };
        writer.offer(length)?;
        Ok(writer)
    }

    /// Allocates a block for a message of `len` bytes. Waits while none is free.
    pub(super) fn wait_for_block<'a, P: WaitPolicy>(
        &self,
        queue: Entered<'a>,
        len: usize,
        policy: &P,
    ) -> Result<BlockWriter<'a>, Failure<P::Error, SendFailure>> {
        let awaited = Awaited {
            word: queue.segment().blocks(),
            own_side: queue.segment().tail(),
            other_side: queue.segment().head(),
        };
        let attempt = || self.allocator.block_for(queue, len);
        #[cfg(feature = "async")]
        policy.note_word(Word::Blocks);
        self.handle
            .waiter
            .wait_for(queue, &awaited, policy, attempt)
    }

    /// Publishes an offered message. Waits for room if there is none.
    #[inline(always)]
    pub(super) fn publish<P: WaitPolicy>(
        &self,
        mut writer: BlockWriter<'_>,
        policy: &P,
    ) -> Result<(), Failure<P::Error, SendFailure>> {
        self.publish_block(writer.queue(), writer.block_mut(), policy)?;
        writer.forget();
        Ok(())
    }

    /// Publishes an offered message. If that succeeds, this process no longer owns the block. Waits for room if there
    /// is none.
    #[inline(always)]
    pub(super) fn publish_block<P: WaitPolicy>(
        &self,
        queue: Entered<'_>,
        block: &mut OwnedBlock,
        policy: &P,
    ) -> Result<(), Failure<P::Error, SendFailure>> {
        match send::publish(queue.segment(), queue.view(), block, &self.room)
            .map_err(SendFailure::from)?
        {
            Publish::Accepted => Ok(()),
            Publish::Full => self.wait_for_room(queue, block, policy),
            Publish::Closed => Err(SendFailure::Closed.into()),
        }
    }

    /// Publishes an offered message after the queue was found full.
    #[cold]
    pub(super) fn wait_for_room<P: WaitPolicy>(
        &self,
        queue: Entered<'_>,
        block: &mut OwnedBlock,
        policy: &P,
    ) -> Result<(), Failure<P::Error, SendFailure>> {
        let segment = queue.segment();
        let attempt = || match send::publish(segment, queue.view(), block, &self.room)? {
            Publish::Accepted => Ok(Some(())),
            Publish::Full => Ok(None),
            Publish::Closed => Err(SendFailure::Closed),
        };
        #[cfg(feature = "async")]
        policy.note_word(Word::Space);
        let awaited = Awaited {
            word: segment.space(),
            own_side: segment.tail(),
            other_side: segment.head(),
        };
        self.handle
            .waiter
            .wait_more(queue, &awaited, policy, attempt)
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
