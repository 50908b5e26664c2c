//! Huge blocks, for messages of more than 64 KiB: they get memory when they are first used, and give it back when they
//! are idle.
//!
//! The payload of a huge block is a range of addresses in the segment's file. Its header, which always has memory, has
//! a mark beside the block word: *committed*.
//!
//! | word          | committed | memory          | meaning                                                            |
//! |---------------|-----------|-----------------|--------------------------------------------------------------------|
//! | Free          | no        | none            | not used yet, or given back                                        |
//! | Owned S       | no        | more, then all  | S takes memory for the block                                       |
//! | Owned S       | yes       | all             | S fills the block                                                  |
//! | any other     | yes       | all             | the block has a message                                            |
//! | Free          | yes       | all             | idle: to be used again, or to give its memory back                 |
//! | Owned P       | no        | less, then none | P gives the memory back; P may be a receiver                       |
//! | Free          | no        | some, or all    | left over: a process died in the second or sixth line              |
//!
//! HUGE-1. The mark is changed in Owned only, by the owner.
//! HUGE-2. The mark is set once all of the payload has memory, and cleared before any of that is given back. Memory is
//!         given back in Owned only. So the payload of a marked block has memory, even if its owner dies.
//! HUGE-3. A payload is accessed only by a process that owns the block (BLOCK-1, BLOCK-4) and has found it marked
//!         since. So no access lacks memory, which would be a SIGBUS.
//! HUGE-4. How much memory a queue has is what the kernel reports for the file, never a sum of marks or a counter,
//!         which a death would leave wrong.
//! HUGE-5. An allocation fails for lack of memory only if no huge block was in use, and none changed, while the limits
//!         were checked. Memory that the queue itself will get back is worth waiting for.
//!
//! Crash: recovery frees the word of a dead owner's block and knows nothing of memory, so mark and memory stay as they
//! are, in one of the lines above. What the last line holds is counted (HUGE-4), and given back as soon as it is
//! needed.
//!
//! An allocation takes the next of a few blocks that are used in turn ([`Class::used_in_turn`]), so that what one
//! processor writes has left its nearest cache when the other one reads it. If these are in use, or there is no memory
//! for them, it takes the idle block with the lowest index. Taking new memory costs more than using it: the kernel
//! clears each page, and each process maps each page again. So idle blocks keep their memory, unless
//!
//! - all of them together have more than [`Options::max_idle_memory`](crate::Options::max_idle_memory) ([`idle`]);
//! - no message has used them for a while ([`idle`]);
//! - a limit would otherwise deny memory to another block.

use super::geometry::Class;
use super::mapped::Segment;
use crate::error::MemoryLimit;
use crate::os::budget::OutOfMemory;
use crate::os::memory::{self, MemoryError};
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::protocol::steps::{OwnedBlock, send};
use crate::protocol::{Corrupt, SharedState};
use crate::sync::Ordering;
use core::ops::Range;

/// The result of [`Segment::allocate_huge`].
#[derive(Debug)]
#[must_use]
pub(crate) enum HugeAllocation {
    /// A block that this process now owns, with memory.
    Allocated(OwnedBlock),
    /// All blocks of the class are in use.
    NoFreeBlock,
    /// A block is free, but there is no memory for it until other huge blocks are free.
    MemoryInUse,
    /// There is no memory, and no block of this queue that could give some back.
    NoMemory(OutOfMemory),
}

/// The result of [`Segment::check_memory`].
enum MemoryCheck {
    Available,
    /// There is none now, but blocks in use hold enough.
    InUse,
    Exhausted(OutOfMemory),
}

impl Segment {
    /// Allocates a block of a huge class, with memory. Transition `Allocate`.
    pub(crate) fn allocate_huge(
        &self,
        me: PeerIndex,
        class: &Class,
    ) -> Result<HugeAllocation, Corrupt> {
        loop {
            if let Some(block) = self.allocate_in_turn(me, class) {
                return Ok(HugeAllocation::Allocated(block));
            }
            if let Some(idle) = self.allocate_committed(me, class) {
                return Ok(HugeAllocation::Allocated(idle));
            }
            if !self.headers_of(class.blocks.clone()).any(is_free) {
                return Ok(HugeAllocation::NoFreeBlock);
            }
            // Before a block is allocated: allocating and withdrawing one wakes other senders, which would do the same.
            match self.check_memory(me, class.payload)? {
                MemoryCheck::Available => {}
                MemoryCheck::InUse => return Ok(HugeAllocation::MemoryInUse),
                MemoryCheck::Exhausted(shortage) => return Ok(HugeAllocation::NoMemory(shortage)),
            }
            let mut indices = class.blocks.clone();
            let Some(owned) = indices.find_map(|index| send::allocate_one(self, me, index)) else {
                continue;
            };
            match self.commit(&owned) {
                Ok(()) => return Ok(HugeAllocation::Allocated(owned)),
                Err(shortage) => {
                    if !mutant!(HugeBlockNotWithdrawn) {
                        send::withdraw(self, owned)?;
                    }
                    // The queue's own limit is checked again in the next round. What the kernel denies it would deny
                    // again, unless idle blocks have given something back.
                    if shortage.limit != MemoryLimit::Queue && self.reclaim(me, shortage)? == 0 {
                        return Ok(HugeAllocation::NoMemory(shortage));
                    }
                }
            }
        }
    }

