//! Where everything lies in a segment.
//!
//! | offset        | what                                                             |
//! |---------------|------------------------------------------------------------------|
//! | 0             | [`Header`]: written once, the magic last                         |
//! | `WORDS`       | [`SharedWords`]: the words that all peers share, a line each     |
//! | `ROWS`        | peers table, one line a row                                      |
//! | `slots`       | ring                                                             |
//! | `small`       | blocks of the smallest class: header and payload together        |
//! | `headers`     | headers of all larger blocks with their marks, two lines each    |
//! | `payloads`    | their payloads, class by class                                   |
//! | `committed`   | those of huge blocks, of more than 64 KiB, class by class        |
//!
//! Everything before `committed` has memory from the start. Beyond it there are only addresses: each huge block
//! gets memory when it is first used, and gives it back when it is idle (see [`super::huge`]).
//!
//! LAYOUT-1. All offsets follow from the capacity and the largest message alone, so that a peer computes them for itself
//!     and compares: it never trusts an offset read from the segment.
//! LAYOUT-2. Every word that several processes write has a line of its own, and head and tail are two lines apart,
//!     for processors fetch lines in pairs. The slots of the ring alone share lines: a sender and a receiver are
//!     rarely at neighbouring slots for long (the receiver's pauses see to that), and a line then carries eight of them
//!     from one to the other at once.
use crate::protocol::block_header::BlockHeader;
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::lifecycle::LifecycleWord;
use crate::protocol::parking::ParkingWord;
use crate::protocol::peers::PeerEntry;
use crate::protocol::returned::ReturnedWord;
use crate::protocol::ring::{Hint, RingSize, SlotWord};
use crate::protocol::steps::send::ALLOCATION_STRIDE;
use crate::sync::AtomicU64;
use core::ops::{Range, RangeInclusive};

/// A cache line.
pub(super) const LINE: usize = 64;
const PAGE: usize = 4096;

/// The least number of slots, so that laps stay long.
const LEAST_SLOTS: u32 = 1024;

/// The payload of the smallest class, which shares two lines with its header.
pub(super) const SMALL_PAYLOAD: usize = SMALL_BLOCK - size_of::<BlockHeader>();
pub(super) const SMALL_BLOCK: usize = 2 * LINE;
/// The header of a larger block, with the marks of a batch.
pub(super) const LARGE_HEADER: usize = 2 * LINE;
/// The payloads of the larger classes: 64 bytes times powers of four.
const LARGE_PAYLOADS: [usize; 5] = [256, 1024, 4096, 16 * 1024, 64 * 1024];
/// The classes of blocks that have memory from the start; a queue for small messages has fewer.
pub(crate) const COMMITTED_CLASSES: usize = 1 + LARGE_PAYLOADS.len();
/// The payload of the smallest huge class; each next one is four times larger, up to the largest message.
const LEAST_HUGE_PAYLOAD: usize = 256 * 1024;

/// Blocks of the smallest class: at least twice the capacity, so that a full ring is what stops a sender
/// first, and at least this many, for senders each have one in hand.
const LEAST_SMALL_BLOCKS: u32 = 64;
/// Memory for each larger class, unless twice the capacity needs less; `least_large_blocks` at any rate.
const LARGE_CLASS_BYTES: usize = 1 << 20;
const LEAST_LARGE_BLOCKS: usize = 16;
/// Addresses for each huge class, within these numbers of blocks, unless twice the capacity needs fewer.
const HUGE_CLASS_BYTES: usize = 1 << 30;
const HUGE_BLOCKS: RangeInclusive<usize> = 4..=64;
/// How much memory the blocks of a huge class keep when they are idle.
const KEPT_BYTES: usize = 64 << 20;
/// How many bytes of each huge class are used in turn: more than the nearest caches of two processors hold.
const TURN_BYTES: usize = 8 << 20;

const _: () = assert!(
    size_of::<usize>() == 8,
    "a segment has more addresses than 32 bits can number"
);

