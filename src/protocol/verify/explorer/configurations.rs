//! The configurations: small queues, two or three things that happen to each.

use super::configuration::{Configuration, LIMITS, PLAIN};
use super::process::Deed::{
    self, Cancel, Close, Detach, DiscardLetter, HandOn, Join, Leave, LookAfter, LookAtLetter,
    Receive, ReceiveAll, ReceiveBriefly, ReceivePatiently, Redeem, Send, SendBatch,
    SendBatchPatiently, SendPatiently,
};
use super::process::Then::{Acknowledge, AcknowledgeAll, GiveBack, Keep, Reject};
use crate::protocol::Limits;
use crate::protocol::peers::Role;

const TAKE: Deed = Receive(Acknowledge);
const TAKE_ALL: Deed = Receive(AcknowledgeAll);
const RETURN: Deed = Receive(GiveBack);

const TWICE: Limits = Limits {
    max_deliveries: 2,
    ..LIMITS
};
const ONCE: Limits = Limits {
    max_deliveries: 1,
    max_dead_letters: 1,
    ..LIMITS
};
const SETTLED: Limits = Limits {
    close_waits_for_leases: true,
    ..LIMITS
};
/// Dead letters are kept one at a time, and messages come back.
const ONCE_KEPT: Limits = Limits {
    max_dead_letters: 1,
    ..LIMITS
};
const BATCHED: Configuration = Configuration {
    batches: true,
    ..PLAIN
};
const ENDING: Limits = Limits {
    close_on_last_sender: true,
    ..LIMITS
};

/// Nobody dies, nothing comes back.
pub(super) const SENDING: &[Configuration] = &[
    Configuration {
        name: "two senders, two receivers",
        scripts: &[&[Send], &[Send], &[TAKE], &[TAKE]],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "two senders, two receivers, some laps",
        scripts: &[&[Send, Send], &[Send], &[TAKE, TAKE], &[TAKE]],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "room for three",
        limits: Limits {
            capacity: 3,
            ..LIMITS
        },
        blocks: 3,
        scripts: &[&[Send, Send], &[Send], &[TAKE, TAKE]],
        ..PLAIN
    },
    Configuration {
        name: "laps that wrap",
        scripts: &[&[Send, Send, Send], &[Send], &[TAKE, TAKE, TAKE]],
        first_lap: u32::MAX,
        long: true,
        ..PLAIN
    },
];

/// Senders, receivers and recoverers die.
pub(super) const DYING: &[Configuration] = &[
    Configuration {
        name: "a sender dies",
        scripts: &[&[Send, Send], &[TAKE, LookAfter(0), TAKE], &[Send]],
        mortal: 0b1,
        deaths: 1,
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a sender dies while its message is taken",
        scripts: &[&[Send, Send], &[TAKE, TAKE], &[LookAfter(0)]],
        mortal: 0b1,
        deaths: 1,
        ..PLAIN
    },
    Configuration {
        name: "a receiver dies, two recoverers",
        scripts: &[
            &[Send, Send],
            &[TAKE],
            &[LookAfter(1)],
            &[LookAfter(1), TAKE],
        ],
        mortal: 0b10,
        deaths: 1,
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a receiver dies, its slot is used again",
        scripts: &[&[Send, Send, Send], &[TAKE], &[TAKE, TAKE], &[LookAfter(1)]],
        blocks: 3,
        mortal: 0b10,
        deaths: 1,
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a receiver dies, its message is handed out again",
        scripts: &[&[Send, Send], &[TAKE], &[LookAfter(1), TAKE, TAKE]],
        limits: TWICE,
        mortal: 0b110,
        deaths: 2,
        ..PLAIN
    },
    Configuration {
        name: "a recoverer dies",
        scripts: &[
            &[Send, TAKE],
            &[TAKE],
            &[LookAfter(1)],
            &[LookAfter(1), LookAfter(2)],
        ],
        mortal: 0b110,
        deaths: 2,
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a dead taker's slot is used again",
        scripts: &[&[Send, Send, TAKE, Send, LookAfter(1)], &[TAKE]],
        mortal: 0b10,
        deaths: 1,
        ..PLAIN
    },
    Configuration {
        name: "a dead taker's slot is sealed",
        scripts: &[&[Send, Send, TAKE, Close, LookAfter(1)], &[TAKE]],
        mortal: 0b10,
        deaths: 1,
        ..PLAIN
    },
    Configuration {
        name: "two recoverers, one taker",
        scripts: &[&[Send, LookAfter(1), TAKE], &[TAKE], &[LookAfter(1)]],
        mortal: 0b10,
        deaths: 1,
        ..PLAIN
    },
    Configuration {
        name: "what a dead taker had is sent round",
        scripts: &[&[Send, LookAfter(1)], &[TAKE], &[TAKE, Send, Send]],
        mortal: 0b10,
        deaths: 1,
        ..PLAIN
    },
    Configuration {
        name: "a row is used again",
        scripts: &[
            &[Send, LookAfter(1)],
            &[TAKE],
            &[LookAfter(1)],
            &[Join, TAKE],
        ],
        mortal: 0b10,
        deaths: 1,
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a sender's row is used again",
        scripts: &[
            &[Send],
            &[LookAfter(0)],
            &[LookAfter(0)],
            &[Join, Send, TAKE],
        ],
        mortal: 0b1,
        deaths: 1,
        long: true,
        ..PLAIN
    },
];

