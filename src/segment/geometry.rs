//! The offsets of all parts of a segment (LAYOUT-1): how many blocks of which size a queue has, and where they lie.

use super::layout::{CACHE_LINE, CELLS, CellHeader, Header, LARGE_HEADER, PAGE, SharedWords};
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::parts::{Part, PartSet};
use crate::protocol::peers::PeerEntry;
use crate::protocol::ring::RingSize;
use core::ops::{Range, RangeInclusive};

const _: () = assert!(
    size_of::<usize>() == 8,
    "a segment has more addresses than 32 bits can number"
);

/// The least number of slots, so that laps stay long.
const MIN_SLOTS: u32 = 1024;

/// The payloads of the larger classes that are committed as a whole, each four times the one before.
const LARGE_PAYLOADS: [usize; 5] = [256, 1024, 4096, 16 * 1024, 64 * 1024];
/// The number of classes that are committed as a whole: the smallest one from the start, each other one when it is first
/// used. A queue for small messages has fewer.
pub(crate) const COMMITTED_CLASSES: usize = 1 + LARGE_PAYLOADS.len();
/// The payload of the smallest huge class. Each next one is four times larger, up to the largest message.
const MIN_HUGE_PAYLOAD: usize = 256 * 1024;

/// The least number of blocks of the smallest class beyond those of the ring's cells, and beyond twice the capacity.
///
/// Messages that are held, returned or dead keep blocks out of use. A full ring should stop a sender before a lack of
/// blocks does, so there are at least this many more than twice the capacity: each sender may own one.
pub(crate) const MIN_SPARE_BLOCKS: u32 = 64;
/// The memory of a larger class, unless twice the capacity needs less; but at least [`MIN_LARGE_BLOCKS`] blocks.
const LARGE_CLASS_BYTES: usize = 1 << 20;
const MIN_LARGE_BLOCKS: usize = 16;
/// No class that is committed as a whole has more memory.
pub(super) const LARGEST_COMMITTED_CLASS: usize = {
    let [.., largest] = LARGE_PAYLOADS;
    let least = MIN_LARGE_BLOCKS * largest;
    if least > LARGE_CLASS_BYTES {
        least
    } else {
        LARGE_CLASS_BYTES
    }
};
/// The addresses of a huge class, but a number of blocks within [`HUGE_BLOCKS`]; fewer if twice the capacity needs
/// fewer.
const HUGE_CLASS_BYTES: usize = 1 << 30;
const HUGE_BLOCKS: RangeInclusive<usize> = 4..=64;
/// How many bytes of a huge class are used in turn: more than the nearest caches of two processors hold.
const TURN_BYTES: usize = 8 << 20;

/// The number of the part with the headers of huge blocks. The parts before are the larger classes, in order.
const HUGE_PART: usize = LARGE_PAYLOADS.len();
const _: () = assert!(HUGE_PART + 1 == Part::COUNT);

/// The number of peer entries on a page, and the pages of the peer table beyond the first.
pub(super) const PEERS_PER_PAGE: u16 = 64;
pub(super) const MORE_PEER_PAGES: usize = (PeerIndex::COUNT / PEERS_PER_PAGE) as usize - 1;
const _: () = assert!(PEERS_PER_PAGE as usize * size_of::<PeerEntry>() == PAGE);

/// One class of blocks: all with a payload of the same size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    /// The indices of the blocks.
    pub(crate) blocks: Range<u32>,
    /// The length of the longest message that a block takes, in bytes.
    pub(crate) payload: usize,
    /// The offset of the first payload.
    pub(super) start: usize,
    /// The distance from one payload to the next.
    pub(super) stride: usize,
}

impl Class {
    /// Returns the huge blocks that are used in turn, as long as there is memory for them.
    ///
    /// If one block were used again and again, what the receiver has just read would still be in the nearest cache of
    /// its processor, and what the sender has just written in that of the other. Each line would have to be fetched
    /// from there, which takes several times as long as from the cache that the processors share.
    pub(super) fn used_in_turn(&self) -> Range<u32> {
        let count = u32::try_from(TURN_BYTES / self.payload).unwrap_or(u32::MAX);
        self.blocks.start..self.blocks.start.saturating_add(count).min(self.blocks.end)
    }
}

/// The sizes and offsets of all parts of a segment (LAYOUT-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) ring: RingSize,
    pub(crate) classes: Vec<Class>,
    /// The length of the longest message, in bytes.
    pub(crate) max_message_len: usize,
    /// The size of a cell.
    pub(super) cell: usize,
    /// The offset of the peer table.
    pub(super) peers: usize,
    /// The offset of the headers of all larger blocks.
    pub(super) headers: usize,
    /// The offset of the payloads of huge blocks.
    pub(super) huge: usize,
    /// The size of the whole segment.
    pub(super) length: usize,
}

