//! What the processes do that are killed. Each does one thing without end, in every way that the queue offers, and
//! notes it: before, where it may be killed before it knows what came of it, and after.

use crate::message::{Deed, Hand, Id, Life, Message};
use ipc_tests::{ledger::Ledger, rounds::Rng};
use nix::sys::{prctl, signal::Signal};
use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};
use workring::{
    Lease, Receiver, RecvError, SendError, Sender,
    error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError},
    queue::{BytesLease, Raw},
};

pub(crate) type Outgoing = Sender<Message, Raw>;
pub(crate) type Incoming = Receiver<Message, Raw>;

/// The name of the end that each child is given.
pub(crate) const QUEUE: &str = "queue";
/// The name of the ledger of all.
pub(crate) const LEDGER: &str = "ledger";
/// While there is a file of this name, senders end; see [`Role`].
pub(crate) const NO_MORE_SENDING: &str = "no-more-sending";
/// While there is a file of this name, receivers and lessees end.
pub(crate) const NO_MORE_RECEIVING: &str = "no-more-receiving";

/// A wait that ends by itself takes so long.
const SHORT: Duration = Duration::from_millis(2);
/// So many leases has a lessee at a time.
const HANDS: usize = 3;

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Sender,
    Receiver,
    Lessee,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Sender, Self::Receiver, Self::Lessee];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sender => "a-sender",
            Self::Receiver => "a-receiver",
            Self::Lessee => "a-lessee",
        }
    }
}

/// The arguments of a child.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commands<'a> {
    pub(crate) role: Role,
    pub(crate) life: Life,
    pub(crate) size: usize,
    pub(crate) batch: usize,
    /// How long it rests now and then, at the most, in microseconds; 0: never.
    pub(crate) rest: u64,
    /// Waits as long as it takes, always.
    pub(crate) patient: bool,
    pub(crate) seed: u64,
    pub(crate) scratch: &'a Path,
}

impl Commands<'_> {
    pub(crate) fn to_arguments(self) -> Vec<String> {
        vec![
            self.role.name().to_owned(),
            self.life.0.to_string(),
            self.size.to_string(),
            self.batch.to_string(),
            self.rest.to_string(),
            self.patient.to_string(),
            self.seed.to_string(),
            self.scratch.display().to_string(),
        ]
    }
}

/// Plays the role that the arguments name; false if they name none.
pub(crate) fn play(arguments: &[String]) -> bool {
    let [name, life, size, batch, rest, patient, seed, scratch] = arguments else {
        return false;
    };
    let Some(role) = Role::ALL.into_iter().find(|role| role.name() == name) else {
        return false;
    };
    // Nobody else would end this child if the parent were killed.
    prctl::set_pdeathsig(Signal::SIGKILL).expect("a signal when the parent dies");
    let life = Life(life.parse().expect("a life"));
    let scratch = PathBuf::from(scratch);
    let ledger = Ledger::create(&scratch, LEDGER).expect("the ledger");
    let decoding = match role {
        Role::Lessee => Deed::Leased,
        _ => Deed::Receiving,
    };
    let mut child = Child {
        life,
        hand: Hand::new(ledger, life, decoding).for_decoding(),
        rng: Rng::with_seed(seed.parse().expect("a seed")),
        size: size.parse().expect("a size"),
        batch: batch.parse().expect("a number"),
        sent: 0,
        rest: rest.parse().expect("microseconds"),
        patient: patient.parse().expect("true or false"),
        scratch,
    };
    match role {
        Role::Sender => child.send(&workring::inherit(QUEUE).expect("the queue")),
        Role::Receiver => child.receive(&workring::inherit(QUEUE).expect("the queue")),
        Role::Lessee => child.lease(&workring::inherit(QUEUE).expect("the queue")),
    }
    true
}

struct Child {
    life: Life,
    hand: &'static Hand,
    rng: Rng,
    size: usize,
    batch: usize,
    /// How many messages it has begun to send.
    sent: u32,
    rest: u64,
    patient: bool,
    scratch: PathBuf,
}

/// What became of one attempt.
enum Outcome<T> {
    Done(T),
    /// Not this time.
    WouldBlock,
    Closed,
}

impl Child {
    /// Between two messages. Where all are always busy, killer and newborn have to queue for a processor.
    fn is_over(&mut self, file: &str) -> bool {
        if self.rest > 0 && self.rng.u8(0..4) == 0 {
            thread::sleep(Duration::from_micros(self.rng.u64(0..self.rest)));
        }
        self.scratch.join(file).exists()
    }

    fn send(&mut self, queue: &Outgoing) {
        while !self.is_over(NO_MORE_SENDING) {
            let batched = self.batch > 1 && self.rng.bool();
            let outcome = if batched {
                self.send_batch(queue)
            } else {
                self.send_one(queue)
            };
            if let Outcome::Closed = outcome {
                return;
            }
        }
    }

