//! The figures of a pool: plain data.

use crate::pool::histogram::Histogram;
use crate::pool::outcome::TaskId;
use core::time::Duration;

/// The figures of a pool at one moment. Returned by [`TypedPool::stats`](crate::pool::TypedPool::stats).
///
/// Plain data. The counts of tasks are of one moment, and balance:
///
/// ```text
/// submitted = queued + running + retrying + completed + failed + panicked + crashed + timed_out + cancelled
///             + too_much_memory + no_workers + transport + unknown
/// ```
///
/// What workers do is of almost the same moment.
///
/// # Examples
///
/// ```
#[doc = include_str!("../example.in")]
/// let pool = TypedPool::<Square>::builder().workers(2).timings(true).start()?;
/// assert_eq!(pool.map((0..100).map(Square)).count(), 100);
/// let stats = pool.stats();
/// assert_eq!((stats.tasks.completed, stats.tasks.queued), (100, 0));
/// assert_eq!(stats.workers.len(), 2);
/// if let Some(timings) = stats.timings {
///     println!("99 % of the tasks waited at most {:?}", timings.waiting.quantile(0.99));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// How many tasks are in which state, and had which outcome.
    pub tasks: TaskCounts,
    /// Each worker that the pool has, or is about to start again, by its number.
    pub workers: Vec<PoolWorker>,
    /// How many worker processes were started, and how many ended how.
    pub totals: WorkerCounts,
    /// How long tasks waited and ran; `None` without [`Builder::timings`](crate::pool::Builder::timings).
    pub timings: Option<Timings>,
}

impl PoolStats {
    /// Returns how many workers have this status.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(2).start()?;
    /// assert_eq!(pool.stats().workers_with(WorkerStatus::Idle), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn workers_with(&self, status: WorkerStatus) -> usize {
        let matching = self.workers.iter().filter(|it| it.status == status);
        matching.count()
    }
}

/// How many tasks are in which state, and how many had which outcome since the pool was started. Part of [`PoolStats`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskCounts {
    /// Tasks that the pool has accepted.
    pub submitted: u64,
    /// Tasks that were accepted, and that no worker runs; also those that are not to begin yet, and those whose result this process
    /// has not received yet.
    pub queued: u64,
    /// Tasks that a worker runs.
    pub running: u64,
    /// Tasks whose worker has died, and that wait for their back-off before they are tried again.
    pub retrying: u64,
    /// Outcomes that wait for their handle, or for `drain`.
    pub unclaimed: u64,
    /// Tasks with an output.
    pub completed: u64,
    /// Tasks that returned an error.
    pub failed: u64,
    /// Tasks that panicked.
    pub panicked: u64,
    /// Tasks whose worker died in the last attempt.
    pub crashed: u64,
    /// Tasks that ran for longer than their limit.
    pub timed_out: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks that used too much memory.
    pub too_much_memory: u64,
    /// Tasks for which no worker could be started.
    pub no_workers: u64,
    /// Tasks that could not be sent to a worker, or whose output could not be sent back or decoded.
    pub transport: u64,
    /// Tasks whose outcome this process could not learn.
    pub unknown: u64,
    /// Attempts that were started after a worker had died.
    pub retried: u64,
}

/// How many worker processes a pool has started, and how many ended how. Part of [`PoolStats`]. See
/// [`Report`](crate::pool::Report) for what each number means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerCounts {
    /// Those that were started.
    pub started: u64,
    /// Those that ended unexpectedly.
    pub died: u64,
    /// Those that were killed.
    pub killed: u64,
    /// Those that were replaced.
    pub recycled: u64,
}

/// A worker of a pool. Part of [`PoolStats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolWorker {
    /// Its number, from 0. A process that replaces another one has the same number.
    pub number: u32,
    /// Its process; `None`: there is none now.
    pub pid: Option<u32>,
    /// What it does.
    pub status: WorkerStatus,
    /// The task that it runs, if it runs one.
    pub task: Option<PoolTask>,
}

/// What a worker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WorkerStatus {
    /// Its process has started, and is not ready yet.
    Starting,
    /// It waits for a task.
    Idle,
    /// It runs a task.
    Busy,
    /// It takes no more tasks, and ends as soon as it has finished the one that it runs: it is replaced, or the pool has one
    /// worker less.
    Leaving,
    /// It was killed, or asked by a signal to end.
    Ending,
    /// It has no process: the last one ended before it had run a task. The next one is started after the
    /// [back-off](crate::pool::Builder::respawn_backoff).
    BackingOff,
}

/// A task that a worker runs. Part of [`PoolStats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolTask {
    /// The id of the task.
    pub id: TaskId,
    /// How long this attempt has run, accurate to a few milliseconds.
    pub age: Duration,
}

/// How long tasks waited and ran. Part of [`PoolStats`], if the pool [measures](crate::pool::Builder::timings) that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timings {
    /// From the submission of each task to the start of its first attempt. Of tasks that have an outcome and were started.
    pub waiting: Histogram,
    /// How long the last attempt of each task ran, decoding included. Of the same tasks.
    pub running: Histogram,
    /// How long the oldest task that was not started has waited; `None`: there is none.
    pub oldest_queued: Option<Duration>,
}
