//! C7 by drop: a queue closes with its last sender, or its last receiver, of all processes, and not before.

use ipc_tests::support::{LIMIT, asleep, dismiss, hand_over, in_time, prompt, sleepy};
use ipc_tests::{
    asleep::await_sleepers,
    child::Peer,
    guarded, guarded_steps, program,
    rounds::{Rng, rounds, seed},
};
use std::process::Command;
use workring::{Handoff, Options, Receiver, RecvError, SendError, Sender, error::TryRecvError};

fn is_closed<T>(result: &Result<T, RecvError>) -> bool {
    matches!(result, Err(RecvError::Closed))
}

#[test]
fn the_last_sender_of_another_process_ends_a_reader_that_sleeps() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut sender = hand_over("sender", &[], |handoff| handoff.give("queue", &tx));
        assert_eq!(sender.answer(), "ready");
        drop(tx.clone());
        drop(tx);
        assert!(!rx.is_closed(), "a sender is left");
        let reader = {
            let rx = rx.clone();
            asleep(move || rx.recv())
        };
        sender.say(7);
        assert_eq!(reader.join().expect("join").expect("a value"), 7);
        let reader = {
            let rx = rx.clone();
            asleep(move || rx.recv())
        };
        sender.say("leave");
        assert_eq!(sender.answer(), "left");
        assert!(is_closed(&reader.join().expect("join")));
        assert!(rx.is_closed());
        dismiss(sender);
    });
}

#[test]
fn the_last_sender_of_this_process_ends_readers_of_others_after_the_backlog() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut reader = hand_over("receive-until-closed", &[&1], |handoff| {
            handoff.give("q0", &rx)
        });
        drop(rx);
        let other = tx.clone();
        assert_eq!(reader.answer(), "ready");
        reader.say("enter");
        await_sleepers(reader.pid(), 1);
        tx.send(1).expect("room");
        drop(tx);
        other
            .send(2)
            .expect("a clone of the sender keeps the queue open");
        drop(other);
        assert_eq!(reader.answer(), "1 2");
        dismiss(reader);
    });
}

#[test]
fn the_last_receiver_ends_a_sender_of_another_process_that_sleeps() {
    prompt(|| {
        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        tx.send(1).expect("room");
        let mut sender = hand_over("blocked-sender", &[&2], |handoff| {
            handoff.give("queue", &tx)
        });
        let other = rx.clone();
        await_sleepers(sender.pid(), 1);
        drop(rx);
        assert!(!tx.is_closed(), "a receiver is left");
        drop(other);
        assert_eq!(sender.answer(), "closed 2");
        assert!(matches!(tx.send(3), Err(SendError::Closed(3))));
        dismiss(sender);
    });
}

#[test]
fn the_last_receiver_of_another_process_ends_a_sender_that_sleeps() {
    prompt(|| {
        let (tx, rx) = sleepy(1).channel::<u32>().expect("a queue");
        let mut holder = hand_over("lease-holder", &[], |handoff| handoff.give("queue", &rx));
        drop(rx);
        tx.send(1).expect("room");
        holder.say("lease");
        assert_eq!(holder.answer(), "1 after 0");
        tx.send(2).expect("room again");
        let blocked = asleep(move || tx.send(3));
        holder.say("leave");
        dismiss(holder);
        let result = blocked.join().expect("join");
        assert!(matches!(result, Err(SendError::Closed(3))), "{result:?}");
    });
}

#[test]
fn an_end_given_to_a_child_counts_before_the_child_has_taken_it() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let handoff = Handoff::new().give("q0", &rx).expect("give");
        drop(rx);
        assert!(!tx.is_closed(), "closed between `give` and `spawn`");
        let mut reader = Peer::spawn(program("peer"), "receive-until-closed", &[&1], |command| {
            handoff.spawn(command)
        })
        .expect("spawn");
        // The child may have taken it by now, or not:
        assert!(!tx.is_closed());
        tx.send(7).expect("open");
        assert_eq!(reader.answer(), "ready");
        assert!(!tx.is_closed());
        drop(tx);
        reader.say("enter");
        assert_eq!(reader.answer(), "7");
        dismiss(reader);
    });
}

/// Both ends may be in children that do not know each other.
#[test]
fn two_children_talk_after_their_parent_has_dropped_both_ends() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut sender = hand_over("sender", &[], |handoff| handoff.give("queue", &tx));
        let mut reader = hand_over("receive-until-closed", &[&1], |handoff| {
            handoff.give("q0", &rx)
        });
        drop((tx, rx));
        assert_eq!(sender.answer(), "ready");
        sender.say(1);
        sender.say(2);
        assert_eq!(reader.answer(), "ready");
        reader.say("enter");
        sender.say("leave");
        assert_eq!(reader.answer(), "1 2");
        assert_eq!(sender.answer(), "left");
        dismiss(reader);
        dismiss(sender);
    });
}

/// Each leaver checks for others at the moment at which the other leaves.
#[test]
fn two_last_leavers_at_the_same_instant_close_the_queue() {
    const BATCH: u32 = 40;
    let rounds = rounds(1_200, 50_000);
    guarded_steps(LIMIT, |watchdog| {
        let mut rng = Rng::with_seed(seed());
        for _ in 0..rounds.div_ceil(BATCH) {
            leave_in_pairs(BATCH, &mut rng);
            watchdog.progress();
        }
    });
}