    /// The next message, which is noted as about to be sent.
    fn next(&mut self) -> Message {
        let message = Message::new(Id::new(self.life, self.sent), self.size);
        self.sent += 1;
        self.hand.note(Deed::Sending, message.id);
        message
    }

    fn send_one(&mut self, queue: &Outgoing) -> Outcome<()> {
        let message = self.next();
        let id = message.id;
        let outcome = self.send_somehow(queue, message);
        let deed = match outcome {
            Outcome::Done(()) => Deed::Accepted,
            Outcome::WouldBlock | Outcome::Closed => Deed::Refused,
        };
        self.hand.note(deed, id);
        outcome
    }

    fn send_batch(&mut self, queue: &Outgoing) -> Outcome<()> {
        let count = self.rng.usize(1..=self.batch);
        let messages: Vec<Message> = (0..count).map(|_| self.next()).collect();
        let ids: Vec<Id> = messages.iter().map(|message| message.id).collect();
        let (accepted, outcome) = self.send_many_somehow(queue, messages);
        for (number, &id) in ids.iter().enumerate() {
            let deed = if number < accepted {
                Deed::Accepted
            } else {
                Deed::Refused
            };
            self.hand.note(deed, id);
        }
        outcome
    }

    /// How many of the messages were accepted, and why not all.
    fn send_many_somehow(
        &mut self,
        queue: &Outgoing,
        messages: Vec<Message>,
    ) -> (usize, Outcome<()>) {
        match self.way(3) {
            0 => match queue.try_send_many(messages) {
                Ok(count) => (count, Outcome::Done(())),
                Err(error) => (error.accepted, not_sent_at_once(&error.error)),
            },
            1 => match queue.send_many_timeout(messages, SHORT) {
                Ok(count) => (count, Outcome::Done(())),
                Err(error) => (error.accepted, not_sent_in_time(&error.error)),
            },
            _ => match queue.send_many(messages) {
                Ok(count) => (count, Outcome::Done(())),
                Err(error) => (error.accepted, not_sent(&error.error)),
            },
        }
    }

    /// One of so many ways to do something, of which the last waits as long as it takes.
    fn way(&mut self, ways: u8) -> u8 {
        if self.patient {
            ways - 1
        } else {
            self.rng.u8(0..ways)
        }
    }

    fn send_somehow(&mut self, queue: &Outgoing, message: Message) -> Outcome<()> {
        match self.way(4) {
            0 => match queue.try_send(message) {
                Ok(()) => Outcome::Done(()),
                Err(error) => not_sent_at_once(&error),
            },
            1 => match queue.send_timeout(message, SHORT) {
                Ok(()) => Outcome::Done(()),
                Err(error) => not_sent_in_time(&error),
            },
            2 => send_in_place(queue, &message),
            _ => match queue.send(message) {
                Ok(()) => Outcome::Done(()),
                Err(error) => not_sent(&error),
            },
        }
    }

    fn receive(&mut self, queue: &Incoming) {
        let mut received = Vec::new();
        while !self.is_over(NO_MORE_RECEIVING) {
            let batched = self.batch > 1 && self.rng.bool();
            let outcome = if batched {
                self.receive_many(queue, &mut received)
            } else {
                self.receive_one(queue)
                    .map(|message| received.push(message))
            };
            // It was noted that they are about to be acknowledged when they were decoded.
            for message in received.drain(..) {
                self.hand.note(Deed::Settled, message.id);
            }
            if let Outcome::Closed = outcome {
                return;
            }
        }
    }

    fn receive_one(&mut self, queue: &Incoming) -> Outcome<Message> {
        match self.way(3) {
            0 => tried(queue.try_recv()),
            1 => timed(queue.recv_timeout(SHORT)),
            _ => waited(queue.recv()),
        }
    }

    fn receive_many(&mut self, queue: &Incoming, into: &mut Vec<Message>) -> Outcome<()> {
        let most = self.rng.usize(1..=self.batch);
        let outcome = match self.way(3) {
            0 => tried(queue.try_recv_many(into, most)),
            1 => timed(queue.recv_many_timeout(into, most, SHORT)),
            _ => waited(queue.recv_many(into, most)),
        };
        outcome.map(drop)
    }

    fn lease(&mut self, queue: &Incoming) {
        let mut held = Vec::new();
        while !self.is_over(NO_MORE_RECEIVING) {
            // Whoever has something in hand must not wait for others: they may wait for it.
            let may_wait = held.is_empty();
            match self.lease_somehow(queue, may_wait) {
                Outcome::Done(lease) => held.push(lease),
                Outcome::WouldBlock => self.put_one_down(&mut held),
                Outcome::Closed => break,
            }
            if held.len() == HANDS || self.rng.bool() {
                self.put_one_down(&mut held);
            }
        }
        while !held.is_empty() {
            self.put_one_down(&mut held);
        }
    }

