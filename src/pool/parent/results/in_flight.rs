//! A task that is in flight, as the table of tasks knows it.

use super::streams::StreamId;
use crate::pool::task::Task;
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::TaskKey;
use core::num::NonZeroU64;
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
    /// Whether the supervisor holds it back: it is not due yet.
    pub(crate) is_held: bool,
    /// What the task says itself.
    pub(crate) own: OwnLimits,
    /// Which registered task it is.
    pub(crate) key: TaskKey,
    pub(super) owner: Owner,
}

/// What is known of a task when it is reserved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewTask {
    pub(crate) owner: Owner,
    pub(crate) key: TaskKey,
    pub(crate) own: OwnLimits,
}

impl NewTask {
    /// Returns a task of a map, which knows its key itself.
    pub(super) const fn of_map(owner: Owner, own: OwnLimits) -> Self {
        Self {
            owner,
            key: TaskKey::NONE,
            own,
        }
    }
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
    /// Its handle; `drain` of the home, should the handle be dropped.
    Handle(Home),
    Map(StreamId),
    /// `drain` of the home, because the handle was dropped.
    Drain(Home),
    /// No one: the task was detached, or its map or group was dropped.
    Discarded(Home),
}

/// The number of a group (GROUP-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GroupId(pub(super) NonZeroU64);

/// Where a task was submitted: in the pool itself, or in one of its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    Pool,
    Group(GroupId),
}

impl Owner {
    #[inline]
    pub(super) const fn is_drain_of_pool(self) -> bool {
        matches!(self, Self::Drain(Home::Pool))
    }

    #[inline]
    pub(super) const fn is_drain(self) -> bool {
        matches!(self, Self::Drain(_))
    }

    /// Returns the group of the task, if it is in one.
    #[inline]
    pub(super) const fn group(self) -> Option<GroupId> {
        match self {
            Self::Handle(Home::Group(group))
            | Self::Drain(Home::Group(group))
            | Self::Discarded(Home::Group(group)) => Some(group),
            _ => None,
        }
    }
}

/// The first attempts of tasks with consecutive ids.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptRange {
    pub(crate) first: TaskAttempt,
    pub(crate) count: usize,
}
