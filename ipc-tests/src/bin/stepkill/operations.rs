//! What victims do.
//!
//! Messages are numbers, sent in rising order. What a victim does before its operation it says before, so that only
//! what is in flight during the operation is uncertain.

use crate::{queue::Queue, victim::Victim};
use std::time::Duration;
use workring::{Options, inherit};

/// One operation, from the staging to the act.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// The end of the queue that the victim gets.
    pub(crate) given: Given,
    pub(crate) options: fn() -> Options,
    /// What the parent does with a new queue.
    pub(crate) stage: fn(&mut Queue),
    /// What the victim does first.
    pub(crate) prepare: fn(&mut Victim),
    /// What is done instruction by instruction.
    pub(crate) act: fn(&mut Victim),
    /// The messages that may be sent, taken or gone, or not, when the act is cut short.
    pub(crate) in_flight: &'static [u32],
    /// What ends the sleep of an act that waits. It may sleep once.
    pub(crate) relief: Option<fn(&mut Queue)>,
    /// The victim has the last sender.
    pub(crate) last_sender: bool,
    /// Whatever was not received may have been discarded if the queue turns out to be closed.
    pub(crate) cancels: bool,
    /// What somebody was doing who is dead when the act begins.
    pub(crate) corpse: Option<&'static Operation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    Sender,
    Receiver,
}

const SENDING: Operation = Operation {
    name: "send",
    given: Given::Sender,
    options: roomy,
    stage: |_| (),
    prepare: take_over_sender,
    act: |victim| victim.send(2),
    in_flight: &[],
    relief: None,
    last_sender: false,
    cancels: false,
    corpse: None,
};

const RECEIVING: Operation = Operation {
    given: Given::Receiver,
    stage: send_three,
    prepare: take_over_receiver,
    ..SENDING
};

pub(crate) const OPERATIONS: &[Operation] = &[
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
        name: "try-recv",
        prepare: take_over_and_take_one,
        act: |victim| {
            let message = victim.rx().try_recv().ok();
            victim.take(message);
        },
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
        name: "ack",
        prepare: take_over_and_lease,
        act: |victim| {
            let message = victim.leases.pop().map(workring::Lease::ack);
            victim.take(message);
        },
        in_flight: &[1],
        ..RECEIVING
    },
    Operation {
        name: "nack",
        prepare: take_over_and_lease,
        act: |victim| drop(victim.leases.pop()),
        ..RECEIVING
    },
    Operation {
        name: "nack-last",
        options: || roomy().attempts(1),
        prepare: take_over_and_lease,
        act: |victim| drop(victim.leases.pop()),
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
        act: |victim| {
            let message = victim.rx().try_recv().ok();
            victim.take(message);
        },
        in_flight: &[2],
        ..RECEIVING
    },
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
        name: "recv-empty",
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
        name: "cancel",
        stage: send_three,
        act: |victim| {
            victim.tx().cancel();
            victim.note("closed", 0);
        },
        cancels: true,
        ..SENDING
    },
    Operation {
        name: "reserve-commit",
        act: |victim| {
            let mut room = victim.tx().reserve(4).expect("room");
            room.copy_from_slice(&2_u32.to_le_bytes());
            if room.commit().is_ok() {
                victim.note("sent", 2);
            }
        },
        in_flight: &[2],
        ..SENDING
    },
    Operation {
        name: "reserve-drop",
        act: |victim| drop(victim.tx().reserve(4)),
        ..SENDING
    },
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
    Operation {
        name: "inherit",
        prepare: |_| (),
        act: take_over_sender,
        ..SENDING
    },
    RECOVERING,
];

/// The recovery of somebody who held two messages and had just let one be.
pub(crate) const RECOVERING: Operation = Operation {
    name: "recover",
    act: |victim| victim.rx().report_exit(victim.corpse),
    corpse: Some(&HOLDING),
    ..RECEIVING
};

const HOLDING: Operation = Operation {
    name: "hold",
    prepare: |victim| {
        take_over_and_lease(victim);
        lease(victim);
    },
    act: |_| (),
    ..RECEIVING
};

/// All that a child may be told to play.
pub(crate) fn named(name: &str) -> Option<&'static Operation> {
    OPERATIONS
        .iter()
        .chain([&HOLDING])
        .find(|operation| operation.name == name)
}

/// Waits of these queues sleep at once, and whoever wakes up was woken.
fn roomy() -> Options {
    Options::new(4)
        .spin(Duration::ZERO)
        .slice(Duration::from_secs(10))
        .max_message_len(128)
}

fn send_three(queue: &mut Queue) {
    (1..=3).for_each(|number| assert!(queue.send(number)));
}

fn fill(queue: &mut Queue) {
    (1..=4).for_each(|number| assert!(queue.send(number)));
}

/// Two dead letters, and a message that is alive.
fn bury_two(queue: &mut Queue) {
    send_three(queue);
    for _ in 0..6 {
        let leases = [queue.rx.lease(), queue.rx.lease()];
        drop(leases);
        if queue.rx.stats().dead_letters == 2 {
            return;
        }
    }
    panic!("two dead letters after three attempts each");
}

fn take_over_sender(victim: &mut Victim) {
    victim.tx = Some(inherit("queue").expect("a sender"));
}

fn take_over_receiver(victim: &mut Victim) {
    victim.rx = Some(inherit("queue").expect("a receiver"));
}

fn take_over_and_take_one(victim: &mut Victim) {
    take_over_receiver(victim);
    let message = victim.rx().try_recv().expect("a message");
    victim.take(Some(message));
}

fn take_over_and_lease(victim: &mut Victim) {
    take_over_receiver(victim);
    lease(victim);
}

fn lease(victim: &mut Victim) {
    if let Ok(lease) = victim.rx().try_lease() {
        victim.leases.push(lease);
    }
}

fn close(victim: &mut Victim) {
    victim.tx().close();
    victim.note("closed", 0);
}
