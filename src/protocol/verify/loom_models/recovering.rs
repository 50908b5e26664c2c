//! Recovery of a dead process, while others recover it too, or go on with what it has left.

use super::explore;
use super::sending::ONE;
use crate::protocol::SharedState;
use crate::protocol::ids::Position;
use crate::protocol::peers::{PeerState, Roles};
use crate::protocol::steps::receive::Receive;
use crate::protocol::steps::recover::{DeadPeer, Recovery, recover};
use crate::protocol::verify::testing::{Heap, LIMITS, Peer, Sent};
use crate::sync::explorer::thread;
use std::sync::Arc;

/// The peer of row `number`, and the row's word.
fn attach(queue: &Arc<Heap>, number: u16) -> (Peer, PeerState) {
    let peer = Peer::new(queue, number);
    let row = queue.peer(peer.row).expect("it exists");
    let tenant = row.attach(row.load(), Roles::BOTH).expect("a free row");
    (peer, tenant)
}

/// Recover the tenant; whether this was the recovery that freed its row.
fn repair(queue: &Heap, victim: &Peer, tenant: PeerState) -> bool {
    let Some(dead) = DeadPeer::of(queue, victim.row, tenant) else {
        return false;
    };
    matches!(recover(queue, None, &dead), Ok(Recovery::Done(_)))
}

/// `Take` and no more.
fn take_and_stop(victim: &Peer) {
    let word = victim.queue.slot(Position(0));
    assert!(word.take(word.load(), victim.row).is_some());
}

/// The messages, each with its attempts, acknowledged.
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

/// The dead process has taken one message, without a note, and offers another.
#[test]
fn two_recoverers_return_a_message_once() {
    explore("two recoverers", Some(2), || {
        let queue = Heap::new(LIMITS, 2, 1);
        let (victim, tenant) = attach(&queue, 0);
        assert_eq!(victim.try_send(1), Sent::Accepted);
        take_and_stop(&victim);
        assert!(victim.prepare(2).is_some());
        let victim = Arc::new(victim);
        let theirs = Arc::clone(&victim);
        let other = thread::spawn(move || repair(&theirs.queue, &theirs, tenant));
        let mine = repair(&queue, &victim, tenant);
        let freed_by_other = other.join().expect("no panic");
        assert!(mine != freed_by_other, "one of them frees the row");
        assert_eq!(drain(&Peer::new(&queue, 1)), [(1, 1)]);
        queue.assert_all_free(2 + 1);
    });
}

/// A sender and receiver goes on while the dead process is recovered, and uses its slot again.
#[test]
fn a_peer_that_laps_the_dead_takes_nothing_from_it() {
    explore("one recoverer, one that laps the dead", Some(3), || {
        let queue = Heap::new(ONE, 3, 1);
        let (victim, tenant) = attach(&queue, 0);
        let peer = Peer::new(&queue, 1);
        assert_eq!(peer.try_send(1), Sent::Accepted);
        take_and_stop(&victim);
        assert_eq!(peer.try_send(2), Sent::Accepted);
        let mut received = drain(&peer);
        let theirs = Arc::clone(&queue);
        let other = thread::spawn(move || assert!(repair(&theirs, &victim, tenant)));
        assert_eq!(peer.try_send(3), Sent::Accepted);
        other.join().expect("no panic");
        received.extend(drain(&peer));
        received.sort_unstable();
        assert_eq!(received, [(1, 1), (2, 0), (3, 0)]);
        queue.assert_all_free(3 + 1);
    });
}

/// What a dead sender has sent is taken while it is recovered: it is not freed under the taker.
#[test]
fn a_taker_keeps_what_a_dead_sender_has_sent() {
    explore("one recoverer, one taker", Some(3), || {
        let queue = Heap::new(LIMITS, 2, 1);
        let (victim, tenant) = attach(&queue, 0);
        assert_eq!(victim.try_send(1), Sent::Accepted);
        let taker = Peer::new(&queue, 1);
        let theirs = Arc::clone(&queue);
        let other = thread::spawn(move || assert!(repair(&theirs, &victim, tenant)));
        assert_eq!(drain(&taker), [(1, 0)]);
        other.join().expect("no panic");
        queue.assert_all_free(1);
    });
}
