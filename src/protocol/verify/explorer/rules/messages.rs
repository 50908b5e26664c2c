//! What the transitions of a block mean for its messages.

use super::super::action::Settlement;
use super::super::call::Call;
use super::super::configuration::Configuration;
use super::super::ledger::MessageState;
use super::super::memory::{BATCH, Word, to_u8};
use super::super::state::State;
use super::check::{Violation, check};
use crate::protocol::blocks::{BlockKind, BlockState};

/// `Take` and `Retake`: `process` now holds the message or batch in `block`.
pub(super) fn took(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    block: u8,
) -> Result<(), Violation> {
    for (number, other) in state.processes.iter_mut().enumerate() {
        other.facts.has_message &= number == process;
    }
    let is_batch = state.memory.is_batch(block);
    for message in state.ledger.unsettled(&state.memory, block) {
        let ledger = &mut state.ledger;
        ledger.messages[message] = MessageState::Taken;
        ledger.taker_of[message] = to_u8(process as u64);
        // The messages of a batch are delivered one by one, later.
        ledger.deliveries[message] += u8::from(!is_batch);
        let deliveries = ledger.deliveries[message];
        check(
            deliveries <= configuration.limits.max_deliveries,
            "EXPLORE-4",
            || format!("message {message} was delivered {deliveries} times"),
        )?;
    }
    Ok(())
}

/// `Hold`: returns the process that took the message.
pub(super) fn held(state: &State, message: u8, now: BlockState) -> Result<u8, Violation> {
    let is_taken = state.ledger.messages.get(usize::from(message)) == Some(&MessageState::Taken);
    check(is_taken, "EXPLORE-1", || {
        format!("message {message} became Held, and nothing has taken it")
    })?;
    let taker = state.ledger.taker_of[usize::from(message)];
    let process = state.processes.get(usize::from(taker));
    let peer = process.map(|process| process.local.peer.into());
    let is_right = state.is_dead(taker) || peer == Some(now.peer().get());
    check(is_right, "EXPLORE-1", || {
        format!("message {message} was taken by process {taker}")
    })?;
    Ok(taker)
}

/// `Release`, by an acknowledgement or a cancel.
pub(super) fn released(state: &mut State, process: usize, block: u8) -> Result<(), Violation> {
    let cancelled = state.memory.lifecycle().is_cancelled();
    let is_batch = state.memory.is_batch(block);
    let unsettled: Vec<usize> = state.ledger.unsettled(&state.memory, block).collect();
    let acknowledges = match state.processes[process].call {
        Call::Acknowledge => true,
        Call::Settle(Settlement::Acknowledge | Settlement::AcknowledgeBatch) if !is_batch => true,
        Call::Settle(Settlement::AcknowledgeBatch) => unsettled.len() == usize::from(BATCH),
        _ => false,
    };
    check(is_batch || !unsettled.is_empty(), "EXPLORE-5", || {
        format!("the message of block {block} ended twice")
    })?;
    for message in unsettled {
        let now = &mut state.ledger.messages[message];
        check(*now == MessageState::Taken, "EXPLORE-5", || {
            format!("message {message} ended twice")
        })?;
        check(acknowledges || cancelled, "EXPLORE-5", || {
            format!("message {message} is lost")
        })?;
        *now = if acknowledges {
            MessageState::Acknowledged
        } else {
            MessageState::Discarded
        };
    }
    Ok(())
}

/// `Return` and `Reclaim`: the messages in `block` are Returned, or dead letters.
pub(super) fn returned(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    block: u8,
    now: BlockState,
) -> Result<(), Violation> {
    let limit = configuration.limits.max_deliveries;
    let call = state.processes[process].call;
    let cancelled_before = state.processes[process].facts.cancelled;
    let is_dead = now.is(BlockKind::Dead);
    let is_batch = state.memory.is_batch(block);
    let rejects = matches!(call, Call::Reject | Call::Settle(Settlement::Reject));
    let first = state.ledger.message_in[usize::from(block)];
    let unsettled: Vec<usize> = state.ledger.unsettled(&state.memory, block).collect();
    check(!unsettled.is_empty(), "EXPLORE-5", || {
        "a block without a message was returned".to_owned()
    })?;
    let mut any_live = false;
    for &message in &unsettled {
        let before = state.ledger.messages[message];
        check(before == MessageState::Taken, "EXPLORE-5", || {
            format!("message {message} was returned twice")
        })?;
        check(!cancelled_before, "EXPLORE-5", || {
            format!("message {message} was returned after the cancel")
        })?;
        let deliveries = state.ledger.deliveries[message];
        let is_right = if is_batch {
            let mark = state.memory.mark(block, to_u8(message as u64) - first);
            any_live |= mark.is_live(limit);
            mark.deliveries() == deliveries
        } else {
            rejects || (deliveries >= limit) == is_dead && now.failed_deliveries() == deliveries
        };
        check(is_right, "EXPLORE-4", || {
            format!("message {message} was delivered {deliveries} times")
        })?;
    }
    check(!is_batch || any_live != is_dead, "EXPLORE-4", || {
        "a batch is dead, and some of its messages may be delivered again".to_owned()
    })?;
    for message in unsettled {
        state.ledger.messages[message] = if is_dead {
            MessageState::DeadLetter
        } else {
            MessageState::Returned
        };
    }
    Ok(())
}

/// `Evict` and `Discard`, by a process that has not opened the block.
pub(super) fn dropped(state: &mut State, block: u8, from: BlockKind) -> Result<(), Violation> {
    let lifecycle = state.memory.lifecycle();
    let is_discard = from == BlockKind::Returned && lifecycle.is_cancelled();
    let is_dead_letter = from == BlockKind::Dead || lifecycle.has_ended();
    check(is_dead_letter || is_discard, "EXPLORE-5", || {
        format!("the message of block {block} waits to be delivered, and is dropped")
    })?;
    left_returned(state, block);
    for message in state.ledger.unsettled(&state.memory, block) {
        state.ledger.messages[message] = if is_discard {
            MessageState::Discarded
        } else {
            MessageState::Evicted
        };
    }
    Ok(())
}

/// Records that `block` is not Returned any more.
pub(super) fn left_returned(state: &mut State, block: u8) {
    let others = !(1 << block);
    state.ledger.announced &= others;
    for process in &mut state.processes {
        process.facts.announced &= others;
        process.facts.returned &= others;
    }
}

/// Returns the lowest position of the messages in `blocks`.
pub(super) fn oldest(state: &State, blocks: u8) -> Option<u64> {
    (0..8)
        .filter(|block| blocks >> block & 1 != 0)
        .map(|block| state.memory.get(Word::Position(block)))
        .min()
}
