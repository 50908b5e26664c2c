//! Ends of queues that go through a connection.

use crate::{ask, meeting, name, soon};
use ipc_tests::{guarded, support::LIMIT};
use serde::{Deserialize, Serialize};
use std::{process, thread};
use workring::{
    Options, Receiver, RecvError, Sender,
    error::{GiveError, HandoffError, InheritError, TakeError},
    queue::{Raw, remove_named},
    rendezvous::{Connection, Listener, connect},
};

/// A message that is encoded like a `u32`, by a type of another name.
#[derive(Serialize, Deserialize)]
struct Renamed(u32);

/// Returns both sides of a connection of this process to itself.
fn both_sides(test: &str) -> (Connection, Connection) {
    let name = name(test);
    let listener = Listener::bind(&name).expect("bind");
    thread::scope(|scope| {
        let connecting = scope.spawn(|| connect(&name, soon()));
        let accepted = listener.accept().expect("accept");
        (
            accepted,
            connecting.join().expect("no panic").expect("connect"),
        )
    })
}

fn inherit_error<E>(taken: Result<E, TakeError>) -> InheritError {
    match taken.err().expect("it does not fit") {
        TakeError::Inherit(error) => error,
        other => panic!("{other:?}"),
    }
}

/// The giver drops its own ends at once: the queues stay open.
#[test]
fn an_unrelated_process_takes_both_ends() {
    guarded(LIMIT, || {
        let name = name("both");
        let listener = Listener::bind(&name).expect("bind");
        let mut other = meeting();
        assert_eq!(
            ask(&mut other, &format!("connect {name} 100000")),
            "connecting"
        );
        let connection = listener.accept().expect("accept");
        drop(listener);
        assert!(other.answer().starts_with("connected "));
        let (numbers, input) = workring::channel::<u32>(4).expect("a queue");
        let (output, answers) = workring::channel::<u32>(4).expect("a queue");
        connection.give("in", &input).expect("give");
        connection.give("out", &output).expect("give");
        drop((input, output));
        assert!(!numbers.is_closed() && !answers.is_closed());
        // In another order than they were given.
        assert_eq!(ask(&mut other, "take-out out"), "taken");
        assert_eq!(ask(&mut other, "take-in in"), "taken");
        numbers.send(21).expect("room");
        assert_eq!(ask(&mut other, "recv"), "21");
        assert_eq!(ask(&mut other, "send 42"), "sent");
        assert_eq!(answers.recv(), Ok(42));
        // The ends need the connection no more.
        drop(connection);
        numbers.send(22).expect("room");
        assert_eq!(ask(&mut other, "recv"), "22");
        assert_eq!(ask(&mut other, "drop-ends"), "done");
        assert_eq!(answers.recv(), Err(RecvError::Closed));
        assert!(numbers.is_closed());
    });
}

#[test]
fn the_process_that_connected_gives_too() {
    guarded(LIMIT, || {
        let name = name("back");
        let listener = Listener::bind(&name).expect("bind");
        let mut other = meeting();
        assert_eq!(
            ask(&mut other, &format!("connect {name} 100000")),
            "connecting"
        );
        let mut connection = listener.accept().expect("accept");
        assert!(other.answer().starts_with("connected "));
        assert_eq!(ask(&mut other, "give-in numbers"), "given");
        let numbers: Receiver<u32> = connection.take("numbers").expect("take");
        assert_eq!(ask(&mut other, "send 5"), "sent");
        assert_eq!(numbers.recv(), Ok(5));
        // Passed on, to a third process.
        connection.give("numbers", &numbers).expect("give");
        assert_eq!(ask(&mut other, "take-in numbers"), "taken");
        assert_eq!(ask(&mut other, "give-again again"), "given");
        let again: Receiver<u32> = connection.take("again").expect("take");
        assert_eq!(ask(&mut other, "send 6"), "sent");
        assert_eq!(again.recv(), Ok(6));
    });
}

/// The wrong end can still be taken as what it is. What does not fit leaves the queue.
#[test]
fn an_end_of_another_kind_type_codec_or_schema_is_refused() {
    guarded(LIMIT, || {
        let (ours, mut theirs) = both_sides("types");
        let (tx, rx) = workring::channel::<u32>(4).expect("a queue");
        ours.give("tx", &tx).expect("give");
        let error = inherit_error(theirs.take::<Receiver<u32>>("tx"));
        assert!(
            matches!(
                error,
                InheritError::WrongEnd {
                    given: "Sender",
                    ..
                }
            ),
            "{error:?}"
        );
        let taken: Sender<u32> = theirs.take("tx").expect("the right end");
        taken.send(1).expect("room");
        assert_eq!(rx.recv(), Ok(1));
        drop(taken);

        ours.give("rx", &rx).expect("give");
        let error = inherit_error(theirs.take::<Receiver<String>>("rx"));
        assert!(matches!(error, InheritError::Type { .. }), "{error:?}");
        assert_eq!(rx.stats().peers.len(), 1, "it has left the queue");
        let given = theirs
            .try_take::<Receiver<u32>>("rx")
            .expect_err("it is gone");
        assert!(matches!(given, TakeError::NotGiven { .. }), "{given:?}");

        ours.give("rx", &rx).expect("give");
        let error = inherit_error(theirs.take_as::<Receiver<u32>>("rx", "number.v1"));
        assert!(matches!(error, InheritError::Schema { .. }), "{error:?}");

        let (_raw, bytes) = Options::new(4)
            .channel_with::<Vec<u8>, Raw>()
            .expect("a queue");
        ours.give("bytes", &bytes).expect("give");
        let error = inherit_error(theirs.take::<Receiver<Vec<u8>>>("bytes"));
        assert!(matches!(error, InheritError::Codec { .. }), "{error:?}");

        let named = Options::new(4).schema("number.v1").channel::<u32>();
        let (tx, rx) = named.expect("a queue");
        ours.give("named", &rx).expect("give");
        let taken: Receiver<Renamed> = theirs.take_as("named", "number.v1").expect("it fits");
        tx.send(9).expect("room");
        assert_eq!(taken.recv().expect("a number").0, 9);
    });
}

