//! Whether messages arrive so fast that yielding the processor is better than sleeping.
//!
//! With a processor for each process, a wait spins before it sleeps. With fewer, parent and workers alternate, and a
//! fast stream of small tasks can degenerate: the sender wakes the receiver, which runs first because it has slept,
//! finds one message, and sleeps again. That costs two context switches and a wake-up for each task. A receiver that
//! yields instead finds many messages when it runs again, and needed no wake-up.
//!
//! Yielding pays off in a fast stream only: on a busy machine a thread that is woken from sleep runs sooner than a
//! thread that has yielded.

use crate::os::clock;
use std::thread;

/// The number of messages within one tick of the coarse clock (a few milliseconds) that makes a fast stream.
const FAST_STREAM: u32 = 32;

/// Counts recent messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    tick: u64,
    /// Messages in this tick.
    messages: u32,
    /// Whether the tick before had many.
    were_many: bool,
}

impl Pace {
    /// Counts one message, which arrives now.
    pub(super) fn step(&mut self) {
        self.step_at(clock::now_coarse());
    }

    /// Counts one message, which arrived at this time of the coarse clock.
    #[inline]
    pub(super) fn step_at(&mut self, tick: u64) {
        if tick != self.tick {
            self.were_many = self.messages >= FAST_STREAM;
            self.tick = tick;
            self.messages = 0;
        }
        self.messages = self.messages.saturating_add(1);
    }

    fn is_fast(&self) -> bool {
        self.were_many || self.messages >= FAST_STREAM
    }

    /// Yields before a wait, if the stream is fast and no message has arrived yet.
    pub(super) fn yield_if(&self, is_empty: impl FnOnce() -> bool) {
        if self.is_fast() && is_empty() {
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_fast_in_a_tick_with_many_messages_and_in_the_next_one() {
        let mut pace = Pace::default();
        for tick in 1..10 {
            for _ in 1..FAST_STREAM {
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
