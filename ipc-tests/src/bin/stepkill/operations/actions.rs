//! What parents and victims do in the operations.

use crate::{message::Message, queue::Queue, victim::Victim};
use std::{
    mem,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use workring::{Handoff, Lease, Options, inherit, rendezvous};

/// The length of a message whose block gets memory when it is sent, and gives it back.
pub(super) const LARGE: usize = 70_000;
/// The length of a message that takes two cache lines of its cell.
pub(super) const TWO_LINES: usize = 90;
/// The length of a message that fits no cell.
pub(super) const LARGER_BLOCK: usize = 120;

/// Waits in this queue sleep at once, and do not end before they are woken. No operation takes memory for a class of
/// blocks: the look at the limits of the system is so long that only a sample of its instructions could be tried.
pub(super) fn capacity_4() -> Options {
    Options::new(4)
        .spin(Duration::ZERO)
        .liveness_interval(Duration::from_secs(10))
        .max_message_len(128)
        .preallocate(true)
}

/// The same with cells that have room for messages of two cache lines.
pub(super) fn cells_of_two_lines() -> Options {
    capacity_4().inline_len(TWO_LINES)
}

/// The same as `capacity_4` with a larger capacity, so that half of the blocks are in use during laps, and a wrong word
/// harms one.
pub(super) fn capacity_32() -> Options {
    Options::new(32)
        .spin(Duration::ZERO)
        .liveness_interval(Duration::from_secs(10))
        .max_message_len(128)
        .preallocate(true)
}

/// No message was sent, so that the first one takes memory for its class of blocks.
pub(super) fn without_memory() -> Options {
    capacity_4().max_message_len(1 << 20).preallocate(false)
}

pub(super) fn large_messages() -> Options {
    capacity_4().max_message_len(1 << 20)
}

pub(super) fn send_three_messages(queue: &mut Queue) {
    (1..=3).for_each(|number| assert!(queue.send(number)));
}

pub(super) fn send_three_of(queue: &mut Queue, length: usize) {
    (1..=3).for_each(|number| assert!(queue.send_message(Message { number, length })));
}

pub(super) fn send_batch_of_three(queue: &mut Queue) {
    queue.send_batch(1..=3);
}

/// Fills a queue of capacity 4.
pub(super) fn fill(queue: &mut Queue) {
    (1..=4).for_each(|number| assert!(queue.send(number)));
}

/// Makes two dead letters, and leaves a message in the queue.
pub(super) fn make_two_dead_letters(queue: &mut Queue) {
    send_three_messages(queue);
    for _ in 0..6 {
        let leases = [queue.rx.lease(), queue.rx.lease()];
        drop(leases);
        if queue.rx.stats().dead_letters == 2 {
            return;
        }
    }
    panic!("two dead letters after three deliveries each");
}

pub(super) fn attach_sender(victim: &mut Victim) {
    victim.tx = Some(Arc::new(inherit("queue").expect("a sender")));
}

pub(super) fn attach_receiver(victim: &mut Victim) {
    victim.rx = Some(Arc::new(inherit("queue").expect("a receiver")));
}

pub(super) fn attach_and_receive(victim: &mut Victim) {
    attach_receiver(victim);
    receive(victim);
}

pub(super) fn attach_and_lease(victim: &mut Victim) {
    attach_receiver(victim);
    lease(victim);
}

pub(super) fn receive(victim: &mut Victim) {
    let message = victim.rx().try_recv().ok();
    victim.report_received(message);
}

pub(super) fn receive_many(victim: &mut Victim, most: usize) {
    let mut buffer = mem::take(&mut victim.buffer);
    // An error leaves the buffer as it is.
    let _ = victim.rx().try_recv_many(&mut buffer, most);
    for message in buffer.drain(..) {
        victim.report_received(Some(message));
    }
}

pub(super) fn lease(victim: &mut Victim) {
    let lease = victim.rx().try_lease().map(Lease::into_owned);
    victim.leases.extend(lease);
}

pub(super) fn acknowledge(victim: &mut Victim) {
    let message = victim.leases.pop().map(Lease::ack);
    victim.report_received(message);
}

pub(super) fn return_lease(victim: &mut Victim) {
    drop(victim.leases.pop());
}

pub(super) fn send_many(victim: &mut Victim, numbers: &[u32]) {
    let messages = numbers.iter().copied().map(Message::small);
    if victim.tx().send_many(messages).is_ok() {
        for &number in numbers {
            victim.report("sent", number);
        }
    }
}

/// Attaches, waits for a message of another queue, and sends: so a block is prepared for the next message.
pub(super) fn attach_wait_and_send(victim: &mut Victim) {
    attach_sender(victim);
    let (_answers, answer) = workring::channel::<u32>(1).expect("a queue");
    answer.recv_timeout(Duration::ZERO).expect_err("no answer");
    victim.send(1);
}

/// Sends message 2, in place.
pub(super) fn reserve_and_commit(victim: &mut Victim, length: usize) {
    let mut room = victim.tx().reserve(length).expect("room");
    let (number, rest) = room.split_first_chunk_mut().expect("long enough");
    *number = 2_u32.to_le_bytes();
    Message { number: 2, length }.fill(rest);
    let sent = room.commit();
    drop(room);
    if sent.is_ok() {
        victim.report("sent", 2);
    }
}

/// Opens the oldest dead letter, and leaves it where it is.
pub(super) fn keep_dead_letter(victim: &mut Victim) {
    let dead_letter = victim.rx().dead_letters().next();
    drop(dead_letter);
}

pub(super) fn close(victim: &mut Victim) {
    victim.tx().close();
    victim.report("closed", 0);
}

/// Connects to the parent, which listens under the name that is otherwise the queue's.
pub(super) fn connect(victim: &mut Victim) {
    let deadline = Instant::now() + Duration::from_secs(200);
    let connection = rendezvous::connect(&victim.queue_name, deadline);
    victim.connection = Some(connection.expect("the parent listens"));
}

/// Takes the sender that the parent has given over the connection.
pub(super) fn take_given(victim: &mut Victim) {
    let connection = victim.connection.as_mut().expect("a connection");
    victim.tx = connection.try_take("queue").ok().map(Arc::new);
}

/// Gives the sender to the parent, which does not take it.
pub(super) fn give_to_parent(victim: &mut Victim) {
    let connection = victim.connection.as_ref().expect("a connection");
    connection
        .give("queue", victim.tx())
        .expect("the parent lives");
}

/// Makes a ticket for a child that is never started.
pub(super) fn make_ticket(victim: &mut Victim) {
    let handoff = Handoff::new().give("queue", victim.tx());
    drop(handoff);
}

/// Makes a ticket for a child that never uses it.
pub(super) fn give_to_child(victim: &mut Victim) {
    let handoff = Handoff::new().give("queue", victim.tx()).expect("give");
    let mut command = Command::new("/bin/true");
    let child = handoff.spawn(&mut command);
    child.and_then(|mut child| child.wait()).expect("a child");
}
