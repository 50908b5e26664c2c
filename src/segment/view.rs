//! The words of the protocol in a mapped segment: where they are, and safe access to them.
//!
//! A [`View`] is a copy of the addresses, and of the few numbers that lead to a word. The compiler keeps a copy in
//! registers, where it would have to read the fields of a [`Segment`] again after each exchange, because a segment
//! contains atomics and its fields might have changed. So the fast paths make a view once, and use it for the whole
//! operation.
//!
//! A block that lies beside a slot has the address of that slot, which a fast path has computed before. So it looks up the
//! header and the payload by the position of the slot (`block_near`, `payload_address_near`): that takes neither a branch nor
//! another multiplication.
//!
//! VIEW-1. The addresses are those of the mapping that is kept with them, and the numbers are those of its geometry. All
//!         of them are private to this module, and never change, but for one that is only a hint: how far ahead receivers
//!         prefetch.
#![allow(
    unsafe_code,
    reason = "turns addresses in the mapping into references; each block states its reason"
)]

mod larger;
mod prefetch;

use super::geometry::{Geometry, PEERS_PER_PAGE};
use super::layout::{CELLS, CellHeader, SHARED, SharedWords};
use super::rewrite::{HasRead, RewrittenBlocks};
use crate::os::membarrier;
use crate::os::memory::Mapping;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::parts::Part;
use crate::protocol::peers::PeerEntry;
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, RingSize, SlotWord};
use crate::protocol::{Corrupt, Words};
use crate::sync::AtomicU32;
#[cfg(feature = "cli")]
use core::ops::Range;
use core::ptr::NonNull;
use larger::LargerBlocks;
#[cfg(feature = "cli")]
use std::io;
#[cfg(feature = "cli")]
use std::os::fd::AsFd;

/// Where the parts of a mapped segment are (VIEW-1).
#[derive(Debug)]
pub(super) struct Places {
    hot: HotPlaces,
    rewritten: RewrittenBlocks,
    headers: NonNull<u8>,
    peers: NonNull<u8>,
    /// How many cells ahead receivers of this process prefetch.
    receivers_ahead: AtomicU32,
    block_count: u32,
    /// The larger blocks of each part.
    larger: [LargerBlocks; Part::COUNT],
    mapping: Mapping,
    geometry: Geometry,
}

/// The places and numbers that every message needs.
#[derive(Clone, Copy, Debug)]
struct HotPlaces {
    /// The start of the mapping.
    start: NonNull<u8>,
    ring: RingSize,
    /// The size of a cell, and the part of it that is payload.
    cell: usize,
    inline: usize,
    /// The number of cells, which is the number of blocks of the smallest class.
    cell_count: u32,
    /// Whether sleepers make fences for this process ([`membarrier`]).
    is_fenced_by_others: bool,
}

impl Places {
    /// Computes where the parts are in a mapping, which must have the length that the geometry needs (SEGMENT-1).
    pub(super) fn new(mapping: Mapping, geometry: Geometry) -> Self {
        assert_eq!(mapping.length(), geometry.length);
        let hot = HotPlaces {
            start: mapping.pointer_at(0),
            ring: geometry.ring,
            cell: geometry.cell,
            inline: geometry.inline_payload(),
            cell_count: geometry.small_blocks(),
            is_fenced_by_others: membarrier::register(),
        };
        let larger = core::array::from_fn(|number| LargerBlocks::new(&geometry, Part::new(number)));
        Self {
            hot,
            rewritten: RewrittenBlocks::new(&geometry),
            larger,
            headers: mapping.pointer_at(geometry.headers),
            peers: mapping.pointer_at(geometry.peers),
            receivers_ahead: AtomicU32::new(prefetch::NEAR),
            block_count: geometry.block_count(),
            mapping,
            geometry,
        }
    }

    pub(super) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Copies `range` of a file to the same place of the mapping: see [`Mapping::copy_from`].
    #[cfg(feature = "cli")]
    pub(super) fn copy_from(&mut self, file: impl AsFd, range: Range<usize>) -> io::Result<()> {
        self.mapping.copy_from(file, range)
    }

    #[inline(always)]
    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    #[inline(always)]
    pub(super) const fn cell_count(&self) -> u32 {
        self.hot.cell_count
    }

    #[inline(always)]
    pub(super) const fn block_count(&self) -> u32 {
        self.block_count
    }

    /// Returns a view of the segment.
    #[inline(always)]
    pub(super) const fn view(&self) -> View<'_> {
        // Field by field: so the compiler still knows which values a field cannot have, and that addresses are not null.
        let HotPlaces {
            start,
            ring,
            cell,
            inline,
            cell_count,
            is_fenced_by_others,
        } = self.hot;
        View {
            hot: HotPlaces {
                start,
                ring,
                cell,
                inline,
                cell_count,
                is_fenced_by_others,
            },
            all: self,
        }
    }

    /// Returns the number of peer entries that have memory.
    #[inline(always)]
    pub(super) fn peer_count(&self) -> u16 {
        let more = self.view().shared_words().parts.0.load().peer_pages();
        let more = u16::try_from(more).unwrap_or(u16::MAX);
        more.saturating_add(1)
            .saturating_mul(PEERS_PER_PAGE)
            .min(PeerIndex::COUNT)
    }

    /// Returns a peer entry; `None` if it has no memory yet (PARTS-2).
    pub(super) fn peer(&self, peer: PeerIndex) -> Option<&PeerEntry> {
        if peer.get() >= self.peer_count() {
            return None;
        }
        let offset = usize::from(peer.get()) * size_of::<PeerEntry>();
        // SAFETY: the index is below `PeerIndex::COUNT`, for which there is room in the peer table: an aligned cache
        // line each, which consists of atomics.
        Some(unsafe { self.view().at(self.peers, offset) })
    }
}

