//! [`Segment`]: the shared memory of a queue, mapped into this process, and the words of the protocol in it.
//!
//! SEGMENT-1. A file is mapped only if no other user can shrink it: its size is sealed, or it is private to this user
//!            ([`crate::os::named`]). It must have exactly the size that its capacity and largest message need. So
//!            every offset of the [`Geometry`] lies inside the mapping, for as long as the mapping exists.
//! SEGMENT-2. The addresses are private to this file. They are turned into references to atomics only, which any
//!            process may change at any time; the payloads, which are plain bytes, are the business of
//!            [`super::payload`].
//! SEGMENT-3. A forked child does not get the mapping. `queue` reaches a segment only through a guard that has checked
//!            [`Segment::is_forked_child`] (ATTACH-3).
#![allow(
    unsafe_code,
    reason = "turns addresses in the mapping into references; each block states its reason"
)]

use super::attach_error::AttachError;
use super::geometry::Geometry;
use super::header::INCOMPLETE;
use super::idle_blocks::IdleBlocks;
use super::layout::{CELLS, Header, MAGIC, SharedWords};
use super::settings::Settings;
use super::sweeper::LivenessSweeper;
use super::view::{Places, View};
use crate::error::{MemoryLimit, OutOfMemory};
use crate::os::budget::MemoryBudget;
use crate::os::fork::OwnerProcess;
use crate::os::memory::{self, FileId, Mapping, MemoryError};
#[cfg(feature = "shared-memory")]
use crate::os::shmem::SharedMapping;
use crate::os::{futex, membarrier, named};
use crate::protocol::batch::BatchMarks;
use crate::protocol::huge_memory::HugeHints;
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::PeerEntry;
use crate::protocol::{Limits, SharedState};
use crate::sync::{AtomicBool, AtomicU64};
use core::ops::Range;
use std::os::fd::OwnedFd;

/// The shared memory of a queue, mapped into this process.
#[derive(Debug)]
pub(crate) struct Segment {
    places: Places,
    /// The process that has the mapping.
    owner: OwnerProcess,
    settings: Settings,
    pub(super) budget: MemoryBudget,
    pub(super) sweeper: LivenessSweeper,
    pub(super) idle_blocks: IdleBlocks,
    pub(super) huge_hints: HugeHints,
    /// Whether this process was refused memory for a part that it could do without.
    pub(super) is_part_refused: AtomicBool,
    pub(super) file: OwnedFd,
    pub(super) file_id: FileId,
}

impl Segment {
    /// Makes a segment without peers. The capacity must be out of [`Geometry::CAPACITIES`], the largest message out of
    /// [`Geometry::MAX_MESSAGE_LENS`].
    pub(crate) fn create(settings: Settings) -> Result<Self, MemoryError> {
        Self::create_within(MemoryBudget::system(), settings)
    }

    pub(super) fn create_within(
        budget: MemoryBudget,
        settings: Settings,
    ) -> Result<Self, MemoryError> {
        let create_file = |length, committed| mapped(memory::create(length, committed)?, length);
        Self::create_with(create_file, budget, settings)
    }

    /// Creates a segment as [`Segment::create`] does, in a file that can be given a name later, by [`named::publish`].
    pub(crate) fn create_draft(settings: Settings) -> Result<Self, MemoryError> {
        let create_file =
            |length, committed| mapped(named::create_unnamed(length, committed)?, length);
        Self::create_with(create_file, MemoryBudget::system(), settings)
    }

    /// Creates a segment in a mapping of `file` that the crate `shared_memory` has made. It must have the length that
    /// [`Segment::length_of`] returns. What is in the file is discarded.
    #[cfg(feature = "shared-memory")]
    pub(crate) fn create_on(
        mapping: SharedMapping,
        file: OwnedFd,
        settings: Settings,
    ) -> Result<Self, MemoryError> {
        let prepare = |length, committed| {
            memory::decommit(&file, 0..length)?;
            memory::commit(&file, 0..committed)?;
            Ok((file, Mapping::of_shared(mapping)?))
        };
        Self::create_with(prepare, MemoryBudget::system(), settings)
    }

