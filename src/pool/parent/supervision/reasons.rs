//! Why a worker is killed, or asked to leave.

use crate::pool::outcome::{TaskError, TaskId};

/// What a worker was killed for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KillReason {
    /// `None`: for nothing that it ran.
    pub(crate) task: Option<u64>,
    pub(crate) why: Why,
}

impl KillReason {
    pub(crate) fn is_for(&self, id: TaskId) -> bool {
        self.task == Some(id.0)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Why {
    Cancelled,
    TimedOut,
    TooMuchMemory { resident: u64 },
}

impl<E> From<Why> for TaskError<E> {
    fn from(why: Why) -> Self {
        match why {
            Why::Cancelled => Self::Cancelled,
            Why::TimedOut => Self::TimedOut,
            Why::TooMuchMemory { resident } => Self::TooMuchMemory { resident },
        }
    }
}

/// Why a worker was told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Old,
    Idle,
}
