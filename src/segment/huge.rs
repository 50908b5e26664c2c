//! The memory of huge blocks, for messages of more than 64 KiB: ranges of the segment's file that get memory and give
//! it back.
//!
//! When that happens is decided in [`crate::protocol::steps::huge`], by the rules in [`crate::protocol::huge_memory`].
//! Here are the sizes, the limits and the system calls.

use super::geometry::Class;
use super::mapped::Segment;
use crate::error::OutOfMemory;
use crate::os::memory;
use crate::protocol::Corrupt;
use crate::protocol::huge_memory::{HugeClass, HugeHints, HugeMemory};
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::steps::OwnedBlock;
use crate::protocol::steps::huge::{self, HugeAllocation};
use core::ops::Range;

impl Class {
    fn as_huge(&self) -> HugeClass {
        HugeClass {
            blocks: self.blocks.clone(),
            used_in_turn: self.used_in_turn(),
            payload: self.payload as u64,
        }
    }
}

impl Segment {
    /// Allocates a block of a huge class, with memory. Transition `Allocate`.
    pub(crate) fn allocate_huge(
        &self,
        me: PeerIndex,
        class: &Class,
    ) -> Result<HugeAllocation, Corrupt> {
        if let Err(shortage) = self.commit_huge_headers() {
            return Ok(HugeAllocation::NoMemory(shortage));
        }
        huge::allocate(self, me, &class.as_huge())
    }

    /// Allocates the block of `class` with the lowest index that is idle and has memory. Transition `Allocate`.
    pub(crate) fn allocate_committed(&self, me: PeerIndex, class: &Class) -> Option<OwnedBlock> {
        huge::allocate_committed(self, me, &class.as_huge())
    }

    /// Returns how many bytes of memory the segment has, by what the kernel reports (HUGE-4).
    pub(crate) fn memory(&self) -> usize {
        memory::allocated(&self.file).unwrap_or(self.geometry().huge)
    }

    fn huge_payload(&self, block: BlockIndex) -> Range<usize> {
        self.geometry().payload(block).unwrap_or_default()
    }
}

impl HugeMemory for Segment {
    fn huge_classes(&self) -> impl DoubleEndedIterator<Item = HugeClass> {
        self.geometry().huge_classes().iter().map(Class::as_huge)
    }

    fn huge_hints(&self) -> &HugeHints {
        &self.huge_hints
    }

    fn memory_limit(&self) -> u64 {
        let set_aside = self.memory_of_missing_parts();
        self.settings().memory_limit.saturating_sub(set_aside)
    }

    fn max_idle_memory(&self) -> u64 {
        self.settings().max_idle_memory
    }

    fn memory(&self) -> u64 {
        self.memory() as u64
    }

    fn permanent_memory(&self) -> u64 {
        self.memory_of_reserved_parts()
    }

    fn check_system(&self, wanted: u64) -> Result<(), OutOfMemory> {
        self.budget.check(wanted)?;
        memory::check_file_system(&self.file, wanted)
    }

    fn take_memory(&self, block: BlockIndex) -> Result<(), OutOfMemory> {
        let payload = self.huge_payload(block);
        let wanted = payload.len() as u64;
        memory::commit(&self.file, payload).map_err(|error| error.of_range(wanted))
    }

    fn give_memory_back(&self, block: BlockIndex) {
        // An error leaves the block as in the last line of the table in `protocol::huge_memory`.
        let _ = memory::decommit(&self.file, self.huge_payload(block));
    }
}

mod idle;

#[cfg(test)]
mod tests;
