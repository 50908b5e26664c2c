//! The handle of one task.

use super::progress::Progress;
#[cfg(feature = "async")]
use super::results::{Awaited, Registration};
use super::results::{FORKED, Home, WaitError};
use super::settings::WhenFull;
use super::shared::Shared;
use crate::pool::outcome::{TaskError, TaskId};
use crate::pool::task::{OutcomeOf, ResultOf, Task};
use crate::pool::wire::task_message::TaskKey;
use core::fmt;
use core::marker::PhantomData;
#[cfg(feature = "async")]
use core::task::{Context, Poll};
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Instant;

/// A task that was submitted. Returned by [`TypedPool::submit`](crate::pool::TypedPool::submit).
///
/// The pool keeps the outcome for the handle. A handle can outlive its pool. If it goes away before the outcome is claimed,
/// the task goes on, or not, and its outcome goes to another place:
///
/// | the handle is                                        | the task   | its outcome                                          |
/// |------------------------------------------------------|------------|------------------------------------------------------|
/// | dropped                                              | goes on    | is kept, for [`TypedPool::drain`](crate::pool::TypedPool::drain): someone has to take it |
/// | [detached](TaskHandle::detach)                       | goes on    | is discarded                                         |
/// | dropped, after [`cancel_on_drop`](TaskHandle::cancel_on_drop) | is cancelled | is discarded                                |
///
/// In all cases the task is counted in the pool's [`Report`](crate::pool::Report). The handle of a task that was submitted
/// to a [group](crate::pool::TypedPool::group) leaves the outcome to the group, and not to the pool.
pub struct TaskHandle<T: Task> {
    shared: Arc<Shared>,
    id: TaskId,
    key: TaskKey,
    home: Home,
    is_claimed: bool,
    cancels_on_drop: bool,
    task: PhantomData<fn() -> T>,
}

impl<T: Task> TaskHandle<T> {
    pub(super) fn new(shared: Arc<Shared>, id: TaskId, key: TaskKey, home: Home) -> Self {
        Self {
            shared,
            id,
            key,
            home,
            is_claimed: false,
            cancels_on_drop: false,
            task: PhantomData,
        }
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the id of the task.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let handle = pool.submit(Square(3))?;
    /// let id = handle.id();
    /// assert_eq!(handle.outcome().id, id);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.id
    }

