//! The parent's side of a queue, and what it knows of its messages.

use crate::carriers::{Carried, Carriers};
use ipc_tests::memfd::{self, Contents};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    mem,
    ops::RangeInclusive,
    os::fd::AsRawFd,
    thread,
    time::{Duration, Instant},
};
use workring::{
    Lease, Options, Receiver, Sender,
    error::{DecodeError, EncodeError, RecvTimeoutError, TryRecvError, TrySendError},
    queue::{Codec, Raw, Stats, remove_named},
    test_hooks,
};

/// A number, and as many bytes more as it takes to be of a certain length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) number: u32,
    pub(crate) length: usize,
}

/// What a message has at least.
const SHORTEST: usize = size_of::<u32>();

impl Message {
    pub(crate) const fn small(number: u32) -> Self {
        let length = SHORTEST;
        Self { number, length }
    }
}

impl Codec<Message> for Raw {
    const NAME: &'static str = "stepkill";

    fn encode(message: &Message, into: &mut [u8]) -> Result<usize, EncodeError> {
        let into = into.get_mut(..message.length).ok_or(EncodeError::NoRoom)?;
        let number = into.first_chunk_mut().ok_or(EncodeError::NoRoom)?;
        *number = message.number.to_le_bytes();
        Ok(message.length)
    }

    fn encoded_len(message: &Message) -> Result<usize, EncodeError> {
        Ok(message.length)
    }

    fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        let number = bytes
            .first_chunk()
            .ok_or_else(|| DecodeError::new("too short"))?;
        Ok(Message {
            number: u32::from_le_bytes(*number),
            length: bytes.len(),
        })
    }
}

pub(crate) type Tx = Sender<Message, Raw>;
pub(crate) type Rx = Receiver<Message, Raw>;

/// Far longer than anything takes, also when all of this machine's tests are paused for a benchmark.
const PATIENCE: Duration = Duration::from_secs(30);
/// Numbers that the parent sends on top of those of the operation start here.
const FRESH: u32 = 1_000;
/// Dead letters that nobody should have given up.
const ATTEMPTS: u32 = 3;
/// More than a lap of the smallest ring, which has 1,024 slots.
const LAP: u32 = 1_050;

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Violation {
    /// The others do not go on as they should.
    Wedged,
    Lost,
    Duplicated,
    Leaked,
}

/// Why a round has failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) violation: Violation,
    pub(crate) story: String,
}

impl Failure {
    pub(crate) fn new(violation: Violation, story: impl Into<String>) -> Self {
        let story = story.into();
        Self { violation, story }
    }
}

/// A queue, and its messages by number.
pub(crate) struct Queue {
    /// `None`: the victim has the last sender.
    pub(crate) tx: Option<Tx>,
    pub(crate) rx: Rx,
    accepted: BTreeSet<u32>,
    /// How often each was received, or read as a dead letter.
    seen: BTreeMap<u32, u32>,
    next: u32,
    round: u64,
    hoard: Vec<Lease<Message, Raw>>,
    victims: u64,
    /// The queue has said that it is over.
    over: bool,
    /// What it has given all the same, or given up too early.
    wrong: Option<String>,
    /// If it has one. The last field: whoever is attached has to go first.
    name: Option<Name>,
}

/// What victims have told of themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Testimony {
    /// What was in flight in an operation that did not return.
    pub(crate) uncertain: BTreeSet<u32>,
    sent: Vec<u32>,
    took: Vec<u32>,
    /// It has closed the queue.
    closed: bool,
    /// It may have discarded the messages by closing the queue.
    pub(crate) cancels: bool,
    /// How many tickets they may have made.
    pub(crate) tickets: u64,
    /// No message is given up before its time: the queue waits for those who have them.
    pub(crate) settled: bool,
}

impl Testimony {
    /// Adds what a victim has said.
    pub(crate) fn answer(&mut self, said: &str) {
        for line in said.lines() {
            let (verb, number) = line.split_once(' ').unwrap_or((line, "0"));
            let number = number.parse().expect("a victim says numbers");
            match verb {
                "sent" => self.sent.push(number),
                "took" => self.took.push(number),
                "closed" => self.closed = true,
                _ => panic!("a victim said {line:?}"),
            }
        }
    }
}

