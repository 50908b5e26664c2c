//! All operations that can be chosen.

use super::{
    actions::{
        LARGE, LARGER_BLOCK, TWO_LINES, acknowledge, attach_and_lease, attach_and_receive,
        attach_receiver, attach_sender, attach_wait_and_send, capacity_4, capacity_32,
        cells_of_two_lines, close, connect, fill, give_to_child, give_to_parent, keep_dead_letter,
        large_messages, lease, make_ticket, make_two_dead_letters, receive, receive_many,
        reserve_and_commit, return_lease, send_batch_of_three, send_many, send_three_messages,
        send_three_of, take_given, without_memory,
    },
    futures::{
        DROP_RECV_ASYNC, RECV_ASYNC, RECV_ASYNC_AGAIN, RECV_ASYNC_PENDING, SEND_ASYNC,
        SEND_ASYNC_AGAIN,
    },
    operation::{Connected, GivenEnd, Meanwhile, Operation, RECEIVING, SENDING},
    predecessors::{self, AFTER_DEAD_TAKER, RECOVERING},
};
use crate::message::Message;
use std::{mem, sync::Arc};

/// Takes messages while a victim is stopped, and acknowledges them when the victim was continued.
pub(crate) const NEWCOMER: Operation = Operation {
    name: "newcomer",
    prepare_victim: |victim| {
        attach_receiver(victim);
        (0..2).for_each(|_| lease(victim));
    },
    act: |victim| {
        for lease in mem::take(&mut victim.leases) {
            let message = lease.ack();
            victim.report_received(Some(message));
        }
    },
    ..RECEIVING
};

/// Takes a message while a victim is stopped, and is killed.
pub(crate) const DYING_NEWCOMER: Operation = Operation {
    name: "dying-newcomer",
    prepare_victim: attach_and_lease,
    act: |_| (),
    ..RECEIVING
};

/// The numbers from 2 on: more than one batch.
#[allow(
    clippy::indexing_slicing,
    reason = "it runs at compile time, where a wrong index is an error"
)]
const MANY: [u32; 45] = {
    let mut many = [2; 45];
    let mut index = 1;
    while index < many.len() {
        many[index] = many[index - 1] + 1;
        index += 1;
    }
    many
};

