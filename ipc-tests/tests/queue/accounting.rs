//! The counts in `Stats`: each accepted message is in exactly one place, even when processes die, and when returns race
//! with a close or a cancel.
//!
//! Other tests check the counts of their own subject. Each test here is a case in which they were wrong once.

use ipc_tests::support::books::{all, assert_adds_up, assert_all_free, assert_balanced, letters};
use ipc_tests::support::{LIMIT, hand_over, prompt, sleepy};
use ipc_tests::{
    Signal,
    asleep::await_sleepers,
    child::Peer,
    guarded,
    rounds::{Rng, rounds, seed},
};
use std::{sync::Barrier, thread};
use workring::{Receiver, RecvError, Sender, queue::Stats};

/// Starts a child that has a sender and follows orders until it is killed.
fn mortal_sender(tx: &Sender<u32>) -> Peer {
    let mut peer = hand_over("victim", &[], |handoff| handoff.give("results", tx));
    assert_eq!(peer.answer(), "ready");
    peer
}

fn mortal_receiver(rx: &Receiver<u32>) -> Peer {
    let mut peer = hand_over("victim", &[], |handoff| handoff.give("tasks", rx));
    assert_eq!(peer.answer(), "ready");
    peer
}

/// Kills the process and reports its exit.
fn slay(peer: &mut Peer, rx: &Receiver<u32>) {
    let id = peer.pid().as_raw().try_into().expect("a process id");
    peer.signal(Signal::SIGKILL);
    peer.wait();
    rx.report_exit(id);
}

/// Returns the numbers of accepted, queued and acknowledged messages.
fn progress(stats: &Stats) -> (u64, u64, u64) {
    assert_adds_up(stats);
    (stats.accepted, stats.queued, stats.acknowledged)
}

/// A batch counts as accepted when it is in the queue, and not before, wherever its sender dies.
#[test]
fn a_sender_killed_while_it_waits_in_send_many_leaves_the_counts_unchanged() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        tx.send(7).expect("room");
        for count in [2, 64, 200] {
            let mut victim = mortal_sender(&tx);
            victim.say(format!("send-many {count}"));
            assert_eq!(victim.answer(), "sending");
            await_sleepers(victim.pid(), 1);
            assert_eq!(progress(&rx.stats()), (1, 1, 0), "it waits");
            slay(&mut victim, &rx);
            assert_eq!(progress(&rx.stats()), (1, 1, 0), "it is dead");
        }
        assert_eq!(all(&rx), [7]);
        assert_eq!(progress(&rx.stats()), (1, 0, 1));
        // The blocks of dead senders are reused, for batches and for single messages.
        for _ in 0..200 {
            tx.send_many(0..64).expect("room");
            assert_eq!(all(&rx).len(), 64);
        }
        assert_eq!(progress(&rx.stats()), (1 + 200 * 64, 0, 1 + 200 * 64));
        assert_all_free(&rx);
    });
}

/// An accepted batch counts once, queued, taken or partly held, however often its holder dies.
#[test]
fn a_batch_is_counted_once_however_many_of_its_holders_are_killed() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4)
            .max_deliveries(15)
            .max_leases(64)
            .channel::<u32>()
            .expect("a queue");
        tx.send_many(0..64).expect("room");
        for _ in 0..3 {
            let mut victim = mortal_receiver(&rx);
            victim.say("lease 5");
            assert_eq!(victim.answer(), "leased");
            assert_eq!(progress(&rx.stats()), (64, 0, 0));
            slay(&mut victim, &rx);
            let stats = rx.stats();
            assert_eq!(progress(&stats), (64, 0, 0));
            assert_eq!((stats.held, stats.returned), (0, 64));
        }
        assert_eq!(all(&rx).len(), 64);
        assert_eq!(progress(&rx.stats()), (64, 0, 64));
        assert_all_free(&rx);
    });
}

#[test]
fn the_death_of_a_holder_of_a_batch_leaves_no_more_dead_letters_than_are_allowed() {
    guarded(LIMIT, || {
        for (leased, max) in [(20, 3), (20, 0), (20, 20), (10, 3), (1, 0), (19, 18)] {
            let options = sleepy(4).max_leases(64).max_deliveries(1);
            let options = options.max_dead_letters(max);
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            // An older dead letter, which is evicted first.
            tx.send(100).expect("room");
            rx.lease().expect("just sent").nack();
            tx.send_many(0..20).expect("room");
            let mut victim = mortal_receiver(&rx);
            victim.say(format!("lease {leased}"));
            assert_eq!(victim.answer(), "leased");
            slay(&mut victim, &rx);
            assert!(rx.stats().dead_letters <= max as u64, "{:?}", rx.stats());
            // Messages that it had not delivered are received; then the others are dead letters.
            let left: Vec<u32> = (leased..20).collect();
            assert_eq!(all(&rx), left);
            let stats = rx.stats();
            assert_adds_up(&stats);
            let dead = (max as u64).min(u64::from(leased) + 1);
            assert_eq!((stats.dead_letters, stats.returned), (dead, 0), "{stats:?}");
            let all = [100].into_iter().chain(0..leased).map(|number| (number, 1));
            let dropped = usize::try_from(u64::from(leased) + 1 - dead).expect("few");
            let newest: Vec<_> = all.skip(dropped).collect();
            assert_eq!(letters(&rx), newest);
        }
    });
}

