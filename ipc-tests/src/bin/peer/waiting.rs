//! Roles that wait for messages or for room, with and without a time limit.

use ipc_tests::{
    Pid,
    cpu::Usage,
    ledger::Ledger,
    role::{Io, Role},
    rounds::Rng,
};
use std::{
    hint,
    thread::{self, ScopedJoinHandle},
    time::Duration,
};
use workring::{
    Receiver, RecvError, Sender,
    error::{RecvTimeoutError, TryRecvError},
    queue::Raw,
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("ping-pong", ping_pong),
    ("stream", stream),
    ("sink", sink),
    ("full-sender", full_sender),
    ("relay", relay),
    ("large-sender", large_sender),
    ("short-waits", short_waits),
    ("idle", idle),
];

/// Sends back each number that it receives, one higher, until the queue is closed. Prints `enough` once when the
/// numbers are high enough.
///
/// Argument: the number of round trips after which they are.
fn ping_pong(io: &mut Io) {
    let enough: u32 = io.argument();
    let input: Receiver<u32> = workring::inherit("in").expect("inherit");
    let output: Sender<u32> = workring::inherit("out").expect("inherit");
    let mut has_printed = false;
    for number in &input {
        let number = number.expect("a number");
        if number >= 2 * enough && !has_printed {
            io.say("enough");
            has_printed = true;
        }
        if output.send(number + 1).is_err() {
            break;
        }
    }
}

/// Sends all numbers below the second argument, by as many threads as the first one says.
fn stream(io: &mut Io) {
    let (threads, count): (u32, u32) = (io.argument(), io.argument());
    let queue: Sender<u32> = workring::inherit("queue").expect("inherit");
    let send = || (0..count).for_each(|number| queue.send(number).expect("the queue is open"));
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(send))));
}

/// Receives until the queue is closed, by as many threads as the argument says. Prints the number of messages.
fn sink(io: &mut Io) {
    let threads: u32 = io.argument();
    let queue: Receiver<u32> = workring::inherit("queue").expect("inherit");
    let count = thread::scope(|scope| {
        let receiving: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| queue.iter().flatten().count()))
            .collect();
        let counts = receiving.into_iter().map(ScopedJoinHandle::join);
        counts.map(|count| count.expect("join")).sum::<usize>()
    });
    io.say(count);
}

/// Sends the number that is its argument to a queue that may be full.
fn full_sender(io: &mut Io) {
    let number: u32 = io.argument();
    let queue: Sender<u32> = workring::inherit("queue").expect("inherit");
    queue.send(number).expect("the queue is open");
}

/// Sends back what it receives, by as many threads as the argument says.
fn relay(io: &mut Io) {
    let threads: u32 = io.argument();
    let input: Receiver<Vec<u8>, Raw> = workring::inherit("in").expect("inherit");
    let output: Sender<Vec<u8>, Raw> = workring::inherit("out").expect("inherit");
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for message in &input {
                    output
                        .send(message.expect("a message"))
                        .expect("the queue is open");
                }
            });
        }
    });
}

/// Sends large messages, and prints the number of each when it is accepted.
///
/// Arguments: the number of messages, and their length.
fn large_sender(io: &mut Io) {
    let (count, bytes): (u32, usize) = (io.argument(), io.argument());
    let queue: Sender<Vec<u8>, Raw> = workring::inherit("queue").expect("inherit");
    for number in 0..count {
        queue.send(vec![7; bytes]).expect("the queue is open");
        io.say(number);
    }
}

/// Receives by two threads with tiny time limits, and records the messages in a ledger. Prints `enough` when each
/// thread has given up often enough, and then receives until the queue is closed.
///
/// Arguments: the directory and the name of the ledger, how often each thread gives up, and a seed.
fn short_waits(io: &mut Io) {
    let (directory, name): (String, String) = (io.argument(), io.argument());
    let (enough, seed): (u32, u64) = (io.argument(), io.argument());
    let queue: Receiver<u64> = workring::inherit("queue").expect("inherit");
    let ledger = Ledger::create(directory, &name).expect("a ledger");
    let receive = |seed| {
        let mut rng = Rng::with_seed(seed);
        for _ in 0..enough {
            while let Some(id) = receive_or_give_up(&queue, &mut rng) {
                ledger.note(1, id);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| receive(seed));
        receive(seed + 1);
    });
    io.say("enough");
    for id in &queue {
        ledger.note(1, id.expect("a number"));
    }
}

/// Returns `None` if no message came in time.
fn receive_or_give_up(queue: &Receiver<u64>, rng: &mut Rng) -> Option<u64> {
    let limit = Duration::from_micros(rng.u64(0..120));
    let received = match rng.u32(0..4) {
        0 => queue.lease_timeout(limit).map(workring::Lease::ack),
        1 => match queue.try_recv() {
            Ok(id) => return Some(id),
            Err(TryRecvError::Empty) => {
                hint::spin_loop();
                queue.recv_timeout(limit)
            }
            Err(other) => panic!("{other:?}"),
        },
        _ => queue.recv_timeout(limit),
    };
    match received {
        Ok(id) => Some(id),
        Err(RecvTimeoutError::Timeout) => None,
        Err(other) => panic!("{other:?}"),
    }
}

/// Waits for messages of an empty queue, and prints what that has cost: voluntary context switches, and milliseconds of
/// processor time. Then waits until the queue is closed.
///
/// Argument: the milliseconds to wait.
fn idle(io: &mut Io) {
    let wait = Duration::from_millis(io.argument());
    let queue: Receiver<u32> = workring::inherit("queue").expect("inherit");
    let usage = || Usage::of(Pid::this()).expect("self");
    let before = usage();
    assert!(matches!(
        queue.recv_timeout(wait),
        Err(RecvTimeoutError::Timeout)
    ));
    let used = usage() - before;
    io.say(used.voluntary);
    io.say(used.time.as_millis());
    assert!(matches!(queue.recv(), Err(RecvError::Closed)));
}
