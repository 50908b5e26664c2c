//! T1, T2: a dropped queue leaks nothing in the processes that used it, and the guard around every test detects a leak.

use ipc_tests::support::{LIMIT, dismiss, hand_over};
use ipc_tests::{Pid, cpu::resident, guarded, program, rounds::rounds};
use std::{
    fs,
    process::{Child, Command, Stdio},
};
use workring::{Handoff, Options, channel};

fn count(directory: &str) -> usize {
    fs::read_dir(directory).expect("/proc").count()
}

/// Returns the numbers of descriptors, threads and memfd mappings of this process, and its resident memory in bytes.
fn inventory() -> (usize, usize, usize, u64) {
    let maps = fs::read_to_string("/proc/self/maps").expect("/proc");
    (
        count("/proc/self/fd"),
        count("/proc/self/task"),
        maps.lines().filter(|line| line.contains("memfd")).count(),
        resident(Pid::this()).expect("self"),
    )
}

/// Creates a queue, sends small and large messages, leases two, prepares a hand-off, and drops everything.
fn use_a_queue(capacity: usize) {
    let (tx, rx) = channel::<Vec<u8>>(capacity).expect("a queue");
    let (other, reader) = (tx.clone(), rx.clone());
    for length in [1, 1_000, 60_000] {
        other.send(vec![7; length]).expect("room");
    }
    drop(rx.lease().expect("a message"));
    let lease = reader.lease().expect("a message");
    let handoff = Handoff::new().give("rx", &rx).expect("give");
    let owned = lease.into_owned();
    drop((rx, reader, tx, other));
    drop(handoff);
    assert_eq!(owned.ack(), [7]);
}

/// T2.
#[test]
fn a_thousand_queues_leave_memory_descriptors_and_threads_as_they_were() {
    /// Growth that is allowed for caches of `malloc` and of the test runner.
    const SLACK: u64 = 4 << 20;
    guarded(LIMIT, || {
        (0..50).for_each(|_| use_a_queue(16));
        let before = inventory();
        for cycle in 0..rounds(1_000, 10_000) {
            use_a_queue(if cycle % 50 == 0 { 1_000 } else { 16 });
        }
        let after = inventory();
        println!("{before:?}, then {after:?}");
        assert_eq!((before.0, before.1, before.2), (after.0, after.1, after.2));
        assert!(
            after.3 <= before.3 + SLACK,
            "{} bytes, then {}",
            before.3,
            after.3
        );
    });
}

/// T2, with a child each time.
#[test]
fn queues_shared_with_children_leave_nothing_when_both_are_gone() {
    guarded(LIMIT, || {
        let cycle = || {
            let (tx, rx) = Options::new(4).channel::<u32>().expect("a queue");
            let mut child = hand_over("receive-until-closed", &[&1], |handoff| {
                handoff.give("q0", &rx)
            });
            drop(rx);
            assert_eq!(child.answer(), "ready");
            child.say("enter");
            tx.send(1).expect("room");
            drop(tx);
            assert_eq!(child.answer(), "1");
            dismiss(child);
        };
        (0..5).for_each(|_| cycle());
        let before = inventory();
        (0..rounds(100, 1_000)).for_each(|_| cycle());
        let after = inventory();
        assert_eq!((before.0, before.1, before.2), (after.0, after.1, after.2));
    });
}

/// Starts a peer that runs a guarded body, which leaks what the argument names.
fn leaking(what: &str) -> Child {
    let mut command = Command::new(program("peer"));
    command.args(["leak-queue", what]).stderr(Stdio::piped());
    command.spawn().expect("start a peer")
}

/// T1.
#[test]
fn the_guard_reports_a_queue_that_is_leaked() {
    guarded(LIMIT, || {
        let [nothing, leaks @ ..] = ["nothing", "sender", "lease", "hand-off"];
        // At the same time: the guard waits for a leak to go away.
        let leaks = leaks.map(|what| (what, leaking(what)));
        let output = leaking(nothing).wait_with_output().expect("its end");
        assert!(output.status.success(), "{output:?}");
        for (what, peer) in leaks {
            let output = peer.wait_with_output().expect("its end");
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(101), "{what}: {text}");
            for part in [
                "left something behind",
                "new: fd",
                "new: map of /memfd:workring",
            ] {
                assert!(text.contains(part), "{what}: no {part:?} in {text}");
            }
        }
    });
}
