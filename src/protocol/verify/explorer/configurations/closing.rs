//! The queue is closed, cancelled or settled.

use super::super::action::Action::{Cancel, Close, Receive, RecoverAfterDeath, Send};
use super::super::action::Settlement::Keep;
use super::super::configuration::{BASE, Configuration};
use super::shorthand::{RECEIVE, RETURN, SETTLED, TWO_DELIVERIES};

pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "close races with send and receive",
        scripts: &[&[Send, Send], &[Close], &[RECEIVE, RECEIVE, RECEIVE]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "two processes close",
        scripts: &[&[Send], &[Close], &[Close], &[RECEIVE, RECEIVE]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a closer dies",
        scripts: &[&[Send, Send], &[Close], &[RECEIVE, RECEIVE]],
        mortal: 0b10,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "close races with send and receive while laps wrap",
        scripts: &[&[Send, Send, Send], &[Close], &[RECEIVE, RECEIVE, RECEIVE]],
        first_lap: u32::MAX,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a message is returned after the close",
        limits: TWO_DELIVERIES,
        scripts: &[&[Send], &[RETURN, RECEIVE], &[Close, RECEIVE, RECEIVE]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a receiver dies after the close",
        scripts: &[
            &[Send, Close],
            &[RECEIVE],
            &[RecoverAfterDeath(1), RECEIVE, RECEIVE],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "a settled queue waits for a returned message",
        limits: SETTLED,
        scripts: &[&[Send, Close], &[RETURN], &[RECEIVE, RECEIVE]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a settled queue waits for a dead receiver",
        limits: SETTLED,
        scripts: &[
            &[Send, Close],
            &[RECEIVE],
            &[RECEIVE, RecoverAfterDeath(1), RECEIVE],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "a settled queue waits for two messages",
        limits: SETTLED,
        scripts: &[&[Send, Send, Close], &[RETURN], &[RECEIVE, RECEIVE]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a block is reused while a settled queue ends",
        limits: SETTLED,
        blocks: 1,
        scripts: &[&[Send, Send], &[RECEIVE], &[Close, RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "cancel races with a return",
        scripts: &[&[Send, RETURN], &[Cancel]],
        ..BASE
    },
    Configuration {
        name: "cancel races with a return by a third process",
        scripts: &[&[Send, Send], &[RETURN], &[Cancel]],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a receiver dies during a cancel",
        scripts: &[&[Send], &[RECEIVE], &[Cancel], &[RecoverAfterDeath(1)]],
        mortal: 0b10,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a settled queue does not end while a message is held",
        limits: SETTLED,
        scripts: &[&[Send, Send], &[Receive(Keep)], &[RECEIVE, Close, RECEIVE]],
        only_in_full: true,
        ..BASE
    },
];
