//! Plain old data, written and read where it lies.

use ipc_tests::support::{LIMIT, sleepy};
use ipc_tests::{Pid, guarded};
use workring::{
    Options, Receiver, RecvError, SendError, Sender,
    queue::{Bytemuck, open_as, remove_named},
};

type Ends<T> = (Sender<T, Bytemuck>, Receiver<T, Bytemuck>);

fn queue<T: bytemuck::Pod>(options: &Options) -> Ends<T> {
    options.channel_with().expect("a queue")
}

/// Blocks in use, of any size.
fn in_use<T: bytemuck::Pod>(tx: &Sender<T, Bytemuck>) -> u64 {
    let blocks = tx.stats().blocks.into_iter();
    blocks.map(|class| class.total - class.free).sum()
}

/// Sends a value in each way, and receives each of them in each way.
fn interchange<const N: usize>() {
    let (tx, rx) = queue::<[u64; N]>(&sleepy(16));
    let value = |seed: u64| core::array::from_fn(|n| seed + n as u64);
    for round in 0..2 {
        let mut room = tx.reserve_value().expect("a block");
        for (n, word) in (1..).zip(room.iter_mut()) {
            *word = n;
        }
        room.commit().expect("room");
        tx.send(value(2)).expect("room");
        tx.send_many([value(3), value(4), value(5)]).expect("room");
        for seed in 1..=5 {
            if (seed + round) % 2 == 0 {
                assert_eq!(rx.recv().expect("a message"), value(seed));
            } else {
                let lease = rx.lease_value().expect("a message");
                assert_eq!(*lease, value(seed));
                lease.ack();
            }
        }
    }
    assert_eq!(in_use(&tx), 0);
}

#[test]
fn each_end_uses_values_in_place_or_by_value() {
    guarded(LIMIT, || {
        interchange::<0>();
        interchange::<1>();
        interchange::<12>();
        interchange::<13>();
        interchange::<14>();
        interchange::<1_000>();
        interchange::<2_000>();
    });
}

/// The stack of a test has 2 MiB.
#[test]
fn a_value_in_place_never_lies_on_the_stack() {
    guarded(LIMIT, || {
        let (tx, rx) = queue::<[u64; 1 << 20]>(&sleepy(4).max_message_len(8 << 20));
        let mut room = tx.reserve_value().expect("a block").zeroed();
        room.fill(7);
        room.commit().expect("room");
        assert!(room.iter().all(|&word| word == 0), "it was sent");
        let lease = rx.lease_value().expect("a message");
        assert!(lease.iter().all(|&word| word == 7));
        lease.ack();
    });
}

/// In a batch they lie one after the other.
#[test]
fn values_of_odd_lengths_are_found_in_a_batch() {
    guarded(LIMIT, || {
        let (tx, rx) = queue::<[u8; 3]>(&sleepy(64));
        tx.send_many((0..50).map(|n| [n; 3])).expect("room");
        for n in 0..50 {
            let lease = rx.lease_value().expect("a message");
            assert_eq!(*lease, [n; 3]);
            lease.ack();
        }
    });
}

#[test]
fn a_value_is_zeros_when_it_is_cleared_or_was_sent() {
    guarded(LIMIT, || {
        let (tx, rx) = queue::<[u32; 4]>(&sleepy(4));
        for _ in 0..100 {
            let mut room = tx.reserve_value().expect("a block");
            room.fill(6);
            let mut room = room.zeroed();
            assert_eq!(*room, [0; 4]);
            room.fill(7);
            room.commit().expect("room");
            assert_eq!(*room, [0; 4], "it was sent");
            room.fill(8);
            assert_eq!(*room, [0; 4], "and changes are lost");
            room.commit().expect("it was sent before");
            drop(room);
            assert_eq!(rx.recv().expect("a message"), [7; 4]);
        }
        assert_eq!(in_use(&tx), 0);
        drop(tx.reserve_value().expect("a block"));
        assert_eq!(in_use(&tx), 0, "nothing is sent");
        assert!(rx.is_empty());
    });
}

#[test]
fn a_lease_of_a_value_that_is_dropped_returns_it() {
    guarded(LIMIT, || {
        let (tx, rx) = queue::<u64>(&sleepy(4));
        tx.send(7).expect("room");
        drop(rx.lease_value().expect("a message"));
        rx.lease_value().expect("a message").nack();
        let lease = rx.lease_value().expect("a message").into_owned();
        assert_eq!((*lease, lease.deliveries()), (7, 2));
        lease.ack();
        assert_eq!(in_use(&tx), 0);
    });
}

#[test]
fn a_value_that_is_longer_than_messages_may_be_is_refused() {
    guarded(LIMIT, || {
        let (tx, _rx) = queue::<[u64; 100]>(&sleepy(4).max_message_len(256));
        let refused = tx.reserve_value().expect_err("it is too long");
        assert!(
            matches!(
                refused,
                SendError::TooLarge {
                    len: 800,
                    max: 256,
                    value: (),
                    ..
                }
            ),
            "{refused:?}"
        );
    });
}

/// Two programs have different types with the same schema.
#[test]
fn a_message_of_another_length_becomes_a_dead_letter() {
    guarded(LIMIT, || {
        let name = format!("workring-values-{}", Pid::this());
        let options = sleepy(4).schema("values.v1");
        let made = options.create_named_with::<[u8; 3], Bytemuck>(&name);
        let (tx, rx) = made.expect("a queue");
        let other: Receiver<u32, Bytemuck> = open_as(&name, "values.v1").expect("the queue");
        for letters in 1..=2 {
            tx.send([1, 2, 3]).expect("room");
            let error = match letters {
                1 => other.lease_value().map(drop).expect_err("another length"),
                _ => other.recv().map(drop).expect_err("another length"),
            };
            let RecvError::Decode(error) = error else {
                panic!("{error:?}")
            };
            assert_eq!(error.cause().to_string(), "3 bytes instead of 4");
            assert_eq!(other.dead_letters().count(), letters);
        }
        drop((tx, rx, other));
        remove_named(&name).expect("the queue");
    });
}
