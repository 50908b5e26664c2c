//! The beginning and the end of a call.

use super::super::call::{Call, Outcome};
use super::super::configuration::Configuration;
use super::super::ledger::MessageState;
use super::super::process::CallFacts;
use super::super::state::State;
use super::check::{Violation, check};
use super::membership::arrived;
use super::memory::check_refusal;
use crate::protocol::blocks::BlockKind;

/// Records the facts on which the outcome of the call that `process` now begins may rely.
pub(in super::super) fn call_began(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
) {
    let ledger = &state.ledger;
    let lifecycle = state.memory.lifecycle();
    let facts = CallFacts {
        closing: lifecycle.is_closing(),
        closed_reported: ledger.closed_reported,
        has_message: !ledger.queued.is_empty() || ledger.announced != 0,
        has_room: ledger.queued.len() < configuration.limits.capacity as usize,
        free: state.blocks(configuration, BlockKind::Free),
        announced: ledger.announced,
        returned: if lifecycle.has_ended() {
            0
        } else {
            state.blocks(configuration, BlockKind::Returned)
        },
        cancelled: lifecycle.is_cancelled(),
    };
    let none = CallFacts::default();
    let process = &mut state.processes[process];
    // Facts that do not matter for the call are left out, so that states that differ in them only are the same.
    process.facts = match process.call {
        Call::Allocate | Call::AllocateUnlessClosing => CallFacts {
            free: facts.free,
            ..none
        },
        Call::Receive => CallFacts {
            free: 0,
            cancelled: false,
            closing: false,
            has_room: false,
            ..facts
        },
        Call::Publish => CallFacts {
            closing: facts.closing,
            has_room: facts.has_room,
            ..none
        },
        Call::Return | Call::Settle(_) => CallFacts {
            cancelled: facts.cancelled,
            ..none
        },
        Call::Resumed(_) => process.facts,
        _ => none,
    };
}

/// Checks the outcome of the call that `process` has ended.
pub(in super::super) fn call_ended(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    outcome: Outcome,
) -> Result<(), Violation> {
    let (facts, call) = (
        state.processes[process].facts,
        state.processes[process].call,
    );
    match outcome {
        Outcome::Corrupt(corrupt) => check(false, "EXPLORE-12", || corrupt.what().to_owned()),
        Outcome::Empty => check(!facts.has_message, "EXPLORE-7", || {
            format!("process {process} got Empty, and the queue was never empty")
        }),
        Outcome::Full => check(!facts.has_room, "EXPLORE-7", || {
            format!("process {process} got Full, and the queue was never full")
        }),
        Outcome::Unavailable if matches!(call, Call::Allocate | Call::AllocateUnlessClosing) => {
            check(facts.free == 0, "EXPLORE-7", || {
                format!("process {process} found no block, and one was free all the time")
            })
        }
        Outcome::Accepted => check(!facts.closing, "EXPLORE-6", || {
            "a send was accepted that began after the close".to_owned()
        }),
        Outcome::WasFirst(is_first) => {
            check(state.ledger.sealed, "EXPLORE-6", || {
                "a close has returned, and the queue is not sealed".to_owned()
            })?;
            let is_second = is_first && state.ledger.first_closer_reported;
            state.ledger.first_closer_reported |= is_first;
            check(!is_second, "EXPLORE-11", || {
                "two closers were told that they were the first".to_owned()
            })
        }
        Outcome::Done if matches!(call, Call::HandOff(_)) => {
            arrived(state, configuration, process);
            Ok(())
        }
        Outcome::NoMemory => check_refusal(configuration, call),
        Outcome::Closed => got_closed(state, configuration, process),
        Outcome::Block(holding) if call.receives() => {
            check(!facts.closed_reported, "EXPLORE-8", || {
                format!("process {process} received a message after Closed")
            })?;
            let word = state.memory.block(holding.block);
            let is_its = word.bits() == holding.word
                && usize::from(state.ledger.holder_of[usize::from(holding.block)]) == process;
            check(is_its, "EXPLORE-1", || {
                format!("process {process} received a message that it does not hold: {word:?}")
            })
        }
        _ => Ok(()),
    }
}

fn got_closed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
) -> Result<(), Violation> {
    let lifecycle = state.memory.lifecycle();
    check(lifecycle.is_closing(), "EXPLORE-8", || {
        format!("process {process} got Closed, and the queue is open")
    })?;
    if !state.processes[process].call.receives() {
        return Ok(());
    }
    let ledger = &mut state.ledger;
    ledger.closed_reported = true;
    if lifecycle.is_cancelled() {
        return Ok(());
    }
    check(ledger.queued.is_empty(), "EXPLORE-8", || {
        format!("process {process} got Closed, and messages are left in the ring")
    })?;
    let is_open = |message| matches!(message, &MessageState::Taken | &MessageState::Returned);
    let has_open = ledger.messages.iter().any(is_open);
    check(
        !(configuration.limits.close_waits_for_leases && has_open),
        "EXPLORE-8",
        || {
            format!(
                "process {process} got Closed from a settled queue, and a message is not settled"
            )
        },
    )
}
