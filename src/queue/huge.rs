//! Blocks for messages of more than 64 KiB, from a sender's point of view.

use super::sender::{BlockWriter, Refusal, Sender};
use crate::codec::Codec;
use crate::os::budget::OutOfMemory;
use crate::protocol::steps::{dead_letters, send};
use crate::segment::huge::HugeAllocation;

impl From<OutOfMemory> for Refusal {
    fn from(shortage: OutOfMemory) -> Self {
        Self::NoMemory(shortage)
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// A block of a huge class, or an idle one of the next class. `None`: worth waiting for. Dead letters give way
    /// to a message that could be sent if it had a block, or memory for one.
    pub(super) fn huge_block(&self, number: usize) -> Result<Option<BlockWriter<'_>>, Refusal> {
        let attachment = self.attachment();
        let segment = attachment.segment();
        let mut classes = segment.geometry().classes.iter().skip(number);
        let (Some(class), next) = (classes.next(), classes.next()) else {
            return Ok(None);
        };
        loop {
            let taken = segment.allocate_huge(attachment.row(), class)?;
            if let HugeAllocation::Allocated(block) = taken {
                return Ok(Some(BlockWriter::new(attachment, block)));
            }
            if let Some(block) =
                next.and_then(|next| segment.allocate_committed(attachment.row(), next))
            {
                return Ok(Some(BlockWriter::new(attachment, block)));
            }
            let letters = match taken {
                HugeAllocation::NoMemory(shortage) => return Err(shortage.into()),
                HugeAllocation::MemoryInUse => segment.geometry().huge_blocks(),
                HugeAllocation::NoFreeBlock | HugeAllocation::Allocated(_) => class.blocks.clone(),
            };
            let give_way = segment.settings().evict_dead_letters && !send::is_full(segment);
            if !give_way || !dead_letters::evict_oldest(segment, &letters) {
                return Ok(None);
            }
        }
    }
}
