//! Messages are returned and delivered again.

use super::super::action::Action::{RecoverAfterDeath, Send};
use super::super::configuration::{BASE, Configuration};
use super::shorthand::{RECEIVE, RETURN, TWO_DELIVERIES};
use crate::protocol::Limits;

pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "two receivers return messages and receive again",
        limits: TWO_DELIVERIES,
        scripts: &[&[Send, Send], &[RETURN, RECEIVE], &[RETURN, RECEIVE]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "one message is returned twice",
        scripts: &[&[Send, RETURN, RETURN], &[RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "returned messages are received in order",
        limits: Limits {
            capacity: 3,
            ..TWO_DELIVERIES
        },
        scripts: &[&[Send, Send], &[RETURN], &[RETURN], &[RECEIVE, RECEIVE]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a receiver dies while it returns a message",
        limits: TWO_DELIVERIES,
        scripts: &[
            &[Send, Send],
            &[RETURN],
            &[RecoverAfterDeath(1), RECEIVE],
            &[RECEIVE],
        ],
        mortal: 0b10,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "messages are returned over several laps",
        limits: TWO_DELIVERIES,
        scripts: &[&[Send, Send, Send], &[RETURN, RECEIVE, RECEIVE], &[RECEIVE]],
        only_in_full: true,
        ..BASE
    },
];
