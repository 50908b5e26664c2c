//! Roles that close queues, or use closed ones.

use ipc_tests::role::{Io, Role};
use std::{sync::Barrier, thread, time::Duration};
use workring::{
    Receiver, RecvError, Sender,
    error::{RecvTimeoutError, TryRecvError, TrySendError},
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("receive-until-closed", receive_until_closed),
    ("blocked-receivers", blocked_receivers),
    ("racing-closers", racing_closers),
    ("lease-holder", lease_holder),
];

/// Receives from one queue after the other. Waits for the line `enter`, receives until the queue is closed, and prints
/// the values.
///
/// Argument: the number of queues.
fn receive_until_closed(io: &mut Io) {
    let count: u32 = io.argument();
    let queues: Vec<Receiver<u32>> = (0..count)
        .map(|number| workring::inherit(&format!("q{number}")).expect("inherit"))
        .collect();
    io.say("ready");
    for queue in queues {
        io.expect("enter");
        let mut values = Vec::new();
        loop {
            match queue.recv() {
                Ok(value) => values.push(value.to_string()),
                Err(RecvError::Closed) => break,
                Err(other) => panic!("neither a value nor closed: {other:?}"),
            }
        }
        assert_stays_closed(&queue);
        io.say(values.join(" "));
    }
}

fn assert_stays_closed(queue: &Receiver<u32>) {
    assert!(matches!(queue.recv(), Err(RecvError::Closed)));
    assert!(matches!(queue.try_recv(), Err(TryRecvError::Closed)));
    let timed = queue.recv_timeout(Duration::ZERO);
    assert!(matches!(timed, Err(RecvTimeoutError::Closed)));
    assert!(matches!(queue.lease(), Err(RecvError::Closed)));
    assert!(queue.iter().next().is_none());
}

/// Blocks threads in `recv`, and prints how many of them returned `Closed`.
///
/// Argument: the number of threads.
fn blocked_receivers(io: &mut Io) {
    let threads: u32 = io.argument();
    let queue: Receiver<u32> = workring::inherit("queue").expect("inherit");
    let readers: Vec<_> = (0..threads)
        .map(|_| {
            let queue = queue.clone();
            thread::spawn(move || queue.recv())
        })
        .collect();
    let results = readers
        .into_iter()
        .map(|reader| reader.join().expect("a receive never panics"));
    let closed = results.filter(|result| matches!(result, Err(RecvError::Closed)));
    io.say(closed.count());
}

/// Closes one queue after the other, with several threads at once. Waits for the line `close`, and prints how many of
/// the threads were the first to close it.
///
/// Arguments: the numbers of queues and of threads.
fn racing_closers(io: &mut Io) {
    let (count, threads): (u32, usize) = (io.argument(), io.argument());
    let queues: Vec<Sender<u32>> = (0..count)
        .map(|number| workring::inherit(&format!("q{number}")).expect("inherit"))
        .collect();
    let start = Barrier::new(threads);
    io.say("ready");
    for queue in queues {
        io.expect("close");
        let firsts: u32 = thread::scope(|scope| {
            let close = || {
                start.wait();
                let first = queue.close();
                assert!(queue.is_closed());
                assert!(matches!(queue.try_send(7), Err(TrySendError::Closed(7))));
                u32::from(first)
            };
            let closing: Vec<_> = (0..threads).map(|_| scope.spawn(close)).collect();
            let closing = closing.into_iter();
            closing.map(|thread| thread.join().expect("join")).sum()
        });
        io.say(firsts);
    }
}

/// Leases messages, and acknowledges, returns or receives them, as each line says.
fn lease_holder(io: &mut Io) {
    let queue: Receiver<u32> = workring::inherit("queue").expect("inherit");
    let mut leases = Vec::new();
    while let Some(line) = io.try_next_line() {
        match line.as_str() {
            "lease" => {
                let lease = queue.lease().expect("a message");
                io.say(format!("{} after {}", *lease, lease.deliveries()));
                leases.push(lease);
            }
            "ack" => {
                let value = leases.remove(0).ack();
                io.say(value);
            }
            "nack" => {
                leases.remove(0).nack();
                io.say("returned");
            }
            "receive" => match queue.recv() {
                Ok(value) => io.say(value),
                Err(error) => io.say(error),
            },
            "leave" => {
                leases.clear();
                return;
            }
            other => panic!("no such command: {other}"),
        }
    }
}