pub(crate) const OPERATIONS: &[Operation] = &[
    // Attaching and detaching.
    Operation {
        name: "inherit",
        prepare_victim: |_| (),
        act: attach_sender,
        ..SENDING
    },
    Operation {
        name: "open",
        has_name: true,
        given_end: GivenEnd::None,
        prepare_victim: |_| (),
        act: |victim| victim.rx = workring::open(&victim.queue_name).ok().map(Arc::new),
        ..RECEIVING
    },
    Operation {
        name: "give",
        act: make_ticket,
        makes_ticket: true,
        ..SENDING
    },
    Operation {
        name: "give-to-child",
        act: give_to_child,
        makes_ticket: true,
        ..SENDING
    },
    Operation {
        name: "take-given",
        given_end: GivenEnd::None,
        connection: Connected::ParentGives,
        prepare_victim: connect,
        act: take_given,
        // The parent makes it, and it counts until the kernel has closed the victim's socket.
        makes_ticket: true,
        ..SENDING
    },
    Operation {
        name: "give-over-connection",
        connection: Connected::VictimGives,
        prepare_victim: |victim| {
            attach_sender(victim);
            connect(victim);
        },
        act: give_to_parent,
        makes_ticket: true,
        ..SENDING
    },
    Operation {
        name: "drop-sender",
        act: |victim| drop(victim.tx.take()),
        ..SENDING
    },
    Operation {
        name: "drop-last-sender",
        prepare_queue: send_three_messages,
        act: |victim| drop(victim.tx.take()),
        victim_has_last_sender: true,
        ..SENDING
    },
    Operation {
        name: "drop-receiver",
        act: |victim| drop(victim.rx.take()),
        ..RECEIVING
    },
    Operation {
        name: "drop-with-batch",
        prepare_queue: send_batch_of_three,
        prepare_victim: |victim| {
            attach_and_lease(victim);
            acknowledge(victim);
        },
        act: |victim| drop(victim.rx.take()),
        ..RECEIVING
    },
    // Sending.
    Operation {
        name: "send",
        prepare_victim: |victim| {
            attach_sender(victim);
            victim.send(1);
        },
        in_flight: &[2],
        ..SENDING
    },
    Operation {
        name: "send-prepared",
        prepare_victim: attach_wait_and_send,
        in_flight: &[2],
        ..SENDING
    },
    Operation {
        name: "reserve-prepared",
        prepare_victim: attach_wait_and_send,
        act: |victim| reserve_and_commit(victim, 4),
        in_flight: &[2],
        ..SENDING
    },
    Operation {
        name: "drop-prepared",
        prepare_victim: attach_wait_and_send,
        act: |victim| drop(victim.tx.take()),
        ..SENDING
    },
    Operation {
        name: "send-full",
        prepare_queue: fill,
        act: |victim| victim.send(9),
        in_flight: &[9],
        wake_up: Some(|queue| {
            queue.receive();
        }),
        ..SENDING
    },
    Operation {
        name: "send-large",
        options: large_messages,
        act: |victim| {
            victim.send_message(Message {
                number: 2,
                length: LARGE,
            });
        },
        in_flight: &[2],
        ..SENDING
    },
    Operation {
        name: "send-first-of-size",
        options: without_memory,
        act: |victim| {
            victim.send_message(Message {
                number: 2,
                length: 1000,
            });
        },
        in_flight: &[2],
        ..SENDING
    },
    Operation {
        name: "send-many",
        act: |victim| send_many(victim, &[2, 3, 4]),
        in_flight: &[2, 3, 4],
        ..SENDING
    },
    Operation {
        name: "send-two-batches",
        options: || capacity_4().max_message_len(1024),
        act: |victim| send_many(victim, &MANY),
        in_flight: &MANY,
        ..SENDING
    },
    Operation {
        name: "reserve-commit",
        act: |victim| reserve_and_commit(victim, 4),
        in_flight: &[2],
        ..SENDING
    },
    Operation {
        name: "reserve-drop",
        act: |victim| drop(victim.tx().reserve(4)),
        ..SENDING
    },
    Operation {
        name: "reserve-commit-large",
        options: large_messages,
        act: |victim| reserve_and_commit(victim, LARGE),
        in_flight: &[2],
        ..SENDING
    },
    Operation {
        name: "reserve-drop-large",
        options: large_messages,
        act: |victim| drop(victim.tx().reserve(LARGE)),
        ..SENDING
    },
    // Receiving.
    Operation {
        name: "try-recv",
        prepare_victim: attach_and_receive,
        act: receive,
        in_flight: &[2],
        ..RECEIVING
    },
    Operation {
        name: "recv-empty",
        options: capacity_4,
        prepare_queue: |_| (),
        act: |victim| {
            let message = victim.rx().recv().ok();
            victim.report_received(message);
        },
        in_flight: &[1],
        wake_up: Some(|queue| {
            if !queue.send_once(1) {
                queue.send_fresh();
            }
        }),
        ..RECEIVING
    },
    Operation {
        name: "recv-two-lines",
        options: cells_of_two_lines,
        prepare_queue: |queue| send_three_of(queue, TWO_LINES),
        prepare_victim: attach_and_receive,
        act: receive,
        in_flight: &[2],
        ..RECEIVING
    },
    Operation {
        name: "recv-larger-block",
        prepare_queue: |queue| send_three_of(queue, LARGER_BLOCK),
        prepare_victim: attach_and_receive,
        act: receive,
        in_flight: &[2],
        ..RECEIVING
    },
    Operation {
        name: "recv-large",
        options: large_messages,
        prepare_queue: |queue| {
            let length = LARGE;
            (1..=2).for_each(|number| assert!(queue.send_message(Message { number, length })));
        },
        prepare_victim: attach_and_receive,
        act: receive,
        in_flight: &[2],
        ..RECEIVING
    },
    Operation {
        name: "recv-many",
        act: |victim| receive_many(victim, 3),
        in_flight: &[1, 2, 3],
        ..RECEIVING
    },
    Operation {
        name: "recv-many-of-batch",
        prepare_queue: send_batch_of_three,
        act: |victim| receive_many(victim, 2),
        in_flight: &[1, 2],
        ..RECEIVING
    },
    Operation {
        name: "recv-whole-batch",
        prepare_queue: send_batch_of_three,
        act: |victim| receive_many(victim, 3),
        in_flight: &[1, 2, 3],
        ..RECEIVING
    },
    Operation {
        name: "recv-returned",
        prepare_queue: |queue| {
            send_three_messages(queue);
            let leases = [queue.rx.lease(), queue.rx.lease()];
            drop(leases);
        },
        prepare_victim: attach_and_receive,
        act: receive,
        in_flight: &[2],
        ..RECEIVING
    },
    Operation {
        name: "recv-after-returned",
        prepare_queue: |queue| {
            send_three_messages(queue);
            drop(queue.rx.lease());
        },
        prepare_victim: attach_and_receive,
        act: receive,
        in_flight: &[2],
        ..RECEIVING
    },
    Operation {
        name: "lease",
        prepare_victim: attach_and_receive,
        act: lease,
        ..RECEIVING
    },
    Operation {
        name: "lease-of-batch",
        prepare_queue: send_batch_of_three,
        act: lease,
        ..RECEIVING
    },
    Operation {
        name: "lease-after-close",
        options: || capacity_32().close_waits_for_leases(true),
        close_waits_for_leases: true,
        prepare_queue: |queue| assert!(queue.send(1)),
        act: lease,
        before_act: |queue| {
            queue.rx.close();
        },
        ..RECEIVING
    },
    // Futures.
    SEND_ASYNC,
    SEND_ASYNC_AGAIN,
    RECV_ASYNC,
    RECV_ASYNC_PENDING,
    RECV_ASYNC_AGAIN,
    DROP_RECV_ASYNC,
    // Acknowledging and returning.
    Operation {
        name: "ack",
        prepare_victim: attach_and_lease,
        act: acknowledge,
        in_flight: &[1],
        ..RECEIVING
    },
    Operation {
        name: "ack-two-lines",
        options: cells_of_two_lines,
        prepare_queue: |queue| send_three_of(queue, TWO_LINES),
        prepare_victim: attach_and_lease,
        act: acknowledge,
        in_flight: &[1],
        ..RECEIVING
    },
    Operation {
        name: "ack-larger-block",
        prepare_queue: |queue| send_three_of(queue, LARGER_BLOCK),
        prepare_victim: attach_and_lease,
        act: acknowledge,
        in_flight: &[1],
        ..RECEIVING
    },
    Operation {
        name: "ack-of-batch",
        prepare_queue: send_batch_of_three,
        prepare_victim: attach_and_lease,
        act: acknowledge,
        in_flight: &[1],
        ..RECEIVING
    },
    Operation {
        name: "nack",
        prepare_victim: attach_and_lease,
        act: return_lease,
        ..RECEIVING
    },
    Operation {
        name: "nack-last-delivery",
        options: || capacity_4().max_deliveries(1),
        prepare_victim: attach_and_lease,
        act: return_lease,
        ..RECEIVING
    },
    Operation {
        name: "nack-of-batch",
        prepare_queue: send_batch_of_three,
        prepare_victim: attach_and_lease,
        act: return_lease,
        ..RECEIVING
    },
    Operation {
        name: "nack-after-end",
        prepare_victim: attach_and_lease,
        act: return_lease,
        meanwhile: Meanwhile::Close,
        ..RECEIVING
    },
    // Closing.
    Operation {
        name: "close",
        act: close,
        ..SENDING
    },
    Operation {
        name: "close-full",
        prepare_queue: fill,
        act: close,
        ..SENDING
    },
    Operation {
        name: "cancel",
        prepare_queue: send_three_messages,
        act: |victim| {
            victim.tx().cancel();
            victim.report("closed", 0);
        },
        cancels: true,
        ..SENDING
    },
    // Dead letters.
    Operation {
        name: "dead-letter-keep",
        prepare_queue: make_two_dead_letters,
        act: keep_dead_letter,
        ..RECEIVING
    },
    Operation {
        name: "dead-letter-keep-then-close",
        options: || capacity_32().close_waits_for_leases(true),
        close_waits_for_leases: true,
        prepare_queue: make_two_dead_letters,
        act: keep_dead_letter,
        meanwhile: Meanwhile::Close,
        ..RECEIVING
    },
    Operation {
        name: "dead-letter-discard",
        prepare_queue: make_two_dead_letters,
        act: |victim| {
            if let Some(dead_letter) = victim.rx().dead_letters().next() {
                let message = dead_letter.decode().ok();
                dead_letter.discard();
                victim.report_received(message);
            }
        },
        in_flight: &[1],
        ..RECEIVING
    },
    // After a death.
    Operation {
        name: "send-after-dead-taker",
        act: |victim| victim.send(9),
        in_flight: &[9],
        ..AFTER_DEAD_TAKER
    },
    Operation {
        name: "close-after-dead-taker",
        act: close,
        ..AFTER_DEAD_TAKER
    },
    Operation {
        name: "recv-after-dead-returner",
        predecessor: Some(&predecessors::RETURNING),
        act: receive,
        in_flight: &[1, 2, 3],
        ..RECEIVING
    },
    RECOVERING,
    Operation {
        name: "recover-taker",
        predecessor: Some(&predecessors::TAKING),
        ..RECOVERING
    },
    Operation {
        name: "recover-batch",
        predecessor: Some(&predecessors::HOLDING_BATCH),
        ..RECOVERING
    },
    Operation {
        name: "recover-reader",
        predecessor: Some(&predecessors::READING),
        ..RECOVERING
    },
    Operation {
        name: "recover-writer",
        predecessor: Some(&predecessors::WRITING),
        ..RECOVERING
    },
    Operation {
        name: "recover-offerer",
        predecessor: Some(&predecessors::OFFERING),
        ..RECOVERING
    },
    Operation {
        name: "recover-closer",
        predecessor: Some(&predecessors::CLOSING),
        ..RECOVERING
    },
];
