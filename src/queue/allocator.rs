//! How one sender finds blocks for its messages.

use super::attachment::{Attachment, Entered};
use super::block_writer::BlockWriter;
use super::failure::SendFailure;
use super::huge;
use crate::protocol::ids::Position;
use crate::protocol::peers::Role;
use crate::protocol::steps::{OwnedBlock, dead_letters, send};
use crate::protocol::{Corrupt, SharedState};
use crate::segment::geometry::COMMITTED_CLASSES;
use crate::sync::{AtomicU32, AtomicUsize, Ordering};
use core::ops::{Range, RangeInclusive};

/// How far apart senders start to look for free blocks, as a part of all blocks, in units of 2^-32: the golden ratio, since the
/// fractions of its multiples lie far from each other.
const SENDERS_APART: u32 = 0x9E37_79B9;

/// Returns a part of a number, given in units of 2^-32.
fn part_of(number: u32, part: u32) -> u32 {
    let product = u64::from(part) * u64::from(number);
    #[allow(clippy::cast_possible_truncation, reason = "less than the number")]
    {
        (product >> u32::BITS) as u32
    }
}

/// Where one sender looks for blocks.
pub(super) struct Allocator {
    /// Where to look next for a free block, for each class that is committed as a whole. In the smallest class, for a
    /// block that lies beside no slot.
    cursors: [AtomicU32; COMMITTED_CLASSES],
    /// The class of the last message: the next one is probably alike.
    class: AtomicUsize,
}

impl Allocator {
    pub(super) fn new(attachment: &Attachment) -> Self {
        let geometry = attachment.geometry();
        // Senders that start at different places do not contend for the same blocks.
        let nth = u32::from(attachment.peer().get()) + attachment.count(Role::Sender);
        let spread = nth.wrapping_mul(SENDERS_APART);
        let cursors = core::array::from_fn(|class| {
            let blocks = match geometry.classes.get(class) {
                Some(_) if class == 0 => geometry.spare_cells(),
                Some(class) => class.blocks.clone(),
                None => 0..1,
            };
            AtomicU32::new(blocks.start + part_of(blocks.end - blocks.start, spread))
        });
        Self {
            cursors,
            class: AtomicUsize::new(0),
        }
    }

    /// Returns the class that the next message probably needs; 0 is the smallest.
    #[inline(always)]
    pub(super) fn likely_class(&self) -> usize {
        self.class.load(Ordering::Relaxed)
    }

    fn set_likely_class(&self, class: usize) {
        self.class.store(class, Ordering::Relaxed);
    }

    /// Allocates a block of the smallest class that does not lie beside the slot at the tail.
    pub(super) fn distant_cell(&self, queue: Entered<'_>, tail: Position) -> Option<OwnedBlock> {
        let [spare, ..] = &self.cursors;
        send::allocate_distant_cell(queue.segment(), queue.peer(), tail, spare)
    }

    /// Returns the class that the next message probably needs, if that is a larger class that is committed as a whole.
    #[inline(always)]
    pub(super) fn likely_larger<'s>(&'s self, queue: Entered<'s>) -> Option<LargerClass<'s>> {
        let class = self.likely_class();
        let cursor = self.cursors.get(class)?;
        let geometry = queue.segment().geometry();
        let [smaller, class] = geometry.classes.get(class.checked_sub(1)?..=class)? else {
            return None;
        };
        // Cells may have more room than a class that has no blocks.
        let mut fits_smaller = smaller.payload.max(queue.view().small_payload());
        if mutant!(LikelyBlockTooLarge) {
            fits_smaller = smaller.payload;
        }
        // The blocks of the last class may have more room than a message may need.
        let mut longest = class.payload.min(geometry.max_message_len);
        if mutant!(LikelyBlockUnlimited) {
            longest = class.payload;
        }
        let lengths = fits_smaller + 1..=longest;
        Some(LargerClass {
            lengths,
            blocks: &class.blocks,
            cursor,
        })
    }

