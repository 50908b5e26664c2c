//! A future that is dropped at any point has taken no message and no wake-up (A1).

use super::patient;
use ipc_tests::{
    Pid,
    asleep::await_sleepers,
    child::Peer,
    guarded,
    ledger::{Books, Ledger, Scratch},
    rounds::{Rng, rounds, seed},
    runtimes::{Flag, Runtime, poll_once},
    support::{LIMIT, dismiss, hand_over, prompt, sleepy},
    watchdog::Watchdog,
};
use std::task::Poll;
use std::{fmt::Display, thread, time::Duration};

/// Far below the liveness interval: a wake-up arrives long before, also on a busy machine.
const PROMPT: Duration = Duration::from_mins(1);

/// A1. Four processes, one for each runtime, drop receives at random; another one receives blocking. After each few
/// messages the sender waits until they are received. Which receiver gets them depends on the wake-ups alone.
#[test]
fn receives_that_are_dropped_lose_no_message_and_no_wake_up() {
    let dropped = rounds(4_000, 100_000);
    let limit = LIMIT + Duration::from_millis(10) * dropped;
    guarded(limit, || {
        let scratch = Scratch::new().expect("scratch");
        let mut rng = Rng::with_seed(seed());
        let (tx, rx) = patient(8).channel::<u64>().expect("a queue");
        let each = dropped / 4;
        let mut receivers: Vec<Peer> = Vec::new();
        for runtime in Runtime::ALL {
            let seed = rng.u64(0..1 << 40);
            let arguments: [&dyn Display; 5] = [&runtime, &scratch, &runtime, &each, &seed];
            receivers.push(hand_over("dropping-receivers", &arguments, |handoff| {
                handoff.give("queue", &rx)
            }));
        }
        let arguments: [&dyn Display; 4] = [&scratch, &"blocking", &0, &0];
        receivers.push(hand_over("short-waits", &arguments, |handoff| {
            handoff.give("queue", &rx)
        }));
        drop(rx);
        let mut books = Books::new();
        let mut id = 0;
        let watchdog = Watchdog::start(PROMPT);
        thread::scope(|scope| {
            let watching = scope.spawn(|| {
                for receiver in &mut receivers {
                    assert_eq!(receiver.answer(), "enough");
                }
            });
            while !watching.is_finished() {
                for _ in 0..rng.u32(1..=3) {
                    tx.send(id).expect("open");
                    books.sent(id);
                    id += 1;
                }
                while !tx.is_empty() {
                    thread::yield_now();
                }
                watchdog.progress();
            }
            watching.join().expect("no panic");
        });
        drop(watchdog);
        tx.close();
        receivers.into_iter().for_each(dismiss);
        let names = Runtime::ALL.map(|runtime| runtime.to_string());
        for name in names.iter().map(String::as_str).chain(["blocking"]) {
            let entries = Ledger::read(scratch.path(), name).expect("a ledger");
            println!("{name}: {} messages", entries.len());
            for entry in entries {
                books.received(entry.number);
            }
        }
        books.assert_balanced();
    });
}

/// The first of two futures is woken, and dropped. The second one is woken instead.
#[test]
fn a_future_that_is_dropped_after_it_was_woken_wakes_the_next_one() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let flags = [Flag::new(), Flag::new()];
        let [mut first, mut second] = [rx.recv_async(), rx.recv_async()];
        assert!(poll_once(&mut first, &flags[0]).is_pending());
        assert!(poll_once(&mut second, &flags[1]).is_pending());
        tx.send(7).expect("room");
        flags[0].await_raised();
        assert!(!flags[1].is_set(), "one message wakes one future");
        drop(first);
        flags[1].await_raised();
        assert_eq!(poll_once(&mut second, &flags[1]), Poll::Ready(Ok(7)));
    });
}

/// As before, and the second one waits in another process, and blocking.
#[test]
fn a_future_that_is_dropped_after_it_was_woken_wakes_another_process() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u64>().expect("a queue");
        let flag = Flag::new();
        let mut receive = rx.recv_async();
        assert!(poll_once(&mut receive, &flag).is_pending());
        // The kernel wakes the one that has slept longest.
        await_sleepers(Pid::this(), 1);
        let scratch = Scratch::new().expect("scratch");
        let arguments: [&dyn Display; 4] = [&scratch, &"blocking", &0, &0];
        let mut other = hand_over("short-waits", &arguments, |handoff| {
            handoff.give("queue", &rx)
        });
        assert_eq!(other.answer(), "enough");
        await_sleepers(other.pid(), 1);
        tx.send(7).expect("room");
        flag.await_raised();
        assert_eq!(tx.len(), 1, "the other process sleeps");
        drop(receive);
        while !tx.is_empty() {
            thread::yield_now();
        }
        tx.close();
        dismiss(other);
        let entries = Ledger::read(scratch.path(), "blocking").expect("a ledger");
        assert_eq!(entries.first().map(|entry| entry.number), Some(7));
    });
}
