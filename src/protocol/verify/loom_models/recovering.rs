//! Recovery of a dead process, while other processes recover it too, or use what it has left.

use super::explore;
use super::heap_queue::{HeapQueue, LIMITS};
use super::peer::{Peer, Sent};
use super::sending::ONE;
use crate::protocol::SharedState;
use crate::protocol::ids::Position;
use crate::protocol::peers::{PeerState, Roles};
use crate::protocol::steps::receive::Receive;
use crate::protocol::steps::recover::{DeadPeer, Recovery, recover};
use crate::sync::loom_tools::thread;
use std::sync::Arc;

/// Attaches a process in table entry `number`. Returns it with the state of its entry.
fn attach(queue: &Arc<HeapQueue>, number: u16) -> (Peer, PeerState) {
    let peer = Peer::new(queue, number);
    let entry = queue.peer(peer.index).expect("the entry exists");
    let state = entry
        .attach(entry.load(), Roles::BOTH)
        .expect("the entry is Free");
    (peer, state)
}

/// Recovers a dead process. Returns whether this recovery freed its table entry.
fn repair(queue: &HeapQueue, victim: &Peer, state: PeerState) -> bool {
    let Some(dead) = DeadPeer::of(queue, victim.index, state) else {
        return false;
    };
    matches!(recover(queue, None, &dead), Ok(Recovery::Done(_)))
}

/// Does `Take`, and stops there.
fn take_and_stop(victim: &Peer) {
    let word = victim.queue.slot(Position(0));
    assert!(word.take(word.load(), victim.index).is_some());
}

/// Acknowledges all messages, and returns each with the number of its failed deliveries.
fn drain(peer: &Peer) -> Vec<(u64, u8)> {
    core::iter::from_fn(|| match peer.try_receive() {
        Receive::Message(held) => {
            let attempts = held.word().failed_deliveries();
            Some((peer.consume(held), attempts))
        }
        Receive::Empty | Receive::Closed => None,
    })
    .collect()
}

/// The dead process has taken one message without `Hold`, and offered another.
#[test]
fn two_recoverers_return_a_message_once() {
    explore("two recoverers", Some(2), || {
        let queue = HeapQueue::new(LIMITS, 2, 1);
        let (victim, state) = attach(&queue, 0);
        assert_eq!(victim.try_send(1), Sent::Accepted);
        take_and_stop(&victim);
        assert!(victim.prepare(2).is_some());
        let victim = Arc::new(victim);
        let theirs = Arc::clone(&victim);
        let other = thread::spawn(move || repair(&theirs.queue, &theirs, state));
        let mine = repair(&queue, &victim, state);
        let freed_by_other = other.join().expect("no panic");
        assert!(
            mine != freed_by_other,
            "exactly one of them frees the entry"
        );
        assert_eq!(drain(&Peer::new(&queue, 1)), [(1, 1)]);
        queue.assert_all_free(2 + 1);
    });
}

/// While the dead taker is recovered, another process sends and receives, and reuses its slot.
#[test]
fn recovery_and_a_process_that_laps_the_dead_taker_do_not_disturb_each_other() {
    explore(
        "one recoverer, one that laps the dead taker",
        Some(3),
        || {
            let queue = HeapQueue::new(ONE, 3, 1);
            let (victim, state) = attach(&queue, 0);
            let peer = Peer::new(&queue, 1);
            assert_eq!(peer.try_send(1), Sent::Accepted);
            take_and_stop(&victim);
            assert_eq!(peer.try_send(2), Sent::Accepted);
            let mut received = drain(&peer);
            let theirs = Arc::clone(&queue);
            let other = thread::spawn(move || assert!(repair(&theirs, &victim, state)));
            assert_eq!(peer.try_send(3), Sent::Accepted);
            other.join().expect("no panic");
            received.extend(drain(&peer));
            received.sort_unstable();
            assert_eq!(received, [(1, 1), (2, 0), (3, 0)]);
            queue.assert_all_free(3 + 1);
        },
    );
}

/// A message that the dead sender has sent is taken during its recovery (RECOVER-3).
#[test]
fn recovery_does_not_free_a_message_that_the_dead_sender_has_sent() {
    explore("one recoverer, one taker", Some(3), || {
        let queue = HeapQueue::new(LIMITS, 2, 1);
        let (victim, state) = attach(&queue, 0);
        assert_eq!(victim.try_send(1), Sent::Accepted);
        let taker = Peer::new(&queue, 1);
        let theirs = Arc::clone(&queue);
        let other = thread::spawn(move || assert!(repair(&theirs, &victim, state)));
        assert_eq!(drain(&taker), [(1, 0)]);
        other.join().expect("no panic");
        queue.assert_all_free(1);
    });
}
