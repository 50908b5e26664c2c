//! Messages written and read where they lie.

use crate::support::{LIMIT, asleep, prompt, sleepy};
use ipc_tests::guarded;
use std::time::Duration;
use workring::{Options, Raw, Receiver, SendError, SendTimeoutError, Sender, TrySendError};

mod support;

type Ends = (Sender<Vec<u8>, Raw>, Receiver<Vec<u8>, Raw>);

fn queue(options: &Options) -> Ends {
    options.channel_with().expect("a queue")
}

/// Blocks in use, of any size.
fn in_use(tx: &Sender<Vec<u8>, Raw>) -> u64 {
    tx.stats()
        .blocks
        .iter()
        .map(|class| class.total - class.free)
        .sum()
}

#[test]
fn bytes_written_in_place_are_read_in_place() {
    guarded(LIMIT, || {
        let (tx, rx) = queue(&sleepy(8));
        for length in [
            0,
            1,
            40,
            104,
            105,
            256,
            1024,
            5_000,
            65_536,
            65_537,
            1 << 20,
        ] {
            let mut room = tx.reserve(length).expect("a block");
            assert_eq!(room.len(), length);
            room.iter_mut()
                .zip(0_u8..=250)
                .for_each(|(byte, value)| *byte = value);
            let expected = room.to_vec();
            room.commit().expect("room");
            let message = rx.lease_bytes().expect("a message");
            assert_eq!(*message, expected);
            message.ack();
        }
        assert_eq!(in_use(&tx), 0);
    });
}

#[test]
fn a_reservation_that_is_dropped_was_never_there() {
    guarded(LIMIT, || {
        let (tx, rx) = queue(&sleepy(4));
        let room = tx.reserve(10).expect("a block");
        assert_eq!(in_use(&tx), 1);
        drop(room);
        assert_eq!((in_use(&tx), tx.stats().accepted), (0, 0));
        assert!(rx.try_recv().is_err());
    });
}

#[test]
fn a_reservation_that_finds_the_queue_full_can_be_changed_and_tried_again() {
    guarded(LIMIT, || {
        let (tx, rx) = queue(&sleepy(1));
        tx.send(vec![1]).expect("room");
        let mut room = tx.reserve(1).expect("a block");
        room.fill(2);
        let Err(TrySendError::Full(mut room)) = room.try_commit() else {
            panic!("a full queue took it")
        };
        assert_eq!(*room, [2]);
        room.fill(3);
        let Err(SendTimeoutError::Timeout(room)) = room.commit_timeout(Duration::from_millis(1))
        else {
            panic!("a full queue took it")
        };
        assert_eq!(rx.recv().expect("a message"), [1]);
        room.commit().expect("room");
        assert_eq!(rx.recv().expect("a message"), [3]);
        assert_eq!(in_use(&tx), 0);
    });
}

#[test]
fn a_reservation_is_refused_with_the_reason() {
    guarded(LIMIT, || {
        let (tx, rx) = queue(&sleepy(4).max_message_len(64 * 1024));
        let refused = tx.reserve(64 * 1024 + 1);
        assert!(matches!(
            refused,
            Err(SendError::TooLarge {
                len: 65_537,
                max: 65_536,
                ..
            })
        ));
        let large = 64 * 1024;
        let all: Vec<_> = std::iter::from_fn(|| tx.try_reserve(large).ok()).collect();
        assert!(!all.is_empty());
        assert!(matches!(tx.try_reserve(large), Err(TrySendError::Full(_))));
        drop(all);
        let room = tx.reserve(1).expect("a block");
        rx.close();
        assert!(matches!(room.commit(), Err(SendError::Closed(_))));
        assert!(matches!(tx.reserve(1), Err(SendError::Closed(1))));
        assert_eq!(in_use(&tx), 0);
    });
}

#[test]
fn a_sender_that_waits_for_a_block_is_woken_by_a_dropped_reservation() {
    prompt(|| {
        let (tx, rx) = queue(&sleepy(4));
        let large = 64 * 1024;
        let mut all: Vec<_> = std::iter::from_fn(|| tx.try_reserve(large).ok()).collect();
        let waiting = {
            let tx = tx.clone();
            asleep(move || tx.send(vec![9; large]))
        };
        all.pop();
        waiting.join().expect("join").expect("a block");
        assert_eq!(rx.recv().expect("a message").len(), large);
    });
}

#[test]
fn a_bytes_lease_that_is_dropped_returns_its_message() {
    guarded(LIMIT, || {
        let (tx, rx) = queue(&sleepy(4).attempts(2));
        tx.send(vec![5; 300]).expect("room");
        let lease = rx.lease_bytes().expect("a message");
        assert_eq!((lease.attempts(), lease.len()), (0, 300));
        drop(lease);
        let lease = rx.try_lease_bytes().expect("it came back");
        assert_eq!((lease.attempts(), *lease == [5; 300]), (1, true));
        lease.nack();
        assert_eq!(rx.dead_letters().count(), 1);
    });
}
