//! Changes of the mark of a message in a batch.

use super::super::call::Call;
use super::super::configuration::Configuration;
use super::super::ledger::MessageState;
use super::super::state::State;
use super::check::{Violation, check};
use crate::protocol::batch::MessageMark;
use crate::protocol::blocks::BlockKind;

/// Checks a change of the mark of a message, which is named by its block and its number in the batch.
pub(super) fn mark_changed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    (block, message): (u8, u8),
    before: MessageMark,
    now: MessageMark,
) -> Result<(), Violation> {
    let word = state.memory.block(block);
    let is_its = usize::from(state.ledger.holder_of[usize::from(block)]) == process;
    let is_in_hand = matches!(
        word.kind(),
        Some(BlockKind::Owned | BlockKind::Held | BlockKind::Read)
    );
    check(is_its && is_in_hand, "EXPLORE-1", || {
        "a mark was changed by a process that does not hold the batch (BATCH-1)".to_owned()
    })?;
    if word.is(BlockKind::Owned) {
        return Ok(());
    }
    let number = usize::from(state.ledger.message_in[usize::from(block)] + message);
    let ledger = &mut state.ledger;
    if now.deliveries() != before.deliveries() {
        ledger.deliveries[number] += 1;
        let deliveries = ledger.deliveries[number];
        let is_right =
            deliveries == now.deliveries() && deliveries <= configuration.limits.max_deliveries;
        let is_taken = ledger.messages[number] == MessageState::Taken;
        check(is_right && is_taken, "EXPLORE-4", || {
            format!("message {number} was delivered {deliveries} times")
        })?;
    }
    if now.is_done() && !before.is_done() {
        let is_dead_letter = word.is(BlockKind::Read);
        let expected = if is_dead_letter {
            MessageState::DeadLetter
        } else {
            MessageState::Taken
        };
        check(ledger.messages[number] == expected, "EXPLORE-5", || {
            format!("message {number} ended twice")
        })?;
        ledger.messages[number] = match state.processes[process].call {
            _ if !is_dead_letter => MessageState::Acknowledged,
            Call::DiscardDeadLetter => MessageState::Discarded,
            _ => MessageState::Evicted,
        };
        let was_delivered = is_dead_letter || ledger.deliveries[number] > 0;
        check(was_delivered, "EXPLORE-4", || {
            format!("message {number} is done and was never delivered (BATCH-2)")
        })?;
    }
    Ok(())
}