/// Returns the classes beyond the smallest one: the payload and the number of blocks of each.
fn larger_classes(inline: usize, capacity: u32, max_message_len: usize) -> Vec<(usize, u32)> {
    let count = |blocks: usize| u32::try_from(blocks).unwrap_or(u32::MAX);
    let enough = (2 * capacity).max(MIN_SPARE_BLOCKS);
    let mut classes = Vec::new();
    let mut longest = inline;
    for payload in LARGE_PAYLOADS {
        if payload <= longest && longest == inline {
            // The cells take these messages. The class stays, so that each class has the same number in all queues.
            classes.push((payload, 0));
        } else if longest < max_message_len {
            let affordable = (LARGE_CLASS_BYTES / payload).max(MIN_LARGE_BLOCKS);
            classes.push((payload, count(affordable).min(enough)));
            longest = payload;
        }
    }
    let (min, max) = (*HUGE_BLOCKS.start(), *HUGE_BLOCKS.end());
    let useful = (2 * capacity as usize).max(min);
    let mut next = MIN_HUGE_PAYLOAD;
    while longest < max_message_len {
        let payload = next.min(max_message_len.next_multiple_of(PAGE));
        let affordable = (HUGE_CLASS_BYTES / payload).clamp(min, max);
        classes.push((payload, count(affordable.min(useful))));
        longest = payload;
        next *= 4;
    }
    classes
}

/// How many bytes of a payload lie in the first cache line of a cell.
pub(crate) const FIRST_LINE_PAYLOAD: usize = CACHE_LINE - size_of::<CellHeader>();

impl Geometry {
    /// The capacities that a queue can have.
    pub(crate) const CAPACITIES: RangeInclusive<u32> = 1..=65_536;
    /// The lengths that the longest message of a queue can have. The payload of a cell is never longer, so that a message
    /// that fits a cell needs no check against the limit.
    pub(crate) const MAX_MESSAGE_LENS: RangeInclusive<usize> = 2 * CACHE_LINE..=1 << 30;

    /// The lengths up to which a message lies in its cell.
    pub(crate) const INLINE_LENS: RangeInclusive<usize> = 0..=4096;

