//! Allocates blocks for messages of more than 64 KiB, for a sender.

use super::sender::{BlockWriter, Refusal, Sender};
use crate::codec::Codec;
use crate::os::budget::OutOfMemory;
use crate::protocol::steps::{dead_letters, send};
use crate::segment::huge::HugeAllocation;

impl From<OutOfMemory> for Refusal {
    fn from(out_of_memory: OutOfMemory) -> Self {
        Self::NoMemory(out_of_memory)
    }
}

impl<T, C: Codec<T>> Sender<T, C> {
    /// Allocates a block of the huge class of this number, or an idle block of the next class. Returns `None` if a
    /// block becomes free sooner or later.
    ///
    /// Drops dead letters if the message could be sent with their block or memory, and [`Options::evict_dead_letters`]
    /// allows that.
    ///
    /// [`Options::evict_dead_letters`]: crate::Options::evict_dead_letters
    pub(super) fn huge_block(&self, number: usize) -> Result<Option<BlockWriter<'_>>, Refusal> {
        let attachment = self.attachment();
        let segment = attachment.segment();
        let mut classes = segment.geometry().classes.iter().skip(number);
        let (Some(class), next) = (classes.next(), classes.next()) else {
            return Ok(None);
        };
        loop {
            let allocation = segment.allocate_huge(attachment.row(), class)?;
            if let HugeAllocation::Allocated(block) = allocation {
                return Ok(Some(BlockWriter::new(attachment, block)));
            }
            if let Some(block) =
                next.and_then(|next| segment.allocate_committed(attachment.row(), next))
            {
                return Ok(Some(BlockWriter::new(attachment, block)));
            }
            let evictable = match allocation {
                HugeAllocation::NoMemory(out_of_memory) => return Err(out_of_memory.into()),
                HugeAllocation::MemoryInUse => segment.geometry().huge_blocks(),
                HugeAllocation::NoFreeBlock | HugeAllocation::Allocated(_) => class.blocks.clone(),
            };
            let may_evict = segment.settings().evict_dead_letters && !send::is_full(segment);
            if !may_evict || !dead_letters::evict_oldest(segment, &evictable) {
                return Ok(None);
            }
        }
    }
}
