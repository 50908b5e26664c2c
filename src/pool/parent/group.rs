//! Tasks whose outcomes are their group's own.

#[cfg(feature = "macros")]
use super::any_outcome::key_of;
#[cfg(feature = "macros")]
use super::drain::AnyDrain;
use super::drain::Drain;
#[cfg(feature = "async")]
use super::futures::{JoinFuture, SubmitFuture};
use super::handle::TaskHandle;
use super::results::{GroupId, Home};
use super::shared::Shared;
use super::submission::Submission;
#[cfg(feature = "macros")]
use super::submission::submit_registered;
use super::unclaimed::Unclaimed;
use crate::error::{JoinTimeout, SubmitError, TrySubmitError};
use crate::pool::outcome::TaskId;
use crate::pool::task::Task;
use crate::pool::wire::task_message::TaskKey;
#[cfg(feature = "macros")]
use crate::pool::worker::registry::RegisteredTask;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

/// A group in the table of tasks.
struct OpenGroup {
    shared: Arc<Shared>,
    /// `None` if it was made in a forked child of the pool's process, where every operation fails.
    id: Option<GroupId>,
}

impl OpenGroup {
    fn new(shared: &Arc<Shared>) -> Self {
        let is_current = shared.owner.is_current();
        Self {
            shared: Arc::clone(shared),
            id: is_current.then(|| shared.results.open_group()),
        }
    }

    fn home(&self) -> Home {
        self.id.map_or(Home::Pool, Home::Group)
    }

    #[inline]
    fn task<T: Task>(&self, task: T, key: TaskKey) -> Submission<'_, T> {
        Submission::new(&self.shared, self.home(), key, task)
    }

    fn unclaimed(&self) -> Unclaimed<'_> {
        Unclaimed::new(&self.shared, self.home())
    }

    fn in_flight(&self) -> usize {
        self.shared.in_flight(self.home())
    }

    fn cancel(&self) -> usize {
        match self.id {
            Some(id) if self.shared.owner.is_current() => self.shared.cancel_group(id),
            _ => 0,
        }
    }

    fn join(&self, deadline: Option<Instant>) -> Result<(), JoinTimeout> {
        self.shared.join(self.home(), deadline)
    }

    /// Gives the group up without cancelling its tasks.
    fn detach(mut self) {
        let id = self.id.take();
        if let Some(id) = id.filter(|_| self.shared.owner.is_current()) {
            self.shared.results.close_group(id);
        }
    }

    fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Drop for OpenGroup {
    fn drop(&mut self) {
        if let Some(id) = self.id
            && self.shared.owner.is_current()
        {
            self.shared.cancel_group(id);
            self.shared.results.close_group(id);
        }
    }
}

/// Joins the group of a scope, also when its closure panics.
struct Joined<'a>(&'a OpenGroup);

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        // Without a deadline it never fails.
        let _ = self.0.join(None);
    }
}

/// Defines the methods that both kinds of groups have.
macro_rules! group_methods {
    () => {
        /// Returns how many tasks of the group were submitted and have no outcome yet.
        #[must_use]
        pub fn in_flight(&self) -> usize {
            self.group().in_flight()
        }

        /// [Cancels](TaskHandle::cancel) all tasks of the group that are in flight, those with handles too. Each still has
        /// its outcome. Returns how many there were. Never waits.
        ///
        /// The group goes on: tasks that are submitted later are not cancelled.
        #[allow(
            clippy::must_use_candidate,
            reason = "callers cancel for the effect; how many there were rarely matters"
        )]
        pub fn cancel(&self) -> usize {
            self.group().cancel()
        }

        /// Blocks until no task of the group is in flight, those with handles and the detached ones included. Takes no
        /// outcome.
        pub fn join(&self) {
            // Without a deadline it never fails.
            let _ = self.group().join(None);
        }

        /// Blocks until no task of the group is in flight, for at most `timeout`. Takes no outcome.
        ///
        /// # Errors
        ///
        /// [`JoinTimeout`]: some are by then.
        pub fn join_timeout(&self, timeout: Duration) -> Result<(), JoinTimeout> {
            self.group().join(Instant::now().checked_add(timeout))
        }

        /// Blocks until no task of the group is in flight, but not beyond `deadline`. Takes no outcome.
        ///
        /// # Errors
        ///
        /// [`JoinTimeout`]: some are by then.
        pub fn join_deadline(&self, deadline: Instant) -> Result<(), JoinTimeout> {
            self.group().join(Some(deadline))
        }

        /// Waits until no task of the group is in flight, for async callers. Takes no outcome. Needs the feature `async`.
        #[cfg(feature = "async")]
        pub fn join_async(&self) -> JoinFuture<'_> {
            let group = self.group();
            JoinFuture::new(&group.shared, group.home())
        }
    };
}

