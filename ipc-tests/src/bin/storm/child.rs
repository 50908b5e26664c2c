//! The processes that are killed. Each sends, receives or leases without end, by every function that the queue offers
//! for that.
//!
//! It records each step in the ledger: before, where it may be killed before it knows the outcome, and after.

use crate::{
    events::{Event, Recorder},
    ids::{MessageId, ProcessNumber},
    message::{Message, MessageReceiver, MessageSender, record_decoding},
    outcome::Outcome,
};
use ipc_tests::{ledger::Ledger, rounds::Rng};
use nix::sys::{prctl, signal::Signal};
use std::{
    path::{Path, PathBuf},
    rc::Rc,
    thread,
    time::Duration,
};
use workring::{
    Lease, SendError,
    queue::{BytesLease, Raw},
};

mod by_futures;

/// The name of the end that each child is given.
pub(crate) const QUEUE: &str = "queue";
/// The name of the ledger.
pub(crate) const LEDGER: &str = "ledger";
/// Senders exit once there is a file of this name in the scratch directory.
pub(crate) const STOP_SENDING: &str = "stop-sending";
/// Receivers and lessees exit once there is a file of this name in the scratch directory.
pub(crate) const STOP_RECEIVING: &str = "stop-receiving";

/// A message becomes a dead letter when it is returned this often.
pub(crate) const MAX_DELIVERIES: u32 = 15;

/// The time limit of waits that have one.
const SHORT_WAIT: Duration = Duration::from_millis(2);
/// The most leases that a lessee holds at a time.
const MAX_LEASES: usize = 3;

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Receiver,
    Lessee,
}

impl Role {
    const ALL: [Self; 3] = [Self::Sender, Self::Receiver, Self::Lessee];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
            Self::Lessee => "lessee",
        }
    }
}

/// The arguments of a child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChildArguments<'a> {
    pub(crate) role: Role,
    pub(crate) process: ProcessNumber,
    pub(crate) max_length: usize,
    pub(crate) max_batch: usize,
    /// The longest pause between two messages, in microseconds; 0: none.
    pub(crate) max_pause: u64,
    /// Uses only waits without a time limit.
    pub(crate) always_waits: bool,
    /// Sends, receives or leases by futures.
    pub(crate) by_futures: bool,
    pub(crate) seed: u64,
    pub(crate) scratch: &'a Path,
}

impl ChildArguments<'_> {
    pub(crate) fn to_arguments(self) -> Vec<String> {
        vec![
            self.role.name().to_owned(),
            self.process.0.to_string(),
            self.max_length.to_string(),
            self.max_batch.to_string(),
            self.max_pause.to_string(),
            self.always_waits.to_string(),
            self.by_futures.to_string(),
            self.seed.to_string(),
            self.scratch.display().to_string(),
        ]
    }
}

/// Runs as the child that the arguments describe. Returns false if they describe none.
pub(crate) fn run_as_child(arguments: &[String]) -> bool {
    let [
        name,
        process,
        max_length,
        max_batch,
        max_pause,
        always_waits,
        by_futures,
        seed,
        scratch,
    ] = arguments
    else {
        return false;
    };
    let Some(role) = Role::ALL.into_iter().find(|role| role.name() == name) else {
        return false;
    };
    // Otherwise the child would outlive a parent that is killed.
    prctl::set_pdeathsig(Signal::SIGKILL).expect("a signal when the parent dies");
    let process = ProcessNumber(process.parse().expect("a process number"));
    let scratch = PathBuf::from(scratch);
    let ledger = Ledger::create(&scratch, LEDGER).expect("the ledger");
    let recorder: &'static Recorder = Box::leak(Box::new(Recorder::new(ledger, process)));
    record_decoding(
        recorder,
        match role {
            Role::Lessee => Event::Leased,
            Role::Sender | Role::Receiver => Event::Receiving,
        },
    );
    let mut child = Child {
        process,
        recorder,
        rng: Rng::with_seed(seed.parse().expect("a seed")),
        max_length: max_length.parse().expect("a length"),
        max_batch: max_batch.parse().expect("a number"),
        send_attempts: 0,
        max_pause: max_pause.parse().expect("microseconds"),
        always_waits: always_waits.parse().expect("true or false"),
        may_drop: false,
        first_task: None,
        scratch,
    };
    let by_futures = by_futures.parse().expect("true or false");
    if let Role::Sender = role {
        let queue = workring::inherit(QUEUE).expect("the queue");
        if by_futures {
            child.send_by_futures(&queue);
        } else {
            child.send(&queue);
        }
        return true;
    }
    let queue = workring::inherit(QUEUE).expect("the queue");
    match (role, by_futures) {
        (Role::Lessee, false) => child.lease(&queue),
        (Role::Lessee, true) => child.lease_by_futures(&queue),
        (_, false) => child.receive(&queue),
        (_, true) => child.receive_by_futures(&queue),
    }
    true
}