/// "workring", as a number.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"workring");
/// Raised with every change of the layout or the protocol.
pub(super) const VERSION: u64 = 6;

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
    /// Of the whole name of the schema; 0: the queue has none.
    pub(super) schema_hash: AtomicU64,
    pub(super) capacity: AtomicU64,
    pub(super) max_message: AtomicU64,
    pub(super) memory_limit: AtomicU64,
    pub(super) max_deliveries: AtomicU64,
    pub(super) max_leases: AtomicU64,
    pub(super) max_dead_letters: AtomicU64,
    pub(super) spin_nanoseconds: AtomicU64,
    pub(super) liveness_interval_nanoseconds: AtomicU64,
    pub(super) flags: AtomicU64,
    pub(super) type_name: [AtomicU64; NAME_BYTES / 8],
    pub(super) codec_name: [AtomicU64; NAME_BYTES / 8],
    pub(super) schema_name: [AtomicU64; NAME_BYTES / 8],
}

/// The words that all peers share (LAYOUT-2).
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct SharedWords {
    pub(super) head: CachePadded<Hint>,
    pub(super) tail: CachePadded<Hint>,
    pub(super) lifecycle: LifecycleWord,
    pub(super) returned: ReturnedWord,
    pub(super) items: ParkingWord,
    pub(super) space: ParkingWord,
    pub(super) blocks: ParkingWord,
    pub(super) dropped_letters: CachePadded<AtomicU64>,
    pub(super) discarded: CachePadded<AtomicU64>,
    pub(super) sweeps: Sweeps,
}

/// What sweeps have in common: read by those who wait, written once a slice.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Sweeps {
    /// When the next one is due, in nanoseconds of the monotonic clock.
    pub(super) due: AtomicU64,
    /// The row to look at more closely in the next one.
    pub(super) cursor: AtomicU64,
    /// How many dead processes were recovered since the queue was made. Advisory.
    pub(super) recovered: AtomicU64,
}

/// Two lines for one word.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct CachePadded<T>(pub(super) T);

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

/// As many blocks as wanted, or one more, so that a walk in strides comes by all of them.
const fn walkable(blocks: u32) -> u32 {
    if blocks.is_multiple_of(ALLOCATION_STRIDE) {
        blocks + 1
    } else {
        blocks
    }
}

impl Class {
    /// The huge blocks that are used in turn, as long as there is memory for them.
    ///
    /// Not one and the same again and again: what the receiver has just read is then still in the nearest cache of
    /// its processor, and what the sender has just written in that of the other, and each line has to be fetched from
    /// there, which takes several times as long as from the cache that they share.
    pub(super) fn in_turn(&self) -> Range<u32> {
        let some = u32::try_from(TURN_BYTES / self.payload).unwrap_or(u32::MAX);
        self.blocks.start..self.blocks.start.saturating_add(some).min(self.blocks.end)
    }

    /// The huge blocks that give their memory back as soon as they are free: those beyond the first few, which
    /// are the ones that are used first.
    pub(super) fn not_kept(&self) -> Range<u32> {
        let kept = u32::try_from(KEPT_BYTES / self.payload).unwrap_or(u32::MAX);
        self.blocks.start.saturating_add(kept).min(self.blocks.end)..self.blocks.end
    }
}

/// All offsets of a segment (LAYOUT-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) ring: RingSize,
    pub(crate) classes: Vec<Class>,
    /// The longest message, in bytes.
    pub(crate) max_message: usize,
    pub(super) slots: usize,
    pub(super) small: usize,
    pub(super) headers: usize,
    /// What has memory from the start ends here.
    pub(super) committed: usize,
    pub(super) length: usize,
}

/// How many blocks of each payload a queue has, beyond the smallest class.
fn larger_classes(small_blocks: u32, capacity: u32, max_message: usize) -> Vec<(usize, u32)> {
    let count = |blocks: usize| u32::try_from(blocks).unwrap_or(u32::MAX);
    let mut classes = Vec::new();
    let mut longest = SMALL_PAYLOAD;
    for payload in LARGE_PAYLOADS {
        if longest < max_message {
            let affordable = (LARGE_CLASS_BYTES / payload).max(LEAST_LARGE_BLOCKS);
            classes.push((payload, walkable(count(affordable).min(small_blocks))));
            longest = payload;
        }
    }
    let (least, most) = (*HUGE_BLOCKS.start(), *HUGE_BLOCKS.end());
    let useful = (2 * capacity as usize).max(least);
    let mut next = LEAST_HUGE_PAYLOAD;
    while longest < max_message {
        let payload = next.min(max_message.next_multiple_of(PAGE));
        let affordable = (HUGE_CLASS_BYTES / payload).clamp(least, most);
        classes.push((payload, count(affordable.min(useful))));
        longest = payload;
        next *= 4;
    }
    classes
}

