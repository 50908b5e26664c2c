//! A change of any word.

use super::super::configuration::Configuration;
use super::super::memory::{Word, to_u8};
use super::super::state::State;
use super::blocks::block_changed;
use super::check::{Violation, check};
use super::marks::mark_changed;
use super::membership::{lifecycle_changed, peer_changed};
use super::memory::{mark_of_memory_changed, memory_changed};
use super::slots::slot_changed;
use crate::protocol::batch::MessageMark;
use crate::protocol::blocks::{BlockKind, BlockState};
use crate::protocol::returned::ReturnedState;
use crate::protocol::ring::SlotState;

/// Checks a change of `word` by `process`, and records it in the ledger.
pub(in super::super) fn word_changed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    word: Word,
    before: u64,
) -> Result<(), Violation> {
    let now = state.memory.get(word);
    match word {
        Word::Slot(_) => {
            let (before, now) = (SlotState::from_bits(before), SlotState::from_bits(now));
            slot_changed(state, configuration, process, before, now)
        }
        Word::Block(block) => {
            let (before, now) = (BlockState::from_bits(before), BlockState::from_bits(now));
            let what = || format!("process {process}: block {block}: {before:?} -> {now:?}");
            block_changed(state, configuration, process, block, before, now)
                .map_err(|violation| format!("{violation} ({})", what()))
        }
        Word::Head => {
            let truth = configuration.start() + u64::from(state.ledger.taken);
            check(now <= truth, "EXPLORE-9", || "the head is ahead".to_owned())
        }
        Word::Tail => {
            let truth = configuration.start() + u64::from(state.ledger.filled);
            check(now <= truth, "EXPLORE-9", || "the tail is ahead".to_owned())
        }
        Word::Returned => {
            let has_ended = state.memory.lifecycle().has_ended();
            if ReturnedState::from_bits(now).is_dirty() && !has_ended {
                state.ledger.announced = state.blocks(configuration, BlockKind::Returned);
            }
            Ok(())
        }
        Word::Lifecycle => lifecycle_changed(state, configuration, process, before),
        Word::Peer(peer) => peer_changed(state, configuration, process, peer),
        Word::Mark(block, message) => {
            let (before, now) = (mark(before), mark(now));
            let what = || format!("process {process}: block {block}: {before:?} -> {now:?}");
            mark_changed(state, configuration, process, (block, message), before, now)
                .map_err(|violation| format!("{violation} ({})", what()))
        }
        Word::Committed(block) => mark_of_memory_changed(state, configuration, process, block),
        Word::MemoryOf(block) => memory_changed(state, process, block),
        Word::Position(_)
        | Word::Memory
        | Word::Parking(_)
        | Word::Length(_)
        | Word::Note(_)
        | Word::ExtraMessages(_)
        | Word::Lane => Ok(()),
    }
}

fn mark(bits: u64) -> MessageMark {
    MessageMark::from_bits(to_u8(bits))
}