impl Queue {
    pub(crate) fn new(options: &Options, name: Option<String>) -> Self {
        let made = match &name {
            Some(name) => options.create_named_with(name).expect("a queue"),
            None => options.channel_with().expect("a queue"),
        };
        let (tx, rx) = made;
        Self {
            tx: Some(tx),
            rx,
            accepted: BTreeSet::new(),
            seen: BTreeMap::new(),
            next: FRESH,
            round: 0,
            hoard: Vec::new(),
            victims: 0,
            over: false,
            wrong: None,
            name: name.map(Name),
        }
    }

    /// The queue as it is, without those who are attached to it but for this process.
    ///
    /// `contents` is what its memory holds now.
    pub(crate) fn copy(&self, contents: &Contents) -> Self {
        let (tx, rx) = test_hooks::stand_in(&self.rx, contents.to_file()).expect("a copy");
        Self {
            tx,
            rx,
            accepted: self.accepted.clone(),
            seen: self.seen.clone(),
            hoard: Vec::new(),
            wrong: self.wrong.clone(),
            name: None,
            ..*self
        }
    }

    /// The file that it lies in, to be read.
    pub(crate) fn memory(&self) -> File {
        memfd::again(test_hooks::memory(&self.rx))
    }

    /// What depends on chance elsewhere, such as which blocks are in use, differs from one round to the next.
    pub(crate) fn vary(&mut self, round: u64) {
        self.round = round;
    }

    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_ref().map(|name| name.0.as_str())
    }

    /// Puts a message into the queue; false if it is full or closed.
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

    /// Puts several messages into the queue, as one batch.
    pub(crate) fn send_batch(&mut self, numbers: RangeInclusive<u32>) {
        let tx = self.tx.as_ref().expect("a sender");
        let messages = numbers.clone().map(Message::small);
        tx.send_many(messages).expect("room");
        self.accepted.extend(numbers);
    }

    /// Has the next messages lie in other blocks than they would otherwise.
    pub(crate) fn skip_blocks(&self, count: usize) {
        let Some(tx) = &self.tx else {
            return;
        };
        // An error says that there will be no next messages.
        (0..count).for_each(|_| drop(tx.try_reserve(SHORTEST)));
    }

    /// As `send`; false if it was sent before.
    pub(crate) fn send_once(&mut self, number: u32) -> bool {
        !self.accepted.contains(&number) && self.send(number)
    }

    /// As `send`, with a number that was never sent.
    pub(crate) fn send_fresh(&mut self) -> bool {
        self.next += 1;
        self.send(self.next)
    }

    /// Receives what is next, if there is something.
    pub(crate) fn receive(&mut self) -> Option<u32> {
        let lease = match self.rx.try_lease() {
            Ok(lease) => lease,
            Err(error) => {
                self.over |= matches!(error, TryRecvError::Closed);
                return None;
            }
        };
        let Message { number, .. } = lease.ack();
        if self.over {
            self.wrong = Some(format!("{number} came after the end"));
        }
        *self.seen.entry(number).or_default() += 1;
        Some(number)
    }

    /// Puts several laps of messages through, as long as the queue is open, after what is in it.
    pub(crate) fn do_laps(&mut self) -> Result<(), Failure> {
        self.put_through(4 * LAP)
    }

    /// As [`do_laps`](Self::do_laps), by two other processes.
    pub(crate) fn have_laps_done(&mut self, carriers: &mut Carriers) -> Result<(), Failure> {
        while self.receive().is_some() {}
        let [first, second, end] = [0, 2 * LAP, 4 * LAP].map(|before| self.next + 1 + before);
        self.next = end - 1;
        let numbers = [first..second, second..end];
        let memory = test_hooks::memory(&self.rx).as_raw_fd();
        let both = carriers.carry(memory, &numbers);
        let wedged = |story| Err(Failure::new(Violation::Wedged, story));
        for (carried, numbers) in both.iter().zip(&numbers) {
            let sent = numbers.clone().take(carried.sent as usize);
            self.accepted.extend(sent);
            for &number in &carried.received {
                *self.seen.entry(number).or_default() += 1;
            }
            let came = |carried: &Carried| {
                let came = carried
                    .received
                    .iter()
                    .filter(|number| numbers.contains(number));
                came.is_sorted()
            };
            if !both.iter().all(came) {
                return wedged(format!("of {numbers:?}, some came after later ones"));
            }
        }
        let carried = both
            .iter()
            .map(|carried| carried.received.len())
            .sum::<usize>();
        if carried == 4 * LAP as usize || self.rx.is_closed() {
            return Ok(());
        }
        wedged(format!(
            "two others got {carried} messages through of several laps"
        ))
    }

    /// As [`do_laps`](Self::do_laps), but only one: then every slot and every block in use has been met again.
    pub(crate) fn do_a_lap(&mut self) -> Result<(), Failure> {
        self.put_through(LAP)
    }

    fn put_through(&mut self, messages: u32) -> Result<(), Failure> {
        while self.receive().is_some() {}
        if self.tx.is_none() {
            return Ok(());
        }
        // Several messages are under way at a time: a wrong word does harm only to a block that is in use.
        for _ in 2..self.rx.capacity() {
            self.send_fresh();
        }
        self.pass_on(messages)
    }

    /// Puts so many messages through, behind those that are under way, which there are as many of afterwards.
    fn pass_on(&mut self, messages: u32) -> Result<(), Failure> {
        for number in 0..messages {
            if !self.send_fresh() || self.receive().is_none() {
                if self.rx.is_closed() {
                    break;
                }
                let story = format!("no way through for message {number} of several laps");
                return Err(Failure::new(Violation::Wedged, story));
            }
        }
        Ok(())
    }

    /// Takes messages in hand, and sends others in their place, so that of all blocks as many as possible are in use.
    pub(crate) fn hoard(&mut self) {
        let most = self.rx.capacity() as u64;
        for _ in 0..self.round % most {
            if self.rx.is_closed() || self.tx.is_none() {
                return;
            }
            if let Ok(lease) = self.rx.try_lease() {
                self.hoard.push(lease);
                self.send_fresh();
            }
        }
    }

    /// Lets go of what it has taken in hand.
    pub(crate) fn let_go(&mut self) {
        for lease in mem::take(&mut self.hoard) {
            let Message { number, .. } = lease.ack();
            *self.seen.entry(number).or_default() += 1;
        }
    }

    /// Closes the queue and receives what is left, to the end, which has to be there at once.
    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        self.rx.close();
        while self.receive().is_some() {}
        if self.over {
            return Ok(());
        }
        let story = "a closed queue does not end for those who have nothing to wait for";
        Err(Failure::new(Violation::Wedged, story))
    }

    /// A child of the parent has died.
    pub(crate) fn report(&mut self, id: u32) {
        self.victims += 1;
        self.rx.report_exit(id);
    }

    /// Everything is checked, at rest, when nobody else is there any more.
    pub(crate) fn settle(mut self, testimony: &Testimony) -> Result<(), Failure> {
        if testimony.tickets > 0 {
            self.await_their_children();
        }
        self.drain(testimony)?;
        if self.rx.is_closed() {
            self.assert_over()?;
        } else if testimony.closed || self.tx.is_none() {
            let story = "the queue should be closed";
            return Err(Failure::new(Violation::Wedged, story));
        } else {
            self.assert_usable()?;
            // A slot or a block with a wrong word is met again a lap later.
            self.do_a_lap()?;
            while self.receive().is_some() {}
        }
        if let Some(story) = self.wrong.take() {
            return Err(Failure::new(Violation::Wedged, story));
        }
        self.assert_balanced(testimony)?;
        self.assert_conserved(testimony)
    }

    /// Those that victims gave a ticket end soon, and nobody reports it.
    fn await_their_children(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.rx.stats().peers.len() > 1 && Instant::now() < deadline {
            self.rx.report_exit(0);
            thread::yield_now();
        }
    }

    /// Receives everything: what belongs to the operation in order, and so what the parent has sent besides.
    fn drain(&mut self, testimony: &Testimony) -> Result<(), Failure> {
        let mut last = [0; 2];
        while let Some(number) = self.receive() {
            let [of_operation, fresh] = &mut last;
            let last = if number < FRESH { of_operation } else { fresh };
            if number <= *last {
                let story = format!("{number} came after {last}");
                return Err(Failure::new(Violation::Wedged, story));
            }
            *last = number;
        }
        for letter in self.rx.dead_letters() {
            let Message { number, .. } = letter.decode().expect("a number");
            *self.seen.entry(number).or_default() += 1;
            if testimony.settled && letter.deliveries() < ATTEMPTS {
                self.wrong = Some(format!("{number} was given up: the queue had ended"));
            }
            letter.discard();
        }
        Ok(())
    }

    /// A closed queue says so, again and again.
    fn assert_over(&self) -> Result<(), Failure> {
        for _ in 0..2 {
            let tried = self.rx.try_recv();
            let waited = self.rx.recv_timeout(PATIENCE);
            let sent = self.tx.as_ref().map(|tx| tx.try_send(Message::small(0)));
            if !matches!(tried, Err(TryRecvError::Closed))
                || !matches!(waited, Err(RecvTimeoutError::Closed))
                || !matches!(sent, None | Some(Err(TrySendError::Closed(_))))
            {
                let story = format!("not closed: {tried:?}, {waited:?}, {sent:?}");
                return Err(Failure::new(Violation::Wedged, story));
            }
        }
        Ok(())
    }

    /// An open queue takes exactly as many messages as it has room for, and gives them back in order.
    fn assert_usable(&mut self) -> Result<(), Failure> {
        let wedged = |story: String| Err(Failure::new(Violation::Wedged, story));
        for _ in 0..2 {
            let first = self.next + 1;
            for number in 0..self.rx.capacity() {
                if !self.send_fresh() {
                    return wedged(format!("full after {number} messages"));
                }
            }
            if self.send_fresh() {
                return wedged("it has more room than its capacity".to_owned());
            }
            for expected in (first..).take(self.rx.capacity()) {
                let received = self.receive();
                if received != Some(expected) {
                    return wedged(format!("received {received:?} instead of {expected}"));
                }
            }
        }
        Ok(())
    }

    /// Every message is in one place.
    fn assert_balanced(&mut self, testimony: &Testimony) -> Result<(), Failure> {
        self.accepted.extend(&testimony.sent);
        for &number in &testimony.took {
            *self.seen.entry(number).or_default() += 1;
        }
        let seen = |number: u32| self.seen.get(&number).copied().unwrap_or(0);
        for (&number, &times) in &self.seen {
            let known = self.accepted.contains(&number) || testimony.uncertain.contains(&number);
            if times > 1 || !known {
                let story = format!("{number} came {times} times, accepted: {known}");
                return Err(Failure::new(Violation::Duplicated, story));
            }
        }
        if testimony.cancels && self.rx.is_closed() {
            return Ok(());
        }
        for &number in &self.accepted {
            let excused = testimony.uncertain.contains(&number) && !testimony.cancels;
            if seen(number) == 0 && !excused {
                let story = format!("{number} is nowhere");
                return Err(Failure::new(Violation::Lost, story));
            }
        }
        Ok(())
    }

    /// All blocks and rows are free, but the parent's own row.
    fn assert_conserved(&self, testimony: &Testimony) -> Result<(), Failure> {
        let stats: Stats = self.rx.stats();
        let free = stats.blocks.iter().all(|class| class.free == class.total);
        let left = stats.queued + stats.held + stats.returned + stats.dead_letters;
        let dead = self.victims + testimony.tickets;
        if !free || left != 0 || stats.peers.len() != 1 || stats.recovered > dead {
            return Err(Failure::new(Violation::Leaked, format!("{stats:?}")));
        }
        Ok(())
    }
}

/// The name of a queue, which goes with it.
struct Name(String);

impl Drop for Name {
    fn drop(&mut self) {
        if let Err(error) = remove_named(&self.0) {
            eprintln!("{} is left behind: {error}", self.0);
        }
    }
}
