//! What a task is told while it runs.

use super::task::TaskId;
use crate::host::board::Board;
use crate::sync::{AtomicBool, Ordering};
use core::fmt;
use std::sync::Arc;

/// What the threads of a worker share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) board: Board,
    /// The worker's line on the board.
    pub(super) slot: u32,
    /// No task is to be started any more.
    pub(super) stopping: AtomicBool,
    /// All tasks are cancelled.
    pub(super) cancelled: AtomicBool,
}

impl Desk {
    pub(super) fn is_stopping(&self) -> bool {
        // Acquire: pairs with the store of whoever was told.
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn is_cancelled(&self, id: TaskId) -> bool {
        self.cancelled.load(Ordering::Acquire) || self.board.is_cancelled(id.0)
    }

    fn why_cancelled(&self, id: TaskId) -> Option<CancelReason> {
        if self.cancelled.load(Ordering::Acquire) {
            return Some(CancelReason::Shutdown);
        }
        Some(match self.board.why_cancelled(id.0)? {
            TIME_LIMIT => CancelReason::TimeLimit,
            _ => CancelReason::Cancelled,
        })
    }
}

/// Reasons, as they stand on the board.
pub(super) const BY_HANDLE: u64 = 0;
pub(super) const TIME_LIMIT: u64 = 1;

/// Why a task is to end early. See [`Context::cancel_reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelReason {
    /// By its [handle](super::TaskHandle::cancel).
    Cancelled,
    /// It has run for longer than [`Builder::soft_time_limit`](super::Builder::soft_time_limit).
    TimeLimit,
    /// The pool is being shut down, and does not wait for it.
    Shutdown,
}

/// What a task is told while it runs: who it is, and whether anybody still wants its output.
pub struct Context {
    pub(super) desk: Arc<Desk>,
    pub(super) id: TaskId,
    pub(super) attempt: u32,
}

impl Context {
    /// Which task this is: the same number in each of its attempts.
    #[must_use]
    pub const fn id(&self) -> TaskId {
        self.id
    }

    /// Which attempt this is, from 1: how many workers have died of this task, and one more.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether the task has been cancelled meanwhile, or has run for too long, or the pool is being shut down without
    /// waiting for it. A long task should ask now and then, and return early, with what it likes. Never waits; takes a
    /// few nanoseconds.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.desk.is_cancelled(self.id)
    }

    /// Why [`is_cancelled`](Context::is_cancelled) is true; `None`: it is not. Never waits.
    #[must_use]
    pub fn cancel_reason(&self) -> Option<CancelReason> {
        self.desk.why_cancelled(self.id)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("id", &self.id)
            .field("attempt", &self.attempt)
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
