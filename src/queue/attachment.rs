//! This process's attachment to one queue: the mapping, its entry in the table of peers, and the counts of the handles
//! and leases that share them.
//!
//! | handles of a role | leases, forgotten ones included | the entry of this process                       |
//! |-------------------|---------------------------------|-------------------------------------------------|
//! | some              | any                             | Live with this role                             |
//! | none              | any                             | Live without it; the queue may close            |
//! | none of either    | none                            | Free for another process                        |
//!
//! ATTACH-1. The entry has a role as long as a handle of that role lives. The last one gives the role up, which may
//!           close the queue.
//! ATTACH-2. The entry is vacated when nothing in this process refers to the queue any more, leases included. Each
//!           sender withdraws the block that it has prepared before it gives up its role, and the last one the
//!           reservations that were forgotten ([`core::mem::forget`]). So a free entry owns no block. A forgotten lease keeps its message until the process ends: the last receiver finds that a lease
//!           which borrowed a receiver has not ended, and leaks the attachment. One that borrows nothing has its own
//!           reference to the attachment, or to its batch, which has one.
//! ATTACH-3. A forked child has a copy of all this, but is not attached, and has no mapping. [`Attachment::enter`] is
//!           the only way to the segment, and fails in a forked child. So each call there is refused, and dropping the
//!           copies releases nothing.
//! ATTACH-4. An [`Entered`] is good for the call that made it. User code that the call runs (a codec, a `tracing`
//!           subscriber) may fork and return in the child. So guards that user code can drop, and values that outlive a
//!           call, enter again before they touch the segment.

use super::lease_count::LeaseCount;
use super::liveness::LivenessPacer;
#[cfg(feature = "async")]
use super::reactor::Seats;
use crate::error::OutOfMemory;
use crate::os::identity::Identity;
use crate::os::{identity, locks, memory};
use crate::protocol::ids::PeerIndex;
use crate::protocol::lifecycle::Arrival;
use crate::protocol::peers::{PeerIdentity, PeerKind, PeerState, Role, Roles};
use crate::protocol::steps::{membership, send};
use crate::protocol::{Corrupt, SharedState};
use crate::segment::geometry::Geometry;
use crate::segment::sweep::SweepScope;
use crate::segment::{Segment, Settings, View};
#[cfg(feature = "async")]
use crate::sync::fence;
use crate::sync::{AtomicBool, AtomicUsize, Ordering};
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(crate) struct Attachment {
    segment: Segment,
    peer: PeerIndex,
    /// The word of the entry as this process left it.
    tenant: Mutex<PeerState>,
    senders: AtomicUsize,
    receivers: AtomicUsize,
    /// Whether a block was ever reserved. The caller has the reservation, and may have forgotten it.
    reserved: AtomicBool,
    /// For operations that have no handle: those on leases.
    pacer: LivenessPacer,
    pub(super) leases: LeaseCount,
    /// Where futures wait for this queue. Has references to this attachment until it is given up.
    #[cfg(feature = "async")]
    pub(super) seats: Seats,
}

/// Access to the segment of an [`Attachment`], for the call that made it (ATTACH-3, ATTACH-4).
#[derive(Clone, Copy, Debug)]
pub(super) struct Entered<'a> {
    attachment: &'a Attachment,
}

/// This process is a forked child of the one that is attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forked;

/// Why a process cannot be attached to a queue.
#[derive(Debug)]
pub(super) enum JoinError {
    Closed,
    TooManyPeers,
    NoMemory(OutOfMemory),
    Corrupt(Corrupt),
    Os(io::Error),
}

