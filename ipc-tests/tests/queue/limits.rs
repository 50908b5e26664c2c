//! Limits, and what they must not obstruct: other senders, other receivers, and the end of the queue.

use ipc_tests::guarded;
use ipc_tests::support::{LIMIT, asleep, sleepy};
use workring::{
    RecvError, SendError,
    error::{DecodeError, EncodeError, TryRecvError},
    queue::{Codec, Raw},
};

/// `max_leases` bounds held messages. More threads than that may still wait for one.
#[test]
fn readers_that_wait_for_a_lease_do_not_have_one() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).max_leases(1).channel::<u32>().expect("a queue");
        let waiting = {
            let rx = rx.clone();
            asleep(move || rx.lease().map(workring::Lease::ack))
        };
        let none = rx.try_lease();
        assert!(matches!(none, Err(TryRecvError::Empty)), "{none:?}");
        tx.send(1).expect("room");
        assert_eq!(waiting.join().expect("join").expect("a message"), 1);
    });
}

/// `max_dead_letters` bounds the dead letters that are kept, even if none is ever read.
#[test]
fn unread_dead_letters_leave_senders_their_memory() {
    guarded(LIMIT, || {
        for bytes in [1, 64 * 1024] {
            let options = sleepy(16).max_deliveries(1);
            let (tx, rx) = options.channel_with::<Vec<u8>, Raw>().expect("a queue");
            for number in 0..300 {
                let sent = tx.try_send(vec![7; bytes]);
                assert!(
                    sent.is_ok(),
                    "after {number} dead letters of {bytes} bytes there is no memory to send: {sent:?}"
                );
                rx.try_lease().expect("it is there").nack();
            }
        }
    });
}

#[test]
fn messages_that_are_returned_after_the_end_count_as_dead_letters() {
    guarded(LIMIT, || {
        let options = sleepy(4).max_dead_letters(2);
        let (tx, rx) = options.channel::<u32>().expect("a queue");
        (0..4).for_each(|number| tx.send(number).expect("room"));
        let leases: Vec<_> = (0..4).map(|_| rx.lease().expect("a message")).collect();
        tx.close();
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        drop(leases);
        let letters: Vec<_> = rx.dead_letters().collect();
        let numbers = letters
            .iter()
            .map(|letter| letter.decode().expect("a number"));
        assert_eq!(
            numbers.collect::<Vec<_>>(),
            [2, 3],
            "the newest two are kept"
        );
    });
}

#[test]
fn a_dead_letter_that_another_process_has_put_back_is_still_there() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4)
            .max_deliveries(1)
            .channel::<u32>()
            .expect("a queue");
        tx.send(7).expect("room");
        rx.lease().expect("a message").nack();
        let mut one = rx.dead_letters();
        let other = rx.dead_letters().next().expect("one letter");
        drop(other);
        assert_eq!(
            one.next()
                .expect("it was put back")
                .decode()
                .expect("a number"),
            7
        );
    });
}

/// C1, C4: after the first `Closed` every receive returns it.
#[test]
fn a_receiver_with_all_its_leases_gets_closed_when_the_queue_has_ended() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).max_leases(1).channel::<u32>().expect("a queue");
        tx.send(1).expect("room");
        let lease = rx.lease().expect("a message");
        tx.close();
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        let refused = rx.lease();
        assert!(matches!(refused, Err(RecvError::Closed)), "{refused:?}");
        assert_eq!(lease.ack(), 1);
    });
}

/// C1: `Closed` has precedence over other errors.
#[test]
fn sending_a_too_large_message_to_a_closed_queue_fails_with_closed() {
    guarded(LIMIT, || {
        let (tx, _rx) = sleepy(4).channel_with::<Vec<u8>, Raw>().expect("a queue");
        tx.close();
        let refused = tx.send(vec![7; 1024 * 1024 + 1]);
        assert!(matches!(refused, Err(SendError::Closed(_))), "{refused:?}");
    });
}

/// Several threads look for a lease at the same time: those that find no message must not use up the one lease.
#[test]
fn looking_for_a_lease_takes_none_from_other_threads() {
    guarded(LIMIT, || {
        let (_tx, rx) = sleepy(4).max_leases(1).channel::<u32>().expect("a queue");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let none = rx.try_lease();
                        assert!(matches!(none, Err(TryRecvError::Empty)), "{none:?}");
                    }
                });
            }
        });
    });
}

/// Dead letters are evicted for a message of their size that has no other block, and for no other.
#[test]
fn dead_letters_stay_when_their_memory_would_not_help() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4)
            .max_deliveries(1)
            .max_message_len(64 * 1024)
            .channel_with::<Vec<u8>, Raw>()
            .expect("a queue");
        for _ in 0..4 {
            tx.send(vec![7; 60_000]).expect("room");
            rx.lease().expect("a message").nack();
        }
        let mut held = Vec::new();
        while let Ok(room) = tx.try_reserve(60_000) {
            held.push(room);
            if rx
                .stats()
                .blocks
                .last()
                .is_some_and(|large| large.free == 0)
            {
                break;
            }
        }
        tx.send(Vec::new()).expect("small blocks are free");
        assert_eq!(
            rx.stats().dead_letters,
            4,
            "an empty message needs none of their memory"
        );
        for _ in 0..3 {
            tx.send(Vec::new()).expect("room");
        }
        drop(held.pop());
        assert!(tx.try_send(vec![1; 60_000]).is_err(), "the queue is full");
        assert_eq!(rx.stats().dead_letters, 4, "nothing was sent");
    });
}

/// A codec that claims to have written more than the buffer has room for.
struct Boaster;

impl Codec<u8> for Boaster {
    const NAME: &'static str = "boaster";
    fn encode(_: &u8, into: &mut [u8]) -> Result<usize, EncodeError> {
        Ok(into.len() + 1)
    }
    fn encoded_len(_: &u8) -> Result<usize, EncodeError> {
        Ok(1)
    }
    fn decode(_: &[u8]) -> Result<u8, DecodeError> {
        Ok(0)
    }
}

#[test]
fn a_codec_that_claims_too_much_is_an_error_of_the_sender() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel_with::<u8, Boaster>().expect("a queue");
        let refused = tx.send(7);
        assert!(
            matches!(refused, Err(SendError::Encode { value: 7, .. })),
            "{refused:?}"
        );
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    });
}
