//! Whether any message waits to be handed out again, in one word that receivers read on every receive.
//!
//! | dirty | meaning                                                  |
//! |-------|----------------------------------------------------------|
//! | 0     | no block is Returned, or its returner is about to say so |
//! | 1     | some block may be Returned: receivers look at the blocks |
//!
//! RETURNED-1. Whoever makes a block Returned sets the word afterwards and raises its epoch; so does whoever meets a
//!     Returned block by chance, for the returner may have died in between.
//! RETURNED-2. Only a look at all blocks that met none Returned clears the word, by an exact exchange of the value
//!     read before the look: a return meanwhile has raised the epoch.
use crate::sync::{AtomicU64, Ordering};

/// The value of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReturnedState(u64);

pub(super) const DIRTY: u64 = 1;
pub(super) const EPOCH: u64 = 2;

impl ReturnedState {
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

    #[must_use]
    #[inline(always)]
    pub(crate) const fn is_dirty(self) -> bool {
        self.0 & DIRTY != 0
    }
}

/// The word in shared memory, on a line of its own.
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

    // Acquire: pairs with `set`, so that the look at the blocks finds what was returned.
    #[must_use]
    #[inline(always)]
    pub(crate) fn load(&self) -> ReturnedState {
        ReturnedState(self.0.load(Ordering::Acquire))
    }

    /// RETURNED-1.
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

    /// RETURNED-2.
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
    fn a_return_during_the_look_is_not_cleared() {
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
