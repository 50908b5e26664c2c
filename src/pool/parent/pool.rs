//! The pool of all registered tasks, as its callers see it.

use super::any_outcome::AnyOutcome;
use super::builder::Builder;
#[cfg(feature = "async")]
use super::futures::{ShutdownFuture, SubmitFuture};
use super::handle::TaskHandle;
use super::map::Map;
use super::report::Report;
use super::running::{RunningPool, Unclaimed};
use super::settings::Workers;
use super::shutdown::Shutdown;
use super::start::{check_role, start};
use crate::error::{ShutdownError, StartError, SubmitError, TrySubmitError};
use crate::pool::wire::task_message::TaskKey;
use crate::pool::worker::Runner as _;
use crate::pool::worker::registry::{RegisteredTask, registered};
use core::fmt;
use core::time::Duration;
use std::panic::Location;
use std::sync::Arc;

/// A pool of worker processes that runs every task of the program and of the libraries that it links: those made by
/// `#[workring::task]`, and types that are [registered](crate::register).
///
/// See [the module](crate::pool) for what it guarantees. All methods take `&self`, so threads can share a pool.
///
/// Dropping a pool that was not [shut down](Pool::shutdown) cancels the tasks in flight and stops the workers, by force
/// if they do not end within [`Builder::grace`]. With the feature `tracing`, it emits a warning that names the place
/// where the pool was made.
///
/// # Examples
///
/// ```
#[doc = include_str!("../registered.in")]
/// let pool = Pool::start(2)?;
/// let (number, text) = (pool.submit(square::new(12))?, pool.submit(shout::new("four".to_owned()))?);
/// assert_eq!(number.wait()?, 144);
/// assert_eq!(text.wait()?, "FOUR");
/// pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
/// # Ok(())
/// # }
/// ```
pub struct Pool(RunningPool);

impl Pool {
    /// Starts a pool with this number of workers, a number or a range as for [`Builder::workers`], and defaults for all
    /// else. Blocks until all of them are ready.
    ///
    /// # Errors
    ///
    /// As for [`Builder::<Pool>::start`](Builder::start).
    #[track_caller]
    pub fn start(workers: impl Into<Workers>) -> Result<Self, StartError> {
        Self::builder().workers(workers).start()
    }

