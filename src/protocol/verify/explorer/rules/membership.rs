//! Changes of the lifecycle word and of peer entries, and the end of a side.

use super::super::call::Call;
use super::super::configuration::Configuration;
use super::super::state::State;
use super::check::{Violation, check};
use crate::protocol::blocks::BlockKind;
use crate::protocol::lifecycle::LifecycleState;
use crate::protocol::peers::{PeerKind, Role};

const ROLES: [Role; 2] = [Role::Sender, Role::Receiver];

/// Returns whether the queue closes when the last process with this role leaves.
fn closes_after_last(configuration: &Configuration, role: Role) -> bool {
    match role {
        Role::Sender => configuration.limits.close_on_last_sender,
        Role::Receiver => configuration.limits.close_on_last_receiver,
    }
}

/// Returns whether a living process has the role, as far as its user knows.
fn is_present(state: &State, configuration: &Configuration, role: Role) -> bool {
    (0..configuration.peers()).any(|peer| {
        let entry = state.memory.peer(peer);
        // A process whose arrival is counted has the role, even if its peer entry does not say so yet.
        let has_role = entry.has_role(role) || !entry.is_taken();
        has_role
            && state.ledger.arrived >> peer & 1 != 0
            && state.is_locked(peer, entry.incarnation().get())
    })
}

/// Records an arrival in each peer entry that `process` has the lock of: its own, or the one of a ticket that it makes.
pub(super) fn arrived(state: &mut State, configuration: &Configuration, process: usize) {
    let is_its = |peer: &u8| {
        let incarnation = state.memory.peer(*peer).incarnation().get();
        state.processes[process].has_lock(*peer, incarnation)
    };
    let peers = (0..configuration.peers()).filter(is_its);
    state.ledger.arrived |= peers.fold(0, |mask, peer| mask | 1 << peer);
}

pub(super) fn lifecycle_changed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    before: u64,
) -> Result<(), Violation> {
    let before = LifecycleState::from_bits(before);
    let now = state.memory.lifecycle();
    if before.arrivals() != now.arrivals() {
        arrived(state, configuration, process);
    }
    if now.has_ended() && !before.has_ended() {
        let has_returned = state.processes[process].facts.returned != 0;
        check(now.is_cancelled() || !has_returned, "EXPLORE-8", || {
            "the queue has ended, and a message was Returned before".to_owned()
        })?;
        // From now on Returned messages are dead letters.
        state.ledger.announced = 0;
        for process in &mut state.processes {
            process.facts.announced = 0;
            process.facts.returned = 0;
        }
    }
    let is_asked = matches!(state.processes[process].call, Call::Close | Call::Cancel);
    if is_asked || before.is_closing() || !now.is_closing() {
        return Ok(());
    }
    let is_over = |role: Role| {
        closes_after_last(configuration, role)
            && now.had(role)
            && !is_present(state, configuration, role)
    };
    check(ROLES.into_iter().any(is_over), "EXPLORE-10", || {
        format!("process {process} ended a side that a process still has")
    })
}

pub(super) fn peer_changed(
    state: &mut State,
    configuration: &Configuration,
    process: usize,
    peer: u8,
) -> Result<(), Violation> {
    if state.memory.peer(peer).kind() != Some(PeerKind::Free) {
        return Ok(());
    }
    state.ledger.arrived &= !(1 << peer);
    for block in 0..configuration.blocks {
        let word = state.memory.block(block);
        let is_in_hand = matches!(
            word.kind(),
            Some(BlockKind::Owned | BlockKind::Held | BlockKind::Read)
        );
        let is_its = word.peer().get() == u16::from(peer);
        check(!(is_in_hand && is_its), "EXPLORE-1", || {
            format!(
                "process {process} freed peer entry {peer}, which owns block {block} \
                 (PEER-4): {word:?}"
            )
        })?;
    }
    Ok(())
}

/// Checks that no end of a side was missed.
pub(super) fn check_sides(state: &State, configuration: &Configuration) -> Result<(), Violation> {
    let lifecycle = state.memory.lifecycle();
    for role in ROLES {
        let is_over = closes_after_last(configuration, role)
            && lifecycle.had(role)
            && !is_present(state, configuration, role);
        check(!is_over || lifecycle.is_closing(), "EXPLORE-10", || {
            format!("no process is left with the role {role:?}, and the queue is open")
        })?;
    }
    Ok(())
}
