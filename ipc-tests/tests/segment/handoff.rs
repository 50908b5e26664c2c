//! Ends of queues given to children: which children get them, and the errors of a child that asks for another one.

use ipc_tests::support::{LIMIT, dismiss, hand_over, sleepy};
use ipc_tests::{child::Peer, guarded, program};
use std::{
    collections::BTreeMap,
    process::{Child, Command},
};
use workring::{Handoff, Options, RecvError, error::HandoffError, queue::Raw};

/// Gives an order to a peer that plays `claim`.
fn ask(peer: &mut Peer, order: &str) -> String {
    peer.say(order);
    peer.answer()
}

/// Asserts that an order fails with an error of this kind, whose message names all of these.
fn refusal(peer: &mut Peer, order: &str, kind: &str, names: &[&str]) {
    let answer = ask(peer, order);
    let (found, sentence) = answer.split_once(" | ").unwrap_or((&answer, ""));
    assert_eq!(found, kind, "{order}");
    for name in names {
        assert!(sentence.contains(name), "no {name:?} in {sentence:?}");
    }
}

#[test]
fn a_child_takes_over_several_queues_by_name() {
    guarded(LIMIT, || {
        let (numbers, input) = sleepy(4).channel::<u32>().expect("a queue");
        let (output, doubles) = sleepy(4).channel::<u32>().expect("a queue");
        let (texts, other) = sleepy(4).channel::<String>().expect("a queue");
        let mut child = hand_over("inheritor", &[], |handoff| {
            let handoff = handoff.give("tasks", &input)?.give("results", &output)?;
            handoff.give("texts_1.of-2", &other)
        });
        drop((input, output, other));
        // In another order than they were given:
        for order in [
            "texts-in texts_1.of-2",
            "numbers-out results",
            "numbers-in tasks",
        ] {
            assert_eq!(ask(&mut child, order), "taken");
        }
        numbers.send(21).expect("room");
        assert_eq!(ask(&mut child, "double"), "done");
        assert_eq!(doubles.recv().expect("the double"), 42);
        assert!(!texts.is_closed());
        assert_eq!(ask(&mut child, "drop"), "dropped");
        assert!(matches!(doubles.recv(), Err(RecvError::Closed)));
        assert!(numbers.is_closed() && texts.is_closed());
        dismiss(child);
    });
}

#[test]
fn a_child_that_claims_the_wrong_end_gets_an_error_that_names_both() {
    guarded(LIMIT, || {
        let (numbers, _numbers) = sleepy(4).channel::<u32>().expect("a queue");
        let mut child = hand_over("inheritor", &[], |handoff| {
            handoff.give("one", &numbers)?.give("two", &numbers)
        });
        refusal(
            &mut child,
            "numbers-in three",
            "NotGiven three of one,two",
            &["\"three\"", "one, two"],
        );
        refusal(
            &mut child,
            "numbers-in one",
            "WrongEnd one Sender",
            &["\"one\"", "Sender"],
        );
        // After the error for the wrong end, the right end can still be claimed.
        assert_eq!(ask(&mut child, "numbers-out one"), "taken");
        for _ in 0..2 {
            let names = &["\"one\""];
            refusal(&mut child, "numbers-out one", "AlreadyTaken one", names);
        }
        assert_eq!(ask(&mut child, "drop"), "dropped");
        let names = &["\"one\""];
        refusal(&mut child, "numbers-out one", "AlreadyTaken one", names);
        assert_eq!(ask(&mut child, "numbers-out two"), "taken");
        dismiss(child);
    });
}

#[test]
fn a_child_that_was_given_nothing_gets_an_error() {
    guarded(LIMIT, || {
        let mut child =
            Peer::spawn(program("peer"), "inheritor", &[], Command::spawn).expect("spawn");
        let names = &["no queue", "Handoff::spawn"];
        refusal(&mut child, "numbers-in one", "NotGiven one of ", names);
        dismiss(child);
    });
}

