//! Batches: the sender puts many messages into one block, which receivers do not see.

use ipc_tests::support::books::{all, assert_all_free, assert_balanced, letters};
use ipc_tests::support::{LIMIT, asleep, dismiss, hand_over, prompt, sleepy};
use ipc_tests::{
    Pid,
    asleep::await_sleepers,
    guarded,
    rounds::{Rng, rounds, seed},
};
use std::{
    collections::BTreeSet,
    iter,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};
use workring::{
    Lease, Options, Receiver, RecvError, SendError, Sender,
    error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError},
    queue::Raw,
};

fn lease(rx: &Receiver<u32>) -> Lease<'_, u32> {
    rx.try_lease().expect("there is a message")
}

#[test]
fn messages_sent_together_are_received_singly_and_the_other_way_round() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(1024).channel::<u32>().expect("a queue");
        for count in [0, 1, 2, 63, 64, 65, 128, 1000] {
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
        assert_eq!(tx.try_send_many(0..256).expect("four batches"), 256);
        assert!(tx.is_full());
        assert_eq!(rx.len(), 4);
        let refused = tx.try_send_many(256..270).expect_err("full");
        assert!(matches!(refused.error, TrySendError::Full(256)));
        assert_eq!(refused.accepted, 0);
        assert!(refused.rest.eq(257..270));
        assert_eq!(all(&rx), (0..256).collect::<Vec<_>>());
    });
}

/// The memory of huge blocks is released when idle, and a batch keeps its marks where huge blocks keep their state.
#[test]
fn a_batch_takes_no_huge_block() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(16)
            .max_message_len(256 * 1024)
            .channel_with::<Vec<u8>, Raw>()
            .expect("a queue");
        tx.send(vec![1; 256 * 1024]).expect("memory");
        assert_eq!(rx.recv().expect("a message").len(), 256 * 1024);
        // Just too long for a block of 64 KiB, while an idle huge block has memory.
        let batch = vec![vec![7; 1024]; 64];
        tx.send_many(batch.clone()).expect("room");
        let used = |class: &workring::queue::BlockStats| {
            class.payload > 64 * 1024 && class.free < class.total
        };
        assert!(!rx.stats().blocks.iter().any(used), "{:?}", rx.stats());
        assert_eq!(rx.len(), 2);
        assert_eq!(all(&rx), batch);
        assert_all_free(&rx);
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
        let (tx, rx) = sleepy(256).channel_with::<Vec<u8>, Raw>().expect("a queue");
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

