//! The bytes of messages.
//!
//! That only one process at a time touches a payload is what the protocol is for: it is written in Owned
//! only, which is one sender's, and read in Held and Read only, which are one receiver's (invariants BLOCK-1 and
//! BLOCK-4 of `protocol::blocks`). An [`OwnedBlock`] stands for that possession: it can't be copied.

use super::Segment;
use super::layout::{SMALL_BLOCK, SMALL_PAYLOAD};
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::BlockIndex;
use crate::protocol::steps::OwnedBlock;
use crate::protocol::{Corrupt, SharedState};
use core::ptr::NonNull;

impl Segment {
    /// Room for the message, to be filled by the owner of the block.
    #[inline(always)]
    pub(crate) fn payload_mut<'a>(
        &'a self,
        owned: &'a mut OwnedBlock,
    ) -> Result<&'a mut [u8], Corrupt> {
        if !owned.word().is(BlockKind::Owned) {
            return Err(Corrupt::NotOwned);
        }
        let (address, room) = self.payload_of(owned.index())?;
        // SAFETY: inside the mapping (`payload_of`), which outlives `self`'s borrow. Exclusive: the block is
        // Owned by this process, and `owned`, mutably borrowed as long as the slice lives, is the only token.
        Ok(unsafe { core::slice::from_raw_parts_mut(address.as_ptr(), room) })
    }

    /// What has been written so far into a block that is being filled.
    pub(crate) fn unfinished_payload<'a>(
        &'a self,
        owned: &'a OwnedBlock,
    ) -> Result<&'a [u8], Corrupt> {
        if !owned.word().is(BlockKind::Owned) {
            return Err(Corrupt::NotOwned);
        }
        let (address, room) = self.payload_of(owned.index())?;
        // SAFETY: as in `payload_mut`; shared, as `owned` is borrowed.
        Ok(unsafe { core::slice::from_raw_parts(address.as_ptr(), room) })
    }

    /// The message in a block that this process holds or reads.
    #[inline(always)]
    pub(crate) fn payload<'a>(&'a self, held: &'a OwnedBlock) -> Result<&'a [u8], Corrupt> {
        if !held.word().is(BlockKind::Held) && !held.word().is(BlockKind::Read) {
            return Err(Corrupt::NotOwned);
        }
        let (address, room) = self.payload_of(held.index())?;
        let length = self
            .block(held.index())
            .map_or(u32::MAX, BlockHeader::length) as usize;
        if length > room {
            return Err(Corrupt::TooLong);
        }
        // SAFETY: inside the mapping, which outlives `self`'s borrow. Nobody writes a block that is Held or
        // Read by this process.
        Ok(unsafe { core::slice::from_raw_parts(address.as_ptr(), length) })
    }

    /// The messages, with their lengths, in a batch that this process holds or reads.
    #[inline(always)]
    pub(crate) fn batch_payload<'a>(&'a self, held: &'a OwnedBlock) -> Result<&'a [u8], Corrupt> {
        if !held.word().is(BlockKind::Held) && !held.word().is(BlockKind::Read) {
            return Err(Corrupt::NotOwned);
        }
        let (address, room) = self.payload_of(held.index())?;
        let length = self
            .block(held.index())
            .map_or(u32::MAX, BlockHeader::length_of_batch) as usize;
        if length > room {
            return Err(Corrupt::TooLong);
        }
        // SAFETY: as in `payload`.
        Ok(unsafe { core::slice::from_raw_parts(address.as_ptr(), length) })
    }

    /// Where a block's payload begins, and how many bytes it has.
    #[inline(always)]
    fn payload_of(&self, index: BlockIndex) -> Result<(NonNull<u8>, usize), Corrupt> {
        if index.get() < self.small_blocks {
            let offset = index.get() as usize * SMALL_BLOCK + size_of::<BlockHeader>();
            // SAFETY: a small block of this number exists, and its payload follows its header.
            return Ok((unsafe { self.small.add(offset) }, SMALL_PAYLOAD));
        }
        self.large_payload_of(index)
    }

    #[inline(never)]
    fn large_payload_of(&self, index: BlockIndex) -> Result<(NonNull<u8>, usize), Corrupt> {
        // Only corrupt words lead to a block without memory (HUGE-3); to read there would take some, unchecked.
        if self.geometry.huge_blocks().contains(&index.get())
            && !self.block(index).is_some_and(BlockHeader::is_committed)
        {
            return Err(Corrupt::NotCommitted);
        }
        let range = self.geometry.payload(index).ok_or(Corrupt::NoSuchBlock)?;
        Ok((self.mapping.pointer_at(range.start), range.len()))
    }
}
