//! Processes attach and leave, and sides end.

use super::super::action::Action::{
    Detach, HandOff, Join, Leave, ReceiveUntilClosed, RecoverAfterDeath, Redeem, Send,
};
use super::super::action::Settlement::Acknowledge;
use super::super::configuration::{BASE, Configuration};
use super::shorthand::{CLOSE_ON_LAST_SENDER, RECEIVE};
use crate::protocol::peers::Role;

pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "the last senders leave at the same time",
        limits: CLOSE_ON_LAST_SENDER,
        scripts: &[
            &[Leave(Role::Sender)],
            &[Leave(Role::Sender)],
            &[Leave(Role::Sender), RECEIVE],
        ],
        ..BASE
    },
    Configuration {
        name: "a receiver sleeps until the last sender leaves",
        limits: CLOSE_ON_LAST_SENDER,
        scripts: &[
            &[Send, Leave(Role::Sender)],
            &[Leave(Role::Sender), ReceiveUntilClosed(Acknowledge)],
        ],
        ..BASE
    },
    Configuration {
        name: "the last sender dies",
        limits: CLOSE_ON_LAST_SENDER,
        scripts: &[
            &[Leave(Role::Sender), RECEIVE, RecoverAfterDeath(1), RECEIVE],
            &[Send, Leave(Role::Sender)],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "the last sender hands its role to a child",
        limits: CLOSE_ON_LAST_SENDER,
        scripts: &[
            &[Redeem, Send, Leave(Role::Sender)],
            &[Leave(Role::Sender), Detach],
            &[HandOff(0, Role::Sender), Leave(Role::Sender)],
        ],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "the maker or the user of a ticket dies",
        limits: CLOSE_ON_LAST_SENDER,
        scripts: &[
            &[
                Leave(Role::Sender),
                RecoverAfterDeath(0),
                RecoverAfterDeath(2),
            ],
            &[HandOff(2, Role::Sender), Leave(Role::Sender)],
            &[Redeem, Leave(Role::Sender)],
        ],
        mortal: 0b110,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "a sender joins while the last one leaves",
        limits: CLOSE_ON_LAST_SENDER,
        scripts: &[
            &[Leave(Role::Sender)],
            &[Join, Send, Leave(Role::Sender)],
            &[Leave(Role::Sender), RECEIVE],
        ],
        ..BASE
    },
];
