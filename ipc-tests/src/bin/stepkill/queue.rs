//! The parent's end of a queue, and where each of its messages was seen.
//!
//! `queue/checks.rs` has the checks at the end of a round.

use crate::{
    message::{Message, MessageReceiver, MessageSender},
    traffic::TrafficProcesses,
    violation::Failure,
};
use ipc_tests::memfd::{self, Contents};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    mem,
    ops::RangeInclusive,
    os::fd::AsRawFd,
};
use workring::{
    Lease, Options,
    error::TryRecvError,
    queue::{Raw, remove_named},
    test_hooks,
};

#[path = "queue/checks.rs"]
mod checks;

/// The parent sends numbers above this one besides those of the operation.
const FIRST_FRESH: u32 = 1_000;
/// More than a lap of the smallest ring, which has 1,024 slots.
const LAP: u32 = 1_050;

/// A queue, and its messages by number.
pub(crate) struct Queue {
    /// `None`: the victim has the last sender.
    pub(crate) tx: Option<MessageSender>,
    pub(crate) rx: MessageReceiver,
    accepted: BTreeSet<u32>,
    /// How often each message was received, or read as a dead letter.
    seen: BTreeMap<u32, u32>,
    last_fresh: u32,
    round: u64,
    held: Vec<Lease<'static, Message, Raw>>,
    deaths: u64,
    /// A receive has returned `Closed`.
    has_ended: bool,
    /// A message that was delivered after the end, or became a dead letter too early.
    wrong_message: Option<String>,
    /// The last field: a name can be removed only after this process has detached.
    name: Option<Name>,
}

impl Queue {
    pub(crate) fn new(options: &Options, name: Option<String>) -> Self {
        let created = match &name {
            Some(name) => options.create_named_with(name).expect("a queue"),
            None => options.channel_with().expect("a queue"),
        };
        let (tx, rx) = created;
        Self {
            tx: Some(tx),
            rx,
            accepted: BTreeSet::new(),
            seen: BTreeMap::new(),
            last_fresh: FIRST_FRESH,
            round: 0,
            held: Vec::new(),
            deaths: 0,
            has_ended: false,
            wrong_message: None,
            name: name.map(Name),
        }
    }

    /// Makes a queue whose memory holds `contents`, to which only this process is attached.
    pub(crate) fn copy(&self, contents: &Contents) -> Self {
        let (tx, rx) = test_hooks::stand_in(&self.rx, contents.to_file()).expect("a copy");
        Self {
            tx,
            rx,
            accepted: self.accepted.clone(),
            seen: self.seen.clone(),
            held: Vec::new(),
            wrong_message: self.wrong_message.clone(),
            name: None,
            ..*self
        }
    }

    /// Opens the queue's memory file, for reading.
    pub(crate) fn memory(&self) -> File {
        memfd::again(test_hooks::memory(&self.rx))
    }

