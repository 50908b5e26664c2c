//! Messages of all sizes: small ones, large ones, for which there is little memory, and those that are too large.

use ipc_tests::support::{LIMIT, dismiss, hand_over, prompt, sleepy};
use ipc_tests::{
    asleep::{await_sleepers, sleepers},
    guarded,
    ledger::Books,
    rounds::{Rng, rounds, seed},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::Duration,
};
use workring::{
    RecvError, SendError,
    error::{DecodeError, EncodeError, SendTimeoutError, TrySendError},
    queue::{Codec, Raw},
};

/// Large messages run out of memory long before the ring is full. An acknowledgement is what frees it, not a receive.
#[test]
fn a_sender_that_waits_for_a_block_is_woken_by_an_acknowledgement() {
    const BYTES: usize = 64 * 1024;
    prompt(|| {
        let (tx, rx) = sleepy(64).channel_with::<Vec<u8>, Raw>().expect("a queue");
        let mut sender = hand_over("large-sender", &[&60, &BYTES], |handoff| {
            handoff.give("queue", &tx)
        });
        await_sleepers(sender.pid(), 1);
        let accepted = tx.len();
        assert!(
            (1..60).contains(&accepted),
            "{accepted} were accepted at once"
        );
        let mut leases: Vec<_> = (0..accepted)
            .map(|_| rx.lease().expect("a message"))
            .collect();
        for number in 0..accepted {
            assert_eq!(sender.answer(), number.to_string());
        }
        assert_eq!(
            (tx.len(), sleepers(sender.pid())),
            (0, 1),
            "leases keep the blocks"
        );
        for number in accepted..60 {
            let message = leases.pop().expect("a lease").ack();
            assert_eq!(message, vec![7; BYTES]);
            assert_eq!(sender.answer(), number.to_string());
            leases.push(rx.lease().expect("the next message"));
        }
        dismiss(sender);
    });
}

#[test]
fn messages_of_all_sizes_arrive_unchanged() {
    let rounds = rounds(3_000, 100_000);
    guarded(LIMIT + Duration::from_millis(2) * rounds, || {
        let mut rng = Rng::with_seed(seed());
        let queue = || sleepy(48).channel_with::<Vec<u8>, Raw>().expect("a queue");
        let ((tx, input), (output, rx)) = (queue(), queue());
        let relays = [0; 2].map(|_| {
            hand_over("relay", &[&2], |handoff| {
                handoff.give("in", &input)?.give("out", &output)
            })
        });
        drop((input, output));
        let mut books = Books::new();
        let receiving = thread::spawn(move || rx.iter().collect::<Result<Vec<_>, _>>());
        for _ in 0..rounds {
            // Many small ones, some large ones, and the limits themselves.
            let length = match rng.u32(0..10) {
                0 => rng.usize(0..=100 * 1024),
                1 => *[0, 64, 96, 97, 256, 257, 65_536, 65_537, 300_000]
                    .get(rng.usize(0..9))
                    .expect("nine"),
                _ => rng.usize(0..2_000),
            };
            let message: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
            tx.send(message.clone()).expect("it is open");
            books.sent(message);
        }
        drop(tx);
        let received = receiving.join().expect("join").expect("messages");
        for message in received {
            books.received(message);
        }
        assert!(
            books.difference().is_empty(),
            "messages were lost or changed"
        );
        relays.into_iter().for_each(dismiss);
    });
}

#[test]
fn a_message_that_is_too_large_is_returned_whole() {
    for max in [128, 1_000, 64 * 1024, 64 * 1024 + 1, 1 << 20, 5_000_000] {
        too_large_is_returned_whole(max);
    }
}

