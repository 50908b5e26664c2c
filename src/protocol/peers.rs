//! The peers table: one row for each attached process.
//!
//! | state  | roles  | meaning                                                                      |
//! |--------|--------|------------------------------------------------------------------------------|
//! | Free   | -      | nobody's                                                                     |
//! | Ticket | s, r   | promised to a child that has not attached yet; its roles count as present    |
//! | Live   | s, r   | an attached process; s and r say whether it can send and receive             |
//!
//! PEER-1. State, roles and incarnation are one word, so that a row changes as a whole.
//! PEER-2. The incarnation rises when a row becomes Free: what was prepared for one tenant fails on the next.
//! PEER-3. A row becomes Live or Ticket only while byte L(row, incarnation) of the segment file is locked by the
//!     new tenant, and stays locked as long as it lives.
//! PEER-4. A row becomes Free only when its process has no block in hand: by that process itself, whose last sender
//!     withdraws the reservations that were forgotten before it gives up its role (`Withdraw`), or by a process that has
//!     recovered it after its death.
//! PEER-5. A ticket goes to one process: the first that puts its process-id namespace into a row where there is
//!     none. The process id comes last, so that an identity that has one is complete; until then a ticket is
//!     judged by its lock alone.
//!
//! Crash: the lock goes with the process, the row stays: whoever finds it so can tell that its tenant died.
//! `os::liveness` says how, `steps::recover` what is done then.
use crate::sync::{AtomicU64, Ordering};

/// The number of a row, below 2^10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PeerIndex(u16);

impl PeerIndex {
    pub(crate) const FIRST: Self = Self(0);
    /// How many rows can be numbered.
    pub(crate) const COUNT: u16 = 1 << 10;

    #[must_use]
    pub(crate) const fn new(peer: u16) -> Option<Self> {
        if peer < Self::COUNT {
            Some(Self(peer))
        } else {
            None
        }
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn from_low_bits(bits: u64) -> Self {
        #[allow(clippy::cast_possible_truncation, reason = "masked to 10 bits")]
        Self((bits & (Self::COUNT as u64 - 1)) as u16)
    }

    #[must_use]
    #[inline(always)]
    pub(crate) const fn get(self) -> u16 {
        self.0
    }
}

/// What a process can do with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Receiver,
}

/// A set of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Roles(u64);

impl Roles {
    pub(crate) const BOTH: Self = Self(3);
    #[cfg(all(test, not(loom)))]
    pub(crate) const NONE: Self = Self(0);

    #[must_use]
    pub(crate) const fn only(role: Role) -> Self {
        match role {
            Role::Sender => Self(1),
            Role::Receiver => Self(2),
        }
    }

    #[must_use]
    pub(crate) const fn has(self, role: Role) -> bool {
        self.0 & Self::only(role).0 != 0
    }

    #[must_use]
    pub(super) const fn without(self, role: Role) -> Self {
        Self(self.0 & !Self::only(role).0)
    }
}

/// See the table above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerKind {
    Free,
    Ticket,
    Live,
}

/// How often a row has been vacated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation(u64);

impl Incarnation {
    /// Enough that no row is reused so often, few enough that a byte to lock can be numbered by row and
    /// incarnation together.
    pub(crate) const BITS: u32 = 48;

    #[must_use]
    pub(crate) const fn new(incarnation: u64) -> Self {
        Self(incarnation & ((1 << Self::BITS) - 1))
    }

    #[must_use]
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// The value of a row word: incarnation 48 | roles 2 | tenancy 2, from bit 4 down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerState(u64);

impl PeerState {
    /// As it is in memory, for [`super::verify`].
    #[cfg(all(test, not(loom)))]
    #[must_use]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    #[cfg(all(test, not(loom)))]
    #[must_use]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn from_parts(
        tenancy: PeerKind,
        roles: Roles,
        incarnation: Incarnation,
    ) -> Self {
        let tenancy = match tenancy {
            PeerKind::Free => 0,
            PeerKind::Ticket => 1,
            PeerKind::Live => 2,
        };
        Self(incarnation.0 << 4 | roles.0 << 2 | tenancy)
    }

    /// `None` for patterns that stand for nothing.
    #[must_use]
    pub(crate) const fn kind(self) -> Option<PeerKind> {
        Some(match self.0 & 3 {
            0 => PeerKind::Free,
            1 => PeerKind::Ticket,
            2 => PeerKind::Live,
            _ => return None,
        })
    }

    #[must_use]
    pub(crate) const fn roles(self) -> Roles {
        Roles(self.0 >> 2 & 3)
    }

