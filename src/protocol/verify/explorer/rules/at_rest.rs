//! What must hold when nothing moves.

use super::super::configuration::Configuration;
use super::super::heap_queue::stats;
use super::super::ledger::{MAX_MESSAGES, MessageState};
use super::super::state::State;
use super::check::{Violation, check};
use super::membership::check_sides;
use super::memory::check_memory_at_rest;
use crate::protocol::blocks::BlockKind;
use crate::protocol::steps::stats::MessageStats;

/// Checks that the queue's own statistics equal the ledger.
pub(in super::super) fn check_stats(
    state: &State,
    configuration: &'static Configuration,
) -> Result<(), Violation> {
    let ledger = &state.ledger;
    let count = |wanted: MessageState| {
        let messages = ledger.messages.iter();
        messages.filter(|&&message| message == wanted).count() as u64
    };
    let lifecycle = state.memory.lifecycle();
    // Once the queue has ended, Returned messages are dead letters.
    let (returned, late) = match count(MessageState::Returned) {
        late if lifecycle.has_ended() && !lifecycle.is_cancelled() => (0, late),
        returned => (returned, 0),
    };
    let counted = stats(configuration, &state.memory);
    let counted = MessageStats {
        accepted: counted.accepted - configuration.start(),
        ..counted
    };
    let expected = MessageStats {
        accepted: MAX_MESSAGES as u64 - count(MessageState::Unsent),
        queued: count(MessageState::Queued),
        held: count(MessageState::Taken),
        returned,
        dead_letters: count(MessageState::DeadLetter) + late,
        ..counted
    };
    check(counted == expected, "EXPLORE-13", || {
        format!("{counted:?} instead of {expected:?}")
    })
}

/// Checks what must hold when nothing moves and the dead are recovered.
pub(in super::super) fn check_at_rest(
    state: &State,
    configuration: &'static Configuration,
) -> Result<(), Violation> {
    check_stats(state, configuration)?;
    check_memory_at_rest(state, configuration)?;
    let counted = stats(configuration, &state.memory);
    let limit = configuration.limits.max_dead_letters.into();
    check(counted.dead_letters <= limit, "EXPLORE-14", || {
        format!("{} dead letters are kept", counted.dead_letters)
    })?;
    let is_cancelled = state.memory.lifecycle().is_cancelled();
    // If the canceller has died before it was done, messages in the ring wait for a receiver that discards them.
    let waiting = if state.deaths > 0 {
        counted.returned
    } else {
        counted.returned + counted.queued
    };
    check(!is_cancelled || waiting == 0, "EXPLORE-14", || {
        format!("{waiting} messages wait in a cancelled queue")
    })
}

/// Checks that a process that ran alone has received each message that no process holds.
pub(in super::super) fn check_all_received(state: &State) -> Result<(), Violation> {
    let waits = |message| matches!(message, &MessageState::Queued | &MessageState::Returned);
    let left = state.ledger.messages.iter().position(waits);
    check(left.is_none(), "EXPLORE-16", || {
        format!("message {left:?} is in no process's hands and can't be received")
    })
}

/// Checks a state in which each process is finished or dead, and a probe has received everything.
pub(in super::super) fn check_final(
    state: &State,
    configuration: &Configuration,
) -> Result<(), Violation> {
    for block in 0..configuration.blocks {
        let word = state.memory.block(block);
        let holder = state.ledger.holder_of[usize::from(block)];
        let is_in_hand = !state.is_dead(holder)
            && matches!(
                word.kind(),
                Some(BlockKind::Held | BlockKind::Owned | BlockKind::Offered)
            );
        check(word.is(BlockKind::Free) || is_in_hand, "EXPLORE-5", || {
            format!("block {block} is leaked: {word:?}")
        })?;
    }
    for (number, &message) in state.ledger.messages.iter().enumerate() {
        let is_kept =
            message == MessageState::Taken && !state.is_dead(state.ledger.taker_of[number]);
        let is_over = message == MessageState::Unsent || message.is_final();
        check(is_kept || is_over, "EXPLORE-5", || {
            format!("message {number} is lost: {message:?}")
        })?;
    }
    check_sides(state, configuration)
}