impl Geometry {
    /// The capacities that a queue can have.
    pub(crate) const CAPACITIES: RangeInclusive<u32> = 1..=65_536;
    /// The lengths that the longest message of a queue can have. From the smallest block on, which takes its
    /// messages without a look at any limit.
    pub(crate) const MAX_MESSAGES: RangeInclusive<usize> = 2 * LINE..=1 << 30;

    /// The layout for `capacity` and `max_message`, which must be of [`Geometry::CAPACITIES`] and
    /// [`Geometry::MAX_MESSAGES`].
    pub(crate) fn new(capacity: u32, max_message: usize) -> Self {
        let ring = RingSize::for_capacity(capacity, LEAST_SLOTS);
        let slots = ROWS + usize::from(PeerIndex::COUNT) * size_of::<PeerEntry>();
        let slot_bytes =
            usize::try_from(ring.slots()).unwrap_or(usize::MAX) * size_of::<SlotWord>();
        let small = (slots + slot_bytes).next_multiple_of(PAGE);
        let small_blocks = walkable((2 * capacity).max(LEAST_SMALL_BLOCKS));
        let headers = (small + small_blocks as usize * SMALL_BLOCK).next_multiple_of(PAGE);

        let larger = larger_classes(small_blocks, capacity, max_message);
        let all_larger: u32 = larger.iter().map(|&(_, count)| count).sum();
        let mut end = (headers + all_larger as usize * LARGE_HEADER).next_multiple_of(PAGE);
        let mut classes = vec![Class {
            blocks: 0..small_blocks,
            payload: SMALL_PAYLOAD,
            start: small + size_of::<BlockHeader>(),
            stride: SMALL_BLOCK,
        }];
        let (mut next_block, mut committed) = (small_blocks, end);
        for (payload, count) in larger {
            classes.push(Class {
                blocks: next_block..next_block + count,
                payload,
                start: end,
                stride: payload,
            });
            next_block += count;
            end = (end + count as usize * payload).next_multiple_of(PAGE);
            if classes.len() <= COMMITTED_CLASSES {
                committed = end;
            }
        }
        Self {
            ring,
            classes,
            max_message,
            slots,
            small,
            headers,
            committed,
            length: end,
        }
    }

    /// The classes of huge blocks, whose memory comes and goes.
    pub(crate) fn huge_classes(&self) -> &[Class] {
        self.classes.get(COMMITTED_CLASSES..).unwrap_or_default()
    }