    fn lease_somehow(&mut self, queue: &Incoming, may_wait: bool) -> Outcome<Held> {
        let way = match (may_wait, self.patient) {
            (false, _) => self.rng.u8(0..2),
            (true, false) => self.rng.u8(0..5),
            (true, true) => self.rng.u8(3..5),
        };
        let outcome = match way {
            0 => return tried(queue.try_lease()).map(Held::Message),
            1 => tried(queue.try_lease_bytes()),
            2 => return timed(queue.lease_timeout(SHORT)).map(Held::Message),
            3 => return waited(queue.lease()).map(Held::Message),
            _ => waited(queue.lease_bytes()),
        };
        outcome.map(|lease| {
            let message = Message::read(&lease).expect("a whole message");
            self.hand.note(Deed::Leased, message.id);
            Held::InPlace(message.id, lease)
        })
    }

    fn put_one_down(&mut self, held: &mut Vec<Held>) {
        if held.is_empty() {
            return;
        }
        let lease = held.swap_remove(self.rng.usize(0..held.len()));
        let id = lease.id();
        if id.is_poison() || self.rng.u8(0..16) == 0 {
            self.hand.note(Deed::Returning, id);
            lease.give_back();
        } else {
            self.hand.note(Deed::Settling, id);
            lease.acknowledge();
            self.hand.note(Deed::Settled, id);
        }
    }
}

/// A lease of either kind.
enum Held {
    Message(Lease<Message, Raw>),
    InPlace(Id, BytesLease),
}

impl Held {
    fn id(&self) -> Id {
        match self {
            Self::Message(lease) => lease.id,
            Self::InPlace(id, _) => *id,
        }
    }

    fn acknowledge(self) {
        match self {
            Self::Message(lease) => drop(lease.ack()),
            Self::InPlace(_, lease) => lease.ack(),
        }
    }

    fn give_back(self) {
        match self {
            Self::Message(lease) => lease.nack(),
            Self::InPlace(_, lease) => lease.nack(),
        }
    }
}

impl<T> Outcome<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Done(value) => Outcome::Done(change(value)),
            Self::WouldBlock => Outcome::WouldBlock,
            Self::Closed => Outcome::Closed,
        }
    }
}

fn not_sent(error: &SendError<Message>) -> Outcome<()> {
    match error {
        SendError::Closed(_) => Outcome::Closed,
        other => panic!("a send that waits: {other}"),
    }
}

fn not_sent_in_time(error: &SendTimeoutError<Message>) -> Outcome<()> {
    match error {
        SendTimeoutError::Timeout(_) => Outcome::WouldBlock,
        SendTimeoutError::Closed(_) => Outcome::Closed,
        other => panic!("a send that waits for a time: {other}"),
    }
}

fn not_sent_at_once(error: &TrySendError<Message>) -> Outcome<()> {
    match error {
        TrySendError::Full(_) => Outcome::WouldBlock,
        TrySendError::Closed(_) => Outcome::Closed,
        other => panic!("a send that does not wait: {other}"),
    }
}

fn send_in_place(queue: &Outgoing, message: &Message) -> Outcome<()> {
    let mut room = match queue.reserve(message.length) {
        Ok(room) => room,
        Err(SendError::Closed(_)) => return Outcome::Closed,
        Err(other) => panic!("reserve: {other}"),
    };
    message.write(&mut room);
    match room.commit() {
        Ok(()) => Outcome::Done(()),
        Err(SendError::Closed(_)) => Outcome::Closed,
        Err(other) => panic!("commit: {other}"),
    }
}

fn waited<T>(result: Result<T, RecvError>) -> Outcome<T> {
    match result {
        Ok(value) => Outcome::Done(value),
        Err(RecvError::Closed) => Outcome::Closed,
        Err(other) => panic!("a receive that waits: {other}"),
    }
}

fn timed<T>(result: Result<T, RecvTimeoutError>) -> Outcome<T> {
    match result {
        Ok(value) => Outcome::Done(value),
        Err(RecvTimeoutError::Timeout) => Outcome::WouldBlock,
        Err(RecvTimeoutError::Closed) => Outcome::Closed,
        Err(other) => panic!("a receive that waits for a time: {other}"),
    }
}

fn tried<T>(result: Result<T, TryRecvError>) -> Outcome<T> {
    match result {
        Ok(value) => Outcome::Done(value),
        Err(TryRecvError::Empty) => Outcome::WouldBlock,
        Err(TryRecvError::Closed) => Outcome::Closed,
        Err(other) => panic!("a receive that does not wait: {other}"),
    }
}
