//! The pool, as its callers see it.

use super::builder::Builder;
use super::handle::TaskHandle;
use super::map::Map;
use super::report::Report;
use super::results::{NextUnclaimed, Owner, WaitError};
use super::shared::Shared;
use super::shutdown::{Shutdown, ShutdownState};
use crate::error::{ShutdownError, SubmitError, TrySubmitError};
use crate::pool::outcome::{Outcome, TaskId};
use crate::pool::task::{OutcomeOf, Task};
use crate::pool::wire::panics::catch_panic_message;
use crate::pool::wire::result_message::EncodedOutcome;
use crate::pool::wire::task_message::{Envelope, Payload};
use core::fmt;
use core::time::Duration;
use std::panic::Location;
use std::sync::Arc;
use std::time::Instant;

/// A pool of worker processes.
///
/// See [the module](crate::pool) for what it guarantees. All methods take `&self`, so threads can share a pool.
///
/// Dropping a pool that was not [shut down](TypedPool::shutdown) cancels the tasks in flight and stops the workers, by force
/// if they do not end within [`Builder::grace`]. With the feature `tracing`, it emits a warning that names the place
/// where the pool was made.
pub struct TypedPool<T: Task> {
    shared: Arc<Shared<T>>,
    shutdown: ShutdownState,
    made_at: &'static Location<'static>,
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

    pub(super) fn new(
        shared: Arc<Shared<T>>,
        shutdown: ShutdownState,
        made_at: &'static Location<'static>,
    ) -> Self {
        Self {
            shared,
            shutdown,
            made_at,
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
        match self.reserve_and_send(task, true) {
            Ok(handle) => Ok(handle),
            Err(TrySubmitError::Refused(error)) => Err(error),
            // Not returned, since there is no deadline.
            Err(TrySubmitError::Full(task)) => Err(SubmitError::Closed(task)),
        }
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
        self.reserve_and_send(task, false)
    }

    fn reserve_and_send(&self, task: T, waits: bool) -> Result<TaskHandle<T>, TrySubmitError<T>> {
        let shared = &self.shared;
        let forked = |task| Err(TrySubmitError::Refused(SubmitError::Forked(task)));
        if !shared.owner.is_current() {
            return forked(task);
        }
        // The program's code: called before anything is reserved.
        let limit = task.time_limit();
        let deadline = (!waits).then(Instant::now);
        let attempt = match shared.results.reserve(Owner::Handle, limit, deadline) {
            Ok(attempt) => attempt,
            // `time_limit` has forked, and this is the child.
            Err(_) if !shared.owner.is_current() => return forked(task),
            Err(error) => return Err(TrySubmitError::from(error).map(|()| task)),
        };
        let payload = Payload::Task(task);
        let sent = shared.send(Envelope { attempt, payload }, waits)?;
        let handle = TaskHandle::new(Arc::clone(shared), attempt.id);
        // If the task's `Drop` panics, the handle is dropped as well, and the outcome goes to `drain`.
        drop(sent);
        Ok(handle)
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
        Drain {
            pool: self,
            has_reported_fork: false,
        }
    }

    /// Returns an iterator that runs these tasks and returns their outcomes in the order of the tasks.
    ///
    /// Nothing is done before the first call of [`next`](Iterator::next). Tasks are taken from the iterator one by
    /// one, on the caller's thread, while fewer than a [window](Map::window) of them are queued, running, or done and
    /// not yet returned. So a million tasks take no more memory than a window of them, and a slow caller slows the
    /// workers down.
    ///
    /// Each task has one outcome, even if its worker dies: see [`OutcomeOf`]. If a task can't be sent, its outcome is
    /// [`TaskError::Transport`](crate::pool::TaskError::Transport). If the pool is shut down before the map ends, the
    /// tasks that it had accepted have their outcomes; the next task is
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
        Map::new(&self.shared, tasks.into_iter(), true)
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
        Map::new(&self.shared, tasks.into_iter(), false)
    }

    /// Returns how many tasks were submitted and have no outcome in this process yet. The result of such a task may
    /// have arrived in the queue.
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
        let results = &self.shared.results;
        if !results.is_in_owner() {
            return 0;
        }
        results.with(|tasks| tasks.in_flight())
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
        if !self.shared.owner.is_current() {
            return Err(ShutdownError::Forked);
        }
        Ok(self.shutdown.shut_down(&self.shared, how, timeout))
    }
}

impl<T: Task> Drop for TypedPool<T> {
    fn drop(&mut self) {
        if !self.shared.owner.is_current() || self.shutdown.is_over() {
            return;
        }
        let report = self
            .shutdown
            .shut_down(&self.shared, Shutdown::Cancel, Duration::ZERO);
        // If the subscriber panics, this does not.
        let _ = catch_panic_message(|| warn_of_drop(self.made_at, &report));
    }
}

#[cfg(feature = "tracing")]
fn warn_of_drop(made_at: &Location<'_>, report: &Report) {
    tracing::warn!(
        target: "workring",
        made_at = %made_at,
        report = %report,
        "a pool was dropped without `shutdown`: its tasks in flight were cancelled"
    );
}

#[cfg(not(feature = "tracing"))]
fn warn_of_drop(_: &Location<'_>, _: &Report) {}

impl<T: Task> fmt::Debug for TypedPool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedPool")
            .field("made_at", &self.made_at)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// An iterator over outcomes as they arrive. Returned by [`TypedPool::drain`].
#[must_use = "iterators do nothing unless consumed"]
pub struct Drain<'a, T: Task> {
    pool: &'a TypedPool<T>,
    /// Whether the outcome was returned that stands for all tasks in a forked child.
    has_reported_fork: bool,
}

impl<T: Task> Iterator for Drain<'_, T> {
    type Item = OutcomeOf<T>;

    fn next(&mut self) -> Option<OutcomeOf<T>> {
        let shared = &self.pool.shared;
        let results = &shared.results;
        let next = || {
            results.wait_until(None, |tasks| match tasks.take_unclaimed() {
                NextUnclaimed::Outcome(outcome) => Some(Some(outcome)),
                NextUnclaimed::None => Some(None),
                NextUnclaimed::Pending => None,
            })
        };
        let encoded = match next() {
            Ok(encoded) => encoded,
            // Each task in flight gets an outcome with this reason.
            Err(WaitError::Unknown(what)) if results.is_in_owner() => {
                results.fail_unknown(what);
                next().ok()?
            }
            Err(WaitError::Unknown(what)) => self.report_fork(what),
            Err(WaitError::Ended | WaitError::TimedOut) => None,
        };
        Some(shared.decode(encoded?))
    }
}

impl<T: Task> Drain<'_, T> {
    #[cold]
    fn report_fork(&mut self, what: &'static str) -> Option<EncodedOutcome> {
        let is_first = !core::mem::replace(&mut self.has_reported_fork, true);
        is_first.then(|| Outcome::unknown(TaskId::NONE, what))
    }
}

impl<T: Task> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(self.pool).finish()
    }
}
