//! The words of the protocol in a mapped segment: where they are, and safe access to them.
//!
//! A [`View`] is a copy of the addresses, and of the few numbers that lead to a word. The compiler keeps a copy in
//! registers, where it would have to read the fields of a [`Segment`] again after each exchange, because a segment
//! contains atomics and its fields might have changed. So the fast paths make a view once, and use it for the whole
//! operation.
//!
//! VIEW-1. The addresses are those of the mapping that the view borrows, and the numbers are those of its layout. Both
//!         are private to this file.
#![allow(
    unsafe_code,
    reason = "turns addresses in the mapping into references; each block states its reason"
)]

use super::geometry::Geometry;
use super::layout::{CACHE_LINE, CELLS, CellHeader, LARGE_HEADER, SHARED, SharedWords};
use crate::os::memory::Mapping;
use crate::os::{cpu, futex};
use crate::protocol::batch::BatchMarks;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::PeerEntry;
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, RingSize, SlotWord};
use crate::protocol::{Corrupt, Limits, SharedState};
use crate::sync::AtomicU64;
use core::ptr::NonNull;

/// How many lines of a cell are prefetched. The processor's own prefetching finds the rest.
const PREFETCHED_LINES: usize = 4;

/// Where the parts of a segment are in this process, and their sizes (VIEW-1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    cells: NonNull<u8>,
    shared: NonNull<u8>,
    headers: NonNull<u8>,
    peers: NonNull<u8>,
    ring: RingSize,
    /// The size of a cell, and the part of it that is payload.
    cell: usize,
    inline: usize,
    /// The number of cells, which is the number of blocks of the smallest class.
    cell_count: u32,
    block_count: u32,
}

impl Places {
    /// Computes where the parts are in a mapping, which must have the length that the geometry needs (SEGMENT-1).
    pub(super) fn of(mapping: &Mapping, geometry: &Geometry) -> Self {
        assert_eq!(mapping.length(), geometry.length);
        Self {
            cells: mapping.pointer_at(CELLS),
            shared: mapping.pointer_at(SHARED),
            headers: mapping.pointer_at(geometry.headers),
            peers: mapping.pointer_at(geometry.peers),
            ring: geometry.ring,
            cell: geometry.cell,
            inline: geometry.inline_payload(),
            cell_count: geometry.small_blocks(),
            block_count: geometry.block_count(),
        }
    }

    #[inline(always)]
    pub(super) const fn cell_count(self) -> u32 {
        self.cell_count
    }
}

/// Access to the words of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    places: Places,
    limits: &'a Limits,
    geometry: &'a Geometry,
    mapping: &'a Mapping,
}

impl<'a> View<'a> {
    /// Makes a view of a mapping. All arguments must be those of one segment (VIEW-1).
    #[inline(always)]
    pub(super) const fn new(
        places: Places,
        limits: &'a Limits,
        geometry: &'a Geometry,
        mapping: &'a Mapping,
    ) -> Self {
        Self {
            places,
            limits,
            geometry,
            mapping,
        }
    }

    /// Returns the object `offset` bytes into a part of the segment.
    ///
    /// # Safety
    ///
    /// The layout must have a `T` there: inside the mapping and aligned. `T` must consist of atomic integers only.
    #[inline(always)]
    unsafe fn at<T>(self, part: NonNull<u8>, offset: usize) -> &'a T {
        // SAFETY: the caller promises that the address is inside the mapping.
        let address = unsafe { part.add(offset) };
        // SAFETY: the caller promises that the object is aligned and inside the mapping, which is
        // borrowed for `'a`. It consists of atomics, for which any bytes are valid, and which any
        // process may change at any time.
        unsafe { address.cast().as_ref() }
    }

    #[inline(always)]
    pub(super) fn shared_words(self) -> &'a SharedWords {
        // SAFETY: the words lie between `SHARED`, a multiple of a page, and `CELLS` (asserted in `layout`).
        unsafe { self.at(self.places.shared, 0) }
    }

    /// Returns the number of the slot of a position, which is also that of its cell.
    #[inline(always)]
    const fn cell_number(self, position: Position) -> usize {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "less than the length of the ring, which is a usize"
        )]
        {
            self.places.ring.slot_number(position) as usize
        }
    }

    #[inline(always)]
    fn slot_at(self, position: Position) -> &'a SlotWord {
        let offset = self.cell_number(position) * self.places.cell;
        // SAFETY: the number is below the number of slots, and there are more cells than slots. A cell begins with its
        // slot, which is one atomic.
        unsafe { self.at(self.places.cells, offset) }
    }

    #[inline(always)]
    fn block_at(self, index: BlockIndex) -> Option<&'a BlockHeader> {
        if index.get() >= self.places.cell_count {
            return self.large_block(index);
        }
        let offset = index.get() as usize * self.places.cell + size_of::<SlotWord>();
        // SAFETY: a cell of this number exists. The header of its block follows its slot, and consists of atomics.
        Some(unsafe { self.at(self.places.cells, offset) })
    }

    #[inline(never)]
    fn large_block(self, index: BlockIndex) -> Option<&'a BlockHeader> {
        if index.get() >= self.places.block_count {
            return None;
        }
        let offset = (index.get() - self.places.cell_count) as usize * LARGE_HEADER;
        // SAFETY: a large block of this index exists. Its header has two cache lines and consists of atomics.
        Some(unsafe { self.at(self.places.headers, offset) })
    }

    fn marks_at(self, index: BlockIndex) -> Option<&'a BatchMarks> {
        if index.get() >= self.places.block_count {
            return None;
        }
        let offset = index.get().checked_sub(self.places.cell_count)? as usize * LARGE_HEADER;
        // SAFETY: a large block of this index exists. Its marks follow its header on the two cache lines that it has
        // (asserted in `layout`), and consist of atomics.
        Some(unsafe { self.at(self.places.headers, offset + size_of::<BlockHeader>()) })
    }

    fn peer_at(self, peer: PeerIndex) -> &'a PeerEntry {
        let offset = usize::from(peer.get()) * size_of::<PeerEntry>();
        // SAFETY: the index is below `PeerIndex::COUNT`, for which there is room in the peer table: an aligned cache
        // line each, which consists of atomics.
        unsafe { self.at(self.places.peers, offset) }
    }

    /// Returns the address and the length of a block's payload, all of it inside the mapping and with memory.
    #[inline(always)]
    pub(super) fn payload_address(
        self,
        index: BlockIndex,
    ) -> Result<(NonNull<u8>, usize), Corrupt> {
        if index.get() >= self.places.cell_count {
            return self.large_payload_address(index);
        }
        let offset = index.get() as usize * self.places.cell + size_of::<CellHeader>();
        // SAFETY: a cell of this number exists, and its payload follows its header.
        Ok((unsafe { self.places.cells.add(offset) }, self.places.inline))
    }

    #[inline(never)]
    fn large_payload_address(self, index: BlockIndex) -> Result<(NonNull<u8>, usize), Corrupt> {
        // Only corrupt words lead to a block without memory (HUGE-3). To read there would take memory past all limits.
        if self.geometry.huge_blocks().contains(&index.get())
            && !self.block_at(index).is_some_and(BlockHeader::is_committed)
        {
            return Err(Corrupt::NotCommitted);
        }
        let range = self.geometry.payload(index).ok_or(Corrupt::NoSuchBlock)?;
        Ok((self.mapping.pointer_at(range.start), range.len()))
    }

    /// Tells the processor that a cell will be written soon: its lines, but no more than [`PREFETCHED_LINES`].
    #[inline(always)]
    fn prefetch(self, cell: usize) {
        let address = self.places.cells.as_ptr();
        let address = address.wrapping_add(cell * self.places.cell);
        cpu::prefetch_for_write(address);
        if self.places.cell > CACHE_LINE {
            cpu::prefetch_for_write(address.wrapping_add(CACHE_LINE));
        }
        if self.places.cell > 2 * CACHE_LINE {
            prefetch_rest(address, self.places.cell);
        }
    }
}

