//! This process's attachment to one queue: the mapping, the row in the peers table, and the count of the
//! handles that share both.
//!
//! ATTACH-1. The row has a role as long as a handle of that role lives; the last one to go gives it up, which may
//!     close the queue.
//! ATTACH-2. The row is vacated when nothing of this process refers to the queue any more, leases included; and the last
//!     sender withdraws the reservations that were forgotten ([`core::mem::forget`]). So a free row owns no block. A
//!     lease that was forgotten keeps the attachment, and its message, until the process ends.
//! ATTACH-3. A forked child has a copy of all this, but is not attached: whatever is called there asks first
//!     ([`Attachment::is_forked_child`]), and dropping the copy releases nothing.

use super::liveness::LivenessPacer;
use crate::os::identity::Identity;
use crate::os::{identity, locks, memory};
use crate::protocol::ids::PeerIndex;
use crate::protocol::lifecycle::Arrival;
use crate::protocol::peers::{PeerIdentity, PeerKind, PeerState, Role, Roles};
use crate::protocol::steps::{membership, send};
use crate::protocol::{Corrupt, SharedState};
use crate::segment::Segment;
use crate::segment::sweep::SweepScope;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// See the module.
#[derive(Debug)]
pub(crate) struct Attachment {
    segment: Segment,
    row: PeerIndex,
    /// The row word as this process left it.
    tenant: Mutex<PeerState>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// Whether a block was ever reserved. The caller has the reservation, and may have forgotten it.
    reserved: AtomicBool,
    /// For operations that have no handle: those on leases.
    pacer: LivenessPacer,
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
    /// This is a forked child of the attached process.
    Forked,
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
fn lock_free_row(segment: &Segment, file: impl AsFd) -> Result<(PeerIndex, PeerState), Refused> {
    for row in (0..segment.peer_count()).filter_map(PeerIndex::new) {
        let Some(word) = segment.peer(row) else {
            continue;
        };
        let seen = word.load();
        if seen.kind() != Some(PeerKind::Free) {
            continue;
        }
        let byte = segment.geometry().lock_byte(row, seen.incarnation().get());
        if !mutant!(LockByteNotTaken) && !locks::try_lock(&file, byte)? {
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

fn tag(identity: Identity) -> PeerIdentity {
    PeerIdentity {
        process: identity.process,
        pid_namespace: identity.pid_namespace,
        time_namespace: identity.time_namespace,
        image: identity.image,
    }
}

impl Attachment {
    /// Attach the process that has made the segment, with both roles, one handle each.
    pub(super) fn create(segment: Segment) -> Result<Self, Refused> {
        Self::settle(segment, Roles::BOTH, identity::current()?)
    }

    /// Attach to a queue that others have been using, with these roles, one handle each. The segment's file must be
    /// a description of this process's own.
    pub(super) fn join(segment: Segment, roles: Roles) -> Result<Self, Refused> {
        let identity = identity::current()?;
        // What the dead have left would otherwise wait for the first sweep: their rows, and their messages.
        let recovered = segment.sweep_before_attaching(&identity);
        let attachment = Self::settle(segment, roles, identity)?;
        if recovered {
            attachment.segment.finish_stalled_blocks();
        }
        Ok(attachment)
    }

    fn settle(segment: Segment, roles: Roles, identity: Identity) -> Result<Self, Refused> {
        let (row, seen) = lock_free_row(&segment, segment.file())?;
        let word = segment.peer(row).ok_or(Corrupt::NoSuchPeer)?;
        word.set_identity(tag(identity));
        let tenant = word.attach(seen, roles).ok_or(Corrupt::PeerChanged)?;
        match membership::arrive(&segment, row, tenant, roles)? {
            Arrival::Counted => Ok(Self::new(segment, row, tenant, roles, identity)),
            Arrival::TooLate => Err(Refused::Closed),
        }
    }

    /// This very attachment again, to a copy of the segment: in the same row, with the same roles, one handle each.
    #[cfg(feature = "test-hooks")]
    pub(super) fn repeat(&self, copy: Segment) -> Result<Self, Refused> {
        let tenant = *self.tenant.lock();
        let word = copy.peer(self.row).ok_or(Corrupt::NoSuchPeer)?;
        let byte = copy.lock_byte(self.row, tenant);
        // If it is the segment itself, the lock is taken.
        if word.load() != tenant || !locks::try_lock(copy.file(), byte)? {
            return Err(Corrupt::PeerChanged.into());
        }
        let identity = identity::current()?;
        Ok(Self::new(copy, self.row, tenant, tenant.roles(), identity))
    }

    /// Attach to a queue that this process was given a ticket for; `file` is the description with the
    /// ticket's lock, and the segment's. `None`: the ticket has been used.
    pub(super) fn redeem(
        segment: Segment,
        row: PeerIndex,
        ticket: PeerState,
        role: Role,
        identity: Identity,
    ) -> Result<Option<Self>, Corrupt> {
        let word = segment.peer(row).ok_or(Corrupt::NoSuchPeer)?;
        if !word.claim_ticket(tag(identity)) {
            return Ok(None);
        }
        let Some(tenant) = word.attach(ticket, Roles::only(role)) else {
            return Ok(None);
        };
        let roles = Roles::only(role);
        let attachment = Self::new(segment, row, tenant, roles, identity);
        // It may have executed this program again, and used the queue before.
        attachment.segment.check_process(identity.process_id());
        Ok(Some(attachment))
    }

    fn new(
        segment: Segment,
        row: PeerIndex,
        tenant: PeerState,
        roles: Roles,
        me: Identity,
    ) -> Self {
        segment.set_own_peer(row, me);
        let one_if = |role| AtomicUsize::new(usize::from(roles.has(role)));
        Self {
            segment,
            row,
            tenant: Mutex::new(tenant),
            senders: one_if(Role::Sender),
            receivers: one_if(Role::Receiver),
            reserved: AtomicBool::new(false),
            pacer: LivenessPacer::new(),
            leases: AtomicUsize::new(0),
            leasing: Mutex::new(()),
        }
    }

    #[inline(always)]
    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    #[inline(always)]
    pub(super) fn row(&self) -> PeerIndex {
        self.row
    }

    /// Whether this is a forked child of the process that is attached (ATTACH-3).
    #[inline(always)]
    pub(super) fn is_forked_child(&self) -> bool {
        self.segment.is_forked_child()
    }

    /// Counts an operation on a lease: see [`LivenessPacer::count`].
    #[inline(always)]
    pub(super) fn count_operation(&self) {
        self.pacer.count(&self.segment);
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

    /// One handle less; the last one gives up the role (ATTACH-1).
    pub(super) fn drop_handle(&self, role: Role) {
        if self.is_forked_child() || mutant!(LastHandleKeepsRole) {
            return;
        }
        // AcqRel: what all handles did comes before the role is given up.
        if self.handles(role).fetch_sub(1, Ordering::AcqRel) == 1 {
            if role == Role::Sender {
                self.withdraw_forgotten();
            }
            let mut tenant = self.tenant.lock();
            if let Ok(left) = membership::leave(&self.segment, self.row, *tenant, role) {
                *tenant = left;
            }
            let others = self.count(Role::Sender) + self.count(Role::Receiver);
            if mutant!(PeerVacatedWithLeases) && others == 0 {
                let _ = membership::vacate(&self.segment, self.row, *tenant);
            }
        }
    }

    /// Notes that a caller is about to get a block in hand, in a guard that it may forget.
    pub(super) fn note_reservation(&self) {
        // Relaxed: dropping the last sender, which looks at it, comes after all that other senders did.
        self.reserved.store(true, Ordering::Relaxed);
    }

    /// Frees the blocks of reservations that were forgotten: there is no sender that one could borrow from (ATTACH-2).
    fn withdraw_forgotten(&self) {
        if self.reserved.load(Ordering::Relaxed)
            && send::withdraw_leaked(&self.segment, self.row) > 0
        {
            self.segment.trim_all(self.row);
        }
    }

    /// Promise a row with `role` to a child: its lock belongs to the returned description, which the child
    /// alone is to inherit.
    pub(super) fn make_ticket(
        &self,
        role: Role,
    ) -> Result<(OwnedFd, PeerIndex, PeerState), Refused> {
        if self.is_forked_child() {
            return Err(Refused::Forked);
        }
        let file = memory::reopen(self.segment.file())?;
        self.segment.sweep_if_due(SweepScope::Peers);
        let (row, seen) = match lock_free_row(&self.segment, &file) {
            Err(Refused::TooManyPeers) => {
                // Some of them may be dead.
                self.segment.sweep(SweepScope::Peers);
                lock_free_row(&self.segment, &file)?
            }
            found => found?,
        };
        let word = self.segment.peer(row).ok_or(Corrupt::NoSuchPeer)?;
        let roles = Roles::only(role);
        let ticket = word.issue_ticket(seen, roles).ok_or(Corrupt::PeerChanged)?;
        match membership::arrive(&self.segment, row, ticket, roles)? {
            Arrival::Counted => Ok((file, row, ticket)),
            Arrival::TooLate => Err(Refused::Closed),
        }
    }

    /// Undo a ticket that no child has used, and that none will.
    pub(super) fn void_ticket(&self, row: PeerIndex, ticket: PeerState) {
        if self.is_forked_child() || mutant!(TicketNotVoided) {
            return;
        }
        // If it is not the same any more, the child has used it after all.
        let _ = membership::vacate(&self.segment, row, ticket);
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.is_forked_child() {
            return;
        }
        // Nothing that a caller could do about a corrupt row here; every operation reports it.
        let _ = membership::vacate(&self.segment, self.row, *self.tenant.get_mut());
    }
}
