//! The child's side: does one operation between marks, and says what came of it.

use crate::{
    operations::{Operation, named},
    queue::{Message, Rx, Tx},
    tracer::{MARK, READY},
};
use ipc_tests::{
    Pid,
    role::{Io, Role},
};
use nix::sys::{ptrace, signal::kill};
use workring::{Lease, queue::Raw};

pub(crate) const VICTIM: (&str, Role) = ("victim", victim);

/// What a child has in its hands, and what it has to say of it.
#[derive(Default)]
pub(crate) struct Victim {
    pub(crate) tx: Option<Tx>,
    pub(crate) rx: Option<Rx>,
    pub(crate) leases: Vec<Lease<Message, Raw>>,
    /// What it has received, several at a time.
    pub(crate) bag: Vec<Message>,
    /// The process id of somebody who is dead when the operation begins.
    pub(crate) corpse: u32,
    /// The name of the queue, if it has one.
    pub(crate) name: String,
    words: Vec<(&'static str, u32)>,
}

impl Victim {
    pub(crate) fn tx(&self) -> &Tx {
        self.tx.as_ref().expect("a sender")
    }

    pub(crate) fn rx(&self) -> &Rx {
        self.rx.as_ref().expect("a receiver")
    }

    /// To be said once the operation is done.
    pub(crate) fn note(&mut self, verb: &'static str, number: u32) {
        self.words.push((verb, number));
    }

    pub(crate) fn send(&mut self, number: u32) {
        self.send_message(Message::small(number));
    }

    pub(crate) fn send_message(&mut self, message: Message) {
        if self.tx().send(message).is_ok() {
            self.note("sent", message.number);
        }
    }

    pub(crate) fn take(&mut self, message: Option<Message>) {
        if let Some(message) = message {
            self.note("took", message.number);
        }
    }

    fn speak(&mut self, io: &mut Io) {
        let words = self.words.drain(..);
        words.for_each(|(verb, number)| io.say(format!("{verb} {number}")));
    }
}

/// Plays its operation: `victim OPERATION CORPSE NAME`.
fn victim(io: &mut Io) {
    let name: String = io.argument();
    let operation = named(&name).expect("an operation");
    let mut victim = Victim {
        corpse: io.argument(),
        name: io.argument(),
        words: Vec::with_capacity(64),
        leases: Vec::with_capacity(16),
        bag: Vec::with_capacity(16),
        ..Victim::default()
    };
    let me = Pid::this();
    ptrace::traceme().expect("be traced");
    let Operation { prepare, act, .. } = operation;
    prepare(&mut victim);
    victim.speak(io);
    io.say(READY);
    mark(me);
    act(&mut victim);
    mark(me);
    victim.speak(io);
    mark(me);
}

/// Says to the tracer how far this is.
fn mark(me: Pid) {
    kill(me, MARK).expect("stop");
}
