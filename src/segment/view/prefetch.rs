//! What the fast paths tell the processor of the lines that they will use soon: hints, which change nothing.
//!
//! A line that a sender will write, or a word that anybody will write, is fetched for writing. A line of a message that a
//! receiver will only read is fetched for reading, so that its sender keeps a copy: then the sender needs no data to write the
//! line again. This is different on processors where a sender takes lines over faster if they were written to
//! ([`cpu::hands_over_what_was_written`]).

use super::{Places, View};
use crate::os::cpu;
use crate::protocol::Words;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::ids::{BlockIndex, Position};
use crate::protocol::ring::SlotKind;
use crate::segment::layout::{CACHE_LINE, CellHeader, LARGE_HEADER};
use crate::sync::Ordering;
use core::ops::Range;

/// How many cells ahead a receiver prefetches while some messages wait. A cell further on is probably not filled yet: to prefetch
/// it takes its line away from a sender that is about to write it.
pub(super) const NEAR: u32 = 2;
/// The same while many wait: between processors that are far apart, a line takes as long as several messages.
const FAR: u32 = 8;
/// The same while few wait: it asks for the cell that it has just taken, which does nothing. Any cell further on is one that a
/// sender is about to write.
const NOTHING_AHEAD: u32 = 0;
/// How many messages are some.
const SOME_WAIT: u64 = 4;
/// How many messages are many.
const MANY_WAIT: u64 = 128;
/// How many lines from the start of a cell, or of a payload that is read, are prefetched: those of 1 KiB. The processor's own
/// prefetching finds the rest.
const PREFETCHED_LINES: usize = 18;
/// The longest message in a larger block, in bytes, whose first lines a receiver prefetches. Of a longer one they are too small a
/// part to matter.
const LONGEST_READ: usize = 4096;
/// The longest message in a larger block, in bytes, whose lines a sender prefetches. It prefetches all of them: while a codec
/// writes one value after the other, the processor finds none by itself.
const LONGEST_WRITTEN: usize = 8192;

