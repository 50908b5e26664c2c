//! Where everything lies in a segment.
//!
//! | offset        | what                                                             |
//! |---------------|------------------------------------------------------------------|
//! | 0             | [`Header`]: written once, the magic last                         |
//! | `WORDS`       | [`SharedWords`]: the words that all peers share, a line each     |
//! | `ROWS`        | peers table, one line a row                                      |
//! | `slots`       | ring, neighbouring slots on different lines                      |
//! | `small`       | blocks of the smallest class: header and payload together        |
//! | `headers`     | headers of all larger blocks with their marks, one line each     |
//! | `payloads`    | their payloads, class by class                                   |
//!
//! S1. All offsets follow from the capacity alone, so that a peer computes them for itself and compares: it
//!     never trusts an offset read from the segment.
//! S2. Every word that several processes write has a line of its own, and head and tail are two lines apart,
//!     for processors fetch lines in pairs.

use crate::protocol::blocks::{BlockHeader, BlockIndex};
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::{PeerRow, Row};
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, RingSize, SlotWord};
use crate::sync::AtomicU64;
use core::ops::Range;

/// A cache line.
pub(super) const LINE: usize = 64;
const PAGE: usize = 4096;

/// The least number of slots, so that each has room on a line with few others and laps stay long.
const LEAST_SLOTS: u32 = 1024;

/// The payload of the smallest class, which shares two lines with its header.
pub(super) const SMALL_PAYLOAD: usize = SMALL_BLOCK - size_of::<BlockHeader>();
pub(super) const SMALL_BLOCK: usize = 2 * LINE;
/// The payloads of the larger classes: 64 bytes times powers of four.
const LARGE_PAYLOADS: [usize; 5] = [256, 1024, 4096, 16 * 1024, 64 * 1024];
/// The classes of blocks.
pub(crate) const CLASSES: usize = 1 + LARGE_PAYLOADS.len();
/// The largest message.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;

/// Blocks of the smallest class: at least twice the capacity, so that a full ring is what stops a sender
/// first, and at least this many, for senders each have one in hand.
const LEAST_SMALL_BLOCKS: u32 = 64;
/// Memory for each larger class, unless twice the capacity needs less; `least_large_blocks` at any rate.
const LARGE_CLASS_BYTES: usize = 1 << 20;
const LEAST_LARGE_BLOCKS: usize = 16;

/// "workring", as a number.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"workring");
/// Raised with every change of the layout or the protocol.
pub(super) const VERSION: u64 = 1;

/// Bytes for a name in the header; longer ones keep their end, which says most.
pub(super) const NAME_BYTES: usize = 256;

/// What a segment says of itself. All words, so that reading a file that is no segment is no worse than
/// reading nonsense.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: AtomicU64,
    pub(super) version: AtomicU64,
    pub(super) fingerprint: AtomicU64,
    pub(super) length: AtomicU64,
    pub(super) schema: AtomicU64,
    pub(super) capacity: AtomicU64,
    pub(super) attempts: AtomicU64,
    pub(super) max_leases: AtomicU64,
    pub(super) max_dead_letters: AtomicU64,
    pub(super) spin_nanoseconds: AtomicU64,
    pub(super) slice_nanoseconds: AtomicU64,
    pub(super) flags: AtomicU64,
    pub(super) type_name: [AtomicU64; NAME_BYTES / 8],
    pub(super) codec_name: [AtomicU64; NAME_BYTES / 8],
}

/// The words that all peers share (S2).
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct SharedWords {
    pub(super) head: Apart<Hint>,
    pub(super) tail: Apart<Hint>,
    pub(super) lifecycle: LifecycleWord,
    pub(super) returned: ReturnedWord,
    pub(super) items: ParkingWord,
    pub(super) space: ParkingWord,
    pub(super) blocks: ParkingWord,
    pub(super) dropped_letters: Apart<AtomicU64>,
    pub(super) discarded: Apart<AtomicU64>,
    pub(super) packed: Apart<AtomicU64>,
}

/// Two lines for one word.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Apart<T>(pub(super) T);

pub(super) const WORDS: usize = PAGE;
pub(super) const ROWS: usize = 2 * PAGE;

const _: () = assert!(size_of::<Header>() <= WORDS);
const _: () = assert!(WORDS + size_of::<SharedWords>() <= ROWS);
const _: () = assert!(size_of::<SlotWord>() == 8);

/// One class of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// Their numbers.
    pub(crate) blocks: Range<u32>,
    /// How many bytes a message in one may have.
    pub(crate) payload: usize,
    /// Where the payload of the first one starts.
    start: usize,
    /// From one payload to the next.
    stride: usize,
}

/// All offsets of a segment (S1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) ring: RingSize,
    pub(crate) classes: [Class; CLASSES],
    pub(super) slots: usize,
    pub(super) small: usize,
    pub(super) headers: usize,
    pub(super) length: usize,
}

impl Geometry {
    /// The capacities that a queue can have.
    pub(crate) const CAPACITIES: core::ops::RangeInclusive<u32> = 1..=65_536;