/// Tasks of a [`TypedPool`](crate::pool::TypedPool) whose outcomes are the group's own: neither the pool's `drain` nor
/// another group gets them. Returned by [`TypedPool::group`](crate::pool::TypedPool::group).
///
/// A group has the operations of its pool, for its own tasks. They are queued with all others, and run by the same workers.
/// Threads can share a group. It can outlive its pool, whose tasks then have ended.
///
/// | | the outcome of a task of the group |
/// |---|---|
/// | its handle is kept | goes to the handle |
/// | its handle was dropped | goes to [`drain`](Group::drain) of the group |
/// | it was [submitted detached](Group::submit_detached), or its handle was [detached](TaskHandle::detach) | is discarded |
///
/// Outcomes that are not taken count as [unclaimed](crate::pool::Builder::max_unclaimed_results).
///
/// Dropping the group cancels its tasks in flight and discards the outcomes that were not taken; handles of its tasks
/// still get theirs. [`detach`](Group::detach) lets the tasks go on.
///
/// # Examples
///
/// ```
#[doc = include_str!("../example.in")]
/// let pool = TypedPool::<Square>::builder().start()?;
/// pool.submit(Square(100))?;
/// let group = pool.group();
/// for n in 0..10 {
///     group.submit(Square(n))?;
/// }
/// let mut sum = 0;
/// for outcome in group.drain() {
///     sum += outcome.result?; // in the order in which they arrive
/// }
/// assert_eq!(sum, 285);
/// assert_eq!(pool.drain().next().expect("the pool's own").result?, 10_000);
/// # Ok(())
/// # }
/// ```
pub struct Group<T: Task> {
    group: OpenGroup,
    task: PhantomData<fn(T) -> T>,
}

impl<T: Task> Group<T> {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            group: OpenGroup::new(shared),
            task: PhantomData,
        }
    }

    const fn group(&self) -> &OpenGroup {
        &self.group
    }

    /// Calls `act` with a new group, and waits for the tasks of the group, also when `act` panics.
    pub(super) fn scope<R>(shared: &Arc<Shared>, act: impl FnOnce(&Self) -> R) -> R {
        let group = Self::new(shared);
        let _joined = Joined(&group.group);
        act(&group)
    }

    /// Submits a task to the group, as [`TypedPool::submit`](crate::pool::TypedPool::submit) does. If the handle is dropped,
    /// the outcome goes to [`drain`](Group::drain) of the group.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task.
    pub fn submit(&self, task: T) -> Result<TaskHandle<T>, SubmitError<T>> {
        self.task(task).submit()
    }

    /// Submits a task to the group, without waiting for other tasks, as
    /// [`TypedPool::try_submit`](crate::pool::TypedPool::try_submit) does.
    ///
    /// # Errors
    ///
    /// [`TrySubmitError`], with the task.
    pub fn try_submit(&self, task: T) -> Result<TaskHandle<T>, TrySubmitError<T>> {
        self.task(task).try_submit()
    }

    /// Submits a task to the group and discards its outcome, as
    /// [`TypedPool::submit_detached`](crate::pool::TypedPool::submit_detached) does. [`join`](Group::join) waits for it, and
    /// [`cancel`](Group::cancel) cancels it.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task.
    pub fn submit_detached(&self, task: T) -> Result<TaskId, SubmitError<T>> {
        self.task(task).submit_detached()
    }

    /// Submits a task to the group, for async callers, as [`TypedPool::submit_async`](crate::pool::TypedPool::submit_async)
    /// does. Needs the feature `async`. Dropping the future before it has completed drops the task, which is not submitted.
    ///
    /// # Errors
    ///
    /// [`SubmitError`], with the task.
    #[cfg(feature = "async")]
    pub fn submit_async(&self, task: T) -> SubmitFuture<'_, T> {
        self.task(task).submit_async()
    }

    /// Returns a submission of this task to the group, for which more can be set: see [`Submission`].
    #[inline]
    pub fn task(&self, task: T) -> Submission<'_, T> {
        self.group.task(task, TaskKey::NONE)
    }

    /// Returns an iterator over the outcomes of the tasks of the group whose handles were dropped, as
    /// [`TypedPool::drain`](crate::pool::TypedPool::drain) does for those of the pool: it blocks for each, and ends when
    /// no such task is in flight. Tasks that are submitted to the group meanwhile count as well. `into_stream` makes a
    /// stream of it.
    pub fn drain(&self) -> Drain<'_, T> {
        Drain::new(self.group.unclaimed())
    }

    group_methods!();

    /// Gives the group up: its tasks go on, and outcomes that were not taken are discarded, except for those that handles
    /// wait for.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let group = pool.group();
    /// group.submit(Square(3))?;
    /// group.detach();
    /// let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    /// assert_eq!(report.completed, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn detach(self) {
        self.group.detach();
    }
}

