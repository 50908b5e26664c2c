//! What is known of the messages that the victims of one round have sent and received.

use std::collections::BTreeSet;

#[derive(Clone, Debug, Default)]
pub(crate) struct Testimony {
    /// Messages of operations that did not return.
    pub(crate) uncertain: BTreeSet<u32>,
    pub(crate) sent: Vec<u32>,
    pub(crate) received: Vec<u32>,
    /// A victim has closed the queue.
    pub(crate) closed: bool,
    /// A victim may have discarded messages by cancelling the queue.
    pub(crate) may_have_cancelled: bool,
    /// The most hand-off tickets that victims may have made.
    pub(crate) max_tickets: u64,
    /// The queue's close waits for leases: no message may become a dead letter before its last permitted delivery.
    pub(crate) close_waits_for_leases: bool,
}

impl Testimony {
    /// Adds what a victim has printed.
    pub(crate) fn add(&mut self, printed: &str) {
        for line in printed.lines() {
            let (verb, number) = line.split_once(' ').unwrap_or((line, "0"));
            let number = number.parse().expect("a number");
            match verb {
                "sent" => self.sent.push(number),
                "received" => self.received.push(number),
                "closed" => self.closed = true,
                _ => panic!("a victim printed {line:?}"),
            }
        }
    }
}
