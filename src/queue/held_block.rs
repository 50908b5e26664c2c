//! A block that a receive holds.

use super::attachment::{Attachment, Entered};
use super::failure::RecvFailure;
use crate::codec::DecodeError;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::ids::{BlockIndex, Position};
use crate::protocol::steps::{OwnedBlock, batch, settle};
use crate::protocol::{Corrupt, Words};
use crate::segment::{HasRead, ReadableBlock, View};
use core::cell::Cell;
use core::mem::ManuallyDrop;

/// A block that this process holds. Dropping it returns its message to the queue (`Return`).
pub(super) struct HeldBlock<'a> {
    queue: Entered<'a>,
    block: OwnedBlock,
}

impl<'a> HeldBlock<'a> {
    #[inline(always)]
    pub(super) fn new(queue: Entered<'a>, block: OwnedBlock) -> Self {
        Self { queue, block }
    }

    #[inline(always)]
    pub(super) fn queue(&self) -> Entered<'a> {
        self.queue
    }

    /// Returns the bytes of the message, where its sender wrote them.
    #[inline(always)]
    pub(super) fn bytes(&self) -> Result<&[u8], Corrupt> {
        self.queue.view().payload(&self.block)
    }

    /// Returns the bytes of a message that lies beside the slot of this position, and what the caller needs to acknowledge it.
    /// So nothing has to be looked up.
    #[inline(always)]
    pub(super) fn beside(
        &self,
        words: View<'a>,
        position: Position,
    ) -> Result<(&[u8], Beside<'a>), Corrupt> {
        let header = words.block_beside(position).ok_or(Corrupt::NoSuchBlock)?;
        let bytes = words.payload_near(position, &self.block)?;
        let beside = Beside {
            position,
            header,
            length: bytes.len(),
        };
        Ok((bytes, beside))
    }

    /// Returns the block, which the caller then has to release or return.
    #[inline(always)]
    pub(super) fn into_block(mut self) -> OwnedBlock {
        let block = self.block.take();
        core::mem::forget(self);
        block
    }

    /// Looks up where the message is, for a lease. The caller then has to release or return the block.
    ///
    /// # Errors
    ///
    /// Returns the block if its bytes are not a message: it holds a batch, or it is corrupt.
    #[inline(always)]
    pub(super) fn into_readable(self) -> Result<ReadableBlock, (Self, Corrupt)> {
        let queue = self.queue;
        match ReadableBlock::new(queue.view(), self.into_block()) {
            Ok(readable) => Ok(readable),
            Err((block, corrupt)) => Err((Self::new(queue, block), corrupt)),
        }
    }

    /// Returns whether the block holds several messages.
    #[inline(always)]
    pub(super) fn is_batch(&self) -> bool {
        batch::is_batch(self.queue.view(), self.block.index())
    }

    /// Acknowledges the message (`Release`).
    #[inline(always)]
    pub(super) fn acknowledge(mut self, read: HasRead) -> Result<(), Corrupt> {
        let (queue, words) = (self.queue, self.queue.view());
        words.rewrite(&mut self.block, read);
        let block = self.into_block();
        let index = block.index();
        settle::acknowledge(queue.segment(), words, block)?;
        trim_if_large(queue, index);
        Ok(())
    }

    /// Makes the message a dead letter (`Return`), because no receiver can decode it.
    pub(super) fn reject(self) -> Result<(), RecvFailure> {
        // The codec may have forked (ATTACH-4).
        let segment = self.queue.attachment().enter()?.segment();
        let block = self.into_block();
        if mutant!(UndecodableReturned) {
            return Ok(settle::return_message(segment, block)?);
        }
        Ok(settle::reject(segment, block)?)
    }

    /// Makes a message that the codec cannot decode a dead letter.
    #[cold]
    pub(super) fn undecodable(self, error: DecodeError) -> RecvFailure {
        match self.reject() {
            Ok(()) => RecvFailure::Decode(error),
            Err(failure) => failure,
        }
    }
}

/// A small block whose message is acknowledged when this is dropped (`Release`). For messages that were decoded.
pub(super) struct AcknowledgedAtEnd<'a> {
    queue: Entered<'a>,
    header: &'a BlockHeader,
    block: OwnedBlock,
}

/// What a receive knows about the message of a block that lies beside a slot.
#[derive(Clone, Copy)]
pub(super) struct Beside<'a> {
    /// The position of the slot.
    pub(super) position: Position,
    pub(super) header: &'a BlockHeader,
    pub(super) length: usize,
}

