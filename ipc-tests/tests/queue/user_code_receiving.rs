//! User code that a queue calls when messages are received, looked at and dropped.
//!
//! The method is that of `user_code`.

use crate::user_code::{
    BAD, Gate, LARGE, Message, Place, Rx, Tx, batch, hooked, numbers, panics, panics_in, queue,
    received, with_hook,
};
use ipc_tests::guarded;
use ipc_tests::support::books::{assert_adds_up, assert_all_free, assert_balanced};
use ipc_tests::support::{LIMIT, sleepy};
use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};
use workring::{RecvError, error::TryRecvError};

type Take = fn(&Rx) -> Result<Vec<u32>, RecvError>;

/// All ways to take message 7, which is the only one, or in a batch between others.
const WAYS_TO_TAKE: [Take; 9] = [
    |rx| Ok(vec![rx.recv()?.0]),
    |rx| Ok(vec![rx.try_recv().map_err(waited)?.0]),
    |rx| {
        let message = rx.recv_timeout(LIMIT);
        Ok(vec![message.map_err(|_| RecvError::Interrupted)?.0])
    },
    |rx| Ok(vec![rx.lease()?.ack().0]),
    |rx| Ok(vec![rx.try_lease().map_err(waited)?.ack().0]),
    |rx| {
        let next = rx.iter().next().ok_or(RecvError::Closed)?;
        next.map(|m| vec![m.0])
    },
    |rx| {
        let next = rx.try_iter().next().ok_or(RecvError::Interrupted)?;
        next.map_err(waited).map(|m| vec![m.0])
    },
    |rx| {
        let mut messages = Vec::new();
        rx.recv_many(&mut messages, 100)?;
        Ok(numbers(messages))
    },
    |rx| {
        let mut messages = Vec::new();
        rx.recv_many(&mut messages, 2)?;
        Ok(numbers(messages))
    },
];

fn waited(error: TryRecvError) -> RecvError {
    match error {
        TryRecvError::Decode(error) => RecvError::Decode(error),
        TryRecvError::Closed => RecvError::Closed,
        _ => RecvError::Interrupted,
    }
}

const MESSAGES: [&[u32]; 5] = [&[7], &[7 * LARGE], &[1, 7, 2], &[7, 1, 2], &[1, 2, 7]];

/// The message that the test is about.
fn seven(messages: &[u32]) -> u32 {
    let found = messages.iter().find(|&&n| n == 7 || n == 7 * LARGE);
    *found.expect("there is one")
}

fn send_all(tx: &Tx, messages: &[u32]) {
    let sent = tx.send_many(batch(messages.iter().copied()));
    assert_eq!(sent.expect("room"), messages.len());
}

/// What is taken until there is no more; panics are counted.
fn take_all(rx: &Rx, take: Take) -> (Vec<u32>, u32) {
    let (mut taken, mut panicked) = (Vec::new(), 0);
    let left = |rx: &Rx| {
        let stats = rx.stats();
        stats.queued + stats.held + stats.returned
    };
    while left(rx) > 0 {
        match catch_unwind(AssertUnwindSafe(|| take(rx))) {
            Ok(messages) => taken.extend(messages.expect("a message")),
            Err(_) => panicked += 1,
        }
        assert_balanced(rx);
    }
    (taken, panicked)
}

