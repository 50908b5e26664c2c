//! Parking: sleep until "something may have changed", across processes.
//!
//! An event count in one 32-bit word, which is also the futex that sleepers wait on:
//!
//! | waiters | epoch | meaning                                              |
//! |---------|-------|------------------------------------------------------|
//! | 0       | e     | nobody sleeps; to notify costs one fence and one load |
//! | 1       | e     | somebody sleeps on e, or is about to                 |
//! | 1       | e + 1 | a notifier or another sleeper passed: whoever read e does not sleep |
//!
//! PARK-1. A sleeper sets `waiters` and raises the epoch, in one exchange, before its last look.
//! PARK-2. A notifier publishes, then looks at `waiters`. With a full fence between the two on both sides, it
//!     sees the bit or the sleeper sees what it published.
//! PARK-3. `waiters` is cleared only by a notifier that found nobody to wake, by an exact exchange of the word
//!     that it raised: a sleeper that came in between has raised the epoch again (PARK-1), so its bit stays.
//! PARK-4. Nobody leaves a wait without one more look after it was woken: else it would eat a wake meant for
//!     somebody else.
//!
//! Crash: a sleeper killed here leaves the bit set: one needless wake. A notifier killed between publishing
//! and waking leaves sleepers asleep: a sleep lasts one slice at the most, then everyone looks again. There
//! is no count, for a count would never recover from a sleeper that was killed.
//!
//! Event counts: Reed and Kanodia, "Synchronization with eventcounts and sequencers" (CACM 1979); the word
//! and its protocol are kin to folly's `EventCount`. Without the raise in PARK-1 a wake is lost with two
//! sleepers and two notifiers, one of which clears the bit of a sleeper that it never saw.

use crate::sync::{AtomicU32, Ordering, fence, fence_after_exchange};

/// The word, on a line of its own: it is read by every notifier and written only when somebody sleeps.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct ParkingWord {
    word: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<ParkingWord>() == 64);

pub(super) const WAITERS: u32 = 1;
pub(super) const EPOCH: u32 = 2;

/// What a sleeper read: it may sleep for as long as the word says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u32);

impl Epoch {
    /// The value to hand to the futex.
    #[must_use]
    pub(crate) const fn get(self) -> u32 {
        self.0
    }
}

impl ParkingWord {
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
        }
    }

    /// The futex word.
    #[must_use]
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Announce a sleep (PARK-1). Look once more at what you wait for, then wait while the word is the result.
    #[must_use]
    pub(crate) fn prepare_wait(&self) -> Epoch {
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
                    // Pairs with the fence in `has_waiters`: either the notifier sees our bit, or our
                    // last look sees what it published (PARK-2).
                    fence(Ordering::SeqCst);
                    return Epoch(announced);
                }
                Err(now) => seen = now,
            }
        }
    }

    /// Whether there is anybody to wake, right after an exchange that published what they wait for.
    #[must_use]
    #[inline(always)]
    pub(crate) fn has_waiters(&self) -> bool {
        // Pairs with the fence in `announce` (PARK-2).
        fence_after_exchange();
        self.word.load(Ordering::Relaxed) & WAITERS != 0
    }

    /// Before leaving a wait without having used its wake: give it to somebody else (PARK-4).
    pub(crate) fn pass_on_wake(&self, wake: impl FnOnce(&Self) -> u32) {
        // Pairs with the fence in `announce` (PARK-2).
        fence(Ordering::SeqCst);
        if self.word.load(Ordering::Relaxed) & WAITERS != 0 {
            self.notify(wake);
        }
    }

    /// Wake up to `count` sleepers: `wake` does it and says how many there were.
    #[cold]
    pub(crate) fn notify(&self, wake: impl FnOnce(&Self) -> u32) {
        // Release: a sleeper whose wait ends because the epoch moved sees what was published.
        let raised = self
            .word
            .fetch_add(EPOCH, Ordering::AcqRel)
            .wrapping_add(EPOCH);
        if wake(self) == 0 {
            // Nobody was asleep. Only if nobody came since (PARK-3).
            let _ = self.word.compare_exchange(
                raised,
                raised & !WAITERS,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }
}
