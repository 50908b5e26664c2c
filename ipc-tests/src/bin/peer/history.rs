//! Roles that record in ledgers what they do to a queue, and when.
//!
//! Times are of the monotonic clock, which all processes share. A time is recorded before an operation begins, and
//! after it has returned, so the operation lies between two entries.

use ipc_tests::{
    ledger::Ledger,
    role::{Io, Role},
    rounds::Rng,
};
use nix::time::{ClockId, clock_gettime};
use std::{hint, sync::mpsc::channel, thread, time::Duration};
use workring::{
    Receiver, RecvError, SendError, Sender,
    error::{SendTimeoutError, TrySendError},
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("sending", sending),
    ("receiving", receiving),
    ("closing", closing),
];

/// Kinds of entries, as in `tests/queue/history.rs`.
const BEGUN: u8 = 1;
const ACCEPTED: u8 = 2;
const RETURNED: u8 = 3;
const REFUSED: u8 = 4;
const RECEIVED: u8 = 5;

/// How often a sender sends after the first `Closed`.
const SENDS_AFTER_CLOSE: u32 = 20;

fn now() -> u64 {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the clock"));
    u64::try_from(time.as_nanos()).expect("centuries")
}

/// Sends numbered messages by two threads, until the queue is closed, and a few more times. Prints `announced` when the
/// first thread has sent some of them.
///
/// Arguments: the directory of the ledgers, the number of the first sender, how many messages are sent before
/// `announced`, and a seed.
fn sending(io: &mut Io) {
    let (directory, first): (String, u64) = (io.argument(), io.argument());
    let (announce, seed): (u64, u64) = (io.argument(), io.argument());
    let queue: Sender<u64> = workring::inherit("queue").expect("inherit");
    io.say("ready");
    io.expect("go");
    let (announcer, reached) = channel();
    thread::scope(|scope| {
        for sender in first..first + 2 {
            let announcer = announcer.clone();
            let (queue, ledger) = (
                queue.clone(),
                Ledger::create(&directory, &sender.to_string()),
            );
            let rng = Rng::with_seed(seed + sender);
            scope.spawn(move || {
                let accepted = |count| {
                    if count == announce && sender == first {
                        announcer.send(()).expect("main waits for it");
                    }
                };
                send_until_closed(&queue, &ledger.expect("a ledger"), sender, rng, accepted);
            });
        }
        drop(announcer);
        // An error: the queue was closed before.
        if reached.recv().is_ok() {
            io.say("announced");
        }
    });
}

fn send_until_closed(
    queue: &Sender<u64>,
    ledger: &Ledger,
    sender: u64,
    mut rng: Rng,
    accepted: impl Fn(u64),
) {
    let (mut number, mut refused) = (0, 0);
    while refused < SENDS_AFTER_CLOSE {
        let id = sender << 32 | number;
        ledger.note(BEGUN, now());
        match send_by_any_function(queue, id, &mut rng) {
            Sent::Accepted => {
                ledger.note(ACCEPTED, id);
                number += 1;
            }
            Sent::Refused => {
                ledger.note(REFUSED, id);
                refused += 1;
            }
            Sent::WouldBlock => {}
        }
        ledger.note(RETURNED, now());
        accepted(number);
        (0..rng.u32(0..2_000)).for_each(|_| hint::spin_loop());
    }
}

enum Sent {
    Accepted,
    Refused,
    WouldBlock,
}

fn send_by_any_function(queue: &Sender<u64>, id: u64, rng: &mut Rng) -> Sent {
    let returned = match rng.u32(0..4) {
        0 => match queue.try_send(id) {
            Ok(()) => return Sent::Accepted,
            Err(TrySendError::Full(_)) => return Sent::WouldBlock,
            Err(TrySendError::Closed(value)) => value,
            Err(other) => panic!("{other:?}"),
        },
        1 => match queue.send_timeout(id, Duration::from_micros(rng.u64(0..200))) {
            Ok(()) => return Sent::Accepted,
            Err(SendTimeoutError::Timeout(_)) => return Sent::WouldBlock,
            Err(SendTimeoutError::Closed(value)) => value,
            Err(other) => panic!("{other:?}"),
        },
        _ => match queue.send(id) {
            Ok(()) => return Sent::Accepted,
            Err(SendError::Closed(value)) => value,
            Err(other) => panic!("{other:?}"),
        },
    };
    assert_eq!(returned, id, "another message was returned");
    Sent::Refused
}

/// Receives by several threads until the queue is closed, sometimes with leases.
///
/// Arguments: the directory of the ledgers, the number of the first receiver, the number of threads, whether they
/// return some leases (1) or not (0), and a seed.
fn receiving(io: &mut Io) {
    let (directory, first): (String, u64) = (io.argument(), io.argument());
    let (threads, may_return): (u64, u8) = (io.argument(), io.argument());
    let seed: u64 = io.argument();
    let queue: Receiver<u64> = workring::inherit("queue").expect("inherit");
    io.say("ready");
    io.expect("go");
    thread::scope(|scope| {
        for receiver in first..first + threads {
            let ledger = Ledger::create(&directory, &format!("r{receiver}"));
            let (queue, mut rng) = (queue.clone(), Rng::with_seed(seed + receiver));
            scope.spawn(move || {
                let ledger = ledger.expect("a ledger");
                while let Some(id) = receive_by_any_function(&queue, &mut rng, may_return == 1) {
                    if let Ok(id) = id {
                        ledger.note(RECEIVED, id);
                    }
                }
                assert!(matches!(queue.recv(), Err(RecvError::Closed)));
            });
        }
    });
}

/// Returns `None` if the queue is closed, and `Some(Err(()))` if the message was returned to it.
fn receive_by_any_function(
    queue: &Receiver<u64>,
    rng: &mut Rng,
    may_return: bool,
) -> Option<Result<u64, ()>> {
    let received = match rng.u32(0..3) {
        0 => queue.lease().map(|lease| {
            // Returned too often it would become a dead letter.
            if may_return && lease.deliveries() < 10 && rng.bool() {
                lease.nack();
                return Err(());
            }
            Ok(lease.ack())
        }),
        _ => queue.recv().map(Ok),
    };
    match received {
        Ok(received) => Some(received),
        Err(RecvError::Closed) => None,
        Err(other) => panic!("{other:?}"),
    }
}

/// Waits for the line `close`, closes the queue, and prints the times before and after.
fn closing(io: &mut Io) {
    let queue: Sender<u64> = workring::inherit("queue").expect("inherit");
    io.say("ready");
    io.expect("close");
    let begun = now();
    assert!(queue.close());
    let returned = now();
    io.say(begun);
    io.say(returned);
}
