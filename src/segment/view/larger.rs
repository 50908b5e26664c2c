//! Where the headers and payloads of larger blocks lie: those that are not of the smallest class.
//!
//! These look-ups take a reference to [`Places`], where a view would have to be written to memory to be passed.
#![allow(
    unsafe_code,
    reason = "turns addresses in the mapping into references; each block states its reason"
)]

use super::Places;
use crate::protocol::Corrupt;
use crate::protocol::batch::BatchMarks;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::ids::BlockIndex;
use crate::protocol::parts::Part;
use crate::segment::geometry::Geometry;
use crate::segment::layout::LARGE_HEADER;
use core::ptr::NonNull;

/// The blocks that have their headers in one part.
#[derive(Clone, Copy, Debug)]
pub(super) struct LargerBlocks {
    first: u32,
    count: u32,
    /// Where their payloads are. `None` for huge blocks: each of them gets and loses its memory by itself.
    payloads: Option<Payloads>,
}

/// The payloads of the blocks of one class.
#[derive(Clone, Copy, Debug)]
struct Payloads {
    start: usize,
    stride: usize,
    length: usize,
}

impl LargerBlocks {
    /// Returns the blocks of a part; none if there is no such part.
    pub(super) fn new(geometry: &Geometry, part: Option<Part>) -> Self {
        let blocks = part.map_or(0..0, |part| geometry.blocks_of(part));
        let class = part.and_then(|part| geometry.class_of_part(part));
        Self {
            first: blocks.start,
            count: blocks.end - blocks.start,
            payloads: class.map(|class| Payloads {
                start: class.start,
                stride: class.stride,
                length: class.payload,
            }),
        }
    }
}

impl Places {
    /// Finds a block that is not of the smallest class: returns the blocks of its part, and its number among them. `None`: there is
    /// no such block, or its header has no memory (PARTS-2).
    #[inline(always)]
    fn larger(&self, index: BlockIndex) -> Option<(&LargerBlocks, u32)> {
        // One comparison after the other: the processor guesses the result, and does not wait for it.
        let number = |blocks: &LargerBlocks| index.get().wrapping_sub(blocks.first);
        let found = |blocks: &LargerBlocks| number(blocks) < blocks.count;
        let part = self.larger.iter().position(found)?;
        let blocks = self.larger.get(part)?;
        let committed = self.view().shared_words().parts.0.load().committed();
        let has_memory = committed.has(Part::new(part)?);
        (has_memory || mutant!(PartMarkIgnored)).then(|| (blocks, number(blocks)))
    }

    #[inline(never)]
    pub(super) fn large_block(&self, index: BlockIndex) -> Option<&BlockHeader> {
        let _ = self.larger(index)?;
        let offset = (index.get() - self.hot.cell_count) as usize * LARGE_HEADER;
        // SAFETY: a large block of this index exists. Its header has two cache lines and consists of atomics.
        Some(unsafe { self.view().at(self.headers, offset) })
    }

    #[inline(never)]
    pub(super) fn large_payload_address(
        &self,
        index: BlockIndex,
    ) -> Result<(NonNull<u8>, usize), Corrupt> {
        // Only corrupt words lead to a block without memory (PARTS-2, HUGE-3). To read there would take memory past all
        // limits.
        let (blocks, number) = self.larger(index).ok_or(Corrupt::NotCommitted)?;
        if let Some(payloads) = blocks.payloads {
            let offset = payloads.start + number as usize * payloads.stride;
            return Ok((self.mapping.pointer_at(offset), payloads.length));
        }
        if !self
            .large_block(index)
            .is_some_and(BlockHeader::is_committed)
        {
            return Err(Corrupt::NotCommitted);
        }
        let range = self.geometry.payload(index).ok_or(Corrupt::NoSuchBlock)?;
        Ok((self.mapping.pointer_at(range.start), range.len()))
    }

    pub(in crate::segment) fn marks(&self, index: BlockIndex) -> Option<&BatchMarks> {
        let offset = index.get().checked_sub(self.hot.cell_count)? as usize * LARGE_HEADER;
        let _ = self.larger(index)?;
        let offset = offset + size_of::<BlockHeader>();
        // SAFETY: a large block of this index exists. Its marks follow its header on the two cache lines that it has
        // (asserted in `layout`), and consist of atomics.
        Some(unsafe { self.view().at(self.headers, offset) })
    }
}
