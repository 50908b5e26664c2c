//! A task that is in flight, as the table of tasks knows it.

use super::streams::StreamId;
use crate::pool::wire::task_attempt::TaskAttempt;
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
    /// The task's own time limit.
    pub(crate) limit: Option<Duration>,
    pub(super) owner: Owner,
}

/// Who gets the outcome of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Handle,
    Map(StreamId),
    /// `TypedPool::drain`, because the handle was dropped.
    Drain,
    /// No one: the map was dropped.
    Discarded,
}

/// The first attempts of tasks with consecutive ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptRange {
    pub(crate) first: TaskAttempt,
    pub(crate) count: usize,
}
