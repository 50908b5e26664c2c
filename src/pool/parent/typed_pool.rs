//! The pool of one type of task, as its callers see it. `waits` has groups, scopes, and waits for all tasks.

mod service;
mod waits;

use super::builder::Builder;
use super::drain::Drain;
#[cfg(feature = "async")]
use super::futures::{ShutdownFuture, SubmitFuture};
use super::handle::TaskHandle;
use super::map::Map;
use super::report::Report;
use super::running::RunningPool;
use super::shutdown::Shutdown;
use super::starmap::{MakeFrom, Starmap};
use super::submission::Submission;
use crate::error::{ShutdownError, SubmitError, TrySubmitError};
use crate::pool::outcome::TaskId;
use crate::pool::task::Task;
use crate::pool::wire::task_message::TaskKey;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

/// A pool of worker processes that run tasks of the one type `T`.
///
/// See [the module](crate::pool) for what it guarantees. All methods take `&self`, so threads can share a pool.
///
/// Dropping a pool that was not [shut down](TypedPool::shutdown) cancels the tasks in flight and stops the workers, by force
/// if they do not end within [`Builder::grace`]. With the feature `tracing`, it emits a warning that names the place
/// where the pool was made. [`Builder::on_drop`] chooses otherwise.
///
/// # Examples
///
/// The type is the task, and the first line of `main` is where workers begin:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use workring::pool::{Context, Task, TypedPool, run_if_worker_for};
///
/// #[derive(Serialize, Deserialize)]
/// struct Square(u64);
///
/// impl Task for Square {
///     type Output = u64;
///     type Error = String;
///
///     fn run(self, _: &Context) -> Result<u64, String> {
///         self.0.checked_mul(self.0).ok_or_else(|| format!("{} is too large", self.0))
///     }
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     run_if_worker_for::<Square>();
///     let pool = TypedPool::<Square>::builder().workers(4).start()?;
///     assert_eq!(pool.submit(Square(12))?.wait()?, 144);
///     Ok(())
/// }
/// ```
pub struct TypedPool<T: Task> {
    pool: RunningPool,
    task: PhantomData<fn(T) -> T>,
}

