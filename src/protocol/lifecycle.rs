//! The lifecycle of a queue, from open over closing to ended, in one word.
//!
//! | term        | meaning                                                                                      |
//! |-------------|----------------------------------------------------------------------------------------------|
//! | *open*      | neither *closing* nor *ended*: the queue accepts messages                                    |
//! | *closing*   | `close` or `cancel` has begun; stays set when the close is complete                          |
//! | *sealed*    | the ring has a Closed slot (`Seal`): no message is accepted any more                         |
//! | *closed*    | what users call a queue that is *closing* or more (`is_closed`)                              |
//! | *drained*   | sealed, and every message before the Closed slot has been taken                              |
//! | *ended*     | drained, nothing is left to deliver, and a receiver has recorded that. From then on receives |
//! |             | return `Closed`, and a returned message is a dead letter                                     |
//! | *cancelled* | closing, and every message that no process holds is discarded                                |
//!
//! | bit           | set when                                                                                   |
//! |---------------|--------------------------------------------------------------------------------------------|
//! | closing       | a close has begun: every process that sees the bit first seals the ring                    |
//! | cancel        | a cancel has begun, together with closing or later: all remaining messages are discarded   |
//! | ended         | a receive returned `Closed`: from then on every receive returns it                         |
//! | had senders   | the queue had a sender at some time, so having none now means the end                      |
//! | had receivers | likewise for receivers                                                                     |
//! | arrivals      | the high bits: the number of times that a process, or a ticket, got a role                 |
//!
//! LIFE-1. Bits are only ever set, and the number of arrivals only rises.
//! LIFE-2. The queue is closed when the ring has a Closed slot. The closing bit makes every process write that slot
//!     (`Seal`), so a closer that dies or stops after it set the bit has closed the queue all the same.
//! LIFE-3. An arrival is counted after its table entry has become Live or Ticket. A process that leaves reads this
//!     word, then scans the table, and if no entry has its role it closes the queue by a compare-exchange from the
//!     word that it read. If another process got the role in the meantime, either its arrival was counted and the
//!     exchange fails, or the scan found its entry. The scan alone would miss a role that passes from an entry not yet
//!     scanned to one already scanned.
//!
//! Crash: a bit that is set stays set, and other processes do what it asks for.

use super::peers::{Role, Roles};
use crate::sync::{AtomicU64, Ordering};

/// The value of the lifecycle word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct LifecycleState(u64);

pub(super) const CLOSING: u64 = 1;
pub(super) const CANCEL: u64 = 1 << 1;
pub(super) const ENDED: u64 = 1 << 2;
const HAD_SENDERS: u64 = 1 << 3;
const HAD_RECEIVERS: u64 = 1 << 4;
/// One arrival, in the bits from this one up.
pub(super) const ARRIVAL: u64 = 1 << 5;

/// Returns the bit of the processes that had `role` at some time.
pub(super) const fn had(role: Role) -> u64 {
    match role {
        Role::Sender => HAD_SENDERS,
        Role::Receiver => HAD_RECEIVERS,
    }
}

impl LifecycleState {
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

    /// Returns whether the queue is neither closing nor ended.
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

    /// Returns whether the queue had a process with `role` at some time.
    #[must_use]
    pub(crate) const fn had(self, role: Role) -> bool {
        self.0 & had(role) != 0
    }
}

impl core::fmt::Debug for LifecycleState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "LifecycleState({:#b}, arrivals {})",
            self.0 & (ARRIVAL - 1),
            self.0 / ARRIVAL
        )
    }
}

/// The lifecycle word in shared memory, on a cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct LifecycleWord(AtomicU64);

#[cfg(not(loom))]
const _: () = assert!(size_of::<LifecycleWord>() == 64);

/// The outcome of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Arrival {
    Counted,
    /// The queue is closing: the caller undoes its table entry.
    TooLate,
}

impl LifecycleWord {
    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    // Acquire: a process that sees `closing` or `ended` also sees what was done before the bit was set.
    #[must_use]
    #[inline(always)]
    pub(crate) fn load(&self) -> LifecycleState {
        LifecycleState(self.0.load(Ordering::Acquire))
    }

    /// Sets `closing`. Returns whether this call was the first to do so.
    #[must_use]
    pub(crate) fn begin_close(&self) -> bool {
        // SeqCst: an operation that does not see the bit precedes the close in the one order of all SeqCst accesses.
        // `settle::release` relies on that: it reads the bit after it has freed a block.
        !LifecycleState(self.0.fetch_or(CLOSING, Ordering::SeqCst)).is_closing()
    }

    /// Sets `closing` and `cancel`. Returns whether this call was the first to set `closing`.
    ///
    /// Both bits are set at once. Otherwise a receiver that saw `closing` alone could deliver a message after another
    /// process was told that all messages are discarded.
    #[must_use]
    pub(crate) fn begin_cancel(&self) -> bool {
        // SeqCst: as in `begin_close`.
        !LifecycleState(self.0.fetch_or(CLOSING | CANCEL, Ordering::SeqCst)).is_closing()
    }

    /// Sets `closing` because no process has a role any more, if the word is still exactly `seen` (LIFE-3).
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

    /// Sets `ended`, so that every later receive returns `Closed`.
    pub(crate) fn end(&self) {
        if !self.load().has_ended() {
            self.0.fetch_or(ENDED, Ordering::AcqRel);
        }
    }

    /// Counts a process that got `roles`, after its table entry has become Live or Ticket (LIFE-3).
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
    fn only_the_first_close_returns_true() {
        let word = LifecycleWord::new();
        assert!(word.begin_close());
        assert!(!word.begin_close());
    }

    #[test]
    fn a_cancel_closes_too() {
        let word = LifecycleWord::new();
        assert!(word.begin_cancel());
        assert!(word.load().is_closing() && word.load().is_cancelled());
        assert!(!word.begin_cancel() && !word.begin_close());
    }

    #[test]
    fn an_arrival_after_the_word_was_read_keeps_the_queue_open() {
        let word = LifecycleWord::new();
        assert_eq!(word.arrive(Roles::BOTH), Arrival::Counted);
        let seen = word.load();
        assert_eq!(word.arrive(Roles::only(Role::Sender)), Arrival::Counted);
        assert!(!word.close_if_still(seen));
        assert!(word.close_if_still(word.load()));
        assert_eq!(word.arrive(Roles::BOTH), Arrival::TooLate);
    }
}
