//! Outcomes that no handle waits for, as they arrive.

#[cfg(feature = "macros")]
use super::any_outcome::AnyOutcome;
use super::unclaimed::Unclaimed;
use crate::pool::task::{OutcomeOf, Task};
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
#[cfg(feature = "macros")]
use std::sync::Arc;
use std::time::Instant;

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

    /// Blocks until the next outcome arrives, for at most `timeout`. `None`: there is none by then, or
    /// [none to wait for](Self::is_over).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Nap>::builder().start()?;
    /// let naps = pool.group();
    /// naps.submit(Nap(HOUR))?;
    /// let mut outcomes = naps.drain();
    /// assert!(outcomes.next_timeout(Duration::from_millis(5)).is_none() && !outcomes.is_over());
    /// naps.cancel();
    /// assert!(outcomes.next_timeout(HOUR).is_some());
    /// assert!(outcomes.next_timeout(HOUR).is_none() && outcomes.is_over());
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<OutcomeOf<T>> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// Blocks until the next outcome arrives, but not beyond `deadline`. `None`: there is none by then, or
    /// [none to wait for](Self::is_over).
    pub fn next_deadline(&mut self, deadline: Instant) -> Option<OutcomeOf<T>> {
        self.next_until(Some(deadline))
    }

    /// Returns whether the last call has returned `None` because there is no outcome to wait for, and not because its time was
    /// over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.unclaimed.is_over()
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<OutcomeOf<T>> {
        let (_, outcome) = self.unclaimed.next_until(deadline)?;
        Some(self.unclaimed.shared().decode::<T>(outcome))
    }
}

impl<T: Task> Iterator for Drain<'_, T> {
    type Item = OutcomeOf<T>;

    fn next(&mut self) -> Option<OutcomeOf<T>> {
        self.next_until(None)
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

    /// Blocks until the next outcome arrives, for at most `timeout`. `None`: there is none by then, or
    /// [none to wait for](Self::is_over).
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<AnyOutcome> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// Blocks until the next outcome arrives, but not beyond `deadline`. `None`: there is none by then, or
    /// [none to wait for](Self::is_over).
    pub fn next_deadline(&mut self, deadline: Instant) -> Option<AnyOutcome> {
        self.next_until(Some(deadline))
    }

    /// Returns whether the last call has returned `None` because there is no outcome to wait for, and not because its time was
    /// over.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.0.is_over()
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<AnyOutcome> {
        let (key, outcome) = self.0.next_until(deadline)?;
        let shared = Arc::clone(self.0.shared());
        Some(AnyOutcome::new(key, shared, outcome))
    }
}

#[cfg(feature = "macros")]
impl Iterator for AnyDrain<'_> {
    type Item = AnyOutcome;

    fn next(&mut self) -> Option<AnyOutcome> {
        self.next_until(None)
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
