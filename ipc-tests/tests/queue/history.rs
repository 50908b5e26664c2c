//! C3, C4: the history of one queue, recorded by each process outside of shared memory, and checked.
//!
//! A history has the start and end of every send and of the close, on one clock, and the order in which receivers got
//! the messages. The checks are what every linearizable order of a closable queue satisfies.

use ipc_tests::support::{LIMIT, dismiss, hand_over};
use ipc_tests::{
    child::Peer,
    guarded,
    ledger::{Books, Ledger, Scratch},
    rounds::{Rng, rounds, seed},
};
use std::{collections::BTreeMap, fmt::Display, time::Duration};
use workring::Options;

/// Kinds of entries, as in `src/bin/peer/history.rs`.
const BEGUN: u8 = 1;
const ACCEPTED: u8 = 2;
const RETURNED: u8 = 3;
const REFUSED: u8 = 4;

const SENDING_PROCESSES: u64 = 2;
const SENDERS: u64 = 2 * SENDING_PROCESSES;

struct Setting {
    receiving_processes: u64,
    threads: u64,
    may_return: bool,
}

/// One accepted send, with its start and end.
#[derive(Clone, Copy)]
struct Send {
    begun: u64,
    returned: u64,
}

struct History {
    accepted: BTreeMap<u64, Send>,
    /// In order of receipt, for each receiving thread.
    received: Vec<Vec<u64>>,
    close_begun: u64,
    close_returned: u64,
    refused: u64,
}

/// Runs one history and reads the records of all processes.
fn play(setting: &Setting, rng: &mut Rng) -> History {
    let scratch = Scratch::new().expect("scratch");
    let options = Options::new(rng.usize(1..=32))
        .max_deliveries(15)
        .max_leases(64);
    let options = options.close_waits_for_leases(setting.may_return || rng.bool());
    let (tx, rx) = options.channel::<u64>().expect("a queue");
    let (announce, seed) = (rng.u64(1..=500), rng.u64(0..1 << 40));
    let may_return = u8::from(setting.may_return);
    let mut closer = hand_over("closing", &[], |handoff| handoff.give("queue", &tx));
    let mut senders: Vec<Peer> = (0..SENDING_PROCESSES)
        .map(|process| {
            let first = 2 * process;
            let arguments: [&dyn Display; 4] = [&scratch, &first, &announce, &seed];
            hand_over("sending", &arguments, |handoff| handoff.give("queue", &tx))
        })
        .collect();
    let mut receivers: Vec<Peer> = (0..setting.receiving_processes)
        .map(|process| {
            let first = process * setting.threads;
            let arguments: [&dyn Display; 5] =
                [&scratch, &first, &setting.threads, &may_return, &seed];
            hand_over("receiving", &arguments, |handoff| {
                handoff.give("queue", &rx)
            })
        })
        .collect();
    drop((tx, rx));
    assert_eq!(closer.answer(), "ready");
    for peer in senders.iter_mut().chain(&mut receivers) {
        assert_eq!(peer.answer(), "ready");
        peer.say("go");
    }
    let first = senders.first_mut().expect("a sender");
    assert_eq!(first.answer(), "announced");
    closer.say("close");
    let mut time = || closer.answer().parse().expect("a time");
    let (close_begun, close_returned) = (time(), time());
    [vec![closer], senders, receivers]
        .into_iter()
        .flatten()
        .for_each(dismiss);
    let mut history = History {
        accepted: BTreeMap::new(),
        received: Vec::new(),
        close_begun,
        close_returned,
        refused: 0,
    };
    for sender in 0..SENDERS {
        history.enter_sender(&scratch, sender);
    }
    for receiver in 0..setting.receiving_processes * setting.threads {
        let entries = Ledger::read(scratch.path(), &format!("r{receiver}")).expect("a ledger");
        let numbers = entries.iter().map(|entry| entry.number);
        history.received.push(numbers.collect());
    }
    history
}

