//! C1, C4: a queue behaves like a model of a few lines, both drained and with a close that waits for leases.
//!
//! One thread runs random operations that do not wait, and compares each result with the model's. `history.rs` covers
//! concurrent processes.

use ipc_tests::support::LIMIT;
use ipc_tests::{
    guarded,
    rounds::{Rng, rounds, seed},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use workring::{
    Lease, Options, Receiver, Sender,
    error::{TryRecvError, TrySendError},
};

/// A queue as documented. Numbers are sent in order, so their order is the order of acceptance. Messages sent together are
/// a batch; a single message is a batch of one.
struct Model {
    capacity: usize,
    attempts: u32,
    settled: bool,
    max_leases: usize,
    max_letters: usize,
    queued: VecDeque<Batch>,
    /// Returned batches, each by its first number.
    returned: BTreeMap<u32, Batch>,
    /// Batches that the receiver has taken and not settled, by first number.
    held: BTreeMap<u32, Held>,
    leased: BTreeSet<u32>,
    /// The number of deliveries of each message.
    handed_out: BTreeMap<u32, u32>,
    letters: BTreeMap<u32, u32>,
    closed: bool,
    ended: bool,
}

struct Batch {
    first: u32,
    /// The messages that are not settled.
    left: BTreeSet<u32>,
}

struct Held {
    batch: Batch,
    to_hand_out: VecDeque<u32>,
    leased: BTreeSet<u32>,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Message(u32, u32),
    Messages(Vec<u32>),
    Accepted,
    Full,
    Empty,
    Closed,
    TooManyLeases,
    First(bool),
    Nothing,
}

impl Model {
    fn send(&mut self, numbers: Range<u32>) -> Answer {
        if numbers.is_empty() {
            return Answer::Accepted;
        }
        if self.closed {
            return Answer::Closed;
        }
        if self.queued.len() == self.capacity {
            return Answer::Full;
        }
        self.queued.push_back(Batch {
            first: numbers.start,
            left: numbers.collect(),
        });
        Answer::Accepted
    }

    fn attempts_of(&self, number: u32) -> u32 {
        self.handed_out.get(&number).copied().unwrap_or(0)
    }

    fn is_live(&self, number: u32) -> bool {
        self.attempts_of(number) < self.attempts
    }

    /// The batch that is being delivered.
    fn open(&self) -> Option<u32> {
        let mut held = self.held.iter();
        held.find_map(|(first, held)| (!held.to_hand_out.is_empty()).then_some(*first))
    }

    /// Delivers the next message. Returns its batch, its number and its earlier deliveries.
    fn take(&mut self) -> Result<(u32, u32, u32), Answer> {
        if self.open().is_none() {
            self.open_next()?;
        }
        let first = self.open().expect("just opened");
        let held = self.held.get_mut(&first).expect("it is open");
        let number = held.to_hand_out.pop_front().expect("it is open");
        let attempts = self.attempts_of(number);
        self.handed_out.insert(number, attempts + 1);
        Ok((first, number, attempts))
    }

    fn open_next(&mut self) -> Result<(), Answer> {
        if self.ended {
            return Err(Answer::Closed);
        }
        let returned = self.returned.pop_first().map(|(_, batch)| batch);
        if let Some(batch) = returned.or_else(|| self.queued.pop_front()) {
            let live = batch.left.iter().copied();
            let held = Held {
                to_hand_out: live.filter(|&number| self.is_live(number)).collect(),
                leased: BTreeSet::new(),
                batch,
            };
            self.held.insert(held.batch.first, held);
            return Ok(());
        }
        if !self.closed || self.settled && !self.held.is_empty() {
            return Err(Answer::Empty);
        }
        self.ended = true;
        Err(Answer::Closed)
    }

    fn done(&mut self, first: u32, number: u32) {
        let held = self.held.get_mut(&first).expect("it is held");
        held.batch.left.remove(&number);
        self.settle(first);
    }

    /// Settles a batch of which no message is held.
    fn settle(&mut self, first: u32) {
        let held = self.held.get(&first).expect("it is held");
        if !held.to_hand_out.is_empty() || !held.leased.is_empty() {
            return;
        }
        let batch = self.held.remove(&first).expect("it is held").batch;
        // A message that is returned after the end is a dead letter too: no receiver is left.
        if !self.ended && batch.left.iter().any(|&number| self.is_live(number)) {
            self.returned.insert(first, batch);
            return;
        }
        for number in batch.left {
            self.letters.insert(number, self.attempts_of(number));
        }
        while self.letters.len() > self.max_letters {
            self.letters.pop_first();
        }
    }

    fn receive(&mut self) -> Answer {
        match self.take() {
            Ok((first, number, attempts)) => {
                self.done(first, number);
                Answer::Message(number, attempts)
            }
            Err(answer) => answer,
        }
    }

    fn receive_many(&mut self, max: usize) -> Answer {
        let mut numbers = Vec::new();
        while numbers.len() < max {
            // No more looks than needed: a look can end the queue.
            let drained = self.closed && self.queued.is_empty() && self.open().is_none();
            if !numbers.is_empty() && drained {
                break;
            }
            match self.receive() {
                Answer::Message(number, _) => numbers.push(number),
                answer if numbers.is_empty() => return answer,
                _ => break,
            }
        }
        Answer::Messages(numbers)
    }

    fn lease(&mut self) -> Answer {
        if self.leased.len() == self.max_leases {
            return if self.ended {
                Answer::Closed
            } else {
                Answer::TooManyLeases
            };
        }
        match self.take() {
            Ok((first, number, attempts)) => {
                self.leased.insert(number);
                let held = self.held.get_mut(&first).expect("it is held");
                held.leased.insert(number);
                Answer::Message(number, attempts)
            }
            Err(answer) => answer,
        }
    }

    /// Ends a lease.
    fn release(&mut self, number: u32, acknowledged: bool) {
        self.leased.remove(&number);
        let mut held = self.held.iter_mut();
        let (&first, held) = held
            .find(|(_, held)| held.leased.contains(&number))
            .expect("it is leased");
        held.leased.remove(&number);
        if acknowledged {
            held.batch.left.remove(&number);
        }
        self.settle(first);
    }

    /// Returns the numbers of queued, held, returned and dead messages.
    fn counts(&self) -> [usize; 4] {
        [
            self.queued.iter().map(|batch| batch.left.len()).sum(),
            self.held.values().map(|held| held.batch.left.len()).sum(),
            self.returned.values().map(|batch| batch.left.len()).sum(),
            self.letters.len(),
        ]
    }
}

struct Queue {
    tx: Sender<u32>,
    rx: Receiver<u32>,
    leases: Vec<Lease<u32>>,
    next: u32,
}

impl Queue {
    /// Runs one random operation on the queue and on the model. Returns both answers.
    fn step(&mut self, model: &mut Model, rng: &mut Rng) -> (Answer, Answer) {
        match rng.u32(0..100) {
            0..20 => {
                let numbers = self.next..self.next + rng.u32(0..8);
                self.next = numbers.end;
                let answer = match self.tx.try_send_many(numbers.clone()) {
                    Ok(count) if count == numbers.len() => Answer::Accepted,
                    Ok(other) => panic!("{other}"),
                    Err(refused) => {
                        let full = matches!(refused.error, TrySendError::Full(_));
                        assert!(full || refused.is_closed(), "{refused:?}");
                        assert!(refused.into_unsent().eq(numbers.clone()));
                        if full { Answer::Full } else { Answer::Closed }
                    }
                };
                (answer, model.send(numbers))
            }
            20..40 => {
                let number = self.next;
                self.next += 1;
                let answer = match self.tx.try_send(number) {
                    Ok(()) => Answer::Accepted,
                    Err(TrySendError::Full(back)) if back == number => Answer::Full,
                    Err(TrySendError::Closed(back)) if back == number => Answer::Closed,
                    Err(other) => panic!("{other:?}"),
                };
                (answer, model.send(number..number + 1))
            }
            40..50 => {
                let (max, mut numbers) = (rng.usize(1..10), Vec::new());
                let answer = match self.rx.try_recv_many(&mut numbers, max) {
                    Ok(count) if count == numbers.len() => Answer::Messages(numbers),
                    Ok(other) => panic!("{other}"),
                    Err(error) => received(Err(error)),
                };
                (answer, model.receive_many(max))
            }
            50..60 => {
                let answer = self.rx.try_recv();
                // A plain receive does not report deliveries.
                let said = model.receive();
                let attempts = match said {
                    Answer::Message(_, attempts) => attempts,
                    _ => 0,
                };
                (received(answer.map(|number| (number, attempts))), said)
            }
            60..80 => {
                let lease = self.rx.try_lease().map(|lease| {
                    let seen = (*lease, lease.deliveries());
                    self.leases.push(lease);
                    seen
                });
                (received(lease), model.lease())
            }
            80..99 if !self.leases.is_empty() => {
                let lease = self.leases.swap_remove(rng.usize(..self.leases.len()));
                if rng.u32(0..3) == 0 {
                    model.release(lease.ack(), true);
                } else {
                    let number = *lease;
                    lease.nack();
                    model.release(number, false);
                }
                (Answer::Nothing, Answer::Nothing)
            }
            99 if rng.u32(0..3) == 0 => {
                let first = !model.closed;
                model.closed = true;
                (Answer::First(self.rx.close()), Answer::First(first))
            }
            _ => (Answer::Nothing, Answer::Nothing),
        }
    }

    fn compare_statistics(&self, model: &Model) {
        let stats = self.rx.stats();
        let counts = [stats.queued, stats.held, stats.returned, stats.dead_letters];
        assert_eq!(
            counts,
            model.counts().map(|count| count as u64),
            "queued, held, returned, dead letters"
        );
    }

    fn compare(&self, model: &Model) {
        assert_eq!(self.tx.len(), model.queued.len());
        assert_eq!(self.rx.is_full(), model.queued.len() == model.capacity);
        assert_eq!(self.rx.is_closed(), model.closed);
        let letters: Vec<_> = self.rx.dead_letters().collect();
        let letters = letters.iter().map(|letter| {
            let number = letter.decode().expect("a number");
            (number, letter.deliveries())
        });
        assert!(letters.eq(model.letters.clone()), "dead letters");
    }
}

fn received(result: Result<(u32, u32), TryRecvError>) -> Answer {
    match result {
        Ok((number, attempts)) => Answer::Message(number, attempts),
        Err(TryRecvError::Empty) => Answer::Empty,
        Err(TryRecvError::Closed) => Answer::Closed,
        Err(TryRecvError::TooManyLeases { .. }) => Answer::TooManyLeases,
        Err(other) => panic!("{other:?}"),
    }
}

fn play(settled: bool, rng: &mut Rng) {
    let capacity = rng.usize(1..=6);
    let (attempts, max_leases) = (rng.u32(1..=4), rng.usize(1..=4));
    // Returns after the end happen only in a drained queue; another test counts them.
    let max_letters = if settled { rng.usize(0..=5) } else { 128 };
    let options = Options::new(capacity)
        .close_waits_for_leases(settled)
        .max_deliveries(attempts);
    let options = options.max_leases(max_leases).max_dead_letters(max_letters);
    let (tx, rx) = options.channel::<u32>().expect("a queue");
    let mut queue = Queue {
        tx,
        rx,
        leases: Vec::new(),
        next: 0,
    };
    let mut model = Model {
        capacity,
        attempts,
        settled,
        max_leases,
        max_letters,
        queued: VecDeque::new(),
        returned: BTreeMap::new(),
        held: BTreeMap::new(),
        leased: BTreeSet::new(),
        handed_out: BTreeMap::new(),
        letters: BTreeMap::new(),
        closed: false,
        ended: false,
    };
    for step in 0..rng.usize(0..300) {
        let (queue_says, model_says) = queue.step(&mut model, rng);
        assert_eq!(queue_says, model_says, "step {step}");
        queue.compare(&model);
    }
    queue.compare_statistics(&model);
}

fn check(settled: bool) {
    let rounds = rounds(300, 20_000);
    guarded(LIMIT, || {
        let mut rng = Rng::with_seed(seed());
        (0..rounds).for_each(|_| play(settled, &mut rng));
    });
}

#[test]
fn a_drained_queue_does_what_the_model_does() {
    check(false);
}

#[test]
fn a_settled_queue_does_what_the_model_does() {
    check(true);
}
