//! A change of the workers of a pool that is under way, for callers: the supervisor carries it out.

use crate::error::RolloutError;
use core::fmt;
use core::time::Duration;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

/// A change of a pool's workers that is under way. Returned by [`TypedPool::recycle`](crate::pool::TypedPool::recycle) and
/// [`TypedPool::resize`](crate::pool::TypedPool::resize).
///
/// Dropping it changes nothing: the change goes on.
///
/// # Examples
///
/// ```
#[doc = include_str!("../example.in")]
/// let pool = TypedPool::<Square>::builder().workers(2).start()?;
/// let mut rollout = pool.recycle()?;
/// while rollout.wait_timeout(Duration::from_secs(1)).is_none() {
///     println!("not yet: {:?}", pool.stats().workers);
/// }
/// assert_eq!(pool.stats().totals.recycled, 2);
/// # Ok(())
/// # }
/// ```
#[must_use = "the change goes on without it; drop it if nothing depends on its end"]
pub struct Rollout {
    done: Receiver<()>,
    result: Option<Result<(), RolloutError>>,
}

impl Rollout {
    pub(super) const fn new(done: Receiver<()>) -> Self {
        Self { done, result: None }
    }

    /// Blocks until the change is complete. A worker that has to end finishes its task first, so this takes as long as the
    /// longest task.
    ///
    /// # Errors
    ///
    /// [`RolloutError::Closed`]: the pool was shut down before.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(2).start()?;
    /// pool.resize(1)?.wait()?;
    /// assert_eq!(pool.stats().workers.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(self) -> Result<(), RolloutError> {
        let Self { done, result } = self;
        result.unwrap_or_else(|| done.recv().map_err(|_| RolloutError::Closed))
    }

    /// Blocks until the change is complete, or the time is over. Returns `None` if it is not complete by then.
    ///
    /// # Errors
    ///
    /// [`RolloutError::Closed`]: the pool was shut down before.
    pub fn wait_timeout(&mut self, timeout: Duration) -> Option<Result<(), RolloutError>> {
        if self.result.is_none() {
            self.result = match self.done.recv_timeout(timeout) {
                Ok(()) => Some(Ok(())),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => Some(Err(RolloutError::Closed)),
            };
        }
        self.result.clone()
    }

    /// Blocks until the change is complete, but not beyond `deadline`. Returns `None` if it is not complete by then.
    ///
    /// # Errors
    ///
    /// [`RolloutError::Closed`]: the pool was shut down before.
    pub fn wait_deadline(&mut self, deadline: Instant) -> Option<Result<(), RolloutError>> {
        self.wait_timeout(deadline.saturating_duration_since(Instant::now()))
    }
}

impl fmt::Debug for Rollout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rollout")
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}