    /// Blocks until the outcome is known, and returns the output or the error. Every task gets an outcome, even if its
    /// worker dies or the pool is shut down.
    ///
    /// The output, or the task's error, is decoded by this thread, and delays no other. If its `Deserialize` panics,
    /// the outcome is [`TaskError::Transport`] with the message of the panic.
    ///
    /// # Errors
    ///
    /// [`TaskError`], if the task has no output.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// match pool.submit(Square(u64::MAX))?.wait() {
    ///     Err(TaskError::Failed(message)) => assert!(message.contains("too large")),
    ///     other => panic!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait(self) -> ResultOf<T> {
        self.outcome().result
    }

    /// Blocks until the outcome is known, and returns it with the id of the task and the number of attempts.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let outcome = pool.submit(Square(3))?.outcome();
    /// assert_eq!((outcome.attempts, outcome.result?), (1, 9));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn outcome(mut self) -> OutcomeOf<T> {
        match self.claim(None) {
            Ok(outcome) => outcome,
            Err(what) => OutcomeOf::<T>::unknown(self.id, what),
        }
    }

    /// Blocks until the outcome is known, for at most `timeout`, and returns the output or the error, as
    /// [`wait`](TaskHandle::wait) does.
    ///
    /// # Errors
    ///
    /// The handle, if the outcome is not known by then.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Nap>::builder().start()?;
    /// let nap = pool.submit(Nap(HOUR))?;
    /// let nap = nap.wait_timeout(Duration::from_millis(5)).expect_err("not done yet");
    /// nap.cancel();
    /// assert!(nap.wait().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_timeout(self, timeout: Duration) -> Result<ResultOf<T>, Self> {
        match Instant::now().checked_add(timeout) {
            Some(deadline) => self.wait_deadline(deadline),
            None => Ok(self.wait()),
        }
    }

    /// Blocks until the outcome is known, but not beyond `deadline`, and returns the output or the error, as
    /// [`wait`](TaskHandle::wait) does.
    ///
    /// # Errors
    ///
    /// The handle, if the outcome is not known by then.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let (one, other) = (pool.submit(Square(3))?, pool.submit(Square(4))?);
    /// let deadline = Instant::now() + Duration::from_secs(10); // for both
    /// assert_eq!(one.wait_deadline(deadline).expect("in time")?, 9);
    /// assert_eq!(other.wait_deadline(deadline).expect("in time")?, 16);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_deadline(mut self, deadline: Instant) -> Result<ResultOf<T>, Self> {
        match self.claim(Some(deadline)) {
            Ok(outcome) => Ok(outcome.result),
            Err(_) if !self.is_claimed => Err(self),
            Err(what) => Ok(Err(TaskError::Unknown { what })),
        }
    }

    /// Waits for the outcome and decodes it. Sets `is_claimed`, unless the deadline has passed.
    fn claim(&mut self, deadline: Option<Instant>) -> Result<OutcomeOf<T>, &'static str> {
        let id = self.id;
        let results = &self.shared.results;
        if self.shared.settings.progress.when_full == WhenFull::Wait {
            results.stop_waiting_for_reader(id);
        }
        let claimed = results.wait_until(deadline, |tasks| tasks.take_for_handle(id));
        self.is_claimed = !matches!(claimed, Err(WaitError::TimedOut));
        match claimed {
            Ok(encoded) => Ok(self.shared.decode::<T>(encoded)),
            Err(WaitError::Unknown(what)) => Err(what),
            Err(WaitError::TimedOut | WaitError::Ended) => Err(FORKED),
        }
    }

    /// Looks for the outcome without waiting. Decodes it, if it is known.
    #[cfg(feature = "async")]
    pub(super) fn poll_outcome(
        &mut self,
        registration: &mut Option<Registration>,
        context: &Context<'_>,
    ) -> Poll<OutcomeOf<T>> {
        let id = self.id;
        let results = &self.shared.results;
        if self.shared.settings.progress.when_full == WhenFull::Wait {
            results.stop_waiting_for_reader(id);
        }
        let claimed = core::task::ready!(results.poll_until(
            registration,
            Awaited::Outcome(id),
            context,
            |tasks| tasks.take_for_handle(id)
        ));
        self.is_claimed = true;
        Poll::Ready(match claimed {
            Ok(encoded) => self.shared.decode::<T>(encoded),
            Err(WaitError::Unknown(what)) => OutcomeOf::<T>::unknown(id, what),
            Err(WaitError::TimedOut | WaitError::Ended) => OutcomeOf::<T>::unknown(id, FORKED),
        })
    }

    #[cfg(feature = "async")]
    pub(super) fn forget_future(&self, registration: &mut Option<Registration>) {
        self.shared.results.forget_future(registration);
    }

    /// Returns a reader of the values of type `P` that the task [emits](crate::pool::Context::emit) while it runs, from the
    /// first that was not read. Values wait for it from the start of the task on, up to a
    /// [bound](crate::pool::Builder::progress).
    ///
    /// The type is the one that the task calls `emit` with. A value of another type is the error
    /// [`ProgressError::Type`](crate::pool::ProgressError::Type), which names both.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use workring::pool::{Context, Failure, TypedPool, Task, run_if_worker_for};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Download {
    ///     parts: u32,
    /// }
    ///
    /// #[derive(Debug, PartialEq, Serialize, Deserialize)]
    /// enum Step {
    ///     Connected,
    ///     Part(u32),
    /// }
    ///
    /// impl Task for Download {
    ///     type Output = u32;
    ///     type Error = Failure;
    ///
    ///     fn run(self, context: &Context) -> Result<u32, Failure> {
    ///         context.emit(Step::Connected)?;
    ///         for part in 1..=self.parts {
    ///             context.emit(Step::Part(part))?;
    ///         }
    ///         Ok(self.parts)
    ///     }
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     run_if_worker_for::<Download>();
    ///     let pool = TypedPool::<Download>::builder().workers(1).start()?;
    ///     let download = pool.submit(Download { parts: 2 })?;
    ///     let mut steps = Vec::new();
    ///     for emitted in download.progress::<Step>() {
    ///         steps.push(emitted?.value);
    ///     }
    ///     assert_eq!(steps, [Step::Connected, Step::Part(1), Step::Part(2)]);
    ///     assert_eq!(download.wait()?, 2);
    ///     Ok(())
    /// }
    /// ```
    pub fn progress<P: Serialize + DeserializeOwned>(&self) -> Progress<P> {
        Progress::new(Arc::clone(&self.shared), self.id)
    }

    /// Returns whether the outcome is known, so that waiting for it does not block. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Nap>::builder().start()?;
    /// let nap = pool.submit(Nap(HOUR))?;
    /// assert!(!nap.is_finished());
    /// pool.shutdown(Shutdown::Cancel, Duration::ZERO)?;
    /// assert!(nap.is_finished());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_finished(&self) -> bool {
        if !self.shared.owner.is_current() {
            // `wait` returns `TaskError::Unknown` at once.
            return true;
        }
        self.shared.results.poll();
        let id = self.id;
        self.shared
            .results
            .with(|tasks| tasks.get_mut(id).is_none())
    }

    /// Cancels the task. If it is queued it is not run, and its outcome is [`TaskError::Cancelled`]. If it runs,
    /// [`Context::is_cancelled`](crate::pool::Context::is_cancelled) becomes true, and what the task then returns is
    /// its outcome.
    ///
    /// Returns whether the outcome was still unknown. Never waits. In a forked child of the pool's process it does nothing, and
    /// returns false.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Nap>::builder().workers(1).start()?;
    /// let (running, queued) = (pool.submit(Nap(HOUR))?, pool.submit(Nap(HOUR))?);
    /// assert!(queued.cancel() && running.cancel());
    /// assert!(running.wait().is_err());
    /// assert!(matches!(queued.wait(), Err(TaskError::Cancelled)));
    /// # Ok(())
    /// # }
    /// ```
    #[allow(
        clippy::must_use_candidate,
        reason = "callers cancel for the effect; whether it came too late rarely matters"
    )]
    pub fn cancel(&self) -> bool {
        self.shared.cancel(self.id)
    }

    /// Makes the handle [cancel](TaskHandle::cancel) its task if it is dropped before the outcome is claimed, which is
    /// then discarded: for a caller who may go away, such as a client that disconnects.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Nap>::builder().workers(1).start()?;
    /// drop(pool.submit(Nap(HOUR))?.cancel_on_drop());
    /// assert!(pool.drain().next().is_none());
    /// let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    /// assert_eq!((report.submitted, report.completed), (1, 0));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "dropping the handle cancels the task"]
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancels_on_drop = true;
        self
    }

    /// Gives the handle up: the task goes on, and its outcome is discarded, whatever it is. Returns the id of the task.
    ///
    /// The task is counted in the pool's [`Report`](crate::pool::Report), and nothing else is kept of it. Never waits. See
    /// [`Submission::submit_detached`](crate::pool::Submission::submit_detached) for tasks that need no handle at all.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// pool.submit(Square(3))?.detach();
    /// assert!(pool.drain().next().is_none());
    /// let report = pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    /// assert_eq!((report.submitted, report.completed), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[allow(
        clippy::must_use_candidate,
        reason = "callers detach for the effect; few need the id"
    )]
    pub fn detach(mut self) -> TaskId {
        self.is_claimed = true;
        self.shared.results.discard_handle(self.id);
        self.id
    }

    /// [Cancels](TaskHandle::cancel) the task, and kills its worker if it still runs after `grace`. The worker's
    /// process group ends with it, and it is replaced. The outcome is then [`TaskError::Cancelled`], unless a result
    /// arrived before.
    ///
    /// If the worker has finished the task and started another one at the moment when it is killed, the other task is
    /// run again by another worker, and that attempt is not counted.
    ///
    /// Returns whether the outcome was still unknown. Never waits.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Nap>::builder().workers(1).start()?;
    /// let nap = pool.submit(Nap(HOUR))?;
    /// assert!(nap.cancel_within(Duration::from_secs(1)));
    /// assert!(nap.wait().is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[allow(
        clippy::must_use_candidate,
        reason = "callers cancel for the effect; whether it came too late rarely matters"
    )]
    pub fn cancel_within(&self, grace: Duration) -> bool {
        self.shared.cancel_within(self.id, grace)
    }
}

impl<T: Task> Drop for TaskHandle<T> {
    fn drop(&mut self) {
        if self.is_claimed {
            return;
        }
        if self.cancels_on_drop {
            self.shared.cancel(self.id);
            self.shared.results.discard_handle(self.id);
        } else {
            self.shared
                .results
                .release_handle(self.id, self.key, self.home);
        }
    }
}

impl<T: Task> fmt::Debug for TaskHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