    /// Returns the length of a segment with these settings, in bytes.
    #[cfg(feature = "shared-memory")]
    pub(crate) fn length_of(settings: &Settings) -> usize {
        geometry_of(settings).length
    }

    fn create_with(
        create_file: impl FnOnce(usize, usize) -> Result<(OwnedFd, Mapping), MemoryError>,
        budget: MemoryBudget,
        settings: Settings,
    ) -> Result<Self, MemoryError> {
        let geometry = geometry_of(&settings);
        let committed = if settings.preallocate {
            geometry.huge
        } else {
            geometry.initial()
        };
        let wanted = committed as u64;
        OutOfMemory::check(MemoryLimit::Queue, wanted, settings.memory_limit)?;
        budget.check(wanted)?;
        let (file, mapping) = create_file(geometry.length, committed)?;
        let mut segment = Self::create_in(file, mapping, geometry, settings)?;
        segment.budget = budget;
        if segment.settings.preallocate {
            segment.note_all_committed();
        }
        Ok(segment)
    }

    /// Makes a segment in an empty file, which another process may try to attach at the same time (HEADER-1).
    pub(super) fn create_in(
        file: OwnedFd,
        mapping: Mapping,
        geometry: Geometry,
        settings: Settings,
    ) -> Result<Self, MemoryError> {
        let file_id = FileId::of(&file)?;
        let segment = Self::new(mapping, geometry, settings, file, file_id);
        segment
            .header()
            .write(segment.geometry(), &segment.settings);
        Ok(segment)
    }

    /// Maps a segment that another process, or another part of this one, has made.
    pub(crate) fn attach(file: OwnedFd) -> Result<Self, AttachError> {
        Self::attach_with(file, |file, size| Ok(Mapping::new(file, size)?))
    }

    /// Uses a mapping of a segment that the crate `shared_memory` has made of `file`.
    #[cfg(feature = "shared-memory")]
    pub(crate) fn attach_on(mapping: SharedMapping, file: OwnedFd) -> Result<Self, AttachError> {
        Self::attach_with(file, |_, size| {
            if mapping.length() != size {
                return Err(AttachError::NotASegment(
                    "its size has changed since it was mapped",
                ));
            }
            Ok(Mapping::of_shared(mapping)?)
        })
    }

    fn attach_with(
        file: OwnedFd,
        map: impl FnOnce(&OwnedFd, usize) -> Result<Mapping, AttachError>,
    ) -> Result<Self, AttachError> {
        let (size, is_sealed) = match memory::sealed_size(&file)? {
            Some(size) => (size, true),
            None => (private_size(&file)?, false),
        };
        if size < CELLS {
            return Err(AttachError::NotASegment("it is too short"));
        }
        if !is_sealed && !named::begins_with(&file, MAGIC)? {
            return Err(AttachError::NotASegment(INCOMPLETE));
        }
        let mapping = map(&file, size)?;
        // SAFETY: the mapping is at least `CELLS` long, so the header is inside it. It is aligned to a page, and
        // consists of atomic integers, for which any bytes are valid.
        let header: &Header = unsafe { mapping.pointer_at(0).cast().as_ref() };
        let (geometry, settings) = header.read(size)?;
        let file_id = FileId::of(&file)?;
        let segment = Self::new(mapping, geometry, settings, file, file_id);
        if !is_sealed && !segment.has_memory_of_its_parts()? {
            return Err(AttachError::NotASegment("it lacks some of its memory"));
        }
        Ok(segment)
    }