    /// Sets the number of the round, on which arbitrary choices depend, such as which blocks are in use.
    pub(crate) fn set_round(&mut self, round: u64) {
        self.round = round;
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|name| name.0.as_str())
    }

    /// Sends a message. Returns false if the queue is full or closed.
    pub(crate) fn send(&mut self, number: u32) -> bool {
        self.send_message(Message::small(number))
    }

    pub(crate) fn send_message(&mut self, message: Message) -> bool {
        let tx = self.tx.as_ref().expect("a sender");
        let sent = tx.try_send(message).is_ok();
        if sent {
            self.accepted.insert(message.number);
        }
        sent
    }

    /// Sends several messages as one batch.
    pub(crate) fn send_batch(&mut self, numbers: RangeInclusive<u32>) {
        let tx = self.tx.as_ref().expect("a sender");
        let messages = numbers.clone().map(Message::small);
        tx.send_many(messages).expect("room");
        self.accepted.extend(numbers);
    }

    /// Makes the next messages use other blocks than they otherwise would.
    pub(crate) fn skip_blocks(&self, count: usize) {
        let Some(tx) = &self.tx else {
            return;
        };
        // An error means that there will be no next messages.
        (0..count).for_each(|_| drop(tx.try_reserve(Message::MIN_LENGTH)));
    }

    /// Sends a message that was not accepted before. Returns false if it was, or the queue is full or closed.
    pub(crate) fn send_once(&mut self, number: u32) -> bool {
        !self.accepted.contains(&number) && self.send(number)
    }

    /// Sends a message with a new number. Returns false if the queue is full or closed.
    pub(crate) fn send_fresh(&mut self) -> bool {
        self.last_fresh += 1;
        self.send(self.last_fresh)
    }

    /// Receives the next message, if there is one.
    pub(crate) fn receive(&mut self) -> Option<u32> {
        let lease = match self.rx.try_lease() {
            Ok(lease) => lease,
            Err(error) => {
                self.has_ended |= matches!(error, TryRecvError::Closed);
                return None;
            }
        };
        let Message { number, .. } = lease.ack();
        if self.has_ended {
            self.wrong_message = Some(format!("{number} came after the end"));
        }
        *self.seen.entry(number).or_default() += 1;
        Some(number)
    }

    pub(crate) fn receive_all(&mut self) {
        while self.receive().is_some() {}
    }

    /// Receives what is in the queue, and then sends and receives for several laps, as long as the queue is open.
    pub(crate) fn do_laps(&mut self) -> Result<(), Failure> {
        self.do_messages(4 * LAP)
    }

    /// Does the same for one lap, after which every slot and every block in use was used again.
    pub(crate) fn do_a_lap(&mut self) -> Result<(), Failure> {
        self.do_messages(LAP)
    }

    fn do_messages(&mut self, messages: u32) -> Result<(), Failure> {
        self.receive_all();
        if self.tx.is_none() {
            return Ok(());
        }
        // Keeps several messages queued, because a wrong word does harm only in a block that is in use.
        for _ in 2..self.rx.capacity() {
            self.send_fresh();
        }
        for number in 0..messages {
            if !self.send_fresh() || self.receive().is_none() {
                if self.rx.is_closed() {
                    break;
                }
                let story =
                    format!("message {number} of several laps could not be sent or received");
                return Err(Failure::wedged(story));
            }
        }
        Ok(())
    }

    /// Does [`do_laps`](Self::do_laps) in two other processes.
    pub(crate) fn do_laps_elsewhere(
        &mut self,
        traffic: &mut TrafficProcesses,
    ) -> Result<(), Failure> {
        self.receive_all();
        let [first, second, end] = [0, 2 * LAP, 4 * LAP].map(|before| self.last_fresh + 1 + before);
        self.last_fresh = end - 1;
        let numbers = [first..second, second..end];
        let memory = test_hooks::memory(&self.rx).as_raw_fd();
        let results = traffic.run(memory, &numbers);
        for (result, numbers) in results.iter().zip(&numbers) {
            let sent = numbers.clone().take(result.sent as usize);
            self.accepted.extend(sent);
            for &number in &result.received {
                *self.seen.entry(number).or_default() += 1;
            }
            let is_in_order = results.iter().all(|by| {
                let of_sender = by.received.iter().filter(|number| numbers.contains(number));
                of_sender.is_sorted()
            });
            if !is_in_order {
                let story = format!("of {numbers:?}, some came after later ones");
                return Err(Failure::wedged(story));
            }
        }
        let received = results.iter().map(|result| result.received.len());
        let received = received.sum::<usize>();
        if received == 4 * LAP as usize || self.rx.is_closed() {
            return Ok(());
        }
        Err(Failure::wedged(format!(
            "two other processes got {received} messages through, less than several laps"
        )))
    }

    /// Leases messages, and sends others in their place, so that as many blocks as possible are in use.
    pub(crate) fn hold_messages(&mut self) {
        let capacity = self.rx.capacity() as u64;
        for _ in 0..self.round % capacity {
            if self.rx.is_closed() || self.tx.is_none() {
                return;
            }
            if let Ok(lease) = self.rx.try_lease().map(Lease::into_owned) {
                self.held.push(lease);
                self.send_fresh();
            }
        }
    }

    /// Acknowledges the messages that are held.
    pub(crate) fn acknowledge_held(&mut self) {
        for lease in mem::take(&mut self.held) {
            let Message { number, .. } = lease.ack();
            *self.seen.entry(number).or_default() += 1;
        }
    }

    /// Closes the queue and receives what is left, up to the end, which must need no wait.
    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        self.rx.close();
        self.receive_all();
        if self.has_ended {
            return Ok(());
        }
        let story = "a closed queue does not end, though there is nothing to wait for";
        Err(Failure::wedged(story))
    }

    /// Reports the death of a child.
    pub(crate) fn report_exit(&mut self, pid: u32) {
        self.deaths += 1;
        self.rx.report_exit(pid);
    }
}

/// The name of a queue, which is removed when this is dropped.
struct Name(String);

impl Drop for Name {
    fn drop(&mut self) {
        if let Err(error) = remove_named(&self.0) {
            eprintln!("{} is left behind: {error}", self.0);
        }
    }
}
