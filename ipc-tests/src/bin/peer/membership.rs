//! Roles that detach from queues.

use ipc_tests::{
    role::{Io, Role},
    rounds::Rng,
};
use std::{any::Any, hint};
use workring::{Receiver, SendError, Sender};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("sender", sender),
    ("blocked-sender", blocked_sender),
    ("leaver", leaver),
];

/// Sends the numbers that it reads. At the line `leave` it drops its sender, and stays alive.
fn sender(io: &mut Io) {
    let queue: Sender<u32> = workring::inherit("queue").expect("inherit");
    io.say("ready");
    loop {
        let line = io.next_line();
        if line == "leave" {
            break;
        }
        queue
            .send(line.parse().expect("a number"))
            .expect("the queue is open");
    }
    drop(queue);
    io.say("left");
    assert_eq!(io.try_next_line(), None);
}

/// Sends one number to a full queue, and prints the number that the error `Closed` returns.
fn blocked_sender(io: &mut Io) {
    let number: u32 = io.argument();
    let queue: Sender<u32> = workring::inherit("queue").expect("inherit");
    match queue.send(number) {
        Err(SendError::Closed(number)) => io.say(format!("closed {number}")),
        other => panic!("{other:?}"),
    }
    assert!(queue.is_closed());
}

/// Detaches from one queue after the other, at the same moment as another process. The two synchronize by two further
/// queues, on which they spin. Queues with an even number have a sender here, the others a receiver.
///
/// Arguments: the number of queues, and a seed.
fn leaver(io: &mut Io) {
    let (count, seed): (u32, u64) = (io.argument(), io.argument());
    let mut rng = Rng::with_seed(seed);
    let ends: Vec<Box<dyn Any>> = (0..count)
        .map(|number| -> Box<dyn Any> {
            let name = format!("q{number}");
            if number % 2 == 0 {
                Box::new(workring::inherit::<Sender<u32>>(&name).expect("inherit"))
            } else {
                Box::new(workring::inherit::<Receiver<u32>>(&name).expect("inherit"))
            }
        })
        .collect();
    let signal: Sender<u32> = workring::inherit("signal").expect("inherit");
    let other: Receiver<u32> = workring::inherit("other").expect("inherit");
    io.say("ready");
    for (number, end) in (0..).zip(ends) {
        io.expect("leave");
        let delay = rng.u32(0..500);
        signal.send(number).expect("the other process is attached");
        while other.try_recv().ok() != Some(number) {
            hint::spin_loop();
        }
        (0..delay).for_each(|_| hint::spin_loop());
        drop(end);
    }
    io.say("left");
    assert_eq!(io.try_next_line(), None);
}