/// Messages come back.
pub(super) const RETURNING: &[Configuration] = &[
    Configuration {
        name: "returns",
        limits: TWICE,
        scripts: &[&[Send, Send], &[RETURN, TAKE], &[RETURN, TAKE]],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "returns, one after another",
        scripts: &[&[Send, RETURN, RETURN], &[TAKE]],
        ..PLAIN
    },
    Configuration {
        name: "returns, in order",
        limits: Limits {
            capacity: 3,
            ..TWICE
        },
        scripts: &[&[Send, Send], &[RETURN], &[RETURN], &[TAKE, TAKE]],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a returner dies",
        limits: TWICE,
        scripts: &[&[Send, Send], &[RETURN], &[LookAfter(1), TAKE], &[TAKE]],
        mortal: 0b10,
        deaths: 1,
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "returns, and laps",
        limits: TWICE,
        scripts: &[&[Send, Send, Send], &[RETURN, TAKE, TAKE], &[TAKE]],
        long: true,
        ..PLAIN
    },
];

/// The queue is closed, cancelled, or settled.
pub(super) const CLOSING: &[Configuration] = &[
    Configuration {
        name: "close against send and receive",
        scripts: &[&[Send, Send], &[Close], &[TAKE, TAKE, TAKE]],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "two closers",
        scripts: &[&[Send], &[Close], &[Close], &[TAKE, TAKE]],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a closer dies",
        scripts: &[&[Send, Send], &[Close], &[TAKE, TAKE]],
        mortal: 0b10,
        deaths: 1,
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "close, and laps that wrap",
        scripts: &[&[Send, Send, Send], &[Close], &[TAKE, TAKE, TAKE]],
        first_lap: u32::MAX,
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "returns after the close",
        limits: TWICE,
        scripts: &[&[Send], &[RETURN, TAKE], &[Close, TAKE, TAKE]],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a taker dies after the close",
        scripts: &[&[Send, Close], &[TAKE], &[LookAfter(1), TAKE, TAKE]],
        mortal: 0b10,
        deaths: 1,
        ..PLAIN
    },
    Configuration {
        name: "settled, and returns",
        limits: SETTLED,
        scripts: &[&[Send, Close], &[RETURN], &[TAKE, TAKE]],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "settled, and a taker dies",
        limits: SETTLED,
        scripts: &[&[Send, Close], &[TAKE], &[TAKE, LookAfter(1), TAKE]],
        mortal: 0b10,
        deaths: 1,
        ..PLAIN
    },
    Configuration {
        name: "settled, and two messages",
        limits: SETTLED,
        scripts: &[&[Send, Send, Close], &[RETURN], &[TAKE, TAKE]],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "settled, and a block is used again",
        limits: SETTLED,
        blocks: 1,
        scripts: &[&[Send, Send], &[TAKE], &[Close, TAKE]],
        ..PLAIN
    },
    Configuration {
        name: "cancel against a return",
        scripts: &[&[Send, RETURN], &[Cancel]],
        ..PLAIN
    },
    Configuration {
        name: "cancel",
        scripts: &[&[Send, Send], &[RETURN], &[Cancel]],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a taker dies under cancel",
        scripts: &[&[Send], &[TAKE], &[Cancel], &[LookAfter(1)]],
        mortal: 0b10,
        deaths: 1,
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "one keeps what it has",
        limits: SETTLED,
        scripts: &[&[Send, Send], &[Receive(Keep)], &[TAKE, Close, TAKE]],
        long: true,
        ..PLAIN
    },
];

