//! Slots that are reused before their taker has recorded in the block that it holds the message.

use super::heap_queue::HeapQueue;
use super::peer::{Peer, Sent};
use super::sending::ONE;
use super::{explore, short_or_full};
use crate::protocol::SharedState;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::{BlockIndex, PeerIndex, Position};
use crate::protocol::ring::{SlotKind, SlotState};
use crate::protocol::steps::receive::Receive;
use crate::sync::loom_tools::thread;
use std::sync::Arc;

/// Does `Take`, and returns whether it succeeded. The taker stops there.
fn take_and_stop(queue: &HeapQueue, position: Position, full: SlotState, taker: PeerIndex) -> bool {
    queue.slot(position).take(full, taker).is_some()
}

fn kind_and_peer(queue: &HeapQueue, block: BlockIndex) -> (Option<BlockKind>, PeerIndex) {
    let word = queue.block(block).expect("the block exists").word.load();
    (word.kind(), word.peer())
}

#[test]
fn a_stopped_taker_is_recorded_in_the_block_before_its_slot_is_reused() {
    explore("a taker that stops, a process that laps it", None, || {
        let queue = HeapQueue::new(ONE, 3, 0);
        let peer = Peer::new(&queue, 0);
        let (start, stopped) = (Position(0), PeerIndex::new(1).expect("a small number"));
        assert_eq!(peer.try_send(1), Sent::Accepted);
        let full = queue.slot(start).load();
        let taking = Arc::clone(&queue);
        let other = thread::spawn(move || take_and_stop(&taking, start, full, stopped));
        let mut received = peer.drain().0;
        for message in [2, 3] {
            if peer.try_send(message) == Sent::Accepted && message == 2 {
                received.extend(peer.drain().0);
            }
        }
        let taken = other.join().expect("no panic");
        if taken && queue.slot(start).load().kind() == SlotKind::Full {
            assert_eq!(
                kind_and_peer(&queue, full.block()),
                (Some(BlockKind::Held), stopped)
            );
        }
        assert_eq!(taken, !received.contains(&1));
    });
}

/// A sender and a closer both find the slot as the stopped taker left it.
#[test]
fn two_helpers_record_the_taker_once() {
    explore("two helpers, one stopped taker", None, || {
        let queue = HeapQueue::new(ONE, 3, 0);
        let (peer, closer) = (Peer::new(&queue, 0), Peer::new(&queue, 2));
        let (start, stopped) = (Position(0), PeerIndex::new(1).expect("a small number"));
        assert_eq!(peer.try_send(1), Sent::Accepted);
        let full = queue.slot(start).load();
        assert!(take_and_stop(&queue, start, full, stopped));
        assert_eq!(peer.try_send(2), Sent::Accepted);
        assert_eq!(peer.drain(), (vec![2], false));
        let other = thread::spawn(move || assert!(closer.close()));
        let accepted = peer.try_send(3) == Sent::Accepted;
        other.join().expect("no panic");
        assert_eq!(
            kind_and_peer(&queue, full.block()),
            (Some(BlockKind::Held), stopped)
        );
        assert_eq!(
            peer.drain(),
            (if accepted { vec![3] } else { vec![] }, true)
        );
    });
}

/// While it is helped, the taker continues, acknowledges the message, and reuses its block for a message of its own.
#[test]
fn a_late_helper_does_not_change_the_next_message_of_the_block() {
    explore(
        "a taker that continues, a process that laps it",
        short_or_full(2, 3),
        || {
            let queue = HeapQueue::new(ONE, 2, 0);
            let (peer, taker) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
            assert_eq!(peer.try_send(1), Sent::Accepted);
            let other = thread::spawn(move || {
                let mut received = Vec::new();
                if let Receive::Message(held) = taker.try_receive() {
                    received.push(taker.consume(held));
                }
                let sent = (taker.try_send(4) == Sent::Accepted).then_some(4);
                (received, sent)
            });
            let mut sent = vec![1];
            let mut received = Vec::new();
            for message in [2, 3] {
                if peer.try_send(message) == Sent::Accepted {
                    sent.push(message);
                }
                if let Receive::Message(held) = peer.try_receive() {
                    received.push(peer.consume(held));
                }
            }
            let (theirs, message) = other.join().expect("no panic");
            sent.extend(message);
            received.extend(theirs);
            received.extend(peer.drain().0);
            received.sort_unstable();
            assert_eq!(received, sent);
            // A send may find neither block free, because it looks at one after the other.
            queue.assert_each_freed_once();
        },
    );
}

/// While it is helped, the taker continues, and its slot becomes the end of the queue.
#[test]
fn a_seal_may_overwrite_the_slot_of_a_running_taker() {
    explore(
        "a taker that continues, a closer that laps it",
        Some(4),
        || {
            let queue = HeapQueue::new(ONE, 2, 0);
            let (peer, taker) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
            assert_eq!(peer.try_send(1), Sent::Accepted);
            let other = thread::spawn(move || match taker.try_receive() {
                Receive::Message(held) => vec![taker.consume(held)],
                Receive::Empty | Receive::Closed => vec![],
            });
            let mut sent = vec![1];
            if peer.try_send(2) == Sent::Accepted {
                sent.push(2);
            }
            let mut received = peer.drain().0;
            assert!(peer.close());
            received.extend(other.join().expect("no panic"));
            let (rest, closed) = peer.drain();
            received.extend(rest);
            received.sort_unstable();
            assert_eq!((received, closed), (sent, true));
            queue.assert_all_free(2);
        },
    );
}