    /// The layout for `capacity`, which must be one of [`Geometry::CAPACITIES`].
    pub(crate) fn new(capacity: u32) -> Self {
        let ring = RingSize::for_capacity(capacity, LEAST_SLOTS);
        let slots = ROWS + usize::from(Row::COUNT) * size_of::<PeerRow>();
        let slot_bytes =
            usize::try_from(ring.slots()).unwrap_or(usize::MAX) * size_of::<SlotWord>();
        let small = (slots + slot_bytes).next_multiple_of(PAGE);
        let small_blocks = (2 * capacity).max(LEAST_SMALL_BLOCKS);
        let headers = (small + small_blocks as usize * SMALL_BLOCK).next_multiple_of(PAGE);

        let large_blocks = LARGE_PAYLOADS.map(|payload| {
            let affordable = (LARGE_CLASS_BYTES / payload).max(LEAST_LARGE_BLOCKS);
            u32::try_from(affordable)
                .unwrap_or(u32::MAX)
                .min(small_blocks)
        });
        let all_large: u32 = large_blocks.iter().sum();
        let mut end = (headers + all_large as usize * LINE).next_multiple_of(PAGE);
        let mut next_block = small_blocks;

        let mut large = LARGE_PAYLOADS
            .iter()
            .zip(large_blocks)
            .map(|(&payload, count)| {
                let class = Class {
                    blocks: next_block..next_block + count,
                    payload,
                    start: end,
                    stride: payload,
                };
                next_block += count;
                end += count as usize * payload;
                class
            });
        let smallest = Class {
            blocks: 0..small_blocks,
            payload: SMALL_PAYLOAD,
            start: small + size_of::<BlockHeader>(),
            stride: SMALL_BLOCK,
        };
        let mut classes = core::array::from_fn(|_| smallest.clone());
        for class in classes.iter_mut().skip(1) {
            if let Some(next) = large.next() {
                *class = next;
            }
        }
        drop(large);
        Self {
            ring,
            classes,
            slots,
            small,
            headers,
            length: end.next_multiple_of(PAGE),
        }
    }

    /// How many blocks there are, of all classes.
    pub(crate) fn block_count(&self) -> u32 {
        self.classes
            .iter()
            .map(|class| class.blocks.end)
            .max()
            .unwrap_or(0)
    }

    /// How many blocks the smallest class has.
    pub(super) fn small_blocks(&self) -> u32 {
        self.classes.first().map_or(0, |class| class.blocks.end)
    }

    /// The smallest class for a message of `length` bytes.
    pub(crate) fn class_for(&self, length: usize) -> Option<usize> {
        self.classes
            .iter()
            .position(|class| length <= class.payload)
    }

    /// Where a block's payload starts and how long it may be. `None`: there is no such block.
    #[inline(always)]
    pub(super) fn payload(&self, index: BlockIndex) -> Option<Range<usize>> {
        let class = self
            .classes
            .iter()
            .find(|class| class.blocks.contains(&index.get()))?;
        let start = class.start + (index.get() - class.blocks.start) as usize * class.stride;
        Some(start..start + class.payload)
    }

    /// A number that differs between layouts that can't share a segment: FNV-1a over all that this build
    /// and capacity have decided.
    pub(super) fn fingerprint(&self) -> u64 {
        let sizes = [
            size_of::<Header>(),
            size_of::<SharedWords>(),
            size_of::<PeerRow>(),
            size_of::<BlockHeader>(),
        ];
        let offsets = [
            self.slots,
            self.small,
            self.headers,
            self.length,
            usize::from(Row::COUNT),
        ];
        let classes = self
            .classes
            .iter()
            .flat_map(|class| [class.payload, class.start, class.blocks.end as usize]);
        sizes
            .into_iter()
            .chain(offsets)
            .chain(classes)
            .fold(0xcbf2_9ce4_8422_2325, |hash, number| {
                (hash ^ number as u64).wrapping_mul(0x0000_0100_0000_01b3)
            })
    }

    /// The byte to lock for a tenant of a row: beyond the end, another for each incarnation.
    pub(crate) fn lock_byte(&self, row: Row, incarnation: u64) -> u64 {
        // 2^48 incarnations of 2^10 rows, beyond a segment of less than 2^48 bytes, stay below 2^63.
        self.length as u64 + (incarnation << 10) + u64::from(row.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_each_other_without_overlap_at_every_capacity() {
        for capacity in [1, 2, 31, 1023, 1024, 4096, 65_535, 65_536] {
            let geometry = Geometry::new(capacity);
            assert!(geometry.ring.slots() > u64::from(capacity));
            let mut last_end = geometry.small;
            for index in (0..geometry.block_count()).filter_map(BlockIndex::new) {
                let payload = geometry.payload(index).expect("every block has a payload");
                assert!(
                    payload.start >= last_end && payload.end <= geometry.length,
                    "{index:?} {payload:?}"
                );
                assert_eq!(payload.start % 8, 0);
                last_end = payload.end;
            }
            assert!(
                BlockIndex::new(geometry.block_count())
                    .is_some_and(|index| geometry.payload(index).is_none())
            );
            let [smallest, ..] = &geometry.classes;
            assert!(smallest.blocks.len() >= 2 * capacity as usize);
        }
    }

    #[test]
    fn a_message_goes_into_the_smallest_class_that_holds_it() {
        let geometry = Geometry::new(16);
        assert_eq!(geometry.class_for(0), Some(0));
        assert_eq!(geometry.class_for(SMALL_PAYLOAD), Some(0));
        assert_eq!(geometry.class_for(SMALL_PAYLOAD + 1), Some(1));
        assert_eq!(geometry.class_for(MAX_MESSAGE), Some(CLASSES - 1));
        assert_eq!(geometry.class_for(MAX_MESSAGE + 1), None);
    }

    #[test]
    fn another_capacity_has_another_fingerprint() {
        assert_ne!(
            Geometry::new(4096).fingerprint(),
            Geometry::new(65_536).fingerprint()
        );
    }
}