/// Messages become dead letters.
pub(super) const LETTERS: &[Configuration] = &[
    Configuration {
        name: "dead letters",
        limits: ONCE,
        scripts: &[
            &[Send, Send],
            &[RETURN, RETURN],
            &[LookAtLetter, DiscardLetter],
        ],
        ..PLAIN
    },
    Configuration {
        name: "dead letters, two readers",
        limits: ONCE,
        scripts: &[
            &[Send],
            &[Receive(Reject)],
            &[LookAtLetter],
            &[DiscardLetter],
        ],
        ..PLAIN
    },
    Configuration {
        name: "a reader of dead letters dies",
        limits: ONCE,
        scripts: &[
            &[Send],
            &[RETURN],
            &[LookAtLetter],
            &[LookAfter(2), LookAtLetter],
        ],
        mortal: 0b100,
        deaths: 1,
        ..PLAIN
    },
    Configuration {
        name: "the row of a reader of dead letters is used again",
        limits: ONCE,
        scripts: &[
            &[Send, RETURN, LookAfter(1)],
            &[LookAtLetter],
            &[LookAfter(1)],
            &[Join, LookAtLetter],
        ],
        mortal: 0b10,
        deaths: 1,
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a return at the very end",
        limits: Limits {
            max_dead_letters: 0,
            ..LIMITS
        },
        scripts: &[&[Send, Close], &[Receive(GiveBack)], &[TAKE, TAKE]],
        ..PLAIN
    },
    Configuration {
        name: "returned after the end",
        limits: ONCE,
        scripts: &[
            &[Send, Close],
            &[Receive(GiveBack)],
            &[TAKE, TAKE, DiscardLetter],
        ],
        ..PLAIN
    },
];

/// Processes sleep.
pub(super) const SLEEPING: &[Configuration] = &[
    Configuration {
        name: "one sleeps for a message",
        scripts: &[&[Send], &[Send], &[ReceivePatiently(Acknowledge)]],
        ..PLAIN
    },
    Configuration {
        name: "one sleeps for room",
        scripts: &[&[SendPatiently, SendPatiently], &[TAKE, TAKE]],
        ..PLAIN
    },
    Configuration {
        name: "two sleep for a block",
        blocks: 1,
        scripts: &[&[SendPatiently], &[SendPatiently], &[TAKE, TAKE]],
        ..PLAIN
    },
    Configuration {
        name: "one sleeps for any of two blocks",
        limits: Limits {
            capacity: 3,
            ..LIMITS
        },
        scripts: &[&[Send, Send], &[SendPatiently], &[Receive(Keep), TAKE]],
        ..PLAIN
    },
    Configuration {
        name: "two sleep for messages, one not for long",
        scripts: &[
            &[Send],
            &[ReceiveBriefly(Acknowledge)],
            &[ReceivePatiently(Acknowledge)],
        ],
        ..PLAIN
    },
    Configuration {
        name: "one sleeps for what comes back",
        limits: TWICE,
        scripts: &[&[Send], &[RETURN], &[ReceivePatiently(Acknowledge)]],
        ..PLAIN
    },
    Configuration {
        name: "two sleep until the close",
        scripts: &[
            &[Close],
            &[ReceiveBriefly(Acknowledge)],
            &[ReceivePatiently(Acknowledge)],
        ],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a sender sleeps until the close",
        scripts: &[&[SendPatiently, SendPatiently], &[Close]],
        ..PLAIN
    },
    Configuration {
        name: "one sleeps until all is settled",
        limits: SETTLED,
        scripts: &[&[Send, Close, TAKE], &[ReceivePatiently(Acknowledge)]],
        ..PLAIN
    },
    Configuration {
        name: "a sleeper dies",
        scripts: &[
            &[Send],
            &[ReceiveBriefly(Acknowledge)],
            &[ReceivePatiently(Acknowledge)],
        ],
        mortal: 0b10,
        deaths: 1,
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "one sleeps for a block that is withdrawn",
        scripts: &[&[Send, Send], &[SendPatiently], &[TAKE, TAKE]],
        ..PLAIN
    },
    Configuration {
        name: "one sleeps for what a dead receiver had",
        limits: TWICE,
        scripts: &[
            &[Send, LookAfter(1)],
            &[TAKE],
            &[ReceivePatiently(Acknowledge)],
        ],
        mortal: 0b10,
        deaths: 1,
        ..PLAIN
    },
    Configuration {
        name: "a waker dies",
        scripts: &[&[Send], &[ReceivePatiently(Acknowledge)]],
        mortal: 0b1,
        deaths: 1,
        ..PLAIN
    },
];