impl<T: Task> fmt::Debug for Group<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.group.fmt_as("Group", f)
    }
}

/// Tasks of a [`Pool`](crate::pool::Pool) whose outcomes are the group's own, as [`Group`] is for a
/// [`TypedPool`](crate::pool::TypedPool). Its tasks may be of any registered types. Returned by
/// [`Pool::group`](crate::pool::Pool::group).
///
/// # Examples
///
/// ```
#[doc = include_str!("../registered.in")]
/// let pool = Pool::start(2)?;
/// let group = pool.group();
/// let number = group.submit(square::new(12))?;
/// group.submit(shout::new("four".to_owned()))?;
/// assert_eq!(number.wait()?, 144);
/// for outcome in group.drain() {
///     assert_eq!(outcome.downcast::<shout>().expect("the other").result?, "FOUR");
/// }
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "macros")]
pub struct AnyGroup(OpenGroup);

#[cfg(feature = "macros")]
impl AnyGroup {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self(OpenGroup::new(shared))
    }

    const fn group(&self) -> &OpenGroup {
        &self.0
    }

    /// Calls `act` with a new group, and waits for the tasks of the group, also when `act` panics.
    pub(super) fn scope<R>(shared: &Arc<Shared>, act: impl FnOnce(&Self) -> R) -> R {
        let group = Self::new(shared);
        let _joined = Joined(&group.0);
        act(&group)
    }

    submit_registered! {
        submit: {
            /// Submits a task to the group, as [`Pool::submit`](crate::pool::Pool::submit) does. If the handle is dropped, the
            /// outcome goes to [`drain`](AnyGroup::drain) of the group.
            ///
            /// # Errors
            ///
            /// [`SubmitError`], with the task.
        }
        try_submit: {
            /// Submits a task to the group, without waiting for other tasks, as
            /// [`Pool::try_submit`](crate::pool::Pool::try_submit) does.
            ///
            /// # Errors
            ///
            /// [`TrySubmitError`], with the task.
        }
        submit_detached: {
            /// Submits a task to the group and discards its outcome, as [`Group::submit_detached`] does.
            ///
            /// # Errors
            ///
            /// [`SubmitError`], with the task.
        }
        submit_async: {
            /// Submits a task to the group, for async callers, as [`Pool::submit_async`](crate::pool::Pool::submit_async) does. Needs
            /// the feature `async`. Dropping the future before it has completed drops the task, which is not submitted.
            ///
            /// # Errors
            ///
            /// [`SubmitError`], with the task.
        }
    }

    /// Returns a submission of this task to the group, for which more can be set: see [`Submission`].
    #[inline]
    pub fn task<T: RegisteredTask>(&self, task: T) -> Submission<'_, T> {
        self.0.task(task, key_of::<T>())
    }

    /// Returns an iterator over the outcomes of the tasks of the group whose handles were dropped, as [`Group::drain`] does.
    pub fn drain(&self) -> AnyDrain<'_> {
        AnyDrain::new(self.0.unclaimed())
    }

    group_methods!();

    /// Gives the group up, as [`Group::detach`] does: its tasks go on.
    pub fn detach(self) {
        self.0.detach();
    }
}

#[cfg(feature = "macros")]
impl fmt::Debug for AnyGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("AnyGroup", f)
    }
}
