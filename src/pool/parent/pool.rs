//! The parent's side, as its callers see it.

use super::builder::Builder;
use super::handle::TaskHandle;
use super::map::Map;
use super::report::Report;
use super::results::{NextUnclaimed, Owner, Refused, WaitError};
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
/// See [the module](crate::pool) for what it is and does. All methods take `&self`: threads may share a pool.
///
/// Dropping a pool that was not [shut down](Pool::shutdown) cancels what is left, ends the workers, those that don't obey
/// after [`Builder::grace`] by force, and logs a warning that names the place where the pool was made.
pub struct Pool<T: Task> {
    pub(super) shared: Arc<Shared<T>>,
    shutdown: ShutdownState,
    made_at: &'static Location<'static>,
}

impl<T: Task> Pool<T> {
    /// What the pool is made with. Nothing is started yet.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Square>::builder().workers(2).retries(1).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> Builder<T> {
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

    /// Hand a task in. While as many are [in flight](Builder::capacity) as may be, wait, and meanwhile move results that
    /// arrive into this process's own memory: so whoever submits everything first and reads afterwards does not wait for
    /// ever.
    ///
    /// Keep the handle to wait for this very task, or drop it and take the outcome from [`drain`](Pool::drain).
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task: the pool is being shut down; too many outcomes were not claimed; the task is too
    /// large, or can't be encoded; or no worker can be started, as [`Builder::max_worker_failures`] says.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
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
        match self.hand_in(task, true) {
            Ok(handle) => Ok(handle),
            Err(TrySubmitError::Refused(error)) => Err(error),
            // It waits for ever.
            Err(TrySubmitError::Full(task)) => Err(SubmitError::Closed(task)),
        }
    }

    /// Hand a task in, if that needs no wait for others. Results that have arrived are moved into this process's memory.
    ///
    /// # Errors
    ///
    /// [`TrySubmitError`], with the task: as many are in flight as may be, or there is no block for a task of this size now;
    /// or as for [`submit`](Pool::submit).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Nap>::builder().workers(1).capacity(1).start()?;
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
        self.hand_in(task, false)
    }

    fn hand_in(&self, task: T, waits: bool) -> Result<TaskHandle<T>, TrySubmitError<T>> {
        let shared = &self.shared;
        let refused = |error| Err(TrySubmitError::Refused(error));
        if !shared.origin.is_current() {
            return refused(SubmitError::Forked(task));
        }
        // Before anything is done: it is the caller's own.
        let limit = task.time_limit();
        let deadline = (!waits).then(Instant::now);
        let ticket = match shared.results.reserve(Owner::Handle, limit, deadline) {
            Ok(Ok(ticket)) => ticket,
            Ok(Err(Refused::Closed)) | Err(WaitError::Ended) => {
                return refused(SubmitError::Closed(task));
            }
            Ok(Err(Refused::NoWorkers(why))) => {
                let why = why.as_ref().to_owned();
                return refused(SubmitError::NoWorkers { task, why });
            }
            Ok(Err(Refused::Unclaimed { max })) => {
                return refused(SubmitError::Unclaimed { task, max });
            }
            // `time_limit` has forked.
            Err(WaitError::Unknown(_)) if !shared.origin.is_current() => {
                return refused(SubmitError::Forked(task));
            }
            Ok(Err(Refused::Unknown(what))) | Err(WaitError::Unknown(what)) => {
                return refused(SubmitError::Corrupt { task, what });
            }
            Err(WaitError::Deadline) => return Err(TrySubmitError::Full(task)),
        };
        let payload = Payload::Task(task);
        let sent = shared.send(Envelope { ticket, payload }, waits)?;
        let handle = TaskHandle::new(Arc::clone(shared), ticket.id);
        // Should the task's `Drop` panic, the handle is dropped as well, and the outcome is anybody's.
        drop(sent);
        Ok(handle)
    }

    /// The outcomes of all tasks whose handles were dropped, in the order in which they arrive, waiting for each. Ends when
    /// no such task is in flight; those that are submitted meanwhile count, too. Several threads may drain: each outcome
    /// goes to one of them.
    ///
    /// Each output is decoded when it is given out, on the caller's thread. One that can't be decoded, also because its
    /// `Deserialize` panics, is [`TaskError::Transport`].
    ///
    /// After [`shutdown`](Pool::shutdown) it gives what nobody has claimed before. In a forked child of the pool's process it
    /// gives one outcome, [`TaskError::Unknown`], and ends.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
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
            is_lost: false,
        }
    }

    /// Run all these tasks, and give their outcomes in the same order: the first task's first.
    ///
    /// Nothing is done before the first call of [`next`](Iterator::next), and never more than is needed: tasks are taken
    /// from the iterator one after the other, on the caller's thread, as long as fewer than a
    /// [window](Map::window) of them are on their way to workers, at work, or done and not yet given to the caller. So a
    /// million tasks take no more memory than a window of them, and a caller who is slow slows the workers down, not
    /// the machine.
    ///
    /// Each task has one outcome, also if its worker dies: see [`OutcomeOf`]. One that can't be sent has
    /// [`TaskError::Transport`]. If the pool is shut down meanwhile, those that were accepted have theirs; the next one is
    /// [`Cancelled`](TaskError::Cancelled), and no more are taken from the iterator.
    ///
    /// Dropping the map cancels what is left of it, as [`TaskHandle::cancel`] does, and forgets the outcomes.
    ///
    /// In the order of the tasks means that one that takes long holds up the outcomes of those behind it, and, as soon
    /// as a whole window of them is waiting for it, the workers. Where the order does not matter, take
    /// [`map_unordered`](Pool::map_unordered).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// # let pool = Pool::<Square>::builder().start()?;
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

    /// As [`map`](Pool::map), with the outcomes in the order in which they arrive: none waits for another.
    ///
    /// [`Outcome::id`](crate::pool::Outcome::id) says which task it is: later ones of the same map have higher numbers.
    ///
    /// # Examples
    ///
    /// Many small tasks: sent 64 at a time, at the most 256 on their way.
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// # let pool = Pool::<Square>::builder().start()?;
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

    /// How many tasks were submitted and have no outcome yet, or one that has not been looked at.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Nap>::builder().workers(1).start()?;
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
        if !results.is_here() {
            return 0;
        }
        results.with(|state| state.in_flight())
    }

    /// End the pool, within bounds: refuse submissions; with [`Shutdown::Drain`], let what was submitted be done, for
    /// `timeout` at the most; cancel what is left; stop the workers, by `SIGTERM` and then by `SIGKILL` where they don't obey
    /// within [`Builder::grace`] each; file the results that have arrived. Every task has its outcome then, which can be
    /// claimed as before.
    ///
    /// May be called again, and by several threads at once: all get the same report. [`Shutdown::Cancel`], and an earlier end
    /// of the time, hurry those on that wait.
    ///
    /// # Errors
    ///
    /// [`ShutdownError::Forked`]: this is a forked child, and not its pool.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
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
        if !self.shared.origin.is_current() {
            return Err(ShutdownError::Forked);
        }
        Ok(self.shutdown.shut_down(&self.shared, how, timeout))
    }
}