    /// Allocates the next of the blocks of `class` that are used in turn, with memory. Transition `Allocate`.
    fn allocate_in_turn(&self, me: PeerIndex, class: &Class) -> Option<OwnedBlock> {
        let blocks = class.used_in_turn();
        let count = blocks.len();
        if count < 2 {
            return None; // there is no choice
        }
        let turn = self.huge_turn.fetch_add(1, Ordering::Relaxed) as usize;
        let mut indices = blocks.cycle().skip(turn % count).take(count);
        indices.find_map(|index| self.allocate_with_spare_memory(me, index, class.payload))
    }

    /// Allocates a huge block if it has memory, or if that is plentiful. Transition `Allocate`.
    fn allocate_with_spare_memory(
        &self,
        me: PeerIndex,
        index: u32,
        payload: usize,
    ) -> Option<OwnedBlock> {
        let header = self.block(BlockIndex::new(index)?)?;
        if !is_free(header) || !(header.is_committed() || self.has_spare_memory(payload)) {
            return None;
        }
        let owned = send::allocate_one(self, me, index)?;
        if header.is_committed() || self.commit(&owned).is_ok() {
            return Some(owned);
        }
        self.is_memory_short.store(true, Ordering::Relaxed);
        if mutant!(HugeBlockNotWithdrawn) {
            return None;
        }
        // The next operation meets a corrupt word too, and reports it.
        let _ = send::withdraw(self, owned);
        None
    }

    /// Returns whether `wanted` bytes can be had without reclaiming any. Once the answer was no, this process takes
    /// only the memory that it needs.
    fn has_spare_memory(&self, wanted: usize) -> bool {
        if self.is_memory_short.load(Ordering::Relaxed) {
            return false;
        }
        let is_spare = self.check_limits(wanted).is_ok();
        self.is_memory_short.store(!is_spare, Ordering::Relaxed);
        is_spare
    }

    /// Allocates the block of `class` with the lowest index that is idle and has memory. Transition `Allocate`.
    pub(crate) fn allocate_committed(&self, me: PeerIndex, class: &Class) -> Option<OwnedBlock> {
        for index in class.blocks.clone() {
            let header = self.block(BlockIndex::new(index)?)?;
            if !header.is_committed() {
                continue;
            }
            if let Some(owned) = send::allocate_one(self, me, index) {
                if header.is_committed() {
                    return Some(owned);
                }
                // It lost its memory between the two checks. The next operation meets a corrupt word too, and reports
                // it.
                let _ = send::withdraw(self, owned);
            }
        }
        None
    }

    /// Returns how many bytes of memory the segment has, by what the kernel reports (HUGE-4).
    pub(crate) fn memory(&self) -> usize {
        memory::allocated(&self.file).unwrap_or(self.geometry().committed)
    }

    /// Checks the queue's own limit, and then those of the system, for `wanted` bytes more.
    fn check_limits(&self, wanted: usize) -> Result<(), OutOfMemory> {
        let wanted = wanted as u64;
        if !mutant!(QueueLimitIgnored) {
            let limit = self.settings().memory_limit;
            let available = limit.saturating_sub(self.memory() as u64);
            OutOfMemory::check(MemoryLimit::Queue, wanted, available)?;
        }
        self.budget.check(wanted)
    }

    /// Checks whether `wanted` bytes can be taken, and reclaims what is missing from idle blocks.
    fn check_memory(&self, me: PeerIndex, wanted: usize) -> Result<MemoryCheck, Corrupt> {
        loop {
            let before = self.huge_states();
            let Err(shortage) = self.check_limits(wanted) else {
                return Ok(MemoryCheck::Available);
            };
            if self.reclaim(me, shortage)? > 0 {
                continue;
            }
            // The owner of an unmarked block is about to take memory for it, or to give it back: that is in use as
            // well.
            let in_use = before
                .iter()
                .filter(|(_, state)| !state.is(BlockKind::Free));
            let in_use: usize = in_use.map(|&(payload, _)| payload).sum();
            if shortage.available.saturating_add(in_use as u64) >= shortage.wanted {
                return Ok(MemoryCheck::InUse);
            }
            // HUGE-5.
            if self.huge_states() == before {
                return Ok(MemoryCheck::Exhausted(shortage));
            }
        }
    }

    /// Returns the state of each huge block, with the size of its payload.
    fn huge_states(&self) -> Vec<(usize, BlockState)> {
        let classes = self.geometry().huge_classes().iter();
        let states = classes.flat_map(|class| {
            self.headers_of(class.blocks.clone())
                .map(|header| (class.payload, header.word.load()))
        });
        states.collect()
    }

