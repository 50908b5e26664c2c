//! Allocates blocks for messages of more than 64 KiB, for a sender.

use super::attachment::Entered;
use super::block_writer::BlockWriter;
use super::failure::SendFailure;
use crate::protocol::steps::huge::HugeAllocation;
use crate::protocol::steps::{dead_letters, send};

/// Allocates a block of the huge class of this number, or an idle block of the next class. Returns `None` if a block
/// becomes free sooner or later.
///
/// Drops dead letters if the message could be sent with their block or memory, and [`Options::evict_dead_letters`]
/// allows that.
///
/// [`Options::evict_dead_letters`]: crate::Options::evict_dead_letters
pub(super) fn huge_block(
    queue: Entered<'_>,
    number: usize,
) -> Result<Option<BlockWriter<'_>>, SendFailure> {
    let (segment, peer) = (queue.segment(), queue.peer());
    let mut classes = segment.geometry().classes.iter().skip(number);
    let (Some(class), next) = (classes.next(), classes.next()) else {
        return Ok(None);
    };
    loop {
        let allocation = segment.allocate_huge(peer, class)?;
        if let HugeAllocation::Allocated(block) = allocation {
            return Ok(Some(BlockWriter::new(queue, block)));
        }
        if let Some(block) = next.and_then(|next| segment.allocate_committed(peer, next)) {
            return Ok(Some(BlockWriter::new(queue, block)));
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
