//! Many messages at once: packed into blocks by the sender, and nobody's business but the queue's.

use crate::support::{LIMIT, asleep, prompt, sleepy};
use ipc_tests::{
    guarded,
    rounds::{Rng, rounds, seed},
};
use std::{
    collections::BTreeSet,
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use workring::{
    Codec, DecodeError, EncodeError, Lease, Options, Raw, Receiver, RecvError, RecvTimeoutError,
    SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
};

mod support;

/// What is there now, one by one.
fn all<T, C: Codec<T>>(rx: &Receiver<T, C>) -> Vec<T> {
    let messages = rx.try_iter().map(|message| message.expect("a message"));
    messages.collect()
}

fn lease(rx: &Receiver<u32>) -> Lease<u32> {
    rx.try_lease().expect("there is a message")
}

/// The values of the dead letters, oldest first, with their attempts; the letters stay.
fn letters<C: Codec<u32>>(rx: &Receiver<u32, C>) -> Vec<(u32, u32)> {
    let open: Vec<_> = rx.dead_letters().collect();
    let read = open.iter();
    read.map(|letter| {
        let bytes = letter.bytes().try_into().expect("four bytes");
        (u32::from_le_bytes(bytes), letter.attempts())
    })
    .collect()
}

fn assert_balanced<T, C: Codec<T>>(rx: &Receiver<T, C>) {
    let stats = rx.stats();
    let places = [
        stats.acknowledged,
        stats.queued,
        stats.held,
        stats.returned,
        stats.dead_letters,
        stats.dropped_letters,
        stats.discarded,
    ];
    assert_eq!(stats.accepted, places.iter().sum::<u64>(), "{stats:?}");
}

/// Nothing is left in any block.
fn assert_all_free<T, C: Codec<T>>(rx: &Receiver<T, C>) {
    for class in rx.stats().blocks {
        assert_eq!(class.free, class.total, "{class:?}");
    }
}

#[test]
fn what_is_sent_at_once_is_received_one_by_one_and_the_other_way_round() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(1024).channel::<u32>().expect("a queue");
        for count in [0, 1, 2, 39, 40, 41, 64, 1000] {
            assert_eq!(tx.send_many(0..count).expect("room"), count as usize);
            assert_eq!(all(&rx), (0..count).collect::<Vec<_>>());
            (0..count).for_each(|number| tx.send(number).expect("room"));
            let mut messages = vec![7];
            if count > 0 {
                let received = rx.recv_many(&mut messages, 2000).expect("messages");
                assert_eq!(received, count as usize);
            }
            assert_eq!(messages.remove(0), 7);
            assert_eq!(messages, (0..count).collect::<Vec<_>>());
        }
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

#[test]
fn a_batch_takes_one_place_for_many_messages() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u64>().expect("a queue");
        assert_eq!(tx.try_send_many(0..160).expect("four packs"), 160);
        assert!(tx.is_full());
        assert_eq!(rx.len(), 4);
        let refused = tx.try_send_many(160..170).expect_err("full");
        assert!(matches!(refused.error, TrySendError::Full(160)));
        assert_eq!(refused.accepted, 0);
        assert!(refused.rest.eq(161..170));
        assert_eq!(all(&rx), (0..160).collect::<Vec<_>>());
    });
}

#[test]
fn as_many_are_received_as_are_asked_for() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(64).channel::<u32>().expect("a queue");
        let mut rng = Rng::with_seed(seed());
        for _ in 0..rounds(200, 20_000) {
            let (mut next, mut messages) = (0, Vec::new());
            while next < 200 {
                let count = rng.u32(1..50);
                tx.send_many(next..next + count).expect("room");
                next += count;
            }
            while messages.len() < next as usize {
                let (max, before) = (rng.usize(0..60), messages.len());
                let count = rx.try_recv_many(&mut messages, max).expect("messages");
                assert_eq!(messages.len() - before, count);
                assert_eq!(count, max.min(next as usize - before));
                if rng.bool() && messages.len() < next as usize {
                    messages.push(rx.recv().expect("a message"));
                }
            }
            assert_eq!(messages, (0..next).collect::<Vec<_>>());
            assert!(rx.is_empty());
        }
        let mut messages = Vec::new();
        let none = rx.try_recv_many(&mut messages, 1);
        assert!(matches!(none, Err(TryRecvError::Empty)), "{none:?}");
        let none = rx.recv_many_timeout(&mut messages, 1, Duration::from_millis(1));
        assert!(matches!(none, Err(RecvTimeoutError::Timeout)), "{none:?}");
        assert_all_free(&rx);
    });
}