    /// Returns a builder for a pool. [`Builder::start`] starts it.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../registered.in")]
    /// let pool = Pool::builder().workers(1..=4).retries(2).time_limit(Duration::from_secs(60)).start()?;
    /// assert_eq!(pool.submit(square::new(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> Builder<Self> {
        Builder::new()
    }

    /// Submits a task. Blocks while the pool is at [capacity](Builder::capacity). The handle has the types of the task's
    /// own output and error. Otherwise the same as [`TypedPool::submit`](crate::pool::TypedPool::submit).
    ///
    /// Keep the handle to wait for this task, or drop it and take the outcome from [`drain`](Pool::drain).
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../registered.in")]
    /// let pool = Pool::start(1)?;
    /// match pool.submit(square::new(u64::MAX))?.wait() {
    ///     Err(TaskError::Failed(failure)) => assert!(failure.message().ends_with("is too large")),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit<T: RegisteredTask>(&self, task: T) -> Result<TaskHandle<T>, SubmitError<T>> {
        self.0.submit(task, key_of::<T>())
    }

    /// Submits a task, without waiting for other tasks, as [`TypedPool::try_submit`](crate::pool::TypedPool::try_submit) does.
    ///
    /// # Errors
    ///
    /// [`TrySubmitError`], with the task: as many tasks are in flight as allowed, or there is no memory for a task of
    /// this size now; or as for [`submit`](Pool::submit).
    pub fn try_submit<T: RegisteredTask>(
        &self,
        task: T,
    ) -> Result<TaskHandle<T>, TrySubmitError<T>> {
        self.0.try_submit(task, key_of::<T>())
    }

    /// Submits a task, as [`submit`](Self::submit) does, for async callers: the future completes as soon as the pool has
    /// room. Needs the feature `async`.
    ///
    /// Dropping the future before it has completed drops the task, which is not submitted.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], as for [`submit`](Self::submit).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../registered.in")]
    /// # ::futures::executor::block_on(async {
    /// let pool = Pool::start(2)?;
    /// let handle = pool.submit_async(square::new(3)).await?;
    /// assert_eq!(handle.await?, 9);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    #[cfg(feature = "async")]
    pub fn submit_async<T: RegisteredTask>(&self, task: T) -> SubmitFuture<'_, T> {
        SubmitFuture::new(&self.0, task, key_of::<T>())
    }

    /// Returns an iterator over the outcomes of all tasks whose handles were dropped, in the order in which they arrive.
    /// It blocks for each, and ends when no such task is in flight, as that of
    /// [`TypedPool::drain`](crate::pool::TypedPool::drain) does. See [`AnyOutcome`] for an example.
    pub fn drain(&self) -> AnyDrain<'_> {
        AnyDrain(self.0.unclaimed())
    }

    /// Returns an iterator that runs these tasks, which are of one type, and returns their outcomes in the order of the
    /// tasks, as [`TypedPool::map`](crate::pool::TypedPool::map) does.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../registered.in")]
    /// let pool = Pool::start(2)?;
    /// let squares = pool.map((1..=1000).map(square::new)).map(|outcome| outcome.result);
    /// assert_eq!(squares.collect::<Result<Vec<_>, _>>()?[11], 144);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<T, I>(&self, tasks: I) -> Map<'_, T, I::IntoIter>
    where
        T: RegisteredTask,
        I: IntoIterator<Item = T>,
    {
        Map::new(self.0.shared(), key_of::<T>(), tasks.into_iter(), true)
    }

    /// Returns an iterator that runs these tasks, which are of one type, and returns their outcomes in the order in which
    /// they arrive, as [`TypedPool::map_unordered`](crate::pool::TypedPool::map_unordered) does.
    pub fn map_unordered<T, I>(&self, tasks: I) -> Map<'_, T, I::IntoIter>
    where
        T: RegisteredTask,
        I: IntoIterator<Item = T>,
    {
        Map::new(self.0.shared(), key_of::<T>(), tasks.into_iter(), false)
    }

    /// Returns how many tasks were submitted and have no outcome in this process yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    /// Shuts the pool down, in bounded time, as [`TypedPool::shutdown`](crate::pool::TypedPool::shutdown) does.
    ///
    /// # Errors
    ///
    /// [`ShutdownError::Forked`], if this is a forked child of the pool's process.
    pub fn shutdown(&self, how: Shutdown, timeout: Duration) -> Result<Report, ShutdownError> {
        self.0.shut_down(how, timeout)
    }

    /// Shuts the pool down, as [`shutdown`](Self::shutdown) does, for async callers. Needs the feature `async`.
    ///
    /// Dropping the future does not stop a shutdown that has begun, which is with its first poll.
    ///
    /// # Errors
    ///
    /// [`ShutdownError::Forked`], if this is a forked child of the pool's process.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../registered.in")]
    /// # ::futures::executor::block_on(async {
    /// let pool = Pool::start(2)?;
    /// let report = pool.shutdown_async(Shutdown::Drain, Duration::from_secs(10)).await?;
    /// assert!(report.is_balanced());
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    #[cfg(feature = "async")]
    pub fn shutdown_async(&self, how: Shutdown, timeout: Duration) -> ShutdownFuture<'_> {
        ShutdownFuture::new(&self.0, how, timeout)
    }
}

impl Builder<Pool> {
    /// Starts the workers, and blocks until all of them are ready.
    ///
    /// # Errors
    ///
    /// [`StartError`]: as for a [`TypedPool`](crate::pool::TypedPool), or
    /// [two tasks have the same name](StartError::SameName).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../registered.in")]
    /// let pool = Pool::builder().workers(2).start()?;
    /// println!("{}", pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?);
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn start(self) -> Result<Pool, StartError> {
        check_role()?;
        let tasks = registered().map_err(|same| StartError::SameName {
            name: same.name,
            one: same.places[0],
            other: same.places[1],
        })?;
        let pool = start(self.checked()?, tasks.identity(), Location::caller())?;
        Ok(Pool(pool))
    }
}

const fn key_of<T: RegisteredTask>() -> TaskKey {
    const { TaskKey::of(T::NAME) }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("Pool", f)
    }
}

/// An iterator over outcomes as they arrive. Returned by [`Pool::drain`].
#[must_use = "iterators do nothing unless consumed"]
pub struct AnyDrain<'a>(Unclaimed<'a>);

#[cfg(feature = "async")]
impl<'a> AnyDrain<'a> {
    pub(super) fn into_unclaimed(self) -> Unclaimed<'a> {
        self.0
    }
}

impl Iterator for AnyDrain<'_> {
    type Item = AnyOutcome;

    fn next(&mut self) -> Option<AnyOutcome> {
        let (key, outcome) = self.0.next()?;
        let shared = Arc::clone(self.0.shared());
        Some(AnyOutcome::new(key, shared, outcome))
    }
}

impl fmt::Debug for AnyDrain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyDrain")
            .field("in_flight", &self.0.in_flight())
            .finish_non_exhaustive()
    }
}