    fn new(
        mapping: Mapping,
        geometry: Geometry,
        settings: Settings,
        file: OwnedFd,
        file_id: FileId,
    ) -> Self {
        Self {
            owner: mapping.owner(),
            places: Places::new(mapping, geometry),
            settings,
            budget: MemoryBudget::system(),
            sweeper: LivenessSweeper::default(),
            idle_blocks: IdleBlocks::default(),
            huge_hints: HugeHints::default(),
            is_part_refused: AtomicBool::new(false),
            file,
            file_id,
        }
    }

    /// Makes a segment on the heap, where a sanitizer sees accesses beyond its ends.
    #[cfg(test)]
    pub(super) fn on_heap(settings: Settings) -> Self {
        let geometry = geometry_of(&settings);
        let mapping = Mapping::on_heap(geometry.length);
        // Only locks need the file, and these tests take none.
        let file = memory::create(1, 1).expect("a memfd");
        let file_id = FileId::of(&file).expect("fstat");
        let segment = Self::new(mapping, geometry, settings, file, file_id);
        segment
            .header()
            .write(segment.geometry(), &segment.settings);
        segment.note_all_committed();
        segment
    }

    #[cfg(test)]
    pub(super) fn mapping(&self) -> &Mapping {
        self.places.mapping()
    }

    /// Returns whether this is a forked child of the process that mapped the segment. Then there is no mapping, and
    /// nothing else of the segment may be used (SEGMENT-3).
    #[inline(always)]
    pub(crate) fn is_forked_child(&self) -> bool {
        !self.owner.is_current()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        self.places.geometry()
    }

    /// Returns the indices of the blocks of the smallest class.
    #[inline(always)]
    pub(crate) fn small_blocks(&self) -> Range<u32> {
        0..self.places.cell_count()
    }

    pub(crate) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Returns whether the other segment is the same queue, perhaps attached to once more.
    pub(crate) fn is_same_queue(&self, other: &Self) -> bool {
        self.file_id == other.file_id
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: the header is at the start of the mapping, which is aligned to a page, and is shorter than `SHARED`
        // (asserted in `layout`).
        unsafe { self.places.mapping().pointer_at(0).cast().as_ref() }
    }

    /// Returns where everything is.
    #[inline(always)]
    pub(crate) fn view(&self) -> View<'_> {
        self.places.view()
    }

    #[inline(always)]
    pub(super) fn shared(&self) -> &SharedWords {
        self.view().shared_words()
    }
}

impl SharedState for Segment {
    type Words<'a> = View<'a>;

    #[inline(always)]
    fn words(&self) -> View<'_> {
        self.view()
    }

    #[inline(always)]
    fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    #[inline(always)]
    fn cell_count(&self) -> u32 {
        self.places.cell_count()
    }

    #[inline(always)]
    fn block_count(&self) -> u32 {
        self.places.block_count()
    }

    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks> {
        self.places.marks(index)
    }

    fn peer_count(&self) -> u16 {
        self.places.peer_count()
    }

    fn peer(&self, peer: PeerIndex) -> Option<&PeerEntry> {
        self.places.peer(peer)
    }

    fn evicted(&self) -> &AtomicU64 {
        &self.shared().evicted.0
    }

    fn discarded(&self) -> &AtomicU64 {
        &self.shared().discarded.0
    }

    fn fence_others(&self) -> bool {
        membarrier::fence_registered()
    }

    fn wake(&self, word: &ParkingWord, count: u32) -> u32 {
        futex::wake(word.futex_word(), count)
    }
}

fn mapped(file: OwnedFd, length: usize) -> Result<(OwnedFd, Mapping), MemoryError> {
    let mapping = Mapping::new(&file, length)?;
    Ok((file, mapping))
}

fn geometry_of(settings: &Settings) -> Geometry {
    Geometry::new(
        settings.limits.capacity,
        settings.max_message_len,
        settings.inline_len,
    )
}

/// Returns the size of a file that is not sealed because it has a name, or may get one.
fn private_size(file: &OwnedFd) -> Result<usize, AttachError> {
    named::private_size(file)?.ok_or(AttachError::NotASegment("its size is not sealed"))
}
