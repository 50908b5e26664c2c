//! Measures how long a wait has spun: how much of its processor it has used.
//!
//! A thread that spins yields its processor between attempts. If another thread then has it for a while, that time
//! counts as spinning only if the queue stood still meanwhile, because then a sleep is better: a message wakes this
//! thread sooner than its turn comes. If messages have passed, they pass without this thread, and it has burned nothing.
//! A sleep would make the sender of the next message pay for a wake-up.
//!
//! SPIN-1. Each yield counts for up to [`YIELD_COST`]. So a wait uses the processor for the spin time and a little more,
//!     however often it yields, and then sleeps.
//! SPIN-2. A wait whose deadline is near counts all its time: it must end on time, and a thread that sleeps is woken in
//!     time even if another one uses the processor.

use super::yields::{YIELD_COST, Yielded, is_far};
use core::time::Duration;
use std::time::Instant;

/// The time of one wait that spins.
pub(super) struct SpinTime {
    /// When it began, moved forward by the time that does not count.
    start: Instant,
}

impl SpinTime {
    pub(super) const fn begin(now: Instant) -> Self {
        Self { start: now }
    }

    /// Returns how long the wait has spun.
    pub(super) fn at(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    /// Takes note of a yield.
    pub(super) fn yielded(&mut self, yielded: &Yielded, deadline: Option<Instant>) {
        let now = yielded.ended;
        let is_far = deadline.is_none_or(|deadline| is_far(deadline, now));
        if yielded.passed.own_side > 0 && is_far {
            let away = now.saturating_duration_since(yielded.began);
            self.start += away.saturating_sub(YIELD_COST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::yields::{NEAR_DEADLINE, Passed};
    use super::*;

    const TURN: Duration = Duration::from_millis(3);

    /// Returns how much of a turn of another thread counts.
    fn counted(messages: u64, deadline: Option<Duration>) -> Duration {
        let mut time = SpinTime::begin(Instant::now());
        let turn = yielded(time.start, TURN, messages);
        time.yielded(&turn, deadline.map(|after| turn.ended + after));
        time.at(turn.ended)
    }

    fn yielded(began: Instant, took: Duration, own_side: u64) -> Yielded {
        Yielded {
            began,
            ended: began + took,
            passed: Passed {
                own_side,
                other_side: 0,
            },
        }
    }

    #[test]
    fn a_turn_of_another_thread_counts_as_one_yield_if_messages_passed() {
        assert_eq!(counted(1, None), YIELD_COST);
        assert_eq!(counted(1, Some(NEAR_DEADLINE)), YIELD_COST);
    }

    #[test]
    fn a_turn_of_another_thread_counts_whole_if_the_queue_stood_still() {
        assert_eq!(counted(0, None), TURN);
    }

    #[test]
    fn a_turn_of_another_thread_counts_whole_if_the_deadline_is_near() {
        let nearly = NEAR_DEADLINE.saturating_sub(Duration::from_nanos(1));
        assert_eq!(counted(1, Some(nearly)), TURN);
        assert_eq!(counted(1, Some(Duration::ZERO)), TURN);
    }

    #[test]
    fn a_wait_that_yields_again_and_again_ends() {
        let mut time = SpinTime::begin(Instant::now());
        let mut now = time.start;
        for _ in 0..50 {
            time.yielded(&yielded(now, TURN, 1), None);
            now += TURN;
        }
        assert_eq!(time.at(now), 50 * YIELD_COST);
    }

    #[test]
    fn a_yield_that_nobody_uses_counts_whole() {
        let mut time = SpinTime::begin(Instant::now());
        let short = yielded(time.start, YIELD_COST / 2, 1);
        time.yielded(&short, None);
        assert_eq!(time.at(short.ended), YIELD_COST / 2);
    }
}
