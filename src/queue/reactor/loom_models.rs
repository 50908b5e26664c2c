//! Models of the reactor for loom. A thread runs the loop of a lane, as [`process`](super) does; others are executors of
//! one future each, or sleep on the parking word themselves, as another process would. What they wait for are tokens.
//!
//! A notification that is lost leaves a token untaken and its taker asleep. loom reports that as a deadlock.
//!
//! Not shown are two words in one lane, notifications that wake all, sweeps, and weak memory where only the lane's lock
//! orders two steps: loom's mutex is a full fence, too.

use super::lane::{Lane, Next};
use super::seat::Ticket;
use super::source::{Found, Source};
use crate::mutants::{Mutant, with};
use crate::protocol::parking::ParkingWord;
use crate::protocol::verify::loom_models::futex::Sleepers;
use crate::protocol::verify::loom_models::{explore, short_or_full};
use crate::sync::loom_tools::thread::{self, JoinHandle};
use crate::sync::{AtomicU32, Ordering};
use core::task::Waker;
use core::time::Duration;
use std::sync::Arc;
use std::task::Wake;

/// Tokens in shared memory, and the word to wait on.
struct Tokens {
    left: AtomicU32,
    word: ParkingWord,
    sleepers: Sleepers,
}

impl Tokens {
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

    fn put(&self) {
        self.left.fetch_add(1, Ordering::AcqRel);
        if self.word.has_waiters() {
            self.word.notify(|word| self.sleepers.wake(word, 1));
        }
    }

    /// Takes a token as a process does that blocks.
    fn take(&self) {
        while !self.try_take() {
            let key = self.word.prepare_wait();
            if self.try_take() {
                return;
            }
            self.sleepers.sleep(&self.word, key.get());
        }
    }
}

impl Source for Tokens {
    fn word(&self) -> Option<&ParkingWord> {
        Some(&self.word)
    }

    fn fence_others(&self) -> bool {
        true
    }

    fn look(&self) -> Found {
        if self.left.load(Ordering::Relaxed) > 0 {
            Found::One
        } else {
            Found::Nothing
        }
    }

    fn wakes_all(&self) -> bool {
        false
    }

    fn pass_on_wake(&self) {
        self.word.pass_on_wake(|word| self.sleepers.wake(word, 1));
    }

    fn time_until_sweep(&self) -> Duration {
        Duration::MAX
    }

    fn sweep(&self) {}
}

/// A process with a reactor.
struct Process {
    tokens: Arc<Tokens>,
    lane: Lane,
    seat: usize,
}

impl Process {
    /// Also starts the thread of the lane.
    fn new() -> (Arc<Self>, JoinHandle<()>) {
        let tokens = Arc::new(Tokens {
            left: AtomicU32::new(0),
            word: ParkingWord::new(),
            sleepers: Sleepers::default(),
        });
        let lane = Lane::new();
        let source: Arc<dyn Source> = Arc::<Tokens>::clone(&tokens);
        let seat = lane.add_seat(&source).expect("a free seat");
        let process = Arc::new(Self { tokens, lane, seat });
        let shared = Arc::clone(&process);
        (process, thread::spawn(move || shared.run()))
    }

    /// Does what `process::run` does.
    fn run(&self) {
        let mut last = Vec::new();
        let sleepers = &self.tokens.sleepers;
        loop {
            match self.lane.next() {
                Next::Wake(woken) => woken.into_iter().for_each(Waker::wake),
                Next::Sweep(_) => panic!("no sweep is due"),
                Next::LetGo => {
                    last.clear();
                    self.lane.let_go();
                    sleepers.wake_on(self.lane.departures(), u32::MAX);
                }
                Next::End => return,
                Next::Sleep(sleep) => {
                    let queues = sleep
                        .words
                        .iter()
                        .filter_map(|(source, key)| Some((source.word()?.futex_word(), key.get())));
                    let call = (self.lane.call_word(), sleep.call);
                    let words: Vec<_> = core::iter::once(call).chain(queues).collect();
                    sleepers.sleep_any(&words);
                    last = sleep.words;
                }
            }
        }
    }

    /// Gives up the seat, as `process::give_up` does, and joins the thread.
    fn end(&self, thread: JoinHandle<()>) {
        let given_up = self.lane.give_up(self.seat);
        assert!(given_up.is_last);
        let sleepers = &self.tokens.sleepers;
        if given_up.kick.is_needed() {
            sleepers.wake_on(self.lane.call_word(), 1);
        }
        if let Some(before) = given_up.wait_for {
            let departures = self.lane.departures();
            while departures.load(Ordering::Acquire) == before {
                sleepers.sleep_any(&[(departures, before)]);
            }
            given_up.pass_on_wake();
            drop(given_up);
            // REACTOR-7: the queue may be unmapped from here on.
            assert_eq!(Arc::strong_count(&self.tokens), 1, "references to it");
        }
        thread.join().expect("no panic");
    }

    /// Runs a future that takes a token.
    fn block_on_take(self: &Arc<Self>) {
        let task = Arc::new(Task {
            wakes: AtomicU32::new(0),
            process: Arc::clone(self),
        });
        let mut future = Take::new(self);
        loop {
            // Relaxed, so that a poll need not see what the waker's caller has seen: a future may also be polled for
            // another reason.
            let wakes = task.wakes.load(Ordering::Relaxed);
            if future.poll(Waker::from(Arc::clone(&task))) {
                return;
            }
            self.tokens.sleepers.sleep_any(&[(&task.wakes, wakes)]);
        }
    }
}

