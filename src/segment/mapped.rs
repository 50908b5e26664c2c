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
use super::layout::{
    CACHE_LINE, CELLS, CellHeader, Header, LARGE_HEADER, MAGIC, SHARED, SharedWords,
};
use super::settings::Settings;
use super::sweeper::LivenessSweeper;
use crate::error::{MemoryLimit, OutOfMemory};
use crate::os::budget::MemoryBudget;
use crate::os::fork::OwnerProcess;
use crate::os::memory::{self, FileId, Mapping, MemoryError};
use crate::os::named;
use crate::os::{cpu, futex};
use crate::protocol::batch::BatchMarks;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::huge_memory::HugeHints;
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::PeerEntry;
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, RingSize, SlotWord};
use crate::protocol::{Corrupt, Limits, SharedState};
use crate::sync::AtomicU64;
use core::ops::Range;
use core::ptr::NonNull;
use std::os::fd::OwnedFd;

/// How many lines of a cell are prefetched. The processor's own prefetching finds the rest.
const PREFETCHED_LINES: usize = 4;

/// The shared memory of a queue, mapped into this process.
#[derive(Debug)]
pub(crate) struct Segment {
    // The addresses of the parts, so that a word is found by one addition.
    cells: NonNull<u8>,
    shared: NonNull<u8>,
    /// The size of a cell, and the part of it that is payload.
    cell: usize,
    inline: usize,
    /// The number of cells, which is the number of blocks of the smallest class.
    small_blocks: u32,
    block_count: u32,
    headers: NonNull<u8>,
    peers: NonNull<u8>,
    /// The process that has the mapping.
    owner: OwnerProcess,
    settings: Settings,
    geometry: Geometry,
    pub(super) budget: MemoryBudget,
    pub(super) sweeper: LivenessSweeper,
    pub(super) idle_blocks: IdleBlocks,
    pub(super) huge_hints: HugeHints,
    pub(super) file: OwnedFd,
    pub(super) file_id: FileId,
    mapping: Mapping,
}

