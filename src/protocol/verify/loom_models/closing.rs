//! A close concurrent with sends and receives.

use super::heap_queue::{HeapQueue, LIMITS};
use super::peer::{Peer, Sent};
use super::{explore, short_or_full};
use crate::protocol::SharedState;
use crate::protocol::steps::dead_letters;
use crate::protocol::steps::receive::Receive;
use crate::sync::loom_tools::thread;
use crate::sync::{AtomicBool, Ordering};
use std::sync::Arc;

/// Asserts that the receiver gets exactly the accepted messages, and that the queue is then closed for good.
fn assert_closed_after(accepted: &[u64], receiver: &Peer) {
    assert_eq!(receiver.drain(), (accepted.to_vec(), true));
    assert_eq!(receiver.try_send(99), Sent::Closed);
    assert_eq!(receiver.drain(), (vec![], true));
}

#[test]
fn exactly_the_messages_accepted_before_the_close_are_received() {
    explore("two sends, one close", Some(3), || {
        let queue = HeapQueue::new(LIMITS, 2, 0);
        let (sender, closer) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        let is_closed = Arc::new(AtomicBool::new(false));
        let set_closed = Arc::clone(&is_closed);
        let other = thread::spawn(move || {
            assert!(closer.close());
            set_closed.store(true, Ordering::Release);
        });
        let mut accepted = Vec::new();
        let mut over = false;
        for message in [1, 2] {
            let was_closed = is_closed.load(Ordering::Acquire);
            match sender.try_send(message) {
                Sent::Accepted if !was_closed && !over => accepted.push(message),
                Sent::Closed => over = true,
                sent => panic!("{sent:?}, closed {was_closed}, failed before: {over}"),
            }
        }
        other.join().expect("no panic");
        assert_closed_after(&accepted, &sender);
        queue.assert_all_free(3);
    });
}

#[test]
fn two_senders_and_a_closer_agree_on_the_end() {
    explore("two senders, one closer", short_or_full(1, 2), || {
        let queue = HeapQueue::new(LIMITS, 2, 0);
        let closer = Peer::new(&queue, 0);
        let senders = [1, 2].map(|index| {
            let sender = Peer::new(&queue, index);
            thread::spawn(move || (sender.try_send(index.into()) == Sent::Accepted, index))
        });
        assert!(closer.close());
        let mut accepted: Vec<u64> = senders
            .into_iter()
            .map(|sender| sender.join().expect("no panic"))
            .filter_map(|(is_accepted, index)| is_accepted.then_some(index.into()))
            .collect();
        let (mut received, closed) = closer.drain();
        received.sort_unstable();
        accepted.sort_unstable();
        assert_eq!((received, closed), (accepted, true));
        assert_closed_after(&[], &closer);
        queue.assert_all_free(3);
    });
}

#[test]
fn one_of_two_closers_is_the_first() {
    explore("two closers, full ring", Some(3), || {
        let queue = HeapQueue::new(LIMITS, 2, 0);
        let (first, second) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        assert_eq!(first.try_send(1), Sent::Accepted);
        let other = thread::spawn(move || second.close());
        let mine = first.close();
        assert!(mine ^ other.join().expect("no panic"));
        assert_closed_after(&[1], &first);
        queue.assert_all_free(2);
    });
}

/// Every process that sees the closing bit does the rest in the closer's place (LIFE-2).
#[test]
fn a_closer_that_stops_after_setting_the_bit_has_closed_the_queue() {
    explore("two sends, a closer that stops", None, || {
        let queue = HeapQueue::new(LIMITS, 2, 0);
        let sender = Peer::new(&queue, 0);
        let closing = Arc::clone(&queue);
        let other = thread::spawn(move || assert!(closing.lifecycle().begin_close()));
        let accepted: Vec<_> = [1, 2]
            .into_iter()
            .filter(|&message| sender.try_send(message) == Sent::Accepted)
            .collect();
        other.join().expect("no panic");
        assert_closed_after(&accepted, &sender);
        queue.assert_all_free(3);
    });
}

#[test]
fn a_close_wakes_a_sleeping_receiver() {
    explore("one receiver asleep, one closer", None, || {
        let queue = HeapQueue::new(LIMITS, 1, 0);
        let (receiver, closer) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        assert_eq!(closer.try_send(1), Sent::Accepted);
        let other = thread::spawn(move || assert!(closer.close()));
        let held = receiver.receive().expect("sent before the close");
        assert_eq!(receiver.consume(held), 1);
        assert_eq!(receiver.receive(), None);
        other.join().expect("no panic");
        queue.assert_all_free(1);
    });
}

#[test]
fn a_close_wakes_every_sleeping_receiver() {
    explore("two receivers asleep, one closer", Some(2), || {
        let queue = HeapQueue::new(LIMITS, 1, 0);
        let closer = Peer::new(&queue, 0);
        let receivers = [1, 2].map(|index| {
            let receiver = Peer::new(&queue, index);
            thread::spawn(move || assert_eq!(receiver.receive(), None))
        });
        assert!(closer.close());
        for receiver in receivers {
            receiver.join().expect("no panic");
        }
    });
}

#[test]
fn a_close_wakes_a_sleeping_sender() {
    explore("one sender asleep, one closer", Some(3), || {
        let queue = HeapQueue::new(super::sending::ONE, 2, 0);
        let (sender, closer) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        assert_eq!(sender.try_send(1), Sent::Accepted);
        let other = thread::spawn(move || assert!(closer.close()));
        assert_eq!(sender.send(2), Sent::Closed);
        other.join().expect("no panic");
        assert_closed_after(&[1], &sender);
        queue.assert_free();
    });
}

/// One receiver finds that the queue has ended, while another one returns a message. The message is received before the
/// end, otherwise it is a dead letter.
#[test]
fn no_message_is_received_after_closed() {
    explore("one return, two receivers, drained", Some(3), || {
        let queue = HeapQueue::new(LIMITS, 1, 0);
        let (holder, receiver) = (Peer::new(&queue, 0), Peer::new(&queue, 1));
        assert_eq!(holder.try_send(1), Sent::Accepted);
        let held = holder.receive().expect("just sent");
        assert!(holder.close());
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let other = thread::spawn(move || {
            holder.return_message(held);
            let was_over = is_over.load(Ordering::Acquire);
            let (messages, _) = holder.drain();
            assert!(!was_over || messages.is_empty(), "a message after the end");
            messages
        });
        let mut messages = Vec::new();
        match receiver.try_receive() {
            Receive::Message(held) => messages.push(receiver.consume(held)),
            Receive::Empty => {}
            Receive::Closed => {
                over.store(true, Ordering::Release);
                assert_eq!(receiver.try_receive(), Receive::Closed);
            }
        }
        messages.extend(other.join().expect("no panic"));
        let (rest, closed) = receiver.drain();
        messages.extend(rest);
        assert!(closed);
        for (index, letter) in dead_letters::list(&*queue) {
            let read =
                dead_letters::open(&*queue, receiver.index, index, letter).expect("still there");
            dead_letters::discard(&*queue, read).expect("no corruption");
            messages.push(1);
        }
        assert_eq!(messages, [1]);
        queue.assert_all_free(2);
    });
}