/// Prefetches a cell of `size` bytes from its third line on.
#[inline(never)]
fn prefetch_rest(cell: *const u8, size: usize) {
    for line in 2..size.div_ceil(CACHE_LINE).min(PREFETCHED_LINES) {
        cpu::prefetch_for_write(cell.wrapping_add(line * CACHE_LINE));
    }
}

/// What has a view: a segment, and the view itself.
pub(super) trait HasView {
    fn to_view(&self) -> View<'_>;
}

impl HasView for View<'_> {
    #[inline(always)]
    fn to_view(&self) -> View<'_> {
        *self
    }
}

impl<V: HasView> SharedState for V {
    #[inline(always)]
    fn limits(&self) -> &Limits {
        self.to_view().limits
    }

    #[inline(always)]
    fn ring_size(&self) -> RingSize {
        self.to_view().places.ring
    }

    #[inline(always)]
    fn slot(&self, position: Position) -> &SlotWord {
        self.to_view().slot_at(position)
    }

    #[inline(always)]
    fn cell_count(&self) -> u32 {
        self.to_view().places.cell_count
    }

    #[inline(always)]
    fn block_count(&self) -> u32 {
        self.to_view().places.block_count
    }

    #[inline(always)]
    fn block(&self, index: BlockIndex) -> Option<&BlockHeader> {
        self.to_view().block_at(index)
    }

    fn marks(&self, index: BlockIndex) -> Option<&BatchMarks> {
        self.to_view().marks_at(index)
    }

    fn peer_count(&self) -> u16 {
        PeerIndex::COUNT
    }

    fn peer(&self, peer: PeerIndex) -> Option<&PeerEntry> {
        Some(self.to_view().peer_at(peer))
    }

    #[inline(always)]
    fn lifecycle(&self) -> &LifecycleWord {
        &self.to_view().shared_words().lifecycle
    }

    #[inline(always)]
    fn returned(&self) -> &ReturnedWord {
        &self.to_view().shared_words().returned
    }

    #[inline(always)]
    fn head(&self) -> &Hint {
        &self.to_view().shared_words().head.0
    }

    #[inline(always)]
    fn tail(&self) -> &Hint {
        &self.to_view().shared_words().tail.0
    }

    #[inline(always)]
    fn items(&self) -> &ParkingWord {
        &self.to_view().shared_words().items
    }

    #[inline(always)]
    fn space(&self) -> &ParkingWord {
        &self.to_view().shared_words().space
    }

    #[inline(always)]
    fn blocks(&self) -> &ParkingWord {
        &self.to_view().shared_words().blocks
    }

    fn evicted(&self) -> &AtomicU64 {
        &self.to_view().shared_words().evicted.0
    }

    fn discarded(&self) -> &AtomicU64 {
        &self.to_view().shared_words().discarded.0
    }

    fn wake(&self, word: &ParkingWord, count: u32) -> u32 {
        futex::wake(word.futex_word(), count)
    }

    #[inline(always)]
    fn prefetch_block(&self, index: BlockIndex) {
        // A larger payload lies elsewhere, and the processor's own prefetching finds it.
        let view = self.to_view();
        if index.get() < view.places.cell_count {
            view.prefetch(index.get() as usize);
        }
    }

    #[inline(always)]
    fn prefetch_cell(&self, position: Position) {
        let view = self.to_view();
        view.prefetch(view.cell_number(position));
    }
}
