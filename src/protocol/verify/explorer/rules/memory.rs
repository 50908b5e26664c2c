//! The memory of huge blocks.

use super::super::call::{Call, Resume};
use super::super::configuration::{Configuration, HugeBlocks};
use super::super::ledger::MessageState;
use super::super::memory::Word;
use super::super::state::State;
use super::check::{Violation, check};
use crate::protocol::blocks::BlockKind;

/// Returns how much memory a block has, and how much it has when it has all.
fn memory_of(state: &State, huge: HugeBlocks, block: u8) -> (u64, u64) {
    let memory = state.memory.get(Word::MemoryOf(block));
    (memory, huge.class_of(block).payload)
}

fn is_marked(state: &State, block: u8) -> bool {
    state.memory.get(Word::Committed(block)) != 0
}

fn check_owner(state: &State, process: usize, block: u8) -> Result<(), Violation> {
    let is_owned = state.memory.block(block).is(BlockKind::Owned);
    let is_its = usize::from(state.ledger.holder_of[usize::from(block)]) == process;
    check(is_owned && is_its, "EXPLORE-18", || {
        format!("process {process} does not own block {block} (HUGE-1, HUGE-2)")
    })
}

/// The mark of a block was changed.
pub(super) fn mark_of_memory_changed(
    state: &State,
    configuration: &Configuration,
    process: usize,
    block: u8,
) -> Result<(), Violation> {
    check_owner(state, process, block)?;
    let Some(huge) = configuration.huge else {
        return Ok(());
    };
    if !is_marked(state, block) {
        return Ok(());
    }
    let (memory, all) = memory_of(state, huge, block);
    check(memory == all, "EXPLORE-18", || {
        format!("block {block} is marked, and has {memory} of {all} units of memory (HUGE-2)")
    })?;
    let marked = (0..configuration.blocks).filter(|&block| is_marked(state, block));
    let marked: u64 = marked.map(|block| memory_of(state, huge, block).0).sum();
    check(marked <= huge.memory_limit, "EXPLORE-19", || {
        format!("the marked blocks have {marked} units of memory")
    })
}

/// A block has got memory, or has given some back.
pub(super) fn memory_changed(state: &State, process: usize, block: u8) -> Result<(), Violation> {
    check_owner(state, process, block)?;
    check(!is_marked(state, block), "EXPLORE-18", || {
        format!("the memory of block {block} changes, and the block is marked (HUGE-2)")
    })
}

/// A process reads or writes the payload of a block.
pub(in super::super) fn payload_used(
    state: &State,
    configuration: &Configuration,
    process: usize,
    block: u8,
) -> Result<(), Violation> {
    let Some(huge) = configuration.huge else {
        return Ok(());
    };
    let is_its = usize::from(state.ledger.holder_of[usize::from(block)]) == process;
    let (memory, all) = memory_of(state, huge, block);
    check(is_its && memory == all, "EXPLORE-17", || {
        format!("process {process} uses block {block}, which has {memory} of {all} units of memory")
    })
}

/// The call has failed for lack of memory.
pub(super) fn check_refusal(configuration: &Configuration, call: Call) -> Result<(), Violation> {
    let (
        Call::AllocateHuge(class)
        | Call::Resumed(Resume::FindHuge(class) | Resume::FindMemory(class)),
        Some(huge),
    ) = (call, configuration.huge)
    else {
        return Ok(());
    };
    // All blocks together may have this much, so as soon as all are free, any one of at most this size gets memory.
    let limit = huge.limit();
    let wanted = huge.class(class).payload;
    check(wanted > limit, "EXPLORE-20", || {
        format!("there is no memory for {wanted} units, and the limit is {limit}")
    })
}

/// Checks what must hold of memory when nothing moves.
pub(super) fn check_memory_at_rest(
    state: &State,
    configuration: &Configuration,
) -> Result<(), Violation> {
    let Some(huge) = configuration.huge else {
        return Ok(());
    };
    if state.deaths > 0 {
        return Ok(());
    }
    let mut idle = 0;
    for block in 0..configuration.blocks {
        if !state.memory.block(block).is(BlockKind::Free) {
            continue;
        }
        let (memory, _) = memory_of(state, huge, block);
        check(memory == 0 || is_marked(state, block), "EXPLORE-21", || {
            format!("block {block} is free and not marked, and has {memory} units of memory")
        })?;
        idle += memory;
    }
    check(idle <= huge.max_idle_memory, "EXPLORE-21", || {
        format!("idle blocks keep {idle} units of memory (IDLE-1)")
    })
}

/// Checks that the probe has sent a message in a block of the largest class, after all others had ended.
pub(in super::super) fn check_memory_usable(
    state: &State,
    configuration: &Configuration,
) -> Result<(), Violation> {
    for block in 0..configuration.blocks {
        let word = state.memory.block(block);
        check(word.is(BlockKind::Free), "EXPLORE-21", || {
            format!("no process needs block {block}, and it is not free: {word:?}")
        })?;
    }
    let message = configuration.message(configuration.scripts.len(), 1);
    let sent = state.ledger.messages.get(usize::from(message));
    check(
        sent == Some(&MessageState::Acknowledged),
        "EXPLORE-21",
        || "no block is in use, and there is none with memory for a large message".to_owned(),
    )
}
