//! The peer table: one entry for each attached process.
//!
//! | kind   | roles  | meaning                                                                                    |
//! |--------|--------|--------------------------------------------------------------------------------------------|
//! | Free   | -      | not in use                                                                                 |
//! | Ticket | s, r   | reserved for a child that has not attached yet; its roles already count                    |
//! | Live   | s, r   | an attached process; s and r: whether it can send and receive                              |
//!
//! | method         | change of the entry                                  |
//! |----------------|------------------------------------------------------|
//! | `issue_ticket` | Free -> Ticket                                       |
//! | `attach`       | Free or Ticket -> Live                               |
//! | `drop_role`    | Live -> Live with one role less                      |
//! | `vacate`       | any -> Free, next incarnation. Transition `Vacate`   |
//!
//! PEER-1. Kind, roles and incarnation are in one word, so that they change together.
//! PEER-2. The incarnation rises when an entry becomes Free. An exchange that was prepared for one process then fails
//!     on the next process of the entry.
//! PEER-3. An entry becomes Live or Ticket only while the byte for this entry and incarnation is locked in the segment
//!     file. The new process keeps that lock as long as it lives.
//! PEER-4. An entry becomes Free only when its process owns no block. The process frees the entry itself, after its
//!     last sender withdrew all leaked reservations (`Withdraw`), or another process frees it after recovery.
//! PEER-5. A ticket goes to one process: the first that writes its process-id namespace into the entry. It writes its
//!     process id last, so an identity with a process id is complete. Until then, only the lock tells whether the
//!     process of the ticket is alive.
//!
//! Crash: the kernel releases the lock of a process that dies, and its entry stays. A process that finds an entry in
//! use without its lock knows that the entry's process is dead. `os::liveness` describes how it checks that, and
//! [`super::steps::recover`] what it does then.

use super::bits::Field;
use crate::sync::{AtomicU64, Ordering};

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

/// What a table entry is in use for. The table above describes each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerKind {
    Free,
    Ticket,
    Live,
}

/// How often a table entry has become Free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incarnation(u64);

impl Incarnation {
    /// Large enough that no entry is reused that often. Small enough that entry and incarnation together number the
    /// byte to lock.
    pub(crate) const BITS: u32 = 48;

    /// Returns the incarnation of this number, which wraps at [`BITS`](Self::BITS).
    #[must_use]
    pub(crate) const fn new(incarnation: u64) -> Self {
        Self(incarnation & ((1 << Self::BITS) - 1))
    }

    #[must_use]
    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

/// The value of the word of a table entry: incarnation 48 | roles 2 | kind 2 bits, from bit 51 down.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeerState(u64);

const KIND: Field = Field::lowest(2);
const ROLES: Field = KIND.above(2);
const INCARNATION: Field = ROLES.above(Incarnation::BITS);

impl PeerState {
    /// Returns the value as it is in memory.
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

    pub(super) const fn from_parts(kind: PeerKind, roles: Roles, incarnation: Incarnation) -> Self {
        let kind = match kind {
            PeerKind::Free => 0,
            PeerKind::Ticket => 1,
            PeerKind::Live => 2,
        };
        Self(INCARNATION.pack(incarnation.0) | ROLES.pack(roles.0) | KIND.pack(kind))
    }

    /// Returns `None` for the bit pattern that stands for no kind.
    #[must_use]
    pub(crate) const fn kind(self) -> Option<PeerKind> {
        Some(match KIND.get(self.0) {
            0 => PeerKind::Free,
            1 => PeerKind::Ticket,
            2 => PeerKind::Live,
            _ => return None,
        })
    }

    #[must_use]
    pub(crate) const fn roles(self) -> Roles {
        Roles(ROLES.get(self.0))
    }

    #[must_use]
    pub(crate) const fn incarnation(self) -> Incarnation {
        Incarnation(INCARNATION.get(self.0))
    }