/// A message that is too large for any block is refused; those before it are sent, those after it returned.
#[test]
fn a_message_that_cannot_be_sent_ends_the_batch_in_the_right_place() {
    guarded(LIMIT, || {
        let options = sleepy(16).max_message_len(65_536);
        let (tx, rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
        for place in [0, 1, 2, 62, 63] {
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
        // They are returned with the last one.
        assert_eq!((rx.stats().held, rx.stats().acknowledged), (4, 1));
        assert_eq!(rx.recv().expect("the next one"), 5);
        for lease in leases {
            lease.ack();
        }
        assert_eq!((rx.stats().held, rx.stats().returned), (0, 2));
        tx.send(6).expect("room");
        let again: Vec<_> = (0..3).map(|_| lease(&rx)).collect();
        let seen = again.iter().map(|lease| (**lease, lease.deliveries()));
        assert_eq!(seen.collect::<Vec<_>>(), [(1, 1), (3, 1), (6, 0)]);
        for lease in again {
            lease.ack();
        }
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

#[test]
fn each_message_of_a_batch_has_its_own_deliveries_and_its_own_dead_letter() {
    guarded(LIMIT, || {
        for attempts in [1, 2, 15] {
            let (tx, rx) = sleepy(8)
                .max_deliveries(attempts)
                .channel::<u32>()
                .expect("a queue");
            tx.send_many(0..4).expect("room");
            for attempt in 0..attempts {
                let leases: Vec<_> = (0..4).map_while(|_| rx.try_lease().ok()).collect();
                for lease in leases {
                    assert_eq!(lease.deliveries(), attempt);
                    // One is acknowledged first, another last.
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
            rx.dead_letters()
                .for_each(workring::queue::DeadLetter::discard);
            assert_all_free(&rx);
            assert_balanced(&rx);
        }
    });
}

#[test]
fn of_the_dead_letters_of_a_batch_the_newest_are_kept() {
    guarded(LIMIT, || {
        let options = sleepy(8).max_deliveries(1).max_dead_letters(3);
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
fn a_receiver_that_is_dropped_returns_what_it_has_not_delivered() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8)
            .max_deliveries(2)
            .channel::<u32>()
            .expect("a queue");
        tx.send_many(0..10).expect("room");
        let other = rx.clone();
        assert_eq!(other.recv().expect("the first"), 0);
        let (one, two) = (lease(&other).into_owned(), lease(&other).into_owned());
        assert_eq!(*one, 1);
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        drop(other);
        // The batch is returned with its last lease.
        one.nack();
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        assert_eq!(two.ack(), 2);
        tx.send(10).expect("room");
        let seen: Vec<_> = (0..9)
            .map(|_| {
                let lease = lease(&rx);
                (lease.deliveries(), lease.ack())
            })
            .collect();
        let unseen = (3..=10).map(|number| (0, number));
        assert_eq!(seen, iter::once((1, 1)).chain(unseen).collect::<Vec<_>>());
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

#[test]
fn what_was_accepted_before_the_close_is_received_and_then_the_queue_is_closed() {
    guarded(LIMIT, || {
        for settled in [false, true] {
            let options = sleepy(8).close_waits_for_leases(settled);
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            tx.send_many(0..74).expect("room");
            assert_eq!(rx.recv().expect("the first"), 0);
            tx.close();
            let refused = tx.send_many(74..80).expect_err("closed");
            assert!(refused.is_closed() && refused.into_unsent().eq(74..80));
            let other = rx.clone();
            let mut messages = Vec::new();
            let rest = other.try_recv_many(&mut messages, 99);
            assert_eq!(rest.expect("the second batch"), 10);
            let end = other.try_recv();
            if settled {
                assert!(matches!(end, Err(TryRecvError::Empty)), "{end:?}");
            } else {
                // This receiver does not see what another one has taken.
                assert!(matches!(end, Err(TryRecvError::Closed)), "{end:?}");
            }
            assert_eq!(rx.try_recv_many(&mut messages, 99).expect("its own"), 63);
            assert!(messages.into_iter().eq((64..74).chain(1..64)));
            for receiver in [rx, other] {
                let end = receiver.try_recv();
                assert!(matches!(end, Err(TryRecvError::Closed)), "{end:?}");
                let end = receiver.recv_many(&mut Vec::new(), 1);
                assert!(matches!(end, Err(RecvError::Closed)), "{end:?}");
            }
        }
    });
}

/// After a receiver has seen `Closed`, each returned message becomes a dead letter by itself.
#[test]
fn a_batch_that_is_returned_after_the_end_becomes_dead_letters() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8).channel::<u32>().expect("a queue");
        tx.send_many(0..4).expect("room");
        let other = rx.clone();
        assert_eq!(other.recv().expect("the first"), 0);
        let lease = lease(&other);
        tx.close();
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        lease.nack();
        assert_eq!(letters(&rx), []);
        drop(other);
        assert_eq!(letters(&rx), [(1, 1), (2, 0), (3, 0)]);
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        assert_balanced(&rx);
    });
}

#[test]
fn a_cancel_discards_what_is_left_of_a_batch_and_counts_each_message() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(8).channel::<u32>().expect("a queue");
        tx.send_many(0..10).expect("room");
        tx.send_many(10..30).expect("room");
        assert_eq!(rx.recv().expect("the first"), 0);
        let (one, two) = (lease(&rx), lease(&rx));
        // The batch that is being delivered counts as held, like its leases.
        assert_eq!(tx.cancel(), 20);
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Closed)));
        assert_eq!(rx.stats().held, 9);
        assert_eq!(one.ack(), 1);
        two.nack();
        let stats = rx.stats();
        assert_eq!((stats.acknowledged, stats.discarded), (2, 28));
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

/// Sends batches until the queue is closed. Returns how many messages were accepted.
fn send_batches(tx: &Sender<u64>, mut rng: Rng) -> u64 {
    let mut accepted = 0;
    loop {
        match tx.send_many(0..rng.u64(0..60)) {
            Ok(count) => accepted += count as u64,
            Err(refused) => return accepted + refused.accepted as u64,
        }
    }
}

/// Leases messages until the queue is closed, acknowledging most and returning some. Returns how many it acknowledged.
fn lease_all(rx: &Receiver<u64>, mut rng: Rng) -> u64 {
    let mut acknowledged = 0;
    while let Ok(lease) = rx.lease() {
        if rng.u32(0..4) > 0 {
            lease.ack();
            acknowledged += 1;
        } else {
            lease.nack();
        }
    }
    acknowledged
}

/// C6, with batches: accepted = acknowledged + discarded + dead letters.
#[test]
fn the_counts_balance_when_a_queue_that_is_busy_with_batches_is_cancelled() {
    guarded(LIMIT, || {
        let mut rng = Rng::with_seed(seed());
        for _ in 0..rounds(100, 10_000) {
            let options = Options::new(rng.usize(1..=16)).max_deliveries(2);
            // One for each receiver: with fewer, a receiver would get the error of the limit and end too early.
            let options = options.close_waits_for_leases(rng.bool()).max_leases(2);
            let (tx, rx) = options.channel::<u64>().expect("a queue");
            let other = rx.clone();
            let barrier = Barrier::new(5);
            let (accepted, acknowledged) = thread::scope(|scope| {
                let senders = [(); 2].map(|()| {
                    let (tx, barrier, rng) = (&tx, &barrier, rng.fork());
                    scope.spawn(move || (barrier.wait(), send_batches(tx, rng)).1)
                });
                let receivers = [&rx, &other].map(|rx| {
                    let (barrier, rng) = (&barrier, rng.fork());
                    scope.spawn(move || (barrier.wait(), lease_all(rx, rng)).1)
                });
                barrier.wait();
                for _ in 0..rng.u32(0..2_000) {
                    std::hint::spin_loop();
                }
                rx.cancel();
                let sum = |threads: [thread::ScopedJoinHandle<u64>; 2]| {
                    let counts = threads.map(|thread| thread.join().expect("join"));
                    counts.iter().sum::<u64>()
                };
                (sum(senders), sum(receivers))
            });
            let stats = rx.stats();
            assert_eq!(stats.accepted, accepted, "{stats:?}");
            assert_eq!(stats.acknowledged, acknowledged, "{stats:?}");
            assert_eq!((stats.queued, stats.held), (0, 0), "{stats:?}");
            assert_balanced(&rx);
        }
    });
}

#[test]
fn a_batch_that_meets_a_full_queue_waits_for_room_or_returns_the_rest() {
    prompt(|| {
        let (tx, rx) = sleepy(2).channel::<u32>().expect("a queue");
        let interrupter = tx.interrupter();
        let sender = asleep(move || {
            let refused = tx.send_many(0..200).expect_err("interrupted");
            assert_eq!(refused.accepted, 128);
            assert!(matches!(refused.error, SendError::Interrupted(128)));
            assert!(refused.rest.eq(129..200));
            tx
        });
        interrupter.interrupt();
        let tx = sender.join().expect("join");
        let refused = tx
            .send_many_timeout(128..200, Duration::from_millis(1))
            .expect_err("full");
        assert!(matches!(refused.error, SendTimeoutError::Timeout(128)));
        let sender = asleep(move || tx.send_many(refused.into_unsent()).map_err(|_| ()));
        let mut messages = Vec::new();
        while messages.len() < 200 {
            rx.recv_many(&mut messages, 200).expect("more");
        }
        assert!(messages.into_iter().eq(0..200));
        assert_eq!(sender.join().expect("join"), Ok(72));
        assert_all_free(&rx);
    });
}

#[test]
fn a_batch_that_waits_for_room_is_returned_by_a_close() {
    prompt(|| {
        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        let sender = asleep(move || tx.send_many(0..100));
        rx.close();
        let refused = sender.join().expect("join").expect_err("closed");
        assert_eq!((refused.accepted, refused.is_closed()), (64, true));
        assert!(refused.into_unsent().eq(64..100));
        assert!(all(&rx).into_iter().eq(0..64));
    });
}

/// When every block for batches is in use, the messages are sent in small blocks.
#[test]
fn a_batch_does_not_wait_for_large_blocks() {
    guarded(LIMIT, || {
        let options = sleepy(1024).max_leases(10_000);
        let (tx, rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
        let mut leases = Vec::new();
        for class in rx
            .stats()
            .blocks
            .iter()
            .rev()
            .filter(|class| class.payload > 200)
        {
            for _ in 0..class.free {
                tx.send(vec![0; class.payload]).expect("room");
                leases.push(rx.try_lease().expect("just sent"));
            }
        }
        let batch: Vec<Vec<u8>> = (0..100).map(|number| vec![number; 8]).collect();
        assert_eq!(tx.try_send_many(batch.clone()).expect("small blocks"), 100);
        assert_eq!(tx.len(), 100);
        assert_eq!(all(&rx), batch);
        // With one free block of the last class, the batch takes what fits.
        leases.pop().expect("many leases").ack();
        assert_eq!(tx.try_send_many(batch.clone()).expect("some more"), 100);
        assert!((60..100).contains(&tx.len()), "{} entries", tx.len());
        assert_eq!(all(&rx), batch);
    });
}

/// A thread that sleeps while another thread of the same receiver opens a batch gets a share of it.
#[test]
fn threads_of_one_receiver_share_what_it_has_taken() {
    prompt(|| {
        let (tx, rx) = sleepy(8).channel::<u32>().expect("a queue");
        let rx = Arc::new(rx);
        let waiting = [(); 3].map(|()| {
            let rx = Arc::clone(&rx);
            thread::spawn(move || rx.recv().expect("a message"))
        });
        await_sleepers(Pid::this(), 3);
        tx.send_many(0..3).expect("room");
        let received = waiting.map(|thread| thread.join().expect("join"));
        assert_eq!(BTreeSet::from(received), BTreeSet::from([0, 1, 2]));
    });
}

/// Receives until the queue is closed, one by one or `many` at once. What it got; panics if that was after anybody
/// had received `Closed`.
fn receive_all(rx: &Receiver<u32>, many: usize, closed: &AtomicBool) -> Vec<u32> {
    let mut messages = Vec::new();
    loop {
        let was_closed = closed.load(Ordering::SeqCst);
        let result = if many == 0 {
            rx.recv().map(|message| messages.push(message))
        } else {
            rx.recv_many(&mut messages, many).map(drop)
        };
        if result.is_err() {
            closed.store(true, Ordering::SeqCst);
            return messages;
        }
        assert!(!was_closed, "a message after `Closed`");
    }
}

/// C1 and C4 for threads that share a receiver: none gets `Closed` before everything has been delivered, and
/// nothing is handed out afterwards.
#[test]
fn threads_of_one_receiver_get_everything_before_any_gets_closed() {
    guarded(LIMIT, || {
        let mut rng = Rng::with_seed(seed());
        for round in 0..rounds(300, 30_000) {
            let options = Options::new(8).close_waits_for_leases(rng.bool());
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            let (count, closed) = (rng.u32(0..120), AtomicBool::new(false));
            let received: Vec<u32> = thread::scope(|scope| {
                let threads = [(); 3].map(|()| {
                    let (rx, closed, many) = (&rx, &closed, rng.usize(0..50));
                    scope.spawn(move || receive_all(rx, many, closed))
                });
                tx.send_many(0..count).expect("room, soon");
                tx.close();
                threads.map(|thread| thread.join().expect("join")).concat()
            });
            assert_eq!(received.len(), count as usize, "round {round}");
            assert!(BTreeSet::from_iter(received).into_iter().eq(0..count));
            assert_all_free(&rx);
        }
    });
}

/// Several processes send batches and single messages, and several receive them, one by one or many at once: each
/// message is received once, and those of one sender in order by each receiver.
#[test]
fn between_processes_each_message_is_received_once_and_in_order() {
    const SENDERS: u64 = 2;
    guarded(LIMIT, || {
        let count = u64::from(rounds(20_000, 2_000_000));
        let (tx, rx) = Options::new(16).channel::<u64>().expect("a queue");
        let mut peers: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let arguments: [&dyn std::fmt::Display; 3] = [&sender, &count, &seed()];
                hand_over("batch-sender", &arguments, |handoff| {
                    handoff.give("queue", &tx)
                })
            })
            .collect();
        drop(tx);
        let mut receivers: Vec<_> = [0, 7, 100]
            .iter()
            .map(|many| {
                hand_over("batch-receiver", &[many], |handoff| {
                    handoff.give("queue", &rx)
                })
            })
            .collect();
        drop(rx);
        let (mut received, mut sum) = (0, 0_u64);
        for receiver in &mut receivers {
            let answer = receiver.answer();
            let (messages, checksum) = answer.split_once(' ').expect("two numbers");
            received += messages.parse::<u64>().expect("a count");
            sum = sum.wrapping_add(checksum.parse().expect("a sum"));
        }
        assert_eq!(received, SENDERS * count);
        let expected = (0..SENDERS).flat_map(|sender| (0..count).map(move |n| sender << 32 | n));
        // Squares, so that one lost and one duplicated message do not cancel out.
        let square = |number: u64| number.wrapping_mul(number);
        assert_eq!(
            sum,
            expected.fold(0_u64, |sum, n| sum.wrapping_add(square(n)))
        );
        peers.append(&mut receivers);
        peers.into_iter().for_each(dismiss);
    });
}
