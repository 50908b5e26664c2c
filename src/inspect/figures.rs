//! The numbers of messages in each state, which balance whether the queue is at rest or not.
//!
//! FIGURES-1. `accepted` is the sum of all others. Of a settled copy ([`crate::segment::image`]) all are exact.
//! FIGURES-2. Otherwise a message may move between the reads of two words, and is then counted where it was, where it is
//!            now, in both places, or in neither. So `acknowledged`, which is what is left of `accepted`, is off by at
//!            most as many messages as moved during the copy; the others are true numbers of some moment of it.
//!            `queued` never exceeds what the capacity permits, and no number is below zero.
//! FIGURES-3. Figures of successive copies never go back in `accepted`, `acknowledged`, `dropped_letters` and
//!            `discarded`: see [`Figures::since`].

use crate::protocol::SharedState;
use crate::protocol::steps::stats::MessageStats;
use crate::protocol::steps::walk::filled_and_taken;

/// The numbers of messages in each state. See [`Stats`](crate::queue::Stats) for what each one means.
#[allow(missing_docs, reason = "the names are those of `Stats`")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub accepted: u64,
    pub acknowledged: u64,
    pub queued: u64,
    pub held: u64,
    pub returned: u64,
    pub dead_letters: u64,
    pub dropped_letters: u64,
    pub discarded: u64,
}

impl Figures {
    /// Returns figures that balance (FIGURES-1), from counts of a copy of the words.
    pub(super) fn balanced<S: SharedState>(image: &S, stats: &MessageStats) -> Self {
        let (filled, taken) = filled_and_taken(image);
        let too_many = filled
            .0
            .saturating_sub(taken.0)
            .saturating_sub(image.limits().capacity.into());
        let mut figures = Self {
            accepted: stats.accepted,
            acknowledged: 0,
            queued: stats.queued.saturating_sub(too_many),
            held: stats.held,
            returned: stats.returned,
            dead_letters: stats.dead_letters,
            dropped_letters: stats.evicted,
            discarded: stats.discarded,
        };
        figures.accepted = figures.accepted.max(figures.elsewhere());
        figures.acknowledged = figures.accepted - figures.elsewhere();
        figures
    }

    /// Returns the number of messages that are not acknowledged, at most `u64::MAX`.
    fn elsewhere(&self) -> u64 {
        let elsewhere = [
            self.queued,
            self.held,
            self.returned,
            self.dead_letters,
            self.dropped_letters,
            self.discarded,
        ];
        elsewhere.into_iter().fold(0, u64::saturating_add)
    }

    /// Returns these figures of a busy queue, with no count below that of an earlier moment where counts only rise
    /// (FIGURES-3). They still balance.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        self.acknowledged = self.acknowledged.max(earlier.acknowledged);
        self.dropped_letters = self.dropped_letters.max(earlier.dropped_letters);
        self.discarded = self.discarded.max(earlier.discarded);
        let all = self.elsewhere().saturating_add(self.acknowledged);
        self.accepted = all.max(earlier.accepted);
        self.acknowledged = self.accepted - self.elsewhere();
        self
    }

    /// Returns whether the numbers add up.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.elsewhere().saturating_add(self.acknowledged) == self.accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(accepted: u64, acknowledged: u64, queued: u64, held: u64) -> Figures {
        Figures {
            accepted,
            acknowledged,
            queued,
            held,
            ..Figures::default()
        }
    }

    #[test]
    fn later_figures_do_not_go_back_and_balance() {
        let earlier = figures(100, 90, 6, 4);
        for later in [
            figures(101, 85, 12, 4),
            figures(99, 90, 5, 4),
            figures(120, 120, 0, 0),
            figures(100, 88, 6, 6),
        ] {
            let since = later.since(&earlier);
            assert!(since.is_balanced(), "{since:?}");
            assert!(
                since.accepted >= earlier.accepted && since.acknowledged >= earlier.acknowledged
            );
            assert_eq!((since.queued, since.held), (later.queued, later.held));
        }
        assert_eq!(earlier.since(&earlier), earlier);
    }

    #[test]
    fn numbers_that_a_stray_write_made_huge_still_balance() {
        let huge = figures(3, 0, u64::MAX, u64::MAX).since(&figures(5, 5, 0, 0));
        assert!(huge.is_balanced() || huge.acknowledged > 0);
    }
}
