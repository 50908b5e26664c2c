//! Leases: messages that are returned, delivered again, and become dead letters.

use ipc_tests::guarded;
use ipc_tests::support::superstitious::Superstitious;
use ipc_tests::support::{LIMIT, asleep, dismiss, hand_over, prompt, sleepy};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use workring::{Lease, Receiver, RecvError, SendError, error::TryRecvError};

/// Returns the values of the dead letters, oldest first, with their deliveries. They stay dead letters.
fn letters(rx: &Receiver<u32>) -> Vec<(u32, u32)> {
    let open: Vec<_> = rx.dead_letters().collect();
    let read = open.iter();
    read.map(|letter| (letter.decode().expect("a number"), letter.deliveries()))
        .collect()
}

fn lease(rx: &Receiver<u32>) -> Lease<'_, u32> {
    rx.try_lease().expect("there is a message")
}

#[test]
fn a_leased_message_is_delivered_to_no_other_receiver_until_it_is_returned() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        tx.send(1).expect("room");
        let first = lease(&rx);
        assert_eq!((*first, first.deliveries()), (1, 0));
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        first.nack();
        let second = lease(&rx);
        assert_eq!((*second, second.deliveries()), (1, 1));
        drop(second);
        let third = lease(&rx);
        assert_eq!((*third, third.deliveries()), (1, 2));
        assert_eq!(third.ack(), 1);
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        assert_eq!(letters(&rx), []);
    });
}

/// K4, without deaths.
#[test]
fn returned_messages_come_first_and_in_the_order_of_acceptance() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8).channel::<u32>().expect("a queue");
        (0..8).for_each(|number| tx.send(number).expect("room"));
        let mut leases: Vec<_> = (0..5).map(|_| lease(&rx)).collect();
        assert_eq!(leases.remove(1).ack(), 1);
        // Returned in another order than taken: 3, 0, 4, 2.
        for place in [2, 0, 1, 0] {
            leases.remove(place).nack();
        }
        let order = rx.try_iter().map(|number| number.expect("a number"));
        assert_eq!(order.collect::<Vec<_>>(), [0, 2, 3, 4, 5, 6, 7]);
    });
}

/// K4, without deaths, across processes.
#[test]
fn a_message_that_another_process_returns_comes_first_and_wakes_a_sleeper() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut holder = hand_over("lease-holder", &[], |handoff| handoff.give("queue", &rx));
        for number in 1..=2 {
            tx.send(number).expect("room");
            holder.say("lease");
            assert_eq!(holder.answer(), format!("{number} after 0"));
        }
        let waiting = {
            let rx = rx.clone();
            asleep(move || {
                rx.lease()
                    .map(|lease| (*lease, lease.deliveries(), lease.nack()))
            })
        };
        holder.say("nack");
        assert_eq!(holder.answer(), "returned");
        let got = waiting.join().expect("join").expect("the returned message");
        assert_eq!((got.0, got.1), (1, 1));
        tx.send(3).expect("room");
        // A regular end of the process: its leases are dropped.
        holder.say("leave");
        dismiss(holder);
        let all: Vec<_> = (0..3)
            .map(|_| {
                let lease = lease(&rx);
                (lease.deliveries(), lease.ack())
            })
            .collect();
        assert_eq!(all, [(2, 1), (1, 2), (0, 3)]);
    });
}

#[test]
fn a_message_returned_too_often_becomes_a_dead_letter() {
    guarded(LIMIT, || {
        for attempts in [1, 2, 15] {
            let options = sleepy(4).max_deliveries(attempts);
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            tx.send(7).expect("room");
            for attempt in 0..attempts {
                let lease = lease(&rx);
                assert_eq!(lease.deliveries(), attempt);
            }
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
            assert_eq!(letters(&rx), [(7, attempts)]);
        }
    });
}

#[test]
fn a_dead_letter_is_open_once_and_stays_until_it_is_discarded() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4)
            .max_deliveries(1)
            .channel::<u32>()
            .expect("a queue");
        for number in 0..3 {
            tx.send(number).expect("room");
            lease(&rx).nack();
        }
        let first = rx.dead_letters().next().expect("three letters");
        assert_eq!(first.decode().expect("a number"), 0);
        assert_eq!(first.bytes(), [0; 4]);
        assert_eq!(letters(&rx), [(1, 1), (2, 1)], "the first one is open");
        drop(first);
        assert_eq!(letters(&rx), [(0, 1), (1, 1), (2, 1)]);
        let second = rx.dead_letters().nth(1).expect("three letters");
        second.discard();
        assert_eq!(letters(&rx), [(0, 1), (2, 1)]);
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    });
}

#[test]
fn the_newest_dead_letters_are_kept() {
    guarded(LIMIT, || {
        let options = sleepy(8).max_deliveries(1).max_dead_letters(3);
        let (tx, rx) = options.channel::<u32>().expect("a queue");
        (0..8).for_each(|number| tx.send(number).expect("room"));
        let leases: Vec<_> = (0..8).map(|_| lease(&rx)).collect();
        drop(leases);
        assert_eq!(letters(&rx), [(5, 1), (6, 1), (7, 1)]);

        let options = sleepy(1).max_deliveries(1).max_dead_letters(0);
        let (tx, rx) = options.channel::<u32>().expect("a queue");
        tx.send(1).expect("room");
        lease(&rx).nack();
        assert_eq!(letters(&rx), []);
    });
}

