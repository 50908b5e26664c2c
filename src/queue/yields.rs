//! Whether a wait that spins yields its processor.
//!
//! A yield helps if the peer that a wait is for needs this processor. It harms if a program that has nothing to do with
//! the queue takes the processor for a whole time slice: the kernel lets a thread run soon after a wake-up, but one that
//! has yielded only after everyone else's turn. So after two late yields in short order the waits of the handle do not
//! yield for a while: they spin for a short time, and then sleep.
//!
//! YIELDS-1. A yield is late if it took a time slice and few messages passed meanwhile, counted on both sides. Those of
//!     this side would have been this wait's own: another receiver has received them, or another sender has sent them.
//!     Those of the other side show only that it has run.
//! YIELDS-2. Of about [`NO_YIELDS_FOR`] time slices, late yields take at most two, whatever else runs on this processor. A
//!     single one is no reason to sleep: a virtual machine may just have been stopped for a moment. However long that was,
//!     it counts as [`LONGEST_TURN`].
//! YIELDS-3. On a machine with one processor a wait yields after its first attempt, since nothing happens while it spins. If
//!     its deadline is near, it does not yield.
//!
//! The state belongs to one handle. Threads that share the handle may mix it up, which costs some speed and nothing else.

use crate::os::cpu;
use crate::sync::{AtomicU64, Ordering};
use core::time::Duration;
use std::time::Instant;

/// The time that a yield takes if no other thread wants the processor, or a little more.
pub(super) const YIELD_COST: Duration = Duration::from_micros(1);
/// A yield that takes longer than this has cost a time slice. Peers that pass messages to each other come to wait, and so
/// yield, sooner.
const LATE: Duration = Duration::from_micros(1800);
/// If the other side passes messages more often than this, a late yield has only let a run of them build up.
const OTHER_SIDE_PACE: Duration = Duration::from_micros(10);
/// If this side passes messages more often than this, it did not need this wait.
const OWN_SIDE_PACE: Duration = Duration::from_micros(50);
/// The longest turn of other threads. A yield that took longer was stopped with its process or its machine.
const LONGEST_TURN: Duration = Duration::from_millis(100);
/// Two late yields come in short order if the second one began, after the end of the first, within this many times the time
/// that the second one took.
const SHORT_ORDER: u32 = 16;
/// For this many times as long as the second one has taken, waits do not yield.
const NO_YIELDS_FOR: u32 = 32;

/// A deadline that is less than this away is near (SPIN-2): a few turns of other threads.
pub(super) const NEAR_DEADLINE: Duration = Duration::from_millis(20);

/// How many messages have passed. A batch counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Received, if the wait is a receiver's; sent, if it is a sender's.
    pub(super) own_side: u64,
    pub(super) other_side: u64,
}

impl Passed {
    /// Returns how many have passed since an earlier count. Counts may wrap.
    pub(super) const fn since(self, earlier: Self) -> Self {
        Self {
            own_side: self.own_side.wrapping_sub(earlier.own_side),
            other_side: self.other_side.wrapping_sub(earlier.other_side),
        }
    }
}

/// What a yield has led to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yielded {
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) passed: Passed,
}

impl Yielded {
    fn took(&self) -> Duration {
        self.ended.saturating_duration_since(self.began)
    }

    /// Returns whether it was late (YIELDS-1).
    fn is_late(&self) -> bool {
        let slower_than = |pace: Duration, messages: u64| {
            let messages = u32::try_from(messages).unwrap_or(u32::MAX);
            self.took() > pace.saturating_mul(messages)
        };
        self.took() > LATE
            && slower_than(OTHER_SIDE_PACE, self.passed.other_side)
            && slower_than(OWN_SIDE_PACE, self.passed.own_side)
    }
}

/// What the yields of one handle have led to.
#[derive(Debug)]
pub(super) struct Yields {
    created: Instant,
    /// When waits yield again, in nanoseconds since `created`.
    resume: AtomicU64,
    /// When the last late yield ended, in nanoseconds since `created`; 0 if there was none.
    last_late: AtomicU64,
}

impl Yields {
    pub(super) fn new() -> Self {
        Self {
            created: Instant::now(),
            resume: AtomicU64::new(0),
            last_late: AtomicU64::new(0),
        }
    }

    /// Returns whether a wait with this deadline yields now.
    pub(super) fn are_allowed(&self, now: Instant, deadline: Option<Instant>) -> bool {
        let is_in_time =
            cpu::is_multiprocessor() || deadline.is_none_or(|deadline| is_far(deadline, now));
        is_in_time && self.since_created(now) >= self.resume.load(Ordering::Relaxed)
    }

