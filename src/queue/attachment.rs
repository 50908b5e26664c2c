//! This process's attachment to one queue: the mapping, the row in the peers table, and the count of the
//! handles that share both.
//!
//! A1. The row has a role as long as a handle of that role lives; the last one to go gives it up, which may
//!     close the queue.
//! A2. The row is vacated when nothing of this process refers to the queue any more, leases included: so a
//!     free row holds no block.

use crate::os::process::Identity;
use crate::os::{locks, memory, process};
use crate::protocol::lifecycle::Arrival;
use crate::protocol::operations::sides;
use crate::protocol::peers::{PeerRow, Role, Roles, Row, Tenancy, Tenant};
use crate::protocol::{Corrupt, Words};
use crate::segment::Segment;
use crate::sync::{AtomicUsize, Ordering};
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// See the module.
#[derive(Debug)]
pub(crate) struct Attachment {
    segment: Segment,
    row: Row,
    /// The row word as this process left it.
    tenant: Mutex<Tenant>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// How many leases this process has.
    pub(super) leases: AtomicUsize,
    /// Held during an attempt to get one more, so that attempts of other threads are not taken for leases.
    /// Nobody waits with it in hand, and no release needs it.
    pub(super) leasing: Mutex<()>,
}

/// Why a row could not be had.
#[derive(Debug)]
pub(super) enum Refused {
    Closed,
    TooManyPeers,
    Corrupt(Corrupt),
    Os(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

impl From<Corrupt> for Refused {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// A row whose lock a description has got, and the word found there, Free.
fn lock_free_row(segment: &Segment, file: impl AsFd) -> Result<(Row, Tenant), Refused> {
    for row in (0..segment.row_count()).filter_map(Row::new) {
        let Some(word) = segment.row(row) else {
            continue;
        };
        let seen = word.load();
        if seen.tenancy() != Some(Tenancy::Free) {
            continue;
        }
        let byte = segment.geometry().lock_byte(row, seen.incarnation().get());
        if !locks::try_lock(&file, byte)? {
            continue;
        }
        // Once more, under the lock: the row may have had a tenant meanwhile.
        if word.load() == seen {
            return Ok((row, seen));
        }
        locks::unlock(&file, byte)?;
    }
    Err(Refused::TooManyPeers)
}

fn identify(row: &PeerRow, identity: Identity) {
    row.identify(
        identity.process,
        identity.pid_namespace,
        identity.time_namespace,
    );
}

impl Attachment {
    /// Attach the process that has made the segment, with both roles, one handle each.
    pub(super) fn create(segment: Segment) -> Result<Self, Refused> {
        let (row, seen) = lock_free_row(&segment, segment.file())?;
        let word = segment.row(row).ok_or(Corrupt::NoSuchRow)?;
        identify(word, process::identity()?);
        let tenant = word.settle(seen, Roles::BOTH).ok_or(Corrupt::RowChanged)?;
        // A new queue is open: nobody else could have closed it.
        let _: Arrival = sides::arrive(&segment, row, tenant, Roles::BOTH)?;
        Ok(Self::new(segment, row, tenant, Roles::BOTH))
    }

    /// Attach to a queue that this process was given a ticket for; `file` is the description with the
    /// ticket's lock, and the segment's. `None`: the ticket has been used.
    pub(super) fn redeem(
        segment: Segment,
        row: Row,
        ticket: Tenant,
        role: Role,
        identity: Identity,
    ) -> Result<Option<Self>, Corrupt> {
        let word = segment.row(row).ok_or(Corrupt::NoSuchRow)?;
        if !word.claim(
            identity.process,
            identity.pid_namespace,
            identity.time_namespace,
        ) {
            return Ok(None);
        }
        let Some(tenant) = word.settle(ticket, Roles::only(role)) else {
            return Ok(None);
        };
        Ok(Some(Self::new(segment, row, tenant, Roles::only(role))))
    }

    fn new(segment: Segment, row: Row, tenant: Tenant, roles: Roles) -> Self {
        let one_if = |role| AtomicUsize::new(usize::from(roles.has(role)));
        Self {
            segment,
            row,
            tenant: Mutex::new(tenant),
            senders: one_if(Role::Sender),
            receivers: one_if(Role::Receiver),
            leases: AtomicUsize::new(0),
            leasing: Mutex::new(()),
        }
    }

    #[inline(always)]
    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    #[inline(always)]
    pub(super) fn row(&self) -> Row {
        self.row
    }

    fn handles(&self, role: Role) -> &AtomicUsize {
        match role {
            Role::Sender => &self.senders,
            Role::Receiver => &self.receivers,
        }
    }

    /// How many handles of a role this process has.
    pub(super) fn count(&self, role: Role) -> u32 {
        u32::try_from(self.handles(role).load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    /// Another handle of a role that this process has, cloned from one that lives.
    pub(super) fn add_handle(&self, role: Role) {
        self.handles(role).fetch_add(1, Ordering::Relaxed);
    }

    /// One handle less; the last one gives up the role (A1).
    pub(super) fn drop_handle(&self, role: Role) {
        // AcqRel: what all handles did comes before the role is given up.
        if self.handles(role).fetch_sub(1, Ordering::AcqRel) == 1 {
            let mut tenant = self.tenant.lock();
            if let Ok(left) = sides::leave(&self.segment, self.row, *tenant, role) {
                *tenant = left;
            }
        }
    }

    /// Promise a row with `role` to a child: its lock belongs to the returned description, which the child
    /// alone is to inherit.
    pub(super) fn make_ticket(&self, role: Role) -> Result<(OwnedFd, Row, Tenant), Refused> {
        let file = memory::reopen(self.segment.file())?;
        let (row, seen) = lock_free_row(&self.segment, &file)?;
        let word = self.segment.row(row).ok_or(Corrupt::NoSuchRow)?;
        let roles = Roles::only(role);
        let ticket = word.promise(seen, roles).ok_or(Corrupt::RowChanged)?;
        match sides::arrive(&self.segment, row, ticket, roles)? {
            Arrival::Counted => Ok((file, row, ticket)),
            Arrival::TooLate => Err(Refused::Closed),
        }
    }

    /// Undo a ticket that no child has used, and that none will.
    pub(super) fn void_ticket(&self, row: Row, ticket: Tenant) {
        // If it is not the same any more, the child has used it after all.
        let _ = sides::vacate(&self.segment, row, ticket);
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        // Nothing that a caller could do about a corrupt row here; every operation reports it.
        let _ = sides::vacate(&self.segment, self.row, *self.tenant.get_mut());
    }
}
