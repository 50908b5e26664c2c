//! A futex for threads of loom.
//!
//! A sleep ends only if a word does not have the expected value, or if a wake reaches this very sleeper. It has no
//! time limit, so a lost wake is a deadlock, which loom reports.

use crate::protocol::parking::ParkingWord;
use crate::sync::loom_tools::{skip_branch, thread};
use crate::sync::{AtomicU32, Ordering};
use core::ptr::from_ref;
use std::sync::Mutex;

/// The threads that sleep.
#[derive(Debug, Default)]
pub(crate) struct Sleepers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    asleep: Vec<Asleep>,
    /// The number of sleeps.
    sleeps: u32,
    /// The number of sleeps that found another value than they expected.
    turned_away: u32,
}

/// One word that a thread sleeps on.
#[derive(Debug)]
struct Asleep {
    sleep: u32,
    address: usize,
    thread: thread::Thread,
}

/// Two sleepers can keep each other awake forever: each raises the epoch between the last check and the sleep of the
/// other. Only executions with fewer such rounds are explored.
const MAX_ROUNDS: u32 = 6;

impl Sleepers {
    /// Sleeps while `word` has the value `expected`.
    pub(crate) fn sleep(&self, word: &ParkingWord, expected: u32) {
        self.sleep_any(&[(word.futex_word(), expected)]);
    }

    /// Sleeps while each word has the value beside it. As a kernel does, looks at one word after the other, and is in
    /// the list of each from that look to the end of the sleep. So a sleeper that was woken on one word may also take a
    /// wake of another one.
    pub(crate) fn sleep_any(&self, words: &[(&AtomicU32, u32)]) {
        let sleep = {
            let mut state = self.0.lock().expect("no panic in here");
            state.sleeps += 1;
            state.sleeps
        };
        for &(word, expected) in words {
            // A kernel reads the word under a lock, so it never sees an old value. This is the only step that loom sees:
            // it switches threads only before such a step, so the rest of the turn is not interrupted.
            let now = word.fetch_add(0, Ordering::Relaxed);
            let mut state = self.0.lock().expect("no panic in here");
            if now != expected {
                state.asleep.retain(|other| other.sleep != sleep);
                state.turned_away += 1;
                if state.turned_away >= MAX_ROUNDS {
                    drop(state);
                    skip_branch();
                    thread::yield_now();
                }
                return;
            }
            state.asleep.push(Asleep {
                sleep,
                address: from_ref(word).addr(),
                thread: thread::current(),
            });
        }
        // A wake on one word may have come while the thread was awake and looked at the next.
        while self.words_of(sleep) == words.len() {
            thread::park();
        }
        if let [_, _, ..] = words {
            // Makes loom try wakes on the other words before and after this.
            for (word, _) in words {
                word.fetch_add(0, Ordering::Relaxed);
            }
            let mut state = self.0.lock().expect("no panic in here");
            state.asleep.retain(|other| other.sleep != sleep);
        }
    }

    /// Returns on how many words no wake has ended this sleep.
    fn words_of(&self, sleep: u32) -> usize {
        let state = self.0.lock().expect("no panic in here");
        state.asleep.iter().filter(|one| one.sleep == sleep).count()
    }

    /// Wakes up to `count` sleepers, and returns how many.
    pub(crate) fn wake(&self, word: &ParkingWord, count: u32) -> u32 {
        self.wake_on(word.futex_word(), count)
    }

    /// Wakes up to `count` sleepers on a word that is no parking word.
    pub(crate) fn wake_on(&self, word: &AtomicU32, count: u32) -> u32 {
        self.add_and_wake(word, 0, count)
    }

    /// Adds a number to the word, and wakes sleepers in the same step.
    pub(crate) fn add_and_wake(&self, word: &AtomicU32, number: u32, count: u32) -> u32 {
        // Makes loom try this wake before and after each sleep on the word, even with the number 0.
        word.fetch_add(number, Ordering::Relaxed);
        let mut state = self.0.lock().expect("no panic in here");
        let mut woken = 0;
        state.asleep.retain(|sleeper| {
            let wakes = woken < count && sleeper.address == from_ref(word).addr();
            if wakes {
                sleeper.thread.unpark();
                woken += 1;
            }
            !wakes
        });
        woken
    }
}
