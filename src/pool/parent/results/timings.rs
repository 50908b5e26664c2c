//! How long tasks wait and run, if the pool times them: from the times on the board
//! ([`TaskTimes`](crate::segment::board::TaskTimes)), when an outcome is recorded.

use crate::os::clock;
use crate::pool::histogram::Histogram;
use crate::pool::outcome::TaskId;
use crate::segment::board::Board;
use std::sync::Arc;

pub(crate) struct TaskClock {
    board: Arc<Board>,
    pub(super) waiting: Histogram,
    pub(super) running: Histogram,
    /// No task with a lower id is in flight and not started.
    pub(super) first_unstarted: u64,
}

impl TaskClock {
    pub(crate) fn new(board: Arc<Board>) -> Self {
        Self {
            board,
            waiting: Histogram::default(),
            running: Histogram::default(),
            first_unstarted: 0,
        }
    }

    #[cold]
    pub(super) fn note_submitted(&self, id: TaskId) {
        if let Some(times) = self.board.times(id.0) {
            times.submit(clock::now());
        }
    }

    /// Records the times of a task that has its outcome now.
    #[cold]
    pub(super) fn note_outcome(&mut self, id: TaskId) {
        let Some(times) = self.board.times(id.0) else {
            return;
        };
        let measured = times.read(clock::now);
        if let Some(waited) = measured.waited {
            self.waiting.record_nanos(waited);
        }
        if let Some(ran) = measured.ran {
            self.running.record_nanos(ran);
        }
    }

    /// Returns when a task in flight was submitted; `None` if an attempt has started.
    pub(super) fn submitted_unstarted(&self, id: TaskId) -> Option<u64> {
        let times = self.board.times(id.0)?;
        (!times.has_started()).then(|| times.submitted())
    }
}