#[test]
fn a_panic_of_decode_returns_the_message_until_it_is_a_dead_letter() {
    guarded(LIMIT, || {
        for (way, take) in WAYS_TO_TAKE.into_iter().enumerate() {
            for messages in MESSAGES {
                let (tx, rx) = queue();
                send_all(&tx, messages);
                let number = seven(messages);
                let hook = panics_in(Place::Decode, number);
                let (mut taken, panicked) = with_hook(hook, || take_all(&rx, take));
                assert_eq!(panicked, 3, "way {way}, {messages:?}");
                taken.push(number);
                taken.sort_unstable();
                let mut expected = messages.to_vec();
                expected.sort_unstable();
                // What `recv_many` has received before the panic is with its caller's buffer, which the test loses.
                if way < 7 {
                    assert_eq!(taken, expected, "way {way}");
                }
                let letters: Vec<_> = rx.dead_letters().collect();
                assert_eq!(letters.len(), 1);
                for letter in letters {
                    let hook = panics_in(Place::Decode, number);
                    assert!(with_hook(hook, || panics(|| letter.decode())));
                    assert_eq!(letter.decode().expect("no panic").0, number);
                    letter.discard();
                }
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}

#[test]
fn decoding_may_use_the_queue() {
    guarded(LIMIT, || {
        for (way, take) in WAYS_TO_TAKE.into_iter().enumerate() {
            for messages in MESSAGES {
                let (tx, rx) = queue();
                let (tx, rx) = (Rc::new(tx), Rc::new(rx));
                send_all(&tx, messages);
                let number = seven(messages);
                let seen = Rc::new(RefCell::new(Vec::new()));
                let (inner, outer, taken) = (Rc::clone(&tx), Rc::clone(&rx), Rc::clone(&seen));
                let hook = move |place, of| {
                    if (place, of) == (Place::Decode, number) {
                        inner.try_send(Message(90)).expect("room");
                        inner.try_send_many(batch([91, 92])).expect("room");
                        taken.borrow_mut().extend(received(&outer));
                        drop((*outer).clone());
                        outer.try_lease().map(workring::Lease::nack).ok();
                        assert_adds_up(&outer.stats());
                        outer.dead_letters().for_each(drop);
                    }
                };
                let (more, panicked) = with_hook(hook, || take_all(&rx, take));
                assert_eq!(panicked, 0, "way {way}");
                seen.borrow_mut().extend(more);
                let mut seen = seen.take();
                seen.sort_unstable();
                let mut expected = [messages, &[90, 91, 92]].concat();
                expected.sort_unstable();
                assert_eq!(seen, expected, "way {way}");
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}

#[test]
fn a_queue_may_be_closed_or_cancelled_while_a_message_is_decoded() {
    guarded(LIMIT, || {
        for cancels in [false, true] {
            for (way, take) in WAYS_TO_TAKE.into_iter().enumerate() {
                for messages in MESSAGES {
                    for settled in [false, true] {
                        let (tx, rx) = hooked(&sleepy(8).close_waits_for_leases(settled));
                        send_all(&tx, messages);
                        let closer = rx.clone();
                        let number = seven(messages);
                        let hook = move |place, of| {
                            if (place, of) == (Place::Decode, number) {
                                if cancels {
                                    closer.cancel();
                                } else {
                                    closer.close();
                                }
                            }
                        };
                        with_hook(hook, || {
                            let mut taken = Vec::new();
                            loop {
                                match take(&rx) {
                                    Ok(more) => taken.extend(more),
                                    Err(RecvError::Closed) => break,
                                    Err(error) if taken.is_empty() => panic!("{error:?}"),
                                    // `try_` says `Empty` before the hook has closed the queue.
                                    Err(_) => break,
                                }
                            }
                            assert!(taken.contains(&number), "way {way}");
                            assert!(cancels || taken.len() == messages.len());
                        });
                        assert_balanced(&rx);
                        assert_all_free(&rx);
                    }
                }
            }
        }
    });
}

#[test]
fn decoding_that_hangs_holds_up_no_other_thread() {
    guarded(LIMIT, || {
        for (way, take) in WAYS_TO_TAKE.into_iter().enumerate() {
            for messages in MESSAGES {
                let (tx, rx) = queue();
                send_all(&tx, messages);
                let number = seven(messages);
                let gate = Gate::default();
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let hook = gate.hook(Place::Decode, number);
                        with_hook(hook, || {
                            let (taken, panicked) = take_all(&rx, take);
                            assert!(panicked == 0 && taken.contains(&number), "way {way}");
                        });
                    });
                    gate.await_arrival();
                    // By the very receiver that hangs, and by another one of this process.
                    for rx in [&rx, &rx.clone()] {
                        tx.send(Message(90)).expect("room");
                        tx.send_many(batch([91, 92])).expect("room");
                        let seen = received(rx);
                        assert!([90, 91, 92].iter().all(|n| seen.contains(n)), "{seen:?}");
                        assert!(rx.stats().held >= 1);
                        tx.send(Message(93)).expect("room");
                        drop(rx.try_lease().expect("a message").ack());
                        assert!(rx.is_empty());
                        assert_eq!(rx.dead_letters().count(), 0);
                    }
                    gate.open();
                });
                assert_all_free(&rx);
                assert_balanced(&rx);
            }
        }
    });
}

#[test]
fn a_panic_of_drop_in_the_receiver_loses_no_other_message() {
    guarded(LIMIT, || {
        // A message that was received is acknowledged; a lease that is dropped returns it.
        let (tx, rx) = queue();
        tx.send(Message(7)).expect("room");
        let hook = panics_in(Place::Drop, 7);
        assert!(with_hook(hook, || panics(|| drop(rx.recv()))));
        assert_all_free(&rx);
        tx.send(Message(7)).expect("room");
        let hook = panics_in(Place::Drop, 7);
        assert!(with_hook(hook, || panics(|| rx
            .lease()
            .map(workring::Lease::nack))));
        assert_eq!(rx.stats().returned, 1);
        assert_eq!(received(&rx), [7]);
        assert_all_free(&rx);
        // Decoded, and taken back since one before it failed.
        send_all(&tx, &[1, BAD, 7, 2]);
        let hook = panics_in(Place::Drop, 7);
        let mut messages = Vec::new();
        assert!(with_hook(
            hook,
            || panics(|| rx.recv_many(&mut messages, 9))
        ));
        assert_eq!(numbers(messages), [1]);
        let mut messages = Vec::new();
        let mut bad = 0;
        while rx.stats().held + rx.stats().returned > 0 {
            match rx.try_recv_many(&mut messages, 9) {
                Ok(_) => {}
                Err(TryRecvError::Decode(_)) => bad += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!((numbers(messages), bad), (vec![7, 2], 1));
        rx.dead_letters()
            .for_each(workring::queue::DeadLetter::discard);
        assert_all_free(&rx);
        assert_balanced(&rx);
    });
}

/// A lease returns its message before it drops the value, so that a slow drop does not delay the message.
#[test]
fn a_lease_whose_message_hangs_in_drop_has_returned_it() {
    guarded(LIMIT, || {
        let (tx, rx) = hooked(&sleepy(8).close_waits_for_leases(true));
        tx.send(Message(7)).expect("room");
        tx.close();
        let gate = Gate::default();
        thread::scope(|scope| {
            let lease = rx.lease().expect("a message");
            scope.spawn(|| with_hook(gate.hook(Place::Drop, 7), || drop(lease)));
            gate.await_arrival();
            let again = rx.lease().expect("it is back");
            assert_eq!((again.0, again.deliveries()), (7, 1));
            assert_eq!(again.ack().0, 7);
            assert!(matches!(rx.recv(), Err(RecvError::Closed)));
            gate.open();
        });
        assert_all_free(&rx);
    });
}

/// The error that is kept for the next receive is the user's, and so is its `Drop`.
#[test]
fn an_error_that_is_dropped_may_use_the_receiver() {
    guarded(LIMIT, || {
        for ends in ["cancel", "drop", "lease"] {
            let (tx, rx) = queue();
            send_all(&tx, &[1, BAD, 2]);
            let mut messages = Vec::new();
            assert_eq!(rx.recv_many(&mut messages, 9).expect("the first"), 1);
            let rx = Rc::new(rx);
            let (weak, drops) = (Rc::downgrade(&rx), Rc::new(AtomicUsize::new(0)));
            let counted = Rc::clone(&drops);
            let hook = move |place, _| {
                if place == Place::DropError {
                    counted.fetch_add(1, Ordering::Relaxed);
                    if let Some(rx) = weak.upgrade() {
                        assert!(!rx.stats().blocks.is_empty());
                        let _ = rx.is_empty();
                        let _ = rx.try_recv();
                        let _ = rx.try_lease();
                    }
                }
            };
            with_hook(hook, || {
                match ends {
                    "cancel" => {
                        tx.cancel();
                        assert!(matches!(rx.try_recv(), Err(TryRecvError::Closed)));
                    }
                    "lease" => {
                        tx.cancel();
                        assert!(matches!(rx.try_lease(), Err(TryRecvError::Closed)));
                    }
                    _ => {}
                }
                drop(rx);
            });
            assert_eq!(drops.load(Ordering::Relaxed), 1, "{ends}");
        }
    });
}

/// Two receives that fail at the same time: each error reaches a caller.
#[test]
fn no_postponed_error_replaces_another() {
    guarded(LIMIT, || {
        let (tx, rx) = queue();
        let gate = Gate::default();
        send_all(&tx, &[1, BAD]);
        thread::scope(|scope| {
            scope.spawn(|| {
                // Stops just before the error that it will postpone.
                with_hook(gate.hook(Place::Decode, BAD), || {
                    assert_eq!(rx.recv_many(&mut Vec::new(), 9).expect("the first"), 1);
                });
            });
            gate.await_arrival();
            send_all(&tx, &[2, BAD]);
            assert_eq!(rx.recv_many(&mut Vec::new(), 9).expect("the first"), 1);
            gate.open();
        });
        for _ in 0..2 {
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Decode(_))));
        }
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        assert_eq!(rx.stats().dead_letters, 2);
    });
}

#[test]
fn a_panic_of_debug_leaves_lease_and_error_as_they_were() {
    guarded(LIMIT, || {
        let (tx, rx) = queue();
        tx.send(Message(7)).expect("room");
        let lease = rx.lease().expect("a message");
        let hook = panics_in(Place::Debug, 7);
        assert!(with_hook(hook, || panics(|| format!("{lease:?}"))));
        assert_eq!(lease.ack().0, 7);
        tx.close();
        let refused = tx.send(Message(7)).expect_err("closed");
        // A message need not be `Debug`: its error does not ask it.
        let hook = panics_in(Place::Debug, 7);
        let text = with_hook(hook, || format!("{refused:?} {refused}"));
        assert!(text.contains("closed"), "{text}");
        assert_all_free(&rx);
    });
}

/// A receiver that is slow to decode takes part of a stream, and the others go on with the rest.
#[test]
fn slow_decoding_in_one_thread_does_not_slow_the_others() {
    guarded(LIMIT, || {
        let (tx, rx) = hooked(&sleepy(64));
        let (sender, results) = mpsc::channel();
        let gate = Gate::default();
        thread::scope(|scope| {
            let slow = rx.clone();
            let hanging = &gate;
            scope
                .spawn(move || with_hook(hanging.hook(Place::Decode, 0), || slow.recv().map(drop)));
            tx.send(Message(0)).expect("room");
            gate.await_arrival();
            for _ in 0..2 {
                let (rx, sender) = (rx.clone(), sender.clone());
                scope.spawn(move || {
                    while let Ok(message) = rx.recv() {
                        sender.send(message.0).expect("the test listens");
                    }
                });
            }
            drop(sender);
            tx.send_many(batch(1..50)).expect("room");
            for n in 50..100 {
                tx.send(Message(n)).expect("room");
            }
            tx.close();
            let mut all: Vec<_> = results.iter().collect();
            all.sort_unstable();
            assert_eq!(all, (1..100).collect::<Vec<_>>());
            gate.open();
        });
    });
}
