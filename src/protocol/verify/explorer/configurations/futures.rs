//! Futures wait, are dropped, and must be woken. In each process with futures, a thread of its own polls each, and one is
//! the reactor.

use super::super::action::Action;
use super::super::action::Action::{
    Close, React, ReceiveAsync, ReceiveAsyncOrDrop, ReceiveOneSleep, Send,
};
use super::super::action::Settlement::{Acknowledge, Keep};
use super::super::configuration::{BASE, Configuration};
use super::shorthand::{RECEIVE, RETURN, SETTLED, TWO_DELIVERIES};

const FUTURE: Action = ReceiveAsync(Keep);
const DROPPED: Action = ReceiveAsyncOrDrop(Keep);

pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "a future waits for a message",
        scripts: &[&[Send], &[DROPPED], &[React]],
        lanes: &[0b110],
        extra_polls: 1,
        ..BASE
    },
    Configuration {
        name: "a future is dropped beside another one",
        scripts: &[&[Send], &[DROPPED], &[FUTURE], &[React]],
        lanes: &[0b1110],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a future is dropped beside a sleeper",
        scripts: &[&[Send], &[DROPPED], &[React], &[ReceiveOneSleep(Keep)]],
        lanes: &[0b110],
        max_epoch: Some(4),
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a future waits until the close",
        scripts: &[&[Close], &[DROPPED], &[React]],
        lanes: &[0b110],
        ..BASE
    },
    Configuration {
        name: "two futures wait until the close",
        scripts: &[&[Close], &[DROPPED], &[FUTURE], &[React]],
        lanes: &[0b1110],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a process with a future dies",
        scripts: &[&[Send], &[FUTURE], &[React], &[ReceiveOneSleep(Keep)]],
        lanes: &[0b110],
        mortal: 0b10,
        max_deaths: 1,
        max_epoch: Some(5),
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a future waits until the queue is settled",
        limits: SETTLED,
        scripts: &[
            &[Send, Close, RECEIVE],
            &[ReceiveAsync(Acknowledge)],
            &[React],
        ],
        lanes: &[0b110],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a future waits until a message is returned",
        limits: TWO_DELIVERIES,
        scripts: &[&[Send], &[RETURN], &[DROPPED], &[React]],
        lanes: &[0b1100],
        only_in_full: true,
        ..BASE
    },
    Configuration {
        name: "a sender dies before it wakes a future",
        scripts: &[&[Send], &[FUTURE], &[React]],
        lanes: &[0b110],
        mortal: 0b1,
        max_deaths: 1,
        ..BASE
    },
];
