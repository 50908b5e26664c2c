//! Huge blocks: `Allocate` with memory ([`crate::protocol::huge_memory`]).

use super::idle::{decommit_and_withdraw, decommit_largest_idle, headers, is_free};
use super::{OwnedBlock, send};
use crate::error::{MemoryLimit, OutOfMemory};
use crate::protocol::Corrupt;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::huge_memory::{HugeClass, HugeMemory};
use crate::protocol::ids::{BlockIndex, PeerIndex};
use crate::sync::Ordering;

/// The result of [`allocate`].
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

/// What a look for memory came to.
enum Search {
    /// Idle blocks have given some back, or blocks have changed: there may be enough now.
    Again,
    /// There is none now, but blocks in use hold enough.
    InUse,
    Exhausted,
}

/// The state of each huge block, with the size of its payload.
type States = Vec<(BlockIndex, u64, BlockState)>;

/// Allocates a block of a class, with memory. Transition `Allocate`.
pub(crate) fn allocate<M: HugeMemory>(
    shared: &M,
    me: PeerIndex,
    class: &HugeClass,
) -> Result<HugeAllocation, Corrupt> {
    loop {
        if let Some(block) = allocate_in_turn(shared, me, class) {
            return Ok(HugeAllocation::Allocated(block));
        }
        if let Some(idle) = allocate_committed(shared, me, class) {
            return Ok(HugeAllocation::Allocated(idle));
        }
        if !headers(shared, class.blocks.clone()).any(is_free) {
            return Ok(HugeAllocation::NoFreeBlock);
        }
        // Before a block is allocated: allocating and withdrawing one wakes other senders, which would do the same.
        let mut before = states(shared);
        if let Err(shortage) = check_limits(shared, class.payload) {
            match search(shared, me, shortage, &before)? {
                Search::Again => continue,
                Search::InUse => return Ok(HugeAllocation::MemoryInUse),
                Search::Exhausted => return Ok(HugeAllocation::NoMemory(shortage)),
            }
        }
        let mut indices = class.blocks.clone();
        let Some(owned) = indices.find_map(|index| send::allocate_one(shared, me, index)) else {
            continue;
        };
        let Err(shortage) = commit(shared, &owned) else {
            return Ok(HugeAllocation::Allocated(owned));
        };
        replace_state(&mut before, &owned);
        let found = search_after_refusal(shared, me, shortage, &before, &owned)?;
        if !mutant!(HugeBlockNotWithdrawn) {
            send::withdraw(shared, owned)?;
        }
        match found {
            Search::Again => {}
            Search::InUse => return Ok(HugeAllocation::MemoryInUse),
            Search::Exhausted => return Ok(HugeAllocation::NoMemory(shortage)),
        }
    }
}

/// Allocates the next of the blocks of `class` that are used in turn, with memory. Transition `Allocate`.
fn allocate_in_turn<M: HugeMemory>(
    shared: &M,
    me: PeerIndex,
    class: &HugeClass,
) -> Option<OwnedBlock> {
    let blocks = class.used_in_turn.clone();
    let count = blocks.len();
    if count < 2 {
        return None; // there is no choice
    }
    let turn = shared.huge_hints().turn.fetch_add(1, Ordering::Relaxed) as usize;
    let mut indices = blocks.cycle().skip(turn % count).take(count);
    indices.find_map(|index| allocate_with_spare_memory(shared, me, index, class.payload))
}

/// Allocates a huge block if it has memory, or if that is plentiful. Transition `Allocate`.
fn allocate_with_spare_memory<M: HugeMemory>(
    shared: &M,
    me: PeerIndex,
    index: u32,
    payload: u64,
) -> Option<OwnedBlock> {
    let header = shared.block(BlockIndex::new(index)?)?;
    if !is_free(header) || !(header.is_committed() || has_spare_memory(shared, payload)) {
        return None;
    }
    let owned = send::allocate_one(shared, me, index)?;
    if commit(shared, &owned).is_ok() {
        return Some(owned);
    }
    let hints = shared.huge_hints();
    hints.is_memory_short.store(true, Ordering::Relaxed);
    if mutant!(HugeBlockNotWithdrawn) {
        return None;
    }
    // The next operation meets a corrupt word too, and reports it.
    let _ = send::withdraw(shared, owned);
    None
}

/// Returns whether `wanted` bytes can be had without reclaiming any. Once the answer was no, this process takes only the
/// memory that it needs.
fn has_spare_memory<M: HugeMemory>(shared: &M, wanted: u64) -> bool {
    let is_memory_short = &shared.huge_hints().is_memory_short;
    if is_memory_short.load(Ordering::Relaxed) {
        return false;
    }
    let is_spare = check_limits(shared, wanted).is_ok();
    is_memory_short.store(!is_spare, Ordering::Relaxed);
    is_spare
}

/// Allocates the block of `class` with the lowest index that is idle and has memory. Transition `Allocate`.
pub(crate) fn allocate_committed<M: HugeMemory>(
    shared: &M,
    me: PeerIndex,
    class: &HugeClass,
) -> Option<OwnedBlock> {
    for index in class.blocks.clone() {
        let header = shared.block(BlockIndex::new(index)?)?;
        if !header.is_committed() {
            continue;
        }
        if let Some(owned) = send::allocate_one(shared, me, index) {
            if header.is_committed() {
                return Some(owned);
            }
            // It lost its memory between the two checks. The next operation meets a corrupt word too, and reports it.
            let _ = send::withdraw(shared, owned);
        }
    }
    None
}

