//! Parking: an event count on which processes sleep until something may have changed.
//!
//! It is one 32-bit word, which is also the futex that sleepers wait on:
//!
//! | has waiters | epoch | meaning                                                                                   |
//! |-------------|-------|-------------------------------------------------------------------------------------------|
//! | 0           | e     | no process sleeps: after one fence and one load, `has_waiters` returns `false`, and the   |
//! |             |       | caller skips `notify`                                                                     |
//! | 1           | e     | a process sleeps on epoch e, or is about to                                               |
//! | 1           | e + 1 | a notifier or another sleeper has moved the epoch: a futex wait on epoch e returns at once |
//!
//! PARK-1. Before its last check for what it waits for, a sleeper sets *has waiters* and raises the epoch, in one
//!     exchange.
//! PARK-2. A notifier publishes its change and then reads *has waiters*. Each side has a full fence between its two
//!     steps, so either the notifier sees the bit, or the sleeper's last check sees the change. The fence of a notifier
//!     that changes a word by a plain store (`Release`) may be made by the sleeper: it interrupts all processes between
//!     its two steps ([`SharedState::fence_others`](super::SharedState::fence_others)).
//! PARK-3. Only a notifier that woke no process clears *has waiters*, by a compare-exchange from the value that it
//!     wrote when it raised the epoch. If a sleeper arrived in between, it has raised the epoch too (PARK-1), so the
//!     exchange fails, and the bit stays.
//! PARK-4. A process that was woken checks once more before it leaves the wait, or passes the wake on. Otherwise it
//!     would consume a wake that another sleeper needs.
//!
//! Crash: a sleeper that dies leaves *has waiters* set, which costs one needless wake. A notifier that dies between its
//! change and its wake leaves sleepers asleep; a process that dies after it was woken takes the wake with it. In both
//! cases the others check again within one liveness interval, because no sleep is longer.
//! The word has a bit and not a count of sleepers, because a count would stay wrong after a sleeper's death.
//!
//! Event counts: Reed and Kanodia, "Synchronization with eventcounts and sequencers" (CACM 1979). The word resembles
//! folly's `EventCount`. The sleeper must raise the epoch (PARK-1): otherwise, with two sleepers and two notifiers, one
//! notifier can clear the bit of a sleeper that it never saw, and a wake is lost.

use crate::sync::{AtomicU32, Ordering, fence, fence_after_exchange};

/// The word in shared memory, on a cache line of its own: every notifier reads it, and it is written only when a
/// process sleeps.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct ParkingWord {
    word: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<ParkingWord>() == 64);

pub(super) const WAITERS: u32 = 1;
/// What to add to the word to raise the epoch by one.
pub(super) const EPOCH: u32 = 2;

/// The value of the whole word, bit and epoch, with which a process goes to sleep. It sleeps only while the word has
/// this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitKey(u32);

impl WaitKey {
    /// Returns a key of which a test remembers the value.
    #[cfg(all(test, not(any(loom, workring_mutants))))]
    pub(crate) fn forge(value: u64) -> Self {
        Self(u32::try_from(value).expect("a word of 32 bits"))
    }

    /// Returns the value to pass to the futex call.
    #[must_use]
    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

impl ParkingWord {
    /// Returns a word outside of shared memory.
    #[cfg(any(test, not(loom)))]
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
        }
    }

    /// Returns the futex word.
    #[must_use]
    pub(crate) fn futex_word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Returns whether the word still has the value of `key`: no notifier, and no other sleeper, has raised the epoch.
    #[cfg(any(feature = "async", all(test, not(any(loom, workring_mutants)))))]
    #[must_use]
    pub(crate) fn has(&self, key: WaitKey) -> bool {
        // Acquire: pairs with the release in `notify`. A caller that sees the new epoch also sees the change.
        self.word.load(Ordering::Acquire) == key.get()
    }

    /// Announces a sleep (PARK-1). The caller then checks once more for what it waits for, and sleeps while the word
    /// has the value of the returned key.
    #[must_use]
    pub(crate) fn prepare_wait(&self) -> WaitKey {
        let mut seen = self.word.load(Ordering::Relaxed);
        loop {
            let announced = (seen | WAITERS).wrapping_add(EPOCH);
            match self.word.compare_exchange_weak(
                seen,
                announced,
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    // Pairs with the fence in `has_waiters`: either the notifier sees our bit, or our last check sees
                    // its change (PARK-2).
                    fence(Ordering::SeqCst);
                    return WaitKey(announced);
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Returns whether a process may be asleep. Call it right after the exchange that publishes the change that
    /// sleepers wait for: it contains the notifier's fence of PARK-2.
    #[must_use]
    #[inline(always)]
    pub(crate) fn has_waiters(&self) -> bool {
        // Pairs with the fence in `prepare_wait` (PARK-2).
        fence_after_exchange();
        self.has_waiters_after_fence()
    }

    /// Returns whether a process may be asleep. Call it after a full fence that comes after the change.
    #[must_use]
    #[inline(always)]
    pub(crate) fn has_waiters_after_fence(&self) -> bool {
        self.word.load(Ordering::Relaxed) & WAITERS != 0
    }

    /// Passes a wake on to another sleeper, for a process that leaves a wait without having used its wake (PARK-4).
    pub(crate) fn pass_on_wake(&self, wake: impl FnOnce(&Self) -> u32) {
        // Pairs with the fence in `prepare_wait` (PARK-2).
        fence(Ordering::SeqCst);
        if self.word.load(Ordering::Relaxed) & WAITERS != 0 {
            self.notify(wake);
        }
    }

    /// Raises the epoch and wakes sleepers by calling `wake`, which returns how many it woke.
    #[cold]
    pub(crate) fn notify(&self, wake: impl FnOnce(&Self) -> u32) {
        // Release: a sleeper that sees the new epoch also sees the change.
        let raised = self
            .word
            .fetch_add(EPOCH, Ordering::AcqRel)
            .wrapping_add(EPOCH);
        if wake(self) == 0 {
            // No process was asleep, and if the word is unchanged none has come since (PARK-3).
            let _ = self.word.compare_exchange(
                raised,
                raised & !WAITERS,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }
}