/// Drained: receivers have already seen `Closed`.
#[test]
fn a_message_that_is_returned_after_the_end_is_counted_as_a_dead_letter() {
    prompt(|| {
        for (count, max) in [(1, 4), (3, 4), (3, 2), (3, 0)] {
            let options = sleepy(4).max_dead_letters(max);
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            tx.send_many(0..count).expect("room");
            let leases: Vec<_> = (0..count).map(|_| rx.lease().expect("a message")).collect();
            tx.close();
            assert!(matches!(rx.recv(), Err(RecvError::Closed)));
            drop(leases);
            let stats = rx.stats();
            assert_adds_up(&stats);
            let kept = u64::from(count).min(max as u64);
            assert_eq!((stats.returned, stats.dead_letters), (0, kept), "{stats:?}");
            assert_eq!(stats.dropped_letters, u64::from(count) - kept);
            let letters = letters(&rx);
            assert_eq!(letters.len() as u64, kept);
            assert!(letters.iter().all(|&(_, attempts)| attempts == 1));
            rx.dead_letters()
                .for_each(workring::queue::DeadLetter::discard);
            assert_all_free(&rx);
            assert_balanced(&rx);
        }
    });
}

/// A holder returns its messages at the moment of a cancel, and no thread receives afterwards.
#[test]
fn a_message_that_is_returned_during_a_cancel_is_discarded() {
    let rounds = rounds(300, 30_000);
    guarded(LIMIT, || {
        let mut rng = Rng::with_seed(seed());
        for round in 0..rounds {
            let (settled, count) = (rng.bool(), rng.u32(1..=6));
            let options = sleepy(8).close_waits_for_leases(settled).max_deliveries(3);
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            tx.send_many(0..count).expect("room");
            let handed_out = rng.u32(1..=count);
            let lease = |_| rx.lease().expect("one").into_owned();
            let leases: Vec<_> = (0..handed_out).map(lease).collect();
            let barrier = Barrier::new(2);
            let pauses = [rng.u32(0..300), rng.u32(0..300)];
            thread::scope(|scope| {
                let (barrier, clone) = (&barrier, tx.clone());
                scope.spawn(move || {
                    barrier.wait();
                    (0..pauses[0]).for_each(|_| std::hint::spin_loop());
                    drop(leases);
                    // Dropping the receiver returns what was not delivered.
                    drop(rx);
                });
                barrier.wait();
                (0..pauses[1]).for_each(|_| std::hint::spin_loop());
                clone.cancel();
            });
            let stats = tx.stats();
            assert_adds_up(&stats);
            assert_eq!(
                (stats.discarded, stats.returned, stats.held, stats.queued),
                (count.into(), 0, 0, 0),
                "round {round}: {stats:?}"
            );
            let free = stats.blocks.iter().all(|class| class.free == class.total);
            assert!(free, "round {round}: {stats:?}");
        }
    });
}

/// A drained queue ends while a holder returns its messages.
#[test]
fn a_message_that_is_returned_at_the_very_end_is_received_or_a_dead_letter_within_the_limit() {
    let rounds = rounds(300, 30_000);
    guarded(LIMIT, || {
        let mut rng = Rng::with_seed(seed());
        for round in 0..rounds {
            let (count, max) = (rng.u32(1..=4), rng.usize(0..=2));
            let options = sleepy(8).max_dead_letters(max);
            let (tx, rx) = options.channel::<u32>().expect("a queue");
            tx.send_many(0..count).expect("room");
            let leases: Vec<_> = (0..count).map(|_| rx.lease().expect("one")).collect();
            tx.close();
            let barrier = Barrier::new(2);
            let pauses = [rng.u32(0..300), rng.u32(0..300)];
            let received = thread::scope(|scope| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    (0..pauses[0]).for_each(|_| std::hint::spin_loop());
                    drop(leases);
                });
                barrier.wait();
                (0..pauses[1]).for_each(|_| std::hint::spin_loop());
                rx.iter().flatten().count() as u64
            });
            let stats = rx.stats();
            assert_adds_up(&stats);
            assert_eq!((stats.acknowledged, stats.returned), (received, 0));
            let kept = (u64::from(count) - received).min(max as u64);
            assert_eq!(stats.dead_letters, kept, "round {round}: {stats:?}");
            assert_eq!(rx.dead_letters().count() as u64, kept);
        }
    });
}