/// Checks the queue's own limit, and then those of the system, for `wanted` bytes more.
fn check_limits<M: HugeMemory>(shared: &M, wanted: u64) -> Result<(), OutOfMemory> {
    if !mutant!(QueueLimitIgnored) {
        let available = shared.memory_limit().saturating_sub(shared.memory());
        OutOfMemory::check(MemoryLimit::Queue, wanted, available)?;
    }
    shared.check_system(wanted)
}

/// Reclaims what is missing from idle blocks. If there are none, decides whether to wait (HUGE-5).
///
/// `before` are the states of the huge blocks before the limits were checked.
fn search<M: HugeMemory>(
    shared: &M,
    me: PeerIndex,
    shortage: OutOfMemory,
    before: &States,
) -> Result<Search, Corrupt> {
    if reclaim(shared, me, shortage)? > 0 {
        return Ok(Search::Again);
    }
    // The owner of an unmarked block is about to take memory for it, or to give it back: that is in use as well.
    let in_use = before.iter().filter(|(.., state)| is_in_use(*state));
    let in_use: u64 = in_use.map(|&(_, payload, _)| payload).sum();
    if shortage.available.saturating_add(in_use) >= shortage.wanted {
        return Ok(Search::InUse);
    }
    // HUGE-5.
    if states(shared) == *before {
        Ok(Search::Exhausted)
    } else {
        Ok(Search::Again)
    }
}

/// Does the same after memory was refused for a block, which this process owns, although the limits had left enough.
///
/// Where other processes use huge blocks, or have used some since, the answer is to wait, not to try again: two senders
/// that take memory at the same time could refuse it to each other forever.
fn search_after_refusal<M: HugeMemory>(
    shared: &M,
    me: PeerIndex,
    shortage: OutOfMemory,
    before: &States,
    refused: &OwnedBlock,
) -> Result<Search, Corrupt> {
    if reclaim(shared, me, shortage)? > 0 {
        return Ok(Search::Again);
    }
    let now = states(shared);
    let mut others = now.iter().filter(|(index, ..)| *index != refused.index());
    // HUGE-5.
    if others.any(|(.., state)| is_in_use(*state)) || now != *before {
        Ok(Search::InUse)
    } else {
        Ok(Search::Exhausted)
    }
}

fn states<M: HugeMemory>(shared: &M) -> States {
    let states = shared.huge_classes().flat_map(|class| {
        let indices = class.blocks.filter_map(BlockIndex::new);
        indices.filter_map(move |index| {
            let header = shared.block(index)?;
            Some((index, class.payload, header.word.load()))
        })
    });
    states.collect()
}

/// Records that this process has allocated a block since, if no other process has used the block in between.
fn replace_state(states: &mut States, owned: &OwnedBlock) {
    for (index, _, state) in states {
        if *index == owned.index() && state.generation() == owned.word().generation() {
            *state = owned.word();
        }
    }
}

/// Takes memory for a block that this process owns, and marks it (HUGE-2).
fn commit<M: HugeMemory>(shared: &M, owned: &OwnedBlock) -> Result<(), OutOfMemory> {
    let header = shared.block(owned.index());
    if header.is_some_and(BlockHeader::is_committed) {
        // It was in use when this process looked for idle blocks. It has all of its memory, and if the limit is
        // exceeded, another process is about to find that out.
        return Ok(());
    }
    let taken = shared.take_memory(owned.index());
    // Other processes may have taken memory since the limit was checked.
    let limit = shared.memory_limit();
    let within = OutOfMemory::check(MemoryLimit::Queue, shared.memory(), limit);
    let result = taken.and(within);
    if result.is_err() {
        // If this fails, the block is left as in the last line of the table.
        shared.give_memory_back(owned.index());
    } else if let Some(header) = header {
        header.note_committed(true);
    }
    result
}

/// Takes back as much memory as is missing from idle blocks, from the largest first. Returns how many bytes.
fn reclaim<M: HugeMemory>(
    shared: &M,
    me: PeerIndex,
    shortage: OutOfMemory,
) -> Result<u64, Corrupt> {
    if mutant!(IdleMemoryNotReclaimed) {
        return Ok(0);
    }
    let missing = shortage.wanted.saturating_sub(shortage.available);
    match decommit_largest_idle(shared, me, missing)? {
        0 => reclaim_leftovers(shared, me),
        reclaimed => Ok(reclaimed),
    }
}

/// Takes back what dead processes have left in free blocks without a mark. Returns how many bytes.
///
/// Does so only if there is more memory than the marked blocks and those in use can account for: to allocate blocks that
/// have none would wake senders that wait for blocks, which would then do the same.
fn reclaim_leftovers<M: HugeMemory>(shared: &M, me: PeerIndex) -> Result<u64, Corrupt> {
    let before = shared.memory();
    let accounted = shared.huge_classes().map(|class| {
        let blocks = headers(shared, class.blocks);
        let known = blocks.filter(|header| header.is_committed() || !is_free(header));
        known.count() as u64 * class.payload
    });
    if before <= shared.permanent_memory() + accounted.sum::<u64>() {
        return Ok(0);
    }
    for index in shared.huge_classes().flat_map(|class| class.blocks) {
        let is_unmarked = BlockIndex::new(index)
            .and_then(|index| shared.block(index))
            .is_some_and(|header| !header.is_committed());
        if is_unmarked && let Some(owned) = send::allocate_one(shared, me, index) {
            decommit_and_withdraw(shared, owned)?;
        }
    }
    Ok(before.saturating_sub(shared.memory()))
}

fn is_in_use(state: BlockState) -> bool {
    !state.is(BlockKind::Free)
}