fn too_large_is_returned_whole(max_message_len: usize) {
    guarded(LIMIT, || {
        let options = sleepy(4).max_message_len(max_message_len);
        let (tx, rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
        let large = || vec![7; max_message_len + 1];
        match tx.send(large()) {
            Err(SendError::TooLarge {
                value, len, max, ..
            }) => {
                assert_eq!(
                    (value, len, max),
                    (large(), max_message_len + 1, max_message_len)
                );
            }
            other => panic!("{other:?}"),
        }
        let tried = tx.try_send(large()).expect_err("too large");
        assert!(matches!(tried, TrySendError::TooLarge { .. }), "{tried:?}");
        assert_eq!(tried.into_inner(), large());
        let timed = tx.send_timeout(large(), LIMIT).expect_err("too large");
        assert!(
            matches!(timed, SendTimeoutError::TooLarge { .. }),
            "{timed:?}"
        );
        assert_eq!(timed.into_inner(), large());
        tx.send(vec![8; max_message_len])
            .expect("the largest there can be");
        assert_eq!(rx.recv().expect("a message"), vec![8; max_message_len]);
        // Whatever was sent before.
        let sent = tx.send(large()).expect_err("too large");
        assert!(matches!(sent, SendError::TooLarge { .. }), "{sent:?}");
        let reserved = tx.try_reserve(max_message_len + 1).map(drop);
        let error = reserved.expect_err("too large");
        assert!(matches!(error, TrySendError::TooLarge { .. }), "{error:?}");
        let mut room = tx.reserve(max_message_len).expect("room");
        room.fill(9);
        room.commit().expect("the largest there can be");
        drop(room);
        assert_eq!(rx.recv().expect("a message"), vec![9; max_message_len]);
        let error = tx
            .reserve(max_message_len + 1)
            .map(drop)
            .expect_err("too large");
        assert!(matches!(error, SendError::TooLarge { .. }), "{error:?}");
    });
}

/// Large blocks are scarce. The length of the last message only tells where to look first.
#[test]
fn a_short_message_after_a_long_one_takes_no_long_block() {
    // The room of a cell, the long and the short messages, and how many blocks there are for the long ones.
    for (inline, long, short, blocks) in [
        (96, 64 * 1024, 5_000, 16),
        (96, 1_000, 200, 64),
        (900, 1_000, 500, 64),
    ] {
        prompt(|| {
            let (tx, rx) = sleepy(16)
                .inline_len(inline)
                .max_message_len(long.max(1_024))
                .max_leases(2 * blocks)
                .channel_with::<Vec<u8>, Raw>()
                .expect("a queue");
            let mut leases = Vec::new();
            for _ in 1..blocks {
                tx.send(vec![1; long]).expect("room");
                assert_eq!(rx.recv().expect("the long message"), vec![1; long]);
                tx.send(vec![2; short]).expect("room");
                leases.push(rx.lease().expect("the short message"));
            }
            for _ in 0..blocks {
                tx.try_send(vec![1; long]).expect("a long block");
                leases.push(rx.lease().expect("the long message"));
            }
            tx.try_send(vec![1; long]).expect_err("all are in use");
        });
    }
}

/// A value that is decoded straight to where its receiver gets it, by a codec that refuses some and panics at others.
type Large = [u8; 1000];

const REFUSED: u8 = 1;
const PANICS: u8 = 2;

struct Picky;

impl Codec<Large> for Picky {
    const NAME: &'static str = "picky";

    fn encode(message: &Large, into: &mut [u8]) -> Result<usize, EncodeError> {
        Raw::encode(message, into)
    }

    fn encoded_len(message: &Large) -> Result<usize, EncodeError> {
        Raw::encoded_len(message)
    }

    fn decode(bytes: &[u8]) -> Result<Large, DecodeError> {
        match bytes.first() {
            Some(&REFUSED) => Err(DecodeError::new("refused")),
            Some(&PANICS) => panic!("as it was told to"),
            _ => Raw::decode(bytes),
        }
    }
}

#[test]
fn a_large_value_is_acknowledged_rejected_or_returned_as_a_small_one_is() {
    prompt(|| {
        let (tx, rx) = sleepy(8)
            .max_deliveries(2)
            .channel_with::<Large, Picky>()
            .expect("a queue");
        for byte in [3, REFUSED, PANICS, 4] {
            tx.send([byte; 1000]).expect("room");
        }
        assert_eq!(rx.recv().expect("a value"), [3; 1000]);
        assert!(matches!(rx.recv(), Err(RecvError::Decode(_))));
        let receive = || catch_unwind(AssertUnwindSafe(|| rx.recv()));
        // It is returned once, and comes first; after its second delivery it is a dead letter.
        assert!(receive().is_err() && receive().is_err());
        assert_eq!(rx.recv().expect("the next one"), [4; 1000]);
        let mut letters: Vec<u8> = rx
            .dead_letters()
            .map(|letter| letter.bytes().first().copied().unwrap_or(0))
            .collect();
        letters.sort_unstable();
        assert_eq!(letters, [REFUSED, PANICS]);
        let stats = rx.stats();
        assert_eq!(
            (stats.acknowledged, stats.dead_letters, stats.held),
            (2, 2, 0)
        );
    });
}