impl<'a> AcknowledgedAtEnd<'a> {
    #[inline(always)]
    pub(super) fn new(held: HeldBlock<'a>, message: Beside<'a>) -> Self {
        let Beside {
            position,
            header,
            length,
        } = message;
        let queue = held.queue;
        let mut block = held.into_block();
        // Here, since a `drop` that does more becomes a function, to which all of this is passed in memory.
        queue.view().rewrite_near(position, &mut block, length);
        Self {
            queue,
            header,
            block,
        }
    }
}

impl Drop for AcknowledgedAtEnd<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let (queue, block) = (self.queue, self.block.take());
        // The caller gets the message in any case. If a stray write has changed the word of its block, the block stays
        // out of use.
        let _ = settle::acknowledge_block(queue.segment(), queue.view(), self.header, block);
    }
}

impl Drop for HeldBlock<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        give_back(self.queue.attachment(), self.block.take());
    }
}

/// A block whose message is being decoded to where the caller gets it. Dropping it settles the message: by default it returns
/// it to the queue (`Return`), since the codec has panicked.
pub(super) struct OpenBlock<'a> {
    held: ManuallyDrop<HeldBlock<'a>>,
    end: Cell<End>,
}

/// What becomes of an [`OpenBlock`].
#[derive(Clone, Copy)]
enum End {
    Returned,
    Acknowledged,
    Rejected,
}

impl<'a> OpenBlock<'a> {
    #[inline(always)]
    pub(super) fn new(held: HeldBlock<'a>) -> Self {
        Self {
            held: ManuallyDrop::new(held),
            end: Cell::new(End::Returned),
        }
    }

    /// Returns the bytes of the message, where its sender wrote them.
    #[inline(always)]
    pub(super) fn bytes(&self) -> Result<&[u8], Corrupt> {
        self.held.bytes()
    }

    /// Returns the block, which was not decoded after all.
    #[inline(always)]
    pub(super) fn into_held(mut self) -> HeldBlock<'a> {
        let held = HeldBlock::new(self.held.queue, self.held.block.take());
        core::mem::forget(self);
        held
    }

    /// The message was decoded: it is acknowledged at the end (`Release`).
    #[inline(always)]
    pub(super) fn acknowledge_at_end(&self) {
        self.end.set(End::Acknowledged);
    }

    /// No receiver can decode the message: it becomes a dead letter at the end (`Return`).
    #[inline(always)]
    pub(super) fn reject_at_end(&self) {
        self.end.set(End::Rejected);
    }
}

impl Drop for OpenBlock<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let (queue, block) = (self.held.queue, self.held.block.take());
        match self.end.get() {
            // The caller gets the message in any case. If a stray write has changed the word of its block, the block stays
            // out of use.
            End::Acknowledged => drop(HeldBlock::new(queue, block).acknowledge(HasRead::All)),
            End::Returned => give_back(queue.attachment(), block),
            End::Rejected => reject(queue, block),
        }
    }
}

/// Makes a message that cannot be decoded a dead letter (`Return`), whose receiver already has an error to report.
#[cold]
#[inline(never)]
fn reject(queue: Entered<'_>, block: OwnedBlock) {
    let _ = HeldBlock::new(queue, block).reject();
}

/// Acknowledges the message in the block with this header (`Release`). The caller has written to its lines where that is needed
/// ([`View::rewrite`]).
#[inline(always)]
pub(super) fn acknowledge<'a>(
    queue: Entered<'a>,
    words: View<'a>,
    header: &BlockHeader,
    block: OwnedBlock,
) -> Result<(), Corrupt> {
    let index = block.index();
    settle::acknowledge_block(queue.segment(), words, header, block)?;
    trim_if_large(queue, index);
    Ok(())
}

/// Gives back memory of idle blocks, if there is too much, after the block of this index was freed. Cells have none to give back.
#[inline(always)]
fn trim_if_large(queue: Entered<'_>, index: BlockIndex) {
    if !queue.segment().small_blocks().contains(&index.get()) {
        trim(queue, index);
    }
}

#[inline(never)]
fn trim(queue: Entered<'_>, index: BlockIndex) {
    queue.segment().trim(queue.peer(), index);
}

/// Returns a message to the queue (`Return`), unless this is a forked child (ATTACH-4). By value, so that the block of
/// a message that is acknowledged never has to leave the registers.
#[cold]
#[inline(never)]
pub(super) fn give_back(attachment: &Attachment, block: OwnedBlock) {
    let Ok(queue) = attachment.enter() else {
        return;
    };
    let index = block.index();
    // The operation that meets corrupt memory reports it; here there is no caller to report it to.
    let _ = settle::return_message(queue.segment(), block);
    // After a cancel the block is free now.
    queue.segment().trim(queue.peer(), index);
}
