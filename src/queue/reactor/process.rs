//! The lanes of this process, and their threads.
//!
//! | state   | where                                | meaning                                                    |
//! |---------|--------------------------------------|------------------------------------------------------------|
//! | `LANES` | one list for each process, not freed | the lanes with at least one seat, each with its thread     |
//!
//! A forked child has no thread of its parent's, and makes a new list when it needs one.

use super::lane::{Lane, Next, SEATS};
use super::source::Source;
use super::wakers;
use crate::os::fork::{OwnerProcess, PerProcess};
use crate::os::futex;
use crate::os::wait_many::{MAX_WORDS, WaitWord, WordSleeper};
use crate::sync::Ordering;
use core::time::Duration;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

#[derive(Default)]
struct Lanes(Mutex<Vec<(Arc<Lane>, JoinHandle<()>)>>);

static LANES: PerProcess<Lanes> = PerProcess::new();

const _: () = assert!(SEATS + 1 == MAX_WORDS);

/// As long as a thread sleeps that has nothing else to do.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a thread sleeps on its own word alone, if the system has no memory or thread for a sleep on all words.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Takes a seat, in a lane that has one or in a new one, whose thread this starts.
pub(super) fn take_seat(source: &Arc<dyn Source>) -> io::Result<(Arc<Lane>, usize)> {
    let mut lanes = LANES.get()?.0.lock();
    for (lane, _) in lanes.iter() {
        if let Some(number) = lane.add_seat(source) {
            return Ok((Arc::clone(lane), number));
        }
    }
    let lane = Arc::new(Lane::new());
    let number = lane.add_seat(source).ok_or(io::ErrorKind::OutOfMemory)?;
    let owner = OwnerProcess::current()?;
    let shared = Arc::clone(&lane);
    let thread = thread::Builder::new().name("workring-reactor".to_owned());
    let thread = thread.spawn(move || run(&shared, owner))?;
    lanes.push((Arc::clone(&lane), thread));
    Ok((lane, number))
}

/// Gives up a seat. Returns when the thread does not refer to the queue any more, unless it calls user code just now. The
/// last seat ends the thread.
pub(super) fn give_up(lane: &Arc<Lane>, seat: usize) {
    let Ok(lanes) = LANES.get() else {
        return;
    };
    let mut lanes = lanes.0.lock();
    // Under the lock of the list, so that no one takes a seat in a lane that ends.
    let given_up = lane.give_up(seat);
    let place = lanes.iter().position(|(one, _)| Arc::ptr_eq(one, lane));
    let thread = place.filter(|_| given_up.is_last);
    let thread = thread.map(|place| lanes.swap_remove(place).1);
    drop(lanes);
    if given_up.kick.is_needed() {
        call(lane);
    }
    if let Some(before) = given_up.wait_for {
        let departures = lane.departures();
        while departures.load(Ordering::Acquire) == before {
            futex::wait(departures, before, LONG);
        }
        given_up.pass_on_wake();
        // It does not panic, and if it did, the panic hook would have reported it.
        let _ = thread.map(JoinHandle::join);
    }
    wakers::guard(|| drop(given_up));
}

/// Wakes the thread of a lane after a [kick](super::lane::Kick).
pub(super) fn call(lane: &Lane) {
    futex::wake(lane.call_word(), 1);
}

/// Runs the thread of a lane.
fn run(lane: &Lane, owner: OwnerProcess) {
    let mut sleeper = WordSleeper::new();
    // The words of the last sleep must stay mapped until another sleep has ended.
    let mut last = Vec::new();
    // User code that this thread calls may fork.
    while owner.is_current() {
        match lane.next() {
            Next::Wake(woken) => wakers::wake(woken),
            Next::Sweep(sources) => {
                for source in sources {
                    wakers::guard(|| source.sweep());
                }
            }
            Next::LetGo => {
                sleeper.release();
                last = Vec::new();
                lane.let_go();
                futex::wake(lane.departures(), u32::MAX);
            }
            Next::End => return,
            Next::Sleep(sleep) => {
                let call = WaitWord {
                    word: lane.call_word(),
                    expected: sleep.call,
                };
                let queues = sleep.words.iter().filter_map(|(source, key)| {
                    Some(WaitWord {
                        word: source.word()?.futex_word(),
                        expected: key.get(),
                    })
                });
                let words: Vec<_> = core::iter::once(call).chain(queues).collect();
                let limit = sleep.limit.unwrap_or(LONG);
                if sleeper.wait_any(&words, limit).is_err() {
                    futex::wait(lane.call_word(), sleep.call, limit.min(RETRY_DELAY));
                    lane.attend_again();
                }
                last = sleep.words;
            }
        }
    }
    drop(last);
}
