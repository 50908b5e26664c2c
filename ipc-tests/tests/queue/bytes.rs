//! Messages written and read where they lie.

use ipc_tests::support::{LIMIT, asleep, dismiss, prompt, sleepy};
use ipc_tests::{child::Peer, guarded, program};
use std::{
    mem::forget,
    process::{self, Command},
    thread,
    time::Duration,
};
use workring::{
    Options, Receiver, SendError, Sender,
    error::{SendTimeoutError, TrySendError},
    queue::Raw,
};

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
        for length in [0, 1, 40, 96, 97, 256, 1024, 5_000, 65_536, 65_537, 1 << 20] {
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
        assert_eq!(room.try_commit(), Err(TrySendError::Full(())));
        assert_eq!(*room, [2]);
        room.fill(3);
        let late = room.commit_timeout(Duration::from_millis(1));
        assert_eq!(late, Err(SendTimeoutError::Timeout(())));
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
        let mut room = tx.reserve(1).expect("a block");
        rx.close();
        assert_eq!(room.commit(), Err(SendError::Closed(())));
        drop(room);
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
        let (tx, rx) = queue(&sleepy(4).max_deliveries(2));
        tx.send(vec![5; 300]).expect("room");
        let lease = rx.lease_bytes().expect("a message");
        assert_eq!((lease.deliveries(), lease.len()), (0, 300));
        drop(lease);
        let lease = rx.try_lease_bytes().expect("it came back");
        assert_eq!((lease.deliveries(), *lease == [5; 300]), (1, true));
        lease.nack();
        assert_eq!(rx.dead_letters().count(), 1);
    });
}

/// Of a block of each kind: the smallest, one of another class, one that is huge.
const LENGTHS: [usize; 3] = [8, 2_000, 200_000];

fn forget_some(tx: &Sender<Vec<u8>, Raw>) {
    for length in LENGTHS {
        for _ in 0..3 {
            forget(tx.try_reserve(length).expect("a block"));
        }
    }
}

#[test]
fn a_forgotten_reservation_is_withdrawn_with_the_last_sender_of_its_process() {
    guarded(LIMIT, || {
        let options = sleepy(8).close_on_last_sender(false);
        let (tx, rx) = queue(&options);
        let free = || {
            rx.stats()
                .blocks
                .iter()
                .map(|class| class.free)
                .sum::<u64>()
        };
        let at_first = free();
        // By threads with senders of their own, one of which outlives the others.
        thread::scope(|scope| {
            for _ in 0..2 {
                let tx = tx.clone();
                scope.spawn(move || forget_some(&tx));
            }
        });
        assert_eq!(free(), at_first - 18);
        // What is accepted, or in a receiver's hands, has nothing to do with it.
        tx.send(vec![1; 8]).expect("room");
        tx.send(vec![2; 2_000]).expect("room");
        let held = rx.lease_bytes().expect("a message");
        assert_eq!(in_use(&tx), 20);
        drop(tx);
        assert_eq!(free(), at_first - 2);
        assert_eq!(*held, [1; 8]);
        held.ack();
        assert_eq!(rx.recv().expect("a message"), [2; 2_000]);
        assert_eq!(free(), at_first);
    });
}

#[test]
fn what_visitors_of_a_named_queue_forget_is_not_lost_to_it() {
    guarded(LIMIT, || {
        let name = format!("test-forgotten-{}", process::id());
        let created = sleepy(4).create_named_with::<Vec<u8>, Raw>(&name);
        let (tx, rx) = created.expect("a queue");
        let blocks = rx.stats().blocks;
        for _ in 0..20 {
            let visitor: Sender<Vec<u8>, Raw> = workring::open(&name).expect("it is there");
            forget_some(&visitor);
        }
        let stats = rx.stats();
        assert_eq!(stats.peers.len(), 1, "{stats:?}");
        for (was, is) in blocks.iter().zip(&stats.blocks) {
            assert_eq!((was.total, was.free), (is.total, is.free));
        }
        drop((tx, rx));
        workring::queue::remove_named(&name).expect("nobody is attached");
    });
}

/// A sender that waits for a block gets one of those that were forgotten.
#[test]
fn a_sender_that_waits_for_a_block_is_woken_when_forgotten_ones_are_withdrawn() {
    let name = format!("test-forgetful-{}", process::id());
    prompt(|| {
        let options = sleepy(1).max_message_len(128);
        let created = options.create_named_with::<Vec<u8>, Raw>(&name);
        let (tx, rx) = created.expect("a queue");
        let visitor: Sender<Vec<u8>, Raw> = workring::open(&name).expect("it is there");
        while let Ok(room) = visitor.try_reserve(8) {
            forget(room);
        }
        let other = tx.clone();
        let waiting = asleep(move || other.reserve(8).map(drop).is_ok());
        drop(visitor);
        assert!(waiting.join().expect("join"));
        drop((tx, rx));
        workring::queue::remove_named(&name).expect("nobody is attached");
    });
}

