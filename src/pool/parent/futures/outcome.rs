//! Waiting for the outcome of one task.

use super::super::handle::TaskHandle;
use super::super::results::Registration;
use crate::pool::task::{OutcomeOf, ResultOf, Task};
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Waits for the outcome of a task. Returned by [`TaskHandle::outcome_async`].
///
/// Dropping it does the same as dropping the handle: the task goes on, and its outcome goes to `drain`, unless the handle
/// [cancels on drop](TaskHandle::cancel_on_drop).
#[must_use = "futures do nothing unless polled"]
pub struct OutcomeFuture<T: Task> {
    /// `None` once it has completed.
    handle: Option<TaskHandle<T>>,
    registration: Option<Registration>,
}

/// Waits for the output of a task, or its error. A [`TaskHandle`] becomes one when it is awaited.
///
/// Dropping it does the same as dropping the handle: the task goes on, and its outcome goes to `drain`, unless the handle
/// [cancels on drop](TaskHandle::cancel_on_drop).
#[must_use = "futures do nothing unless polled"]
pub struct TaskFuture<T: Task>(OutcomeFuture<T>);

impl<T: Task> TaskHandle<T> {
    /// Waits for the outcome, and returns it with the id of the task and the number of attempts. To wait for the output
    /// alone, await the handle itself. Needs the feature `async`.
    ///
    /// The output, or the task's error, is decoded by the thread that polls the future.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// # ::futures::executor::block_on(async {
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// assert_eq!(pool.submit(Square(3))?.await?, 9);
    /// let outcome = pool.submit(Square(4))?.outcome_async().await;
    /// assert_eq!((outcome.attempts, outcome.result?), (1, 16));
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn outcome_async(self) -> OutcomeFuture<T> {
        OutcomeFuture {
            handle: Some(self),
            registration: None,
        }
    }
}

impl<T: Task> IntoFuture for TaskHandle<T> {
    type Output = ResultOf<T>;
    type IntoFuture = TaskFuture<T>;

    fn into_future(self) -> TaskFuture<T> {
        TaskFuture(self.outcome_async())
    }
}

impl<T: Task> Future for OutcomeFuture<T> {
    type Output = OutcomeOf<T>;

    /// # Panics
    ///
    /// If it has completed.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<OutcomeOf<T>> {
        let this = &mut *self;
        let handle = this.handle.as_mut().expect("polled after it has completed");
        let outcome = core::task::ready!(handle.poll_outcome(&mut this.registration, context));
        this.handle = None;
        Poll::Ready(outcome)
    }
}

impl<T: Task> Future for TaskFuture<T> {
    type Output = ResultOf<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ResultOf<T>> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|outcome| outcome.result)
    }
}

impl<T: Task> Drop for OutcomeFuture<T> {
    fn drop(&mut self) {
        if let Some(handle) = &self.handle {
            handle.forget_future(&mut self.registration);
        }
    }
}

impl<T: Task> fmt::Debug for OutcomeFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OutcomeFuture").field(&self.handle).finish()
    }
}

impl<T: Task> fmt::Debug for TaskFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TaskFuture").field(&self.0.handle).finish()
    }
}
