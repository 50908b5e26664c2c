//! Whether messages come so fast that it does not pay to sleep between two of them.
//!
//! Where there is a processor for each process, a wait spins before it sleeps. Where there is not, parent and workers take
//! turns, and a fast stream of small tasks can fall into step: whoever sends wakes the other, who goes first because
//! it has slept, finds one message, and sleeps again. That costs two switches and a wake-up for each task. Whoever lets
//! the others go first instead, still awake, finds many messages afterwards, and has woken nobody.
//!
//! That is worth it in a fast stream only: on a busy machine somebody who sleeps and is woken has his turn sooner than
//! somebody who has given it up.

use crate::os::clock;
use std::thread;

/// So many messages in one tick of the coarse clock, of some milliseconds, are a fast stream.
const MANY: u32 = 32;

/// How many messages have come lately.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    tick: u64,
    /// In this tick, and whether there were many in the one before.
    messages: u32,
    were_many: bool,
}

impl Pace {
    /// Something has come.
    pub(super) fn step(&mut self) {
        self.step_at(clock::now_coarse());
    }

    fn step_at(&mut self, tick: u64) {
        if tick != self.tick {
            self.were_many = self.messages >= MANY;
            self.tick = tick;
            self.messages = 0;
        }
        self.messages = self.messages.saturating_add(1);
    }

    fn is_fast(&self) -> bool {
        self.were_many || self.messages >= MANY
    }

    /// Before a wait: if nothing has come yet, let those go first who are to send it.
    pub(super) fn give_way_if(&self, has_nothing_come: impl FnOnce() -> bool) {
        if self.is_fast() && has_nothing_come() {
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_fast_while_many_come_in_a_tick_and_in_the_next_one() {
        let mut pace = Pace::default();
        for tick in 1..10 {
            for _ in 1..MANY {
                pace.step_at(tick);
                assert!(!pace.is_fast());
            }
        }
        pace.step_at(9);
        assert!(pace.is_fast());
        pace.step_at(10);
        assert!(pace.is_fast());
        pace.step_at(11);
        assert!(!pace.is_fast());
    }
}