    #[must_use]
    pub(crate) const fn incarnation(self) -> Incarnation {
        Incarnation::new(self.0 >> 4)
    }

    /// Whether a process, attached or about to be, has `role`.
    #[must_use]
    pub(crate) fn has_role(self, role: Role) -> bool {
        matches!(self.kind(), Some(PeerKind::Ticket | PeerKind::Live)) && self.roles().has(role)
    }
}

impl core::fmt::Debug for PeerState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{:?}({:?}, incarnation {})",
            self.kind(),
            self.roles(),
            self.incarnation().0
        )
    }
}

/// Who the tenant of a row is, as other processes can check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerIdentity {
    /// Process id, low half; start time in clock ticks since boot, high half (modulo 2^32).
    pub(crate) process: u64,
    /// Inode of the process-id namespace.
    pub(crate) pid_namespace: u64,
    /// Inode of the time namespace.
    pub(crate) time_namespace: u64,
    /// A random number that the process got when it executed its program; 0 if it is not known.
    pub(crate) image: u64,
}

/// A row in shared memory, on a line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct PeerEntry {
    tenant: AtomicU64,
    /// Process id, low half; start time in clock ticks since boot, high half (modulo 2^32).
    process: AtomicU64,
    /// Inode of the process-id namespace.
    pid_namespace: AtomicU64,
    /// Inode of the time namespace.
    time_namespace: AtomicU64,
    /// A random number that the process got when it executed its program; 0 if it is not known.
    image: AtomicU64,
    /// Of the last tenant that was found dead: its process id, and when it was found, in milliseconds since
    /// 1970. For people; nothing depends on it.
    dead_process: AtomicU64,
    found_dead: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<PeerEntry>() == 64);

fn id_of(process: u64) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the low half is the process id"
    )]
    {
        process as u32
    }
}

impl PeerEntry {
    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Self {
        Self {
            tenant: AtomicU64::new(0),
            process: AtomicU64::new(0),
            pid_namespace: AtomicU64::new(0),
            time_namespace: AtomicU64::new(0),
            image: AtomicU64::new(0),
            dead_process: AtomicU64::new(0),
            found_dead: AtomicU64::new(0),
        }
    }

    // Acquire: pairs with the release of `exchange`; a Live row's identity is complete.
    #[must_use]
    pub(crate) fn load(&self) -> PeerState {
        PeerState(self.tenant.load(Ordering::Acquire))
    }

