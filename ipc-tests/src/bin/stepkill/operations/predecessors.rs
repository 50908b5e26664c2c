//! Processes that are dead when another operation begins, each killed at a certain moment.

use super::{
    actions::{
        LARGE, attach_and_lease, attach_receiver, attach_sender, capacity_4, capacity_32, close,
        fill, large_messages, lease, make_two_dead_letters, receive, return_lease,
        send_batch_of_three, send_three_messages,
    },
    operation::{Operation, RECEIVING, SENDING},
};
use crate::tracer::Stop;
use std::mem;

/// Recovers a process that was killed while it held two messages.
pub(crate) const RECOVERING: Operation = Operation {
    name: "recover",
    act: |victim| victim.rx().report_exit(victim.predecessor),
    predecessor: Some(&HOLDING),
    ..RECEIVING
};

/// An operation at the slot of a message whose taker was killed right after it took it. The ring is one lap further,
/// and the death is not yet noticed.
pub(super) const AFTER_DEAD_TAKER: Operation = Operation {
    predecessor: Some(&TAKING),
    before_act: |queue| {
        // With the three messages that were there, this is one lap.
        queue.receive_all();
        for _ in 3..SMALLEST_RING {
            assert!(queue.send_fresh() && queue.receive().is_some());
        }
    },
    ..SENDING
};

/// The slots of the smallest ring.
const SMALLEST_RING: u32 = 1024;

pub(super) const PREDECESSORS: [&Operation; 8] = [
    &HOLDING,
    &HOLDING_BATCH,
    &TAKING,
    &RETURNING,
    &READING,
    &WRITING,
    &OFFERING,
    &CLOSING,
];

/// Killed while it holds two messages.
const HOLDING: Operation = Operation {
    name: "hold",
    prepare_victim: |victim| {
        attach_and_lease(victim);
        lease(victim);
    },
    act: |_| (),
    ..RECEIVING
};

/// Killed while it holds a batch, of which it has acknowledged the first message.
pub(super) const HOLDING_BATCH: Operation = Operation {
    name: "hold-batch",
    prepare_queue: send_batch_of_three,
    prepare_victim: |victim| {
        attach_receiver(victim);
        receive(victim);
        lease(victim);
    },
    act: |_| (),
    ..RECEIVING
};

/// Killed between `Take` and `Hold`: the slot says that the message is taken, and its block does not yet.
pub(super) const TAKING: Operation = Operation {
    name: "take",
    act: receive,
    dies_when: |queue, _| queue.rx.len() == 2,
    ..RECEIVING
};

/// Killed after `Return`, before it sets the queue's word for returned messages.
pub(super) const RETURNING: Operation = Operation {
    name: "return",
    prepare_victim: attach_and_lease,
    act: return_lease,
    dies_when: |queue, _| queue.rx.stats().returned == 1,
    ..RECEIVING
};

/// Killed while it reads a dead letter.
pub(super) const READING: Operation = Operation {
    name: "read",
    prepare_queue: make_two_dead_letters,
    prepare_victim: |victim| {
        attach_receiver(victim);
        mem::forget(victim.rx().dead_letters().next());
    },
    act: |_| (),
    ..RECEIVING
};

/// Killed after `Allocate`: it writes to two blocks, one of them a large one.
pub(super) const WRITING: Operation = Operation {
    name: "write",
    options: large_messages,
    prepare_victim: |victim| {
        attach_sender(victim);
        mem::forget(victim.tx().reserve(LARGE));
        mem::forget(victim.tx().reserve(4));
    },
    act: |_| (),
    ..SENDING
};

/// Killed after `Offer`, while it waits for room in the ring.
pub(super) const OFFERING: Operation = Operation {
    name: "offer",
    options: capacity_4,
    prepare_queue: fill,
    prepare_victim: attach_sender,
    act: |victim| victim.send(9),
    wake_up: Some(|_| ()),
    dies_when: |_, stop| stop == Stop::Asleep,
    ..SENDING
};

/// Killed after it has announced the close, before `Seal`.
pub(super) const CLOSING: Operation = Operation {
    name: "begin-to-close",
    options: capacity_32,
    prepare_queue: send_three_messages,
    act: close,
    dies_when: |queue, _| queue.rx.is_closed(),
    ..SENDING
};
