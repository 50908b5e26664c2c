//! The outcome of one of several types of tasks.

use super::shared::Shared;
use crate::pool::carried::Tag;
use crate::pool::outcome::{Outcome, TaskId};
use crate::pool::task::OutcomeOf;
use crate::pool::wire::result_message::EncodedOutcome;
use crate::pool::wire::task_message::TaskKey;
use crate::pool::worker::registry::{RegisteredTask, registered};
use core::fmt;
use std::sync::Arc;

/// The outcome of a task of a [`Pool`](crate::pool::Pool), whatever its type. Its output, or its error, is decoded when
/// [`downcast`](AnyOutcome::downcast) names the type.
///
/// # Examples
///
/// ```
#[doc = include_str!("../registered.in")]
/// let pool = Pool::start(2)?;
/// pool.submit(square::new(12))?;
/// pool.submit(shout::new("four".to_owned()))?;
/// for outcome in pool.drain() {
///     let outcome = match outcome.downcast::<square>() {
///         Ok(square) => {
///             assert_eq!(square.result?, 144);
///             continue;
///         }
///         Err(other) => other,
///     };
///     let shout = outcome.downcast::<shout>().expect("no other type was submitted");
///     assert_eq!(shout.result?, "FOUR");
/// }
/// # Ok(())
/// # }
/// ```
pub struct AnyOutcome {
    key: TaskKey,
    shared: Arc<Shared>,
    outcome: EncodedOutcome,
}

impl AnyOutcome {
    pub(super) const fn new(key: TaskKey, shared: Arc<Shared>, outcome: EncodedOutcome) -> Self {
        Self {
            key,
            shared,
            outcome,
        }
    }

    /// Returns the id of the task.
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.outcome.id
    }

    /// Returns how often it was started, as [`Outcome::attempts`].
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.outcome.attempts
    }

    /// Returns the tag that the caller has given to the task, if any, as [`Outcome::tag`].
    #[must_use]
    pub fn tag(&self) -> Option<&Tag> {
        self.outcome.tag()
    }

    /// Takes the task itself out of the outcome, as [`Outcome::take_task`].
    pub fn take_task<T: RegisteredTask>(&mut self) -> Option<T> {
        if self.is_ok() {
            return None;
        }
        self.outcome.take_task()
    }

    /// Returns whether the task has an output.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.outcome.result.is_ok()
    }

    /// Returns the [name](RegisteredTask::NAME) of the task. It is empty in a forked child of the pool's process, which
    /// knows nothing of the task.
    #[must_use]
    pub fn name(&self) -> &'static str {
        let tasks = registered().ok();
        tasks.and_then(|tasks| tasks.name(self.key)).unwrap_or("")
    }

    /// Returns whether it is the outcome of a task of the type `T`.
    #[must_use]
    pub fn is<T: RegisteredTask>(&self) -> bool {
        self.key == key_of::<T>()
    }

    /// Returns the outcome as that of a task of the type `T`. Decodes the output or the error, on this thread.
    ///
    /// # Errors
    ///
    /// The outcome itself, if the task is of another type.
    #[allow(
        clippy::result_large_err,
        reason = "it is as large as the outcome that the caller has"
    )]
    pub fn downcast<T: RegisteredTask>(self) -> Result<OutcomeOf<T>, Self> {
        if self.is::<T>() {
            Ok(self.shared.decode::<T>(self.outcome))
        } else {
            Err(self)
        }
    }

    /// Returns the outcome without the output, or the error, of the task: whether it was done, and otherwise why not. A task
    /// that has [failed](crate::pool::TaskError::Failed) has the error `()`.
    #[must_use]
    pub fn status(&self) -> Outcome<(), ()> {
        self.outcome.status()
    }
}

pub(super) const fn key_of<T: RegisteredTask>() -> TaskKey {
    const { TaskKey::of(T::NAME) }
}

impl fmt::Debug for AnyOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyOutcome")
            .field("name", &self.name())
            .field("id", &self.id())
            .field("tag", &self.tag())
            .field("status", &self.status().result)
            .finish_non_exhaustive()
    }
}
