//! Coming and going: who has which role, and the end of a side.

use super::super::lifecycle::Arrival;
use super::super::peers::{PeerIndex, PeerState, Role, Roles};
use super::super::{Corrupt, SharedState};
use super::{close, wake_all};
use crate::sync::fence_after_exchange;

/// Count a process, or a ticket for one, whose row has just become Live or Ticket. If the queue is closing,
/// the row is undone instead.
pub(crate) fn arrive<S: SharedState>(
    shared: &S,
    peer: PeerIndex,
    tenant: PeerState,
    roles: Roles,
) -> Result<Arrival, Corrupt> {
    let arrival = shared.lifecycle().arrive(roles);
    if arrival == Arrival::TooLate {
        vacate(shared, peer, tenant)?;
    }
    Ok(arrival)
}

/// The process of `row` no longer has `role`. If it was the last one, that ends the queue.
pub(crate) fn leave<S: SharedState>(
    shared: &S,
    peer: PeerIndex,
    tenant: PeerState,
    role: Role,
) -> Result<PeerState, Corrupt> {
    let word = shared.peer(peer).ok_or(Corrupt::NoSuchPeer)?;
    let left = word.drop_role(tenant, role).ok_or(Corrupt::PeerChanged)?;
    close_if_role_vacant(shared, role)?;
    Ok(left)
}

/// The row has no tenant any more. If a role went with it, that may end the queue.
pub(crate) fn vacate<S: SharedState>(
    shared: &S,
    peer: PeerIndex,
    tenant: PeerState,
) -> Result<(), Corrupt> {
    let word = shared.peer(peer).ok_or(Corrupt::NoSuchPeer)?;
    word.vacate(tenant).ok_or(Corrupt::PeerChanged)?;
    for role in [Role::Sender, Role::Receiver] {
        if tenant.has_role(role) {
            close_if_role_vacant(shared, role)?;
        }
    }
    Ok(())
}

/// Close the queue if there was once a process with `role` and there is none now (LIFE-3).
pub(crate) fn close_if_role_vacant<S: SharedState>(shared: &S, role: Role) -> Result<(), Corrupt> {
    let limits = shared.limits();
    let ends = match role {
        Role::Sender => limits.close_on_last_sender,
        Role::Receiver => limits.close_on_last_receiver,
    };
    if !ends {
        return Ok(());
    }
    // Two last leavers must not miss each other: each has given up its row by an exchange before this fence, so
    // at least one of them sees both rows without the role.
    fence_after_exchange();
    loop {
        let seen = shared.lifecycle().load();
        if seen.is_closing() || !seen.had(role) || any_peer_has(shared, role) {
            return Ok(());
        }
        if shared.lifecycle().close_if_still(seen) {
            close::seal(shared)?;
            wake_all(shared);
            return Ok(());
        }
    }
}

fn any_peer_has<S: SharedState>(shared: &S, role: Role) -> bool {
    (0..shared.peer_count())
        .filter_map(PeerIndex::new)
        .filter_map(|peer| shared.peer(peer))
        .any(|peer| peer.load().has_role(role))
}
