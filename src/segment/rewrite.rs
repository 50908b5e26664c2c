//! Writing to the cache lines of a message that has been read, and of a slot that a receiver polls.
//!
//! A line that a processor has only read stays shared with the one that wrote it, and must be taken away from both before
//! the next sender can write there. With AMD's processors that takes much longer than to fetch a line that the receiver
//! has written to, and no prefetch hides it (`docs/BENCHMARKS.md` has figures). So before a receiver acknowledges a message,
//! it writes to each of its lines what is there. The first line of a cell needs nothing, since the states of slot and
//! block are in it.
//!
//! REWRITE-1. Only the process that holds a block rewrites it, while it lends out none of its bytes. What it writes is what
//!     it has just read there. So no process sees a difference: not one that looks at the message, and not the next receiver,
//!     if this one dies in between.
//! REWRITE-2. Lines that a processor has pushed out of its own cache come from elsewhere, and rewriting them is only more work.
//!     So cells are rewritten only if that cache has room for all cells of the ring. Each class of larger blocks is small enough,
//!     except huge ones. Of a message in place, a receiver may read a small part, and would fetch all of it to rewrite it: so of
//!     larger blocks only those of up to 1 KiB are rewritten then, and none if the cells are not.
//! REWRITE-3. A receiver that waits rewrites the slot of the next message, too, in a ring of any size. It does so by an
//!     exchange of the value that it has seen for the same one. So nothing changes, also if the slot has changed since.
#![allow(
    unsafe_code,
    reason = "reads and writes bytes of payloads; each block states its reason"
)]

use super::geometry::{Geometry, LARGEST_COMMITTED_CLASS};
use super::layout::CACHE_LINE;
use crate::os::cpu;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::BlockIndex;
use crate::protocol::steps::OwnedBlock;
use core::ops::Range;
use core::ptr::NonNull;

/// The size of the largest ring of cells that is rewritten: a little more than a processor's own cache, which had 1 MiB where this
/// was measured.
const OWN_CACHE: usize = 1280 * 1024;

/// Whether this is a build for tests: those rewrite on every machine.
const IS_UNDER_TEST: bool = cfg!(any(test, feature = "test-hooks"));

/// Returns whether receivers rewrite on this machine.
pub(super) fn is_worthwhile() -> bool {
    IS_UNDER_TEST || cpu::hands_over_what_was_written()
}

/// The room of the largest blocks that are rewritten even if perhaps only a part of the message was read, in bytes.
const LARGEST_READ_IN_PART: usize = 1024;

const _: () = assert!(LARGEST_COMMITTED_CLASS <= OWN_CACHE);

/// How much of a message its receiver has read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HasRead {
    All,
    PerhapsPart,
}

/// Which blocks receivers rewrite (REWRITE-2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RewrittenBlocks {
    /// Those from the first to before this one, whatever was read.
    end_if_part: u32,
    /// These, if all of the message was read.
    if_all: Range<u32>,
}

impl RewrittenBlocks {
    /// Returns which blocks of a queue with this layout receivers rewrite on this machine.
    pub(super) fn new(geometry: &Geometry) -> Self {
        if !is_worthwhile() {
            return Self {
                end_if_part: 0,
                if_all: 0..0,
            };
        }
        let larger = geometry.small_blocks()..geometry.huge_blocks().start;
        let cells = usize::try_from(geometry.ring.slots()).unwrap_or(usize::MAX);
        if cells.saturating_mul(geometry.cell) > OWN_CACHE {
            return Self {
                end_if_part: 0,
                if_all: larger,
            };
        }
        let classes = geometry.classes.iter().skip(1);
        let shorter = classes.take_while(|class| class.payload <= LARGEST_READ_IN_PART);
        let end = shorter.last().map(|class| class.blocks.end);
        Self {
            end_if_part: end.unwrap_or(larger.start),
            if_all: 0..larger.end,
        }
    }

    /// Returns whether a receiver rewrites this block.
    #[inline(always)]
    pub(super) fn has(&self, index: BlockIndex, read: HasRead) -> bool {
        match read {
            HasRead::All => self.if_all.contains(&index.get()),
            HasRead::PerhapsPart => index.get() < self.end_if_part,
        }
    }
}

/// Writes to the lines of the payload at this place, which must be that of the block.
#[inline(always)]
pub(super) fn rewrite_lines(
    held: &mut OwnedBlock,
    (payload, room): (NonNull<u8>, usize),
    length: usize,
) {
    if length > room || !held.word().is(BlockKind::Held) {
        return;
    }
    let mut offset = payload.align_offset(CACHE_LINE);
    while offset < length {
        // SAFETY: the byte is inside the payload, and so inside the mapping.
        let byte = unsafe { payload.add(offset) };
        // SAFETY: as above. Any byte is valid.
        let there = unsafe { byte.read_volatile() };
        let written = if mutant!(RewriteChangesBytes) {
            !there
        } else {
            there
        };
        // SAFETY: as above. This process holds the block, whose only token is borrowed mutably, so no slice of the payload
        // exists (REWRITE-1), and no other process writes there (BLOCK-4).
        unsafe { byte.write_volatile(written) };
        offset += CACHE_LINE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_rewritten_if_they_fit_a_processors_cache() {
        let [few, many, long] =
            [(1024, 96), (65_536, 96), (1024, 1024)].map(|(capacity, inline)| {
                let geometry = Geometry::new(capacity, 1 << 20, inline);
                (geometry.small_blocks(), RewrittenBlocks::new(&geometry))
            });
        assert_eq!(few.1.if_all.start, 0);
        assert!(few.1.end_if_part >= few.0);
        for (cells, rewritten) in [many, long] {
            assert_eq!(rewritten.end_if_part, 0);
            assert_eq!(rewritten.if_all.start, cells);
        }
    }

    #[test]
    fn a_long_message_is_rewritten_if_all_of_it_was_read_and_a_huge_one_never() {
        let geometry = Geometry::new(1024, 1 << 20, 96);
        let rewritten = RewrittenBlocks::new(&geometry);
        let is_rewritten = |length, read| {
            let class = geometry.class_for(length).expect("not too long");
            let blocks = &geometry.classes.get(class).expect("a class").blocks;
            let [first, last] = [blocks.start, blocks.end - 1]
                .map(|block| rewritten.has(BlockIndex::from_low_bits(block.into()), read));
            assert_eq!(first, last);
            first
        };
        for (length, if_part, if_all) in [
            (96, true, true),
            (1024, true, true),
            (1025, false, true),
            (64 * 1024, false, true),
            (64 * 1024 + 1, false, false),
        ] {
            assert_eq!(is_rewritten(length, HasRead::PerhapsPart), if_part);
            assert_eq!(is_rewritten(length, HasRead::All), if_all);
        }
    }
}