    /// Returns whether the entry's process, attached or about to attach, has `role`.
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

/// The identity of an entry's process, in terms that other processes can check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerIdentity {
    /// Low half: process id. High half: start time in clock ticks since boot, modulo 2^32.
    pub(crate) process: u64,
    /// Inode of the process-id namespace.
    pub(crate) pid_namespace: u64,
    /// Inode of the time namespace.
    pub(crate) time_namespace: u64,
    /// A random number that the process got when it executed its program. 0: unknown.
    pub(crate) image: u64,
}

/// An entry of the peer table in shared memory, on a cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct PeerEntry {
    state: AtomicU64,
    /// The fields of [`PeerIdentity`].
    process: AtomicU64,
    pid_namespace: AtomicU64,
    time_namespace: AtomicU64,
    image: AtomicU64,
    /// The process id of the entry's last dead process, and when it was found dead, in milliseconds since 1970. Only
    /// for statistics.
    dead_process: AtomicU64,
    found_dead: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<PeerEntry>() == 64);

fn low_half(bits: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation, reason = "the low half is asked for")]
    {
        bits as u32
    }
}

impl PeerEntry {
    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU64::new(0),
            process: AtomicU64::new(0),
            pid_namespace: AtomicU64::new(0),
            time_namespace: AtomicU64::new(0),
            image: AtomicU64::new(0),
            dead_process: AtomicU64::new(0),
            found_dead: AtomicU64::new(0),
        }
    }

    // Acquire: pairs with the release of `exchange`, so the identity in a Live entry is complete.
    #[must_use]
    pub(crate) fn load(&self) -> PeerState {
        PeerState(self.state.load(Ordering::Acquire))
    }

    /// Changes the entry from exactly `seen` to `to`, and returns `to`.
    fn exchange(&self, seen: PeerState, to: PeerState) -> Option<PeerState> {
        // AcqRel: publishes the identity, or that the process before has cleaned up.
        self.state
            .compare_exchange(seen.0, to.0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
            .then_some(to)
    }

    /// Returns the process id of a Live entry's process.
    #[must_use]
    pub(crate) fn process_id(&self) -> u32 {
        low_half(self.process.load(Ordering::Relaxed))
    }

    /// Returns the identity that [`set_identity`](Self::set_identity) wrote. `None`: not complete yet.
    #[must_use]
    pub(crate) fn identity(&self) -> Option<PeerIdentity> {
        // Acquire: pairs with the release in `set_identity`.
        let process = self.process.load(Ordering::Acquire);
        (process != 0).then(|| PeerIdentity {
            process,
            pid_namespace: self.pid_namespace.load(Ordering::Relaxed),
            time_namespace: self.time_namespace.load(Ordering::Relaxed),
            image: self.image.load(Ordering::Relaxed),
        })
    }

    /// Records that a process of this entry was found dead, and when, in milliseconds since 1970.
    pub(crate) fn record_death(&self, process_id: u32, milliseconds: u64) {
        self.dead_process
            .store(u64::from(process_id), Ordering::Relaxed);
        self.found_dead.store(milliseconds, Ordering::Relaxed);
    }

    /// Returns what [`record_death`](Self::record_death) recorded last. The process id is 0 if the process died before
    /// it wrote its identity.
    #[must_use]
    pub(crate) fn last_death(&self) -> Option<(u32, u64)> {
        let found = self.found_dead.load(Ordering::Relaxed);
        (found != 0).then(|| (low_half(self.dead_process.load(Ordering::Relaxed)), found))
    }

    /// Writes the identity of the entry's new process. The process itself calls this with the entry's lock (PEER-3),
    /// before the entry becomes Live.
    pub(crate) fn set_identity(&self, identity: PeerIdentity) {
        self.pid_namespace
            .store(identity.pid_namespace, Ordering::Relaxed);
        self.time_namespace
            .store(identity.time_namespace, Ordering::Relaxed);
        self.image.store(identity.image, Ordering::Relaxed);
        self.process.store(identity.process, Ordering::Release);
    }

    /// Claims a ticket and writes the identity of its process, before the entry becomes Live. False if another process
    /// has claimed the ticket before: the entry is not changed then (PEER-5).
    ///
    /// Programs that the child has started share its lock and know of the ticket too.
    #[must_use]
    pub(crate) fn claim_ticket(&self, identity: PeerIdentity) -> bool {
        let claimed = self.pid_namespace.compare_exchange(
            0,
            identity.pid_namespace,
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        if claimed.is_ok() {
            self.set_identity(identity);
        }
        claimed.is_ok()
    }

    /// Makes a Free entry or a ticket Live, with these roles. `None` if the entry is not as `seen` any more.
    #[must_use]
    pub(crate) fn attach(&self, seen: PeerState, roles: Roles) -> Option<PeerState> {
        self.exchange(
            seen,
            PeerState::from_parts(PeerKind::Live, roles, seen.incarnation()),
        )
    }

    /// Makes a Free entry a ticket. The caller has the entry's lock (PEER-3). The identity of the process before is
    /// erased first (PEER-5). `None` if the entry is not as `seen` any more.
    #[must_use]
    pub(crate) fn issue_ticket(&self, seen: PeerState, roles: Roles) -> Option<PeerState> {
        self.process.store(0, Ordering::Relaxed);
        self.pid_namespace.store(0, Ordering::Relaxed);
        self.exchange(
            seen,
            PeerState::from_parts(PeerKind::Ticket, roles, seen.incarnation()),
        )
    }

    /// Gives up `role`. The entry's own process calls this. `None` if the entry is not as `seen` any more.
    #[must_use]
    pub(crate) fn drop_role(&self, seen: PeerState, role: Role) -> Option<PeerState> {
        let rest = seen.roles().without(role);
        self.exchange(
            seen,
            PeerState::from_parts(PeerKind::Live, rest, seen.incarnation()),
        )
    }

    /// Makes the entry Free, with the next incarnation (PEER-2). `None` if the entry is not as `seen` any more.
    /// Transition `Vacate`.
    #[must_use]
    pub(crate) fn vacate(&self, seen: PeerState) -> Option<PeerState> {
        let rise = u64::from(!mutant!(VacateKeepsIncarnation));
        let next = Incarnation::new(seen.incarnation().0 + rise);
        self.exchange(
            seen,
            PeerState::from_parts(PeerKind::Free, Roles::NONE, next),
        )
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_entry_word_keeps_its_fields_apart() {
        for kind in [PeerKind::Free, PeerKind::Ticket, PeerKind::Live] {
            for roles in [
                Roles::NONE,
                Roles::only(Role::Sender),
                Roles::only(Role::Receiver),
                Roles::BOTH,
            ] {
                for incarnation in [0, 1, (1 << 48) - 1] {
                    let state = PeerState::from_parts(kind, roles, Incarnation::new(incarnation));
                    assert_eq!(state.kind(), Some(kind));
                    assert_eq!(
                        (state.roles(), state.incarnation().get()),
                        (roles, incarnation)
                    );
                }
            }
        }
    }

    #[test]
    fn a_ticket_is_claimed_once_and_a_second_claim_changes_nothing() {
        let entry = PeerEntry::new();
        let identity = |process, pid_namespace, time_namespace| PeerIdentity {
            process,
            pid_namespace,
            time_namespace,
            image: 4,
        };
        entry.set_identity(identity(1, 2, 3));
        let ticket = entry
            .issue_ticket(entry.load(), Roles::BOTH)
            .expect("the entry is Free");
        assert_eq!(
            entry.process_id(),
            0,
            "the process before is still recorded"
        );
        assert!(entry.claim_ticket(identity(7, 8, 9)));
        assert!(
            !entry.claim_ticket(identity(17, 8, 19)),
            "claimed again, in the same namespace"
        );
        assert_eq!(entry.process_id(), 7);
        assert_eq!(entry.time_namespace.load(Ordering::Relaxed), 9);
        assert!(entry.attach(ticket, Roles::BOTH).is_some());
    }

    #[test]
    fn an_exchange_prepared_for_one_process_fails_on_the_next() {
        let entry = PeerEntry::new();
        let live = entry
            .attach(entry.load(), Roles::BOTH)
            .expect("the entry is Free");
        let free = entry.vacate(live).expect("nothing else changes the entry");
        assert_eq!(free.incarnation().get(), 1);
        let next = entry
            .attach(free, Roles::BOTH)
            .expect("the entry is Free again");
        assert!(
            entry.vacate(live).is_none(),
            "the first process's state still fits the second's entry"
        );
        assert_eq!(entry.load(), next);
    }
}
