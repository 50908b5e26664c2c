//! Messages become dead letters.

use super::super::action::Action::{
    Close, DiscardDeadLetter, Join, PeekDeadLetter, Receive, RecoverAfterDeath, Send,
};
use super::super::action::Settlement::Reject;
use super::super::configuration::{BASE, Configuration, LIMITS};
use super::shorthand::{ONE_DELIVERY, RECEIVE, RETURN};
use crate::protocol::Limits;

pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "dead letters are evicted while they are read",
        limits: ONE_DELIVERY,
        scripts: &[
            &[Send, Send],
            &[RETURN, RETURN],
            &[PeekDeadLetter, DiscardDeadLetter],
        ],
        ..BASE
    },
    Configuration {
        name: "two readers open one dead letter",
        limits: ONE_DELIVERY,
        scripts: &[
            &[Send],
            &[Receive(Reject)],
            &[PeekDeadLetter],
            &[DiscardDeadLetter],
        ],
        ..BASE
    },
    Configuration {
        name: "a reader of dead letters dies",
        limits: ONE_DELIVERY,
        scripts: &[
            &[Send],
            &[RETURN],
            &[PeekDeadLetter],
            &[RecoverAfterDeath(2), PeekDeadLetter],
        ],
        mortal: 0b100,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "the peer entry of a dead reader is reused",
        limits: ONE_DELIVERY,
        scripts: &[
            &[Send, RETURN, RecoverAfterDeath(1)],
            &[PeekDeadLetter],
            &[RecoverAfterDeath(1)],
            &[Join, PeekDeadLetter],
        ],
        mortal: 0b10,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a message is returned while the queue ends",
        limits: Limits {
            max_dead_letters: 0,
            ..LIMITS
        },
        scripts: &[&[Send, Close], &[RETURN], &[RECEIVE, RECEIVE]],
        ..BASE
    },
    Configuration {
        name: "a message returned after the end is a dead letter",
        limits: ONE_DELIVERY,
        scripts: &[
            &[Send, Close],
            &[RETURN],
            &[RECEIVE, RECEIVE, DiscardDeadLetter],
        ],
        ..BASE
    },
];
