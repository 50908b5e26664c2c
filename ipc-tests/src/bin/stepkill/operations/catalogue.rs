//! All operations.

use super::{
    Given, LARGE, Meanwhile, Operation, RECEIVING, RECOVERING, SENDING, acknowledge, bury_two,
    close,
    corpses::{self, OVER_A_TAKER},
    fill, give_back, give_to_a_child, large, lease, make_a_ticket, reserve_and_commit, roomy,
    send_batch, send_many, send_three, take_many, take_one, take_over_and_lease,
    take_over_and_take_one, take_over_sender, wide,
};
use crate::queue::Message;

/// Two batches.
#[allow(
    clippy::indexing_slicing,
    reason = "the compiler does it, and would say so"
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
    // Coming and going.
    Operation {
        name: "inherit",
        prepare: |_| (),
        act: take_over_sender,
        ..SENDING
    },
    Operation {
        name: "open",
        named: true,
        given: Given::Nothing,
        prepare: |_| (),
        act: |victim| victim.rx = workring::open(&victim.name).ok(),
        ..RECEIVING
    },
    Operation {
        name: "give",
        act: make_a_ticket,
        gives: true,
        ..SENDING
    },
    Operation {
        name: "give-to-child",
        act: give_to_a_child,
        gives: true,
        ..SENDING
    },
    Operation {
        name: "drop-sender",
        act: |victim| drop(victim.tx.take()),
        ..SENDING
    },
    Operation {
        name: "drop-last-sender",
        stage: send_three,
        act: |victim| drop(victim.tx.take()),
        last_sender: true,
        ..SENDING
    },
    Operation {
        name: "drop-receiver",
        act: |victim| drop(victim.rx.take()),
        ..RECEIVING
    },
    Operation {
        name: "drop-with-batch",
        stage: send_batch,
        prepare: |victim| {
            take_over_and_lease(victim);
            acknowledge(victim);
        },
        act: |victim| drop(victim.rx.take()),
        ..RECEIVING
    },
    // Sending.
    Operation {
        name: "send",
        prepare: |victim| {
            take_over_sender(victim);
            victim.send(1);
        },
        in_flight: &[2],
        ..SENDING
    },
    Operation {
        name: "send-full",
        stage: fill,
        act: |victim| victim.send(9),
        in_flight: &[9],
        relief: Some(|queue| {
            queue.receive();
        }),
        ..SENDING
    },
    Operation {
        name: "send-large",
        options: large,
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
        name: "send-many",
        act: |victim| send_many(victim, &[2, 3, 4]),
        in_flight: &[2, 3, 4],
        ..SENDING
    },
    Operation {
        name: "send-two-batches",
        options: || roomy().max_message_len(1024),
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
        options: large,
        act: |victim| reserve_and_commit(victim, LARGE),
        in_flight: &[2],
        ..SENDING
    },
    Operation {
        name: "reserve-drop-large",
        options: large,
        act: |victim| drop(victim.tx().reserve(LARGE)),
        ..SENDING
    },
    // Receiving.
    Operation {
        name: "try-recv",
        prepare: take_over_and_take_one,
        act: take_one,
        in_flight: &[2],
        ..RECEIVING
    },
    Operation {
        name: "recv-empty",
        options: roomy,
        stage: |_| (),
        act: |victim| {
            let message = victim.rx().recv().ok();
            victim.take(message);
        },
        in_flight: &[1],
        relief: Some(|queue| {
            if !queue.send_once(1) {
                queue.send_fresh();
            }
        }),
        ..RECEIVING
    },
    Operation {
        name: "recv-large",
        options: large,
        stage: |queue| {
            let length = LARGE;
            (1..=2).for_each(|number| assert!(queue.send_message(Message { number, length })));
        },
        prepare: take_over_and_take_one,
        act: take_one,
        in_flight: &[2],
        ..RECEIVING
    },
    Operation {
        name: "recv-many",
        act: |victim| take_many(victim, 3),
        in_flight: &[1, 2, 3],
        ..RECEIVING
    },
    Operation {
        name: "recv-many-of-batch",
        stage: send_batch,
        act: |victim| take_many(victim, 2),
        in_flight: &[1, 2],
        ..RECEIVING
    },
    Operation {
        name: "recv-whole-batch",
        stage: send_batch,
        act: |victim| take_many(victim, 3),
        in_flight: &[1, 2, 3],
        ..RECEIVING
    },
    Operation {
        name: "recv-returned",
        stage: |queue| {
            send_three(queue);
            let leases = [queue.rx.lease(), queue.rx.lease()];
            drop(leases);
        },
        prepare: take_over_and_take_one,
        act: take_one,
        in_flight: &[2],
        ..RECEIVING
    },
    Operation {
        name: "recv-after-returned",
        stage: |queue| {
            send_three(queue);
            drop(queue.rx.lease());
        },
        prepare: take_over_and_take_one,
        act: take_one,
        in_flight: &[2],
        ..RECEIVING
    },
    Operation {
        name: "lease",
        prepare: take_over_and_take_one,
        act: lease,
        ..RECEIVING
    },
    Operation {
        name: "lease-of-batch",
        stage: send_batch,
        act: lease,
        ..RECEIVING
    },
    Operation {
        name: "lease-settled",
        options: || wide().close_waits_for_leases(true),
        settled: true,
        stage: |queue| assert!(queue.send(1)),
        act: lease,
        bridge: |queue| {
            queue.rx.close();
        },
        ..RECEIVING
    },
    // Settling.
    Operation {
        name: "ack",
        prepare: take_over_and_lease,
        act: acknowledge,
        in_flight: &[1],
        ..RECEIVING
    },
    Operation {
        name: "ack-of-batch",
        stage: send_batch,
        prepare: take_over_and_lease,
        act: acknowledge,
        in_flight: &[1],
        ..RECEIVING
    },
    Operation {
        name: "nack",
        prepare: take_over_and_lease,
        act: give_back,
        ..RECEIVING
    },
    Operation {
        name: "nack-last",
        options: || roomy().max_deliveries(1),
        prepare: take_over_and_lease,
        act: give_back,
        ..RECEIVING
    },
    Operation {
        name: "nack-of-batch",
        stage: send_batch,
        prepare: take_over_and_lease,
        act: give_back,
        ..RECEIVING
    },
    Operation {
        name: "nack-after-end",
        prepare: take_over_and_lease,
        act: give_back,
        meanwhile: Meanwhile::Close,
        ..RECEIVING
    },
    // The end.
    Operation {
        name: "close",
        act: close,
        ..SENDING
    },
    Operation {
        name: "close-full",
        stage: fill,
        act: close,
        ..SENDING
    },
    Operation {
        name: "cancel",
        stage: send_three,
        act: |victim| {
            victim.tx().cancel();
            victim.note("closed", 0);
        },
        cancels: true,
        ..SENDING
    },
    // Dead letters.
    Operation {
        name: "letter-keep",
        stage: bury_two,
        act: |victim| {
            let letter = victim.rx().dead_letters().next();
            drop(letter);
        },
        ..RECEIVING
    },
    Operation {
        name: "letter-keep-settled",
        options: || wide().close_waits_for_leases(true),
        settled: true,
        stage: bury_two,
        act: |victim| {
            let letter = victim.rx().dead_letters().next();
            drop(letter);
        },
        meanwhile: Meanwhile::Close,
        ..RECEIVING
    },
    Operation {
        name: "letter-discard",
        stage: bury_two,
        act: |victim| {
            if let Some(letter) = victim.rx().dead_letters().next() {
                let number = letter.decode().ok();
                letter.discard();
                victim.take(number);
            }
        },
        in_flight: &[1],
        ..RECEIVING
    },
    // After a death.
    Operation {
        name: "send-over-taker",
        act: |victim| victim.send(9),
        in_flight: &[9],
        ..OVER_A_TAKER
    },
    Operation {
        name: "close-over-taker",
        act: close,
        ..OVER_A_TAKER
    },
    Operation {
        name: "recv-unsaid",
        corpse: Some(&corpses::RETURNING),
        act: take_one,
        in_flight: &[1, 2, 3],
        ..RECEIVING
    },
    RECOVERING,
    Operation {
        name: "recover-taker",
        corpse: Some(&corpses::TAKING),
        ..RECOVERING
    },
    Operation {
        name: "recover-batch",
        corpse: Some(&corpses::HOLDING_A_BATCH),
        ..RECOVERING
    },
    Operation {
        name: "recover-reader",
        corpse: Some(&corpses::READING),
        ..RECOVERING
    },
    Operation {
        name: "recover-filler",
        corpse: Some(&corpses::FILLING),
        ..RECOVERING
    },
    Operation {
        name: "recover-offerer",
        corpse: Some(&corpses::OFFERING),
        ..RECOVERING
    },
    Operation {
        name: "recover-closer",
        corpse: Some(&corpses::CLOSING),
        ..RECOVERING
    },
];
