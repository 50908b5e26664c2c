//! The event count alone loses no wake. Two weaker designs do, which shows that the models would find it.

use super::explore;
use super::heap_queue::{HeapQueue, LIMITS};
use crate::protocol::SharedState;
use crate::protocol::parking::ParkingWord;
use crate::sync::loom_tools::thread;
use crate::sync::{AtomicU32, Ordering, fence};
use std::sync::Arc;

/// Tokens that threads wait for, and the queue with the word to wait on.
struct Tokens {
    left: AtomicU32,
    queue: Arc<HeapQueue>,
    announce: fn(&ParkingWord) -> u32,
}

impl Tokens {
    fn new(announce: fn(&ParkingWord) -> u32) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicU32::new(0),
            queue: HeapQueue::new(LIMITS, 0, 0),
            announce,
        })
    }

    fn try_take(&self) -> bool {
        let mut left = self.left.load(Ordering::Relaxed);
        while left > 0 {
            match self
                .left
                .compare_exchange(left, left - 1, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => left = now,
            }
        }
        false
    }

    fn take(&self) {
        let word = self.queue.items();
        while !self.try_take() {
            let expected = (self.announce)(word);
            if self.try_take() {
                return;
            }
            self.queue.sleep(word, expected);
        }
    }

    fn put(&self) {
        self.left.fetch_add(1, Ordering::AcqRel);
        let word = self.queue.items();
        if word.has_waiters() {
            word.notify(|word| self.queue.wake(word, 1));
        }
    }
}

fn as_designed(word: &ParkingWord) -> u32 {
    word.prepare_wait().get()
}

/// Sets the bit and does not raise the epoch.
fn without_the_raise(word: &ParkingWord) -> u32 {
    let announced = word.futex_word().fetch_or(1, Ordering::AcqRel) | 1;
    fence(Ordering::SeqCst);
    announced
}

/// Raises the epoch and sets the bit, without a fence before the next check.
fn without_the_fence(word: &ParkingWord) -> u32 {
    let mut seen = word.futex_word().load(Ordering::Relaxed);
    loop {
        let announced = (seen | 1).wrapping_add(2);
        match word.futex_word().compare_exchange(
            seen,
            announced,
            Ordering::AcqRel,
            Ordering::Relaxed,
        ) {
            Ok(_) => return announced,
            Err(now) => seen = now,
        }
    }
}

fn two_of_each(name: &str, interruptions: Option<usize>, announce: fn(&ParkingWord) -> u32) {
    explore(name, interruptions, move || {
        let tokens = Tokens::new(announce);
        let start = |action: fn(&Tokens)| {
            let tokens = Arc::clone(&tokens);
            thread::spawn(move || action(&tokens))
        };
        let others = [start(Tokens::take), start(Tokens::take), start(Tokens::put)];
        tokens.put();
        for other in others {
            other.join().expect("no panic");
        }
    });
}

/// Starts with the bit set, as a sleeper leaves it that was killed.
fn one_of_each_after_a_death(name: &str, announce: fn(&ParkingWord) -> u32) {
    explore(name, Some(4), move || {
        let tokens = Tokens::new(announce);
        let _ = announce(tokens.queue.items());
        let sleeper = Arc::clone(&tokens);
        let other = thread::spawn(move || {
            sleeper.take();
            sleeper.take();
        });
        tokens.put();
        tokens.put();
        other.join().expect("no panic");
    });
}

#[test]
fn two_notifiers_wake_two_sleepers() {
    two_of_each("two sleepers, two notifiers", Some(2), as_designed);
}

#[test]
fn the_bit_of_a_dead_sleeper_loses_no_wake() {
    one_of_each_after_a_death("one sleeper, one notifier, a stale bit", as_designed);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_raise_two_notifiers_lose_a_wake() {
    two_of_each("no raise, two of each", Some(3), without_the_raise);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_raise_a_stale_bit_loses_a_wake() {
    one_of_each_after_a_death("no raise, a stale bit", without_the_raise);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fence_a_wake_is_lost() {
    one_of_each_after_a_death("no fence", without_the_fence);
}