#[test]
fn more_leases_than_a_process_may_have_are_refused() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).max_leases(2).channel::<u32>().expect("a queue");
        (0..4).for_each(|number| tx.send(number).expect("room"));
        let (one, two) = (lease(&rx), lease(&rx));
        let other = rx.clone();
        let refused = other.lease();
        assert!(
            matches!(refused, Err(RecvError::TooManyLeases { max: 2, .. })),
            "{refused:?}"
        );
        let refused = rx.try_lease();
        assert!(matches!(
            refused,
            Err(TryRecvError::TooManyLeases { max: 2, .. })
        ));
        assert_eq!(rx.try_recv().expect("no lease, no limit"), 2);
        // The limit counts per process.
        let mut other = hand_over("lease-holder", &[], |handoff| handoff.give("queue", &rx));
        other.say("lease");
        assert_eq!(other.answer(), "3 after 0");
        dismiss(other);
        assert_eq!(one.ack(), 0);
        let three = lease(&rx);
        assert_eq!((*three, three.deliveries()), (3, 1));
        assert_eq!(two.ack(), 1);
    });
}

#[test]
fn leases_that_are_owned_or_end_in_other_threads_count_like_all_others() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).max_leases(2).channel::<u32>().expect("a queue");
        (0..4).for_each(|number| tx.send(number).expect("room"));
        let (one, two) = (lease(&rx), lease(&rx).into_owned());
        assert!(matches!(
            rx.try_lease(),
            Err(TryRecvError::TooManyLeases { max: 2, .. })
        ));
        thread::scope(|scope| {
            let other = scope.spawn(|| {
                assert!(matches!(
                    rx.try_lease(),
                    Err(TryRecvError::TooManyLeases { max: 2, .. })
                ));
                assert_eq!(one.ack(), 0);
                lease(&rx)
            });
            let three = other.join().expect("join");
            assert!(matches!(
                rx.try_lease(),
                Err(TryRecvError::TooManyLeases { max: 2, .. })
            ));
            assert_eq!((two.ack(), *three), (1, 2));
            let four = lease(&rx);
            assert!(matches!(
                rx.try_lease(),
                Err(TryRecvError::TooManyLeases { max: 2, .. })
            ));
            drop(three.into_owned());
            assert_eq!((lease(&rx).ack(), four.ack()), (2, 3));
        });
    });
}

#[test]
fn a_panic_returns_the_message_that_was_being_worked_on() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        tx.send(7).expect("room");
        let work = || {
            let lease = lease(&rx);
            panic!("while working on {}", *lease);
        };
        catch_unwind(AssertUnwindSafe(work)).expect_err("the work panics");
        let again = lease(&rx);
        assert_eq!((*again, again.deliveries()), (7, 1));
    });
}

#[test]
fn an_owned_lease_outlives_its_receiver_and_the_close() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        tx.send(7).expect("room");
        let lease = lease(&rx).into_owned();
        drop(rx);
        assert!(matches!(tx.send(8), Err(SendError::Closed(8))));
        drop(tx);
        assert_eq!(lease.ack(), 7);
    });
}

#[test]
fn a_message_that_cannot_be_decoded_is_an_error_once_and_a_dead_letter() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4)
            .channel_with::<u32, Superstitious>()
            .expect("a queue");
        for number in [14, 1, 14, 2] {
            tx.send(number).expect("room");
        }
        let error = match rx.recv() {
            Err(RecvError::Decode(error)) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(error.cause().to_string(), "the next best thing to 13");
        assert_eq!(rx.recv().expect("the next one"), 1);
        assert!(matches!(rx.lease(), Err(RecvError::Decode(_))));
        assert_eq!(rx.lease().expect("the next one").ack(), 2);
        let letters: Vec<_> = rx.dead_letters().collect();
        for letter in &letters {
            assert_eq!(letter.bytes(), 14_u32.to_le_bytes());
            letter.decode().expect_err("as before");
        }
        assert_eq!(letters.len(), 2);
    });
}

#[test]
fn a_message_that_cannot_be_encoded_is_returned_to_the_caller() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(1)
            .channel_with::<u32, Superstitious>()
            .expect("a queue");
        for _ in 0..1_000 {
            match tx.send(13) {
                Err(SendError::Encode { value: 13, .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        tx.try_send(1).expect("the memory was given back");
        assert_eq!(rx.recv().expect("a message"), 1);
    });
}

#[test]
fn a_codec_that_panics_returns_the_message() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4)
            .channel_with::<u32, Superstitious>()
            .expect("a queue");
        tx.send(15).expect("room");
        let receive: [fn(&Receiver<u32, Superstitious>); 3] = [
            |rx| drop(rx.recv()),
            |rx| drop(rx.lease()),
            |rx| drop(rx.try_recv()),
        ];
        for receive in receive {
            catch_unwind(AssertUnwindSafe(|| receive(&rx))).expect_err("decoding panics");
        }
        assert!(
            matches!(rx.try_recv(), Err(TryRecvError::Empty)),
            "three attempts"
        );
        let letters = rx.dead_letters().map(|letter| letter.deliveries());
        assert_eq!(letters.collect::<Vec<_>>(), [3]);
    });
}

/// An entry of the peer table is freed only when its process holds nothing of the queue; otherwise the next process in
/// it would be treated as the holder.
#[test]
fn a_process_that_has_nothing_but_a_lease_is_still_a_peer() {
    guarded(LIMIT, || {
        let name = format!("lease-only-{}", std::process::id());
        let (tx, rx) = sleepy(4).create_named::<u32>(&name).expect("a queue");
        let other: Receiver<u32> = workring::open(&name).expect("it is there");
        tx.send(1).expect("room");
        let lease = lease(&other).into_owned();
        drop(other);
        assert_eq!(rx.stats().peers.len(), 2);
        assert_eq!(lease.ack(), 1);
        assert_eq!(rx.stats().peers.len(), 1);
        drop((tx, rx));
        workring::queue::remove_named(&name).expect("nobody has it");
    });
}
