//! Blocks hold batches of two messages.

use super::super::action::Action::{
    Cancel, Close, DiscardDeadLetter, PeekDeadLetter, Receive, RecoverAfterDeath, Send, SendBatch,
    SendBatchBlocking,
};
use super::super::action::Settlement::Reject;
use super::super::configuration::Configuration;
use super::shorthand::{
    BATCHED, ONE_DEAD_LETTER, ONE_DELIVERY, RECEIVE, RECEIVE_BATCH, RETURN, SETTLED,
};

pub(super) const CONFIGURATIONS: &[Configuration] = &[
    Configuration {
        name: "a sender of batches dies",
        scripts: &[
            &[SendBatch, SendBatch],
            &[RECEIVE, RecoverAfterDeath(0), RECEIVE],
        ],
        mortal: 0b1,
        max_deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "a sender of batches dies while it waits",
        scripts: &[
            &[SendBatchBlocking, SendBatchBlocking],
            &[RECEIVE, RecoverAfterDeath(0)],
        ],
        mortal: 0b1,
        max_deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "a batch is sent in the block of another",
        blocks: 1,
        scripts: &[&[SendBatch, SendBatch], &[RECEIVE, RECEIVE_BATCH]],
        ..BATCHED
    },
    Configuration {
        name: "batches and single messages are mixed",
        scripts: &[
            &[SendBatch, Send, SendBatch],
            &[RECEIVE, RECEIVE_BATCH, RECEIVE],
        ],
        ..BATCHED
    },
    Configuration {
        name: "a batch is returned and received again",
        scripts: &[&[SendBatch], &[RETURN, RECEIVE], &[RECEIVE_BATCH]],
        ..BATCHED
    },
    Configuration {
        name: "the holder of a batch dies",
        blocks: 1,
        scripts: &[
            &[SendBatch, RecoverAfterDeath(1), RECEIVE_BATCH],
            &[RECEIVE_BATCH],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "one of three holders of a batch dies",
        scripts: &[
            &[SendBatch, RecoverAfterDeath(1)],
            &[RETURN],
            &[RECEIVE],
            &[RECEIVE_BATCH],
        ],
        mortal: 0b10,
        max_deaths: 1,
        only_in_full: true,
        ..BATCHED
    },
    Configuration {
        name: "two processes recover the holder of a batch",
        blocks: 1,
        scripts: &[
            &[SendBatch, RecoverAfterDeath(1)],
            &[RETURN],
            &[RecoverAfterDeath(1), RECEIVE, Close, SendBatch],
        ],
        mortal: 0b10,
        max_deaths: 1,
        only_in_full: true,
        ..BATCHED
    },
    Configuration {
        name: "the recoverer of a batch dies",
        blocks: 1,
        scripts: &[&[SendBatch], &[RECEIVE], &[RecoverAfterDeath(1), RECEIVE]],
        mortal: 0b110,
        max_deaths: 2,
        ..BATCHED
    },
    Configuration {
        name: "the holder of a batch dies, and one dead letter is kept",
        limits: ONE_DELIVERY,
        blocks: 1,
        scripts: &[&[SendBatch, RecoverAfterDeath(1)], &[RECEIVE_BATCH]],
        mortal: 0b10,
        max_deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "a batch makes too many dead letters",
        limits: ONE_DELIVERY,
        blocks: 1,
        scripts: &[&[SendBatch], &[RETURN, RETURN], &[DiscardDeadLetter]],
        ..BATCHED
    },
    Configuration {
        name: "a process dies while it evicts part of a batch",
        limits: ONE_DELIVERY,
        blocks: 1,
        scripts: &[
            &[SendBatch],
            &[RETURN, RETURN],
            &[RecoverAfterDeath(1), PeekDeadLetter],
        ],
        mortal: 0b10,
        max_deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "one message of a batch is rejected",
        scripts: &[
            &[SendBatch],
            &[Receive(Reject), RECEIVE],
            &[DiscardDeadLetter],
        ],
        ..BATCHED
    },
    Configuration {
        name: "cancel races with a return of a batch",
        limits: SETTLED,
        blocks: 1,
        scripts: &[&[SendBatch, RETURN], &[Cancel]],
        ..BATCHED
    },
    Configuration {
        name: "cancel races with a return of a batch by a third process",
        limits: SETTLED,
        blocks: 1,
        scripts: &[&[SendBatch], &[RETURN, RECEIVE], &[Cancel]],
        only_in_full: true,
        ..BATCHED
    },
    Configuration {
        name: "the holder of a batch dies during a cancel",
        blocks: 1,
        scripts: &[&[SendBatch, Cancel, RecoverAfterDeath(1)], &[RECEIVE]],
        mortal: 0b10,
        max_deaths: 1,
        ..BATCHED
    },
    Configuration {
        name: "close races with a return of a batch",
        limits: SETTLED,
        blocks: 1,
        only_in_full: true,
        scripts: &[&[SendBatch, Close], &[RETURN], &[RECEIVE, RECEIVE]],
        ..BATCHED
    },
    Configuration {
        name: "a batch is returned after the end",
        limits: ONE_DEAD_LETTER,
        blocks: 1,
        scripts: &[
            &[SendBatch, Close, RECEIVE],
            &[RETURN],
            &[DiscardDeadLetter],
        ],
        ..BATCHED
    },
];