impl From<io::Error> for JoinError {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

impl From<OutOfMemory> for JoinError {
    fn from(out_of_memory: OutOfMemory) -> Self {
        Self::NoMemory(out_of_memory)
    }
}

impl From<Corrupt> for JoinError {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// Locks a free entry for the open file description of `file`. Returns the entry and its word, which is Free. Takes memory
/// for more entries if none is free.
fn lock_free_entry(
    segment: &Segment,
    file: impl AsFd,
) -> Result<(PeerIndex, PeerState), JoinError> {
    for peer in (0..PeerIndex::COUNT).filter_map(PeerIndex::new) {
        if peer.get() >= segment.peer_count() {
            segment.commit_peers()?;
        }
        let Some(entry) = segment.peer(peer) else {
            continue;
        };
        let seen = entry.load();
        if seen.kind() != Some(PeerKind::Free) {
            continue;
        }
        let byte = segment.geometry().lock_byte(peer, seen.incarnation().get());
        if !mutant!(LockByteNotTaken) && !locks::try_lock(&file, byte)? {
            continue;
        }
        // Again, under the lock: another process may have used the entry and left it in the meantime.
        if entry.load() == seen {
            return Ok((peer, seen));
        }
        locks::unlock(&file, byte)?;
    }
    Err(JoinError::TooManyPeers)
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
    /// Attaches the process that has made the segment, with both roles, one handle each.
    pub(super) fn create(segment: Segment) -> Result<Self, JoinError> {
        Self::settle(segment, Roles::BOTH, identity::current()?, false)
    }

    /// Attaches to a queue that other processes have used, with these roles, one handle each. The segment's file must
    /// be an open file description of this process's own.
    pub(super) fn join(segment: Segment, roles: Roles) -> Result<Self, JoinError> {
        Self::join_if(segment, roles, false)
    }

    /// Attaches as [`join`](Self::join) does, also to a closed queue. Its arrival is not counted there then, and need
    /// not be: a closed queue does not close again.
    #[cfg(feature = "cli")]
    pub(super) fn join_even_closed(segment: Segment, roles: Roles) -> Result<Self, JoinError> {
        Self::join_if(segment, roles, true)
    }

    fn join_if(segment: Segment, roles: Roles, even_closed: bool) -> Result<Self, JoinError> {
        let identity = identity::current()?;
        // Frees the entries and the messages of dead processes now, not only with the first sweep.
        let recovered = segment.sweep_before_attaching(&identity);
        let attachment = Self::settle(segment, roles, identity, even_closed)?;
        if recovered {
            attachment.segment.finish_stalled_blocks();
        }
        Ok(attachment)
    }

    fn settle(
        segment: Segment,
        roles: Roles,
        identity: Identity,
        even_closed: bool,
    ) -> Result<Self, JoinError> {
        let (peer, seen) = lock_free_entry(&segment, segment.file())?;
        let entry = segment.peer(peer).ok_or(Corrupt::NoSuchPeer)?;
        entry.set_identity(tag(identity));
        let tenant = entry.attach(seen, roles).ok_or(Corrupt::PeerChanged)?;
        if even_closed && segment.lifecycle().load().is_closing() {
            return Ok(Self::new(segment, peer, tenant, roles, identity));
        }
        match membership::arrive(&segment, peer, tenant, roles)? {
            Arrival::Counted => Ok(Self::new(segment, peer, tenant, roles, identity)),
            Arrival::TooLate => Err(JoinError::Closed),
        }
    }

    /// Attaches to a copy of the segment as this process is attached to the segment itself: with the same entry and the
    /// same roles, one handle each.
    #[cfg(feature = "test-hooks")]
    pub(super) fn repeat(&self, copy: Segment) -> Result<Self, JoinError> {
        let tenant = *self.tenant.lock();
        let entry = copy.peer(self.peer).ok_or(Corrupt::NoSuchPeer)?;
        let byte = copy.lock_byte(self.peer, tenant);
        // In the segment itself the lock is taken.
        if entry.load() != tenant || !locks::try_lock(copy.file(), byte)? {
            return Err(Corrupt::PeerChanged.into());
        }
        let identity = identity::current()?;
        Ok(Self::new(copy, self.peer, tenant, tenant.roles(), identity))
    }

    /// Attaches to a queue that this process was given a ticket for. The segment's file must be the open file
    /// description that has the ticket's lock. Returns `None` if the ticket has been used.
    pub(super) fn redeem(
        segment: Segment,
        peer: PeerIndex,
        ticket: PeerState,
        role: Role,
        identity: Identity,
    ) -> Result<Option<Self>, Corrupt> {
        let entry = segment.peer(peer).ok_or(Corrupt::NoSuchPeer)?;
        if !entry.claim_ticket(tag(identity)) {
            return Ok(None);
        }
        let roles = Roles::only(role);
        let Some(tenant) = entry.attach(ticket, roles) else {
            return Ok(None);
        };
        let attachment = Self::new(segment, peer, tenant, roles, identity);
        // This process may have executed another program before, which used the queue too.
        attachment.segment.check_peers_of(identity.process_id());
        Ok(Some(attachment))
    }

    fn new(
        segment: Segment,
        peer: PeerIndex,
        tenant: PeerState,
        roles: Roles,
        me: Identity,
    ) -> Self {
        segment.set_own_peer(peer, me);
        let max_leases = segment.settings().max_leases;
        let one_if = |role| AtomicUsize::new(usize::from(roles.has(role)));
        Self {
            segment,
            peer,
            tenant: Mutex::new(tenant),
            senders: one_if(Role::Sender),
            receivers: one_if(Role::Receiver),
            reserved: AtomicBool::new(false),
            pacer: LivenessPacer::new(),
            leases: LeaseCount::new(max_leases),
            #[cfg(feature = "async")]
            seats: Seats::default(),
        }
    }

    /// Checks that this process is attached, and gives access to the segment (ATTACH-3).
    #[inline(always)]
    pub(super) fn enter(&self) -> Result<Entered<'_>, Forked> {
        if self.segment.is_forked_child() {
            return Err(Forked);
        }
        Ok(Entered { attachment: self })
    }

