//! Why the supervisor ends a worker.

use crate::pool::outcome::{TaskError, TaskId};

/// Why a worker was killed.
#[derive(Clone, Copy, Debug)]
pub(super) struct KillReason {
    /// The task that caused it; `None` if none did.
    pub(super) task: Option<TaskId>,
    pub(super) cause: KillCause,
}

impl KillReason {
    /// Returns whether this task caused the kill.
    pub(super) fn is_for(&self, id: TaskId) -> bool {
        self.task == Some(id)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum KillCause {
    Cancelled,
    TimedOut,
    TooMuchMemory { resident: u64 },
}

impl<E> From<KillCause> for TaskError<E> {
    fn from(cause: KillCause) -> Self {
        match cause {
            KillCause::Cancelled => Self::Cancelled,
            KillCause::TimedOut => Self::TimedOut,
            KillCause::TooMuchMemory { resident } => Self::TooMuchMemory { resident },
        }
    }
}

/// Why a worker was asked to stop while the pool runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaveReason {
    TooOld,
    /// A caller wants other processes.
    Recycled,
    Idle,
    /// A caller wants fewer workers.
    Surplus,
}
