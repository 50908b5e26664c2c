//! Batches whose messages cannot be encoded or decoded, or whose codec panics or is slow.

use ipc_tests::support::books::{all, assert_all_free, assert_balanced, letters};
use ipc_tests::support::superstitious::Superstitious;
use ipc_tests::support::{LIMIT, prompt, sleepy};
use ipc_tests::{Pid, asleep::await_sleepers, guarded};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeSet,
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use workring::{
    Receiver, RecvError, SendError, Sender,
    error::{DecodeError, EncodeError, TryRecvError},
    queue::Codec,
};

fn superstitious(capacity: usize) -> (Sender<u32, Superstitious>, Receiver<u32, Superstitious>) {
    let channel = sleepy(capacity).max_deliveries(2).channel_with();
    channel.expect("a queue")
}

#[test]
fn a_message_that_cannot_be_encoded_ends_the_batch() {
    guarded(LIMIT, || {
        let (tx, rx) = superstitious(8);
        let refused = tx.send_many(8..20).expect_err("bad luck");
        assert_eq!(refused.accepted, 5);
        assert!(matches!(refused.error, SendError::Encode { value: 13, .. }));
        assert!(refused.into_unsent().eq(13..20));
        assert_eq!(all(&rx), [8, 9, 10, 11, 12]);
        assert_all_free(&rx);
    });
}

