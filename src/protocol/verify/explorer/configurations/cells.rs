//! Which blocks senders take: the one beside the slot at the tail, spare ones, and others.

use super::super::action::Action::{Receive, RecoverAfterDeath, Send};
use super::super::action::Settlement::Keep;
use super::super::configuration::{BASE, Configuration, LIMITS};
use super::shorthand::RECEIVE;
use crate::protocol::Limits;

pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "two senders take blocks at the same time",
        scripts: &[&[Send], &[Send], &[RECEIVE, RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "messages lie in the blocks of other slots",
        blocks: 3,
        scripts: &[&[Send, Send, Send], &[Receive(Keep), RECEIVE, RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "two senders and two receivers, and a message stays in its block",
        blocks: 3,
        scripts: &[
            &[Send, Send],
            &[Send],
            &[Receive(Keep), RECEIVE],
            &[RECEIVE],
        ],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "the holder of a spare block dies",
        blocks: 3,
        scripts: &[
            &[Send, Send, Send],
            &[Receive(Keep), Receive(Keep), Receive(Keep)],
            &[RecoverAfterDeath(1)],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "a sender with a spare block dies",
        blocks: 3,
        scripts: &[
            &[Send, Send, Send],
            &[Receive(Keep), Receive(Keep), RECEIVE],
            &[RecoverAfterDeath(0)],
        ],
        mortal: 0b1,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "most slots have no block beside them",
        limits: Limits {
            capacity: 3,
            ..LIMITS
        },
        blocks: 2,
        scripts: &[&[Send, Send], &[Send], &[RECEIVE, RECEIVE, RECEIVE]],
        only_in_full: true,
        ..BASE
    },
];