#[test]
fn messages_of_every_size_keep_their_order_and_their_bytes() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(256)
            .channel_with::<Vec<u8>, Raw>()
            .expect("a queue");
        let mut rng = Rng::with_seed(seed());
        for _ in 0..rounds(100, 10_000) {
            let sent: Vec<Vec<u8>> = (0..rng.usize(1..100))
                .map(|number| {
                    let length = match rng.u32(0..20) {
                        0 => 0,
                        1..15 => rng.usize(0..100),
                        15..18 => rng.usize(0..1100),
                        18 => 1023 + rng.usize(0..3),
                        _ => rng.usize(0..=65_536),
                    };
                    vec![u8::try_from(number).expect("few"); length]
                })
                .collect();
            let (sent, received) = thread::scope(|scope| {
                let receiver = scope.spawn(|| {
                    let mut received = Vec::new();
                    while received.len() < sent.len() {
                        let max = sent.len() - received.len();
                        rx.recv_many(&mut received, max).expect("messages");
                    }
                    received
                });
                tx.send_many(sent.clone()).expect("room, soon");
                (&sent, receiver.join().expect("join"))
            });
            assert!(*sent == received, "{} messages", sent.len());
        }
        assert_all_free(&rx);
    });
}

/// A message that is too large for any block is refused; what came before it is sent, what comes after given back.
#[test]
fn a_message_that_cannot_be_sent_ends_the_batch_in_the_right_place() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(16)
            .channel_with::<Vec<u8>, Raw>()
            .expect("a queue");
        for place in [0, 1, 2, 39, 40, 41, 60] {
            let mut batch = vec![vec![1]; 64];
            if let Some(message) = batch.get_mut(place) {
                *message = vec![2; 65_537];
            }
            let refused = tx.send_many(batch).expect_err("one is too large");
            assert_eq!(refused.accepted, place);
            match &refused.error {
                SendError::TooLarge { value, len, .. } => {
                    assert_eq!((value.len(), *len), (65_537, 65_537));
                }
                other => panic!("{other:?}"),
            }
            assert!(refused.rest.eq(iter::repeat_n(vec![1], 63 - place)));
            assert_eq!(all(&rx), vec![vec![1]; place]);
        }
        assert_all_free(&rx);
    });
}

/// Encodes numbers, but 13 can't be encoded, 14 can't be decoded, and decoding 15 panics.
struct Superstitious;

impl Codec<u32> for Superstitious {
    const NAME: &'static str = "superstitious";

    fn encode(message: &u32, into: &mut [u8]) -> Result<usize, EncodeError> {
        if *message == 13 {
            return Err(EncodeError::failed("bad luck"));
        }
        let room = into.get_mut(..4).ok_or(EncodeError::NoRoom)?;
        room.copy_from_slice(&message.to_le_bytes());
        Ok(4)
    }

    fn encoded_len(_: &u32) -> Result<usize, EncodeError> {
        Ok(4)
    }

    fn decode(bytes: &[u8]) -> Result<u32, DecodeError> {
        match u32::from_le_bytes(bytes.try_into().map_err(DecodeError::new)?) {
            14 => Err(DecodeError::new("the next best thing to 13")),
            15 => panic!("15 is worse"),
            number => Ok(number),
        }
    }
}

fn superstitious(capacity: usize) -> (Sender<u32, Superstitious>, Receiver<u32, Superstitious>) {
    let channel = sleepy(capacity).attempts(2).channel_with();
    channel.expect("a queue")
}

#[test]
fn a_message_that_cannot_be_encoded_ends_the_batch() {
    guarded(LIMIT, || {
        let (tx, rx) = superstitious(8);
        let refused = tx.send_many(8..20).expect_err("bad luck");
        assert_eq!(refused.accepted, 5);
        assert!(matches!(
            refused.error,
            SendError::Encode { value: 13, .. }
        ));
        assert!(refused.into_unsent().eq(13..20));
        assert_eq!(all(&rx), [8, 9, 10, 11, 12]);
        assert_all_free(&rx);
    });
}

