//! Concurrent senders, and the ring over several laps.

use super::heap_queue::{HeapQueue, LIMITS};
use super::peer::{Peer, Sent};
use super::{explore, short_or_full};
use crate::mutants::{Mutant, with};
use crate::protocol::Limits;
use crate::sync::loom_tools::thread;

/// Two slots, of which one may be full at a time.
pub(super) const ONE: Limits = Limits {
    capacity: 1,
    ..LIMITS
};

#[test]
fn two_senders_get_two_positions() {
    explore(
        "two senders, two messages each",
        short_or_full(2, 3),
        || {
            let queue = HeapQueue::new(
                Limits {
                    capacity: 4,
                    ..LIMITS
                },
                4,
                0,
            );
            let (first, second) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
            let other = thread::spawn(move || {
                assert_eq!(second.try_send(21), Sent::Accepted);
                assert_eq!(second.try_send(22), Sent::Accepted);
            });
            assert_eq!(first.try_send(11), Sent::Accepted);
            assert_eq!(first.try_send(12), Sent::Accepted);
            other.join().expect("no panic");
            let (messages, closed) = first.drain();
            let of = |sender| {
                messages
                    .iter()
                    .filter(move |&&message| message / 10 == sender)
            };
            assert!(of(1).eq(&[11, 12]) && of(2).eq(&[21, 22]), "{messages:?}");
            assert!(!closed && messages.len() == 4);
            queue.assert_all_free(4);
        },
    );
}

/// In the second lap the slots are Empty again, and both blocks have been used by the other process.
#[test]
fn one_of_two_senders_gets_the_last_slot() {
    explore("two senders, one slot, second lap", None, || {
        let queue = HeapQueue::new(ONE, 2, 0);
        let (first, second) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        for message in [8, 9] {
            assert_eq!(first.try_send(message), Sent::Accepted);
            assert_eq!(second.drain(), (vec![message], false));
        }
        let other = thread::spawn(move || second.try_send(2));
        let mine = first.try_send(1);
        let theirs = other.join().expect("no panic");
        let (messages, _) = first.drain();
        match (mine, theirs) {
            (Sent::Accepted, Sent::Full) => assert_eq!(messages, [1]),
            (Sent::Full, Sent::Accepted) => assert_eq!(messages, [2]),
            other => panic!("{other:?}"),
        }
        queue.assert_all_free(4);
    });
}

#[test]
fn messages_keep_their_order_over_several_laps() {
    explore("one sender, one receiver, two laps", Some(3), || {
        let queue = HeapQueue::new(ONE, 2, 0);
        let (sender, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        let other = thread::spawn(move || {
            (1..=4)
                .filter(|&message| sender.try_send(message) == Sent::Accepted)
                .collect::<Vec<_>>()
        });
        let mut received = Vec::new();
        for _ in 0..3 {
            received.extend(receiver.drain().0);
        }
        let accepted = other.join().expect("no panic");
        received.extend(receiver.drain().0);
        assert_eq!(received, accepted);

        queue.assert_free();
    });
}

#[test]
fn a_receiver_among_two_senders_gets_each_message_once() {
    explore("two senders, one receiver", Some(3), || {
        let queue = HeapQueue::new(LIMITS, 2, 0);
        let receiver = Peer::new(&queue, 2);
        let senders: Vec<_> = [1, 2]
            .map(|index| {
                let sender = Peer::new(&queue, index);
                thread::spawn(move || assert_eq!(sender.try_send(index.into()), Sent::Accepted))
            })
            .into();
        let (mut messages, _) = receiver.drain();
        for sender in senders {
            sender.join().expect("no panic");
        }
        messages.extend(receiver.drain().0);
        messages.sort_unstable();
        assert_eq!(messages, [1, 2]);
        queue.assert_all_free(2);
    });
}

#[test]
fn a_sender_sleeping_at_a_full_ring_is_woken() {
    explore("one sender asleep, one receiver asleep", Some(2), || {
        let queue = HeapQueue::new(ONE, 2, 0);
        let (sender, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        let other = thread::spawn(move || {
            for message in 1..=3 {
                assert_eq!(sender.send(message), Sent::Accepted);
            }
        });
        for message in 1..=3 {
            let held = receiver.receive().expect("no process closes the queue");
            assert_eq!(receiver.consume(held), message);
        }
        other.join().expect("no panic");
        queue.assert_all_free(3);
    });
}

#[test]
fn two_senders_sleeping_at_a_full_ring_are_woken() {
    explore(
        "two senders asleep, one receiver asleep",
        short_or_full(0, 1),
        || {
            let queue = HeapQueue::new(ONE, 3, 0);
            let receiver = Peer::new(&queue, 0);
            assert_eq!(receiver.try_send(9), Sent::Accepted);
            let senders: Vec<_> = [1, 2]
                .map(|index| {
                    let sender = Peer::new(&queue, index);
                    thread::spawn(move || assert_eq!(sender.send(index.into()), Sent::Accepted))
                })
                .into();
            let mut messages: Vec<_> = (0..3)
                .map(|_| receiver.consume(receiver.receive().expect("no process closes the queue")))
                .collect();
            for sender in senders {
                sender.join().expect("no panic");
            }
            messages.sort_unstable();
            assert_eq!(messages, [1, 2, 9]);
            queue.assert_all_free(3);
        },
    );
}

/// The ring has room but no block is free: the sender sleeps until a message is acknowledged.
fn sleep_without_a_block(name: &str) {
    explore(name, None, || {
        let queue = HeapQueue::new(ONE, 1, 0);
        let (sender, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        assert_eq!(sender.try_send(1), Sent::Accepted);
        let other = thread::spawn(move || assert_eq!(sender.send(2), Sent::Accepted));
        assert_eq!(receiver.drain().0.first(), Some(&1));
        other.join().expect("no panic");
        receiver.drain();
        queue.assert_all_free(2);
    });
}

#[test]
fn a_sender_sleeping_without_a_block_is_woken() {
    sleep_without_a_block("one sender without a block, one receiver");
}

/// `Release` is a plain store, which another thread may see after the look at the sleepers.
#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fence_after_a_release_a_sender_without_a_block_sleeps_forever() {
    with(Some(Mutant::ReleaseWithoutFence), || {
        sleep_without_a_block("no fence after the release");
    });
}
