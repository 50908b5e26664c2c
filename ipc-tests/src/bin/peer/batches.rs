//! Roles that send and receive batches.

use ipc_tests::{
    role::{Io, Role},
    rounds::Rng,
};
use workring::{Receiver, Sender};

pub(crate) const ROLES: &[(&str, Role)] = &[("batch-sender", sender), ("batch-receiver", receiver)];

/// Sends `0..count` in order, in batches of random sizes and one by one. The upper 32 bits of each message are the
/// sender's id.
///
/// Arguments: the sender's id (0 or 1), the count, and a seed.
fn sender(io: &mut Io) {
    let (me, count, seed): (u64, u64, u64) = (io.argument(), io.argument(), io.argument());
    let queue: Sender<u64> = workring::inherit("queue").expect("inherit");
    let mut rng = Rng::with_seed(seed + me);
    let mut next = 0;
    while next < count {
        let end = count.min(next + rng.u64(1..100));
        if rng.bool() {
            queue
                .send_many((next..end).map(|n| me << 32 | n))
                .expect("the queue is open");
        } else {
            (next..end).for_each(|n| queue.send(me << 32 | n).expect("the queue is open"));
        }
        next = end;
    }
}

/// Receives until the queue is closed, and asserts that the messages of each sender arrive in ascending order. Prints
/// their number and the sum of their squares, in which a lost and a duplicated message do not cancel out.
///
/// Argument: the maximum number of messages for `recv_many`; 0 means `recv`.
fn receiver(io: &mut Io) {
    let max_batch: usize = io.argument();
    let queue: Receiver<u64> = workring::inherit("queue").expect("inherit");
    let (mut count, mut sum, mut last) = (0_u64, 0_u64, [None; 2]);
    let mut messages = Vec::new();
    loop {
        messages.clear();
        let received = if max_batch == 0 {
            queue.recv().map(|message| messages.push(message))
        } else {
            queue.recv_many(&mut messages, max_batch).map(drop)
        };
        if let Err(error) = received {
            assert!(error.is_closed(), "{error}");
            break;
        }
        for &message in &messages {
            let sender = usize::try_from(message >> 32).expect("a small number");
            let last = last.get_mut(sender).expect("a sender");
            assert!(*last < Some(message), "{message} after {last:?}");
            *last = Some(message);
            count += 1;
            sum = sum.wrapping_add(message.wrapping_mul(message));
        }
    }
    io.say(format!("{count} {sum}"));
}