#[test]
fn a_message_that_cannot_be_decoded_is_told_after_those_before_it() {
    guarded(LIMIT, || {
        let (tx, rx) = superstitious(8);
        // Packed, and one by one.
        for packed in [true, false] {
            let numbers = [1, 2, 14, 3, 4];
            if packed {
                tx.send_many(numbers).expect("room");
            } else {
                numbers.map(|number| tx.send(number).expect("room"));
            }
            let mut messages = Vec::new();
            assert_eq!(rx.recv_many(&mut messages, 9).expect("two"), 2);
            let error = rx.recv_many(&mut messages, 9);
            assert!(matches!(error, Err(RecvError::Decode(_))), "{error:?}");
            assert_eq!(rx.recv_many(&mut messages, 9).expect("the rest"), 2);
            assert_eq!(messages, [1, 2, 3, 4]);
            assert_eq!(letters(&rx), [(14, 0)]);
            rx.dead_letters().for_each(workring::DeadLetter::discard);
        }
        tx.send_many([1, 14, 2]).expect("room");
        assert_eq!(rx.recv().expect("the first"), 1);
        assert!(matches!(rx.lease(), Err(RecvError::Decode(_))));
        assert_eq!(rx.lease().expect("the last").ack(), 2);
        assert_eq!(letters(&rx), [(14, 0)]);
        rx.dead_letters().for_each(workring::DeadLetter::discard);
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

/// Those before it have been received, it has been handed out, those after it have not.
#[test]
fn a_codec_that_panics_costs_only_its_own_message() {
    guarded(LIMIT, || {
        let (tx, rx) = superstitious(8);
        tx.send_many([1, 2, 15, 3, 4]).expect("room");
        let mut messages = Vec::new();
        let mut receive = |max| {
            let attempt = AssertUnwindSafe(|| rx.recv_many(&mut messages, max));
            catch_unwind(attempt)
        };
        receive(9).expect_err("decoding panics");
        assert_eq!(receive(1).expect("no panic").expect("a message"), 1);
        assert_eq!(rx.lease().expect("the last").ack(), 4);
        // All others are settled: now it comes back.
        assert_eq!(rx.stats().returned, 1);
        receive(9).expect_err("decoding panics");
        assert_eq!(letters(&rx), [(15, 2)]);
        assert_eq!(messages, [1, 2, 3]);
        assert_balanced(&rx);
    });
}

#[test]
fn leases_of_a_batch_are_settled_one_by_one() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8).channel::<u32>().expect("a queue");
        tx.send_many(0..5).expect("room");
        tx.send(5).expect("room");
        let mut leases: Vec<_> = (0..5).map(|_| lease(&rx)).collect();
        assert!(leases.iter().map(|lease| **lease).eq(0..5));
        assert_eq!(rx.stats().held, 5);
        leases.remove(3).nack();
        leases.remove(1).nack();
        assert_eq!(leases.remove(0).ack(), 0);
        // They come back with the last one.
        assert_eq!((rx.stats().held, rx.stats().acknowledged), (4, 1));
        assert_eq!(rx.recv().expect("the next one"), 5);
        for lease in leases {
            lease.ack();
        }
        assert_eq!((rx.stats().held, rx.stats().returned), (0, 2));
        tx.send(6).expect("room");
        let again: Vec<_> = (0..3).map(|_| lease(&rx)).collect();
        let seen = again.iter().map(|lease| (**lease, lease.attempts()));
        assert_eq!(seen.collect::<Vec<_>>(), [(1, 1), (3, 1), (6, 0)]);
        again.into_iter().for_each(|lease| drop(lease.ack()));
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

#[test]
fn each_message_of_a_batch_has_its_own_attempts_and_its_own_letter() {
    guarded(LIMIT, || {
        for attempts in [1, 2, 15] {
            let (tx, rx) = sleepy(8)
                .attempts(attempts)
                .channel::<u32>()
                .expect("a queue");
            tx.send_many(0..4).expect("room");
            for attempt in 0..attempts {
                let leases: Vec<_> = (0..4).map_while(|_| rx.try_lease().ok()).collect();
                for lease in leases {
                    assert_eq!(lease.attempts(), attempt);
                    // One is acknowledged at first, another at last.
                    if *lease == 1 && attempt == 0 || *lease == 2 && attempt + 1 == attempts {
                        lease.ack();
                    }
                }
            }
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
            assert_eq!(letters(&rx), [(0, attempts), (3, attempts)]);
            let first = rx.dead_letters().next().expect("two letters");
            first.discard();
            assert_eq!(letters(&rx), [(3, attempts)]);
            assert_eq!(rx.stats().dead_letters, 1);
            rx.dead_letters().for_each(workring::DeadLetter::discard);
            assert_all_free(&rx);
            assert_balanced(&rx);
        }
    });
}

#[test]
fn of_the_dead_letters_of_a_batch_the_newest_are_kept() {
    guarded(LIMIT, || {
        let options = sleepy(8).attempts(1).max_dead_letters(3);
        let (tx, rx) = options.channel::<u32>().expect("a queue");
        for (first, kept) in [(0, [3, 4, 5]), (6, [9, 10, 11])] {
            tx.send_many(first..first + 6).expect("room");
            let leases: Vec<_> = (0..6).map(|_| lease(&rx)).collect();
            drop(leases);
            assert_eq!(letters(&rx), kept.map(|number| (number, 1)));
        }
        assert_eq!(rx.stats().dropped_letters, 9);
        assert_balanced(&rx);
    });
}

#[test]
fn a_receiver_that_goes_returns_what_it_has_not_handed_out() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8).attempts(2).channel::<u32>().expect("a queue");
        tx.send_many(0..10).expect("room");
        let other = rx.clone();
        assert_eq!(other.recv().expect("the first"), 0);
        let (one, two) = (lease(&other), lease(&other));
        assert_eq!(*one, 1);
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        drop(other);
        // The pack comes back with its last lease.
        one.nack();
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        assert_eq!(two.ack(), 2);
        tx.send(10).expect("room");
        let seen: Vec<_> = (0..9)
            .map(|_| {
                let lease = lease(&rx);
                (lease.attempts(), lease.ack())
            })
            .collect();
        let unseen = (3..=10).map(|number| (0, number));
        assert_eq!(seen, iter::once((1, 1)).chain(unseen).collect::<Vec<_>>());
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}
