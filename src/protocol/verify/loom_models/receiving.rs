//! Concurrent receivers, and returned messages.

use super::explore;
use super::heap_queue::{HeapQueue, LIMITS};
use super::peer::{Peer, Sent};
use crate::protocol::steps::receive::Receive;
use crate::sync::loom_tools::thread;
use crate::sync::{AtomicBool, Ordering};
use std::sync::Arc;

#[test]
fn two_receivers_share_two_messages() {
    explore("two receivers, two messages", None, || {
        let queue = HeapQueue::new(LIMITS, 2, 0);
        let (first, second) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        assert_eq!(first.try_send(1), Sent::Accepted);
        assert_eq!(first.try_send(2), Sent::Accepted);
        let one_of = |receiver: &Peer| match receiver.try_receive() {
            Receive::Message(held) => receiver.consume(held),
            other => panic!("{other:?}, although there is a message for each"),
        };
        let other = thread::spawn(move || one_of(&second));
        let mut messages = [one_of(&first), other.join().expect("no panic")];
        messages.sort_unstable();
        assert_eq!(messages, [1, 2]);
        queue.assert_all_free(2);
    });
}

#[test]
fn one_of_two_receivers_gets_the_only_message() {
    explore("two receivers, one message, one sender", Some(4), || {
        let queue = HeapQueue::new(LIMITS, 1, 0);
        let (first, second) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        let sender = Peer::new(&queue, 2);
        let other = thread::spawn(move || second.drain().0);
        let send = thread::spawn(move || assert_eq!(sender.try_send(1), Sent::Accepted));
        let mut messages = first.drain().0;
        messages.extend(other.join().expect("no panic"));
        send.join().expect("no panic");
        messages.extend(first.drain().0);
        assert_eq!(messages, [1]);
        queue.assert_all_free(1);
    });
}

/// Two messages are returned one after the other, while the receiver scans the blocks and clears the dirty bit
/// (RETURNED-2).
#[test]
fn no_returned_message_is_missed() {
    explore("two returns, one receiver asleep", Some(4), || {
        let queue = HeapQueue::new(LIMITS, 2, 0);
        let (holder, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        let held = [1, 2].map(|message| {
            assert_eq!(holder.try_send(message), Sent::Accepted);
            holder.receive().expect("just sent")
        });
        let other = thread::spawn(move || {
            held.into_iter()
                .for_each(|held| holder.return_message(held))
        });
        let mut messages = [(); 2].map(|()| {
            let held = receiver.receive().expect("no process closes the queue");
            assert_eq!(held.word().failed_deliveries(), 1);
            receiver.consume(held)
        });
        other.join().expect("no panic");
        messages.sort_unstable();
        assert_eq!(messages, [1, 2]);
        queue.assert_all_free(4);
    });
}

#[test]
fn a_returned_message_comes_before_newer_ones() {
    explore("one return, one newer message, one receiver", None, || {
        let queue = HeapQueue::new(LIMITS, 2, 0);
        let (holder, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        assert_eq!(holder.try_send(1), Sent::Accepted);
        let held = holder.receive().expect("just sent");
        assert_eq!(holder.try_send(2), Sent::Accepted);
        let is_back = Arc::new(AtomicBool::new(false));
        let set_back = Arc::clone(&is_back);
        let other = thread::spawn(move || {
            holder.return_message(held);
            set_back.store(true, Ordering::Release);
        });
        let was_back = is_back.load(Ordering::Acquire);
        let (mut messages, _) = receiver.drain();
        if was_back {
            assert_eq!(messages, [1, 2]);
        }
        other.join().expect("no panic");
        messages.extend(receiver.drain().0);
        messages.sort_unstable();
        assert_eq!(messages, [1, 2]);
        queue.assert_all_free(3);
    });
}

/// Each of two receivers returns its first message once. The message is never held by both.
#[test]
fn a_returned_message_goes_to_one_receiver() {
    explore("two receivers, one returned message", Some(4), || {
        let queue = HeapQueue::new(LIMITS, 1, 0);
        let (first, second) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        assert_eq!(first.try_send(1), Sent::Accepted);
        let held = first.receive().expect("just sent");
        first.return_message(held);
        let return_once = |receiver: &Peer| match receiver.try_receive() {
            Receive::Message(held) => {
                assert_eq!(receiver.read(&held), 1);
                receiver.return_message(held);
                1
            }
            Receive::Empty => 0,
            Receive::Closed => panic!("no process closes the queue"),
        };
        let other = thread::spawn(move || return_once(&second));
        let returns = 1 + return_once(&first) + other.join().expect("no panic");
        assert!((2..=3).contains(&returns));
        if returns == 3 {
            // The third delivery was the last.
            assert_eq!(first.drain(), (vec![], false));
        } else {
            assert_eq!(first.drain(), (vec![1], false));
            queue.assert_all_free(3);
        }
    });
}
