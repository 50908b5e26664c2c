//! The life of a queue: open, closing, ended, in one word that all read and few write.
//!
//! | bit           | meaning                                                                              |
//! |---------------|--------------------------------------------------------------------------------------|
//! | closing       | somebody has begun to close: whoever sees it puts Closed into the ring, then goes on |
//! | cancel        | set together with closing, or after it: what is left is discarded                    |
//! | ended         | a receiver has returned `Closed`: from now on every receive does                     |
//! | had senders   | there was once a sender, so "no sender" means the end                                |
//! | had receivers | likewise                                                                             |
//! | arrivals      | how often a process (or a ticket for one) got a role: the high bits                  |
//!
//! LIFE-1. Bits are only ever set, and arrivals only rise.
//! LIFE-2. What counts as closed is the Closed slot in the ring alone; `closing` makes everybody write it, so
//!     that a closer that dies or stops after setting the bit has closed the queue all the same.
//! LIFE-3. An arrival is counted after its row is Live or Ticket. A leaver that finds no row with a role closes
//!     by an exact exchange of the word that it read *before* it looked at the rows. So if a process got
//!     the role meanwhile, the exchange fails (its arrival was counted) or its row was seen. With the look
//!     at the rows alone, a role handed from one row to the next while the look passes between them would
//!     be missed.
//!
//! Crash: any bit set stays set, and says what is to be done.
use super::peers::{Role, Roles};
use crate::sync::{AtomicU64, Ordering};

/// The value of the word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LifecycleState(u64);

pub(super) const CLOSING: u64 = 1;
pub(super) const CANCEL: u64 = 1 << 1;
pub(super) const ENDED: u64 = 1 << 2;
const HAD_SENDERS: u64 = 1 << 3;
const HAD_RECEIVERS: u64 = 1 << 4;
pub(super) const ARRIVAL: u64 = 1 << 5;

pub(super) const fn had(role: Role) -> u64 {
    match role {
        Role::Sender => HAD_SENDERS,
        Role::Receiver => HAD_RECEIVERS,
    }
}

impl LifecycleState {
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

    /// Nothing of the kind that an operation would have to look at more closely.
    #[must_use]
    #[inline(always)]
    pub(crate) const fn is_open(self) -> bool {
        self.0 & (CLOSING | ENDED) == 0
    }

    #[must_use]
    pub(crate) const fn is_closing(self) -> bool {
        self.0 & CLOSING != 0
    }

    #[must_use]
    pub(crate) const fn is_cancelled(self) -> bool {
        self.0 & CANCEL != 0
    }

    #[must_use]
    pub(crate) const fn has_ended(self) -> bool {
        self.0 & ENDED != 0
    }

    #[must_use]
    pub(crate) const fn had(self, role: Role) -> bool {
        self.0 & had(role) != 0
    }
}

impl core::fmt::Debug for LifecycleState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "Lifecycle({:#b}, arrivals {})",
            self.0 & (ARRIVAL - 1),
            self.0 / ARRIVAL
        )
    }
}

/// The word in shared memory, on a line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct LifecycleWord(AtomicU64);

#[cfg(not(loom))]
const _: () = assert!(size_of::<LifecycleWord>() == 64);

/// What became of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Arrival {
    Counted,
    /// The queue is closing: undo the row.
    TooLate,
}

impl LifecycleWord {
    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    // Acquire: whoever sees `closing` or `ended` sees what led to it.
    #[must_use]
    #[inline(always)]
    pub(crate) fn load(&self) -> LifecycleState {
        LifecycleState(self.0.load(Ordering::Acquire))
    }

    /// Begin to close. True if nobody had before.
    #[must_use]
    pub(crate) fn begin_close(&self) -> bool {
        // SeqCst: an operation that does not see this bit comes before the close in one order that all
        // agree on; see `receive::acknowledge`, which looks at the bit after it has freed a block.
        !LifecycleState(self.0.fetch_or(CLOSING, Ordering::SeqCst)).is_closing()
    }

    /// Begin to close, and have what is left discarded: both bits at once, lest a receiver that sees the first
    /// alone hands out what is to be discarded after somebody else has been told that all is. True if nobody
    /// had begun to close before.
    #[must_use]
    pub(crate) fn begin_cancel(&self) -> bool {
        // SeqCst: as in `begin_close`.
        !LifecycleState(self.0.fetch_or(CLOSING | CANCEL, Ordering::SeqCst)).is_closing()
    }

    /// The last look at the word before the queue is closed for want of a role: exactly `seen`, or not at
    /// all (LIFE-3).
    #[must_use]
    pub(crate) fn close_if_still(&self, seen: LifecycleState) -> bool {
        if mutant!(CloseAfterArrival) {
            return self.begin_close();
        }
        self.0
            .compare_exchange(
                seen.0,
                seen.0 | CLOSING,
                Ordering::SeqCst,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Make `Closed` sticky for all receivers.
    pub(crate) fn end(&self) {
        if !self.load().has_ended() {
            self.0.fetch_or(ENDED, Ordering::AcqRel);
        }
    }

    /// Count a process that has just got `roles`, after its row says so (LIFE-3).
    pub(crate) fn arrive(&self, roles: Roles) -> Arrival {
        let mut bits = 0;
        for role in [Role::Sender, Role::Receiver] {
            if roles.has(role) {
                bits |= had(role);
            }
        }
        let mut seen = self.load();
        loop {
            if seen.is_closing() {
                return Arrival::TooLate;
            }
            let counted = (seen.0 | bits).wrapping_add(ARRIVAL);
            match self
                .0
                .compare_exchange_weak(seen.0, counted, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Arrival::Counted,
                Err(now) => seen = LifecycleState(now),
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_closer_is_told_so() {
        let word = LifecycleWord::new();
        assert!(word.begin_close());
        assert!(!word.begin_close());
    }

    #[test]
    fn to_cancel_is_to_close_too() {
        let word = LifecycleWord::new();
        assert!(word.begin_cancel());
        assert!(word.load().is_closing() && word.load().is_cancelled());
        assert!(!word.begin_cancel() && !word.begin_close());
    }

    #[test]
    fn an_arrival_between_the_look_and_the_close_keeps_the_queue_open() {
        let word = LifecycleWord::new();
        assert_eq!(word.arrive(Roles::BOTH), Arrival::Counted);
        let seen = word.load();
        assert_eq!(word.arrive(Roles::only(Role::Sender)), Arrival::Counted);
        assert!(!word.close_if_still(seen));
        assert!(word.close_if_still(word.load()));
        assert_eq!(word.arrive(Roles::BOTH), Arrival::TooLate);
    }
}
