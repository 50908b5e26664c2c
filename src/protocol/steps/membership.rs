//! Coming and going: who has which role, and the end of a side.

use super::super::lifecycle::Arrival;
use super::super::peers::{PeerIndex, Role, Roles, Tenant};
use super::super::{Corrupt, SharedState};
use super::{close, wake_everybody};
use crate::sync::fence_after_exchange;

/// Count a process, or a ticket for one, whose row has just become Live or Ticket. If the queue is closing,
/// the row is undone instead.
pub(crate) fn arrive<W: SharedState>(
    words: &W,
    row: PeerIndex,
    tenant: Tenant,
    roles: Roles,
) -> Result<Arrival, Corrupt> {
    let arrival = words.lifecycle().arrive(roles);
    if arrival == Arrival::TooLate {
        vacate(words, row, tenant)?;
    }
    Ok(arrival)
}

/// The process of `row` no longer has `role`. If it was the last one, that ends the queue.
pub(crate) fn leave<W: SharedState>(
    words: &W,
    row: PeerIndex,
    tenant: Tenant,
    role: Role,
) -> Result<Tenant, Corrupt> {
    let word = words.row(row).ok_or(Corrupt::NoSuchRow)?;
    let left = word.give_up(tenant, role).ok_or(Corrupt::RowChanged)?;
    end_if_deserted(words, role)?;
    Ok(left)
}

/// The row has no tenant any more. If a role went with it, that may end the queue.
pub(crate) fn vacate<W: SharedState>(
    words: &W,
    row: PeerIndex,
    tenant: Tenant,
) -> Result<(), Corrupt> {
    let word = words.row(row).ok_or(Corrupt::NoSuchRow)?;
    word.vacate(tenant).ok_or(Corrupt::RowChanged)?;
    for role in [Role::Sender, Role::Receiver] {
        if tenant.counts_as(role) {
            end_if_deserted(words, role)?;
        }
    }
    Ok(())
}

/// Close the queue if there was once a process with `role` and there is none now (LIFE-3).
pub(crate) fn end_if_deserted<W: SharedState>(words: &W, role: Role) -> Result<(), Corrupt> {
    let limits = words.limits();
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
        let seen = words.lifecycle().load();
        if seen.is_closing() || !seen.had(role) || has_somebody(words, role) {
            return Ok(());
        }
        if words.lifecycle().close_if_still(seen) {
            close::seal(words)?;
            wake_everybody(words);
            return Ok(());
        }
    }
}

fn has_somebody<W: SharedState>(words: &W, role: Role) -> bool {
    (0..words.row_count())
        .filter_map(PeerIndex::new)
        .filter_map(|row| words.row(row))
        .any(|row| row.load().counts_as(role))
}
