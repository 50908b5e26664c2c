//! The memory of the parts of a segment: classes of blocks, the headers of huge blocks, and pages of the peer table.
//!
//! When a part is committed is decided in [`crate::protocol::steps::commit`], by the rules in
//! [`crate::protocol::parts`]. Here are the sizes, the limits and the system calls.

use super::geometry::{COMMITTED_CLASSES, Geometry, MORE_PEER_PAGES};
use super::layout::PAGE;
use super::mapped::Segment;
use crate::error::{MemoryLimit, OutOfMemory};
use crate::os::memory;
use crate::protocol::parts::{Part, PartMemory, PartSet, PartsWord};
use crate::protocol::steps::commit;
use crate::sync::Ordering;
use core::ops::Range;
use std::io;

impl Segment {
    /// Commits the class of this number, unless it is committed.
    pub(crate) fn commit_class(&self, class: usize) -> Result<(), OutOfMemory> {
        match Geometry::part_of_class(class) {
            Some(part) if !self.parts().load().committed().has(part) => commit::commit(self, part),
            _ => Ok(()),
        }
    }

    /// Commits a class that an operation can do without. If that fails, the class is as it was.
    pub(crate) fn commit_class_if_possible(&self, class: usize) {
        // After a refusal, the operations of this process that need the class still try to commit it. Others would
        // read the limits of the system each time.
        if !self.is_part_refused.load(Ordering::Relaxed) && self.commit_class(class).is_err() {
            self.is_part_refused.store(true, Ordering::Relaxed);
        }
    }

    /// Commits the headers of huge blocks, unless they are committed.
    pub(super) fn commit_huge_headers(&self) -> Result<(), OutOfMemory> {
        self.commit_class(COMMITTED_CLASSES)
    }

    /// Commits the next page of the peer table. Returns whether there was one.
    pub(crate) fn commit_peers(&self) -> Result<bool, OutOfMemory> {
        let pages = self.more_peer_pages();
        if pages >= MORE_PEER_PAGES {
            return Ok(false);
        }
        let start = self.geometry().initial() + pages * PAGE;
        let limit = self.settings().memory_limit;
        // Other parts leave enough for the whole table (PARTS-3).
        OutOfMemory::check(MemoryLimit::Queue, (start + PAGE) as u64, limit)?;
        let wanted = PAGE as u64;
        self.check_system_for(wanted)?;
        memory::commit(&self.file, start..start + PAGE).map_err(|error| error.of_range(wanted))?;
        self.parts().note_peer_pages(pages as u64 + 1);
        Ok(true)
    }

    /// Marks all parts as committed, which have memory from the start.
    pub(super) fn note_all_committed(&self) {
        Part::all().for_each(|part| self.parts().note_committed(part));
        self.parts().note_peer_pages(MORE_PEER_PAGES as u64);
    }

    /// Returns whether the file has as much memory as the parts that are marked as committed.
    pub(super) fn has_memory_of_its_parts(&self) -> io::Result<bool> {
        let has = memory::allocated(&self.file)?;
        // The word of the parts has memory only in a file that has at least this much.
        Ok(has >= self.geometry().initial() && has >= self.memory_of_committed_parts())
    }

    fn more_peer_pages(&self) -> usize {
        let pages = usize::try_from(self.parts().load().peer_pages()).unwrap_or(usize::MAX);
        pages.min(MORE_PEER_PAGES)
    }

    fn memory_of_committed_parts(&self) -> usize {
        let parts = self.parts().load().committed();
        self.geometry().memory_with(parts, self.more_peer_pages())
    }

    /// Returns how many bytes the parts that are not committed will take.
    pub(super) fn memory_of_missing_parts(&self) -> u64 {
        (self.geometry().huge - self.memory_of_committed_parts()) as u64
    }

    /// Returns how many bytes of memory the segment has at most, without the payloads of huge blocks.
    pub(super) fn memory_of_reserved_parts(&self) -> u64 {
        let parts = self.parts().load().reserved();
        self.geometry().memory_with(parts, MORE_PEER_PAGES) as u64
    }

    fn check_system_for(&self, wanted: u64) -> Result<(), OutOfMemory> {
        self.budget.check(wanted)?;
        memory::check_file_system(&self.file, wanted)
    }

    fn bytes_of(&self, part: Part) -> u64 {
        let ranges = self.geometry().ranges_of(part);
        ranges.iter().map(Range::len).sum::<usize>() as u64
    }
}

impl PartMemory for Segment {
    fn parts(&self) -> &PartsWord {
        &self.shared().parts.0
    }

    fn check_own_limit(&self, part: Part, reserved: PartSet) -> Result<(), OutOfMemory> {
        let with = |parts| self.geometry().memory_with(parts, MORE_PEER_PAGES) as u64;
        let (before, after) = (with(reserved), with(reserved.with(part)));
        let available = self.settings().memory_limit.saturating_sub(before);
        OutOfMemory::check(MemoryLimit::Queue, after - before, available)
    }

    fn check_limits_of_system(&self, part: Part) -> Result<(), OutOfMemory> {
        self.check_system_for(self.bytes_of(part))
    }

    fn take_part(&self, part: Part) -> Result<(), OutOfMemory> {
        let wanted = self.bytes_of(part);
        for range in self.geometry().ranges_of(part) {
            memory::commit(&self.file, range).map_err(|error| error.of_range(wanted))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