    fn headers_of(&self, blocks: Range<u32>) -> impl Iterator<Item = &BlockHeader> {
        blocks
            .filter_map(BlockIndex::new)
            .filter_map(|index| self.block(index))
    }

    /// Takes memory for a block that this process owns, and marks it (HUGE-2).
    fn commit(&self, owned: &OwnedBlock) -> Result<(), OutOfMemory> {
        let payload = self.geometry().payload(owned.index()).unwrap_or_default();
        let wanted = payload.len();
        let taken = memory::commit(&self.file, payload.clone()).map_err(|error| match error {
            MemoryError::OutOfMemory(shortage) => shortage,
            MemoryError::Os(_) => OutOfMemory {
                limit: MemoryLimit::Machine,
                wanted: wanted as u64,
                available: 0,
            },
        });
        // Other processes may have taken memory since the limit was checked.
        let held = self.memory() as u64;
        let within = OutOfMemory::check(MemoryLimit::Queue, held, self.settings().memory_limit);
        match taken.and(within) {
            Ok(()) => {
                if let Some(header) = self.block(owned.index()) {
                    header.note_committed(true);
                }
                Ok(())
            }
            Err(shortage) => {
                // If this fails, the block is left as in the last line of the table.
                let _ = memory::decommit(&self.file, payload);
                Err(shortage)
            }
        }
    }

    /// Gives back the memory of a block, if it is idle. Transitions `Allocate` and, when that is done, `Withdraw`.
    /// Returns whether the block was idle.
    fn decommit_idle(&self, me: PeerIndex, index: BlockIndex) -> Result<bool, Corrupt> {
        let header = self.block(index).ok_or(Corrupt::NoSuchBlock)?;
        if !header.is_committed() {
            return Ok(false);
        }
        let Some(owned) = send::allocate_one(self, me, index.get()) else {
            return Ok(false);
        };
        self.decommit_and_withdraw(owned)?;
        Ok(true)
    }

    /// Frees the memory of a block that this process owns, and then the block. Transition `Withdraw`.
    fn decommit_and_withdraw(&self, owned: OwnedBlock) -> Result<(), Corrupt> {
        let header = self.block(owned.index()).ok_or(Corrupt::NoSuchBlock)?;
        let payload = self
            .geometry()
            .payload(owned.index())
            .ok_or(Corrupt::NoSuchBlock)?;
        header.note_committed(mutant!(MarkKept));
        // If this fails, the block is left as in the last line of the table.
        let _ = memory::decommit(&self.file, payload);
        send::withdraw(self, owned)
    }

    /// Takes back as much memory as is missing from idle blocks, from the largest first. Returns how many bytes.
    fn reclaim(&self, me: PeerIndex, shortage: OutOfMemory) -> Result<u64, Corrupt> {
        if mutant!(IdleMemoryNotReclaimed) {
            return Ok(0);
        }
        let missing = shortage.wanted.saturating_sub(shortage.available);
        match self.decommit_largest_idle(me, missing)? {
            0 => self.reclaim_leftovers(me),
            reclaimed => Ok(reclaimed),
        }
    }

    /// Gives back at least `wanted` bytes of idle blocks, of the largest first, or all that they have. Returns how many
    /// bytes.
    fn decommit_largest_idle(&self, me: PeerIndex, wanted: u64) -> Result<u64, Corrupt> {
        let mut given_back = 0;
        for class in self.geometry().huge_classes().iter().rev() {
            for index in class.blocks.clone().rev().filter_map(BlockIndex::new) {
                if given_back >= wanted {
                    return Ok(given_back);
                }
                if self.decommit_idle(me, index)? {
                    given_back += class.payload as u64;
                }
            }
        }
        Ok(given_back)
    }

    /// Takes back what dead processes have left in free blocks without a mark. Returns how many bytes.
    ///
    /// Does so only if there is more memory than the marked blocks and those in use can account for: to allocate blocks
    /// that have none would wake senders that wait for blocks, which would then do the same.
    fn reclaim_leftovers(&self, me: PeerIndex) -> Result<u64, Corrupt> {
        let before = self.memory();
        let accounted = self.geometry().huge_classes().iter().map(|class| {
            let blocks = self.headers_of(class.blocks.clone());
            let known = blocks.filter(|header| header.is_committed() || !is_free(header));
            known.count() * class.payload
        });
        if before <= self.geometry().committed + accounted.sum::<usize>() {
            return Ok(0);
        }
        for index in self.geometry().huge_blocks() {
            let is_unmarked = BlockIndex::new(index)
                .and_then(|index| self.block(index))
                .is_some_and(|header| !header.is_committed());
            if is_unmarked && let Some(owned) = send::allocate_one(self, me, index) {
                self.decommit_and_withdraw(owned)?;
            }
        }
        Ok(before.saturating_sub(self.memory()) as u64)
    }
}

fn is_free(header: &BlockHeader) -> bool {
    header.word.load().is(BlockKind::Free)
}

mod idle;

#[cfg(test)]
mod tests;
