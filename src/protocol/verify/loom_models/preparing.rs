//! Threads that share the room for the token of a prepared block.

use super::explore;
use super::heap_queue::{HeapQueue, LIMITS};
use super::peer::Peer;
use crate::mutants::{Mutant, with};
use crate::protocol::SharedState;
use crate::protocol::ids::Position;
use crate::protocol::steps::token_room::TokenRoom;
use crate::sync::loom_tools::thread;
use std::sync::Arc;

const PLACE: Position = Position(0);

/// Two threads take the token and give its block up. The other one then puts in a token of the same block.
fn take_twice(name: &str) {
    explore(name, None, || {
        let queue = HeapQueue::new(LIMITS, 1, 0);
        let (peer, same_peer) = (Peer::new(&queue, 0), Peer::new(&queue, 0));
        let room = Arc::new(TokenRoom::new());
        let block = peer.prepare(1).expect("a free block");
        room.put(PLACE, block).expect("room");
        let shared = Arc::clone(&room);
        let other = thread::spawn(move || {
            let Some((place, block)) = shared.take() else {
                return;
            };
            assert_eq!(place, PLACE);
            same_peer.withdraw(block);
            if let Some(again) = same_peer.prepare(2) {
                shared.put(PLACE, again).expect("room");
            }
        });
        if let Some((_, block)) = room.take() {
            let header = queue.block(block.index()).expect("a block");
            assert_eq!(
                header.word.load(),
                block.word(),
                "the token of an earlier message"
            );
            peer.withdraw(block);
        }
        other.join().expect("no panic");
        if let Some((_, block)) = room.take() {
            peer.withdraw(block);
        }
        queue.assert_each_freed_once();
    });
}

#[test]
fn of_two_threads_one_takes_the_token() {
    take_twice("two threads, one prepared block");
}

#[test]
#[should_panic(expected = "OwnedBlockChanged")]
fn without_the_exchange_two_threads_take_one_token() {
    with(Some(Mutant::TokenTakenTwice), || {
        take_twice("two threads take one token");
    });
}
