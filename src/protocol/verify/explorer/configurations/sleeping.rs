//! Processes sleep, and must be woken.

use super::super::action::Action::{
    Close, Detach, Leak, Leave, Receive, ReceiveBlocking, ReceiveOneSleep, RecoverAfterDeath, Send,
    SendBlocking,
};
use super::super::action::Settlement::{Acknowledge, Keep};
use super::super::configuration::{BASE, Configuration, LIMITS};
use super::shorthand::{RECEIVE, RETURN, SETTLED, TWO_DELIVERIES};
use crate::protocol::Limits;
use crate::protocol::peers::Role;

pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "a receiver sleeps until a message is sent",
        scripts: &[&[Send], &[Send], &[ReceiveBlocking(Acknowledge)]],
        ..BASE
    },
    Configuration {
        name: "a sender sleeps until there is room",
        scripts: &[&[SendBlocking, SendBlocking], &[RECEIVE, RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "two senders sleep until a block is free",
        blocks: 1,
        scripts: &[&[SendBlocking], &[SendBlocking], &[RECEIVE, RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "a sender sleeps until one of two blocks is free",
        limits: Limits {
            capacity: 3,
            ..LIMITS
        },
        scripts: &[&[Send, Send], &[SendBlocking], &[Receive(Keep), RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "one of two sleeping receivers gives up",
        scripts: &[
            &[Send],
            &[ReceiveOneSleep(Acknowledge)],
            &[ReceiveBlocking(Acknowledge)],
        ],
        ..BASE
    },
    Configuration {
        name: "a receiver sleeps until a message is returned",
        limits: TWO_DELIVERIES,
        scripts: &[&[Send], &[RETURN], &[ReceiveBlocking(Acknowledge)]],
        ..BASE
    },
    Configuration {
        name: "two receivers sleep until the close",
        scripts: &[
            &[Close],
            &[ReceiveOneSleep(Acknowledge)],
            &[ReceiveBlocking(Acknowledge)],
        ],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a sender sleeps until the close",
        scripts: &[&[SendBlocking, SendBlocking], &[Close]],
        ..BASE
    },
    Configuration {
        name: "a receiver sleeps until the queue is settled",
        limits: SETTLED,
        scripts: &[&[Send, Close, RECEIVE], &[ReceiveBlocking(Acknowledge)]],
        ..BASE
    },
    Configuration {
        name: "a sleeper dies",
        scripts: &[
            &[Send],
            &[ReceiveOneSleep(Acknowledge)],
            &[ReceiveBlocking(Acknowledge)],
        ],
        mortal: 0b10,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a sender sleeps until a block is withdrawn",
        scripts: &[&[Send, Send], &[SendBlocking], &[RECEIVE, RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "a receiver sleeps until a dead receiver is recovered",
        limits: TWO_DELIVERIES,
        scripts: &[
            &[Send, RecoverAfterDeath(1)],
            &[RECEIVE],
            &[ReceiveBlocking(Acknowledge)],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "a sender dies before it wakes a receiver",
        scripts: &[&[Send], &[ReceiveBlocking(Acknowledge)]],
        mortal: 0b1,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "a sender sleeps until a leaked block is withdrawn",
        scripts: &[&[Leak, Leak, Leave(Role::Sender), Detach], &[SendBlocking]],
        mortal: 0b1,
        max_deaths: 1,
        ..BASE
    },
];