struct Child {
    process: ProcessNumber,
    recorder: &'static Recorder,
    rng: Rng,
    max_length: usize,
    max_batch: usize,
    /// How many messages it has begun to send.
    send_attempts: u32,
    max_pause: u64,
    always_waits: bool,
    /// Whether the last future might be dropped.
    may_drop: bool,
    /// In the second task of a process: what the first one has done.
    first_task: Option<Rc<by_futures::Progress>>,
    scratch: PathBuf,
}

impl Child {
    /// Returns whether the file that ends this role exists. Sometimes pauses first: if all children were always busy,
    /// the parent and new children would have to wait for a processor.
    fn is_over(&mut self, stop_file: &str) -> bool {
        if self.max_pause > 0 && self.rng.u8(0..4) == 0 {
            thread::sleep(Duration::from_micros(self.rng.u64(0..self.max_pause)));
        }
        self.scratch.join(stop_file).exists()
    }

    /// Chooses one of several ways to do something. The last one waits without a time limit.
    fn choose_way(&mut self, ways: u8) -> u8 {
        if self.always_waits {
            ways - 1
        } else {
            self.rng.u8(0..ways)
        }
    }

    fn send(&mut self, queue: &MessageSender) {
        while !self.is_over(STOP_SENDING) {
            let is_batch = self.max_batch > 1 && self.rng.bool();
            let outcome = if is_batch {
                self.send_batch(queue)
            } else {
                self.send_one(queue)
            };
            if let Outcome::Closed = outcome {
                return;
            }
        }
    }

    /// Makes the next message, and records that it is about to be sent.
    fn next_message(&mut self) -> Message {
        let id = MessageId::new(self.process, self.send_attempts);
        self.send_attempts += 1;
        self.recorder.record(Event::Sending, id);
        Message::new(id, self.max_length)
    }

    fn send_one(&mut self, queue: &MessageSender) -> Outcome<()> {
        let message = self.next_message();
        let id = message.id;
        let outcome = self.send_by_any_function(queue, message);
        self.record_end_of_send(id, &outcome);
        outcome
    }

    fn record_end_of_send(&self, id: MessageId, outcome: &Outcome<()>) {
        let event = match outcome {
            Outcome::Done(()) => Event::Accepted,
            Outcome::WouldBlock | Outcome::Closed => Event::Rejected,
        };
        self.recorder.record(event, id);
    }

    fn send_by_any_function(&mut self, queue: &MessageSender, message: Message) -> Outcome<()> {
        match self.choose_way(4) {
            0 => match queue.try_send(message) {
                Ok(()) => Outcome::Done(()),
                Err(error) => Outcome::of_try_send(&error),
            },
            1 => match queue.send_timeout(message, SHORT_WAIT) {
                Ok(()) => Outcome::Done(()),
                Err(error) => Outcome::of_send_timeout(&error),
            },
            2 => send_in_place(queue, &message),
            _ => match queue.send(message) {
                Ok(()) => Outcome::Done(()),
                Err(error) => Outcome::of_send(&error),
            },
        }
    }

