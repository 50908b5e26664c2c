//! The pool of all registered tasks, as its callers see it.

use super::any_outcome::key_of;
use super::builder::Builder;
use super::drain::AnyDrain;
#[cfg(feature = "async")]
use super::futures::{JoinFuture, ShutdownFuture, SubmitFuture};
use super::group::AnyGroup;
use super::handle::TaskHandle;
use super::map::Map;
use super::report::Report;
use super::results::Home;
use super::rollout::Rollout;
use super::running::RunningPool;
use super::settings::Workers;
use super::shutdown::Shutdown;
use super::starmap::{MakeFrom, Starmap};
use super::start::{check_role, start};
use super::stats::PoolStats;
use super::submission::{Submission, submit_registered};
use crate::error::{
    JoinTimeout, RolloutError, ShutdownError, StartError, SubmitError, TrySubmitError,
};
use crate::pool::outcome::TaskId;
use crate::pool::worker::Runner as _;
use crate::pool::worker::registry::{RegisteredTask, registered};
use core::fmt;
use core::time::Duration;
use std::panic::Location;
use std::time::Instant;

/// A pool of worker processes that runs every task of the program and of the libraries that it links: those made by
/// `#[workring::task]`, and types that are [registered](crate::register).
///
/// See [the module](crate::pool) for what it guarantees. All methods take `&self`, so threads can share a pool.
///
/// Dropping a pool that was not [shut down](Pool::shutdown) cancels the tasks in flight and stops the workers, by force
/// if they do not end within [`Builder::grace`]. With the feature `tracing`, it emits a warning that names the place
/// where the pool was made. [`Builder::on_drop`] chooses otherwise.
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

    submit_registered! {
        submit: {
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
        }
        try_submit: {
            /// Submits a task, without waiting for other tasks, as [`TypedPool::try_submit`](crate::pool::TypedPool::try_submit) does.
            ///
            /// # Errors
            ///
            /// [`TrySubmitError`], with the task: as many tasks are in flight as allowed, or there is no memory for a task of
            /// this size now; or as for [`submit`](Pool::submit).
        }
        submit_detached: {
            /// Submits a task and discards its outcome, as [`TypedPool::submit_detached`](crate::pool::TypedPool::submit_detached)
            /// does. Returns the id of the task.
            ///
            /// # Errors
            ///
            /// [`SubmitError`], with the task.
            ///
            /// # Examples
            ///
            /// ```
            #[doc = include_str!("../registered.in")]
            /// let pool = Pool::start(2)?;
            /// pool.submit_detached(shout::new("fire and forget".to_owned()))?;
            /// let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
            /// assert_eq!(report.completed, 1);
            /// # Ok(())
            /// # }
            /// ```
        }
        submit_async: {
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
        }
    }

    /// Returns a submission of this task, for which more can be set: see [`Submission`].
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../registered.in")]
    /// let pool = Pool::start(2)?;
    /// pool.task(square::new(12)).tag("twelve").submit()?;
    /// let outcome = pool.drain().next().expect("one");
    /// assert_eq!(outcome.tag().and_then(Tag::text), Some("twelve"));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn task<T: RegisteredTask>(&self, task: T) -> Submission<'_, T> {
        self.0.task(task, key_of::<T>())
    }

    /// Returns an iterator over the outcomes of all tasks whose handles were dropped, in the order in which they arrive. It
    /// blocks for each, and ends when no such task is in flight, as that of
    /// [`TypedPool::drain`](crate::pool::TypedPool::drain) does. See [`AnyOutcome`](crate::pool::AnyOutcome) for an
    /// example.
    pub fn drain(&self) -> AnyDrain<'_> {
        AnyDrain::new(self.0.unclaimed())
    }

    /// Returns an iterator over the outcomes of all tasks whose handles were dropped, for a consumer that runs as long as the
    /// pool: it ends when the pool is shut down, as that of [`TypedPool::outcomes`](crate::pool::TypedPool::outcomes) does.
    pub fn outcomes(&self) -> AnyDrain<'_> {
        AnyDrain::new(self.0.unclaimed().until_shutdown())
    }

    /// Blocks until no task is in flight, as [`TypedPool::join`](crate::pool::TypedPool::join) does. Takes no outcome.
    pub fn join(&self) {
        // Without a deadline it never fails.
        let _ = self.0.shared().join(Home::Pool, None);
    }

    /// Blocks until no task is in flight, for at most `timeout`, as
    /// [`TypedPool::join_timeout`](crate::pool::TypedPool::join_timeout) does.
    ///
    /// # Errors
    ///
    /// [`JoinTimeout`]: some are by then.
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinTimeout> {
        let deadline = Instant::now().checked_add(timeout);
        self.0.shared().join(Home::Pool, deadline)
    }

    /// Blocks until no task is in flight, but not beyond `deadline`, as
    /// [`TypedPool::join_deadline`](crate::pool::TypedPool::join_deadline) does.
    ///
    /// # Errors
    ///
    /// [`JoinTimeout`]: some are by then.
    pub fn join_deadline(&self, deadline: Instant) -> Result<(), JoinTimeout> {
        self.0.shared().join(Home::Pool, Some(deadline))
    }

    /// Waits until no task is in flight, for async callers, as [`TypedPool::join_async`](crate::pool::TypedPool::join_async)
    /// does. Needs the feature `async`.
    #[cfg(feature = "async")]
    pub fn join_async(&self) -> JoinFuture<'_> {
        JoinFuture::new(self.0.shared(), Home::Pool)
    }

    /// Returns a group: tasks of any types whose outcomes are the group's own. See [`AnyGroup`].
    #[must_use = "dropping the group cancels its tasks"]
    pub fn group(&self) -> AnyGroup {
        AnyGroup::new(self.0.shared())
    }

    /// Calls `act` with a [group](AnyGroup), and waits for all tasks that were submitted to it, as
    /// [`TypedPool::scope`](crate::pool::TypedPool::scope) does.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../registered.in")]
    /// let pool = Pool::start(2)?;
    /// let text = pool.scope(|scope| {
    ///     let (number, text) = (scope.submit(square::new(12))?, scope.submit(shout::new("x".to_owned()))?);
    ///     Ok::<_, Box<dyn std::error::Error>>(format!("{}{}", number.wait()?, text.wait()?))
    /// })?;
    /// assert_eq!(text, "144X");
    /// # Ok(())
    /// # }
    /// ```
    pub fn scope<R>(&self, act: impl FnOnce(&AnyGroup) -> R) -> R {
        AnyGroup::scope(self.0.shared(), act)
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

    /// Returns an iterator that runs the tasks that `make` makes of tuples of arguments, and returns their outcomes in the
    /// order of the tuples: `make` is the `new` of a `#[workring::task]` with as many parameters, or another function. See
    /// [`TypedPool::starmap`](crate::pool::TypedPool::starmap).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::Pool;
    ///
    /// workring::auto_worker!();
    ///
    /// #[workring::task]
    /// fn repeat(text: String, count: usize) -> String {
    ///     text.repeat(count)
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let pool = Pool::start(2)?;
    ///     let arguments = [("a".to_owned(), 3), ("bc".to_owned(), 2)];
    ///     let texts = pool.starmap(repeat::new, arguments).map(|outcome| outcome.result);
    ///     assert_eq!(texts.collect::<Result<Vec<_>, _>>()?, ["aaa", "bcbc"]);
    ///     Ok(())
    /// }
    /// ```
    pub fn starmap<F, I>(&self, make: F, arguments: I) -> Map<'_, F::Made, Starmap<F, I::IntoIter>>
    where
        I: IntoIterator,
        F: MakeFrom<I::Item>,
        F::Made: RegisteredTask,
    {
        self.map(Starmap::new(make, arguments.into_iter()))
    }

    /// Returns an iterator that runs the tasks that `make` makes of tuples of arguments, as [`starmap`](Pool::starmap) does, and
    /// returns their outcomes in the order in which they arrive.
    pub fn starmap_unordered<F, I>(
        &self,
        make: F,
        arguments: I,
    ) -> Map<'_, F::Made, Starmap<F, I::IntoIter>>
    where
        I: IntoIterator,
        F: MakeFrom<I::Item>,
        F::Made: RegisteredTask,
    {
        self.map_unordered(Starmap::new(make, arguments.into_iter()))
    }

    /// Returns how many tasks were submitted and have no outcome in this process yet.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.in_flight()
    }

    /// Returns the figures of the pool at this moment, as [`TypedPool::stats`](crate::pool::TypedPool::stats) does.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../registered.in")]
    /// let pool = Pool::start(2)?;
    /// assert_eq!(pool.submit(square::new(3))?.wait()?, 9);
    /// assert_eq!(pool.stats().tasks.completed, 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.0.shared().pool_stats()
    }

    /// Gives the recorder of the facade `metrics` the figures of the pool, as
    /// [`TypedPool::publish_metrics`](crate::pool::TypedPool::publish_metrics) does. Needs the feature `metrics`.
    #[cfg(feature = "metrics")]
    pub fn publish_metrics(&self) {
        self.0.shared().publish_metrics();
    }

    /// Replaces every worker by another process, one after the other, as [`TypedPool::recycle`](crate::pool::TypedPool::recycle)
    /// does.
    ///
    /// # Errors
    ///
    /// [`RolloutError::Forked`], if this is a forked child of the pool's process.
    pub fn recycle(&self) -> Result<Rollout, RolloutError> {
        self.0.recycle()
    }

    /// Changes the number of workers, as [`TypedPool::resize`](crate::pool::TypedPool::resize) does.
    ///
    /// # Errors
    ///
    /// [`RolloutError`]: the number is 0, or more than there is room for; or this is a forked child of the pool's process.
    pub fn resize(&self, workers: impl Into<Workers>) -> Result<Rollout, RolloutError> {
        self.0.resize(workers.into())
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

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("Pool", f)
    }
}