    // What follows is in this process's own memory, which a forked child has too.

    pub(super) fn settings(&self) -> &Settings {
        self.segment.settings()
    }

    pub(super) fn geometry(&self) -> &Geometry {
        self.segment.geometry()
    }

    pub(super) fn file(&self) -> &OwnedFd {
        self.segment.file()
    }

    /// Returns the byte of the segment's file that the process with this entry locks.
    pub(super) fn lock_byte(&self, peer: PeerIndex, tenant: PeerState) -> u64 {
        self.segment.lock_byte(peer, tenant)
    }

    pub(super) fn peer(&self) -> PeerIndex {
        self.peer
    }

    fn handles(&self, role: Role) -> &AtomicUsize {
        match role {
            Role::Sender => &self.senders,
            Role::Receiver => &self.receivers,
        }
    }

    /// Returns the number of handles of a role that this process has.
    pub(super) fn count(&self, role: Role) -> u32 {
        u32::try_from(self.handles(role).load(Ordering::Relaxed)).unwrap_or(u32::MAX)
    }

    /// Counts another handle of a role that this process has: a clone of one that lives.
    pub(super) fn add_handle(&self, role: Role) {
        self.handles(role).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one handle less. The last one gives up the role (ATTACH-1).
    pub(super) fn drop_handle(self: &Arc<Self>, role: Role) {
        let Ok(queue) = self.enter() else {
            return;
        };
        if mutant!(LastHandleKeepsRole) {
            return;
        }
        // AcqRel: what all handles did comes before the role is given up.
        if self.handles(role).fetch_sub(1, Ordering::AcqRel) == 1 {
            queue.give_up(role);
            if role == Role::Receiver && self.leases.borrowed() > 0 && !mutant!(ForgottenLeaseLost)
            {
                // No receiver is left to borrow from, so these leases were forgotten (ATTACH-2).
                core::mem::forget(Arc::clone(self));
            }
        }
    }

    /// Gives up the seats of futures if no handle is left that a future could belong to.
    #[cfg(feature = "async")]
    pub(super) fn give_up_seats(&self) {
        // SeqCst: of the last handles of both roles, dropped at the same time, at least one sees no other.
        fence(Ordering::SeqCst);
        if self.count(Role::Sender) + self.count(Role::Receiver) == 0 && self.enter().is_ok() {
            self.seats.give_up();
        }
    }

    /// Notes that a caller is about to get a block, in a guard that it may forget.
    #[inline(always)]
    pub(super) fn note_reservation(&self) {
        // Relaxed: dropping the last sender, which reads this, comes after all that other senders did. Written once, so
        // that the cache line stays with all threads.
        if !self.reserved.load(Ordering::Relaxed) {
            self.reserved.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let tenant = *self.tenant.get_mut();
        if let Ok(queue) = self.enter() {
            // The caller can do nothing about a corrupt entry here, and every operation reports it.
            let _ = membership::vacate(queue.segment(), self.peer, tenant);
        }
    }
}

impl<'a> Entered<'a> {
    #[inline(always)]
    pub(super) fn segment(self) -> &'a Segment {
        &self.attachment.segment
    }

    /// Returns the words of the segment, for a fast path. Not kept here, so that this stays small: a guard that may be
    /// dropped by unwinding is kept in memory, not in registers.
    #[inline(always)]
    pub(super) fn view(self) -> View<'a> {
        self.attachment.segment.view()
    }

