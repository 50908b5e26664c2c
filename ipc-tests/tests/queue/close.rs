//! Closing, seen by other processes: what receivers and senders get, which of them wake, and which call was the first.
//!
//! Lines and signals hold a receiver where the test needs it. The test continues when the kernel reports that the
//! receiver sleeps or is stopped.

use ipc_tests::support::{LIMIT, asleep, dismiss, hand_over, in_time, prompt, sleepy};
use ipc_tests::{
    asleep::await_sleepers,
    child::Peer,
    guarded,
    rounds::{Rng, rounds, seed},
};
use std::{hint, time::Duration};
use workring::{
    Handoff, Options, RecvError, SendError, Sender,
    error::{SendTimeoutError, TryRecvError, TrySendError},
};

/// Where the receiver is when the queue is closed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It calls `recv` only after the close.
    BeforeEntry,
    /// At an arbitrary place: it was continued a moment ago.
    Racing,
    /// Asleep in `recv`.
    Asleep,
    /// Asleep, and stopped by a signal, so that it cannot wake.
    AsleepAndStopped,
    /// Woken by a message, and about to take it.
    Woken,
    /// Woken by a message, then stopped before or after it took it.
    WokenAndStopped,
}

const MOMENTS: [Moment; 6] = [
    Moment::BeforeEntry,
    Moment::Racing,
    Moment::Asleep,
    Moment::AsleepAndStopped,
    Moment::Woken,
    Moment::WokenAndStopped,
];

/// Runs one race: the receiver must get exactly `values`, then `Closed`, at any moment.
fn race(reader: &mut Peer, tx: &Sender<u32>, moment: Moment, values: u32, delay: u32) {
    let send = |range: std::ops::Range<u32>| {
        for value in range {
            tx.send(value).expect("the queue is open and has room");
        }
    };
    let enter = |reader: &mut Peer| reader.say("enter");
    let fall_asleep = |reader: &mut Peer| {
        reader.say("enter");
        await_sleepers(reader.pid(), 1);
    };
    match moment {
        Moment::BeforeEntry => send(0..values),
        Moment::Racing => {
            enter(reader);
            (0..delay).for_each(|_| hint::spin_loop());
            send(0..values);
        }
        Moment::Asleep | Moment::Woken => {
            fall_asleep(reader);
            send(0..values);
        }
        Moment::AsleepAndStopped => {
            fall_asleep(reader);
            reader.stop();
            send(0..values);
        }
        Moment::WokenAndStopped => {
            fall_asleep(reader);
            send(0..values.min(1));
            reader.stop();
            send(values.min(1)..values);
        }
    }
    assert!(tx.close(), "the first close");
    refuses(tx);
    match moment {
        Moment::BeforeEntry => enter(reader),
        Moment::AsleepAndStopped | Moment::WokenAndStopped => reader.resume(),
        Moment::Racing | Moment::Asleep | Moment::Woken => {}
    }
    let expected: Vec<String> = (0..values).map(|value| value.to_string()).collect();
    assert_eq!(reader.answer(), expected.join(" "), "{moment:?}");
}

/// Checks that every form of send fails with `Closed` and the message inside.
fn refuses(tx: &Sender<u32>) {
    assert!(matches!(tx.send(1), Err(SendError::Closed(1))));
    assert!(matches!(tx.try_send(2), Err(TrySendError::Closed(2))));
    let timed = tx.send_timeout(3, Duration::ZERO);
    assert!(matches!(timed, Err(SendTimeoutError::Closed(3))));
}

