//! The state of a victim during its operation.

use crate::message::{Message, MessageReceiver, MessageSender};
use ipc_tests::role::Io;
use std::{pin::Pin, sync::Arc};
use workring::{Lease, queue::Raw, rendezvous::Connection};

/// A future that waits. Returns what is to be reported, if it has succeeded.
pub(crate) type Pending = Pin<Box<dyn Future<Output = Option<(&'static str, u32)>>>>;

/// What a victim has, and what it is going to print.
pub(crate) struct Victim {
    /// Shared with the future that waits.
    pub(crate) tx: Option<Arc<MessageSender>>,
    pub(crate) rx: Option<Arc<MessageReceiver>>,
    pub(crate) pending: Option<Pending>,
    pub(crate) connection: Option<Connection>,
    pub(crate) leases: Vec<Lease<'static, Message, Raw>>,
    /// For receiving several messages at a time.
    pub(crate) buffer: Vec<Message>,
    /// The process id of the dead predecessor, if there is one.
    pub(crate) predecessor: u32,
    /// The name of the queue, or of the parent's listener, if there is one.
    pub(crate) queue_name: String,
    reports: Vec<(&'static str, u32)>,
}

impl Victim {
    pub(crate) fn new(predecessor: u32, queue_name: String) -> Self {
        Self {
            tx: None,
            rx: None,
            pending: None,
            connection: None,
            // Large enough that the operation does not have to allocate.
            leases: Vec::with_capacity(16),
            buffer: Vec::with_capacity(16),
            predecessor,
            queue_name,
            reports: Vec::with_capacity(64),
        }
    }

    pub(crate) fn tx(&self) -> &MessageSender {
        self.tx.as_deref().expect("a sender")
    }

    pub(crate) fn rx(&self) -> &MessageReceiver {
        self.rx.as_deref().expect("a receiver")
    }

    /// Adds a line that is printed after the operation (see [`Testimony::add`](crate::testimony::Testimony::add)).
    pub(crate) fn report(&mut self, verb: &'static str, number: u32) {
        self.reports.push((verb, number));
    }

    pub(crate) fn send(&mut self, number: u32) {
        self.send_message(Message::small(number));
    }

    pub(crate) fn send_message(&mut self, message: Message) {
        if self.tx().send(message).is_ok() {
            self.report("sent", message.number);
        }
    }

    pub(crate) fn report_received(&mut self, message: Option<Message>) {
        if let Some(message) = message {
            self.report("received", message.number);
        }
    }

    /// Prints the lines that were added.
    pub(crate) fn print_reports(&mut self, io: &mut Io) {
        let reports = self.reports.drain(..);
        reports.for_each(|(verb, number)| io.say(format!("{verb} {number}")));
    }
}