/// A task with one future and a thread of its own, which sleeps while the future is pending.
struct Task {
    /// How often it was woken.
    wakes: AtomicU32,
    process: Arc<Process>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        // In one step: it is no part of the reactor.
        self.process.tokens.sleepers.add_and_wake(&self.wakes, 1, 1);
    }
}

/// A future that takes a token, as `futures::waiting` takes a message.
struct Take<'a> {
    process: &'a Process,
    place: Option<Ticket>,
}

impl<'a> Take<'a> {
    fn new(process: &'a Process) -> Self {
        let place = None;
        Self { process, place }
    }

    /// Tries, takes a place in line, and tries again (REACTOR-1). Returns whether it has completed.
    fn poll(&mut self, waker: Waker) -> bool {
        let Process { tokens, lane, seat } = self.process;
        if !tokens.try_take() {
            let admitted = lane.admit(*seat, self.place, waker);
            self.place = Some(admitted.ticket);
            if admitted.kick.is_needed() {
                tokens.sleepers.wake_on(lane.call_word(), 1);
            }
            if !tokens.try_take() {
                return false;
            }
        }
        self.leave(true);
        true
    }

    fn leave(&mut self, is_used: bool) {
        if let Some(ticket) = self.place.take() {
            let mut woken = Vec::new();
            let Process { lane, seat, .. } = self.process;
            drop(lane.dismiss(*seat, ticket, is_used, &mut woken));
            woken.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Take<'_> {
    fn drop(&mut self) {
        self.leave(false);
    }
}

/// Starts a thread for each taker, puts as many tokens, and waits for all.
fn run_all(name: &str, interruptions: Option<usize>, takers: &'static [fn(&Arc<Process>)]) {
    explore(name, interruptions, move || {
        let (process, lane) = Process::new();
        let threads: Vec<_> = (takers.iter())
            .map(|take| {
                let process = Arc::clone(&process);
                thread::spawn(move || take(&process))
            })
            .collect();
        takers.iter().for_each(|_| process.tokens.put());
        for thread in threads {
            thread.join().expect("no panic");
        }
        process.end(lane);
    });
}

const FUTURE: fn(&Arc<Process>) = Process::block_on_take;
/// A thread of another process.
const SLEEPER: fn(&Arc<Process>) = |process| process.tokens.take();

/// A future is pending when the only token is put, and is dropped then. It must leave that to the other taker.
fn drop_one(name: &str, interruptions: Option<usize>, other: fn(&Arc<Process>)) {
    explore(name, interruptions, move || {
        let (process, lane) = Process::new();
        let others = Arc::clone(&process);
        let thread = thread::spawn(move || other(&others));
        let mut dropped = Take::new(&process);
        assert!(!dropped.poll(Waker::noop().clone()), "there is no token");
        process.tokens.put();
        drop(dropped);
        thread.join().expect("no panic");
        process.end(lane);
    });
}

#[test]
fn a_pending_future_is_woken() {
    run_all("reactor: a future", short_or_full(3, 4), &[FUTURE]);
}

#[test]
fn two_pending_futures_are_woken() {
    run_all(
        "reactor: two futures",
        short_or_full(1, 2),
        &[FUTURE, FUTURE],
    );
}

#[test]
fn a_future_and_a_sleeper_are_woken() {
    run_all(
        "reactor: a future and a sleeper",
        short_or_full(1, 2),
        &[FUTURE, SLEEPER],
    );
}

#[test]
fn a_future_that_is_dropped_leaves_its_wake_to_another_one() {
    drop_one(
        "reactor: a dropped future, and another one",
        short_or_full(2, 3),
        FUTURE,
    );
}

#[test]
fn a_future_that_is_dropped_leaves_its_wake_to_a_sleeper() {
    drop_one(
        "reactor: a dropped future, and a sleeper",
        short_or_full(2, 3),
        SLEEPER,
    );
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_baton_a_wake_is_lost() {
    with(Some(Mutant::BatonDropped), || {
        drop_one("no baton", Some(3), FUTURE);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_baton_a_sleeper_misses_its_wake() {
    with(Some(Mutant::BatonDropped), || {
        drop_one("no baton for a sleeper", Some(3), SLEEPER);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_second_look_a_wake_is_lost() {
    with(Some(Mutant::ReactorDoesNotLookAgain), || {
        run_all("no second look", Some(3), &[FUTURE]);
    });
}

#[test]
#[should_panic(expected = "deadlock")]
fn with_a_look_before_the_announcement_a_wake_is_lost() {
    with(Some(Mutant::ReactorLooksBeforeAnnouncing), || {
        run_all("a look before the announcement", Some(3), &[FUTURE]);
    });
}

/// One is called for two tokens, while its poll has found none and is about to take a place in line again.
#[test]
#[should_panic(expected = "deadlock")]
fn a_wake_that_is_forgotten_in_line_is_lost() {
    with(Some(Mutant::BatonForgotten), || {
        run_all("a forgotten wake", Some(1), &[FUTURE, FUTURE]);
    });
}
