//! Operations with the futures of a queue. The victims poll them themselves, without a runtime.

use super::{
    actions::{attach_and_receive, attach_receiver, attach_sender, capacity_4, fill},
    operation::{Operation, RECEIVING, SENDING},
};
use crate::{message::Message, victim::Victim};
use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

pub(super) const SEND_ASYNC: Operation = Operation {
    name: "send-async",
    act: |victim| send_async(victim, 2),
    in_flight: &[2],
    ..SENDING
};

/// Polled when the queue was full; now there is room.
pub(super) const SEND_ASYNC_AGAIN: Operation = Operation {
    name: "send-async-again",
    prepare_queue: fill,
    prepare_victim: |victim| wait_for_room(victim, 9),
    before_act: |queue| {
        queue.receive();
    },
    act: poll_again,
    in_flight: &[9],
    ..SENDING
};

pub(super) const RECV_ASYNC: Operation = Operation {
    name: "recv-async",
    prepare_victim: attach_and_receive,
    act: receive_async,
    in_flight: &[2],
    ..RECEIVING
};

/// Its poll starts the thread of the reactor.
pub(super) const RECV_ASYNC_PENDING: Operation = Operation {
    name: "recv-async-pending",
    options: capacity_4,
    prepare_queue: |_| (),
    act: receive_async,
    ..RECEIVING
};

/// Polled when the queue was empty; now there is a message.
pub(super) const RECV_ASYNC_AGAIN: Operation = Operation {
    name: "recv-async-again",
    prepare_queue: |_| (),
    prepare_victim: wait_for_message,
    before_act: |queue| assert!(queue.send(1)),
    act: poll_again,
    in_flight: &[1],
    ..RECEIVING
};

/// Polled when the queue was empty, and dropped when there is a message, whose wake-up it must pass on.
pub(super) const DROP_RECV_ASYNC: Operation = Operation {
    name: "drop-recv-async",
    prepare_queue: |_| (),
    prepare_victim: wait_for_message,
    before_act: |queue| assert!(queue.send(1)),
    act: drop_kept,
    ..RECEIVING
};

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a new future once, and drops it.
fn receive_async(victim: &mut Victim) {
    let polled = poll(pin!(victim.rx().recv_async()));
    if let Poll::Ready(received) = polled {
        victim.report_received(received.ok());
    }
}

/// Polls a new future once, and drops it.
fn send_async(victim: &mut Victim, number: u32) {
    let message = Message::small(number);
    let polled = poll(pin!(victim.tx().send_async(message)));
    if matches!(polled, Poll::Ready(Ok(()))) {
        victim.report("sent", number);
    }
}

/// Begins to wait for a message, and keeps the future.
fn wait_for_message(victim: &mut Victim) {
    attach_receiver(victim);
    let rx = Arc::clone(victim.rx.as_ref().expect("a receiver"));
    victim.pending = Some(Box::pin(async move {
        let message = rx.recv_async().await.ok()?;
        Some(("received", message.number))
    }));
    assert_eq!(poll_kept(victim), Poll::Pending, "the queue is empty");
}

/// Begins to wait for room for this message, and keeps the future.
fn wait_for_room(victim: &mut Victim, number: u32) {
    attach_sender(victim);
    let tx = Arc::clone(victim.tx.as_ref().expect("a sender"));
    victim.pending = Some(Box::pin(async move {
        let message = Message::small(number);
        tx.send_async(message).await.ok()?;
        Some(("sent", number))
    }));
    assert_eq!(poll_kept(victim), Poll::Pending, "the queue is full");
}

fn poll_kept(victim: &mut Victim) -> Poll<Option<(&'static str, u32)>> {
    let future = victim.pending.as_mut().expect("a future");
    poll(future.as_mut())
}

/// Polls the future that was kept, once.
fn poll_again(victim: &mut Victim) {
    if let Poll::Ready(Some((verb, number))) = poll_kept(victim) {
        victim.report(verb, number);
    }
}

/// Drops the future that was kept.
fn drop_kept(victim: &mut Victim) {
    drop(victim.pending.take());
}
