//! Senders, receivers and recoverers die.

use super::super::action::Action::{Close, Join, Receive, RecoverAfterDeath, Send};
use super::super::action::Settlement::Keep;
use super::super::configuration::{BASE, Configuration};
use super::shorthand::{RECEIVE, TWO_DELIVERIES};

pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "a sender dies while others send and receive",
        scripts: &[
            &[Send, Send],
            &[RECEIVE, RecoverAfterDeath(0), RECEIVE],
            &[Send],
        ],
        mortal: 0b1,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a sender dies while its message is taken",
        scripts: &[&[Send, Send], &[RECEIVE, RECEIVE], &[RecoverAfterDeath(0)]],
        mortal: 0b1,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "a sender dies with a block that a slot still names",
        scripts: &[
            &[Send, Send, Send],
            &[RECEIVE, RECEIVE],
            &[RecoverAfterDeath(0)],
        ],
        mortal: 0b1,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "a sender dies, and the slot of its message is filled again",
        scripts: &[
            &[Send],
            &[Receive(Keep), RECEIVE],
            &[Send, Send],
            &[RecoverAfterDeath(0)],
        ],
        mortal: 0b1,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "two processes recover a dead receiver, and one receives",
        scripts: &[
            &[Send, Send],
            &[RECEIVE],
            &[RecoverAfterDeath(1)],
            &[RecoverAfterDeath(1), RECEIVE],
        ],
        mortal: 0b10,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "the slot of a dead receiver is reused during recovery",
        scripts: &[
            &[Send, Send, Send],
            &[RECEIVE],
            &[RECEIVE, RECEIVE],
            &[RecoverAfterDeath(1)],
        ],
        blocks: 3,
        mortal: 0b10,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "the message of a dead receiver is delivered again",
        scripts: &[
            &[Send, Send],
            &[RECEIVE],
            &[RecoverAfterDeath(1), RECEIVE, RECEIVE],
        ],
        limits: TWO_DELIVERIES,
        mortal: 0b110,
        max_deaths: 2,
        ..BASE
    },
    Configuration {
        name: "a recoverer dies",
        scripts: &[
            &[Send, RECEIVE],
            &[RECEIVE],
            &[RecoverAfterDeath(1)],
            &[RecoverAfterDeath(1), RecoverAfterDeath(2)],
        ],
        mortal: 0b110,
        max_deaths: 2,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "the slot of a dead receiver is reused before recovery",
        scripts: &[
            &[Send, Send, RECEIVE, Send, RecoverAfterDeath(1)],
            &[RECEIVE],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "the slot of a dead receiver is sealed before recovery",
        scripts: &[
            &[Send, Send, RECEIVE, Close, RecoverAfterDeath(1)],
            &[RECEIVE],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "two processes recover a dead receiver",
        scripts: &[
            &[Send, RecoverAfterDeath(1), RECEIVE],
            &[RECEIVE],
            &[RecoverAfterDeath(1)],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "the block of a dead receiver is reused",
        scripts: &[
            &[Send, RecoverAfterDeath(1)],
            &[RECEIVE],
            &[RECEIVE, Send, Send],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BASE
    },
    Configuration {
        name: "the peer entry of a dead receiver is reused",
        scripts: &[
            &[Send, RecoverAfterDeath(1)],
            &[RECEIVE],
            &[RecoverAfterDeath(1)],
            &[Join, RECEIVE],
        ],
        mortal: 0b10,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "the peer entry of a dead sender is reused",
        scripts: &[
            &[Send],
            &[RecoverAfterDeath(0)],
            &[RecoverAfterDeath(0)],
            &[Join, Send, RECEIVE],
        ],
        mortal: 0b1,
        max_deaths: 1,
        only_in_full: true,
        ..BASE
    },
];
