//! How much one worker may emit. What tasks emit goes through the queue of results, in which it must take no room that results
//! need, and then waits in the parent, where it is bounded, too.
//!
//! | word       | written by | meaning                                                                                     |
//! |------------|------------|---------------------------------------------------------------------------------------------|
//! | `received` | parent     | the number of the last value of this entry's workers that the parent has taken from the queue |
//! | `limit`    | parent     | the number of the first value of a task that has to wait, below the low half of its id       |
//! | `released` | parent     | the id, plus one, of a task whose values wait no longer                                      |
//! | `parking`  | both       | the worker sleeps on it                                                                      |
//!
//! FLOW-1. The parent writes under one lock, and notifies after each change. A worker announces its sleep before it reads the
//!     words for the last time. So it sees the change or is woken.
//! FLOW-2. `received` goes on from one worker to the next. A value that the parent takes after the death of its worker lets
//!     the next worker send a few values more than its share, once.
//! FLOW-3. A `limit` of another task means nothing: the first values of a task need none.
//!
//! Crash: a worker that dies in its sleep leaves the mark of a waiter, which costs the parent one needless wake.

use super::super::layout::CACHE_LINE;
use super::entry::word_of;
use crate::os::futex;
use crate::protocol::parking::ParkingWord;
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};
use core::time::Duration;

/// How much one worker may emit.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct EmissionFlow {
    limit: AtomicU64,
    released: AtomicU64,
    received: AtomicU32,
    parking: ParkingWord,
}

pub(super) const FLOW_LEN: usize = 2 * CACHE_LINE;
const _: () = assert!(size_of::<EmissionFlow>() == FLOW_LEN);

/// A value that a worker is about to emit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NextEmission {
    /// The id of the task.
    pub(crate) task: u64,
    /// How many values this attempt of the task has emitted before.
    pub(crate) index: u64,
    /// The number of the last value that this worker has sent.
    pub(crate) sent: u32,
}

/// How many values a worker may emit before it waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EmissionLimits {
    /// Values in the queue.
    pub(crate) in_queue: u32,
    /// Values of one task that are not read. `None` if the oldest of them are dropped.
    pub(crate) unread: Option<u32>,
}

/// Cuts a number to what a word holds. Numbers are compared by their difference.
#[allow(clippy::cast_possible_truncation, reason = "to be cut")]
const fn low(number: u64) -> u32 {
    number as u32
}

/// Returns whether a number that wraps around comes before another.
const fn is_before(number: u32, other: u32) -> bool {
    number.wrapping_sub(other).cast_signed() < 0
}

impl EmissionFlow {
    /// Returns the number of the last value that the parent has taken from the queue.
    pub(crate) fn received(&self) -> u32 {
        // Acquire: pairs with the store in `set_received`.
        self.received.load(Ordering::Acquire)
    }

    /// Returns whether a worker may emit a value now.
    pub(crate) fn permits(&self, next: NextEmission, limits: EmissionLimits) -> bool {
        let end = self.received().wrapping_add(limits.in_queue);
        if !is_before(next.sent, end) {
            return false;
        }
        let Some(unread) = limits.unread else {
            return true;
        };
        if next.index < u64::from(unread) {
            return true;
        }
        // Acquire, twice: pairs with the stores in `set_limit` and `release`.
        if self.released.load(Ordering::Acquire) == word_of(next.task) {
            return true;
        }
        let limit = self.limit.load(Ordering::Acquire);
        limit >> u32::BITS == u64::from(low(next.task)) && is_before(low(next.index), low(limit))
    }

    /// Announces a sleep, calls `permits`, and sleeps if that returns false, until the parent has changed something, but not
    /// for longer than `at_most` (FLOW-1). May return early.
    pub(crate) fn sleep_unless(&self, at_most: Duration, permits: impl FnOnce() -> bool) {
        let key = self.parking.prepare_wait();
        if !permits() {
            futex::wait(self.parking.futex_word(), key.get(), at_most);
        }
    }