    /// Computes the layout for a capacity out of [`Geometry::CAPACITIES`], a largest message out of
    /// [`Geometry::MAX_MESSAGE_LENS`], and messages of up to `inline_len` bytes in cells, out of
    /// [`Geometry::INLINE_LENS`].
    pub(crate) fn new(capacity: u32, max_message_len: usize, inline_len: usize) -> Self {
        let ring = RingSize::for_capacity(capacity, MIN_SLOTS);
        let slots = u32::try_from(ring.slots()).unwrap_or(u32::MAX);
        let small_blocks = slots.max(2 * capacity) + MIN_SPARE_BLOCKS;
        let cell = (size_of::<CellHeader>() + inline_len.min(max_message_len))
            .next_multiple_of(CACHE_LINE);
        let inline = (cell - size_of::<CellHeader>()).min(max_message_len);
        let peers = (CELLS + small_blocks as usize * cell).next_multiple_of(PAGE);
        let headers = peers + usize::from(PeerIndex::COUNT) * size_of::<PeerEntry>();

        let larger = larger_classes(inline, capacity, max_message_len);
        let all_larger: u32 = larger.iter().map(|&(_, count)| count).sum();
        let mut end = (headers + all_larger as usize * LARGE_HEADER).next_multiple_of(PAGE);
        let mut classes = vec![Class {
            blocks: 0..small_blocks,
            payload: inline,
            start: CELLS + size_of::<CellHeader>(),
            stride: cell,
        }];
        let (mut next_block, mut huge) = (small_blocks, end);
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
                huge = end;
            }
        }
        Self {
            ring,
            classes,
            max_message_len,
            cell,
            peers,
            headers,
            huge,
            length: end,
        }
    }

    /// Returns the classes of huge blocks, whose memory comes and goes.
    pub(crate) fn huge_classes(&self) -> &[Class] {
        self.classes.get(COMMITTED_CLASSES..).unwrap_or_default()
    }

    /// Returns the part that has the headers of a class (PARTS-2); `None` for the smallest class, which needs none.
    pub(crate) fn part_of_class(class: usize) -> Option<Part> {
        Part::new(class.checked_sub(1)?.min(HUGE_PART))
    }

    /// Returns the indices of the blocks that have their headers in a part.
    pub(super) fn blocks_of(&self, part: Part) -> Range<u32> {
        if part.number() == HUGE_PART {
            return self.huge_blocks();
        }
        let end = self.huge_blocks().start;
        let class = self.class_of_part(part);
        class.map_or(end..end, |class| class.blocks.clone())
    }

    /// Returns the class whose headers and payloads a part has; `None` for the part with the headers of huge blocks, and if there
    /// is no such class.
    pub(super) fn class_of_part(&self, part: Part) -> Option<&Class> {
        if part.number() == HUGE_PART {
            return None;
        }
        self.classes.get(1 + part.number())
    }

    /// Returns where the headers and the payloads of a part lie: whole pages. Headers of the next part may lie on the
    /// last page of headers.
    pub(super) fn ranges_of(&self, part: Part) -> [Range<usize>; 2] {
        let blocks = self.blocks_of(part);
        if blocks.is_empty() {
            return [0..0, 0..0];
        }
        let header =
            |block: u32| self.headers + (block - self.small_blocks()) as usize * LARGE_HEADER;
        let start = header(blocks.start) / PAGE * PAGE;
        let headers = start..header(blocks.end).next_multiple_of(PAGE);
        let payloads = self.class_of_part(part).map(|class| {
            let length = blocks.len() * class.payload;
            class.start..(class.start + length).next_multiple_of(PAGE)
        });
        [headers, payloads.unwrap_or_default()]
    }

    /// Returns how many bytes of memory a segment has from the start: all up to the first page of the peer table.
    pub(super) fn initial(&self) -> usize {
        self.peers + PAGE
    }

    /// Returns how many bytes of memory a segment has with these parts and this many pages of the peer table beyond the
    /// first, without the payloads of huge blocks.
    pub(super) fn memory_with(&self, parts: PartSet, peer_pages: usize) -> usize {
        let mut sum = self.initial() + peer_pages * PAGE;
        let mut counted = 0;
        for part in Part::all().filter(|part| parts.has(*part)) {
            let [headers, payloads] = self.ranges_of(part);
            sum += headers.end - headers.start.max(counted).min(headers.end) + payloads.len();
            counted = counted.max(headers.end);
        }
        sum
    }

    /// Returns the indices of all huge blocks.
    pub(crate) fn huge_blocks(&self) -> Range<u32> {
        let end = self.block_count();
        self.huge_classes()
            .first()
            .map_or(end..end, |class| class.blocks.start..end)
    }

    /// Returns the number of blocks of all classes.
    pub(crate) fn block_count(&self) -> u32 {
        self.classes
            .iter()
            .map(|class| class.blocks.end)
            .max()
            .unwrap_or(0)
    }

    /// Returns the number of blocks of the smallest class.
    pub(super) fn small_blocks(&self) -> u32 {
        self.classes.first().map_or(0, |class| class.blocks.end)
    }

    /// Returns the indices of the blocks of the smallest class that lie beside no slot.
    pub(crate) fn spare_cells(&self) -> Range<u32> {
        let slots = u32::try_from(self.ring.slots()).unwrap_or(u32::MAX);
        slots..self.small_blocks()
    }

    /// Returns the payload of a block of the smallest class.
    pub(crate) fn inline_payload(&self) -> usize {
        self.classes.first().map_or(0, |class| class.payload)
    }

    /// Returns the number of the smallest class for a message of `length` bytes; `None` if the message is too large.
    pub(crate) fn class_for(&self, length: usize) -> Option<usize> {
        if length > self.max_message_len {
            return None;
        }
        self.classes
            .iter()
            .position(|class| length <= class.payload)
            .map(|class| class + usize::from(mutant!(NextClassTaken)))
    }

    /// Returns the class of a block; `None` if the block does not exist.
    #[inline(always)]
    pub(crate) fn class_of(&self, index: BlockIndex) -> Option<&Class> {
        self.classes
            .iter()
            .find(|class| class.blocks.contains(&index.get()))
    }

    /// Returns the range of a block's payload; `None` if the block does not exist.
    #[inline(always)]
    pub(super) fn payload(&self, index: BlockIndex) -> Option<Range<usize>> {
        let class = self.class_of(index)?;
        let start = class.start + (index.get() - class.blocks.start) as usize * class.stride;
        Some(start..start + class.payload)
    }

    /// Returns the offset of a block's word; `None` if the block does not exist.
    #[cfg(feature = "cli")]
    pub(super) fn block_word(&self, index: BlockIndex) -> Option<usize> {
        if index.get() >= self.block_count() {
            return None;
        }
        let number = index.get() as usize;
        Some(match index.get().checked_sub(self.small_blocks()) {
            None => CELLS + number * self.cell + size_of::<u64>(),
            Some(large) => self.headers + large as usize * LARGE_HEADER,
        })
    }

    /// Returns a number that differs between layouts that cannot share a segment: an FNV-1a hash of all numbers that
    /// this build, the capacity and the largest message decide.
    pub(super) fn fingerprint(&self) -> u64 {
        let sizes = [
            size_of::<Header>(),
            size_of::<SharedWords>(),
            size_of::<PeerEntry>(),
            size_of::<CellHeader>(),
        ];
        let offsets = [
            self.cell,
            self.peers,
            self.headers,
            self.max_message_len,
            self.huge,
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

    /// Returns the byte of the file that the tenant of a peer entry locks: beyond the end of the segment, and another
    /// one for each incarnation.
    pub(crate) fn lock_byte(&self, peer: PeerIndex, incarnation: u64) -> u64 {
        // 2^48 incarnations of 2^10 peers, beyond a segment of less than 2^48 bytes, stay below 2^63.
        self.length as u64 + (incarnation << 10) + u64::from(peer.get())
    }
}

#[cfg(test)]
mod tests;