impl View<'_> {
    /// Tells the processor that a payload of this length will be written soon, into the cell of a position. Without the
    /// first line of the cell, which is allocated now.
    #[inline(always)]
    pub(crate) fn prefetch_payload(self, position: Position, length: usize) {
        let end = self
            .hot
            .cell
            .min(size_of::<CellHeader>().saturating_add(length));
        if end > CACHE_LINE {
            let cell = self.cell_at(position);
            cpu::prefetch_for_write(cell.wrapping_add(CACHE_LINE));
            if end > 2 * CACHE_LINE {
                prefetch_lines(cell, 2..first_lines(end), cpu::prefetch_for_write);
            }
        }
    }

    /// Tells the processor that a line of the cell of a position will be written soon.
    #[inline(always)]
    pub(crate) fn prefetch_line(self, position: Position, line: usize) {
        cpu::prefetch_for_write(self.cell_at(position).wrapping_add(line * CACHE_LINE));
    }

    /// Tells the processor that a message will be taken from the cell of a position. Without the first line of the cell, which is
    /// polled.
    #[inline(always)]
    pub(crate) fn prefetch_second_line(self, position: Position) {
        if self.hot.cell > CACHE_LINE {
            self.prefetch_line(position, 1);
        }
    }

    /// See [`Words::prefetch_cell`].
    #[inline(always)]
    pub(super) fn prefetch_cell(self, position: Position) {
        self.prefetch(self.offset_at(position));
    }

    /// See [`Words::prefetch_after`].
    #[inline(always)]
    pub(super) fn prefetch_after(self, position: Position) {
        let ahead = self.all.receivers_ahead.load(Ordering::Relaxed);
        self.prefetch_cell(position.plus(ahead.into()));
    }

    /// Looks how many messages wait, and so how far ahead receivers of this process prefetch.
    #[cold]
    #[inline(never)]
    pub(crate) fn look_how_many_wait(self) {
        let waiting = self.tail().get().0.saturating_sub(self.head().get().0);
        let ahead = match waiting {
            ..SOME_WAIT => NOTHING_AHEAD,
            SOME_WAIT..MANY_WAIT => NEAR,
            MANY_WAIT.. => FAR,
        };
        // The line has much that all threads read.
        if self.all.receivers_ahead.load(Ordering::Relaxed) != ahead {
            self.all.receivers_ahead.store(ahead, Ordering::Relaxed);
        }
    }

    /// Returns how far ahead receivers of this process prefetch.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn receivers_ahead(self) -> u32 {
        self.all.receivers_ahead.load(Ordering::Relaxed)
    }

    /// See [`Words::prefetch_block`].
    #[inline(always)]
    pub(super) fn prefetch_block(self, index: BlockIndex) {
        if index.get() < self.hot.cell_count {
            self.prefetch(self.offset_of_cell(index.get() as usize));
        } else {
            self.all.prefetch_large_header(index);
        }
    }

    /// See [`Words::prefetch_message`].
    #[inline(always)]
    pub(super) fn prefetch_message(self, position: Position, like: BlockIndex) {
        let slot = self.slot(position).load();
        if slot.kind() == SlotKind::Full {
            self.prefetch_block(slot.block());
            if let Some((payload, length)) =
                self.all
                    .large_payload_like(slot.block(), like, LONGEST_READ)
            {
                prefetch_to_receive(payload, 0..first_lines(length));
            }
        }
    }

    /// See [`Words::prefetch_room`].
    #[inline(always)]
    pub(super) fn prefetch_room(self, index: BlockIndex, like: BlockIndex) {
        if let Some((payload, length)) = self.all.large_payload_like(index, like, LONGEST_WRITTEN) {
            let lines = length.div_ceil(CACHE_LINE);
            prefetch_lines(payload, 0..lines, cpu::prefetch_for_write);
        }
    }

    /// Returns the address of the cell of a position.
    #[inline(always)]
    fn cell_at(self, position: Position) -> *const u8 {
        self.address(self.offset_at(position))
    }

    #[inline(always)]
    fn address(self, offset: usize) -> *const u8 {
        self.hot.start.as_ptr().wrapping_add(offset)
    }

    /// Prefetches the cell at this offset for a receiver. It writes the first line, and on some processors the second
    /// ([`rewrite`](crate::segment::rewrite)); it reads the others.
    #[inline(always)]
    fn prefetch(self, offset: usize) {
        let cell = self.address(offset);
        cpu::prefetch_for_write(cell);
        if self.hot.cell > CACHE_LINE {
            cpu::prefetch_for_write(cell.wrapping_add(CACHE_LINE));
        }
        if self.hot.cell > 2 * CACHE_LINE {
            prefetch_to_receive(cell, 2..first_lines(self.hot.cell));
        }
    }
}

impl Places {
    #[inline(never)]
    fn prefetch_large_header(&self, index: BlockIndex) {
        let offset = index.get().wrapping_sub(self.hot.cell_count) as usize * LARGE_HEADER;
        cpu::prefetch_for_write(self.headers.as_ptr().wrapping_add(offset));
    }

    /// Returns where the payload of a larger block is, and how much of it a message as long as the one in the larger block `like`
    /// takes; `None` if one of them is a cell, or the message is longer than `longest`, as a batch always seems to be.
    #[inline(never)]
    fn large_payload_like(
        &self,
        index: BlockIndex,
        like: BlockIndex,
        longest: usize,
    ) -> Option<(*const u8, usize)> {
        if index.get() < self.hot.cell_count || like.get() < self.hot.cell_count {
            return None;
        }
        let length = self.large_block(like).map_or(0, BlockHeader::length) as usize;
        if length > longest {
            return None;
        }
        let (payload, room) = self.large_payload_address(index).ok()?;
        Some((payload.as_ptr(), length.min(room)))
    }
}

/// Prefetches lines that a receiver reads, and on some processors writes to ([`rewrite`](crate::segment::rewrite)).
#[inline(never)]
fn prefetch_to_receive(start: *const u8, lines: Range<usize>) {
    if cpu::hands_over_what_was_written() {
        prefetch_lines(start, lines, cpu::prefetch_for_write);
    } else {
        prefetch_lines(start, lines, cpu::prefetch_for_read);
    }
}

/// Returns how many of the lines of `size` bytes are prefetched.
fn first_lines(size: usize) -> usize {
    size.div_ceil(CACHE_LINE).min(PREFETCHED_LINES)
}

/// Prefetches these lines of what begins at `start`.
#[inline(never)]
fn prefetch_lines(start: *const u8, lines: Range<usize>, prefetch: impl Fn(*const u8)) {
    for line in lines {
        prefetch(start.wrapping_add(line * CACHE_LINE));
    }
}