/// Starts a peer that takes these orders, and answers each of them like this.
fn peer_after(orders: &[(&str, &str)]) -> Peer {
    let mut peer =
        Peer::spawn(program("peer"), "named-queues", &[], Command::spawn).expect("spawn");
    for (order, answer) in orders {
        peer.say(order);
        assert_eq!(peer.answer(), *answer);
    }
    peer
}

/// The last receiver of the process sees that a lease is missing.
#[test]
fn a_forgotten_lease_that_borrowed_its_receiver_holds_its_message_until_its_process_ends() {
    guarded(LIMIT, || {
        let name = format!("test-borrowed-lease-{}", process::id());
        let (tx, rx) = Options::new(8).create_named::<u32>(&name).expect("a queue");
        (1..=3).for_each(|number| tx.send(number).expect("room"));
        let peer = peer_after(&[
            (&*format!("open-in {name}"), "done"),
            ("hold-borrowed", "1"),
            ("hold", "2"),
            ("leave", "done"),
            ("drop", "done"),
        ]);
        // The second message was returned, the first one was not.
        let stats = rx.stats();
        assert_eq!((stats.peers.len(), stats.held), (2, 1), "{stats:?}");
        assert_eq!(rx.try_recv().expect("returned"), 2);
        assert_eq!(rx.try_recv().expect("another message"), 3);
        assert!(rx.try_recv().is_err());
        dismiss(peer);
        assert_eq!(rx.recv().expect("its holder is dead"), 1);
        assert_eq!(rx.stats().peers.len(), 1);
        drop((tx, rx));
        workring::queue::remove_named(&name).expect("nobody is attached");
    });
}

/// As above, and with it the rest of its batch.
#[test]
fn a_forgotten_lease_of_a_batch_that_borrowed_its_receiver_holds_the_batch_until_its_process_ends()
{
    guarded(LIMIT, || {
        let name = format!("test-borrowed-of-batch-{}", process::id());
        let (tx, rx) = Options::new(8).create_named::<u32>(&name).expect("a queue");
        tx.send_many([1, 2]).expect("room");
        tx.send(3).expect("room");
        let peer = peer_after(&[
            (&*format!("open-in {name}"), "done"),
            ("hold-borrowed", "1"),
            ("leave", "done"),
        ]);
        let stats = rx.stats();
        assert_eq!((stats.peers.len(), stats.held), (2, 2), "{stats:?}");
        assert_eq!(rx.try_recv().expect("another message"), 3);
        assert!(rx.try_recv().is_err());
        dismiss(peer);
        assert_eq!(
            [(); 2].map(|()| rx.recv().expect("its holder is dead")),
            [1, 2]
        );
        drop((tx, rx));
        workring::queue::remove_named(&name).expect("nobody is attached");
    });
}

/// A lease that borrows no receiver, and was forgotten, holds its message like any other, until the process ends.
#[test]
fn a_forgotten_lease_holds_its_message_until_its_process_ends() {
    guarded(LIMIT, || {
        let name = format!("test-forgotten-lease-{}", process::id());
        let (tx, rx) = Options::new(8).create_named::<u32>(&name).expect("a queue");
        tx.send_many([1, 2, 3]).expect("room");
        tx.send(4).expect("room");
        let peer = peer_after(&[
            (&*format!("open-in {name}"), "done"),
            ("hold", "1"),
            ("forget", "done"),
            ("leave", "done"),
        ]);
        let stats = rx.stats();
        let visitor = stats
            .peers
            .iter()
            .find(|peer| !peer.sends && !peer.receives);
        assert!(
            visitor.is_some_and(|visitor| visitor.holds >= 1),
            "{stats:?}"
        );
        assert_eq!(rx.try_recv().expect("another message"), 4);
        dismiss(peer);
        let mut left = Vec::new();
        while left.len() < 3 {
            left.push(rx.recv().expect("it is dead"));
        }
        left.sort_unstable();
        assert_eq!(left, [1, 2, 3]);
        assert_eq!(rx.stats().peers.len(), 1);
        drop((tx, rx));
        workring::queue::remove_named(&name).expect("nobody is attached");
    });
}
