//! Sending and receiving: no process dies and no message is returned.

use super::super::action::Action::Send;
use super::super::configuration::{BASE, Configuration, LIMITS};
use super::shorthand::RECEIVE;
use crate::protocol::Limits;

pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "senders and receivers race, room for one message",
        scripts: &[&[Send], &[Send], &[RECEIVE], &[RECEIVE]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "senders and receivers race over several laps",
        scripts: &[&[Send, Send], &[Send], &[RECEIVE, RECEIVE], &[RECEIVE]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "senders and receivers race, room for three messages",
        limits: Limits {
            capacity: 3,
            ..LIMITS
        },
        blocks: 3,
        scripts: &[&[Send, Send], &[Send], &[RECEIVE, RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "laps wrap",
        scripts: &[&[Send, Send, Send], &[Send], &[RECEIVE, RECEIVE, RECEIVE]],
        first_lap: u32::MAX,
        only_in_full: true,
        ..BASE
    },
];
