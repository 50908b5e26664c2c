//! When a task was submitted, started and ended, and by which worker, on the monotonic clock. Only on the board of a pool that
//! times its tasks.
//!
//! | word        | written by               | meaning                                                       |
//! |-------------|--------------------------|---------------------------------------------------------------|
//! | `submitted` | parent                   | when the task was submitted; the other words are 0 by then    |
//! | `first`     | the first worker         | when the first attempt started; 0: none has                   |
//! | `started`   | the worker that has it   | when the last attempt started                                 |
//! | `ended`     | the worker that has it   | when the last attempt ended; 0: it has not, or its worker died |
//! | `worker`    | the worker that has it   | the worker's process id and the number of its slot            |
//! | `logs`      | the worker that has it   | how many events the attempts of the task have sent the parent |
//!
//! TIMES-1. A worker writes the words of a task while it holds the task, before it sends the result. The parent reads them when
//!          it has the result, or has reaped the worker. So no word changes while it is read.
//!
//! Crash: each word is complete at every moment. A worker that was stopped, could not be killed and goes on after its task has an
//! outcome may write `ended` for another task, once: that is one wrong time, and no wrong memory.

use super::super::layout::CACHE_LINE;
use crate::sync::{AtomicU64, Ordering};

/// The times of one task.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct TaskTimes {
    submitted: AtomicU64,
    first: AtomicU64,
    started: AtomicU64,
    ended: AtomicU64,
    worker: AtomicU64,
    logs: AtomicU64,
}

const _: () = assert!(size_of::<TaskTimes>() == CACHE_LINE);

/// What [`TaskTimes`] says of a task, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimedTask {
    /// From its submission until its first start; `None`: it was not started.
    pub(crate) waited: Option<u64>,
    /// How long its last attempt ran; `None`: it was not started.
    pub(crate) ran: Option<u64>,
    /// The process id of the worker of its last attempt, and the number of its slot.
    pub(crate) worker: Option<(u32, u32)>,
}

impl TaskTimes {
    /// Records that a task is submitted.
    #[inline]
    pub(crate) fn submit(&self, now: u64) {
        // Relaxed, here and below: the queue of tasks and that of results order the writers (TIMES-1).
        let others = [&self.first, &self.started, &self.ended, &self.worker];
        for word in others.into_iter().chain([&self.logs]) {
            word.store(0, Ordering::Relaxed);
        }
        self.submitted.store(now, Ordering::Relaxed);
    }

    /// Records that a worker starts an attempt.
    #[inline]
    pub(crate) fn start(&self, now: u64, process: u32, slot: u32) {
        if self.first.load(Ordering::Relaxed) == 0 {
            self.first.store(now, Ordering::Relaxed);
        }
        self.started.store(now, Ordering::Relaxed);
        self.ended.store(0, Ordering::Relaxed);
        let worker = u64::from(process) << u32::BITS | u64::from(slot);
        self.worker.store(worker, Ordering::Relaxed);
    }

    /// Records that the attempt has ended.
    #[inline]
    pub(crate) fn end(&self, now: u64) {
        self.ended.store(now, Ordering::Relaxed);
    }

    /// Returns how many events were sent.
    #[cfg(feature = "tracing")]
    pub(crate) fn logs(&self) -> u64 {
        self.logs.load(Ordering::Relaxed)
    }

    /// Records that this many events were sent.
    #[cfg(feature = "tracing")]
    pub(crate) fn set_logs(&self, count: u64) {
        self.logs.store(count, Ordering::Relaxed);
    }

    /// Returns when the task was submitted.
    pub(crate) fn submitted(&self) -> u64 {
        self.submitted.load(Ordering::Relaxed)
    }

    /// Returns whether an attempt has started.
    pub(crate) fn has_started(&self) -> bool {
        self.started.load(Ordering::Relaxed) != 0
    }

    /// Returns the times of a task whose outcome is known. `now` is called if its last attempt has not ended by itself.
    #[inline]
    pub(crate) fn read(&self, now: impl FnOnce() -> u64) -> TimedTask {
        let get = |word: &AtomicU64| match word.load(Ordering::Relaxed) {
            0 => None,
            time => Some(time),
        };
        let started = get(&self.started);
        let ended = started.map(|_| get(&self.ended).unwrap_or_else(now));
        let first = get(&self.first);
        TimedTask {
            waited: first.map(|first| first.saturating_sub(self.submitted())),
            ran: started
                .zip(ended)
                .map(|(start, end)| end.saturating_sub(start)),
            worker: get(&self.worker).map(halves),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "each half is cut out")]
const fn halves(word: u64) -> (u32, u32) {
    ((word >> u32::BITS) as u32, word as u32)
}

#[cfg(test)]
mod tests {
    use super::super::Board;
    use super::*;

    #[test]
    fn the_times_of_a_task_do_not_reach_the_next_one() {
        let board = Board::create(1, 8, true).expect("a board");
        let times = board.times(5).expect("a place");
        times.submit(10);
        assert!(!times.has_started());
        let unstarted = times.read(|| panic!("it was not started"));
        assert_eq!((unstarted.waited, unstarted.ran), (None, None));
        times.start(15, 77, 3);
        // The worker dies, and another one starts the task again.
        assert_eq!(times.read(|| 19).ran, Some(4));
        times.start(30, 78, 2);
        times.end(37);
        let read = board.times(5 + 8).expect("the same place").read(|| 0);
        let expected = TimedTask {
            waited: Some(5),
            ran: Some(7),
            worker: Some((78, 2)),
        };
        assert_eq!(read, expected);
        #[cfg(feature = "tracing")]
        times.set_logs(2);
        times.submit(50);
        #[cfg(feature = "tracing")]
        assert_eq!(times.logs(), 0);
        assert_eq!((times.submitted(), times.has_started()), (50, false));
        assert_eq!(times.read(|| 0).worker, None);
    }

    #[test]
    fn places_for_times_do_not_overlap_what_is_before_them() {
        let board = Board::create(3, 16, true).expect("a board");
        for task in 0..16 {
            board.times(task).expect("a place").submit(100 + task);
        }
        assert_eq!(board.flow(2).expect("a flow").received(), 0);
        assert!((0..16).all(|task| !board.is_cancelled(task)));
        for task in 0..16 {
            let times = board.times(task).expect("a place");
            assert_eq!(times.submitted(), 100 + task);
        }
        let untimed = Board::create(3, 16, false).expect("a board");
        assert!(untimed.times(0).is_none());
    }
}
