//! C6: `cancel` discards what is left and returns how many messages that was. And the statistics that show it.

use ipc_tests::support::books::assert_adds_up;
use ipc_tests::support::{LIMIT, asleep, dismiss, hand_over, prompt, sleepy};
use ipc_tests::{
    guarded,
    rounds::{Rng, rounds, seed},
};
use std::{sync::Barrier, thread};
use workring::{
    Options, Receiver, RecvError, SendError, Sender, error::TryRecvError, queue::Stats,
};

/// Sends until the queue is closed. Returns how many messages were accepted.
fn send_all(tx: &Sender<u64>) -> u64 {
    let mut accepted = 0;
    while tx.send(accepted).is_ok() {
        accepted += 1;
    }
    accepted
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

fn assert_settled(stats: &Stats) {
    assert_adds_up(stats);
    assert_eq!((stats.queued, stats.held), (0, 0), "{stats:?}");
}

/// Accepted = acknowledged + discarded + dead letters, where each receiver counts what it acknowledged.
#[test]
fn the_counts_balance_when_a_busy_queue_is_cancelled() {
    guarded(LIMIT, || {
        let mut rng = Rng::with_seed(seed());
        for round in 0..rounds(200, 20_000) {
            let options = Options::new(rng.usize(1..=16))
                .max_deliveries(2)
                .max_leases(64);
            let options = options
                .close_waits_for_leases(rng.bool())
                .max_dead_letters(rng.usize(0..=8));
            let (tx, rx) = options.channel::<u64>().expect("a queue");
            let barrier = Barrier::new(5);
            let (accepted, acknowledged) = thread::scope(|scope| {
                let senders = [0; 2].map(|_| scope.spawn(|| (barrier.wait(), send_all(&tx)).1));
                let receivers = [0; 2].map(|_| {
                    let (rng, rx, barrier) = (rng.fork(), &rx, &barrier);
                    scope.spawn(move || (barrier.wait(), lease_all(rx, rng)).1)
                });
                barrier.wait();
                for _ in 0..rng.u32(0..2_000) {
                    std::hint::spin_loop();
                }
                rx.cancel();
                (
                    senders
                        .map(|thread| thread.join().expect("join"))
                        .iter()
                        .sum::<u64>(),
                    receivers
                        .map(|thread| thread.join().expect("join"))
                        .iter()
                        .sum::<u64>(),
                )
            });
            let stats = rx.stats();
            assert_settled(&stats);
            assert_eq!(
                (stats.accepted, stats.acknowledged),
                (accepted, acknowledged),
                "round {round}: {stats:?}"
            );
            assert_eq!(stats.returned, 0);
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Closed)));
        }
    });
}

#[test]
fn cancel_ends_blocked_receivers_and_returns_the_values_of_blocked_senders() {
    prompt(|| {
        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        tx.send(1).expect("room");
        let sender = {
            let tx = tx.clone();
            asleep(move || tx.send(2))
        };
        assert_eq!(rx.cancel(), 1);
        assert!(matches!(
            sender.join().expect("join"),
            Err(SendError::Closed(2))
        ));
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));

        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        let receiver = asleep(move || rx.recv());
        assert_eq!(tx.cancel(), 0);
        assert!(matches!(
            receiver.join().expect("join"),
            Err(RecvError::Closed)
        ));
    });
}

/// A cancelled queue does not wait for leases: a returned message would not be delivered.
#[test]
fn a_settled_queue_that_is_cancelled_does_not_wait_for_leases() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4)
            .close_waits_for_leases(true)
            .channel::<u32>()
            .expect("a queue");
        for number in 0..3 {
            tx.send(number).expect("room");
        }
        let (kept, returned) = (
            rx.lease().expect("a message"),
            rx.lease().expect("a message"),
        );
        assert_eq!(tx.cancel(), 1);
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        returned.nack();
        assert_eq!(kept.ack(), 0);
        let stats = rx.stats();
        assert_eq!(
            (stats.accepted, stats.acknowledged, stats.discarded),
            (3, 1, 2)
        );
        assert_settled(&stats);
    });
}

#[test]
fn the_backlog_of_a_closed_queue_can_be_cancelled() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        for number in 0..4 {
            tx.send(number).expect("room");
        }
        assert!(tx.close());
        assert_eq!(rx.recv().expect("a message"), 0);
        assert_eq!(rx.cancel(), 3);
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        assert_eq!(rx.cancel(), 0);
    });
}

/// The attached processes and what each of them holds, as this process and another one see it.
#[test]
fn statistics_name_each_process_and_what_it_holds() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut child = hand_over("sender", &[], |handoff| handoff.give("queue", &tx));
        assert_eq!(child.answer(), "ready");
        tx.send(7).expect("room");
        let lease = rx.lease().expect("a message");
        let stats = rx.stats();
        let mine = stats
            .peers
            .iter()
            .find(|peer| peer.pid == Some(std::process::id()))
            .expect("this process");
        assert_eq!((mine.sends, mine.receives, mine.holds), (true, true, 1));
        let its_pid = u32::try_from(child.pid().as_raw()).expect("a process id");
        let its = stats
            .peers
            .iter()
            .find(|peer| peer.pid == Some(its_pid))
            .expect("the child");
        assert_eq!((its.sends, its.receives, its.holds), (true, false, 0));
        assert_eq!(stats.peers.len(), 2);
        lease.ack();
        child.say("leave");
        assert_eq!(child.answer(), "left");
        assert_eq!(rx.stats().peers.len(), 1);
        dismiss(child);
    });
}
