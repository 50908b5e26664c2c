//! Membership: processes get and give up roles, and the last one of a role closes the queue.

use super::seal::seal;
use super::wake::wake_all;
use crate::protocol::ids::PeerIndex;
use crate::protocol::lifecycle::Arrival;
use crate::protocol::peers::{PeerState, Role, Roles};
use crate::protocol::{Corrupt, SharedState};
use crate::sync::fence_after_exchange;

/// Counts a process, or a ticket, whose table entry has just become Live or Ticket. If the queue is closing, the
/// entry is freed instead.
pub(crate) fn arrive<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    state: PeerState,
    roles: Roles,
) -> Result<Arrival, Corrupt> {
    let arrival = shared.lifecycle().arrive(roles);
    if arrival == Arrival::TooLate {
        vacate(shared, me, state)?;
    }
    Ok(arrival)
}

/// Gives up `role` of the process `me`, and closes the queue if it was the last one. Returns the new state of the
/// entry.
pub(crate) fn leave<S: SharedState>(
    shared: &S,
    me: PeerIndex,
    state: PeerState,
    role: Role,
) -> Result<PeerState, Corrupt> {
    let entry = shared.peer(me).ok_or(Corrupt::NoSuchPeer)?;
    let left = entry.drop_role(state, role).ok_or(Corrupt::PeerChanged)?;
    close_if_role_vacant(shared, role)?;
    Ok(left)
}

/// Frees a table entry, and closes the queue if that gave up the last one of a role. Transition `Vacate`.
pub(crate) fn vacate<S: SharedState>(
    shared: &S,
    peer: PeerIndex,
    state: PeerState,
) -> Result<(), Corrupt> {
    let entry = shared.peer(peer).ok_or(Corrupt::NoSuchPeer)?;
    let _free = entry.vacate(state).ok_or(Corrupt::PeerChanged)?;
    for role in [Role::Sender, Role::Receiver] {
        if state.has_role(role) {
            close_if_role_vacant(shared, role)?;
        }
    }
    Ok(())
}

/// Closes the queue if it had a process with `role` and has none now, and its limits say so (LIFE-3).
pub(crate) fn close_if_role_vacant<S: SharedState>(shared: &S, role: Role) -> Result<(), Corrupt> {
    let limits = shared.limits();
    let closes = match role {
        Role::Sender => limits.close_on_last_sender,
        Role::Receiver => limits.close_on_last_receiver,
    };
    if !closes {
        return Ok(());
    }
    // Two processes that are the last to leave must not miss each other. Each has given up its role by an exchange
    // before this fence, so at least one of them sees both entries without the role.
    fence_after_exchange();
    loop {
        let seen = shared.lifecycle().load();
        if seen.is_closing() || !seen.had(role) || any_peer_has(shared, role) {
            return Ok(());
        }
        if shared.lifecycle().close_if_still(seen) {
            seal(shared)?;
            wake_all(shared);
            return Ok(());
        }
    }
}

fn any_peer_has<S: SharedState>(shared: &S, role: Role) -> bool {
    (0..shared.peer_count())
        .filter_map(PeerIndex::new)
        .filter_map(|index| shared.peer(index))
        .any(|entry| entry.load().has_role(role))
}
