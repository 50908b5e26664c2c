//! Huge blocks, for messages of more than 64 KiB: their memory comes when they are first used and goes when they
//! are idle.
//!
//! The payload of a huge block is a range of addresses in the segment's file. Its header, which always has memory,
//! has a mark beside the block word: *committed*.
//!
//! | word         | mark | memory      | meaning                                                            |
//! |--------------|------|-------------|--------------------------------------------------------------------|
//! | Free         | no   | none        | not used yet, or given back                                        |
//! | Owned S      | no   | more, then all | S takes memory for it                                           |
//! | Owned S      | yes  | all         | S fills it                                                         |
//! | any other    | yes  | all         | there is a message in it                                           |
//! | Free         | yes  | all         | idle: the next to be used, or to be given back                     |
//! | Owned P      | no   | less, then none | P gives its memory back; P may be a receiver                   |
//! | Free         | no   | some, or all | a process has died in the second or sixth line: memory for nothing |
//!
//! HUGE-1. The mark is changed in Owned only, by the process of that row.
//! HUGE-2. It is set once all of the payload has memory, and cleared before any of that is given back; and memory is
//!     given back in Owned only. So the payload of a marked block has memory, whatever becomes of its owner.
//! HUGE-3. A payload is touched only by whoever has the block in hand (BLOCK-1, BLOCK-4) and has found it marked since. So no
//!     access lacks memory, which would be a SIGBUS.
//! HUGE-4. How much memory there is, is what the kernel says that the file holds, never a sum of marks or a counter,
//!     which a death would leave wrong.
//! HUGE-5. "There is no memory" is said only if no huge block was in use, or has changed, while the limits were looked at:
//!     memory that the queue itself will have again is worth waiting for.
//!
//! Crash: the word of a dead owner's block becomes Free by an exchange, as any other does; mark and memory stay as
//! they are, which is one of the lines above. What the last one holds is counted (HUGE-4) and given back as soon as it is
//! missed.
//!
//! Who is looking for a block takes the next of a few that are used in turn ([`Class::in_turn`]), so that what one
//! processor writes has left its nearest cache when the other one reads it; if these are in use, or there is no memory
//! for them, the lowest-numbered idle one. Each class keeps the memory of its first few blocks when they are idle, 64 MiB at the most; the others give theirs
//! back as soon as they are free. All idle blocks, of whatever class, give theirs back when a limit would otherwise
//! refuse memory for another one.

use super::Segment;
use super::layout::Class;
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

/// What there is for whoever wants a huge block.
#[derive(Debug)]
#[must_use]
pub(crate) enum HugeAllocation {
    /// A block in hand, with memory.
    Allocated(OwnedBlock),
    /// All blocks of the class are in use.
    NoFreeBlock,
    /// There is a block but no memory for it, until other huge blocks are free.
    MemoryInUse,
    /// There is no memory, and no block of this queue that could give it back.
    NoMemory(OutOfMemory),
}

/// Whether there is memory for one more block.
enum MemoryCheck {
    Available,
    InUse,
    Exhausted(OutOfMemory),
}

impl Segment {
    /// `Allocate` for a block of a huge class, with memory.
    pub(crate) fn allocate_huge(
        &self,
        me: PeerIndex,
        class: &Class,
    ) -> Result<HugeAllocation, Corrupt> {
        loop {
            if let Some(block) = self.take_in_turn(me, class) {
                return Ok(HugeAllocation::Allocated(block));
            }
            if let Some(idle) = self.allocate_committed(me, class) {
                return Ok(HugeAllocation::Allocated(idle));
            }
            if !self.headers_of(class.blocks.clone()).any(is_free) {
                return Ok(HugeAllocation::NoFreeBlock);
            }
            // Before a block is taken: to take one and put it back wakes others, who would do the same.
            match self.room_for(me, class.payload)? {
                MemoryCheck::Available => {}
                MemoryCheck::InUse => return Ok(HugeAllocation::MemoryInUse),
                MemoryCheck::Exhausted(shortage) => return Ok(HugeAllocation::NoMemory(shortage)),
            }
            let mut numbers = class.blocks.clone();
            let Some(owned) = numbers.find_map(|number| send::allocate_one(self, me, number))
            else {
                continue;
            };
            match self.commit(&owned) {
                Ok(()) => return Ok(HugeAllocation::Allocated(owned)),
                Err(shortage) => {
                    if !mutant!(HugeBlockNotWithdrawn) {
                        send::withdraw(self, owned)?;
                    }
                    // The queue's own limit is looked at again; what the kernel refuses it will refuse again.
                    if shortage.limit != MemoryLimit::Queue
                        && self.give_back_idle(me, shortage)? == 0
                    {
                        return Ok(HugeAllocation::NoMemory(shortage));
                    }
                }
            }
        }
    }

