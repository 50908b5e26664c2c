//! What an operation consists of.

use super::actions::{
    attach_receiver, attach_sender, capacity_4, capacity_32, send_three_messages,
};
use crate::{queue::Queue, tracer::Stop, victim::Victim};
use workring::Options;

/// One operation, with everything before it.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each of them changes one check, independently of the others"
)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    /// The end of the queue that the victim inherits.
    pub(crate) given_end: GivenEnd,
    /// What goes through a connection between parent and victim, which were started independently as far as that goes.
    pub(crate) connection: Connected,
    pub(crate) options: fn() -> Options,
    /// The queue has a name.
    pub(crate) has_name: bool,
    /// The value of [`Options::close_waits_for_leases`].
    pub(crate) close_waits_for_leases: bool,
    /// First, the parent does this with the new queue.
    pub(crate) prepare_queue: fn(&mut Queue),
    /// Then the victim does this, at full speed.
    pub(crate) prepare_victim: fn(&mut Victim),
    /// Then predecessors die, and the parent does this.
    pub(crate) before_act: fn(&mut Queue),
    /// Then the victim does this, instruction by instruction.
    pub(crate) act: fn(&mut Victim),
    /// The messages whose place is uncertain if the act does not return.
    pub(crate) in_flight: &'static [u32],
    /// What wakes the victim if the act sleeps, which it may do once.
    pub(crate) wake_up: Option<fn(&mut Queue)>,
    /// What the others do while the victim is stopped, or before its death is reported.
    pub(crate) meanwhile: Meanwhile,
    /// The victim has the last sender.
    pub(crate) victim_has_last_sender: bool,
    /// The victim makes a hand-off ticket, which is a peer too.
    pub(crate) makes_ticket: bool,
    /// If the queue is closed afterwards, messages may have been discarded.
    pub(crate) cancels: bool,
    /// The operation of a process that is dead when the act begins. Options and preparation of the queue are then those
    /// of that operation.
    pub(crate) predecessor: Option<&'static Operation>,
    /// In a predecessor: whether its process dies after this stop.
    pub(crate) dies_when: fn(&Queue, Stop) -> bool,
}

/// An end of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivenEnd {
    Sender,
    Receiver,
    None,
}

/// What goes through a connection between parent and victim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connected {
    /// There is no connection.
    No,
    /// The parent has given a sender, before the act.
    ParentGives,
    /// The victim may give something.
    VictimGives,
}

/// What processes do while a victim is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meanwhile {
    /// They send and receive for several laps of the ring.
    Laps,
    /// They close the queue and receive to the end.
    Close,
}

/// A victim with a sender. The other operations are variations of this one.
pub(super) const SENDING: Operation = Operation {
    name: "",
    given_end: GivenEnd::Sender,
    connection: Connected::No,
    options: capacity_4,
    has_name: false,
    close_waits_for_leases: false,
    prepare_queue: |_| (),
    prepare_victim: attach_sender,
    before_act: |_| (),
    act: |victim| victim.send(2),
    in_flight: &[],
    wake_up: None,
    meanwhile: Meanwhile::Laps,
    victim_has_last_sender: false,
    makes_ticket: false,
    cancels: false,
    predecessor: None,
    dies_when: |_, _| true,
};

/// A victim with a receiver, and three messages in the queue.
pub(super) const RECEIVING: Operation = Operation {
    given_end: GivenEnd::Receiver,
    options: capacity_32,
    prepare_queue: send_three_messages,
    prepare_victim: attach_receiver,
    ..SENDING
};