    fn send_batch(&mut self, queue: &MessageSender) -> Outcome<()> {
        let (ids, messages) = self.next_messages();
        let (accepted, outcome) = self.send_batch_by_any_function(queue, messages);
        self.record_end_of_batch(&ids, accepted);
        outcome
    }

    /// Makes the messages of the next batch, and records that they are about to be sent.
    fn next_messages(&mut self) -> (Vec<MessageId>, Vec<Message>) {
        let count = self.rng.usize(1..=self.max_batch);
        let messages: Vec<Message> = (0..count).map(|_| self.next_message()).collect();
        let ids = messages.iter().map(|message| message.id).collect();
        (ids, messages)
    }

    fn record_end_of_batch(&self, ids: &[MessageId], accepted: usize) {
        for (number, &id) in ids.iter().enumerate() {
            let event = if number < accepted {
                Event::Accepted
            } else {
                Event::Rejected
            };
            self.recorder.record(event, id);
        }
    }

    /// Returns how many of the messages were accepted, and the outcome of the first that was not.
    fn send_batch_by_any_function(
        &mut self,
        queue: &MessageSender,
        messages: Vec<Message>,
    ) -> (usize, Outcome<()>) {
        match self.choose_way(3) {
            0 => match queue.try_send_many(messages) {
                Ok(count) => (count, Outcome::Done(())),
                Err(error) => (error.accepted, Outcome::of_try_send(&error.error)),
            },
            1 => match queue.send_many_timeout(messages, SHORT_WAIT) {
                Ok(count) => (count, Outcome::Done(())),
                Err(error) => (error.accepted, Outcome::of_send_timeout(&error.error)),
            },
            _ => match queue.send_many(messages) {
                Ok(count) => (count, Outcome::Done(())),
                Err(error) => (error.accepted, Outcome::of_send(&error.error)),
            },
        }
    }

    fn receive(&mut self, queue: &MessageReceiver) {
        let mut received = Vec::new();
        while !self.is_over(STOP_RECEIVING) {
            let is_batch = self.max_batch > 1 && self.rng.bool();
            let outcome = if is_batch {
                self.receive_many(queue, &mut received)
            } else {
                self.receive_one(queue)
                    .map(|message| received.push(message))
            };
            self.record_acknowledged(&mut received);
            if let Outcome::Closed = outcome {
                return;
            }
        }
    }

    /// Decoding has recorded `Receiving` for each of them.
    fn record_acknowledged(&self, received: &mut Vec<Message>) {
        for message in received.drain(..) {
            self.recorder.record(Event::Acknowledged, message.id);
        }
    }

    fn receive_one(&mut self, queue: &MessageReceiver) -> Outcome<Message> {
        match self.choose_way(3) {
            0 => queue.try_recv().into(),
            1 => queue.recv_timeout(SHORT_WAIT).into(),
            _ => queue.recv().into(),
        }
    }

    fn receive_many(&mut self, queue: &MessageReceiver, into: &mut Vec<Message>) -> Outcome<()> {
        let most = self.rng.usize(1..=self.max_batch);
        let outcome: Outcome<usize> = match self.choose_way(3) {
            0 => queue.try_recv_many(into, most).into(),
            1 => queue.recv_many_timeout(into, most, SHORT_WAIT).into(),
            _ => queue.recv_many(into, most).into(),
        };
        outcome.map(drop)
    }

    fn lease(&mut self, queue: &MessageReceiver) {
        let mut held = Vec::new();
        while !self.is_over(STOP_RECEIVING) {
            // A lessee that holds messages must not wait: the process that it waits for may need their blocks.
            let may_wait = held.is_empty();
            let leased = self.lease_by_any_function(queue, may_wait);
            if !self.use_lease(&mut held, leased) {
                break;
            }
        }
        self.end_all_leases(&mut held);
    }