    /// `Allocate` for the next of the blocks of `class` that are used in turn, with memory.
    fn take_in_turn(&self, me: PeerIndex, class: &Class) -> Option<OwnedBlock> {
        let blocks = class.in_turn();
        let count = blocks.len();
        if count < 2 {
            return None; // there is nothing to choose from
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        let mut numbers = blocks.cycle().skip(turn % count).take(count);
        numbers.find_map(|number| self.take_spare(me, number, class.payload))
    }

    /// `Allocate` for a huge block, if it has memory or there is plenty.
    fn take_spare(&self, me: PeerIndex, number: u32, payload: usize) -> Option<OwnedBlock> {
        let header = self.block(BlockIndex::new(number)?)?;
        if !is_free(header) || !(header.is_committed() || self.has_plenty(payload)) {
            return None;
        }
        let owned = send::allocate_one(self, me, number)?;
        if header.is_committed() || self.commit(&owned).is_ok() {
            return Some(owned);
        }
        self.is_short.store(true, Ordering::Relaxed);
        if mutant!(HugeBlockNotWithdrawn) {
            return None;
        }
        // Corrupt words are met by the next operation too.
        let _ = send::withdraw(self, owned);
        None
    }

    /// Whether there are `wanted` bytes of memory that nobody has to give back for it. Once there were not, this
    /// process does with what it needs.
    fn has_plenty(&self, wanted: usize) -> bool {
        if self.is_short.load(Ordering::Relaxed) {
            return false;
        }
        let checked = self.check_limit(wanted);
        let plenty = checked
            .and_then(|()| self.supply.check(wanted as u64))
            .is_ok();
        self.is_short.store(!plenty, Ordering::Relaxed);
        plenty
    }

    /// `Allocate` for a huge block that has memory already: the lowest-numbered of `class`.
    pub(crate) fn allocate_committed(&self, me: PeerIndex, class: &Class) -> Option<OwnedBlock> {
        for number in class.blocks.clone() {
            let header = self.block(BlockIndex::new(number)?)?;
            if !header.is_committed() {
                continue;
            }
            if let Some(owned) = send::allocate_one(self, me, number) {
                if header.is_committed() {
                    return Some(owned);
                }
                // It has lost its memory between the two looks. Corrupt words are met by the next operation too.
                let _ = send::withdraw(self, owned);
            }
        }
        None
    }

    /// A block has just been let go of: give its memory back if it is one of those that keep none.
    pub(crate) fn trim(&self, me: PeerIndex, index: BlockIndex) {
        if mutant!(IdleMemoryKept) {
            return;
        }
        let beyond = |class: &&Class| class.not_kept().contains(&index.get());
        if self
            .geometry
            .huge_classes()
            .iter()
            .any(|class| beyond(&class))
        {
            // As above; and what could not be given back is missed, or not, later.
            let _ = self.give_back(me, index);
        }
    }

    /// As [`Segment::trim`], for all blocks that are free.
    pub(crate) fn trim_all(&self, me: PeerIndex) {
        let classes = self.geometry.huge_classes().iter();
        for index in classes
            .flat_map(Class::not_kept)
            .filter_map(BlockIndex::new)
        {
            // As above.
            let _ = self.give_back(me, index);
        }
    }

    /// How many bytes of memory the segment has, as far as the system says so.
    pub(crate) fn memory(&self) -> usize {
        memory::allocated(&self.file).unwrap_or(self.geometry.committed)
    }

    /// Whether the queue's own limit leaves `wanted` bytes.
    fn check_limit(&self, wanted: usize) -> Result<(), OutOfMemory> {
        let available = self
            .settings
            .memory_limit
            .saturating_sub(self.memory() as u64);
        if mutant!(QueueLimitIgnored) {
            return Ok(());
        }
        OutOfMemory::check(MemoryLimit::Queue, wanted as u64, available)
    }

    /// Whether there are `wanted` bytes of memory to take, once idle blocks have given back what is missing.
    fn room_for(&self, me: PeerIndex, wanted: usize) -> Result<MemoryCheck, Corrupt> {
        loop {
            let before = self.huge_words();
            let checked = self.check_limit(wanted);
            let Err(shortage) = checked.and_then(|()| self.supply.check(wanted as u64)) else {
                return Ok(MemoryCheck::Available);
            };
            if self.give_back_idle(me, shortage)? > 0 {
                continue;
            }
            // Whoever has an unmarked block in hand is about to take memory for it, or to give it back: that is in
            // use as well.
            let in_use = before.iter().filter(|(_, word)| !word.is(BlockKind::Free));
            let in_use: usize = in_use.map(|&(payload, _)| payload).sum();
            if shortage.available.saturating_add(in_use as u64) >= shortage.wanted {
                return Ok(MemoryCheck::InUse);
            }
            if self.huge_words() == before {
                return Ok(MemoryCheck::Exhausted(shortage));
            }
        }
    }

    /// The word of each huge block, with the size of its payload.
    fn huge_words(&self) -> Vec<(usize, BlockState)> {
        let words = self.geometry.huge_classes().iter().flat_map(|class| {
            self.headers_of(class.blocks.clone())
                .map(|header| (class.payload, header.word.load()))
        });
        words.collect()
    }

    fn headers_of(&self, blocks: Range<u32>) -> impl Iterator<Item = &BlockHeader> {
        blocks
            .filter_map(BlockIndex::new)
            .filter_map(|index| self.block(index))
    }

    /// Take memory for a block in hand, and mark it (HUGE-2).
    fn commit(&self, owned: &OwnedBlock) -> Result<(), OutOfMemory> {
        let payload = self.geometry.payload(owned.index()).unwrap_or_default();
        let wanted = payload.len();
        let taken = memory::commit(&self.file, payload.clone()).map_err(|refused| match refused {
            MemoryError::OutOfMemory(shortage) => shortage,
            MemoryError::Os(_) => OutOfMemory {
                limit: MemoryLimit::Machine,
                wanted: wanted as u64,
                available: 0,
            },
        });
        // Others may have taken memory since the look at the limit.
        let held = self.memory() as u64;
        let within = OutOfMemory::check(MemoryLimit::Queue, held, self.settings.memory_limit);
        match taken.and(within) {
            Ok(()) => {
                if let Some(header) = self.block(owned.index()) {
                    header.note_committed(true);
                }
                Ok(())
            }
            Err(shortage) => {
                // What can't be given back now is the last line of the table.
                let _ = memory::decommit(&self.file, payload);
                Err(shortage)
            }
        }
    }

    /// `Allocate` and `Withdraw`, and in between the memory is given back. False if the block is not idle.
    fn give_back(&self, me: PeerIndex, index: BlockIndex) -> Result<bool, Corrupt> {
        let header = self.block(index).ok_or(Corrupt::NoSuchBlock)?;
        if !header.is_committed() {
            return Ok(false);
        }
        let Some(owned) = send::allocate_one(self, me, index.get()) else {
            return Ok(false);
        };
        self.empty(owned)?;
        Ok(true)
    }

    /// Give back the memory of a block in hand, and the block.
    fn empty(&self, owned: OwnedBlock) -> Result<(), Corrupt> {
        let header = self.block(owned.index()).ok_or(Corrupt::NoSuchBlock)?;
        let payload = self
            .geometry
            .payload(owned.index())
            .ok_or(Corrupt::NoSuchBlock)?;
        header.note_committed(mutant!(MarkKept));
        // If that fails it is as if this process had died just before: the last line of the table.
        let _ = memory::decommit(&self.file, payload);
        send::withdraw(self, owned)
    }

    /// Have idle blocks give back as much as is missing, the hugest first. How much it was.
    fn give_back_idle(&self, me: PeerIndex, shortage: OutOfMemory) -> Result<u64, Corrupt> {
        if mutant!(IdleMemoryNotReclaimed) {
            return Ok(0);
        }
        let missing = shortage.wanted.saturating_sub(shortage.available);
        let mut given = 0;
        for class in self.geometry.huge_classes().iter().rev() {
            for index in class.blocks.clone().rev().filter_map(BlockIndex::new) {
                if given >= missing {
                    return Ok(given);
                }
                if self.give_back(me, index)? {
                    given += class.payload as u64;
                }
            }
        }
        if given == 0 {
            self.give_back_remains(me)
        } else {
            Ok(given)
        }
    }

    /// Give back what processes that have died have left in free blocks without a mark. How much it was.
    ///
    /// Only if there is more memory than blocks that are marked or in use can account for: to take blocks that have
    /// none would wake those who wait for blocks, who would then do the same.
    fn give_back_remains(&self, me: PeerIndex) -> Result<u64, Corrupt> {
        let before = self.memory();
        let accounted = self.geometry.huge_classes().iter().map(|class| {
            let blocks = self.headers_of(class.blocks.clone());
            let known = blocks.filter(|header| header.is_committed() || !is_free(header));
            known.count() * class.payload
        });
        if before <= self.geometry.committed + accounted.sum::<usize>() {
            return Ok(0);
        }
        for number in self.geometry.huge_blocks() {
            let unmarked = BlockIndex::new(number)
                .and_then(|index| self.block(index))
                .is_some_and(|header| !header.is_committed());
            if unmarked && let Some(owned) = send::allocate_one(self, me, number) {
                self.empty(owned)?;
            }
        }
        Ok(before.saturating_sub(self.memory()) as u64)
    }
}

fn is_free(header: &BlockHeader) -> bool {
    header.word.load().is(BlockKind::Free)
}

#[cfg(test)]
mod tests;
