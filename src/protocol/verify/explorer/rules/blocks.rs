//! Changes of a block word.

use super::super::configuration::Configuration;
use super::super::ledger::{MessageState, NONE};
use super::super::memory::{BATCH, Word, to_u8};
use super::super::state::State;
use super::check::{Violation, check};
use super::messages::{dropped, held, left_returned, oldest, released, returned, took};
use crate::protocol::blocks::{BlockKind, BlockState};

pub(super) fn block_changed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    block: u8,
    before: BlockState,
    now: BlockState,
) -> Result<(), Violation> {
    let no_transition = || "EXPLORE-1: no such transition".to_owned();
    let from = before.kind().ok_or_else(no_transition)?;
    let to = now.kind().ok_or_else(no_transition)?;
    check_holder(state, process, block, from, to)?;
    let leaves_hands = matches!(to, BlockKind::Free | BlockKind::Returned | BlockKind::Dead);
    let generation = before.generation() + u64::from(leaves_hands);
    check(now.generation() == generation, "EXPLORE-1", || {
        "the generation is wrong (BLOCK-3)".to_owned()
    })?;
    match (from, to) {
        (BlockKind::Held, BlockKind::Held) if before == now => {}
        _ => apply(state, configuration, process, block, (from, to), now)?,
    }
    if leaves_hands {
        state.ledger.holder_of[usize::from(block)] = NONE;
    }
    Ok(())
}

/// Only the process that owns a block changes it, as long as that process lives.
fn check_holder(
    state: &State,
    process: usize,
    block: u8,
    from: BlockKind,
    to: BlockKind,
) -> Result<(), Violation> {
    use BlockKind::{Free, Held, Offered, Owned, Read};
    let holder = state.ledger.holder_of[usize::from(block)];
    let is_in_hand = matches!(from, Owned | Held | Read) || from == Offered && to == Free;
    let by_another = is_in_hand && from != to && usize::from(holder) != process;
    check(!by_another || state.is_dead(holder), "EXPLORE-1", || {
        format!("process {holder} lives, and its block was changed")
    })
}

/// Records a transition of `block` in the ledger.
fn apply(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    block: u8,
    transition: (BlockKind, BlockKind),
    now: BlockState,
) -> Result<(), Violation> {
    use BlockKind::{Dead, Free, Held, Offered, Owned, Read, Returned};
    let index = usize::from(block);
    let message = state.ledger.message_in[index];
    match transition {
        (Free, Owned) => {
            set_holder(state, process, block);
            for process in &mut state.processes {
                process.facts.free &= !(1 << block);
            }
            state.ledger.message_in[index] = NONE;
            Ok(())
        }
        (Owned, Offered) => {
            let sent = state.processes[process].local.sent;
            let last = configuration.message(process, sent);
            let is_batch = state.memory.is_batch(block);
            state.ledger.message_in[index] = last - if is_batch { BATCH - 1 } else { 0 };
            Ok(())
        }
        (Offered, Held) => {
            state.ledger.holder_of[index] = held(state, message, now)?;
            Ok(())
        }
        (Held, Free) => released(state, process, block),
        (Held, Returned | Dead) => returned(state, configuration, process, block, now),
        (Owned | Offered, Free) => {
            let sent = state.ledger.messages.get(usize::from(message));
            let was_sent = sent.is_some_and(|&sent| sent != MessageState::Unsent);
            check(transition.0 == Owned || !was_sent, "EXPLORE-5", || {
                format!("message {message} was accepted, and its block is freed")
            })
        }
        (Returned, Held) => {
            let first = oldest(state, state.processes[process].facts.announced);
            let position = state.memory.get(Word::Position(block));
            check(
                first.is_none_or(|first| position <= first),
                "EXPLORE-3",
                || format!("message {message} was taken before an older one"),
            )?;
            left_returned(state, block);
            set_holder(state, process, block);
            took(state, configuration, process, block)
        }
        (Dead | Returned, Read) => {
            left_returned(state, block);
            set_holder(state, process, block);
            for message in state.ledger.unsettled(&state.memory, block) {
                state.ledger.messages[message] = MessageState::DeadLetter;
            }
            Ok(())
        }
        (Read, Dead) => Ok(()),
        (Read, Free) => {
            let is_batch = state.memory.is_batch(block);
            for message in state.ledger.unsettled(&state.memory, block) {
                check(!is_batch, "EXPLORE-5", || {
                    format!("dead letter {message} is lost")
                })?;
                state.ledger.messages[message] = MessageState::Discarded;
            }
            Ok(())
        }
        (from @ (Dead | Returned), Free) => dropped(state, block, from),
        _ => check(false, "EXPLORE-1", || "no such transition".to_owned()),
    }
}

fn set_holder(state: &mut State, process: usize, block: u8) {
    state.ledger.holder_of[usize::from(block)] = to_u8(process as u64);
}
