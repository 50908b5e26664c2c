//! Roles that meet a closed queue.

use ipc_tests::role::{Io, Role};
use std::{sync::Barrier, thread, time::Duration};
use workring::{
    Receiver, RecvError, Sender,
    error::{RecvTimeoutError, TryRecvError, TrySendError},
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("door", door),
    ("blocked", blocked),
    ("closers", closers),
    ("lease-holder", lease_holder),
];

/// Receives from queue after queue, each from the test's line on until it is closed, and says which values came.
fn door(io: &mut Io) {
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
        stays_closed(&queue);
        io.say(values.join(" "));
    }
}

fn stays_closed(queue: &Receiver<u32>) {
    assert!(matches!(queue.recv(), Err(RecvError::Closed)));
    assert!(matches!(queue.try_recv(), Err(TryRecvError::Closed)));
    let timed = queue.recv_timeout(Duration::ZERO);
    assert!(matches!(timed, Err(RecvTimeoutError::Closed)));
    assert!(matches!(queue.lease(), Err(RecvError::Closed)));
    assert!(queue.iter().next().is_none());
}

/// Blocks as many threads as its argument says in `recv`, and says how many were told that the queue is closed.
fn blocked(io: &mut Io) {
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

/// For each queue, as many threads as its argument says close it at once; says how many of them were the first.
fn closers(io: &mut Io) {
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

/// Leases messages, and acknowledges or returns them as the test says.
fn lease_holder(io: &mut Io) {
    let queue: Receiver<u32> = workring::inherit("queue").expect("inherit");
    let mut leases = Vec::new();
    while let Some(line) = io.try_answer() {
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
            other => panic!("no such order: {other}"),
        }
    }
}
