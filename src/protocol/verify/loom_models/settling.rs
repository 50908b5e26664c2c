//! Settled queues: the end comes only when every message is acknowledged or dead.

use super::{explore, short_or_full};
use crate::protocol::Limits;
use crate::protocol::steps::receive::Receive;
use crate::protocol::verify::testing::{Heap, LIMITS, Peer, Sent};
use crate::sync::explorer::thread;
use crate::sync::{AtomicBool, Ordering};
use std::sync::Arc;

const SETTLED: Limits = Limits {
    close_waits_for_leases: true,
    ..LIMITS
};

#[test]
fn the_end_waits_for_the_last_acknowledgement() {
    explore("one holder, one receiver asleep, settled", None, || {
        let queue = Heap::new(SETTLED, 1, 0);
        let (holder, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        assert_eq!(holder.try_send(1), Sent::Accepted);
        let held = holder.receive().expect("just sent");
        assert!(holder.close());
        let is_done = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&is_done);
        let other = thread::spawn(move || {
            done.store(true, Ordering::Relaxed);
            holder.consume(held);
        });
        assert_eq!(receiver.receive(), None);
        assert!(is_done.load(Ordering::Relaxed), "ended too early");
        other.join().expect("no panic");
        queue.assert_all_free(1);
    });
}

/// The acknowledgement does not see the close, or the closer's wake finds the receiver after it.
#[test]
fn a_close_during_the_last_acknowledgement_is_not_missed() {
    explore(
        "one holder, one closer, one receiver asleep",
        Some(2),
        || {
            let queue = Heap::new(SETTLED, 1, 0);
            let (holder, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
            let closer = Peer::new(&queue, 2);
            assert_eq!(holder.try_send(1), Sent::Accepted);
            let held = holder.receive().expect("just sent");
            let acknowledge = thread::spawn(move || holder.consume(held));
            let close = thread::spawn(move || assert!(closer.close()));
            assert_eq!(receiver.receive(), None);
            acknowledge.join().expect("no panic");
            close.join().expect("no panic");
            queue.assert_all_free(1);
        },
    );
}

#[test]
fn what_comes_back_after_the_close_is_handed_out_again() {
    explore("one return, one receiver asleep, settled", Some(3), || {
        let queue = Heap::new(SETTLED, 1, 0);
        let (holder, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        assert_eq!(holder.try_send(1), Sent::Accepted);
        let held = holder.receive().expect("just sent");
        assert!(holder.close());
        let other = thread::spawn(move || holder.give_back(held));
        let held = receiver.receive().expect("it must come back first");
        assert_eq!(receiver.consume(held), 1);
        assert_eq!(receiver.receive(), None);
        other.join().expect("no panic");
        queue.assert_all_free(2);
    });
}

/// The taker has not noted in the block that it holds the message when the other one looks whether anybody
/// does.
#[test]
fn a_taker_that_has_not_noted_it_yet_is_not_overlooked() {
    explore(
        "one taker that returns, one receiver asleep",
        short_or_full(2, 3),
        || {
            let queue = Heap::new(SETTLED, 1, 0);
            let (taker, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
            assert_eq!(taker.try_send(1), Sent::Accepted);
            assert!(taker.close());
            let other = thread::spawn(move || match taker.try_receive() {
                Receive::Message(held) => {
                    taker.give_back(held);
                    1
                }
                Receive::Empty | Receive::Closed => 0,
            });
            let held = receiver.receive().expect("somebody has to consume it");
            assert_eq!(receiver.consume(held), 1);
            assert_eq!(receiver.receive(), None);
            let returns = other.join().expect("no panic");
            queue.assert_all_free(1 + returns);
        },
    );
}