    /// Allocates a block for a message that is not encoded yet, of the class of the last message or of the next one. `None`: the
    /// last message fitted a cell, or no such block is free. Also returns for which lengths no smaller class has room, if that is
    /// known.
    #[inline(always)]
    pub(super) fn likely_block<'a>(
        &self,
        queue: Entered<'a>,
    ) -> Option<(BlockWriter<'a>, Option<RangeInclusive<usize>>)> {
        if let Some(class) = self.likely_larger(queue)
            && let Some(block) = class.next_block(queue)
        {
            return Some((BlockWriter::new(queue, block), Some(class.lengths)));
        }
        match self.likely_class() {
            0 => None,
            class => Some((self.block(queue, class)?, None)),
        }
    }

    /// Allocates a block of `class`, or of the next one if all of those are in use. Takes no memory: a class that is not
    /// committed has no block, and of a huge class only blocks that already have memory are considered.
    fn block<'a>(&self, queue: Entered<'a>, class: usize) -> Option<BlockWriter<'a>> {
        self.block_among(queue, class..class + 2)
    }

    /// Allocates a block of the first of these classes that has a free one.
    pub(super) fn block_among<'a>(
        &self,
        queue: Entered<'a>,
        among: Range<usize>,
    ) -> Option<BlockWriter<'a>> {
        let (segment, peer) = (queue.segment(), queue.peer());
        let classes = segment.geometry().classes.iter().enumerate();
        for (number, class) in classes.skip(among.start).take(among.len()) {
            let block = match self.cursors.get(number) {
                Some(spare) if number == 0 => {
                    send::allocate_cell(segment, queue.view(), peer, spare)
                }
                Some(cursor) => send::allocate(segment, peer, class.blocks.clone(), cursor),
                None => segment.allocate_committed(peer, class),
            };
            if let Some(block) = block {
                return Some(BlockWriter::new(queue, block));
            }
        }
        None
    }

    /// Tries to allocate a block for a message of `len` bytes. Returns `Ok(None)` if no block is free now but one will
    /// become free. May evict a dead letter, or take memory for a huge block.
    pub(super) fn block_for<'a>(
        &self,
        queue: Entered<'a>,
        len: usize,
    ) -> Result<Option<BlockWriter<'a>>, SendFailure> {
        if queue.segment().lifecycle().load().is_closing() {
            return Err(SendFailure::Closed);
        }
        let class = class_for(queue, len)?;
        self.set_likely_class(class);
        if class >= COMMITTED_CLASSES {
            return huge::huge_block(queue, class);
        }
        queue.segment().commit_class(class)?;
        if let Some(block) = self.block(queue, class) {
            return Ok(Some(block));
        }
        if class + 1 < COMMITTED_CLASSES {
            queue.segment().commit_class_if_possible(class + 1);
        }
        let block = self.block(queue, class);
        Ok(block.or_else(|| block_of_a_dead_letter(queue, class)))
    }

    /// Offers the message and returns its block. Large blocks are scarce: if the message fits a smaller class that has a
    /// free block, copies it there before.
    pub(super) fn offer_in_right_size<'a>(
        &self,
        mut writer: BlockWriter<'a>,
        length: usize,
    ) -> Result<BlockWriter<'a>, SendFailure> {
        let queue = writer.queue();
        let class = class_for(queue, length)?;
        if writer.class().is_some_and(|larger| class < larger) {
            self.set_likely_class(class);
            queue.segment().commit_class_if_possible(class);
            if let Some(mut smaller) = self.block(queue, class)
                && smaller.class() == Some(class)
            {
                let encoded = writer.payload()?.get(..length).ok_or(Corrupt::TooLong)?;
                smaller
                    .payload()?
                    .get_mut(..length)
                    .ok_or(Corrupt::TooLong)?
                    .copy_from_slice(encoded);
                writer = smaller;
            }
        }
        writer.offer(length)?;
        Ok(writer)
    }
}

/// A class of larger blocks that is committed as a whole.
pub(super) struct LargerClass<'a> {
    /// The lengths of the messages that need it.
    lengths: RangeInclusive<usize>,
    blocks: &'a Range<u32>,
    /// Where to look next for a free block.
    cursor: &'a AtomicU32,
}

impl LargerClass<'_> {
    /// Returns whether a message of this length needs this class, and no smaller one.
    #[inline(always)]
    pub(super) fn suits(&self, length: usize) -> bool {
        self.lengths.contains(&length)
    }

    /// Allocates the next block, if it is free. For the usual message: everything is in registers here.
    #[inline(always)]
    pub(super) fn next_block(&self, queue: Entered<'_>) -> Option<OwnedBlock> {
        send::allocate_next(queue.segment(), queue.peer(), self.blocks, self.cursor)
    }
}

fn class_for(queue: Entered<'_>, len: usize) -> Result<usize, SendFailure> {
    let geometry = queue.segment().geometry();
    geometry.class_for(len).ok_or(SendFailure::TooLarge {
        len,
        max: geometry.max_message_len,
    })
}

/// Evicts the oldest dead letter of `class` and allocates its block, if the options allow it. Does nothing while the
/// queue is full, because the message could not be sent anyway. For when `class` and the next have no free block.
fn block_of_a_dead_letter(queue: Entered<'_>, class: usize) -> Option<BlockWriter<'_>> {
    let segment = queue.segment();
    if !segment.settings().evict_dead_letters || send::is_full(segment) {
        return None;
    }
    let blocks = &segment.geometry().classes.get(class)?.blocks;
    let block = dead_letters::allocate_by_eviction(segment, queue.peer(), blocks)?;
    Some(BlockWriter::new(queue, block))
}