/// C1. A stopped receiver stands for one that was descheduled just before its read: it wakes up to a closed queue.
#[test]
fn a_reader_that_races_with_close_gets_the_values_then_closed() {
    const BATCH: u32 = 40;
    let rounds = rounds(2_000, 100_000);
    guarded(LIMIT + Duration::from_millis(10) * rounds, || {
        let mut rng = Rng::with_seed(seed());
        for _ in 0..rounds.div_ceil(BATCH) {
            let options = if rng.bool() {
                sleepy(4)
            } else {
                Options::new(4)
            };
            let (mut senders, mut receivers) = (Vec::new(), Vec::new());
            for _ in 0..BATCH {
                let (tx, rx) = options.channel::<u32>().expect("a queue");
                senders.push(tx);
                receivers.push(rx);
            }
            let mut reader = hand_over("receive-until-closed", &[&BATCH], |handoff| {
                give_all(handoff, &receivers)
            });
            drop(receivers);
            assert_eq!(reader.answer(), "ready");
            for tx in senders {
                let moment = rng.choice(MOMENTS).expect("a moment");
                let values = match moment {
                    Moment::Asleep => 0,
                    Moment::Woken | Moment::WokenAndStopped => rng.u32(1..=4),
                    _ => rng.u32(0..=4),
                };
                let delay = rng.u32(0..20_000);
                in_time(|| race(&mut reader, &tx, moment, values, delay));
            }
            dismiss(reader);
        }
    });
}

fn give_all<E: workring::queue::End>(
    mut handoff: Handoff,
    ends: &[E],
) -> Result<Handoff, workring::error::HandoffError> {
    for (number, end) in ends.iter().enumerate() {
        handoff = handoff.give(&format!("q{number}"), end)?;
    }
    Ok(handoff)
}

/// C2. The sentinel is sticky: one close ends all receivers; none consumes it.
#[test]
fn one_close_stops_64_blocked_readers_in_8_processes() {
    const THREADS: usize = 8;
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut readers: Vec<Peer> = (0..8)
            .map(|_| {
                hand_over("blocked-receivers", &[&THREADS], |handoff| {
                    handoff.give("queue", &rx)
                })
            })
            .collect();
        for reader in &readers {
            await_sleepers(reader.pid(), THREADS);
        }
        assert!(tx.close());
        for reader in &mut readers {
            assert_eq!(reader.answer(), THREADS.to_string());
        }
        readers.into_iter().for_each(dismiss);
    });
}

/// C2. The closer must not wait: it may be the receiver that would make room.
#[test]
fn close_on_a_full_queue_does_not_wait_and_the_backlog_is_delivered() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut reader = hand_over("receive-until-closed", &[&1], |handoff| {
            handoff.give("q0", &rx)
        });
        for value in 0..4 {
            tx.send(value).expect("room");
        }
        assert!(matches!(tx.try_send(4), Err(TrySendError::Full(4))));
        let blocked = asleep({
            let tx = tx.clone();
            move || tx.send(5)
        });
        assert!(rx.close());
        let result = blocked.join().expect("join");
        assert!(matches!(result, Err(SendError::Closed(5))), "{result:?}");
        assert_eq!(reader.answer(), "ready");
        reader.say("enter");
        assert_eq!(reader.answer(), "0 1 2 3");
        dismiss(reader);
    });
}

/// C4, drained: an unacknowledged message does not delay the end. When it is returned later, no receiver gets it.
#[test]
fn a_drained_queue_ends_although_a_lease_is_held_elsewhere() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut holder = hand_over("lease-holder", &[], |handoff| handoff.give("queue", &rx));
        tx.send(1).expect("room");
        holder.say("lease");
        assert_eq!(holder.answer(), "1 after 0");
        tx.send(2).expect("room");
        tx.close();
        assert_eq!(rx.recv().expect("accepted before the close"), 2);
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        holder.say("nack");
        assert_eq!(holder.answer(), "returned");
        assert!(matches!(rx.recv(), Err(RecvError::Closed)), "a value after");
        let letters = rx.dead_letters().map(|letter| {
            let value = letter.decode().expect("a value");
            letter.discard();
            value
        });
        assert_eq!(letters.collect::<Vec<_>>(), [1]);
        dismiss(holder);
    });
}

/// C4, drained: a message that is returned before any receiver has seen `Closed` is delivered.
#[test]
fn a_message_returned_before_the_end_of_a_drained_queue_is_delivered() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut holder = hand_over("lease-holder", &[], |handoff| handoff.give("queue", &rx));
        tx.send(1).expect("room");
        holder.say("lease");
        assert_eq!(holder.answer(), "1 after 0");
        tx.close();
        holder.say("nack");
        assert_eq!(holder.answer(), "returned");
        assert_eq!(rx.recv().expect("it was returned"), 1);
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        dismiss(holder);
    });
}