    /// The numbers of all huge blocks.
    pub(crate) fn huge_blocks(&self) -> Range<u32> {
        let all = self.block_count();
        self.huge_classes()
            .first()
            .map_or(all..all, |class| class.blocks.start..all)
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

    /// The smallest class for a message of `length` bytes. `None`: the message is too large.
    pub(crate) fn class_for(&self, length: usize) -> Option<usize> {
        if length > self.max_message {
            return None;
        }
        self.classes
            .iter()
            .position(|class| length <= class.payload)
            .map(|class| class + usize::from(mutant!(NextClassTaken)))
    }

    /// The class of a block. `None`: there is no such block.
    #[inline(always)]
    pub(crate) fn class_of(&self, index: BlockIndex) -> Option<&Class> {
        self.classes
            .iter()
            .find(|class| class.blocks.contains(&index.get()))
    }

    /// Where a block's payload starts and how long it may be. `None`: there is no such block.
    #[inline(always)]
    pub(super) fn payload(&self, index: BlockIndex) -> Option<Range<usize>> {
        let class = self.class_of(index)?;
        let start = class.start + (index.get() - class.blocks.start) as usize * class.stride;
        Some(start..start + class.payload)
    }

    /// A number that differs between layouts that can't share a segment: FNV-1a over all that this build,
    /// the capacity and the largest message have decided.
    pub(super) fn fingerprint(&self) -> u64 {
        let sizes = [
            size_of::<Header>(),
            size_of::<SharedWords>(),
            size_of::<PeerEntry>(),
            size_of::<BlockHeader>(),
        ];
        let offsets = [
            self.slots,
            self.small,
            self.headers,
            self.max_message,
            self.committed,
            self.length,
            usize::from(PeerIndex::COUNT),
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
    pub(crate) fn lock_byte(&self, row: PeerIndex, incarnation: u64) -> u64 {
        // 2^48 incarnations of 2^10 rows, beyond a segment of less than 2^48 bytes, stay below 2^63.
        self.length as u64 + (incarnation << 10) + u64::from(row.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;

    #[test]
    fn parts_follow_each_other_without_overlap_in_every_layout() {
        for capacity in [1, 2, 31, 1023, 1024, 4096, 65_535, 65_536] {
            for max_message in [128, 5_000, 64 * KIB, 100 * KIB, MIB, 200 * MIB, 1024 * MIB] {
                let geometry = Geometry::new(capacity, max_message);
                assert!(geometry.ring.slots() > u64::from(capacity));
                let (mut last_end, huge) = (geometry.small, geometry.huge_blocks());
                for index in (0..geometry.block_count()).filter_map(BlockIndex::new) {
                    let payload = geometry.payload(index).expect("every block has a payload");
                    assert!(
                        payload.start >= last_end && payload.end <= geometry.length,
                        "{index:?} {payload:?}"
                    );
                    assert_eq!(payload.start % 8, 0);
                    if huge.contains(&index.get()) {
                        assert!(payload.start >= geometry.committed);
                        assert_eq!((payload.start % PAGE, payload.len() % PAGE), (0, 0));
                    } else {
                        assert!(payload.end <= geometry.committed);
                    }
                    last_end = payload.end;
                }
                assert!(
                    BlockIndex::new(geometry.block_count())
                        .is_some_and(|index| geometry.payload(index).is_none())
                );
                let smallest = geometry.classes.first().expect("a class");
                assert!(smallest.blocks.len() >= 2 * capacity as usize);
                assert!(geometry.length < 16 << 30, "{}", geometry.length);
            }
        }
    }

    #[test]
    fn a_message_goes_into_the_smallest_class_that_holds_it() {
        let geometry = Geometry::new(16, MIB + 1);
        assert_eq!(geometry.class_for(0), Some(0));
        assert_eq!(geometry.class_for(SMALL_PAYLOAD), Some(0));
        assert_eq!(geometry.class_for(SMALL_PAYLOAD + 1), Some(1));
        assert_eq!(geometry.class_for(64 * KIB), Some(5));
        assert_eq!(geometry.class_for(64 * KIB + 1), Some(6));
        assert_eq!(geometry.class_for(MIB + 1), Some(8));
        assert_eq!(geometry.class_for(MIB + 2), None);
    }

    #[test]
    fn the_last_class_holds_the_largest_message_and_little_more() {
        let payloads = |max_message| {
            let geometry = Geometry::new(16, max_message);
            let last = geometry.classes.last().map(|class| class.payload);
            (geometry.classes.len(), last.expect("a class"))
        };
        assert_eq!(payloads(128), (2, 256));
        assert_eq!(payloads(256), (2, 256));
        assert_eq!(payloads(257), (3, KIB));
        assert_eq!(payloads(64 * KIB), (6, 64 * KIB));
        assert_eq!(payloads(64 * KIB + 1), (7, 68 * KIB));
        assert_eq!(payloads(MIB), (8, MIB));
        assert_eq!(payloads(5 * MIB + 1), (10, 5 * MIB + 4 * KIB));
        assert_eq!(payloads(1024 * MIB), (13, 1024 * MIB));
    }

    #[test]
    fn few_blocks_of_the_hugest_classes_and_none_of_them_kept() {
        let geometry = Geometry::new(1024, 1024 * MIB);
        let counts: Vec<_> = geometry
            .huge_classes()
            .iter()
            .map(|class| {
                (
                    class.payload / KIB,
                    class.blocks.len(),
                    class.not_kept().len(),
                )
            })
            .collect();
        let expected = [
            (256, 64, 0),
            (KIB, 64, 0),
            (4 * KIB, 64, 48),
            (16 * KIB, 64, 60),
            (64 * KIB, 16, 15),
            (256 * KIB, 4, 4),
            (MIB, 4, 4),
        ];
        assert_eq!(counts, expected);
        let small = Geometry::new(1, MIB);
        let counts = small.huge_classes().iter().map(|class| class.blocks.len());
        assert!(counts.eq([4, 4]), "a queue for one message needs few");
    }

    #[test]
    fn another_capacity_or_largest_message_has_another_fingerprint() {
        let one = Geometry::new(4096, MIB).fingerprint();
        assert_ne!(one, Geometry::new(65_536, MIB).fingerprint());
        assert_ne!(one, Geometry::new(4096, MIB - 1).fingerprint());
    }
}