#[test]
fn a_message_that_cannot_be_decoded_is_reported_after_those_before_it() {
    guarded(LIMIT, || {
        let (tx, rx) = superstitious(8);
        // As a batch, and one by one.
        for batched in [true, false] {
            let numbers = [1, 2, 14, 3, 4];
            if batched {
                tx.send_many(numbers).expect("room");
            } else {
                for number in numbers {
                    tx.send(number).expect("room");
                }
            }
            let mut messages = Vec::new();
            assert_eq!(rx.recv_many(&mut messages, 9).expect("two"), 2);
            let error = rx.recv_many(&mut messages, 9);
            assert!(matches!(error, Err(RecvError::Decode(_))), "{error:?}");
            assert_eq!(rx.recv_many(&mut messages, 9).expect("the rest"), 2);
            assert_eq!(messages, [1, 2, 3, 4]);
            assert_eq!(letters(&rx), [(14, 0)]);
            rx.dead_letters()
                .for_each(workring::queue::DeadLetter::discard);
        }
        tx.send_many([1, 14, 2]).expect("room");
        assert_eq!(rx.recv().expect("the first"), 1);
        assert!(matches!(rx.lease(), Err(RecvError::Decode(_))));
        assert_eq!(rx.lease().expect("the last").ack(), 2);
        assert_eq!(letters(&rx), [(14, 0)]);
        rx.dead_letters()
            .for_each(workring::queue::DeadLetter::discard);
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

/// Receives many messages. The outer error is a panic of the codec.
fn receive(
    rx: &Receiver<u32, Superstitious>,
    into: &mut Vec<u32>,
    max: usize,
) -> thread::Result<Result<usize, RecvError>> {
    catch_unwind(AssertUnwindSafe(|| rx.recv_many(into, max)))
}

/// The messages before it are received, it counts as delivered, and those after it do not.
#[test]
fn a_codec_that_panics_costs_only_its_own_message() {
    guarded(LIMIT, || {
        let (tx, rx) = superstitious(8);
        tx.send_many([1, 2, 15, 3, 4]).expect("room");
        let mut messages = Vec::new();
        let mut receive = |max| receive(&rx, &mut messages, max);
        receive(9).expect_err("decoding panics");
        assert_eq!(receive(1).expect("no panic").expect("a message"), 1);
        assert_eq!(rx.lease().expect("the last").ack(), 4);
        // All others are settled, so it is returned now.
        assert_eq!(rx.stats().returned, 1);
        receive(9).expect_err("decoding panics");
        assert_eq!(letters(&rx), [(15, 2)]);
        assert_eq!(messages, [1, 2, 3]);
        assert_balanced(&rx);
    });
}

/// A message that cannot be decoded is reported in its turn, even when the codec panics for a later message first.
#[test]
fn a_codec_that_fails_and_panics_loses_nothing() {
    guarded(LIMIT, || {
        let (tx, rx) = superstitious(8);
        tx.send_many([1, 14, 2, 15, 3]).expect("room");
        let mut messages = Vec::new();
        let mut receive = |max| receive(&rx, &mut messages, max);
        receive(9).expect_err("decoding 15 panics");
        let error = receive(9).expect("no panic");
        assert!(matches!(error, Err(RecvError::Decode(_))), "{error:?}");
        receive(9).expect_err("decoding 15 panics");
        assert_eq!(receive(1).expect("no panic").expect("the last"), 1);
        assert_eq!(messages, [1, 2, 3]);
        assert_eq!(letters(&rx), [(14, 0), (15, 2)]);
        assert_balanced(&rx);
    });
}

/// A message that every receiver dies of is not delivered forever.
#[test]
fn a_message_that_kills_its_receivers_becomes_a_dead_letter() {
    guarded(LIMIT, || {
        for attempts in [1, 2, 3] {
            for numbers in [[14, 15], [15, 14]] {
                let channel = sleepy(8).max_deliveries(attempts).channel_with();
                let (tx, rx) = channel.expect("a queue");
                let _: &Receiver<u32, Superstitious> = &rx;
                tx.send_many(numbers).expect("room");
                let (mut panics, mut errors) = (0, 0);
                while rx.stats().dead_letters < 2 {
                    let worker = rx.clone();
                    let receive = AssertUnwindSafe(move || worker.try_recv_many(&mut vec![], 9));
                    match catch_unwind(receive) {
                        Ok(Err(TryRecvError::Decode(_))) => errors += 1,
                        Ok(other) => panic!("{other:?}"),
                        Err(_) => panics += 1,
                    }
                }
                assert_eq!((panics, errors), (attempts, 1), "{numbers:?}");
                let letters: BTreeSet<_> = letters(&rx).into_iter().collect();
                assert_eq!(letters, BTreeSet::from([(14, 0), (15, attempts)]));
                assert_balanced(&rx);
            }
        }
    });
}

/// Small values are decoded together, large ones one by one; messages of equal length have a layout of their own.
#[test]
fn values_of_any_size_come_out_of_a_batch_as_they_went_in() {
    fn check<T>(values: &[T])
    where
        T: Clone + PartialEq + Debug + Serialize + DeserializeOwned,
    {
        for max in [1, 7, 63, 64, 100] {
            let (tx, rx) = sleepy(8).channel::<T>().expect("a queue");
            assert_eq!(tx.send_many(values.to_vec()).expect("room"), values.len());
            tx.close();
            let mut received = Vec::new();
            while let Ok(count) = rx.recv_many(&mut received, max) {
                assert!((1..=max).contains(&count));
            }
            assert_eq!(received, values, "by {max}");
            assert_all_free(&rx);
            assert_balanced(&rx);
        }
    }
    guarded(LIMIT, || {
        check(&[(); 100]);
        check::<u8>(&(0..100).collect::<Vec<_>>());
        check::<u64>(&(0..100).map(|n| 1 << (n % 64)).collect::<Vec<_>>());
        check::<[u64; 16]>(&(0..100).map(|n| [n; 16]).collect::<Vec<_>>());
        check::<String>(&(0..100).map(|n| "a".repeat(n)).collect::<Vec<_>>());
        check::<String>(&(100..200).map(|n| n.to_string()).collect::<Vec<_>>());
    });
}

/// A codec of numbers whose decoding waits for a gate.
struct Gated;

static GATE: AtomicBool = AtomicBool::new(true);
static AT_THE_GATE: AtomicBool = AtomicBool::new(false);

impl Codec<u32> for Gated {
    const NAME: &'static str = "gated";

    fn encode(message: &u32, into: &mut [u8]) -> Result<usize, EncodeError> {
        Superstitious::encode(message, into)
    }

    fn encoded_len(message: &u32) -> Result<usize, EncodeError> {
        Superstitious::encoded_len(message)
    }

    fn decode(bytes: &[u8]) -> Result<u32, DecodeError> {
        AT_THE_GATE.store(true, Ordering::SeqCst);
        while !GATE.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        Superstitious::decode(bytes)
    }
}

/// While one thread decodes the last messages, the others cannot return `Closed` yet; when it is done, it wakes them.
#[test]
fn a_thread_that_has_the_last_messages_wakes_those_that_wait_for_the_end() {
    prompt(|| {
        GATE.store(false, Ordering::SeqCst);
        AT_THE_GATE.store(false, Ordering::SeqCst);
        let channel = sleepy(8).channel_with::<u32, Gated>();
        let (tx, rx) = channel.expect("a queue");
        tx.send_many([1, 2, 3]).expect("room");
        tx.close();
        thread::scope(|scope| {
            let last = scope.spawn(|| {
                let mut messages = Vec::new();
                rx.recv_many(&mut messages, 9).expect("messages");
                messages
            });
            while !AT_THE_GATE.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            let other = scope.spawn(|| rx.recv());
            await_sleepers(Pid::this(), 1);
            GATE.store(true, Ordering::SeqCst);
            let other = other.join().expect("join");
            assert!(matches!(other, Err(RecvError::Closed)), "{other:?}");
            assert_eq!(last.join().expect("join"), [1, 2, 3]);
        });
    });
}
