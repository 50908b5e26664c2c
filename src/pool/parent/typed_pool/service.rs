//! Operations of a long-running service: figures, restarts, another number of workers.

use super::TypedPool;
use crate::error::RolloutError;
use crate::pool::parent::rollout::Rollout;
use crate::pool::parent::settings::Workers;
use crate::pool::parent::stats::PoolStats;
use crate::pool::task::Task;

impl<T: Task> TypedPool<T> {
    /// Returns the figures of the pool at this moment: tasks by state and outcome, workers with their tasks, and, with
    /// [`Builder::timings`](crate::pool::Builder::timings), how long tasks wait and run. Takes some microseconds, and never
    /// waits for a task, a worker or another caller. After the end of the pool it returns the last figures; in a forked
    /// child of the pool's process, zeros.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Nap>::builder().workers(1).start()?;
    /// let naps = [pool.submit(Nap(HOUR))?, pool.submit(Nap(HOUR))?];
    /// let stats = pool.stats();
    /// assert_eq!(stats.tasks.queued + stats.tasks.running, 2);
    /// for worker in &stats.workers {
    ///     println!("worker {}, process {:?}: {:?}", worker.number, worker.pid, worker.status);
    /// }
    /// # naps.iter().for_each(|nap| drop(nap.cancel()));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.pool.shared().pool_stats()
    }

    /// Gives the recorder of the facade `metrics` the figures of the pool at this moment: see [metrics](crate::pool#metrics). Call it
    /// whenever the metrics are read, for instance before they are rendered for a scrape, or at an interval. Takes as long as the
    /// recorder, and never waits for the pool. In a forked child of the pool's process it does nothing. Needs the feature
    /// `metrics`.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().name("squares").timings(true).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// pool.publish_metrics();
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "metrics")]
    pub fn publish_metrics(&self) {
        self.pool.shared().publish_metrics();
    }

    /// Replaces every worker by another process: a rolling restart. Each finishes its task first, and takes no more. They are
    /// replaced one after the other, idle ones first: a worker is asked to stop only while all others take tasks. Never waits;
    /// the returned [`Rollout`] can.
    ///
    /// If the pool is shut down meanwhile, the restart ends. Several restarts may overlap: each is complete when every worker that
    /// there was at its beginning is replaced.
    ///
    /// # Errors
    ///
    /// [`RolloutError::Forked`], if this is a forked child of the pool's process.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(2).start()?;
    /// let before: Vec<_> = pool.stats().workers.iter().map(|worker| worker.pid).collect();
    /// pool.recycle()?.wait()?;
    /// assert!(pool.stats().workers.iter().all(|worker| !before.contains(&worker.pid)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn recycle(&self) -> Result<Rollout, RolloutError> {
        self.pool.recycle()
    }

    /// Changes the number of workers: to a number, or a range, as for [`Builder::workers`](crate::pool::Builder::workers);
    /// up to [`Builder::max_workers`](crate::pool::Builder::max_workers). Workers that are too many finish their tasks
    /// first; idle ones go first. Never waits; the returned [`Rollout`] can.
    ///
    /// # Errors
    ///
    /// [`RolloutError`]: the number is 0, or more than there is room for; or this is a forked child of the pool's process.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(1).max_workers(4).start()?;
    /// pool.resize(3)?.wait()?;
    /// assert_eq!(pool.stats().workers.len(), 3);
    /// pool.resize(1..=2)?; // as many as there is work for
    /// assert!(matches!(pool.resize(5), Err(RolloutError::InvalidSize { max: 4, .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn resize(&self, workers: impl Into<Workers>) -> Result<Rollout, RolloutError> {
        self.pool.resize(workers.into())
    }
}