impl<T: Task> TypedPool<T> {
    /// Returns a builder for a pool. [`Builder::start`] starts it.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(2).retries(1).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> Builder<Self> {
        Builder::new()
    }

    pub(super) fn new(pool: RunningPool) -> Self {
        Self {
            pool,
            task: PhantomData,
        }
    }

    /// Submits a task. Blocks while the pool is at [capacity](Builder::capacity). While blocked, it moves results that
    /// arrive into this process's own memory. So a caller that submits all tasks before it takes any outcome does not
    /// deadlock; beyond [`Builder::max_unclaimed_results`] it gets an error.
    ///
    /// Keep the handle to wait for this task, or drop it and take the outcome from [`drain`](TypedPool::drain).
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task: the pool is being shut down; too many outcomes are not claimed; the task is too
    /// large, or can't be encoded; or no worker can be started (see [`Builder::max_worker_failures`]).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let handle = pool.submit(Square(3))?;
    /// assert_eq!(handle.wait()?, 9);
    ///
    /// pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    /// let refused = pool.submit(Square(4)).expect_err("it is shut down");
    /// assert!(refused.is_closed());
    /// assert_eq!(refused.into_task(), Square(4));
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit(&self, task: T) -> Result<TaskHandle<T>, SubmitError<T>> {
        self.task(task).submit()
    }

    /// Submits a task, without waiting for other tasks. Moves results that have arrived into this process's own memory.
    ///
    /// # Errors
    ///
    /// [`TrySubmitError`], with the task: as many tasks are in flight as allowed, or there is no memory for a task of
    /// this size now; or as for [`submit`](TypedPool::submit).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Nap>::builder().workers(1).capacity(1).start()?;
    /// let running = pool.try_submit(Nap(HOUR))?;
    /// match pool.try_submit(Nap(HOUR)) {
    ///     Err(refused) if refused.is_full() => println!("later, perhaps"),
    ///     other => panic!("{other:?}"),
    /// }
    /// # running.cancel();
    /// # assert!(running.wait().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_submit(&self, task: T) -> Result<TaskHandle<T>, TrySubmitError<T>> {
        self.task(task).try_submit()
    }

    /// Submits a task, as [`submit`](TypedPool::submit) does, and discards its outcome, whatever it is: nothing is kept of
    /// the task once it has ended, and it is counted in the [`Report`] only. Returns its id.
    ///
    /// This is not the same as dropping the handle that `submit` returns: then the outcome is kept for
    /// [`drain`](TypedPool::drain), and someone has to take it. See [`TaskHandle`] for all ways.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task, as for [`submit`](TypedPool::submit).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// for n in 0..10 {
    ///     pool.submit_detached(Square(n))?;
    /// }
    /// assert!(pool.drain().next().is_none());
    /// let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    /// assert_eq!((report.submitted, report.completed), (10, 10));
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit_detached(&self, task: T) -> Result<TaskId, SubmitError<T>> {
        self.task(task).submit_detached()
    }

    /// Returns a submission of this task, for which more can be set: see [`Submission`].
    #[inline]
    pub fn task(&self, task: T) -> Submission<'_, T> {
        self.pool.task(task, TaskKey::NONE)
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
    #[doc = include_str!("../example.in")]
    /// # ::futures::executor::block_on(async {
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let handle = pool.submit_async(Square(3)).await?;
    /// assert_eq!(handle.await?, 9);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    #[cfg(feature = "async")]
    pub fn submit_async(&self, task: T) -> SubmitFuture<'_, T> {
        self.task(task).submit_async()
    }

    /// Returns an iterator over the outcomes of all tasks whose handles were dropped, in the order in which they
    /// arrive. It blocks for each, and ends when no such task is in flight; tasks that are submitted in the meantime
    /// count as well, those of [`map`](TypedPool::map) do not. Several threads can drain a pool: each outcome goes to one of
    /// them.
    ///
    /// Each output is decoded when it is returned, on the caller's thread. If it can't be decoded, or its `Deserialize`
    /// panics, the outcome is [`TaskError::Transport`](crate::pool::TaskError::Transport).
    ///
    /// After [`shutdown`](TypedPool::shutdown), returns the outcomes that were not claimed before. In a forked child of the
    /// pool's process, returns one outcome, [`TaskError::Unknown`](crate::pool::TaskError::Unknown), and ends.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// for n in 0..10 {
    ///     pool.submit(Square(n))?; // and the handle is dropped
    /// }
    /// let mut sum = 0;
    /// for outcome in pool.drain() {
    ///     sum += outcome.result?;
    /// }
    /// assert_eq!(sum, 285);
    /// # Ok(())
    /// # }
    /// ```
    pub fn drain(&self) -> Drain<'_, T> {
        Drain::new(self.pool.unclaimed())
    }

    /// Returns an iterator that runs these tasks and returns their outcomes in the order of the tasks.
    ///
    /// Nothing is done before the first call of [`next`](Iterator::next). Tasks are taken from the iterator one by
    /// one, on the caller's thread, while fewer than a [window](Map::window) of them are queued, running, or done and
    /// not yet returned. Each call blocks until the outcome that is next has arrived. So a million tasks take no more memory than a window of them, and a slow caller slows the
    /// workers down.
    ///
    /// Each task has one outcome, even if its worker dies: see [`OutcomeOf`](crate::pool::OutcomeOf). If a task can't be
    /// sent, its outcome is [`TaskError::Transport`](crate::pool::TaskError::Transport). If the pool is shut down before
    /// the map ends, the tasks that it had accepted have their outcomes; the next task is
    /// [`Cancelled`](crate::pool::TaskError::Cancelled), and no more are taken from the iterator.
    ///
    /// Dropping the map cancels its tasks in flight, as [`TaskHandle::cancel`] does, and discards their outcomes.
    ///
    /// A task that takes long delays the outcomes of the tasks behind it. As soon as a whole window of them waits for
    /// it, it delays the workers as well. If the order does not matter, use [`map_unordered`](TypedPool::map_unordered).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// # let pool = TypedPool::<Square>::builder().start()?;
    /// let squares: Result<Vec<u64>, _> = pool
    ///     .map((1..=1000).map(Square))
    ///     .map(|outcome| outcome.result)
    ///     .collect();
    /// assert_eq!(squares?[11], 144);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map<I: IntoIterator<Item = T>>(&self, tasks: I) -> Map<'_, T, I::IntoIter> {
        Map::new(self.pool.shared(), TaskKey::NONE, tasks.into_iter(), true)
    }

    /// Returns an iterator that runs these tasks and returns their outcomes in the order in which they arrive: none
    /// waits for another. Otherwise the same as [`map`](TypedPool::map).
    ///
    /// [`Outcome::id`](crate::pool::Outcome::id) identifies the task: later tasks of a map have higher ids.
    ///
    /// # Examples
    ///
    /// Many small tasks, sent 64 at a time, with a window of 256:
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// # let pool = TypedPool::<Square>::builder().start()?;
    /// let mut sum = 0;
    /// for outcome in pool.map_unordered((1..=1000).map(Square)).chunk(64).window(256) {
    ///     match outcome.result {
    ///         Ok(square) => sum += square,
    ///         Err(error) => eprintln!("task {}: {error}", outcome.id),
    ///     }
    /// }
    /// assert_eq!(sum, 333_833_500);
    /// # Ok(())
    /// # }
    /// ```
    pub fn map_unordered<I: IntoIterator<Item = T>>(&self, tasks: I) -> Map<'_, T, I::IntoIter> {
        Map::new(self.pool.shared(), TaskKey::NONE, tasks.into_iter(), false)
    }

    /// Returns an iterator that runs the tasks that `make` makes of tuples of arguments, and returns their outcomes in the
    /// order of the tuples, as [`map`](TypedPool::map) does. `make` is any function of one to eight parameters, and is called
    /// when a task is taken.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// # let pool = TypedPool::<Square>::builder().start()?;
    /// let sums = pool.starmap(|a: u64, b: u64| Square(a + b), [(1, 2), (3, 4)]);
    /// let squares = sums.map(|outcome| outcome.result).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(squares, [9, 49]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn starmap<F, I>(&self, make: F, arguments: I) -> Map<'_, T, Starmap<F, I::IntoIter>>
    where
        I: IntoIterator,
        F: MakeFrom<I::Item, Made = T>,
    {
        self.map(Starmap::new(make, arguments.into_iter()))
    }

    /// Returns an iterator that runs the tasks that `make` makes of tuples of arguments, as [`starmap`](TypedPool::starmap)
    /// does, and returns their outcomes in the order in which they arrive.
    pub fn starmap_unordered<F, I>(
        &self,
        make: F,
        arguments: I,
    ) -> Map<'_, T, Starmap<F, I::IntoIter>>
    where
        I: IntoIterator,
        F: MakeFrom<I::Item, Made = T>,
    {
        self.map_unordered(Starmap::new(make, arguments.into_iter()))
    }

    /// Returns how many tasks were submitted and have no outcome in this process yet. The result of such a task may
    /// have arrived in the queue. Never waits. In a forked child of the pool's process it is 0.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Nap>::builder().workers(1).start()?;
    /// let naps = [pool.submit(Nap(HOUR))?, pool.submit(Nap(HOUR))?];
    /// assert_eq!(pool.in_flight(), 2);
    /// for nap in naps {
    ///     nap.cancel();
    ///     assert!(nap.wait().is_err());
    /// }
    /// assert_eq!(pool.in_flight(), 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pool.in_flight()
    }

    /// Shuts the pool down, in bounded time. It refuses tasks from now on. With [`Shutdown::Drain`], tasks in flight
    /// are run, for at most `timeout`; those that are left are cancelled. With [`Shutdown::Cancel`], `timeout` has no
    /// effect. Then the workers are stopped: those that do not stop within [`Builder::grace`] get `SIGTERM`, and after
    /// the same time again `SIGKILL`. Every task has its outcome then, and outcomes can be claimed as before.
    ///
    /// May be called again, and by several threads at once: all get the same report. A later call can only shorten the
    /// shutdown: the earliest deadline of all calls holds, and [`Shutdown::Cancel`] ends the draining at once.
    ///
    /// # Errors
    ///
    /// [`ShutdownError::Forked`], if this is a forked child of the pool's process.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let handle = pool.submit(Square(3))?;
    /// let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    /// assert!(report.is_balanced());
    /// assert_eq!((report.submitted, report.completed), (1, 1));
    /// assert_eq!(pool.shutdown(Shutdown::Cancel, Duration::ZERO)?, report);
    /// assert_eq!(handle.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn shutdown(&self, how: Shutdown, timeout: Duration) -> Result<Report, ShutdownError> {
        self.pool.shut_down(how, timeout)
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
    #[doc = include_str!("../example.in")]
    /// # ::futures::executor::block_on(async {
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let report = pool.shutdown_async(Shutdown::Drain, Duration::from_secs(10)).await?;
    /// assert!(report.is_balanced());
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    #[cfg(feature = "async")]
    pub fn shutdown_async(&self, how: Shutdown, timeout: Duration) -> ShutdownFuture<'_> {
        ShutdownFuture::new(&self.pool, how, timeout)
    }
}

impl<T: Task> fmt::Debug for TypedPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pool.fmt_as("TypedPool", f)
    }
}
