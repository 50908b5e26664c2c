//! What a child gets besides ends of queues, and what a hand-off leaves behind.

use super::manifest::{FILE, VARIABLE};
use super::{Handoff, inherit, inherit_fd};
use crate::error::{HandoffError, InheritError};
use crate::os::descriptor::{self, comes_true};
use crate::os::link::{Link, RecvOutcome};
use crate::os::memory_use;
use crate::os::spawn::{Program, SpawnRequest};
use crate::queue::{Receiver, channel};
use crate::segment::board::Board;
use std::os::fd::AsFd;
use std::process::Command;

/// Returns the command that runs one of these tests alone, in a process of its own.
fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", &format!("queue::handoff::tests::{name}")]);
    command
}

/// Returns the next datagram, or `None` at the end of the link.
fn receive(link: &Link) -> Option<Vec<u8>> {
    match link.recv(&mut [0; 100]).expect("receive") {
        RecvOutcome::Datagram(bytes) => Some(bytes.to_vec()),
        _ => None,
    }
}

/// The child: passes a datagram on from one link to the other, then what the queue holds, then which of its descriptors
/// a program inherits that it starts itself.
fn be_a_child() {
    let (left, right) = (
        Link::from(inherit_fd("left").expect("given")),
        Link::from(inherit_fd("right").expect("given")),
    );
    let again = inherit_fd("left");
    assert!(matches!(again, Err(InheritError::AlreadyTaken { .. })));
    let wrong = inherit_fd("tasks");
    let given = "Receiver";
    assert!(matches!(wrong, Err(InheritError::WrongEnd { given: its, .. }) if its == given));
    let wrong = inherit::<Receiver<u32>>("right");
    assert!(matches!(
        wrong,
        Err(InheritError::WrongEnd { given: FILE, .. })
    ));
    let tasks: Receiver<u32> = inherit("tasks").expect("given");
    let datagram = receive(&left).expect("a datagram");
    right.send(&datagram).expect("sent");
    let task = tasks.recv().expect("a task");
    right.send(task.to_string().as_bytes()).expect("sent");
    let open = Command::new("ls").arg("/proc/self/fd").output();
    let open = String::from_utf8(open.expect("a list").stdout).expect("numbers");
    let inherited = |link: &Link| {
        let number = descriptor::number(link).to_string();
        open.lines().any(|line| line == number)
    };
    let answer = format!("{} {}", inherited(&left), inherited(&right));
    right.send(answer.as_bytes()).expect("sent");
}

#[test]
fn a_child_gets_descriptors_beside_its_ends_of_queues() {
    if std::env::var_os(VARIABLE).is_some() {
        return be_a_child();
    }
    let (left, left_of_child) = Link::pair().expect("a link");
    let (right, right_of_child) = Link::pair().expect("a link");
    let (tx, rx) = channel::<u32>(4).expect("a queue");
    let handoff = Handoff::new()
        .give_fd("left", left_of_child.into())
        .and_then(|handoff| handoff.give("tasks", &rx))
        .and_then(|handoff| handoff.give_fd("right", right_of_child.into()))
        .expect("given");
    assert_eq!(format!("{handoff:?}"), r#"["tasks", "left", "right"]"#);
    let mut command = this_test("a_child_gets_descriptors_beside_its_ends_of_queues");
    let mut child = handoff.spawn(&mut command).expect("a child");
    left.send(b"a word").expect("sent");
    tx.send(7).expect("room");
    assert_eq!(receive(&right).expect("an answer"), b"a word");
    assert_eq!(receive(&right).expect("an answer"), b"7");
    assert_eq!(receive(&right).expect("an answer"), b"false false");
    // Both links end with the child: the parent has kept none of the child's sides.
    assert!(receive(&right).is_none() && receive(&left).is_none());
    assert!(child.wait().expect("an end").success());
}

/// Guarantee T2, for what a pool consists of besides queues. Runs in a process of its own, in which no other test opens or
/// maps anything.
#[test]
fn a_thousand_boards_links_and_children_leave_memory_and_descriptors_as_they_were() {
    const NAME: &str =
        "a_thousand_boards_links_and_children_leave_memory_and_descriptors_as_they_were";
    const ALONE: &str = "WORKRING_TEST_ALONE";
    /// What the allocator and the test harness may come to need.
    const SLACK: u64 = 4 << 20;
    if std::env::var_os(ALONE).is_none() {
        let alone = this_test(NAME).env(ALONE, "1").status().expect("this test");
        assert!(alone.success());
        return;
    }
    let inventory = || {
        let open = std::fs::read_dir("/proc/self/fd").expect("/proc").count();
        let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
        let maps = maps.lines().filter(|line| line.contains("memfd")).count();
        let memory = memory_use::own().expect("statm");
        (open, maps, memory)
    };
    let cycle = |round: u32| {
        let (parent, worker) = Link::pair().expect("a link");
        let board = Board::create(4, 1000, false).expect("a board");
        let file = board.as_fd().try_clone_to_owned().expect("a descriptor");
        let handoff = Handoff::new().give_fd("link", worker.into());
        let handoff = handoff.and_then(|handoff| handoff.give_fd("board", file));
        // Starting a program takes longer than all the rest.
        if round.is_multiple_of(5) {
            let request = SpawnRequest::new(Program::File("true".into()));
            let mut child = handoff.expect("given").start(request).expect("a child");
            assert_eq!(receive(&parent), None, "the child sends nothing");
            child.reap().expect("reaped");
        }
    };
    (0..50).for_each(cycle);
    let before = inventory();
    (0..1000).for_each(cycle);
    let after = inventory();
    assert_eq!((before.0, before.1), (after.0, after.1));
    assert!(after.2 <= before.2 + SLACK, "{before:?}, then {after:?}");
}

#[test]
fn a_name_is_given_once_for_an_end_or_a_file() {
    let file = || Link::pair().expect("a link").0.into();
    let (_tx, rx) = channel::<u32>(4).expect("a queue");
    let given = || Handoff::new().give_fd("name", file()).expect("given");
    for twice in [given().give_fd("name", file()), given().give("name", &rx)] {
        let error = twice.expect_err("twice");
        assert!(matches!(error, HandoffError::InvalidName { .. }), "{error}");
    }
    let strange = Handoff::new().give_fd("a;b", file());
    assert!(matches!(strange, Err(HandoffError::InvalidName { .. })));
}

#[test]
fn a_dropped_hand_off_closes_the_descriptors_that_it_gave() {
    let (own, given) = Link::pair().expect("a link");
    let handoff = Handoff::new().give_fd("link", given.into());
    assert!(!own.has_hung_up().expect("poll"));
    drop(handoff.expect("given"));
    assert!(comes_true(|| own.has_hung_up().expect("poll")));
}
