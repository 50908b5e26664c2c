//! C3, C4: a queue behaves like a simple model, with and without `close_waits_for_leases`.
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

/// What a queue should do, according to [`Options::close_waits_for_leases`] and [`Sender::try_send_many`]. Numbers are
/// sent in order, so their order is the order of acceptance. Messages sent together are a batch; a single message is a
/// batch of one.
struct Model {
    capacity: usize,
    max_deliveries: u32,
    waits_for_leases: bool,
    max_leases: usize,
    max_dead_letters: usize,
    queued: VecDeque<Batch>,
    /// Returned batches, each by its first number.
    returned: BTreeMap<u32, Batch>,
    /// Batches of which the receiver holds messages, by first number.
    held: BTreeMap<u32, Held>,
    leased: BTreeSet<u32>,
    /// How many times each message was delivered.
    deliveries: BTreeMap<u32, u32>,
    dead_letters: BTreeMap<u32, u32>,
    closed: bool,
    ended: bool,
}

struct Batch {
    first: u32,
    /// The messages that are not acknowledged.
    left: BTreeSet<u32>,
}

struct Held {
    batch: Batch,
    undelivered: VecDeque<u32>,
    leased: BTreeSet<u32>,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Message {
        number: u32,
        /// What [`Lease::deliveries`] returns: how many deliveries came before this one and failed.
        failed_deliveries: u32,
    },
    Messages(Vec<u32>),
    Accepted,
    Full,
    Empty,
    Closed,
    TooManyLeases,
    /// Whether this call of `close` was the first one.
    WasFirstClose(bool),
    /// The operation returns nothing to compare.
    NotCompared,
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

    fn deliveries_of(&self, number: u32) -> u32 {
        self.deliveries.get(&number).copied().unwrap_or(0)
    }

    fn has_deliveries_left(&self, number: u32) -> bool {
        self.deliveries_of(number) < self.max_deliveries
    }

    /// Returns the batch that is being delivered.
    fn current_batch(&self) -> Option<u32> {
        let mut held = self.held.iter();
        held.find_map(|(first, held)| (!held.undelivered.is_empty()).then_some(*first))
    }

    /// Delivers the next message. Returns its batch, its number and the number of its earlier, failed deliveries.
    fn take(&mut self) -> Result<(u32, u32, u32), Answer> {
        if self.current_batch().is_none() {
            self.start_next_batch()?;
        }
        let first = self.current_batch().expect("a batch was started");
        let held = self.held.get_mut(&first).expect("it is the current batch");
        let number = held
            .undelivered
            .pop_front()
            .expect("it is the current batch");
        let failed = self.deliveries_of(number);
        self.deliveries.insert(number, failed + 1);
        Ok((first, number, failed))
    }

    /// Takes the next batch: the first of those that were returned, otherwise the first in the queue.
    fn start_next_batch(&mut self) -> Result<(), Answer> {
        if self.ended {
            return Err(Answer::Closed);
        }
        let returned = self.returned.pop_first().map(|(_, batch)| batch);
        if let Some(batch) = returned.or_else(|| self.queued.pop_front()) {
            let left = batch.left.iter().copied();
            let held = Held {
                undelivered: left
                    .filter(|&number| self.has_deliveries_left(number))
                    .collect(),
                leased: BTreeSet::new(),
                batch,
            };
            self.held.insert(held.batch.first, held);
            return Ok(());
        }
        if !self.closed || self.waits_for_leases && !self.held.is_empty() {
            return Err(Answer::Empty);
        }
        self.ended = true;
        Err(Answer::Closed)
    }

    fn acknowledge(&mut self, first: u32, number: u32) {
        let held = self.held.get_mut(&first).expect("it is held");
        held.batch.left.remove(&number);
        self.finish_batch(first);
    }

    /// Once no message of the batch is held, returns what is left of it to the queue or moves it to the dead letters.
    fn finish_batch(&mut self, first: u32) {
        let held = self.held.get(&first).expect("it is held");
        if !held.undelivered.is_empty() || !held.leased.is_empty() {
            return;
        }
        let batch = self.held.remove(&first).expect("it is held").batch;
        // A message that is returned after the end becomes a dead letter too: every receiver has got `Closed`.
        if !self.ended
            && batch
                .left
                .iter()
                .any(|&number| self.has_deliveries_left(number))
        {
            self.returned.insert(first, batch);
            return;
        }
        for number in batch.left {
            self.dead_letters.insert(number, self.deliveries_of(number));
        }
        while self.dead_letters.len() > self.max_dead_letters {
            self.dead_letters.pop_first();
        }
    }

    fn receive(&mut self) -> Answer {
        match self.take() {
            Ok((first, number, failed_deliveries)) => {
                self.acknowledge(first, number);
                Answer::Message {
                    number,
                    failed_deliveries,
                }
            }
            Err(answer) => answer,
        }
    }