/// C4, close waits for leases: a message that is returned after the close is delivered to a receiver that waited for
/// it.
#[test]
fn a_settled_queue_waits_for_lease_holders_and_delivers_what_they_return() {
    prompt(|| {
        let (tx, rx) = sleepy(4)
            .close_waits_for_leases(true)
            .channel::<u32>()
            .expect("a queue");
        let mut holder = hand_over("lease-holder", &[], |handoff| handoff.give("queue", &rx));
        for value in 1..=2 {
            tx.send(value).expect("room");
            holder.say("lease");
            assert_eq!(holder.answer(), format!("{value} after 0"));
        }
        tx.close();
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        let receive = |rx: &workring::Receiver<u32>| {
            let rx = rx.clone();
            asleep(move || rx.recv())
        };
        let waiting = receive(&rx);
        holder.say("nack");
        assert_eq!(holder.answer(), "returned");
        let returned = waiting.join().expect("join");
        assert_eq!(returned.expect("the returned message"), 1);

        let waiting = receive(&rx);
        holder.say("ack");
        assert_eq!(holder.answer(), "2");
        let last = waiting.join().expect("join");
        assert!(matches!(last, Err(RecvError::Closed)), "{last:?}");
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        holder.say("receive");
        assert_eq!(holder.answer(), RecvError::Closed.to_string());
        dismiss(holder);
    });
}

/// C4, close waits for leases: a dead letter counts as settled.
#[test]
fn a_settled_queue_ends_when_the_last_held_message_becomes_a_dead_letter() {
    prompt(|| {
        let options = sleepy(4).close_waits_for_leases(true).max_deliveries(1);
        let (tx, rx) = options.channel::<u32>().expect("a queue");
        let mut holder = hand_over("lease-holder", &[], |handoff| handoff.give("queue", &rx));
        tx.send(1).expect("room");
        holder.say("lease");
        assert_eq!(holder.answer(), "1 after 0");
        tx.close();
        let waiting = {
            let rx = rx.clone();
            asleep(move || rx.recv())
        };
        holder.say("leave");
        dismiss(holder);
        let last = waiting.join().expect("join");
        assert!(matches!(last, Err(RecvError::Closed)), "{last:?}");
        assert_eq!(rx.dead_letters().count(), 1);
    });
}

/// C5.
#[test]
fn of_16_threads_in_4_processes_that_close_at_once_exactly_one_is_the_first() {
    const BATCH: u32 = 20;
    const THREADS: u32 = 4;
    let rounds = rounds(100, 5_000);
    guarded(LIMIT + Duration::from_millis(20) * rounds, || {
        for _ in 0..rounds.div_ceil(BATCH) {
            let queues: Vec<_> = (0..BATCH)
                .map(|_| Options::new(4).channel::<u32>().expect("a queue"))
                .collect();
            let senders: Vec<_> = queues.iter().map(|(tx, _)| tx.clone()).collect();
            let mut closers: Vec<Peer> = (0..4)
                .map(|_| {
                    hand_over("racing-closers", &[&BATCH, &THREADS], |handoff| {
                        give_all(handoff, &senders)
                    })
                })
                .collect();
            for closer in &mut closers {
                assert_eq!(closer.answer(), "ready");
            }
            for (tx, rx) in &queues {
                for closer in &mut closers {
                    closer.say("close");
                }
                let firsts = closers.iter_mut().map(|closer| {
                    let answer = closer.answer();
                    answer.parse::<u32>().expect("a number")
                });
                assert_eq!(firsts.sum::<u32>(), 1, "the number of first closers");
                assert!(!tx.close() && !rx.close(), "closing again returns false");
                assert!(matches!(rx.recv(), Err(RecvError::Closed)));
            }
            closers.into_iter().for_each(dismiss);
        }
    });
}