    /// Keeps a lease, or ends one. Returns false if the queue is closed.
    fn use_lease<'a>(&mut self, held: &mut Vec<Held<'a>>, leased: Outcome<Held<'a>>) -> bool {
        match leased {
            Outcome::Done(lease) if self.rng.bool() => held.push(lease.into_owned()),
            Outcome::Done(lease) => held.push(lease),
            Outcome::WouldBlock => self.end_one_lease(held),
            Outcome::Closed => return false,
        }
        if held.len() == MAX_LEASES || self.rng.bool() {
            self.end_one_lease(held);
        }
        true
    }

    fn end_all_leases(&mut self, held: &mut Vec<Held<'_>>) {
        while !held.is_empty() {
            self.end_one_lease(held);
        }
    }

    /// Records a lease of bytes, which nothing has decoded.
    fn hold_bytes<'a>(&self, lease: BytesLease<'a>) -> Held<'a> {
        let message = Message::read(&lease).expect("a whole message");
        self.recorder.record(Event::Leased, message.id);
        Held::Bytes(message.id, lease)
    }

    fn lease_by_any_function<'a>(
        &mut self,
        queue: &'a MessageReceiver,
        may_wait: bool,
    ) -> Outcome<Held<'a>> {
        let way = match (may_wait, self.always_waits) {
            (false, _) => self.rng.u8(0..2),
            (true, false) => self.rng.u8(0..5),
            (true, true) => self.rng.u8(3..5),
        };
        let outcome: Outcome<BytesLease<'_>> = match way {
            0 => return Outcome::from(queue.try_lease()).map(Held::Message),
            1 => queue.try_lease_bytes().into(),
            2 => return Outcome::from(queue.lease_timeout(SHORT_WAIT)).map(Held::Message),
            3 => return Outcome::from(queue.lease()).map(Held::Message),
            _ => queue.lease_bytes().into(),
        };
        outcome.map(|lease| self.hold_bytes(lease))
    }

    /// Acknowledges or returns one of the leases, if there is one.
    fn end_one_lease(&mut self, held: &mut Vec<Held<'_>>) {
        if held.is_empty() {
            return;
        }
        let lease = held.swap_remove(self.rng.usize(0..held.len()));
        let id = lease.id();
        if id.is_poison() || self.rng.u8(0..16) == 0 {
            let event = if lease.earlier_deliveries() + 1 == MAX_DELIVERIES {
                Event::ReturningLastDelivery
            } else {
                Event::Returning
            };
            self.recorder.record(event, id);
            lease.nack();
        } else {
            self.recorder.record(Event::Acknowledging, id);
            lease.ack();
            self.recorder.record(Event::Acknowledged, id);
        }
    }
}

/// A lease of either kind.
enum Held<'a> {
    Message(Lease<'a, Message, Raw>),
    Bytes(MessageId, BytesLease<'a>),
}

impl Held<'_> {
    fn id(&self) -> MessageId {
        match self {
            Self::Message(lease) => lease.id,
            Self::Bytes(id, _) => *id,
        }
    }

    /// Makes a lease that does not borrow its receiver.
    fn into_owned(self) -> Held<'static> {
        match self {
            Self::Message(lease) => Held::Message(lease.into_owned()),
            Self::Bytes(id, lease) => Held::Bytes(id, lease.into_owned()),
        }
    }

    /// Returns how often the message was delivered before.
    fn earlier_deliveries(&self) -> u32 {
        match self {
            Self::Message(lease) => lease.deliveries(),
            Self::Bytes(_, lease) => lease.deliveries(),
        }
    }

    fn ack(self) {
        match self {
            Self::Message(lease) => drop(lease.ack()),
            Self::Bytes(_, lease) => lease.ack(),
        }
    }

    fn nack(self) {
        match self {
            Self::Message(lease) => lease.nack(),
            Self::Bytes(_, lease) => lease.nack(),
        }
    }
}

fn send_in_place(queue: &MessageSender, message: &Message) -> Outcome<()> {
    let mut room = match queue.reserve(message.length) {
        Ok(room) => room,
        Err(SendError::Closed(_)) => return Outcome::Closed,
        Err(other) => panic!("reserve: {other}"),
    };
    message.write(&mut room);
    match room.commit() {
        Ok(()) => Outcome::Done(()),
        Err(SendError::Closed(())) => Outcome::Closed,
        Err(other) => panic!("commit: {other}"),
    }
}