/// A refused child detaches from the queue, so the queue does not wait for it.
#[test]
fn a_child_with_another_type_codec_or_schema_is_refused_and_leaves() {
    guarded(LIMIT, || {
        let (numbers, input) = sleepy(4).channel::<u32>().expect("a queue");
        let mut child = hand_over("inheritor", &[], |handoff| handoff.give("queue", &input));
        drop(input);
        let kind = "Type u32 alloc::string::String";
        let names = &["carries u32", "expects alloc::string::String"];
        refusal(&mut child, "texts-in queue", kind, names);
        assert!(numbers.is_closed(), "the refused child is still attached");
        dismiss(child);

        let raw = sleepy(4).channel_with::<Vec<u8>, Raw>();
        let (bytes, input) = raw.expect("a queue");
        let mut child = hand_over("inheritor", &[], |handoff| handoff.give("queue", &input));
        drop(input);
        let bincode = "bincode 2, serde, little-endian, fixed-width integers";
        let kind = format!("Codec \"raw bytes\" {bincode:?}");
        let names = &["\"raw bytes\"", bincode];
        refusal(&mut child, "bytes-in queue", &kind, names);
        assert!(bytes.is_closed(), "the refused child is still attached");
        dismiss(child);

        let (v1, v2) = (Some("number.v1"), Some("number.v2"));
        let (has_v2, names_v1) = (r#"has the schema "number.v2""#, r#"names "number.v1""#);
        for (theirs, order, ours, names) in [
            (v2, "schema-in", v1, [has_v2, names_v1]),
            (v2, "renamed-in", v1, [has_v2, names_v1]),
            (v2, "numbers-in", None, [has_v2, "names none"]),
            (None, "schema-in", v1, ["has no schema", names_v1]),
        ] {
            let options = match theirs {
                Some(schema) => sleepy(4).schema(schema),
                None => sleepy(4),
            };
            let (numbers, input) = options.channel::<u32>().expect("a queue");
            let mut child = hand_over("inheritor", &[], |handoff| handoff.give("queue", &input));
            drop(input);
            let kind = format!("Schema {theirs:?} {ours:?}");
            refusal(&mut child, &format!("{order} queue"), &kind, &names);
            assert!(numbers.is_closed(), "the refused child is still attached");
            dismiss(child);
        }
    });
}

#[test]
fn a_child_with_the_same_codec_and_schema_gets_the_queue() {
    guarded(LIMIT, || {
        let options = sleepy(4).schema("number.v1");
        let (numbers, input) = options.channel::<u32>().expect("a queue");
        let raw = sleepy(4).channel_with::<Vec<u8>, Raw>();
        let (_bytes, raw) = raw.expect("a queue");
        let mut child = hand_over("inheritor", &[], |handoff| {
            let handoff = handoff.give("same", &input)?.give("renamed", &input)?;
            handoff.give("raw", &raw)
        });
        assert_eq!(ask(&mut child, "schema-in same"), "taken");
        assert_eq!(ask(&mut child, "renamed-in renamed"), "taken");
        assert_eq!(ask(&mut child, "raw-in raw"), "taken");
        // A type of another name decodes the message, since the schema is the same.
        numbers.send(7).expect("room");
        assert_eq!(ask(&mut child, "receive-renamed"), "7");
        dismiss(child);
    });
}

/// Otherwise a grandchild that lives long would keep a dead child's queue open.
#[test]
fn a_grandchild_does_not_inherit_what_the_child_has_taken_over() {
    guarded(LIMIT, || {
        let (numbers, input) = sleepy(4).channel::<u32>().expect("a queue");
        let mut child = hand_over("inheritor", &[], |handoff| handoff.give("queue", &input));
        drop(input);
        assert_eq!(ask(&mut child, "descriptors"), "1", "the test sees it");
        assert_eq!(ask(&mut child, "numbers-in queue"), "taken");
        assert_eq!(ask(&mut child, "grandchild descriptors"), "0");
        refusal(
            &mut child,
            "grandchild numbers-in queue",
            "AlreadyTaken queue",
            &["\"queue\""],
        );
        assert_eq!(ask(&mut child, "drop"), "dropped");
        assert!(numbers.is_closed());
        dismiss(child);
    });
}

/// A child started by other means while a ticket for another child is open inherits nothing, and neither does a child
/// with a ticket of its own.
#[test]
fn only_the_child_of_the_hand_off_inherits() {
    guarded(LIMIT, || {
        let plain = || {
            let mut child =
                Peer::spawn(program("peer"), "inheritor", &[], Command::spawn).expect("spawn");
            let found = ask(&mut child, "descriptors");
            dismiss(child);
            found
        };
        let (_tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        assert_eq!(plain(), "0", "the parent's own descriptors");
        let one = Handoff::new().give("one", &rx).expect("give");
        let two = Handoff::new().give("two", &rx).expect("give");
        assert_eq!(plain(), "0", "between `give` and `spawn`");
        let spawn = |handoff: Handoff| {
            Peer::spawn(program("peer"), "inheritor", &[], |command| {
                handoff.spawn(command)
            })
        };
        for (handoff, name) in [(two, "two"), (one, "one")] {
            let mut child = spawn(handoff).expect("spawn");
            assert_eq!(ask(&mut child, "descriptors"), "1", "{name}");
            assert_eq!(ask(&mut child, &format!("numbers-in {name}")), "taken");
            assert_eq!(plain(), "0", "while {name} lives");
            dismiss(child);
        }
    });
}

#[test]
fn a_name_that_cannot_be_used_is_refused() {
    guarded(LIMIT, || {
        let (_tx, rx) = Options::new(4).channel::<u32>().expect("a queue");
        for name in ["", "a b", "a=b", "a;b", "a,b", "ä", "a\0"] {
            let error = Handoff::new().give(name, &rx).expect_err(name);
            let HandoffError::InvalidName { name: named, .. } = &error else {
                panic!("{name:?}: {error:?}");
            };
            assert_eq!(named, name);
            assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
        }
        let twice = Handoff::new().give("name", &rx).expect("once");
        let error = twice.give("name", &rx).expect_err("twice");
        assert!(matches!(error, HandoffError::InvalidName { .. }));
    });
}

#[test]
fn an_end_of_a_closed_queue_cannot_be_given() {
    guarded(LIMIT, || {
        let (tx, rx) = Options::new(4).channel::<u32>().expect("a queue");
        tx.close();
        for error in [
            Handoff::new().give("tx", &tx).expect_err("closed"),
            Handoff::new().give("rx", &rx).expect_err("closed"),
        ] {
            assert!(matches!(error, HandoffError::Closed), "{error:?}");
        }
    });
}

#[test]
fn more_processes_than_a_queue_has_room_for_are_refused() {
    guarded(LIMIT, || {
        let (tx, _rx) = Options::new(4).channel::<u32>().expect("a queue");
        let mut handoffs = Vec::new();
        let max = loop {
            match Handoff::new().give("tx", &tx) {
                Ok(handoff) => handoffs.push(handoff),
                Err(HandoffError::TooManyPeers { max, .. }) => break max,
                Err(other) => panic!("{other:?}"),
            }
        };
        // This process is a peer, too.
        assert_eq!(handoffs.len() + 1, max);
        handoffs.pop();
        drop(Handoff::new().give("tx", &tx).expect("room for a peer"));
    });
}

/// A hand-off keeps the environment of the command, and does not change that of this process.
#[test]
fn a_hand_off_changes_one_variable_of_the_command_and_none_of_this_process() {
    guarded(LIMIT, || {
        let (_tx, rx) = Options::new(4).channel::<u32>().expect("a queue");
        let before: BTreeMap<_, _> = std::env::vars_os().collect();
        let mut command = Command::new("true");
        command.env("KEPT", "yes");
        let handoff = Handoff::new().give("rx", &rx).expect("give");
        let mut child = handoff.spawn(&mut command).expect("spawn");
        assert!(child.wait().expect("wait").success());
        let names = command.get_envs().map(|(name, _)| name.to_owned());
        assert_eq!(names.collect::<Vec<_>>(), ["KEPT", "WORKRING_INHERIT"]);
        assert_eq!(before, std::env::vars_os().collect());
    });
}

/// A pool starts all workers with one command. Each start has tickets of its own. Those of the start before must not
/// matter any more, since this process has closed their descriptors.
#[test]
fn a_command_can_start_one_child_after_another() {
    guarded(LIMIT, || {
        let (_tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        // More than the start itself opens, so that some of their descriptor numbers stay free.
        let many = (0..12).try_fold(Handoff::new(), |handoff, number| {
            handoff.give(&format!("queue-{number}"), &rx)
        });
        let one = many.expect("give");
        let two = Handoff::new().give("queue", &rx).expect("give");
        let mut second = Peer::spawn(program("peer"), "inheritor", &[], |command| {
            end(one.spawn(command)?);
            two.spawn(command)
        })
        .unwrap_or_else(|error| panic!("the second start of a command failed: {error}"));
        assert_eq!(ask(&mut second, "descriptors"), "1");
        assert_eq!(ask(&mut second, "numbers-in queue"), "taken");
        dismiss(second);
    });
}

/// The first start lets the child inherit a descriptor number. By the second start, that number is another child's
/// ticket.
#[test]
fn a_command_that_is_started_again_inherits_nothing_from_the_hand_off_before() {
    guarded(LIMIT, || {
        let (_tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let first = Handoff::new().give("queue", &rx).expect("give");
        let mut meant_for_another = None;
        let again = Peer::spawn(program("peer"), "inheritor", &[], |command| {
            end(first.spawn(command)?);
            meant_for_another = Some(Handoff::new().give("queue", &rx).expect("give"));
            command.spawn()
        });
        let mut again = again.expect("a start without a hand-off");
        assert_eq!(ask(&mut again, "descriptors"), "0");
        dismiss(again);
    });
}

/// Ends a child whose output is not read.
fn end(mut child: Child) {
    child.kill().expect("kill");
    child.wait().expect("wait");
}

/// A grandchild inherits the variable that was meant for its parent, and has files of its own under those descriptor
/// numbers.
#[test]
fn claiming_the_end_of_another_process_leaves_the_files_of_this_one_alone() {
    guarded(LIMIT, || {
        let (_tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
        let mut child = hand_over("inheritor", &[], |handoff| handoff.give("queue", &rx));
        assert_eq!(ask(&mut child, "numbers-in queue"), "taken");
        let answers = ask(&mut child, "grandchild open 20; numbers-in queue; intact");
        let (refused, intact) = answers.rsplit_once("; ").expect("three answers");
        assert!(!refused.contains("taken;"), "{refused}");
        assert_eq!(
            intact, "20",
            "files of the grandchild that are still open; {refused}"
        );
        dismiss(child);
    });
}
