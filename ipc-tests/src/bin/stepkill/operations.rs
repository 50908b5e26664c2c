//! What victims do, and what those have done whom they find dead.
//!
//! Messages are numbers, sent in rising order. What a victim does before its operation it says before, so that only
//! what is in flight during the operation is uncertain.

use crate::{
    queue::{Message, Queue},
    tracer::Halt,
    victim::Victim,
};
use std::{mem, process::Command, time::Duration};
use workring::{Handoff, Options, inherit};

#[path = "operations/catalogue.rs"]
mod catalogue;
#[path = "operations/corpses.rs"]
mod corpses;

pub(crate) use catalogue::OPERATIONS;
pub(crate) use corpses::RECOVERING;

/// One operation, from the staging to the act.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each says something of its own of what is to be checked"
)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// The end of the queue that the victim gets.
    pub(crate) given: Given,
    pub(crate) options: fn() -> Options,
    /// The queue has a name.
    pub(crate) named: bool,
    /// It is a settled one.
    pub(crate) settled: bool,
    /// What the parent does with a new queue.
    pub(crate) stage: fn(&mut Queue),
    /// What the victim does first.
    pub(crate) prepare: fn(&mut Victim),
    /// What the parent does right before the act, when those before are dead.
    pub(crate) bridge: fn(&mut Queue),
    /// What is done instruction by instruction.
    pub(crate) act: fn(&mut Victim),
    /// The messages that may be sent, taken or gone, or not, when the act is cut short.
    pub(crate) in_flight: &'static [u32],
    /// What ends the sleep of an act that waits. It may sleep once.
    pub(crate) relief: Option<fn(&mut Queue)>,
    /// What the others do before they know of a death, or while the victim stands still.
    pub(crate) meanwhile: Meanwhile,
    /// The victim has the last sender.
    pub(crate) last_sender: bool,
    /// The victim makes a ticket, which is a peer too.
    pub(crate) gives: bool,
    /// Whatever was not received may have been discarded if the queue turns out to be closed.
    pub(crate) cancels: bool,
    /// What somebody was doing who is dead when the act begins. The queue is his: options, staging and all.
    pub(crate) corpse: Option<&'static Operation>,
    /// As such a corpse: whether this is the moment of its death, after the halt at a step.
    pub(crate) dies: fn(&Queue, Halt) -> bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    Sender,
    Receiver,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    /// They put messages through.
    Laps,
    /// They close the queue, and receive to the end.
    Close,
}

const SENDING: Operation = Operation {
    name: "",
    given: Given::Sender,
    options: roomy,
    named: false,
    settled: false,
    stage: |_| (),
    prepare: take_over_sender,
    bridge: |_| (),
    act: |victim| victim.send(2),
    in_flight: &[],
    relief: None,
    meanwhile: Meanwhile::Laps,
    last_sender: false,
    gives: false,
    cancels: false,
    corpse: None,
    dies: |_, _| true,
};

const RECEIVING: Operation = Operation {
    given: Given::Receiver,
    options: wide,
    stage: send_three,
    prepare: take_over_receiver,
    ..SENDING
};

/// Takes what comes first, while a victim stands still, and acknowledges it when the victim has gone on.
pub(crate) const HEIR: Operation = Operation {
    name: "heir",
    prepare: |victim| {
        take_over_receiver(victim);
        (0..2).for_each(|_| lease(victim));
    },
    act: |victim| {
        for lease in mem::take(&mut victim.leases) {
            let message = lease.ack();
            victim.take(Some(message));
        }
    },
    ..RECEIVING
};

/// Takes a message, while a victim stands still, and dies.
pub(crate) const THIRD: Operation = Operation {
    name: "third",
    prepare: take_over_and_lease,
    act: |_| (),
    ..RECEIVING
};

/// All that a child may be told to play.
pub(crate) fn named(name: &str) -> Option<&'static Operation> {
    OPERATIONS
        .iter()
        .chain(corpses::CORPSES.iter().copied())
        .chain([&HEIR, &THIRD])
        .find(|operation| operation.name == name)
}

/// Waits of these queues sleep at once, and whoever wakes up was woken.
fn roomy() -> Options {
    Options::new(4)
        .spin(Duration::ZERO)
        .liveness_interval(Duration::from_secs(10))
        .max_message_len(128)
}

/// With as many messages under way as possible, so that half of the blocks are in use: a wrong word meets one.
fn wide() -> Options {
    Options::new(32)
        .spin(Duration::ZERO)
        .liveness_interval(Duration::from_secs(10))
        .max_message_len(128)
}

/// For messages whose memory comes and goes.
fn large() -> Options {
    roomy().max_message_len(1 << 20)
}

/// The length of one of those.
const LARGE: usize = 70_000;

fn send_three(queue: &mut Queue) {
    (1..=3).for_each(|number| assert!(queue.send(number)));
}

fn send_batch(queue: &mut Queue) {
    queue.send_batch(1..=3);
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
    take_one(victim);
}

fn take_over_and_lease(victim: &mut Victim) {
    take_over_receiver(victim);
    lease(victim);
}

fn take_one(victim: &mut Victim) {
    let message = victim.rx().try_recv().ok();
    victim.take(message);
}

fn take_many(victim: &mut Victim, most: usize) {
    let mut bag = mem::take(&mut victim.bag);
    // An error leaves the bag as it is.
    let _ = victim.rx().try_recv_many(&mut bag, most);
    bag.drain(..).for_each(|message| victim.take(Some(message)));
}

fn lease(victim: &mut Victim) {
    if let Ok(lease) = victim.rx().try_lease() {
        victim.leases.push(lease);
    }
}

fn acknowledge(victim: &mut Victim) {
    let message = victim.leases.pop().map(workring::Lease::ack);
    victim.take(message);
}

fn give_back(victim: &mut Victim) {
    drop(victim.leases.pop());
}

fn send_many(victim: &mut Victim, numbers: &[u32]) {
    let messages = numbers.iter().copied().map(Message::small);
    if victim.tx().send_many(messages).is_ok() {
        for &number in numbers {
            victim.note("sent", number);
        }
    }
}

fn reserve_and_commit(victim: &mut Victim, length: usize) {
    let mut room = victim.tx().reserve(length).expect("room");
    let number = room.first_chunk_mut().expect("long enough");
    *number = 2_u32.to_le_bytes();
    let sent = room.commit();
    drop(room);
    if sent.is_ok() {
        victim.note("sent", 2);
    }
}

fn close(victim: &mut Victim) {
    victim.tx().close();
    victim.note("closed", 0);
}

/// A ticket for a child that is never started.
fn make_a_ticket(victim: &mut Victim) {
    let handoff = Handoff::new().give("queue", victim.tx());
    drop(handoff);
}

/// A ticket for a child that never uses it.
fn give_to_a_child(victim: &mut Victim) {
    let handoff = Handoff::new().give("queue", victim.tx()).expect("give");
    let mut command = Command::new("/bin/true");
    let child = handoff.spawn(&mut command);
    child.and_then(|mut child| child.wait()).expect("a child");
}
