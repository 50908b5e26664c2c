//! The caller's hold on one task.

use super::results::{FORKED, WaitError};
use super::shared::Shared;
use crate::pool::outcome::{TaskError, TaskId};
use crate::pool::task::{OutcomeOf, ResultOf, Task};
use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

/// A task that was submitted. Made by [`Pool::submit`](crate::pool::Pool::submit).
///
/// The outcome waits for its handle. Dropping the handle gives the outcome to whoever [drains](crate::pool::Pool::drain) the
/// pool; it does not cancel the task. A handle outlives its pool.
pub struct TaskHandle<T: Task> {
    shared: Arc<Shared<T>>,
    id: TaskId,
    is_claimed: bool,
}

impl<T: Task> TaskHandle<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, id: TaskId) -> Self {
        Self {
            shared,
            id,
            is_claimed: false,
        }
    }

    /// Which task it is.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
    /// let handle = pool.submit(Square(3))?;
    /// let id = handle.id();
    /// assert_eq!(handle.outcome().id, id);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.id
    }

    /// Wait for the outcome. It comes in any case: also if the worker dies, or the pool is shut down.
    ///
    /// The output, or the task's error, is decoded now, by this thread, which holds up nobody else. If its `Deserialize`
    /// panics, the outcome is [`TaskError::Transport`] with what the panic said.
    ///
    /// # Errors
    ///
    /// [`TaskError`]: why the task has no output.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// match pool.submit(Square(u64::MAX))?.wait() {
    ///     Err(TaskError::Failed(said)) => assert!(said.contains("too large")),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(self) -> ResultOf<T> {
        self.outcome().result
    }

    /// As [`wait`](TaskHandle::wait), with what else there is to know of it.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
    /// let outcome = pool.submit(Square(3))?.outcome();
    /// assert_eq!((outcome.attempts, outcome.result?), (1, 9));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn outcome(mut self) -> OutcomeOf<T> {
        match self.claim(None) {
            Ok(outcome) => outcome,
            Err(what) => OutcomeOf::<T>::unknown(self.id, what),
        }
    }

    /// Wait for the outcome, for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// The handle, if the task is not done by then.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Nap>::builder().start()?;
    /// let nap = pool.submit(Nap(HOUR))?;
    /// let nap = nap.wait_timeout(Duration::from_millis(5)).expect_err("not done yet");
    /// nap.cancel();
    /// assert!(nap.wait().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_timeout(self, timeout: Duration) -> Result<ResultOf<T>, Self> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.wait_deadline(deadline),
            None => Ok(self.wait()),
        }
    }

    /// Wait for the outcome, until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// The handle, if the task is not done by then.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
    /// let (one, other) = (pool.submit(Square(3))?, pool.submit(Square(4))?);
    /// let deadline = Instant::now() + Duration::from_secs(10); // for both
    /// assert_eq!(one.wait_deadline(deadline).expect("in time")?, 9);
    /// assert_eq!(other.wait_deadline(deadline).expect("in time")?, 16);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_deadline(mut self, deadline: Instant) -> Result<ResultOf<T>, Self> {
        match self.claim(Some(deadline)) {
            Ok(outcome) => Ok(outcome.result),
            Err(_) if !self.is_claimed => Err(self),
            Err(what) => Ok(Err(TaskError::Unknown { what })),
        }
    }

    /// `is_claimed` stays false if it was only too early.
    fn claim(&mut self, deadline: Option<Instant>) -> Result<OutcomeOf<T>, &'static str> {
        let id = self.id;
        let results = &self.shared.results;
        let claimed = results.wait_until(deadline, |state| state.take_for_handle(id));
        self.is_claimed = !matches!(claimed, Err(WaitError::Deadline));
        match claimed {
            Ok(sealed) => Ok(self.shared.open(sealed)),
            Err(WaitError::Unknown(what)) => Err(what),
            Err(WaitError::Deadline | WaitError::Ended) => Err(FORKED),
        }
    }

    /// Whether the outcome is there, so that to wait for it would not take long. Looks at what has arrived. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Nap>::builder().start()?;
    /// let nap = pool.submit(Nap(HOUR))?;
    /// assert!(!nap.is_finished());
    /// pool.shutdown(Shutdown::Cancel, Duration::ZERO)?;
    /// assert!(nap.is_finished());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        if !self.shared.origin.is_current() {
            // To wait for it gives `TaskError::Unknown`, at once.
            return true;
        }
        self.shared.results.poll();
        let id = self.id;
        self.shared.results.with(|state| state.flight(id).is_none())
    }

    /// Ask for the end of the task: one that has not been started will not be, and its outcome is
    /// [`TaskError::Cancelled`]; one that is running is told ([`Context::is_cancelled`](crate::pool::Context::is_cancelled)),
    /// and whatever it returns is its outcome. True if the outcome was not known yet. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Nap>::builder().workers(1).start()?;
    /// let (running, queued) = (pool.submit(Nap(HOUR))?, pool.submit(Nap(HOUR))?);
    /// assert!(queued.cancel() && running.cancel());
    /// assert!(running.wait().is_err());
    /// assert!(matches!(queued.wait(), Err(TaskError::Cancelled)));
    /// # Ok(())
    /// # }
    /// ```
    #[allow(
        clippy::must_use_candidate,
        reason = "cancelling is the point; whether it came too late is a detail"
    )]
    pub fn cancel(&self) -> bool {
        self.shared.cancel(self.id)
    }

    /// [`cancel`](TaskHandle::cancel), and if the task still runs after `grace`, end the process group of its worker, which
    /// is replaced. The outcome is [`TaskError::Cancelled`] then; one that arrives before wins. Zero: no grace. True if
    /// the outcome was not known yet. Never waits.
    ///
    /// Should the worker be done with the task and begin another one at the very moment in which it is killed, that one is
    /// run again by another worker, and the attempt not counted.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Nap>::builder().workers(1).start()?;
    /// let nap = pool.submit(Nap(HOUR))?;
    /// assert!(nap.cancel_within(Duration::from_secs(1)));
    /// assert!(nap.wait().is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[allow(
        clippy::must_use_candidate,
        reason = "cancelling is the point; whether it came too late is a detail"
    )]
    pub fn cancel_within(&self, grace: Duration) -> bool {
        self.shared.cancel_within(self.id, grace)
    }
}

impl<T: Task> Drop for TaskHandle<T> {
    fn drop(&mut self) {
        if !self.is_claimed {
            self.shared.results.release(self.id);
        }
    }
}

impl<T: Task> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