impl History {
    fn enter_sender(&mut self, scratch: &Scratch, sender: u64) {
        let (mut begun, mut accepted) = (0, None);
        for entry in Ledger::read(scratch.path(), &sender.to_string()).expect("a ledger") {
            match entry.kind {
                BEGUN => begun = entry.number,
                ACCEPTED => accepted = Some(entry.number),
                RETURNED => {
                    let returned = entry.number;
                    if let Some(id) = accepted.take() {
                        self.accepted.insert(id, Send { begun, returned });
                    }
                }
                REFUSED => self.refused += 1,
                other => panic!("an entry of kind {other}"),
            }
        }
    }

    /// Each accepted message is received once, and nothing else is received.
    fn nothing_is_lost_or_doubled(&self) {
        let mut books = Books::new();
        self.accepted.keys().for_each(|&id| books.sent(id));
        self.received
            .iter()
            .flatten()
            .for_each(|&id| books.received(id));
        books.assert_balanced();
    }

    /// The close is one moment: sends that began after it returned failed, and none failed before it began.
    fn nothing_is_accepted_after_the_close(&self) {
        for (id, send) in &self.accepted {
            assert!(
                send.begun <= self.close_returned,
                "message {id:#x} was accepted although its send began {} ns after the close had returned",
                send.begun - self.close_returned
            );
        }
        assert!(
            self.refused >= SENDERS * 20,
            "senders ended without a refusal"
        );
    }

    /// Each receiver gets the messages of a sender in the order in which they were sent.
    fn senders_keep_their_order(&self) {
        for received in &self.received {
            let mut last = BTreeMap::new();
            for &id in received {
                let before = last.insert(id >> 32, id);
                assert!(before < Some(id), "{id:#x} came after {before:x?}");
            }
        }
    }

    /// A single receiver gets messages in order of acceptance: a send that returned before another began comes first.
    /// Holds where there is no other receiver and nothing is returned.
    fn acceptance_is_one_order(&self) {
        let mut latest_begin = 0;
        for id in self.received.iter().flatten() {
            let send = self.accepted.get(id).expect("it was accepted");
            assert!(
                send.returned >= latest_begin,
                "{id:#x} came after a message whose send began only after its own had returned"
            );
            latest_begin = latest_begin.max(send.begun);
        }
    }
}

fn check(setting: &Setting, rounds: u32) {
    guarded(LIMIT + Duration::from_millis(500) * rounds, || {
        let mut rng = Rng::with_seed(seed());
        let mut sends = 0;
        for _ in 0..rounds {
            let history = play(setting, &mut rng);
            assert!(history.close_begun <= history.close_returned);
            history.nothing_is_lost_or_doubled();
            history.nothing_is_accepted_after_the_close();
            if !setting.may_return {
                history.senders_keep_their_order();
                if history.received.len() == 1 {
                    history.acceptance_is_one_order();
                }
            }
            sends += history.accepted.len();
        }
        println!("{sends} messages in {rounds} histories");
        assert!(sends > 0, "nothing was accepted before the close");
    });
}

/// C3.
#[test]
fn one_receiver_gets_every_message_accepted_before_the_close_in_order_of_acceptance() {
    let setting = Setting {
        receiving_processes: 1,
        threads: 1,
        may_return: false,
    };
    check(&setting, rounds(15, 500));
}

/// C3.
#[test]
fn several_receivers_share_every_message_accepted_before_the_close() {
    let setting = Setting {
        receiving_processes: 2,
        threads: 2,
        may_return: false,
    };
    check(&setting, rounds(15, 500));
}

/// C3, C4. The close waits for leases: otherwise a message that is returned after the end would be a dead letter.
#[test]
fn messages_that_are_returned_during_a_close_are_received() {
    let setting = Setting {
        receiving_processes: 2,
        threads: 2,
        may_return: true,
    };
    check(&setting, rounds(15, 500));
}