    /// Yields the processor. `began`: the time now. `passed` counts messages.
    pub(super) fn yield_now(&self, began: Instant, passed: impl Fn() -> Passed) -> Yielded {
        let before = passed();
        cpu::yield_now();
        let yielded = Yielded {
            began,
            ended: Instant::now(),
            passed: passed().since(before),
        };
        self.note(&yielded);
        yielded
    }

    fn note(&self, yielded: &Yielded) {
        if !yielded.is_late() {
            return;
        }
        let took = yielded.took().min(LONGEST_TURN);
        let ended = self.since_created(yielded.ended);
        let last = self.last_late.swap(ended, Ordering::Relaxed);
        let since_last = self.since_created(yielded.began).saturating_sub(last);
        let is_second = last > 0 && since_last < nanoseconds(took.saturating_mul(SHORT_ORDER));
        if is_second && !mutant!(LateYieldsGoOn) {
            let resume = ended.saturating_add(nanoseconds(took.saturating_mul(NO_YIELDS_FOR)));
            self.resume.store(resume, Ordering::Relaxed);
        }
    }

    fn since_created(&self, time: Instant) -> u64 {
        nanoseconds(time.saturating_duration_since(self.created))
    }
}

/// Returns whether a deadline is so far away that a few turns of other threads do not matter.
pub(super) fn is_far(deadline: Instant, now: Instant) -> bool {
    deadline.saturating_duration_since(now) >= NEAR_DEADLINE
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TURN: Duration = Duration::from_millis(4);

    fn yielded(began: Instant, took: Duration, own_side: u64, other_side: u64) -> Yielded {
        Yielded {
            began,
            ended: began + took,
            passed: Passed {
                own_side,
                other_side,
            },
        }
    }

    /// Notes two yields of this kind, with a pause in between. Returns the state, and when the second one ended.
    fn after_two(kind: impl Fn(Instant) -> Yielded, pause: Duration) -> (Yields, Instant) {
        let yields = Yields::new();
        let first = kind(yields.created);
        yields.note(&first);
        assert!(yields.are_allowed(first.ended, None), "after the first");
        let second = kind(first.ended + pause);
        yields.note(&second);
        (yields, second.ended)
    }

    fn is_late(took: Duration, own_side: u64, other_side: u64) -> bool {
        let kind = |began| yielded(began, took, own_side, other_side);
        let (yields, now) = after_two(kind, Duration::ZERO);
        !yields.are_allowed(now, None)
    }

    #[test]
    fn two_late_yields_in_short_order_stop_yields_for_a_bounded_time() {
        let late = |began| yielded(began, TURN, 0, 0);
        let (yields, now) = after_two(late, TURN);
        assert!(!yields.are_allowed(now + TURN * (NO_YIELDS_FOR - 1), None));
        assert!(yields.are_allowed(now + TURN * NO_YIELDS_FOR, None));
    }

    #[test]
    fn a_long_stop_does_not_stop_yields_for_longer() {
        const STOP: Duration = Duration::from_secs(3600);
        let (yields, now) = after_two(|began| yielded(began, STOP, 0, 0), Duration::ZERO);
        assert!(!yields.are_allowed(now, None));
        assert!(yields.are_allowed(now + LONGEST_TURN * NO_YIELDS_FOR, None));
    }

    #[test]
    fn a_late_yield_now_and_then_changes_nothing() {
        let late = |began| yielded(began, TURN, 0, 0);
        let (yields, now) = after_two(late, TURN * SHORT_ORDER);
        assert!(yields.are_allowed(now, None));
    }

    #[test]
    fn a_yield_is_not_late_while_messages_pass_fast() {
        // 4 ms are 80 messages at one in 50 us, and 400 at one in 10 us.
        assert!(is_late(TURN, 79, 399));
        assert!(!is_late(TURN, 80, 0), "others of this side were fast");
        assert!(!is_late(TURN, 0, 400), "a run of messages has built up");
        assert!(!is_late(LATE, 0, 0), "shorter than a time slice");
    }

    #[test]
    fn counts_wrap() {
        let before = Passed {
            own_side: u64::MAX,
            other_side: 7,
        };
        let after = Passed {
            own_side: 1,
            other_side: 7,
        };
        let expected = Passed {
            own_side: 2,
            other_side: 0,
        };
        assert_eq!(after.since(before), expected);
    }
}
