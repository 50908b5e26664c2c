//! Submitting a task as soon as the pool has room for it.

use super::super::dispatch::{ReservedAttempts, try_send};
use super::super::handle::TaskHandle;
use super::super::results::{
    AttemptRange, Awaited, Home, NewTask, OwnLimits, Owner, Registration, WaitError,
};
use super::super::shared::Shared;
use super::super::submission::{Submission, handle_of, refused};
use super::super::when::When;
use crate::error::{SubmitError, TrySubmitError};
use crate::pool::carried::Tag;
use crate::pool::task::Task;
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::{Envelope, Payload, TaskKey};
use crate::queue::futures::LinePlace;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

/// Submits a task. Returned by `submit_async`.
///
/// Dropping it before it has completed drops the task, which the pool has not accepted.
#[must_use = "futures do nothing unless polled"]
pub struct SubmitFuture<'a, T: Task> {
    shared: &'a Arc<Shared>,
    home: Home,
    key: TaskKey,
    tag: Option<Tag>,
    when: Option<When>,
    step: Step<T>,
    registration: Option<Registration>,
    /// Its place among those that wait for memory for a message.
    line: LinePlace,
}

/// How far the task has got.
enum Step<T> {
    /// With its own limits, once it was asked for them.
    Unreserved(T, Option<OwnLimits>),
    /// It has an id, but there was no memory for its message.
    Reserved(Envelope<T>),
    Over,
}

impl<'a, T: Task> Submission<'a, T> {
    /// Submits the task, as [`submit`](Self::submit) does, for async callers: the future completes as soon as the pool has
    /// room. Needs the feature `async`.
    ///
    /// Dropping the future before it has completed drops the task, which is not submitted.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task, as for [`submit`](Self::submit).
    pub fn submit_async(self) -> SubmitFuture<'a, T> {
        SubmitFuture {
            shared: self.shared,
            home: self.home,
            key: self.key,
            tag: self.tag,
            when: self.when,
            step: Step::Unreserved(self.task, None),
            registration: None,
            line: LinePlace::default(),
        }
    }
}

impl<T: Task> SubmitFuture<'_, T> {
    /// Reserves an id for the task, once the pool has room.
    fn poll_reserve(
        &mut self,
        task: T,
        own: Option<OwnLimits>,
        context: &Context<'_>,
    ) -> Poll<Result<Envelope<T>, SubmitError<T>>> {
        let results = &self.shared.results;
        // The program's code: called before anything is reserved.
        let own = own.unwrap_or_else(|| OwnLimits::of(&task));
        let new = NewTask {
            owner: Owner::Handle(self.home),
            key: self.key,
            own,
        };
        let tag = &mut self.tag;
        let reserved =
            results.poll_until(&mut self.registration, Awaited::Change, context, |tasks| {
                results.try_reserve(tasks, new, tag)
            });
        let error = match reserved {
            Poll::Pending => {
                self.step = Step::Unreserved(task, Some(own));
                return Poll::Pending;
            }
            Poll::Ready(Ok(Ok(attempt))) => {
                self.shared.open_spans::<T>(AttemptRange {
                    first: attempt,
                    count: 1,
                });
                return Poll::Ready(Ok(self.envelope(attempt, task)));
            }
            Poll::Ready(Ok(Err(error))) => error,
            Poll::Ready(Err(error)) => error.into(),
        };
        if !self.shared.owner.is_current() {
            return Poll::Ready(Err(SubmitError::Forked(task)));
        }
        Poll::Ready(Err(refused(TrySubmitError::from(error).map(|()| task))))
    }

    fn envelope(&self, attempt: TaskAttempt, task: T) -> Envelope<T> {
        Envelope {
            attempt,
            key: self.key,
            payload: Payload::Task(task),
        }
    }

    /// Sends the task, once there is memory for its message. Workers free memory, and may themselves be waiting until this
    /// process receives results.
    fn poll_send(
        &mut self,
        envelope: Envelope<T>,
        context: &Context<'_>,
    ) -> Poll<Result<TaskHandle<T>, SubmitError<T>>> {
        let shared = self.shared;
        let when = self.when.unwrap_or_default();
        if let Some(due) = when.due() {
            self.leave();
            let held = shared
                .hold_until(due, when.priority, envelope)
                .map_err(refused);
            return Poll::Ready(held.map(|sent| handle_of(shared, sent, self.key, self.home)));
        }
        let queue = shared.queue_of(when.priority);
        // Withdraws the reservation if the task's `Serialize` panics.
        let reserved = ReservedAttempts::new(&shared.results, envelope.attempt, 1);
        let mut sent = try_send(queue, &envelope, None);
        if matches!(sent, Err(TrySubmitError::Full(()))) {
            let waker = context.waker().clone();
            let is_in_line = queue.enter_line_for_blocks(&mut self.line, waker);
            sent = try_send(queue, &envelope, None);
            if matches!(sent, Err(TrySubmitError::Full(()))) {
                let _: Poll<Result<(), WaitError>> = shared.results.poll_until(
                    &mut self.registration,
                    Awaited::Change,
                    context,
                    |_| None,
                );
                if is_in_line.is_err() {
                    // The system has no thread left for the reactor: try again until it has.
                    context.waker().wake_by_ref();
                }
                reserved.keep();
                self.step = Step::Reserved(envelope);
                return Poll::Pending;
            }
        }
        self.leave();
        let sent = match sent {
            Ok(()) => {
                reserved.mark_all_sent();
                Ok(envelope)
            }
            Err(error) => reserved.refuse(envelope, error),
        };
        let sent = sent.map_err(refused);
        Poll::Ready(sent.map(|sent| handle_of(shared, sent, self.key, self.home)))
    }

    /// Returns whether the task has a priority that the pool does not have.
    fn lacks_priorities(&self) -> bool {
        let when = self.when.unwrap_or_default();
        self.shared.tasks.of(when.priority).is_none()
    }

    fn leave(&mut self) {
        let shared = self.shared;
        let priority = self.when.unwrap_or_default().priority;
        shared.queue_of(priority).leave_line(&mut self.line);
        shared.results.forget_future(&mut self.registration);
    }
}

// The task is never pinned.
impl<T: Task> Unpin for SubmitFuture<'_, T> {}

impl<T: Task> Future for SubmitFuture<'_, T> {
    type Output = Result<TaskHandle<T>, SubmitError<T>>;

    /// # Panics
    ///
    /// If it has completed.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let is_current = this.shared.owner.is_current();
        let envelope = match core::mem::replace(&mut this.step, Step::Over) {
            Step::Unreserved(task, _) if !is_current => {
                return Poll::Ready(Err(SubmitError::Forked(task)));
            }
            Step::Unreserved(task, _) if this.lacks_priorities() => {
                return Poll::Ready(Err(SubmitError::NoPriorities { task }));
            }
            Step::Unreserved(task, own) => match this.poll_reserve(task, own, context) {
                Poll::Ready(Ok(envelope)) => envelope,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            },
            Step::Reserved(envelope) => envelope,
            Step::Over => panic!("polled after it has completed"),
        };
        this.poll_send(envelope, context)
    }
}

impl<T: Task> Drop for SubmitFuture<'_, T> {
    fn drop(&mut self) {
        let shared = self.shared;
        if !shared.owner.is_current() {
            return;
        }
        self.leave();
        if let Step::Reserved(envelope) = &self.step {
            let reserved = ReservedAttempts::new(&shared.results, envelope.attempt, 1);
            reserved.withdraw();
        }
    }
}

impl<T: Task> fmt::Debug for SubmitFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitFuture").finish_non_exhaustive()
    }
}
