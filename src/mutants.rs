//! Mutants: deliberate faults, with which the tests and tools of this crate are shown to find such faults.
//!
//! A mutant is a step left out, or done in the wrong order. It is in force where `mutant!` is true, which in a normal
//! build is the constant `false`. `mutants/catalogue.rs`, which is not part of the published package, describes each
//! mutant and how to put one in force.

/// Whether the mutant of this name is in force.
#[cfg(not(any(workring_mutants, test)))]
macro_rules! mutant {
    ($name:ident) => {
        $crate::mutants::in_force(stringify!($name))
    };
}

/// Whether a mutant is in force in a build without mutants: never.
#[cfg(not(any(workring_mutants, test)))]
#[inline(always)]
pub(crate) const fn in_force(_mutant: &str) -> bool {
    false
}

/// Whether the mutant of this name is in force.
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