// SAFETY: the addresses are those of the mapping, which belongs to no thread. They lead to atomics, and to payloads
// that the protocol gives to one owner at a time.
unsafe impl Send for Segment {}
// SAFETY: as above.
unsafe impl Sync for Segment {}

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
        Self::create_with(memory::create, budget, settings)
    }

    /// Creates a segment as [`Segment::create`] does, in a file that can be given a name later, by [`named::publish`].
    pub(crate) fn create_draft(settings: Settings) -> Result<Self, MemoryError> {
        Self::create_with(named::create_unnamed, MemoryBudget::system(), settings)
    }

    fn create_with(
        create_file: fn(usize, usize) -> Result<OwnedFd, MemoryError>,
        budget: MemoryBudget,
        settings: Settings,
    ) -> Result<Self, MemoryError> {
        let geometry = geometry_of(&settings);
        let wanted = geometry.committed as u64;
        OutOfMemory::check(MemoryLimit::Queue, wanted, settings.memory_limit)?;
        budget.check(wanted)?;
        let file = create_file(geometry.length, geometry.committed)?;
        let mut segment = Self::create_in(file, geometry, settings)?;
        segment.budget = budget;
        Ok(segment)
    }

    /// Makes a segment in an empty file, which another process may try to attach at the same time (HEADER-1).
    pub(super) fn create_in(
        file: OwnedFd,
        geometry: Geometry,
        settings: Settings,
    ) -> Result<Self, MemoryError> {
        let mapping = Mapping::new(&file, geometry.length)?;
        let file_id = FileId::of(&file)?;
        let segment = Self::new(mapping, geometry, settings, file, file_id);
        segment.header().write(&segment.geometry, &segment.settings);
        Ok(segment)
    }

    /// Maps a segment that another process, or another part of this one, has made.
    pub(crate) fn attach(file: OwnedFd) -> Result<Self, AttachError> {
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
        let mapping = Mapping::new(&file, size)?;
        // SAFETY: the mapping is at least `CELLS` long, so the header is inside it. It is aligned to a page, and
        // consists of atomic integers, for which any bytes are valid.
        let header: &Header = unsafe { mapping.pointer_at(0).cast().as_ref() };
        let (geometry, settings) = header.read(size)?;
        if !is_sealed && memory::allocated(&file)? < geometry.committed {
            return Err(AttachError::NotASegment("it lacks some of its memory"));
        }
        let file_id = FileId::of(&file)?;
        Ok(Self::new(mapping, geometry, settings, file, file_id))
    }

    fn new(
        mapping: Mapping,
        geometry: Geometry,
        settings: Settings,
        file: OwnedFd,
        file_id: FileId,
    ) -> Self {
        // The offsets are inside the mapping (SEGMENT-1).
        assert_eq!(mapping.length(), geometry.length);
        Self {
            cells: mapping.pointer_at(CELLS),
            shared: mapping.pointer_at(SHARED),
            cell: geometry.cell,
            inline: geometry.inline_payload(),
            small_blocks: geometry.small_blocks(),
            block_count: geometry.block_count(),
            headers: mapping.pointer_at(geometry.headers),
            peers: mapping.pointer_at(geometry.peers),
            owner: mapping.owner(),
            settings,
            geometry,
            budget: MemoryBudget::system(),
            sweeper: LivenessSweeper::default(),
            idle_blocks: IdleBlocks::default(),
            huge_hints: HugeHints::default(),
            file,
            file_id,
            mapping,
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
        segment.header().write(&segment.geometry, &segment.settings);
        segment
    }

    #[cfg(test)]
    pub(super) fn mapping(&self) -> &Mapping {
        &self.mapping
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
        &self.geometry
    }

    /// Returns the indices of the blocks of the smallest class.
    #[inline(always)]
    pub(crate) fn small_blocks(&self) -> Range<u32> {
        0..self.small_blocks
    }

    pub(crate) fn file(&self) -> &OwnedFd {
        &self.file
    }

    /// Returns the object `offset` bytes into a part of the segment.
    ///
    /// # Safety
    ///
    /// The layout must have a `T` there: inside the mapping and aligned. `T` must consist of atomic integers only. The
    /// reference must not outlive the mapping.
    #[inline(always)]
    unsafe fn at<'a, T>(part: NonNull<u8>, offset: usize) -> &'a T {
        // SAFETY: the caller promises that the address is inside the mapping.
        let address = unsafe { part.add(offset) };
        // SAFETY: the caller promises that the object is aligned, inside the mapping, and used only while the mapping
        // exists. It consists of atomics, for which any bytes are valid, and which any process may change at any time.
        unsafe { address.cast().as_ref() }
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: the header is at the start of the mapping, which is aligned to a page, and is shorter than `SHARED`
        // (asserted in `layout`).
        unsafe { Self::at(self.mapping.pointer_at(0), 0) }
    }

    #[inline(always)]
    pub(super) fn shared(&self) -> &SharedWords {
        // SAFETY: the words lie between `SHARED`, a multiple of a page, and `CELLS` (asserted in `layout`).
        unsafe { Self::at(self.shared, 0) }
    }

    /// Tells the processor that this cell will be written soon: its lines, but no more than [`PREFETCHED_LINES`].
    #[inline(always)]
    fn prefetch_cell_number(&self, number: usize) {
        let address = self.cells.as_ptr().wrapping_add(number * self.cell);
        cpu::prefetch_for_write(address);
        if self.cell > CACHE_LINE {
            cpu::prefetch_for_write(address.wrapping_add(CACHE_LINE));
        }
        if self.cell > 2 * CACHE_LINE {
            self.prefetch_rest(address);
        }
    }

    #[inline(never)]
    fn prefetch_rest(&self, cell: *const u8) {
        for line in 2..self.cell.div_ceil(CACHE_LINE).min(PREFETCHED_LINES) {
            cpu::prefetch_for_write(cell.wrapping_add(line * CACHE_LINE));
        }
    }

    #[inline(never)]
    fn large_block(&self, index: BlockIndex) -> Option<&BlockHeader> {
        if index.get() >= self.block_count {
            return None;
        }
        let offset = (index.get() - self.small_blocks) as usize * LARGE_HEADER;
        // SAFETY: a large block of this index exists. Its header has two cache lines and consists of atomics.
        Some(unsafe { Self::at(self.headers, offset) })
    }

    /// Returns the address and the length of a block's payload, all of it inside the mapping and with memory.
    #[inline(always)]
    pub(super) fn payload_address(
        &self,
        index: BlockIndex,
    ) -> Result<(NonNull<u8>, usize), Corrupt> {
        if index.get() < self.small_blocks {
            let offset = index.get() as usize * self.cell + size_of::<CellHeader>();
            // SAFETY: a cell of this number exists, and its payload follows its header.
            return Ok((unsafe { self.cells.add(offset) }, self.inline));
        }
        self.large_payload_address(index)
    }

    #[inline(never)]
    fn large_payload_address(&self, index: BlockIndex) -> Result<(NonNull<u8>, usize), Corrupt> {
        // Only corrupt words lead to a block without memory (HUGE-3). To read there would take memory past all limits.
        if self.geometry.huge_blocks().contains(&index.get())
            && !self.block(index).is_some_and(BlockHeader::is_committed)
        {
            return Err(Corrupt::NotCommitted);
        }
        let range = self.geometry.payload(index).ok_or(Corrupt::NoSuchBlock)?;
        Ok((self.mapping.pointer_at(range.start), range.len()))
    }
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

impl SharedState for Segment {
    #[inline(always)]
    fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    #[inline(always)]
    fn ring_size(&self) -> RingSize {
        self.geometry.ring
    }

    #[inline(always)]
    fn slot(&self, position: Position) -> &SlotWord {
        let number = self.geometry.ring.slot_number(position);
        #[allow(
            clippy::cast_possible_truncation,
            reason = "less than the length of the ring, which is a usize"
        )]
        let offset = number as usize * self.cell;
        // SAFETY: the number is below the number of slots, and there are more cells than slots. A cell begins with its
        // slot, which is one atomic.
        unsafe { Self::at(self.cells, offset) }
    }

    #[inline(always)]
    fn cell_count(&self) -> u32 {
        self.small_blocks
    }

    #[inline(always)]
    fn block_count(&self) -> u32 {
        self.block_count
    }

    #[inline(always)]
    fn block(&self, index: BlockIndex) -> Option<&BlockHeader> {
        if index.get() >= self.small_blocks {
            return self.large_block(index);
        }
        let offset = index.get() as usize * self.cell + size_of::<SlotWord>();
        // SAFETY: a cell of this number exists. The header of its block follows its slot, and consists of atomics.
        Some(unsafe { Self::at(self.cells, offset) })
    }

    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks> {
        if index.get() >= self.block_count {
            return None;
        }
        let offset = index.get().checked_sub(self.small_blocks)? as usize * LARGE_HEADER;
        // SAFETY: a large block of this index exists. Its marks follow its header on the two cache lines that it has
        // (asserted in `layout`), and consist of atomics.
        Some(unsafe { Self::at(self.headers, offset + size_of::<BlockHeader>()) })
    }

    fn peer_count(&self) -> u16 {
        PeerIndex::COUNT
    }

    fn peer(&self, peer: PeerIndex) -> Option<&PeerEntry> {
        let offset = usize::from(peer.get()) * size_of::<PeerEntry>();
        // SAFETY: the index is below `PeerIndex::COUNT`, for which there is room in the peer table: an aligned cache
        // line each, which consists of atomics.
        Some(unsafe { Self::at(self.peers, offset) })
    }

    #[inline(always)]
    fn lifecycle(&self) -> &LifecycleWord {
        &self.shared().lifecycle
    }

    #[inline(always)]
    fn returned(&self) -> &ReturnedWord {
        &self.shared().returned
    }

    #[inline(always)]
    fn head(&self) -> &Hint {
        &self.shared().head.0
    }

    #[inline(always)]
    fn tail(&self) -> &Hint {
        &self.shared().tail.0
    }

    #[inline(always)]
    fn items(&self) -> &ParkingWord {
        &self.shared().items
    }

    #[inline(always)]
    fn space(&self) -> &ParkingWord {
        &self.shared().space
    }

    #[inline(always)]
    fn blocks(&self) -> &ParkingWord {
        &self.shared().blocks
    }

    fn evicted(&self) -> &AtomicU64 {
        &self.shared().evicted.0
    }

    fn discarded(&self) -> &AtomicU64 {
        &self.shared().discarded.0
    }

    fn wake(&self, word: &ParkingWord, count: u32) -> u32 {
        futex::wake(word.futex_word(), count)
    }

    #[inline(always)]
    fn prefetch_block(&self, index: BlockIndex) {
        // A larger payload lies elsewhere, and the processor's own prefetching finds it.
        if index.get() < self.small_blocks {
            self.prefetch_cell_number(index.get() as usize);
        }
    }

    #[inline(always)]
    fn prefetch_cell(&self, position: Position) {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "less than the length of the ring, which is a usize"
        )]
        self.prefetch_cell_number(self.geometry.ring.slot_number(position) as usize);
    }
}