    /// Records that the parent has taken a value from the queue.
    pub(crate) fn set_received(&self, number: u32) {
        // Release, here and below: a worker that sees the number sees what came before.
        self.received.store(number, Ordering::Release);
    }

    /// Lets a task emit the values with indices below `limit`, and no others, also if it was released.
    pub(crate) fn set_limit(&self, task: u64, limit: u64) {
        self.released.store(0, Ordering::Release);
        let word = u64::from(low(task)) << u32::BITS | u64::from(low(limit));
        self.limit.store(word, Ordering::Release);
    }

    /// Lets a task emit without waiting until values are read.
    pub(crate) fn release(&self, task: u64) {
        self.released.store(word_of(task), Ordering::Release);
    }

    /// Wakes the worker if it sleeps. The changes that it may sleep for come before (FLOW-1).
    pub(crate) fn notify(&self) {
        // Pairs with the fence in `prepare_wait`.
        fence(Ordering::SeqCst);
        if self.parking.has_waiters_after_fence() {
            // All: each thread of a task may emit.
            self.parking
                .notify(|parking| futex::wake(parking.futex_word(), u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Board;
    use super::*;
    use std::thread;

    const LIMITS: EmissionLimits = EmissionLimits {
        in_queue: 2,
        unread: Some(3),
    };

    fn next(task: u64, index: u64, sent: u32) -> NextEmission {
        NextEmission { task, index, sent }
    }

    #[test]
    fn a_worker_waits_for_the_queue_and_for_the_reader() {
        let board = Board::create(2, 8, false).expect("a board");
        let flow = board.flow(1).expect("a worker");
        assert!(flow.permits(next(5, 0, 0), LIMITS) && flow.permits(next(5, 1, 1), LIMITS));
        assert!(!flow.permits(next(5, 2, 2), LIMITS), "two are in the queue");
        flow.set_received(2);
        assert!(flow.permits(next(5, 2, 2), LIMITS));
        flow.set_received(3);
        assert!(!flow.permits(next(5, 3, 3), LIMITS), "three are unread");
        let no_reader = EmissionLimits {
            unread: None,
            ..LIMITS
        };
        assert!(flow.permits(next(5, 3, 3), no_reader));
        flow.set_limit(6, 9);
        assert!(!flow.permits(next(5, 3, 3), LIMITS), "that is another task");
        flow.set_limit(5, 4);
        assert!(flow.permits(next(5, 3, 3), LIMITS));
        assert!(!flow.permits(next(5, 4, 4), LIMITS));
        flow.release(5);
        assert!(flow.permits(next(5, 4, 4), LIMITS));
        assert!(board.flow(2).is_none());
    }

    #[test]
    fn the_numbers_may_wrap_around() {
        let board = Board::create(1, 8, false).expect("a board");
        let flow = board.flow(0).expect("a worker");
        flow.set_received(u32::MAX);
        assert!(flow.permits(next(1, 0, 0), LIMITS));
        assert!(!flow.permits(next(1, 0, 1), LIMITS));
        flow.set_received(1);
        let many = u64::from(u32::MAX);
        flow.set_limit(1, many + 2);
        assert!(flow.permits(next(1, many + 1, 1), LIMITS));
        assert!(!flow.permits(next(1, many + 2, 1), LIMITS));
    }

    #[test]
    fn each_change_wakes_a_worker_that_sleeps() {
        let board = Board::create(1, 8, false).expect("a board");
        let flow = board.flow(0).expect("a worker");
        let rounds = 1_000;
        thread::scope(|scope| {
            scope.spawn(|| {
                for sent in 0..rounds {
                    let value = next(1, u64::from(sent), sent);
                    let limits = EmissionLimits {
                        in_queue: 1,
                        unread: None,
                    };
                    while !flow.permits(value, limits) {
                        // A lost wake-up would be a test without end.
                        flow.sleep_unless(Duration::MAX, || flow.permits(value, limits));
                    }
                }
            });
            for received in 0..rounds {
                flow.set_received(received);
                flow.notify();
            }
        });
    }
}
