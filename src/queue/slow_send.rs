//! Sending a message that cannot be sent at once: it is not small, no block is free, or the queue is full; or whose sender may have
//! a block prepared for it.

use super::attachment::Entered;
use super::block_writer::BlockWriter;
use super::failure::{Failure, SendFailure};
use super::policy::WaitPolicy;
use super::prepared;
#[cfg(feature = "async")]
use super::reactor::Word;
use super::sender::{Sender, SmallSend};
use super::wait::Awaited;
use crate::codec::{Codec, EncodeError};
use crate::protocol::ids::Position;
use crate::protocol::steps::OwnedBlock;
use crate::protocol::steps::send::{self, Publish};
use crate::protocol::{Corrupt, SharedState, Words};

impl<T, C: Codec<T>> Sender<T, C> {
    /// Sends a message after a first attempt, or while this thread prepares blocks.
    #[cold]
    #[inline(never)]
    pub(super) fn send_after<M, D: Codec<M>, P: WaitPolicy>(
        &self,
        attempt: SmallSend,
        message: &M,
        policy: &P,
    ) -> Result<(), Failure<P::Error, SendFailure>> {
        let queue = self.enter_again()?;
        let attempt = match attempt {
            SmallSend::Preparing => self.send_and_prepare::<M, D>(queue, message),
            other => other,
        };
        let attempt = match attempt {
            SmallSend::TailInUse(tail) => self.send_elsewhere::<M, D>(queue, tail, message),
            other => other,
        };
        match attempt {
            SmallSend::Accepted => Ok(()),
            SmallSend::NotSmall | SmallSend::TailInUse(_) | SmallSend::Preparing => {
                self.send_sized::<M, D, P>(queue, message, policy)
            }
            SmallSend::Offered(block, attempt) => {
                let mut writer = BlockWriter::new(queue, block);
                let (segment, block) = (queue.segment(), writer.block_mut());
                let published = send::publish_after(segment, block, &self.room, attempt);
                self.finish(writer, published, policy)
            }
            SmallSend::Forked => Err(SendFailure::Forked.into()),
        }
    }

    /// Sends a small message in the block beside the slot at the tail, which this sender may have prepared, and then prepares
    /// the next one.
    fn send_and_prepare<M, D: Codec<M>>(&self, queue: Entered<'_>, message: &M) -> SmallSend {
        let words = queue.view();
        let tail = words.tail().get();
        self.handle.prefetch.prefetch(words, tail);
        let sent = match self.handle.prepared.allocate(queue, tail) {
            Some(block) => self.send_in::<M, D>(queue, words, tail, block, message),
            None => SmallSend::TailInUse(tail),
        };
        if matches!(sent, SmallSend::Accepted) {
            self.handle.prepared.prepare(queue);
        } else {
            prepared::stop();
        }
        sent
    }

    /// Sends a small message when the block beside the slot at the tail is in use: in that one after all if this sender has
    /// prepared it, or in another one.
    #[inline(never)]
    fn send_elsewhere<M, D: Codec<M>>(
        &self,
        queue: Entered<'_>,
        tail: Position,
        message: &M,
    ) -> SmallSend {
        let prepared = self.handle.prepared.take(queue, tail);
        match prepared.or_else(|| self.allocator.distant_cell(queue, tail)) {
            Some(block) => self.send_in::<M, D>(queue, queue.view(), tail, block, message),
            None => SmallSend::NotSmall,
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
        if let Some((mut writer, suitable)) = self.allocator.likely_block(queue) {
            let payload = writer.payload().map_err(SendFailure::from)?;
            let room = payload.len();
            let encoded = D::encode(message, payload);
            self.enter_again()?;
            match encoded {
                Ok(length) if suitable.is_some_and(|lengths| lengths.contains(&length)) => {
                    // No smaller class has room for it, so nothing needs to be copied.
                    writer.offer(length).map_err(SendFailure::from)?;
                    return self.publish(writer, policy);
                }
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
        // The block that this sender keeps may be the one that it needs (PREPARE-4).
        self.handle.prepared.withdraw(queue.attachment());
        let awaited = Awaited {
            word: queue.segment().blocks(),
            own_side: queue.segment().tail(),
            other_side: queue.segment().head(),
            is_in_stream: false,
        };
        let attempt = || self.allocator.block_for(queue, len);
        #[cfg(feature = "async")]
        policy.note_word(Word::Blocks);
        self.handle
            .waiter
            .wait_for(queue, &awaited, policy, attempt)
    }

    /// Publishes an offered message. Waits for room if there is none.
    pub(super) fn publish<P: WaitPolicy>(
        &self,
        mut writer: BlockWriter<'_>,
        policy: &P,
    ) -> Result<(), Failure<P::Error, SendFailure>> {
        let queue = writer.queue();
        let published = send::publish(
            queue.segment(),
            queue.view(),
            writer.block_mut(),
            &self.room,
        );
        self.finish(writer, published, policy)
    }

    /// Finishes a send whose message could be published, or not: waits for room if there was none.
    fn finish<P: WaitPolicy>(
        &self,
        mut writer: BlockWriter<'_>,
        published: Result<Publish, Corrupt>,
        policy: &P,
    ) -> Result<(), Failure<P::Error, SendFailure>> {
        match published.map_err(SendFailure::from)? {
            Publish::Accepted => {}
            Publish::Full => self.wait_for_room(writer.queue(), writer.block_mut(), policy)?,
            Publish::Closed => return Err(SendFailure::Closed.into()),
        }
        // Accepted: this process no longer owns the block.
        writer.forget();
        Ok(())
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
            is_in_stream: true,
        };
        self.handle
            .waiter
            .wait_more(queue, &awaited, policy, attempt)
    }
}
