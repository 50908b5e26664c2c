//! A futex for threads of loom.
//!
//! A sleep ends only if the word does not have the expected value, or if a wake reaches this very sleeper. It has no
//! time limit, so a lost wake is a deadlock, which loom reports.

use crate::protocol::parking::ParkingWord;
use crate::sync::Ordering;
use crate::sync::loom_tools::{skip_branch, thread};
use core::ptr::from_ref;
use std::sync::Mutex;

/// The threads that sleep.
#[derive(Debug, Default)]
pub(super) struct Sleepers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    asleep: Vec<(usize, thread::Thread)>,
    /// The number of sleeps that found another value than they expected.
    turned_away: u32,
}

/// Two sleepers can keep each other awake forever: each raises the epoch between the last check and the sleep of the
/// other. Only executions with fewer such rounds are explored.
const MAX_ROUNDS: u32 = 6;

impl Sleepers {
    pub(super) fn sleep(&self, word: &ParkingWord, expected: u32) {
        // A kernel reads the word under a lock, so it never sees an old value. This is the only step that loom sees: it
        // switches threads only before such a step, so the rest of the function is not interrupted.
        let now = word.futex_word().fetch_add(0, Ordering::Relaxed);
        let mut state = self.0.lock().expect("no panic in here");
        if now == expected {
            state
                .asleep
                .push((from_ref(word).addr(), thread::current()));
            drop(state);
            thread::park();
        } else {
            state.turned_away += 1;
            if state.turned_away >= MAX_ROUNDS {
                drop(state);
                skip_branch();
                thread::yield_now();
            }
        }
    }

    pub(super) fn wake(&self, word: &ParkingWord, count: u32) -> u32 {
        // Makes loom try this wake before and after each sleep on the word.
        word.futex_word().fetch_add(0, Ordering::Relaxed);
        let mut state = self.0.lock().expect("no panic in here");
        let mut woken = 0;
        state.asleep.retain(|(address, sleeper)| {
            let wakes = woken < count && *address == from_ref(word).addr();
            if wakes {
                sleeper.unpark();
                woken += 1;
            }
            !wakes
        });
        woken
    }
}
