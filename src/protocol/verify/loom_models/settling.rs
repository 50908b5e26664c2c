//! Settled queues end only when every message is acknowledged or a dead letter.

use super::heap_queue::{HeapQueue, LIMITS};
use super::peer::{Peer, Sent};
use super::{explore, short_or_full};
use crate::protocol::Limits;
use crate::protocol::steps::receive::Receive;
use crate::sync::loom_tools::thread;
use crate::sync::{AtomicBool, Ordering};
use std::sync::Arc;

const SETTLED: Limits = Limits {
    close_waits_for_leases: true,
    ..LIMITS
};

#[test]
fn the_end_waits_for_the_last_acknowledgement() {
    explore("one holder, one receiver asleep, settled", None, || {
        let queue = HeapQueue::new(SETTLED, 1, 0);
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
        assert!(is_done.load(Ordering::Relaxed), "the queue ended too early");
        other.join().expect("no panic");
        queue.assert_all_free(1);
    });
}

/// Either the acknowledgement sees the close, or the closer's wake comes after it.
#[test]
fn a_close_during_the_last_acknowledgement_is_not_missed() {
    explore(
        "one holder, one closer, one receiver asleep",
        Some(2),
        || {
            let queue = HeapQueue::new(SETTLED, 1, 0);
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
fn a_message_returned_after_the_close_is_delivered_again() {
    explore("one return, one receiver asleep, settled", Some(3), || {
        let queue = HeapQueue::new(SETTLED, 1, 0);
        let (holder, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        assert_eq!(holder.try_send(1), Sent::Accepted);
        let held = holder.receive().expect("just sent");
        assert!(holder.close());
        let other = thread::spawn(move || holder.return_message(held));
        let held = receiver
            .receive()
            .expect("the message is delivered again before the end");
        assert_eq!(receiver.consume(held), 1);
        assert_eq!(receiver.receive(), None);
        other.join().expect("no panic");
        queue.assert_all_free(2);
    });
}

/// The taker may not have done `Hold` yet when the other receiver scans for Held blocks.
#[test]
fn a_taker_that_has_not_recorded_its_message_is_not_missed() {
    explore(
        "one taker that returns, one receiver asleep",
        short_or_full(2, 3),
        || {
            let queue = HeapQueue::new(SETTLED, 1, 0);
            let (taker, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
            assert_eq!(taker.try_send(1), Sent::Accepted);
            assert!(taker.close());
            let other = thread::spawn(move || match taker.try_receive() {
                Receive::Message(held) => {
                    taker.return_message(held);
                    1
                }
                Receive::Empty | Receive::Closed => 0,
            });
            let held = receiver.receive().expect("the returned message");
            assert_eq!(receiver.consume(held), 1);
            assert_eq!(receiver.receive(), None);
            let returns = other.join().expect("no panic");
            queue.assert_all_free(1 + returns);
        },
    );
}
