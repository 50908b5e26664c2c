//! The entry of one worker: which task it runs, and since when. A task id is never used twice.
//!
//! | running  | started        | meaning                                                     |
//! |----------|----------------|-------------------------------------------------------------|
//! | 0        | -              | the worker is idle                                          |
//! | 0        | t              | the worker is about to begin a task                         |
//! | task + 1 | t              | the worker has been running the task since t                |
//! | task + 1 | later than t   | the worker is about to begin the next task without a pause  |
//!
//! ENTRY-1. `started` is stored before `running`, both with Release: a process that sees a task running sees the start
//!          of that task or a later one.
//! ENTRY-2. A process that reads `running` twice with the same result, and `started` in between, has the start of that
//!          task, or a later one if the worker is about to begin the next. A time limit then ends later, never too
//!          early.
//!
//! Crash: the words stay as they are. A worker that is killed between two stores looks as if it had been killed before
//! the first or after the second.

use super::super::layout::CACHE_LINE;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// What one worker runs. Written by the worker, and by the parent between two workers (BOARD-1).
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct WorkerEntry {
    running: AtomicU64,
    started: AtomicU64,
    phase: AtomicU32,
}

const _: () = assert!(size_of::<WorkerEntry>() == CACHE_LINE);

/// A task that a worker is running, or was running when it died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// The id of the task.
    pub(crate) task: u64,
    /// The time that was given to [`WorkerEntry::begin`] (ENTRY-2).
    pub(crate) started: u64,
}

impl WorkerEntry {
    /// Records that the worker begins a task. The caller chooses the clock.
    #[inline]
    pub(crate) fn begin(&self, task: u64, started: u64) {
        // Release, twice: pairs with the loads in `running` (ENTRY-1, ENTRY-2).
        if !mutant!(TimeFromFirstTask) || self.last_start() == 0 {
            self.started.store(started, Ordering::Release);
        }
        self.running.store(word_of(task), Ordering::Release);
    }

    /// Records that the worker runs no task any more.
    #[inline]
    pub(crate) fn end(&self) {
        // Release: all that the task did comes before this.
        self.running.store(0, Ordering::Release);
    }

    /// Returns the task that the worker is running; `None` if it is idle or between two tasks.
    pub(crate) fn running(&self) -> Option<Running> {
        // Acquire, three times: pairs with the stores in `begin`, and keeps these loads in order (ENTRY-1, ENTRY-2).
        loop {
            let seen = self.running.load(Ordering::Acquire);
            let task = seen.checked_sub(1)?;
            let started = self.started.load(Ordering::Acquire);
            if self.running.load(Ordering::Acquire) == seen {
                return Some(Running { task, started });
            }
        }
    }

    /// Returns the start that was stored last. It differs from an earlier one if another task was begun since.
    pub(crate) fn last_start(&self) -> u64 {
        // Acquire: pairs with the store in `begin`.
        self.started.load(Ordering::Acquire)
    }

    /// Records the phase of the worker. The caller gives the numbers a meaning; a new entry has 0.
    #[inline]
    pub(crate) fn set_phase(&self, phase: u32) {
        // Release: all that was done before comes before the phase.
        self.phase.store(phase, Ordering::Release);
    }

    /// Returns the phase that the worker recorded last.
    pub(crate) fn phase(&self) -> u32 {
        // Acquire: pairs with the store in `set_phase`.
        self.phase.load(Ordering::Acquire)
    }

    /// Resets the entry for the next worker. The worker before must have ended (BOARD-1).
    pub(crate) fn reset(&self) {
        if mutant!(BoardLineKept) {
            return;
        }
        self.end();
        self.set_phase(0);
    }
}

/// Returns a task's id as the words of a board hold it, in which 0 means none. The largest id would look like none; no
/// pool ever has that many tasks.
#[inline]
pub(super) fn word_of(task: u64) -> u64 {
    task.wrapping_add(1)
}