/// Processes come and go.
pub(super) const SIDES: &[Configuration] = &[
    Configuration {
        name: "two last senders leave",
        limits: ENDING,
        scripts: &[
            &[Leave(Role::Sender)],
            &[Leave(Role::Sender)],
            &[Leave(Role::Sender), TAKE],
        ],
        ..PLAIN
    },
    Configuration {
        name: "the last sender leaves, one sleeps",
        limits: ENDING,
        scripts: &[
            &[Send, Leave(Role::Sender)],
            &[Leave(Role::Sender), ReceiveAll(Acknowledge)],
        ],
        ..PLAIN
    },
    Configuration {
        name: "the last sender dies",
        limits: ENDING,
        scripts: &[
            &[Leave(Role::Sender), TAKE, LookAfter(1), TAKE],
            &[Send, Leave(Role::Sender)],
        ],
        mortal: 0b10,
        deaths: 1,
        ..PLAIN
    },
    Configuration {
        name: "a role is handed on",
        limits: ENDING,
        scripts: &[
            &[Redeem, Send, Leave(Role::Sender)],
            &[Leave(Role::Sender), Detach],
            &[HandOn(0, Role::Sender), Leave(Role::Sender)],
        ],
        long: true,
        ..PLAIN
    },
    Configuration {
        name: "a ticket's maker or user dies",
        limits: ENDING,
        scripts: &[
            &[Leave(Role::Sender), LookAfter(0), LookAfter(2)],
            &[HandOn(2, Role::Sender), Leave(Role::Sender)],
            &[Redeem, Leave(Role::Sender)],
        ],
        mortal: 0b110,
        deaths: 1,
        ..PLAIN
    },
    Configuration {
        name: "one joins while the last one leaves",
        limits: ENDING,
        scripts: &[
            &[Leave(Role::Sender)],
            &[Join, Send, Leave(Role::Sender)],
            &[Leave(Role::Sender), TAKE],
        ],
        ..PLAIN
    },
];

