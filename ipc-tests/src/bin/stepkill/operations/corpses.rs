//! Those who are dead when an operation begins, each at a certain moment.

use super::{
    Operation, RECEIVING, SENDING, close, fill, give_back, large, lease, roomy, send_batch,
    take_one, take_over_and_lease, take_over_receiver, take_over_sender, wide,
};
use crate::tracer::Halt;
use std::mem;

/// The recovery of somebody who held two messages and had just let one be.
pub(crate) const RECOVERING: Operation = Operation {
    name: "recover",
    act: |victim| victim.rx().report_exit(victim.corpse),
    corpse: Some(&HOLDING),
    ..RECEIVING
};

/// An operation at the slot that somebody has emptied who died right after, a lap later, when nobody has noticed.
pub(super) const OVER_A_TAKER: Operation = Operation {
    corpse: Some(&TAKING),
    bridge: |queue| {
        // The slots of the three messages that there were, and so many more, make one lap.
        while queue.receive().is_some() {}
        for _ in 3..SMALLEST_RING {
            assert!(queue.send_fresh() && queue.receive().is_some());
        }
    },
    ..SENDING
};

/// How many slots a ring has at least.
const SMALLEST_RING: u32 = 1024;

pub(super) const CORPSES: [&Operation; 8] = [
    &HOLDING,
    &HOLDING_A_BATCH,
    &TAKING,
    &RETURNING,
    &READING,
    &FILLING,
    &OFFERING,
    &CLOSING,
];

const HOLDING: Operation = Operation {
    name: "hold",
    prepare: |victim| {
        take_over_and_lease(victim);
        lease(victim);
    },
    act: |_| (),
    ..RECEIVING
};

/// The first message of which is acknowledged.
pub(super) const HOLDING_A_BATCH: Operation = Operation {
    name: "hold-batch",
    stage: send_batch,
    prepare: |victim| {
        take_over_receiver(victim);
        take_one(victim);
        lease(victim);
    },
    act: |_| (),
    ..RECEIVING
};

/// Between `Take` and `Hold`: the message is taken, and its block does not know it.
pub(super) const TAKING: Operation = Operation {
    name: "take",
    act: take_one,
    dies: |queue, _| queue.rx.len() == 2,
    ..RECEIVING
};

/// Between `Return` and the word that says so.
pub(super) const RETURNING: Operation = Operation {
    name: "return",
    prepare: take_over_and_lease,
    act: give_back,
    dies: |queue, _| queue.rx.stats().returned == 1,
    ..RECEIVING
};

pub(super) const READING: Operation = Operation {
    name: "read",
    stage: super::bury_two,
    prepare: |victim| {
        take_over_receiver(victim);
        mem::forget(victim.rx().dead_letters().next());
    },
    act: |_| (),
    ..RECEIVING
};

/// After `Allocate`: it fills a block, of those whose memory comes and goes.
pub(super) const FILLING: Operation = Operation {
    name: "fill",
    options: large,
    prepare: |victim| {
        take_over_sender(victim);
        mem::forget(victim.tx().reserve(super::LARGE));
        mem::forget(victim.tx().reserve(4));
    },
    act: |_| (),
    ..SENDING
};

/// After `Offer`: its block is offered, and there is no room.
pub(super) const OFFERING: Operation = Operation {
    name: "offer",
    options: roomy,
    stage: fill,
    prepare: take_over_sender,
    act: |victim| victim.send(9),
    relief: Some(|_| ()),
    dies: |_, halt| halt == Halt::Asleep,
    ..SENDING
};

/// Between the bit that says so and `Seal`.
pub(super) const CLOSING: Operation = Operation {
    name: "begin-to-close",
    options: wide,
    stage: super::send_three,
    act: close,
    dies: |queue, _| queue.rx.is_closed(),
    ..SENDING
};
