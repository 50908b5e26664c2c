//! Submitting a task: what its caller sets for it, and how.

use super::handle::TaskHandle;
use super::results::{AttemptRange, Home, NewTask, OwnLimits, Owner};
use super::shared::Shared;
use super::when::When;
use crate::error::{SubmitError, TrySubmitError};
use crate::pool::carried::{KeptTask, Tag};
use crate::pool::outcome::TaskId;
use crate::pool::priority::Priority;
use crate::pool::task::Task;
use crate::pool::wire::task_message::{Envelope, Payload, TaskKey};
use core::fmt;
use std::sync::Arc;
use std::time::Instant;

/// A task that is about to be submitted, and what its caller sets for it. Returned by
/// [`TypedPool::task`](crate::pool::TypedPool::task) and `Pool::task`, and by those of groups.
///
/// Dropping it drops the task, which is not submitted.
///
/// # Examples
///
/// ```
#[doc = include_str!("../example.in")]
/// let pool = TypedPool::<Square>::builder().start()?;
/// let handle = pool.task(Square(3)).tag("three").submit()?;
/// let outcome = handle.outcome();
/// assert_eq!(outcome.tag().and_then(Tag::text), Some("three"));
/// assert_eq!(outcome.result?, 9);
/// # Ok(())
/// # }
/// ```
#[must_use = "a task does nothing until it is submitted"]
pub struct Submission<'a, T: Task> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) home: Home,
    pub(super) key: TaskKey,
    pub(super) task: T,
    pub(super) tag: Option<Tag>,
    pub(super) when: Option<When>,
}

impl<'a, T: Task> Submission<'a, T> {
    #[inline]
    pub(super) const fn new(shared: &'a Arc<Shared>, home: Home, key: TaskKey, task: T) -> Self {
        Self {
            shared,
            home,
            key,
            task,
            tag: None,
            when: None,
        }
    }

