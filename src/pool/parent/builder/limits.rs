//! Options for the time and memory of a task.

use super::options::Builder;
use core::time::Duration;

impl<P> Builder<P> {
    /// Sets how long a task may run before it is asked to end:
    /// [`Context::is_cancelled`](crate::pool::Context::is_cancelled) becomes true, and
    /// [`cancel_reason`](crate::pool::Context::cancel_reason) returns the reason. If the task still returns an output,
    /// that is its outcome. If it fails or crashes from then on, the outcome is
    /// [`TaskError::TimedOut`](crate::pool::TaskError::TimedOut). By default there is no limit.
    ///
    /// The time is counted from the start of each attempt, not from the submission. The limit takes effect up to a few
    /// milliseconds late, and never early.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Nap>::builder().soft_time_limit(Duration::from_millis(10)).start()?;
    /// let late = pool.submit(Nap(HOUR))?.wait();
    /// assert!(matches!(late, Err(TaskError::TimedOut)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn soft_time_limit(mut self, limit: Duration) -> Self {
        self.settings.limits.soft_time = Some(limit);
        self
    }

    /// Sets the time after which the worker of a task is killed, with its process group, and replaced. This works even
    /// if the task loops or is suspended. Other workers are not affected. The outcome is
    /// [`TaskError::TimedOut`](crate::pool::TaskError::TimedOut), unless a result arrived before, and the task is not
    /// retried. By default there is no limit.
    ///
    /// The time is counted as for the [soft limit](Builder::soft_time_limit), which must be shorter. A task may have a
    /// [limit of its own](crate::pool::Task::time_limit) instead.
    ///
    /// If the worker has finished the task and started another one at the moment when it is killed, the other task is
    /// run again by another worker, and that attempt is not counted.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Nap>::builder().time_limit(Duration::from_millis(10)).start()?;
    /// let late = pool.submit(Nap(HOUR))?.wait();
    /// assert!(matches!(late, Err(TaskError::TimedOut)));
    /// assert_eq!(pool.shutdown(Shutdown::Drain, HOUR)?.killed, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.settings.limits.hard_time = Some(limit);
        self
    }

    /// Sets how much memory a worker may use while it runs a task, in bytes of its resident set. That includes shared
    /// memory, but not the memory of its child processes. It is checked every 100 ms while tasks are in flight. A
    /// worker above the limit is killed with its process group, and replaced. The outcome of its task is
    /// [`TaskError::TooMuchMemory`](crate::pool::TaskError::TooMuchMemory), and the task is not retried. By default
    /// there is no limit.
    ///
    /// A worker that allocates faster than the check is not caught: use [`address_limit`](Builder::address_limit) for
    /// that.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().memory_limit(1 << 30).start()?;
    /// match pool.submit(Square(3))?.wait() {
    ///     Ok(square) => assert_eq!(square, 9),
    ///     Err(TaskError::TooMuchMemory { resident, .. }) => eprintln!("it took {resident} bytes"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.limits.memory = Some(bytes);
        self
    }

    /// Sets the size of the address space of each worker, in bytes (`RLIMIT_AS`). The limit is set before the worker is
    /// [prepared](crate::pool::Task::prepare_worker), and the pool's own shared memory counts. Beyond it, allocations fail, and
    /// usually the worker aborts: the outcome of its task is [`TaskError::Crashed`](crate::pool::TaskError::Crashed).
    /// By default workers have the limit of this process.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().address_limit(4 << 30).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn address_limit(mut self, bytes: u64) -> Self {
        self.settings.limits.address_space = Some(bytes);
        self
    }
}
