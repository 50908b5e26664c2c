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
//! REWRITE-2. Only blocks in cells are rewritten, and only if a processor's own cache has room for all cells of the ring.
//!     Lines that it has pushed out come from elsewhere, and rewriting them is only more work. Of a longer message in place, a
//!     receiver may read a small part, and would fetch all of it to rewrite it.
//! REWRITE-3. A receiver that waits rewrites the slot of the next message, too, in a ring of any size. It does so by an
//!     exchange of the value that it has seen for the same one. So nothing changes, also if the slot has changed since.
#![allow(
    unsafe_code,
    reason = "reads and writes bytes of payloads; each block states its reason"
)]

use super::geometry::Geometry;
use super::layout::CACHE_LINE;
use crate::os::cpu;
use crate::protocol::blocks::BlockKind;
use crate::protocol::steps::OwnedBlock;
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

/// Returns how many blocks, the first ones, receivers rewrite (REWRITE-2).
pub(super) fn rewritten_blocks(geometry: &Geometry) -> u32 {
    let cells = usize::try_from(geometry.ring.slots()).unwrap_or(usize::MAX);
    if is_worthwhile() && cells.saturating_mul(geometry.cell) <= OWN_CACHE {
        geometry.small_blocks()
    } else {
        0
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
        let few = Geometry::new(1024, 1 << 20, 96);
        assert_eq!(rewritten_blocks(&few), few.small_blocks());
        let many = Geometry::new(65_536, 1 << 20, 96);
        assert_eq!(rewritten_blocks(&many), 0);
        let long = Geometry::new(1024, 1 << 20, 1024);
        assert_eq!(rewritten_blocks(&long), 0);
    }
}
