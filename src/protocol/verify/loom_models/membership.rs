//! The end of a side: the last one to leave closes the queue, and nobody else does.

use super::explore;
use crate::protocol::Limits;
use crate::protocol::SharedState;
use crate::protocol::ids::PeerIndex;
use crate::protocol::lifecycle::Arrival;
use crate::protocol::peers::{PeerState, Role, Roles};
use crate::protocol::steps::membership;
use crate::protocol::verify::testing::{Heap, LIMITS, Peer};
use crate::sync::explorer::thread;
use std::sync::Arc;

const ENDING: Limits = Limits {
    close_on_last_sender: true,
    ..LIMITS
};

fn row(number: u16) -> PeerIndex {
    PeerIndex::new(number).expect("a small number")
}

/// A process in row `number` that can send.
fn arrive(queue: &Heap, number: u16) -> PeerState {
    let word = queue.peer(row(number)).expect("it exists");
    let roles = Roles::only(Role::Sender);
    let tenant = word.attach(word.load(), roles).expect("a free row");
    let arrival = membership::arrive(queue, row(number), tenant, roles).expect("sound words");
    assert_eq!(arrival, Arrival::Counted);
    tenant
}

fn leave(queue: &Heap, number: u16, tenant: PeerState) {
    let left = membership::leave(queue, row(number), tenant, Role::Sender).expect("sound words");
    membership::vacate(queue, row(number), left).expect("sound words");
}

#[test]
fn of_two_last_senders_one_closes_the_queue() {
    explore("two leavers", None, || {
        let queue = Heap::new(ENDING, 1, 2);
        let (first, second) = (arrive(&queue, 0), arrive(&queue, 1));
        let leaving = Arc::clone(&queue);
        let other = thread::spawn(move || leave(&leaving, 1, second));
        leave(&queue, 0, first);
        other.join().expect("no panic");
        assert!(queue.lifecycle().load().is_closing(), "nobody closed it");
        assert_eq!(Peer::new(&queue, 3).drain(), (vec![], true));
    });
}

#[test]
fn the_last_sender_wakes_a_receiver_that_sleeps() {
    explore("two leavers, one receiver asleep", Some(3), || {
        let queue = Heap::new(ENDING, 1, 2);
        let receiver = Peer::new(&queue, 3);
        let leavers =
            [0, 1]
                .map(|number| (number, arrive(&queue, number)))
                .map(|(number, tenant)| {
                    let queue = Arc::clone(&queue);
                    thread::spawn(move || leave(&queue, number, tenant))
                });
        assert_eq!(receiver.receive(), None);
        for leaver in leavers {
            leaver.join().expect("no panic");
        }
    });
}

/// While one sender leaves, another makes a ticket in a row that the first may have looked at already, and
/// then leaves too: at every moment somebody has the role.
#[test]
fn a_role_that_is_handed_on_meanwhile_keeps_the_queue_open() {
    explore("one leaver, one that hands on its role", None, || {
        let queue = Heap::new(ENDING, 1, 3);
        let (leaver, giver) = (arrive(&queue, 2), arrive(&queue, 1));
        let leaving = Arc::clone(&queue);
        let other = thread::spawn(move || leave(&leaving, 2, leaver));
        let heir = arrive(&queue, 0);
        leave(&queue, 1, giver);
        other.join().expect("no panic");
        assert!(!queue.lifecycle().load().is_closing());
        leave(&queue, 0, heir);
        assert!(queue.lifecycle().load().is_closing());
    });
}

/// A late comer is counted, and then the queue stays open, or it is too late, and then the queue is closed.
#[test]
fn a_late_comer_is_counted_or_refused() {
    explore("one leaver, one late comer", None, || {
        let queue = Heap::new(ENDING, 1, 2);
        let last = arrive(&queue, 1);
        let leaving = Arc::clone(&queue);
        let other = thread::spawn(move || leave(&leaving, 1, last));
        let word = queue.peer(row(0)).expect("it exists");
        let roles = Roles::only(Role::Sender);
        let ticket = word.issue_ticket(word.load(), roles).expect("a free row");
        let arrival = membership::arrive(&*queue, row(0), ticket, roles).expect("sound words");
        other.join().expect("no panic");
        let closing = queue.lifecycle().load().is_closing();
        assert_eq!(closing, arrival == Arrival::TooLate);
        if closing {
            assert!(
                !word.load().has_role(Role::Sender),
                "the row was not undone"
            );
        }
    });
}