    /// Returns the entry of this process.
    #[inline(always)]
    pub(super) fn peer(self) -> PeerIndex {
        self.attachment.peer
    }

    /// Returns the attachment, to enter again later (ATTACH-4).
    #[inline(always)]
    pub(super) fn attachment(self) -> &'a Attachment {
        self.attachment
    }

    /// Counts an operation on a lease: see [`LivenessPacer::count`].
    #[inline(always)]
    pub(super) fn count_lease_operation(self) {
        self.attachment.pacer.count(self.segment());
    }

    /// Gives up a role of which this process has no handle any more.
    fn give_up(self, role: Role) {
        if role == Role::Sender {
            self.withdraw_forgotten();
        }
        let (attachment, segment) = (self.attachment, self.segment());
        let mut tenant = attachment.tenant.lock();
        if let Ok(left) = membership::leave(segment, attachment.peer, *tenant, role) {
            *tenant = left;
        }
        let others = attachment.count(Role::Sender) + attachment.count(Role::Receiver);
        if mutant!(PeerVacatedWithLeases) && others == 0 {
            let _ = membership::vacate(segment, attachment.peer, *tenant);
        }
    }

    /// Frees the blocks of forgotten reservations: no sender is left that one could borrow from (ATTACH-2).
    fn withdraw_forgotten(self) {
        let reserved = self.attachment.reserved.load(Ordering::Relaxed);
        if reserved && send::withdraw_leaked(self.segment(), self.peer()) > 0 {
            self.segment().trim_all(self.peer());
        }
    }

    /// Promises an entry with `role` to a child process. The returned open file description has the entry's lock; the
    /// child alone is to inherit it.
    pub(super) fn make_ticket(
        self,
        role: Role,
    ) -> Result<(OwnedFd, PeerIndex, PeerState), JoinError> {
        let segment = self.segment();
        let file = memory::reopen(segment.file())?;
        segment.sweep_if_due(SweepScope::Peers);
        let (peer, seen) = match lock_free_entry(segment, &file) {
            Err(JoinError::TooManyPeers | JoinError::NoMemory(_)) => {
                // Some of them may be dead.
                segment.sweep(SweepScope::Peers);
                lock_free_entry(segment, &file)?
            }
            found => found?,
        };
        let entry = segment.peer(peer).ok_or(Corrupt::NoSuchPeer)?;
        let roles = Roles::only(role);
        let ticket = entry
            .issue_ticket(seen, roles)
            .ok_or(Corrupt::PeerChanged)?;
        match membership::arrive(segment, peer, ticket, roles)? {
            Arrival::Counted => Ok((file, peer, ticket)),
            Arrival::TooLate => Err(JoinError::Closed),
        }
    }

    /// Takes back a ticket that no child has used, and that none will.
    pub(super) fn void_ticket(self, peer: PeerIndex, ticket: PeerState) {
        if !mutant!(TicketNotVoided) {
            // If the entry has changed, a child has used the ticket after all.
            let _ = membership::vacate(self.segment(), peer, ticket);
        }
    }
}
