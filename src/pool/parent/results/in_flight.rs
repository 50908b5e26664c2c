//! A task that is in flight, as the table of tasks knows it.

use super::streams::StreamId;
use crate::pool::task::Task;
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::TaskKey;
use core::time::Duration;

/// A task that is reserved or in flight: its outcome is not known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlight {
    pub(crate) attempt: TaskAttempt,
    /// How many attempts ended with the death of their worker.
    pub(crate) crashes: u32,
    /// How many workers died while they held the task but before they started it.
    pub(crate) deaths_before_start: u32,
    /// Whether the task was cancelled.
    pub(crate) cancelled: bool,
    /// Whether the task has exceeded its soft limit. If it fails or crashes from then on, its outcome is a time-out.
    pub(crate) timed_out: bool,
    /// What the task says itself.
    pub(crate) own: OwnLimits,
    pub(super) owner: Owner,
}

/// What a task sets for itself, instead of the pool.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OwnLimits {
    pub(crate) time: Option<Duration>,
    pub(crate) retries: Option<u32>,
}

impl OwnLimits {
    /// Asks a task. Runs the program's code.
    #[inline]
    pub(crate) fn of<T: Task>(task: &T) -> Self {
        Self {
            time: task.time_limit(),
            retries: task.retries(),
        }
    }
}

/// Who gets the outcome of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Its handle. The key is for `drain`, should the handle be dropped.
    Handle(TaskKey),
    Map(StreamId),
    /// `drain`, because the handle was dropped.
    Drain(TaskKey),
    /// No one: the map was dropped.
    Discarded,
}

/// The first attempts of tasks with consecutive ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptRange {
    pub(crate) first: TaskAttempt,
    pub(crate) count: usize,
}
