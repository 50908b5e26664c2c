//! Idle huge blocks: how much memory they keep, for how long, and giving it back ([`crate::protocol::huge_memory`]).
//!
//! IDLE-1. A block that is freed while idle blocks have more memory than they may keep gives its own back. If several
//!         processes free blocks at once, each of them may find this, and all of their blocks give it back.
//! IDLE-2. A block whose word has not changed since an earlier look was not used in between: each use raises its
//!         generation. Looks are part of sweeps, and the memory of a process, so a process that never waits, sends or
//!         receives gives nothing back; its peers do.
//!
//! Crash: as for all changes of a block's memory, see the table in [`crate::protocol::huge_memory`].

use super::{OwnedBlock, send};
use crate::protocol::Corrupt;
use crate::protocol::block_header::BlockHeader;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::huge_memory::{HugeClass, HugeMemory};
use crate::protocol::ids::{BlockIndex, PeerIndex};
use core::ops::Range;

/// The most memory that a sweep gives back, or one block if that is larger. Freeing it takes the kernel some
/// milliseconds, during which the sweeping process does nothing else.
const STEP: u64 = 64 << 20;

/// Gives back the memory of a block that was just freed, if idle blocks have too much (IDLE-1).
pub(crate) fn trim<M: HugeMemory>(shared: &M, me: PeerIndex, index: BlockIndex) {
    let first = shared.huge_classes().next();
    let is_huge = first.is_some_and(|class| index.get() >= class.blocks.start);
    if is_huge && !mutant!(IdleMemoryKept) && excess_idle_memory(shared) > 0 {
        // The next operation meets a corrupt word too. Memory that was not given back is reclaimed when it is needed.
        let _ = decommit_idle(shared, me, index);
    }
}

/// Gives back memory of idle blocks, of the largest first, until they have no more than they may keep.
pub(crate) fn trim_all<M: HugeMemory>(shared: &M, me: PeerIndex) {
    let excess = excess_idle_memory(shared);
    if excess > 0 {
        // As in `trim`.
        let _ = decommit_largest_idle(shared, me, excess);
    }
}

/// Returns by how many bytes the memory of idle blocks exceeds what they may keep.
fn excess_idle_memory<M: HugeMemory>(shared: &M) -> u64 {
    let max = shared.max_idle_memory();
    let all = |class: &HugeClass, count: usize| class.payload.saturating_mul(count as u64);
    let possible = shared
        .huge_classes()
        .map(|class| all(&class, class.blocks.len()));
    if possible.sum::<u64>() <= max {
        return 0;
    }
    let idle = shared.huge_classes().map(|class| {
        let headers = headers(shared, class.blocks.clone());
        let idle = headers.filter(|header| header.is_committed() && is_free(header));
        all(&class, idle.count())
    });
    idle.sum::<u64>().saturating_sub(max)
}

/// Returns the word of each huge block; of none, if no such block was used yet.
pub(crate) fn words<M: HugeMemory>(shared: &M) -> impl Iterator<Item = BlockState> {
    let blocks = shared.huge_classes().flat_map(|class| class.blocks);
    let indices = blocks.filter_map(BlockIndex::new);
    indices.filter_map(|index| Some(shared.block(index)?.word.load()))
}

/// Gives back the memory of blocks whose words are still as they were at an earlier look (IDLE-2). Returns whether
/// nothing is left to give back.
pub(crate) fn trim_unused<M: HugeMemory>(
    shared: &M,
    me: PeerIndex,
    earlier: &[BlockState],
) -> bool {
    let mut given_back = 0;
    let blocks = shared
        .huge_classes()
        .flat_map(|class| class.blocks.map(move |index| (index, class.payload)));
    for ((index, payload), &earlier) in blocks.zip(earlier) {
        if given_back >= STEP {
            return false; // the next sweep goes on
        }
        let unused = |header: &BlockHeader| {
            earlier.is(BlockKind::Free) && header.is_committed() && header.word.load() == earlier
        };
        // As in `trim`.
        if let Some(index) = BlockIndex::new(index)
            && shared.block(index).is_some_and(unused)
            && decommit_idle(shared, me, index) == Ok(true)
        {
            given_back += payload;
        }
    }
    true
}

/// Gives back at least `wanted` bytes of idle blocks, of the largest first, or all that they have. Returns how many bytes.
pub(super) fn decommit_largest_idle<M: HugeMemory>(
    shared: &M,
    me: PeerIndex,
    wanted: u64,
) -> Result<u64, Corrupt> {
    let mut given_back = 0;
    for class in shared.huge_classes().rev() {
        for index in class.blocks.rev().filter_map(BlockIndex::new) {
            if given_back >= wanted {
                return Ok(given_back);
            }
            if decommit_idle(shared, me, index)? {
                given_back += class.payload;
            }
        }
    }
    Ok(given_back)
}

/// Gives back the memory of a block, if it is idle. Transitions `Allocate` and, when that is done, `Withdraw`. Returns
/// whether the block was idle.
fn decommit_idle<M: HugeMemory>(
    shared: &M,
    me: PeerIndex,
    index: BlockIndex,
) -> Result<bool, Corrupt> {
    let header = shared.block(index).ok_or(Corrupt::NoSuchBlock)?;
    if !header.is_committed() {
        return Ok(false);
    }
    let Some(owned) = send::allocate_one(shared, me, index.get()) else {
        return Ok(false);
    };
    decommit_and_withdraw(shared, owned)?;
    Ok(true)
}

/// Gives back the memory of a block that this process owns, and then frees the block. Transition `Withdraw`.
pub(super) fn decommit_and_withdraw<M: HugeMemory>(
    shared: &M,
    owned: OwnedBlock,
) -> Result<(), Corrupt> {
    let header = shared.block(owned.index()).ok_or(Corrupt::NoSuchBlock)?;
    header.note_committed(mutant!(MarkKept));
    // If this fails, the block is left as in the last line of the table.
    shared.give_memory_back(owned.index());
    send::withdraw(shared, owned)
}

pub(super) fn headers<M: HugeMemory>(
    shared: &M,
    blocks: Range<u32>,
) -> impl Iterator<Item = &BlockHeader> {
    blocks
        .filter_map(BlockIndex::new)
        .filter_map(|index| shared.block(index))
}

pub(super) fn is_free(header: &BlockHeader) -> bool {
    header.word.load().is(BlockKind::Free)
}