/// Blocks hold several messages.
pub(super) const BATCHING: &[Configuration] = &[
    Configuration {
        name: "a sender of batches dies",
        scripts: &[&[SendBatch, SendBatch], &[TAKE, LookAfter(0), TAKE]],
        mortal: 0b1,
        deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "a sender of batches dies while it waits",
        scripts: &[
            &[SendBatchPatiently, SendBatchPatiently],
            &[TAKE, LookAfter(0)],
        ],
        mortal: 0b1,
        deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "a batch after a batch",
        blocks: 1,
        scripts: &[&[SendBatch, SendBatch], &[TAKE, TAKE_ALL]],
        ..BATCHED
    },
    Configuration {
        name: "batches and single messages",
        scripts: &[&[SendBatch, Send, SendBatch], &[TAKE, TAKE_ALL, TAKE]],
        ..BATCHED
    },
    Configuration {
        name: "a batch is returned and received",
        scripts: &[&[SendBatch], &[RETURN, TAKE], &[TAKE_ALL]],
        ..BATCHED
    },
    Configuration {
        name: "the holder of a batch dies",
        blocks: 1,
        scripts: &[&[SendBatch, LookAfter(1), TAKE_ALL], &[TAKE_ALL]],
        mortal: 0b10,
        deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "one of three holders of a batch dies",
        scripts: &[&[SendBatch, LookAfter(1)], &[RETURN], &[TAKE], &[TAKE_ALL]],
        mortal: 0b10,
        deaths: 1,
        long: true,
        ..BATCHED
    },
    Configuration {
        name: "two recoverers of the holder of a batch",
        blocks: 1,
        scripts: &[
            &[SendBatch, LookAfter(1)],
            &[RETURN],
            &[LookAfter(1), TAKE, Close, SendBatch],
        ],
        mortal: 0b10,
        deaths: 1,
        long: true,
        ..BATCHED
    },
    Configuration {
        name: "the recoverer of a batch dies",
        blocks: 1,
        scripts: &[&[SendBatch], &[TAKE], &[LookAfter(1), TAKE]],
        mortal: 0b110,
        deaths: 2,
        ..BATCHED
    },
    Configuration {
        name: "the holder of a batch dies, and few letters are kept",
        limits: ONCE,
        blocks: 1,
        scripts: &[&[SendBatch, LookAfter(1)], &[TAKE_ALL]],
        mortal: 0b10,
        deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "the dead letters of a batch are too many",
        limits: ONCE,
        blocks: 1,
        scripts: &[&[SendBatch], &[RETURN, RETURN], &[DiscardLetter]],
        ..BATCHED
    },
    Configuration {
        name: "who trims the letters of a batch dies",
        limits: ONCE,
        blocks: 1,
        scripts: &[
            &[SendBatch],
            &[RETURN, RETURN],
            &[LookAfter(1), LookAtLetter],
        ],
        mortal: 0b10,
        deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "some of a batch is rejected",
        scripts: &[&[SendBatch], &[Receive(Reject), TAKE], &[DiscardLetter]],
        ..BATCHED
    },
    Configuration {
        name: "cancel against a return of a batch",
        limits: SETTLED,
        blocks: 1,
        scripts: &[&[SendBatch, RETURN], &[Cancel]],
        ..BATCHED
    },
    Configuration {
        name: "cancel against two returns of a batch",
        limits: SETTLED,
        blocks: 1,
        scripts: &[&[SendBatch], &[RETURN, TAKE], &[Cancel]],
        long: true,
        ..BATCHED
    },
    Configuration {
        name: "the holder of a batch dies under cancel",
        blocks: 1,
        scripts: &[&[SendBatch, Cancel, LookAfter(1)], &[TAKE]],
        mortal: 0b10,
        deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "close against a return of a batch",
        limits: SETTLED,
        blocks: 1,
        long: true,
        scripts: &[&[SendBatch, Close], &[RETURN], &[TAKE, TAKE]],
        ..BATCHED
    },
    Configuration {
        name: "a batch comes back after the end",
        limits: ONCE_KEPT,
        blocks: 1,
        scripts: &[&[SendBatch, Close, TAKE], &[RETURN], &[DiscardLetter]],
        ..BATCHED
    },
];

pub(super) const GROUPS: [&[Configuration]; 8] = [
    SENDING, DYING, RETURNING, CLOSING, LETTERS, SLEEPING, SIDES, BATCHING,
];

/// The configuration of this name.
pub(super) fn named(name: &str) -> &'static Configuration {
    let mut all = GROUPS.into_iter().flatten();
    let found = all.find(|configuration| configuration.name == name);
    found.unwrap_or_else(|| panic!("no configuration {name}"))
}
