//! Options for what becomes of tasks at their end, and at that of the pool.

use super::options::Builder;
use crate::pool::parent::settings::OnDrop;

impl<P> Builder<P> {
    /// Sets whether the outcome of a task without output carries the task itself back: one that failed, panicked, crashed,
    /// exceeded a limit, was cancelled, or could not be sent. [`Outcome::take_task`](crate::pool::Outcome::take_task) returns it. By
    /// default it does not.
    ///
    /// A task need not be `Clone` for that: this process keeps the value that was submitted until the outcome is known. If
    /// the task has an output, its value is dropped where the outcome is claimed, and not where it is submitted. That takes
    /// the memory of the tasks in flight, and for each task an allocation and a lock more. Of detached tasks nothing is kept.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().return_tasks(true).start()?;
    /// let mut outcome = pool.submit(Square(u64::MAX))?.outcome();
    /// assert!(outcome.result.is_err());
    /// assert_eq!(outcome.take_task(), Some(Square(u64::MAX)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn return_tasks(mut self, return_tasks: bool) -> Self {
        self.settings.returns_tasks = return_tasks;
        self
    }

    /// Sets what dropping the pool does if it was not [shut down](crate::pool::TypedPool::shutdown). By default it cancels the
    /// tasks in flight, as [`OnDrop::Cancel`] does, and with the feature `tracing` warns of that: a program that ends like
    /// this loses tasks, and sees no report. With this option there is no warning.
    ///
    /// In all cases the workers are stopped then, by force if they do not end within [`grace`](Builder::grace). So the drop
    /// blocks for a bounded time. It does so while a thread panics, too.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().on_drop(OnDrop::Drain(HOUR)).start()?;
    /// let handle = pool.submit(Square(3))?;
    /// drop(pool); // waits for the task
    /// assert_eq!(handle.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_drop(mut self, on_drop: OnDrop) -> Self {
        self.settings.on_drop = Some(on_drop);
        self
    }
}
