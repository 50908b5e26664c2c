//! C4, C1: one queue does in all that it is asked what a model of a few lines says it does, drained and settled.
//!
//! Random operations that do not wait, on one thread: what each returns is compared with the model's answer. What several
//! processes do at once is the business of `history.rs`.

use crate::support::LIMIT;
use ipc_tests::{
    guarded,
    rounds::{Rng, rounds, seed},
};
use std::collections::{BTreeMap, VecDeque};
use workring::{Lease, Options, Receiver, Sender, TryRecvError, TrySendError};

mod support;

/// A queue as its documentation has it. Numbers are sent in order, so their order is the order of acceptance.
struct Model {
    capacity: usize,
    attempts: u32,
    settled: bool,
    max_leases: usize,
    max_letters: usize,
    queued: VecDeque<u32>,
    /// How often each was returned.
    returned: BTreeMap<u32, u32>,
    leased: BTreeMap<u32, u32>,
    letters: BTreeMap<u32, u32>,
    closed: bool,
    ended: bool,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Message(u32, u32),
    Accepted,
    Full,
    Empty,
    Closed,
    TooManyLeases,
    First(bool),
    Nothing,
}

impl Model {
    fn send(&mut self, number: u32) -> Answer {
        if self.closed {
            Answer::Closed
        } else if self.queued.len() == self.capacity {
            Answer::Full
        } else {
            self.queued.push_back(number);
            Answer::Accepted
        }
    }

    fn receive(&mut self) -> Answer {
        if self.ended {
            return Answer::Closed;
        }
        if let Some((number, attempts)) = self.returned.pop_first() {
            return Answer::Message(number, attempts);
        }
        if let Some(number) = self.queued.pop_front() {
            return Answer::Message(number, 0);
        }
        if !self.closed || self.settled && !self.leased.is_empty() {
            return Answer::Empty;
        }
        self.ended = true;
        Answer::Closed
    }

    fn lease(&mut self) -> Answer {
        if self.leased.len() == self.max_leases {
            return if self.ended {
                Answer::Closed
            } else {
                Answer::TooManyLeases
            };
        }
        let answer = self.receive();
        if let Answer::Message(number, attempts) = answer {
            self.leased.insert(number, attempts);
        }
        answer
    }

    fn give_back(&mut self, number: u32) {
        let attempts = self.leased.remove(&number).expect("it is leased") + 1;
        // What comes back after the end is a dead letter, too: nobody is left to get it.
        if attempts == self.attempts || self.ended {
            self.letters.insert(number, attempts);
        } else {
            self.returned.insert(number, attempts);
        }
        while self.letters.len() > self.max_letters {
            self.letters.pop_first();
        }
    }
}

struct Queue {
    tx: Sender<u32>,
    rx: Receiver<u32>,
    leases: Vec<Lease<u32>>,
    next: u32,
}

impl Queue {
    /// One random operation, on the queue and on the model: their answers.
    fn step(&mut self, model: &mut Model, rng: &mut Rng) -> (Answer, Answer) {
        match rng.u32(0..100) {
            0..40 => {
                let number = self.next;
                self.next += 1;
                let answer = match self.tx.try_send(number) {
                    Ok(()) => Answer::Accepted,
                    Err(TrySendError::Full(back)) if back == number => Answer::Full,
                    Err(TrySendError::Closed(back)) if back == number => Answer::Closed,
                    Err(other) => panic!("{other:?}"),
                };
                (answer, model.send(number))
            }
            40..60 => {
                let answer = self.rx.try_recv();
                // A plain receive does not say how often the message came back.
                let said = model.receive();
                let attempts = match said {
                    Answer::Message(_, attempts) => attempts,
                    _ => 0,
                };
                (received(answer.map(|number| (number, attempts))), said)
            }
            60..80 => {
                let lease = self.rx.try_lease().map(|lease| {
                    let seen = (*lease, lease.attempts());
                    self.leases.push(lease);
                    seen
                });
                (received(lease), model.lease())
            }
            80..99 if !self.leases.is_empty() => {
                let lease = self.leases.swap_remove(rng.usize(..self.leases.len()));
                if rng.u32(0..3) == 0 {
                    model.leased.remove(&lease.ack());
                } else {
                    let number = *lease;
                    lease.nack();
                    model.give_back(number);
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
        let lens = [
            model.queued.len(),
            model.leased.len(),
            model.returned.len(),
            model.letters.len(),
        ];
        assert_eq!(
            counts,
            lens.map(|len| len as u64),
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
            (number, letter.attempts())
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
    // Late returns, which a settled queue has not, are counted by a test of their own.
    let max_letters = if settled { rng.usize(0..=5) } else { 128 };
    let options = Options::new(capacity).settled(settled).attempts(attempts);
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
        leased: BTreeMap::new(),
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
