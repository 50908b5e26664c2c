//! The last process of a role closes the queue when it leaves, and no other process does.

use super::explore;
use super::heap_queue::{HeapQueue, LIMITS};
use super::peer::Peer;
use crate::protocol::Limits;
use crate::protocol::SharedState;
use crate::protocol::ids::PeerIndex;
use crate::protocol::lifecycle::Arrival;
use crate::protocol::peers::{PeerState, Role, Roles};
use crate::protocol::steps::membership;
use crate::sync::loom_tools::thread;
use std::sync::Arc;

const ENDING: Limits = Limits {
    close_on_last_sender: true,
    ..LIMITS
};

fn peer(number: u16) -> PeerIndex {
    PeerIndex::new(number).expect("a small number")
}

/// Attaches a sender in table entry `number`.
fn arrive(queue: &HeapQueue, number: u16) -> PeerState {
    let word = queue.peer(peer(number)).expect("the entry exists");
    let roles = Roles::only(Role::Sender);
    let state = word.attach(word.load(), roles).expect("the entry is Free");
    let arrival = membership::arrive(queue, peer(number), state, roles).expect("no corruption");
    assert_eq!(arrival, Arrival::Counted);
    state
}

fn leave(queue: &HeapQueue, number: u16, state: PeerState) {
    let left = membership::leave(queue, peer(number), state, Role::Sender).expect("no corruption");
    membership::vacate(queue, peer(number), left).expect("no corruption");
}

#[test]
fn the_last_of_two_leaving_senders_closes_the_queue() {
    explore("two leavers", None, || {
        let queue = HeapQueue::new(ENDING, 1, 2);
        let (first, second) = (arrive(&queue, 0), arrive(&queue, 1));
        let leaving = Arc::clone(&queue);
        let other = thread::spawn(move || leave(&leaving, 1, second));
        leave(&queue, 0, first);
        other.join().expect("no panic");
        assert!(
            queue.lifecycle().load().is_closing(),
            "the queue is not closed"
        );
        assert_eq!(Peer::new(&queue, 3).drain(), (vec![], true));
    });
}

#[test]
fn the_last_leaving_sender_wakes_a_sleeping_receiver() {
    explore("two leavers, one receiver asleep", Some(3), || {
        let queue = HeapQueue::new(ENDING, 1, 2);
        let receiver = Peer::new(&queue, 3);
        let leavers =
            [0, 1]
                .map(|number| (number, arrive(&queue, number)))
                .map(|(number, state)| {
                    let queue = Arc::clone(&queue);
                    thread::spawn(move || leave(&queue, number, state))
                });
        assert_eq!(receiver.receive(), None);
        for leaver in leavers {
            leaver.join().expect("no panic");
        }
    });
}

/// While one sender leaves, another makes a ticket in an entry that the first may have looked at already, and then
/// leaves too. At every moment a process or a ticket has the role (LIFE-3).
#[test]
fn a_role_passed_on_while_another_process_leaves_keeps_the_queue_open() {
    explore("one leaver, one that passes on its role", None, || {
        let queue = HeapQueue::new(ENDING, 1, 3);
        let (leaver, giver) = (arrive(&queue, 2), arrive(&queue, 1));
        let leaving = Arc::clone(&queue);
        let other = thread::spawn(move || leave(&leaving, 2, leaver));
        let ticket = arrive(&queue, 0);
        leave(&queue, 1, giver);
        other.join().expect("no panic");
        assert!(!queue.lifecycle().load().is_closing());
        leave(&queue, 0, ticket);
        assert!(queue.lifecycle().load().is_closing());
    });
}

/// Either a late arrival is counted and the queue stays open, or it is too late and the queue is closed.
#[test]
fn a_late_arrival_is_counted_or_refused() {
    explore("one leaver, one late arrival", None, || {
        let queue = HeapQueue::new(ENDING, 1, 2);
        let last = arrive(&queue, 1);
        let leaving = Arc::clone(&queue);
        let other = thread::spawn(move || leave(&leaving, 1, last));
        let word = queue.peer(peer(0)).expect("the entry exists");
        let roles = Roles::only(Role::Sender);
        let ticket = word
            .issue_ticket(word.load(), roles)
            .expect("the entry is Free");
        let arrival = membership::arrive(&*queue, peer(0), ticket, roles).expect("no corruption");
        other.join().expect("no panic");
        let closing = queue.lifecycle().load().is_closing();
        assert_eq!(closing, arrival == Arrival::TooLate);
        if closing {
            assert!(
                !word.load().has_role(Role::Sender),
                "the entry still has the role"
            );
        }
    });
}