impl<T: Task> Drop for Pool<T> {
    fn drop(&mut self) {
        if !self.shared.origin.is_current() || self.shutdown.is_over() {
            return;
        }
        let report = self
            .shutdown
            .shut_down(&self.shared, Shutdown::Cancel, Duration::ZERO);
        // A subscriber that panics does not make this panic.
        let _ = catch_panic_message(|| warn_of_drop(self.made_at, &report));
    }
}

#[cfg(feature = "tracing")]
fn warn_of_drop(made_at: &Location<'_>, report: &Report) {
    tracing::warn!(
        target: "workring",
        made_at = %made_at,
        report = %report,
        "a pool was dropped without `shutdown`: what it had not done was cancelled"
    );
}

#[cfg(not(feature = "tracing"))]
fn warn_of_drop(_: &Location<'_>, _: &Report) {}

impl<T: Task> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("made_at", &self.made_at)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// Outcomes as they arrive. Made by [`Pool::drain`].
#[must_use = "iterators do nothing unless consumed"]
pub struct Drain<'a, T: Task> {
    pool: &'a Pool<T>,
    /// Whether the caller has been given the outcome that stands for all that can't be known.
    is_lost: bool,
}

impl<T: Task> Iterator for Drain<'_, T> {
    type Item = OutcomeOf<T>;

    fn next(&mut self) -> Option<OutcomeOf<T>> {
        let shared = &self.pool.shared;
        let next = || {
            shared
                .results
                .wait_until(None, |state| match state.take_unclaimed() {
                    NextUnclaimed::Outcome(outcome) => Some(Some(outcome)),
                    NextUnclaimed::None => Some(None),
                    NextUnclaimed::Pending => None,
                })
        };
        let sealed = match next() {
            Ok(sealed) => sealed,
            // Then each task has an outcome that says so.
            Err(WaitError::Unknown(what)) if shared.results.is_here() => {
                shared.results.lose(what);
                next().ok()?
            }
            Err(WaitError::Unknown(what)) => self.lose(what),
            Err(WaitError::Ended | WaitError::Deadline) => None,
        };
        Some(shared.open(sealed?))
    }
}

impl<T: Task> Drain<'_, T> {
    /// In a forked child.
    #[cold]
    fn lose(&mut self, what: &'static str) -> Option<EncodedOutcome> {
        let is_first = !core::mem::replace(&mut self.is_lost, true);
        is_first.then(|| Outcome::unknown(TaskId::NONE, what))
    }
}

impl<T: Task> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drain").field(self.pool).finish()
    }
}