// SAFETY: the addresses are those of the mapping, which belongs to no thread. They lead to atomics, and to payloads
// that the protocol gives to one owner at a time.
unsafe impl Send for Places {}
// SAFETY: as above.
unsafe impl Sync for Places {}

/// Access to the words of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    hot: HotPlaces,
    all: &'a Places,
}

impl<'a> View<'a> {
    /// Returns the object `offset` bytes into a part of the segment.
    ///
    /// # Safety
    ///
    /// The layout must have a `T` there: inside the mapping and aligned. `T` must consist of atomic integers only.
    #[inline(always)]
    #[allow(clippy::unused_self, reason = "bounds the lifetime of the reference")]
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
        unsafe { self.at(self.hot.start, SHARED) }
    }

    /// Returns the offset of the cell with this number.
    #[inline(always)]
    const fn offset_of_cell(self, number: usize) -> usize {
        CELLS + number * self.hot.cell
    }

    /// Returns the offset of the cell of a position: that of its slot.
    #[inline(always)]
    const fn offset_at(self, position: Position) -> usize {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "less than the length of the ring, which is a usize"
        )]
        self.offset_of_cell(self.hot.ring.slot_number(position) as usize)
    }

    /// Returns the address and the length of a block's payload, all of it inside the mapping and with memory.
    #[inline(always)]
    pub(super) fn payload_address(
        self,
        index: BlockIndex,
    ) -> Result<(NonNull<u8>, usize), Corrupt> {
        if index.get() >= self.hot.cell_count {
            return self.all.large_payload_address(index);
        }
        let offset = self.offset_of_cell(index.get() as usize) + size_of::<CellHeader>();
        // SAFETY: a cell of this number exists, and its payload follows its header.
        Ok((unsafe { self.hot.start.add(offset) }, self.hot.inline))
    }

    /// Returns the same for a block that probably lies beside the slot of a position: see [`Words::block_near`].
    #[inline(always)]
    pub(super) fn payload_address_near(
        self,
        position: Position,
        index: BlockIndex,
    ) -> Result<(NonNull<u8>, usize), Corrupt> {
        if index != self.hot.ring.index_beside(position) {
            return self.payload_address(index);
        }
        let offset = self.offset_at(position) + size_of::<CellHeader>();
        // SAFETY: each slot has a cell, and the payload of its block follows its header.
        Ok((unsafe { self.hot.start.add(offset) }, self.hot.inline))
    }

    /// Returns whether a receiver writes to the lines of the message in this block.
    #[inline(always)]
    pub(super) fn is_rewritten(self, index: BlockIndex, read: HasRead) -> bool {
        self.all.rewritten.has(index, read)
    }

    /// Returns how many bytes a block of the smallest class has room for.
    #[inline(always)]
    pub(crate) const fn small_payload(self) -> usize {
        self.hot.inline
    }
}

impl<'a> Words<'a> for View<'a> {
    #[inline(always)]
    fn ring_size(self) -> RingSize {
        self.hot.ring
    }

    #[inline(always)]
    fn slot(self, position: Position) -> &'a SlotWord {
        // SAFETY: the number is below the number of slots, and there are more cells than slots. A cell begins with its
        // slot, which is one atomic.
        unsafe { self.at(self.hot.start, self.offset_at(position)) }
    }

    #[inline(always)]
    fn block_beside(self, position: Position) -> Option<&'a BlockHeader> {
        let offset = self.offset_at(position) + size_of::<SlotWord>();
        // SAFETY: as for `slot`. The header of the block follows the slot, and consists of atomics.
        Some(unsafe { self.at(self.hot.start, offset) })
    }

    #[inline(always)]
    fn block(self, index: BlockIndex) -> Option<&'a BlockHeader> {
        if index.get() >= self.hot.cell_count {
            return self.all.large_block(index);
        }
        let offset = self.offset_of_cell(index.get() as usize) + size_of::<SlotWord>();
        // SAFETY: a cell of this number exists. The header of its block follows its slot, and consists of atomics.
        Some(unsafe { self.at(self.hot.start, offset) })
    }

    #[inline(always)]
    fn lifecycle(self) -> &'a LifecycleWord {
        &self.shared_words().lifecycle
    }

    #[inline(always)]
    fn returned(self) -> &'a ReturnedWord {
        &self.shared_words().returned
    }

    #[inline(always)]
    fn head(self) -> &'a Hint {
        &self.shared_words().head.0
    }

    #[inline(always)]
    fn tail(self) -> &'a Hint {
        &self.shared_words().tail.0
    }

    #[inline(always)]
    fn items(self) -> &'a ParkingWord {
        &self.shared_words().items
    }

    #[inline(always)]
    fn space(self) -> &'a ParkingWord {
        &self.shared_words().space
    }

    #[inline(always)]
    fn blocks(self) -> &'a ParkingWord {
        &self.shared_words().blocks
    }

    #[inline(always)]
    fn is_fenced_by_others(self) -> bool {
        self.hot.is_fenced_by_others
    }

    #[inline(always)]
    fn prefetch_block(self, index: BlockIndex) {
        View::prefetch_block(self, index);
    }

    #[inline(always)]
    fn prefetch_room(self, index: BlockIndex, like: BlockIndex) {
        View::prefetch_room(self, index, like);
    }

    #[inline(always)]
    fn prefetch_message(self, position: Position, like: BlockIndex) {
        View::prefetch_message(self, position, like);
    }

    #[inline(always)]
    fn prefetch_cell(self, position: Position) {
        View::prefetch_cell(self, position);
    }

    #[inline(always)]
    fn prefetch_after(self, position: Position) {
        View::prefetch_after(self, position);
    }
}
