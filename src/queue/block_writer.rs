//! A block that a send fills.

use super::attachment::{Attachment, Entered};
use crate::protocol::steps::{OwnedBlock, batch, send};
use crate::protocol::{Corrupt, Words};

/// A block that this process owns and writes a message to. Dropping it frees the block (`Withdraw`), unless its
/// message was accepted.
pub(super) struct BlockWriter<'a> {
    queue: Entered<'a>,
    block: OwnedBlock,
}

impl<'a> BlockWriter<'a> {
    #[inline(always)]
    pub(super) fn new(queue: Entered<'a>, block: OwnedBlock) -> Self {
        Self { queue, block }
    }

    #[inline(always)]
    pub(super) fn queue(&self) -> Entered<'a> {
        self.queue
    }

    #[inline(always)]
    pub(super) fn payload(&mut self) -> Result<&mut [u8], Corrupt> {
        self.queue.view().payload_mut(&mut self.block)
    }

    /// Returns the size class of the block.
    pub(super) fn class(&self) -> Option<usize> {
        let classes = &self.queue.segment().geometry().classes;
        classes
            .iter()
            .position(|class| class.blocks.contains(&self.block.index().get()))
    }

    /// Offers the message, which is complete and `length` bytes long (`Offer`).
    pub(super) fn offer(&mut self, length: usize) -> Result<(), Corrupt> {
        let length = u32::try_from(length).map_err(|_| Corrupt::TooLong)?;
        send::offer(self.queue.view(), &mut self.block, length)
    }

    /// Prepares the block for a batch of `count` messages.
    pub(super) fn begin_batch(&mut self, count: usize) -> Result<(), Corrupt> {
        batch::begin(self.queue.segment(), &self.block, count)
    }

    /// Offers a batch, which is complete and `length` bytes long (`Offer`).
    pub(super) fn offer_batch(&mut self, length: usize) -> Result<(), Corrupt> {
        let length = u32::try_from(length).map_err(|_| Corrupt::TooLong)?;
        batch::offer(self.queue.segment(), &mut self.block, length)
    }

    #[inline(always)]
    pub(super) fn block_mut(&mut self) -> &mut OwnedBlock {
        &mut self.block
    }

    /// Returns the block, which the caller then has to publish or withdraw.
    #[inline(always)]
    pub(super) fn into_block(mut self) -> OwnedBlock {
        let block = self.block.take();
        core::mem::forget(self);
        block
    }

    /// Drops this after its message was accepted: there is no block to withdraw.
    #[inline(always)]
    pub(super) fn forget(self) {
        core::mem::forget(self);
    }
}

impl Drop for BlockWriter<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        withdraw(self.queue.attachment(), self.block.take());
    }
}

/// Frees a block whose message will not be sent (`Withdraw`), unless this is a forked child (ATTACH-4). By value, so
/// that the block of a message that is accepted never has to leave the registers.
#[cold]
#[inline(never)]
pub(super) fn withdraw(attachment: &Attachment, block: OwnedBlock) {
    let Ok(queue) = attachment.enter() else {
        return;
    };
    if mutant!(ReservationKeepsBlock) {
        return;
    }
    let index = block.index();
    if let Some(header) = queue.view().block(index)
        && header.is_prepared()
    {
        header.set_not_prepared();
    }
    // The operation that meets corrupt memory reports it; here there is no caller to report it to.
    let _ = send::withdraw(queue.segment(), block);
    queue.segment().trim(queue.peer(), index);
}