    fn exchange(&self, seen: PeerState, to: PeerState) -> Option<PeerState> {
        // AcqRel: publishes the identity, and the clean-up of the tenant before.
        self.tenant
            .compare_exchange(seen.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
            .then_some(to)
    }

    /// The process id of a Live row's tenant.
    #[must_use]
    pub(crate) fn process_id(&self) -> u32 {
        id_of(self.process.load(Ordering::Relaxed))
    }

    /// Who the tenant is, as `identify` wrote it. `None`: not yet.
    #[must_use]
    pub(crate) fn identity(&self) -> Option<PeerIdentity> {
        // Acquire: pairs with the release in `identify`.
        let process = self.process.load(Ordering::Acquire);
        (process != 0).then(|| PeerIdentity {
            process,
            pid_namespace: self.pid_namespace.load(Ordering::Relaxed),
            time_namespace: self.time_namespace.load(Ordering::Relaxed),
            image: self.image.load(Ordering::Relaxed),
        })
    }

    /// Note who died here, and when that was found out.
    pub(crate) fn record_death(&self, process_id: u32, milliseconds: u64) {
        self.dead_process
            .store(u64::from(process_id), Ordering::Relaxed);
        self.found_dead.store(milliseconds, Ordering::Relaxed);
    }

    /// The process id of the last tenant that was found dead, 0 if it had not said who it is, and when that
    /// was, in milliseconds since 1970. `None` if there was none.
    #[must_use]
    pub(crate) fn last_death(&self) -> Option<(u32, u64)> {
        let found = self.found_dead.load(Ordering::Relaxed);
        (found != 0).then(|| (id_of(self.dead_process.load(Ordering::Relaxed)), found))
    }

    /// By the new tenant of a free row, under its lock (PEER-3), before the row becomes Live.
    pub(crate) fn set_identity(&self, tag: PeerIdentity) {
        self.pid_namespace
            .store(tag.pid_namespace, Ordering::Relaxed);
        self.time_namespace
            .store(tag.time_namespace, Ordering::Relaxed);
        self.image.store(tag.image, Ordering::Relaxed);
        self.process.store(tag.process, Ordering::Release);
    }

    /// By a process that was given the ticket for this row, under its lock (PEER-3), before the row becomes Live.
    /// Programs that this process has started have the lock, too, and know of the ticket. False if one of them
    /// was faster: the row is left as it is (PEER-5).
    #[must_use]
    pub(crate) fn claim_ticket(&self, tag: PeerIdentity) -> bool {
        let claimed = self.pid_namespace.compare_exchange(
            0,
            tag.pid_namespace,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if claimed.is_ok() {
            self.set_identity(tag);
        }
        claimed.is_ok()
    }

    /// Free or Ticket to Live, with these roles.
    #[must_use]
    pub(crate) fn attach(&self, seen: PeerState, roles: Roles) -> Option<PeerState> {
        self.exchange(
            seen,
            PeerState::from_parts(PeerKind::Live, roles, seen.incarnation()),
        )
    }

    /// Free to Ticket, under the row's lock (PEER-3). The identity of the tenant before is wiped first (PEER-5).
    #[must_use]
    pub(crate) fn issue_ticket(&self, seen: PeerState, roles: Roles) -> Option<PeerState> {
        self.process.store(0, Ordering::Relaxed);
        self.pid_namespace.store(0, Ordering::Relaxed);
        self.exchange(
            seen,
            PeerState::from_parts(PeerKind::Ticket, roles, seen.incarnation()),
        )
    }

    /// By the tenant itself: it no longer has `role`.
    #[must_use]
    pub(crate) fn drop_role(&self, seen: PeerState, role: Role) -> Option<PeerState> {
        self.exchange(
            seen,
            PeerState(
                PeerState::from_parts(
                    PeerKind::Live,
                    seen.roles().without(role),
                    seen.incarnation(),
                )
                .0,
            ),
        )
    }

    /// To Free, with the next incarnation (PEER-2).
    #[must_use]
    pub(crate) fn vacate(&self, seen: PeerState) -> Option<PeerState> {
        let rise = u64::from(!mutant!(VacateKeepsIncarnation));
        let next = Incarnation::new(seen.incarnation().0 + rise);
        self.exchange(seen, PeerState::from_parts(PeerKind::Free, Roles(0), next))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_row_word_keeps_its_parts_apart() {
        for tenancy in [PeerKind::Free, PeerKind::Ticket, PeerKind::Live] {
            for roles in [
                Roles(0),
                Roles::only(Role::Sender),
                Roles::only(Role::Receiver),
                Roles::BOTH,
            ] {
                for incarnation in [0, 1, (1 << 48) - 1] {
                    let tenant =
                        PeerState::from_parts(tenancy, roles, Incarnation::new(incarnation));
                    assert_eq!(tenant.kind(), Some(tenancy));
                    assert_eq!(
                        (tenant.roles(), tenant.incarnation().get()),
                        (roles, incarnation)
                    );
                }
            }
        }
    }

    #[test]
    fn a_ticket_is_claimed_once_and_the_loser_changes_nothing() {
        let peer = PeerEntry::new();
        let tag = |process, pid_namespace, time_namespace| PeerIdentity {
            process,
            pid_namespace,
            time_namespace,
            image: 4,
        };
        peer.set_identity(tag(1, 2, 3));
        let ticket = peer
            .issue_ticket(peer.load(), Roles::BOTH)
            .expect("the row is free");
        assert_eq!(peer.process_id(), 0, "the tenant before is still named");
        assert!(peer.claim_ticket(tag(7, 8, 9)));
        assert!(
            !peer.claim_ticket(tag(17, 8, 19)),
            "claimed again, in the same namespace"
        );
        assert_eq!(peer.process_id(), 7);
        assert_eq!(peer.time_namespace.load(Ordering::Relaxed), 9);
        assert!(peer.attach(ticket, Roles::BOTH).is_some());
    }

    #[test]
    fn what_was_prepared_for_one_tenant_fails_on_the_next() {
        let peer = PeerEntry::new();
        let live = peer
            .attach(peer.load(), Roles::BOTH)
            .expect("the row is free");
        let free = peer.vacate(live).expect("nobody else changed it");
        assert_eq!(free.incarnation().get(), 1);
        let next = peer
            .attach(free, Roles::BOTH)
            .expect("the row is free again");
        assert!(
            peer.vacate(live).is_none(),
            "the first tenant's word still fits the second's row"
        );
        assert_eq!(peer.load(), next);
    }
}