    /// Sets a tag, which the [outcome](crate::pool::Outcome::tag) of the task always carries: a number or a text.
    pub fn tag(mut self, tag: impl Into<Tag>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Sets how urgent the task is. Other priorities than `Normal` need a pool with
    /// [`Builder::priorities`](crate::pool::Builder::priorities).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(1).priorities().start()?;
    /// let report = pool.task(Square(3)).priority(Priority::Low).submit()?;
    /// let urgent = pool.task(Square(4)).priority(Priority::High).submit()?;
    /// assert_eq!((report.wait()?, urgent.wait()?), (9, 16));
    /// # Ok(())
    /// # }
    /// ```
    pub fn priority(mut self, priority: Priority) -> Self {
        self.when.get_or_insert_default().priority = priority;
        self
    }

    /// Sets a time before which the task does not begin. This process holds the task back until then, and sends it to the workers
    /// with the priority that it has. So it begins then, or as soon as a worker is free.
    ///
    /// Until then it counts as in flight: for the [capacity](crate::pool::Builder::capacity), and for
    /// [`drain`](crate::pool::TypedPool::drain), which waits for it. It can be cancelled at once. A
    /// [shutdown](crate::pool::TypedPool::shutdown) by `Drain` runs it if it is due before the time limit of the shutdown is over,
    /// and otherwise cancels it without waiting.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(1).start()?;
    /// let in_a_moment = Instant::now() + Duration::from_millis(20);
    /// assert_eq!(pool.task(Square(3)).not_before(in_a_moment).submit()?.wait()?, 9);
    /// assert!(Instant::now() >= in_a_moment);
    /// # Ok(())
    /// # }
    /// ```
    pub fn not_before(mut self, time: Instant) -> Self {
        self.when.get_or_insert_default().not_before = Some(time);
        self
    }

    /// Submits the task. Blocks while the pool is at [capacity](crate::pool::Builder::capacity). See
    /// [`TypedPool::submit`](crate::pool::TypedPool::submit).
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task.
    #[inline]
    pub fn submit(self) -> Result<TaskHandle<T>, SubmitError<T>> {
        self.submit_for_handle(true).map_err(refused)
    }

    /// Submits the task, without waiting for other tasks. See [`TypedPool::try_submit`](crate::pool::TypedPool::try_submit).
    ///
    /// # Errors
    ///
    /// [`TrySubmitError`], with the task.
    #[inline]
    pub fn try_submit(self) -> Result<TaskHandle<T>, TrySubmitError<T>> {
        self.submit_for_handle(false)
    }

    /// Submits the task, as [`submit`](Self::submit) does, and discards its outcome, whatever it is. Returns the id of the
    /// task. See [`TypedPool::submit_detached`](crate::pool::TypedPool::submit_detached).
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task.
    pub fn submit_detached(self) -> Result<TaskId, SubmitError<T>> {
        let owner = Owner::Discarded(self.home);
        let sent = self.reserve_and_send(owner, true).map_err(refused)?;
        Ok(sent.attempt.id)
    }

    #[inline]
    fn submit_for_handle(self, waits: bool) -> Result<TaskHandle<T>, TrySubmitError<T>> {
        let (shared, key, home) = (self.shared, self.key, self.home);
        let sent = self.reserve_and_send(Owner::Handle(home), waits)?;
        Ok(handle_of(shared, sent, key, home))
    }

    /// Sends the task to the workers, and returns it as it was sent.
    #[inline]
    fn reserve_and_send(
        mut self,
        owner: Owner,
        waits: bool,
    ) -> Result<Envelope<T>, TrySubmitError<T>> {
        let (shared, key, task) = (self.shared, self.key, self.task);
        let forked = |task| Err(TrySubmitError::Refused(SubmitError::Forked(task)));
        if !shared.owner.is_current() {
            return forked(task);
        }
        if let Some(when) = self.when
            && shared.tasks.of(when.priority).is_none()
        {
            return Err(TrySubmitError::Refused(SubmitError::NoPriorities { task }));
        }
        // The program's code: called before anything is reserved.
        let own = OwnLimits::of(&task);
        let deadline = (!waits).then(Instant::now);
        let new = NewTask { owner, key, own };
        let reserved = shared.results.reserve(new, &mut self.tag, deadline);
        let attempt = match reserved {
            Ok(attempt) => attempt,
            // `time_limit` has forked, and this is the child.
            Err(_) if !shared.owner.is_current() => return forked(task),
            Err(error) => return Err(TrySubmitError::from(error).map(|()| task)),
        };
        shared.open_spans::<T>(AttemptRange {
            first: attempt,
            count: 1,
        });
        let envelope = Envelope {
            attempt,
            key,
            payload: Payload::Task(task),
        };
        match self.when {
            None => shared.send(&shared.tasks.normal, envelope, waits),
            Some(when) => shared.send_when(when, envelope, waits),
        }
    }
}

/// Defines the methods that submit registered tasks, for the pool and for groups: each has documentation of its own.
#[cfg(feature = "macros")]
macro_rules! submit_registered {
    (
        submit: { $(#[$of_submit:meta])* }
        try_submit: { $(#[$of_try_submit:meta])* }
        submit_detached: { $(#[$of_submit_detached:meta])* }
        submit_async: { $(#[$of_submit_async:meta])* }
    ) => {
        $(#[$of_submit])*
        pub fn submit<T: RegisteredTask>(&self, task: T) -> Result<TaskHandle<T>, SubmitError<T>> {
            self.task(task).submit()
        }

        $(#[$of_try_submit])*
        pub fn try_submit<T: RegisteredTask>(
            &self,
            task: T,
        ) -> Result<TaskHandle<T>, TrySubmitError<T>> {
            self.task(task).try_submit()
        }

        $(#[$of_submit_detached])*
        pub fn submit_detached<T: RegisteredTask>(&self, task: T) -> Result<TaskId, SubmitError<T>> {
            self.task(task).submit_detached()
        }

        $(#[$of_submit_async])*
        #[cfg(feature = "async")]
        pub fn submit_async<T: RegisteredTask>(&self, task: T) -> SubmitFuture<'_, T> {
            self.task(task).submit_async()
        }
    };
}

#[cfg(feature = "macros")]
pub(super) use submit_registered;

/// Returns the handle of a task that was sent, and keeps the task if the pool returns tasks.
#[inline]
pub(super) fn handle_of<T: Task>(
    shared: &Arc<Shared>,
    sent: Envelope<T>,
    key: TaskKey,
    home: Home,
) -> TaskHandle<T> {
    let id = sent.attempt.id;
    let handle = TaskHandle::new(Arc::clone(shared), id, key, home);
    if shared.settings.returns_tasks {
        if let Some(task) = sent.into_task() {
            shared.results.keep_task(id, KeptTask::new(task));
        }
        return handle;
    }
    // If the task's `Drop` panics, the handle is dropped as well, and the outcome goes to `drain`.
    drop(sent);
    handle
}

/// Returns the error of a submission that waits for room.
#[cold]
pub(super) fn refused<T>(error: TrySubmitError<T>) -> SubmitError<T> {
    match error {
        TrySubmitError::Refused(error) => error,
        // Not returned, since it waits for room.
        TrySubmitError::Full(task) => SubmitError::Closed(task),
    }
}

impl<T: Task> fmt::Debug for Submission<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submission")
            .field("tag", &self.tag)
            .field("when", &self.when)
            .finish_non_exhaustive()
    }
}
