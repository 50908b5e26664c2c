//! Outcomes that no handle waits for, as they arrive.

#[cfg(feature = "macros")]
use super::any_outcome::AnyOutcome;
use super::unclaimed::Unclaimed;
use crate::pool::task::{OutcomeOf, Task};
use core::fmt;
use core::marker::PhantomData;
#[cfg(feature = "macros")]
use std::sync::Arc;

/// An iterator over outcomes as they arrive. Returned by [`TypedPool::drain`](crate::pool::TypedPool::drain) and
/// [`TypedPool::outcomes`](crate::pool::TypedPool::outcomes), and by those of a [`Group`](crate::pool::Group).
#[must_use = "iterators do nothing unless consumed"]
pub struct Drain<'a, T: Task> {
    unclaimed: Unclaimed<'a>,
    task: PhantomData<fn() -> T>,
}

impl<'a, T: Task> Drain<'a, T> {
    pub(super) const fn new(unclaimed: Unclaimed<'a>) -> Self {
        Self {
            unclaimed,
            task: PhantomData,
        }
    }

    #[cfg(feature = "async")]
    pub(super) fn into_unclaimed(self) -> Unclaimed<'a> {
        self.unclaimed
    }
}

impl<T: Task> Iterator for Drain<'_, T> {
    type Item = OutcomeOf<T>;

    fn next(&mut self) -> Option<OutcomeOf<T>> {
        let (_, outcome) = self.unclaimed.next()?;
        Some(self.unclaimed.shared().decode::<T>(outcome))
    }
}

impl<T: Task> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("in_flight", &self.unclaimed.in_flight())
            .finish_non_exhaustive()
    }
}

/// An iterator over outcomes as they arrive. Returned by [`Pool::drain`](crate::pool::Pool::drain) and
/// [`Pool::outcomes`](crate::pool::Pool::outcomes), and by those of an [`AnyGroup`](crate::pool::AnyGroup).
#[cfg(feature = "macros")]
#[must_use = "iterators do nothing unless consumed"]
pub struct AnyDrain<'a>(Unclaimed<'a>);

#[cfg(feature = "macros")]
impl<'a> AnyDrain<'a> {
    pub(super) const fn new(unclaimed: Unclaimed<'a>) -> Self {
        Self(unclaimed)
    }

    #[cfg(feature = "async")]
    pub(super) fn into_unclaimed(self) -> Unclaimed<'a> {
        self.0
    }
}

#[cfg(feature = "macros")]
impl Iterator for AnyDrain<'_> {
    type Item = AnyOutcome;

    fn next(&mut self) -> Option<AnyOutcome> {
        let (key, outcome) = self.0.next()?;
        let shared = Arc::clone(self.0.shared());
        Some(AnyOutcome::new(key, shared, outcome))
    }
}

#[cfg(feature = "macros")]
impl fmt::Debug for AnyDrain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyDrain")
            .field("in_flight", &self.0.in_flight())
            .finish_non_exhaustive()
    }
}
