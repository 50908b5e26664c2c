//! Whether a returned message may be waiting, in one word that receivers read on every receive.
//!
//! | dirty | meaning                                                                            |
//! |-------|------------------------------------------------------------------------------------|
//! | 0     | no block is Returned, or the process that returned one is about to set the bit     |
//! | 1     | some block may be Returned: receivers scan the blocks before they use the ring     |
//!
//! RETURNED-1. A process that makes a block Returned then sets the dirty bit and raises the epoch. So does a process
//!     that finds a Returned block in a scan, because the process that returned it may have died in between.
//! RETURNED-2. The bit is cleared only after a scan of all blocks that found none Returned, by a compare-exchange from
//!     the value that was read before the scan. A return during the scan has raised the epoch, so the exchange fails.
//!
//! Crash: see RETURNED-1. The bit set without need costs one scan.

use crate::sync::{AtomicU64, Ordering};

/// The value of the word: the dirty bit, and above it the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReturnedState(u64);

pub(super) const DIRTY: u64 = 1;
/// One raise of the epoch.
pub(super) const EPOCH: u64 = 2;

impl ReturnedState {
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

    #[must_use]
    #[inline(always)]
    pub(crate) const fn is_dirty(self) -> bool {
        self.0 & DIRTY != 0
    }
}

/// The word in shared memory, on a cache line of its own.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct ReturnedWord(AtomicU64);

#[cfg(not(loom))]
const _: () = assert!(size_of::<ReturnedWord>() == 64);

impl ReturnedWord {
    #[cfg(any(test, loom))]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    // Acquire: pairs with the release in `set`, so that the scan that follows finds the block that was returned.
    #[must_use]
    #[inline(always)]
    pub(crate) fn load(&self) -> ReturnedState {
        ReturnedState(self.0.load(Ordering::Acquire))
    }

    /// Sets the dirty bit and raises the epoch, after a block has become Returned (RETURNED-1).
    pub(crate) fn set(&self) {
        let mut seen = self.0.load(Ordering::Relaxed);
        // Release: pairs with `load`.
        while let Err(now) = self.0.compare_exchange_weak(
            seen,
            (seen | DIRTY).wrapping_add(EPOCH),
            Ordering::AcqRel,
            Ordering::Relaxed,
        ) {
            seen = now;
        }
    }

    /// Clears the dirty bit, if the word is still as it was `seen` before a scan that found nothing (RETURNED-2).
    pub(crate) fn clear(&self, seen: ReturnedState) {
        if mutant!(ClearReturnedAnyway) {
            self.0.fetch_and(!DIRTY, Ordering::AcqRel);
        }
        let _ =
            self.0
                .compare_exchange(seen.0, seen.0 & !DIRTY, Ordering::AcqRel, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_return_during_the_scan_is_not_cleared() {
        let word = ReturnedWord::new();
        word.set();
        let seen = word.load();
        word.set();
        word.clear(seen);
        assert!(word.load().is_dirty());
        word.clear(word.load());
        assert!(!word.load().is_dirty());
    }
}
