//! Changes of a slot: `Publish`, `Take`, `Clear` and `Seal`.

use super::super::configuration::Configuration;
use super::super::ledger::{Ledger, MessageState};
use super::super::memory::to_u8;
use super::super::state::State;
use super::check::{Violation, check};
use super::messages::took;
use crate::protocol::ring::{SlotKind, SlotState};

pub(super) fn slot_changed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    before: SlotState,
    now: SlotState,
) -> Result<(), Violation> {
    use SlotKind::{Closed, Empty, Full, Vacated};
    let no_transition = || format!("no such transition: {before:?} -> {now:?}");
    let is_same_lap = before.lap() == now.lap();
    match (before.kind(), now.kind()) {
        (Empty | Vacated, Full) => {
            published(state, configuration, process, now)?;
            check(is_same_lap, "EXPLORE-1", no_transition)
        }
        (Full, Vacated) => {
            let ledger = &mut state.ledger;
            let message = ledger.message_in[now.block().get() as usize];
            let first = (!ledger.queued.is_empty()).then(|| ledger.queued.remove(0));
            check(first == Some(message), "EXPLORE-2", || {
                format!("message {message} was taken instead of {first:?}")
            })?;
            let announced = state.processes[process].facts.announced;
            check(announced == 0, "EXPLORE-3", || {
                format!("message {message} was taken before a returned one")
            })?;
            state.ledger.taken += 1;
            let block = to_u8(now.block().get().into());
            took(state, configuration, process, block)
        }
        (Vacated, Empty) if is_same_lap => Ok(()),
        (Empty | Vacated, Closed) if is_same_lap => {
            let is_first = !state.ledger.sealed;
            state.ledger.sealed = true;
            check(is_first, "EXPLORE-6", || {
                "the queue was sealed twice".to_owned()
            })
        }
        _ => check(false, "EXPLORE-1", no_transition),
    }
}

/// `Publish`.
fn published(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    now: SlotState,
) -> Result<(), Violation> {
    let ledger = &mut state.ledger;
    let block = now.block().get() as usize;
    let message = ledger.message_in[block];
    let is_its = usize::from(ledger.holder_of[block]) == process;
    check(is_its, "EXPLORE-1", || {
        format!("process {process} sent a block that it does not own")
    })?;
    check(!ledger.sealed, "EXPLORE-6", || {
        format!("message {message} was accepted after the Closed slot")
    })?;
    let members = Ledger::members(&state.memory, message, to_u8(block as u64));
    let members = ledger
        .messages
        .get_mut(members)
        .ok_or_else(|| "EXPLORE-1: a block without a message was sent".to_owned())?;
    for member in members {
        check(*member == MessageState::Unsent, "EXPLORE-5", || {
            format!("message {message} was sent twice")
        })?;
        *member = MessageState::Queued;
    }
    ledger.filled += 1;
    ledger.queued.push(message);
    let (count, capacity) = (ledger.queued.len(), configuration.limits.capacity as usize);
    check(count <= capacity, "EXPLORE-6", || {
        format!("{count} messages are in the queue")
    })?;
    if count == capacity {
        for process in &mut state.processes {
            process.facts.has_room = false;
        }
    }
    Ok(())
}
