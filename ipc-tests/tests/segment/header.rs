//! M2, M3: a segment that is incomplete, or differs from what its header claims, is refused. No process can shrink a
//! segment, and no other user can open one.

use ipc_tests::support::{LIMIT, dismiss, hand_over, sleepy};
use ipc_tests::{guarded, memfd};
use std::{
    fs::{self, File},
    os::unix::{
        fs::{FileExt, MetadataExt},
        process::CommandExt,
    },
    process::{Command, Output, Stdio},
};

/// Writes `value` at `offset` of a queue's header, and returns the error of a child that claims an end of that queue.
fn refusal(offset: u64, value: u64) -> String {
    let (tx, rx) = sleepy(4).channel::<u32>().expect("a queue");
    let mut child = hand_over("inheritor", &[], |handoff| handoff.give("queue", &rx));
    let segment = memfd::reopen("workring");
    let written = segment.write_all_at(&value.to_le_bytes(), offset);
    written.expect("write to the header");
    child.say("numbers-in queue");
    let answer = child.answer();
    dismiss(child);
    drop((tx, rx));
    answer
}

#[test]
fn a_child_with_another_version_or_layout_gets_an_error_that_names_both() {
    guarded(LIMIT, || {
        for (offset, kind, names) in [
            (8, "Version", "the queue has version 119, this process "),
            (16, "Layout", "the queue has layout 0x77, this process 0x"),
        ] {
            let answer = refusal(offset, 119);
            let fields = format!("{kind} {{ theirs: 119, ours: ");
            assert!(
                answer.starts_with(&fields) && answer.contains(names),
                "{answer}"
            );
        }
    });
}

#[test]
fn an_incomplete_or_unsound_segment_is_refused_with_the_reason() {
    guarded(LIMIT, || {
        for (offset, value, reason) in [
            (0, 0, "the mark of a complete segment"),
            (24, 4096, "its length does not fit its capacity"),
            (40, 0, "its capacity is out of range"),
            (40, u64::MAX, "its capacity is out of range"),
            (48, 0, "its largest message is out of range"),
            (56, 5000, "its inline length is out of range"),
            (80, 16, "its number of deliveries is out of range"),
            (112, 0, "its liveness interval is out of range"),
        ] {
            let answer = refusal(offset, value);
            assert!(
                answer.starts_with("NotAQueue") && answer.contains(reason),
                "{answer}"
            );
        }
    });
}

#[test]
fn a_segment_keeps_its_size_and_belongs_to_its_user() {
    guarded(LIMIT, || {
        let (_tx, _rx) = sleepy(4).channel::<u32>().expect("a queue");
        let segment = memfd::reopen("workring");
        let length = segment.metadata().expect("fstat").len();
        assert_eq!(segment.metadata().expect("fstat").mode() & 0o777, 0o600);
        for other in [0, length / 2, length + 4096] {
            segment
                .set_len(other)
                .expect_err("otherwise a peer would get SIGBUS");
        }
        assert_eq!(segment.metadata().expect("fstat").len(), length);
    });
}

/// Runs a program as `user`, with the segment as its standard input, that opens the segment again.
fn open_as(user: u32, segment: &File) -> Output {
    let mut command = Command::new("cat");
    command.arg("/proc/self/fd/0").uid(user);
    command.stdin(segment.try_clone().expect("dup"));
    command.stdout(Stdio::null());
    command.output().expect("run")
}

#[test]
fn another_user_cannot_open_a_segment() {
    const NOBODY: u32 = 65_534;
    guarded(LIMIT, || {
        let me = fs::metadata("/proc/self").expect("/proc").uid();
        if me != 0 {
            println!("SKIPPED: only root can run a program as another user, and this is user {me}");
            return;
        }
        let (_tx, _rx) = sleepy(4).channel::<u32>().expect("a queue");
        let segment = memfd::reopen("workring");
        assert!(
            open_as(me, &segment).status.success(),
            "this user can open it"
        );
        let refused = open_as(NOBODY, &segment);
        let text = String::from_utf8_lossy(&refused.stderr);
        assert!(
            !refused.status.success() && text.contains("Permission denied"),
            "{text}"
        );
    });
}