fn leave_in_pairs(count: u32, rng: &mut Rng) {
    let queues: Vec<_> = (0..count)
        .map(|_| sleepy(1).channel::<u32>().expect("a queue"))
        .collect();
    let (there, back) = (
        Options::new(4).channel::<u32>().expect("a queue"),
        Options::new(4).channel::<u32>().expect("a queue"),
    );
    let leaver = |signal: &Sender<u32>, other: &Receiver<u32>, seed: u64| {
        let mut peer = hand_over("leaver", &[&count, &seed], |mut handoff| {
            for (number, (tx, rx)) in queues.iter().enumerate() {
                let name = format!("q{number}");
                handoff = if number % 2 == 0 {
                    handoff.give(&name, tx)?
                } else {
                    handoff.give(&name, rx)?
                };
            }
            handoff.give("signal", signal)?.give("other", other)
        });
        assert_eq!(peer.answer(), "ready");
        peer
    };
    let mut leavers = [
        leaver(&there.0, &back.1, rng.u64(..)),
        leaver(&back.0, &there.1, rng.u64(..)),
    ];
    for (number, (tx, rx)) in queues.into_iter().enumerate() {
        in_time(|| {
            let mut leave = || leavers.iter_mut().for_each(|leaver| leaver.say("leave"));
            if number % 2 == 0 {
                drop(tx);
                leave();
                assert!(is_closed(&rx.recv()), "queue {number}");
            } else {
                drop(rx);
                tx.send(1).expect("both receivers are there");
                leave();
                let result = tx.send(2);
                assert!(matches!(result, Err(SendError::Closed(2))), "{result:?}");
            }
        });
    }
    for leaver in &mut leavers {
        assert_eq!(leaver.answer(), "left");
    }
    leavers.into_iter().for_each(dismiss);
}

#[test]
fn a_hand_off_that_is_dropped_takes_back_what_it_gave() {
    prompt(|| {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        drop(Handoff::new().give("queue", &tx).expect("give"));
        assert!(!rx.is_closed(), "the parent's own sender is left");
        let handoff = Handoff::new().give("queue", &tx).expect("give");
        drop(tx);
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        let reader = {
            let rx = rx.clone();
            asleep(move || rx.recv())
        };
        drop(handoff);
        assert!(is_closed(&reader.join().expect("join")));
    });
}

#[test]
fn a_hand_off_whose_child_does_not_start_takes_back_what_it_gave() {
    guarded(LIMIT, || {
        let fail = |handoff: Handoff| {
            let error = handoff.spawn(&mut Command::new("/nowhere/no such program"));
            error.expect_err("there is no such program")
        };
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        fail(Handoff::new().give("queue", &rx).expect("give"));
        tx.send(1).expect("the parent's own receiver is left");
        let handoff = Handoff::new().give("queue", &rx).expect("give");
        drop(rx);
        assert!(!tx.is_closed());
        fail(handoff);
        assert!(matches!(tx.send(2), Err(SendError::Closed(2))));
    });
}

/// A `give` that fails drops what was given before.
#[test]
fn a_hand_off_that_fails_halfway_takes_back_what_it_gave() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let handoff = Handoff::new().give("queue", &tx).expect("give");
        let (gone, _) = sleepy(4).channel::<u32>().expect("a queue");
        drop(tx);
        handoff.give("gone", &gone).expect_err("it is closed");
        assert!(is_closed(&rx.recv()));
    });
}

#[test]
fn a_queue_that_is_not_to_end_with_a_side_stays_open_without_it() {
    guarded(LIMIT, || {
        let options = sleepy(1).close_on_last_sender(false);
        let (tx, rx) = options.channel::<u32>().expect("a queue");
        tx.send(1).expect("room");
        drop(tx);
        assert_eq!(rx.recv().expect("a value"), 1);
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        rx.close();
        assert!(is_closed(&rx.recv()));

        let options = sleepy(1).close_on_last_receiver(false);
        let (tx, rx) = options.channel::<u32>().expect("a queue");
        drop(rx);
        tx.send(1).expect("room");
        tx.try_send(2).expect_err("it is full");
        assert!(!tx.is_closed());
    });
}

/// Entries of the peer table are reused: they limit the children that live at one time, not all that ever lived.
#[test]
fn leavers_make_room_for_others() {
    guarded(LIMIT, || {
        let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        for _ in 0..3_000 {
            drop(Handoff::new().give("queue", &tx).expect("a row"));
        }
        drop(tx);
        assert!(is_closed(&rx.recv()));
    });
}

/// An end that was given and not yet taken is alive: only the lock on its byte of the file shows that.
#[test]
fn an_end_that_was_given_is_not_taken_for_one_of_the_dead() {
    guarded(LIMIT, || {
        let name = format!("given-end-{}", std::process::id());
        let (tx, rx) = sleepy(4).create_named::<u32>(&name).expect("a queue");
        let other: Receiver<u32> = workring::open(&name).expect("it is there");
        let given = Handoff::new().give("queue", &tx).expect("give");
        other.report_exit(std::process::id());
        assert_eq!(other.stats().peers.len(), 3);
        drop(given);
        assert_eq!(other.stats().peers.len(), 2);
        drop((tx, rx, other));
        workring::queue::remove_named(&name).expect("nobody has it");
    });
}