    fn receive_many(&mut self, max: usize) -> Answer {
        let mut numbers = Vec::new();
        while numbers.len() < max {
            // Do not call `receive` again on a drained queue: that call would end it.
            let is_drained =
                self.closed && self.queued.is_empty() && self.current_batch().is_none();
            if !numbers.is_empty() && is_drained {
                break;
            }
            match self.receive() {
                Answer::Message { number, .. } => numbers.push(number),
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
            Ok((first, number, failed_deliveries)) => {
                self.leased.insert(number);
                let held = self.held.get_mut(&first).expect("it is held");
                held.leased.insert(number);
                Answer::Message {
                    number,
                    failed_deliveries,
                }
            }
            Err(answer) => answer,
        }
    }

    /// Ends a lease, by an acknowledgement or without.
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
        self.finish_batch(first);
    }

    /// Returns the numbers of queued, held, returned and dead messages.
    fn counts(&self) -> [usize; 4] {
        [
            self.queued.iter().map(|batch| batch.left.len()).sum(),
            self.held.values().map(|held| held.batch.left.len()).sum(),
            self.returned.values().map(|batch| batch.left.len()).sum(),
            self.dead_letters.len(),
        ]
    }
}

/// The queue that is compared with the model, and the leases that it has given out.
struct RealQueue<'a> {
    tx: &'a Sender<u32>,
    rx: &'a Receiver<u32>,
    /// Some of them borrow `rx`, and some do not.
    leases: Vec<Lease<'a, u32>>,
    next: u32,
}

impl RealQueue<'_> {
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
                    Err(error) => answer_of(Err(error)),
                };
                (answer, model.receive_many(max))
            }
            50..60 => {
                let answer = self.rx.try_recv();
                let expected = model.receive();
                // `try_recv` does not return the number of deliveries, so this copies the model's.
                let failed = match expected {
                    Answer::Message {
                        failed_deliveries, ..
                    } => failed_deliveries,
                    _ => 0,
                };
                (answer_of(answer.map(|number| (number, failed))), expected)
            }
            60..80 => {
                let lease = self.rx.try_lease().map(|lease| {
                    let seen = (*lease, lease.deliveries());
                    self.leases.push(if rng.bool() {
                        lease
                    } else {
                        lease.into_owned()
                    });
                    seen
                });
                (answer_of(lease), model.lease())
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
                (Answer::NotCompared, Answer::NotCompared)
            }
            99 if rng.u32(0..3) == 0 => {
                let first = !model.closed;
                model.closed = true;
                (
                    Answer::WasFirstClose(self.rx.close()),
                    Answer::WasFirstClose(first),
                )
            }
            // There is no lease to end, or `close` was not drawn.
            _ => (Answer::NotCompared, Answer::NotCompared),
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
        assert!(letters.eq(model.dead_letters.clone()), "dead letters");
    }
}

fn answer_of(result: Result<(u32, u32), TryRecvError>) -> Answer {
    match result {
        Ok((number, failed_deliveries)) => Answer::Message {
            number,
            failed_deliveries,
        },
        Err(TryRecvError::Empty) => Answer::Empty,
        Err(TryRecvError::Closed) => Answer::Closed,
        Err(TryRecvError::TooManyLeases { .. }) => Answer::TooManyLeases,
        Err(other) => panic!("{other:?}"),
    }
}

/// Compares one queue, with random options, with its model.
fn compare_one_random_queue(waits_for_leases: bool, rng: &mut Rng) {
    let capacity = rng.usize(1..=6);
    let (max_deliveries, max_leases) = (rng.u32(1..=4), rng.usize(1..=4));
    // Messages can be returned after the end only if `close` does not wait for leases. Then the limit is one that is
    // never reached: `accounting.rs` and `limits.rs` test it.
    let max_dead_letters = if waits_for_leases {
        rng.usize(0..=5)
    } else {
        128
    };
    let options = Options::new(capacity)
        .close_waits_for_leases(waits_for_leases)
        .max_deliveries(max_deliveries);
    let options = options
        .max_leases(max_leases)
        .max_dead_letters(max_dead_letters);
    let (tx, rx) = options.channel::<u32>().expect("a queue");
    let mut queue = RealQueue {
        tx: &tx,
        rx: &rx,
        leases: Vec::new(),
        next: 0,
    };
    let mut model = Model {
        capacity,
        max_deliveries,
        waits_for_leases,
        max_leases,
        max_dead_letters,
        queued: VecDeque::new(),
        returned: BTreeMap::new(),
        held: BTreeMap::new(),
        leased: BTreeSet::new(),
        deliveries: BTreeMap::new(),
        dead_letters: BTreeMap::new(),
        closed: false,
        ended: false,
    };
    for step in 0..rng.usize(0..300) {
        let (answer, expected) = queue.step(&mut model, rng);
        assert_eq!(answer, expected, "step {step}");
        queue.compare(&model);
    }
    queue.compare_statistics(&model);
}

/// Compares many queues with their models.
fn compare_many(waits_for_leases: bool) {
    let rounds = rounds(300, 20_000);
    guarded(LIMIT, || {
        let mut rng = Rng::with_seed(seed());
        (0..rounds).for_each(|_| compare_one_random_queue(waits_for_leases, &mut rng));
    });
}

#[test]
fn a_queue_whose_close_does_not_wait_for_leases_does_what_the_model_does() {
    compare_many(false);
}

#[test]
fn a_queue_whose_close_waits_for_leases_does_what_the_model_does() {
    compare_many(true);
}
