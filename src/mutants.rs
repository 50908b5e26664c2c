//! Mutants: deliberate faults, with which the tests and tools of this crate are shown to find such faults.
//!
//! A mutant is a step left out, or done in the wrong order. `mutant!(Name)` in a condition is true while the mutant
//! `Name` is switched on. It is not an assertion and not a feature: in a normal build it is the constant `false`, and
//! the compiler removes the faulty branch. Only test builds, and builds with `--cfg workring_mutants`, can switch a
//! mutant on. To read a function, treat every `mutant!(...)` as `false`.
//!
//! `mutants/catalogue.rs`, which is not part of the published package, describes each mutant and how to switch one on.

/// Returns whether the mutant of this name is switched on: never, in this build.
#[cfg(not(any(workring_mutants, test)))]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutants::is_switched_on(stringify!($name))
    };
}

/// Returns whether a mutant is switched on in a build without mutants: never.
#[cfg(not(any(workring_mutants, test)))]
#[inline(always)]
pub(crate) const fn is_switched_on(_mutant: &str) -> bool {
    false
}

/// Returns whether the mutant of this name is switched on.
#[cfg(any(workring_mutants, test))]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutants::active($crate::mutants::Mutant::$name)
    };
}

#[cfg(any(workring_mutants, test))]
mod catalogue;
#[cfg(any(workring_mutants, test))]
pub(crate) use catalogue::*;
