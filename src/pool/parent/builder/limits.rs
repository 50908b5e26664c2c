//! Options: how long a task may run, and how much memory its worker may have.

use super::options::Builder;
use crate::pool::task::Task;
use core::time::Duration;

impl<T: Task> Builder<T> {
    /// How long a task may run before it is told to end. Then
    /// [`Context::is_cancelled`](crate::pool::Context::is_cancelled) is true, and
    /// [`cancel_reason`](crate::pool::Context::cancel_reason) says why. An output that it gives nevertheless is its outcome; if it
    /// fails or dies from then on, that is [`TaskError::TimedOut`](crate::pool::TaskError::TimedOut). By default for ever.
    ///
    /// Counted from the start of each attempt, not from the submission. Never before its time, and up to a few
    /// milliseconds after it.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Nap>::builder().soft_time_limit(Duration::from_millis(10)).start()?;
    /// let late = pool.submit(Nap(HOUR))?.wait();
    /// assert!(matches!(late, Err(TaskError::TimedOut)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn soft_time_limit(mut self, limit: Duration) -> Self {
        self.settings.limits.soft_time = Some(limit);
        self
    }

    /// How long a task may run at all. Then the process group of its worker is killed, whatever it does, also if it loops
    /// or is stopped, and the worker is replaced; nobody else is disturbed. The task's outcome is
    /// [`TaskError::TimedOut`](crate::pool::TaskError::TimedOut), and it is not tried again; an output that arrives just before wins.
    /// By default for ever. Counted as the [soft limit](Builder::soft_time_limit), which must be shorter. A task may have a
    /// [limit of its own](Task::time_limit) instead.
    ///
    /// Should the worker be done with the task and begin another one at the very moment in which it is killed, that one is
    /// run again by another worker, and the attempt not counted.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Nap>::builder().time_limit(Duration::from_millis(10)).start()?;
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

    /// How much memory a worker may have in use while it runs a task, in bytes: its resident set, shared memory included,
    /// that of its children not. It is looked at every 100 ms while tasks are in flight. Beyond the limit the worker's
    /// process group is killed, and the worker replaced; the task's outcome is
    /// [`TaskError::TooMuchMemory`](crate::pool::TaskError::TooMuchMemory), and it is not tried again. By default any.
    ///
    /// What is taken faster than that is not caught: [`address_limit`](Builder::address_limit) catches it.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().memory_limit(1 << 30).start()?;
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

    /// How many bytes of addresses a worker may have (`RLIMIT_AS`), set before it is [prepared](Task::prepare_worker); the
    /// pool's own shared memory counts, too. Beyond that the kernel gives it no more memory, and as a rule it aborts: the
    /// task's outcome is [`TaskError::Crashed`](crate::pool::TaskError::Crashed). By default as many as this process.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().address_limit(4 << 30).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn address_limit(mut self, bytes: u64) -> Self {
        self.settings.limits.address_space = Some(bytes);
        self
    }
}