#[test]
fn ends_are_taken_by_name_and_of_one_name_in_order() {
    guarded(LIMIT, || {
        let (ours, mut theirs) = both_sides("order");
        let nothing = theirs.try_take::<Receiver<u32>>("a").expect_err("nothing");
        assert!(
            matches!(&nothing, TakeError::NotGiven { given, .. } if given.is_empty()),
            "{nothing:?}"
        );
        let queues: Vec<_> = (0..3)
            .map(|_| workring::channel::<u32>(4).expect("a queue"))
            .collect();
        for ((tx, rx), number) in queues.iter().zip(1..) {
            tx.send(number).expect("room");
            ours.give(if number == 2 { "b" } else { "a" }, rx)
                .expect("give");
        }
        let missing = theirs.try_take::<Receiver<u32>>("c").expect_err("no c");
        assert!(
            matches!(&missing, TakeError::NotGiven { given, .. } if given == &["a", "b", "a"]),
            "{missing:?}"
        );
        for (name, number) in [("b", 2), ("a", 1), ("a", 3)] {
            let taken: Receiver<u32> = theirs.try_take(name).expect("it was given");
            assert_eq!(taken.recv(), Ok(number));
        }
    });
}

/// A side keeps what it was given until it takes it, but not without limit. The other is not blocked by one that takes
/// nothing.
#[test]
fn a_side_that_takes_nothing_blocks_no_giver_and_loses_nothing() {
    guarded(LIMIT, || {
        let (ours, mut theirs) = both_sides("full");
        let (_tx, rx) = workring::channel::<u32>(4).expect("a queue");
        let mut given = 0;
        let error = loop {
            match ours.give("many", &rx) {
                Ok(()) => given += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error, GiveError::Full);
        assert!(given > 100, "{given}");
        assert_eq!(
            rx.stats().peers.len(),
            given + 1,
            "the refused one was taken back"
        );
        let full = theirs
            .try_take::<Receiver<u32>>("other")
            .expect_err("no other");
        assert!(
            matches!(full, TakeError::TooManyGiven { max: 64, .. }),
            "{full:?}"
        );
        let taken: Vec<Receiver<u32>> = (0..given)
            .map(|_| theirs.try_take("many").expect("it was given"))
            .collect();
        ours.give("other", &rx).expect("room again");
        drop(taken);
        assert!(theirs.try_take::<Receiver<u32>>("other").is_ok());
        assert_eq!(rx.stats().peers.len(), 1);
    });
}

#[test]
fn what_cannot_be_given_is_refused_and_leaves_no_ticket() {
    guarded(LIMIT, || {
        let (ours, theirs) = both_sides("refused");
        let (tx, rx) = workring::channel::<u32>(4).expect("a queue");
        let long = "x".repeat(201);
        for name in ["", "a b", "a;b", long.as_str()] {
            let refused = ours.give(name, &rx).expect_err("no name");
            let is_name = matches!(
                refused,
                GiveError::Handoff(HandoffError::InvalidName { .. })
            );
            assert!(is_name, "{refused:?}");
        }
        assert!(!ours.is_closed());
        drop(theirs);
        assert!(ours.is_closed());
        assert_eq!(ours.give("rx", &rx).expect_err("closed"), GiveError::Closed);
        assert_eq!(rx.stats().peers.len(), 1, "no ticket is left");
        tx.close();
        let (ours, _taker) = both_sides("refused");
        let refused = ours.give("rx", &rx).expect_err("the queue is closed");
        assert_eq!(refused, GiveError::Handoff(HandoffError::Closed));
    });
}

#[test]
fn an_end_of_a_queue_that_has_a_name_can_be_given_too() {
    guarded(LIMIT, || {
        let (ours, mut theirs) = both_sides("named");
        let name = format!("test-given-{}", process::id());
        let (tx, rx) = Options::new(4).create_named::<u32>(&name).expect("a queue");
        ours.give("rx", &rx).expect("give");
        let taken: Receiver<u32> = theirs.take("rx").expect("take");
        tx.send(3).expect("room");
        assert_eq!(taken.recv(), Ok(3));
        drop((tx, rx, taken));
        remove_named(&name).expect("nobody uses it");
    });
}
