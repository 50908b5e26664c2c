//! Roles that leave a queue.

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

/// Sends the numbers that it hears, until it is told to leave; stays alive without its end.
fn sender(io: &mut Io) {
    let queue: Sender<u32> = workring::inherit("queue").expect("inherit");
    io.say("ready");
    loop {
        let line = io.answer();
        if line == "leave" {
            break;
        }
        queue
            .send(line.parse().expect("a number"))
            .expect("it is open");
    }
    drop(queue);
    io.say("left");
    assert_eq!(io.try_answer(), None);
}

/// Sends one number, and says which one came back.
fn blocked_sender(io: &mut Io) {
    let number: u32 = io.argument();
    let queue: Sender<u32> = workring::inherit("queue").expect("inherit");
    match queue.send(number) {
        Err(SendError::Closed(number)) => io.say(format!("closed {number}")),
        other => panic!("{other:?}"),
    }
    assert!(queue.is_closed());
}

/// Leaves queue after queue at the same instant as another process: one that meets it over two queues, by spinning.
/// Even queues are left by a sender, odd ones by a receiver.
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
    let tell: Sender<u32> = workring::inherit("tell").expect("inherit");
    let told: Receiver<u32> = workring::inherit("told").expect("inherit");
    io.say("ready");
    for (number, end) in (0..).zip(ends) {
        io.expect("leave");
        let delay = rng.u32(0..500);
        tell.send(number).expect("the other one is there");
        while told.try_recv().ok() != Some(number) {
            hint::spin_loop();
        }
        (0..delay).for_each(|_| hint::spin_loop());
        drop(end);
    }
    io.say("left");
    assert_eq!(io.try_answer(), None);
}
