//! Why a worker is killed, or asked to leave.

use crate::pool::outcome::{TaskError, TaskId};

/// What a worker was killed for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KillReason {
    /// `None`: for nothing that it ran.
    pub(crate) task: Option<u64>,
    pub(crate) cause: KillCause,
}

impl KillReason {
    pub(crate) fn is_for(&self, id: TaskId) -> bool {
        self.task == Some(id.0)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum KillCause {
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

/// Why a worker was told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaveReason {
    TooOld,
    Idle,
}
