//! The report of a pool: how many tasks had which outcome, and how many workers ended how.

use crate::pool::outcome::TaskError;
use core::fmt;
use core::time::Duration;

/// How many tasks of a pool had which outcome, and how many worker processes ended how. Returned by
/// [`TypedPool::shutdown`](crate::pool::TypedPool::shutdown).
///
/// Each task is counted once:
///
/// ```text
/// submitted = completed + failed + timed_out + cancelled + lost
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Tasks that the pool has accepted.
    pub submitted: u64,
    /// Tasks with an output. Outputs are decoded when they are claimed: one that can't be decoded counts as failed if
    /// it was claimed before the end of the pool.
    pub completed: u64,
    /// Tasks that returned an error or panicked; and tasks that could not be sent to a worker, or whose output could not
    /// be sent back.
    pub failed: u64,
    /// Tasks that ran for longer than their limit.
    pub timed_out: u64,
    /// Tasks that were cancelled: by their handles, or because the pool was shut down.
    pub cancelled: u64,
    /// Tasks whose worker died in each attempt, or was killed because it used too much memory; and tasks for which
    /// [no worker](crate::pool::TaskError::NoWorkers) could be started.
    pub lost: u64,
    /// Attempts that were started after a worker had died.
    pub retried: u64,
    /// Worker processes that were started.
    pub started: u64,
    /// Worker processes that ended unexpectedly.
    pub died: u64,
    /// Worker processes that were killed, by `SIGTERM` or `SIGKILL`, because they did not stop in time, or because
    /// their task exceeded a limit or did not end when it was cancelled.
    pub killed: u64,
    /// Worker processes that were replaced because of their age, memory, or number of tasks.
    pub recycled: u64,
    /// Worker processes that were killed and have not ended: the kernel could not end them, or they are stopped and
    /// belong to another user. They may still exist.
    pub left_behind: u64,
    /// The duration of the shutdown.
    pub took: Duration,
}

impl Report {
    pub(super) fn new(tasks: TaskStats, workers: WorkerStats, took: Duration) -> Self {
        Self {
            submitted: tasks.submitted,
            completed: tasks.completed,
            failed: tasks.failed + tasks.panicked + tasks.transport,
            timed_out: tasks.timed_out,
            cancelled: tasks.cancelled,
            lost: tasks.crashed + tasks.too_much_memory + tasks.no_workers + tasks.unknown,
            retried: workers.retried,
            started: workers.started,
            died: workers.died,
            killed: workers.killed,
            recycled: workers.recycled,
            left_behind: workers.left_behind,
            took,
        }
    }

    /// Returns whether each submitted task is in exactly one of the counts. This is always so, unless there is a bug.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// for n in [3, 4, u64::MAX] {
    ///     pool.submit(Square(n))?;
    /// }
    /// let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    /// assert!(report.is_balanced());
    /// assert_eq!((report.submitted, report.completed, report.failed), (3, 2, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn is_balanced(&self) -> bool {
        self.submitted == self.completed + self.failed + self.timed_out + self.cancelled + self.lost
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} task{} submitted = {} completed + {} failed + {} timed out + {} cancelled + {} lost to crashes; \
             {} retried; {} worker{} started, {} died, {} killed, {} recycled, {} left behind; shut down in {:.1?}",
            self.submitted,
            plural(self.submitted),
            self.completed,
            self.failed,
            self.timed_out,
            self.cancelled,
            self.lost,
            self.retried,
            self.started,
            plural(self.started),
            self.died,
            self.killed,
            self.recycled,
            self.left_behind,
            self.took,
        )
    }
}

/// Returns the ending of a noun after a number.
fn plural(count: u64) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// The counts of tasks, by the kind of their outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TaskStats {
    pub(super) submitted: u64,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) panicked: u64,
    pub(super) transport: u64,
    pub(super) timed_out: u64,
    pub(super) cancelled: u64,
    pub(super) crashed: u64,
    pub(super) too_much_memory: u64,
    pub(super) no_workers: u64,
    pub(super) unknown: u64,
}

impl TaskStats {
    pub(super) fn count<O, E>(&mut self, result: &Result<O, TaskError<E>>) {
        let counter = match result {
            Ok(_) => &mut self.completed,
            Err(TaskError::Failed(_)) => &mut self.failed,
            Err(TaskError::Panicked(_)) => &mut self.panicked,
            Err(TaskError::Transport { .. }) => &mut self.transport,
            Err(TaskError::TimedOut) => &mut self.timed_out,
            Err(TaskError::Cancelled) => &mut self.cancelled,
            Err(TaskError::Crashed { .. }) => &mut self.crashed,
            Err(TaskError::TooMuchMemory { .. }) => &mut self.too_much_memory,
            Err(TaskError::NoWorkers { .. }) => &mut self.no_workers,
            Err(TaskError::Unknown { .. }) => &mut self.unknown,
        };
        *counter += 1;
    }

    /// Counts a task as failed that was counted as completed: see [`Report::completed`].
    pub(super) fn recount_undecodable(&mut self) {
        self.completed -= 1;
        self.transport += 1;
    }
}

/// The counts of workers in a [`Report`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WorkerStats {
    pub(super) started: u64,
    pub(super) died: u64,
    pub(super) killed: u64,
    pub(super) retried: u64,
    pub(super) recycled: u64,
    pub(super) left_behind: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_task_is_not_called_tasks() {
        let report = Report {
            submitted: 1,
            started: 2,
            left_behind: 1,
            ..Report::default()
        };
        let text = report.to_string();
        assert!(text.starts_with("1 task submitted ="), "{text}");
        assert!(text.contains("2 workers started"), "{text}");
        assert!(text.contains("1 left behind"), "{text}");
    }
}
