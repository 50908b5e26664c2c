//! Goal: the harness of these tests does what its documentation says, with real processes: peers answer, stop, resume
//! and end as they are asked to, and a test that hangs is reported and leaves no process.
//!
//! Method: `src/bin/peer.rs` plays peers that echo, hang, count, and write ledgers.

use ipc_tests::{
    Signal,
    child::Peer,
    guarded,
    ledger::{Ledger, Scratch},
    program,
    role::ABANDONED,
};
use std::{
    fmt::Display,
    fs,
    os::unix::process::ExitStatusExt,
    process::{Command, Stdio},
    time::Duration,
};

const LIMIT: Duration = Duration::from_mins(1);

fn peer(role: &str, arguments: &[&dyn Display]) -> Peer {
    Peer::spawn(program("peer"), role, arguments, Command::spawn).expect("spawn")
}

fn state(peer: &Peer) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", peer.pid())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("State:\t"))?;
    Some(line.chars().take(1).collect())
}

#[test]
fn lines_go_both_ways_until_the_input_is_closed() {
    guarded(LIMIT, || {
        let mut peer = peer("echo", &[&2]);
        peer.say("one line");
        peer.say(2);
        let answers: Vec<String> = (0..4).map(|_| peer.answer()).collect();
        assert_eq!(answers, ["one line", "one line", "2", "2"]);
        peer.finish();
        assert_eq!(peer.try_answer(), None);
        assert!(peer.try_say("too late").is_err());
        assert!(peer.wait().success());
    });
}

#[test]
fn a_dropped_peer_is_killed_and_reaped_even_if_it_is_stopped() {
    guarded(LIMIT, || {
        let mut peer = peer("unresponsive", &[]);
        assert_eq!(peer.answer(), "here");
        peer.stop();
        assert_eq!(state(&peer).as_deref(), Some("T"));
        // The drop has to kill and reap it: the guard would find a child or a zombie.
    });
}

#[test]
fn a_stopped_peer_continues_when_it_is_resumed() {
    guarded(LIMIT, || {
        let mut peer = peer("echo", &[&1]);
        for round in 0..20 {
            peer.stop();
            peer.say(round);
            assert_eq!(state(&peer).as_deref(), Some("T"));
            peer.resume();
            assert_eq!(peer.answer(), round.to_string());
        }
    });
}

#[test]
fn a_killed_peer_is_a_zombie_until_it_is_waited_for() {
    guarded(LIMIT, || {
        let mut peer = peer("echo", &[&1]);
        peer.signal(Signal::SIGKILL);
        peer.wait_unreaped();
        assert_eq!(state(&peer).as_deref(), Some("Z"));
        assert!(peer.try_say("too late").is_err());
        assert_eq!(peer.try_answer(), None);
        assert_eq!(peer.wait().signal(), Some(9));
    });
}

#[test]
fn a_killed_peer_has_said_whole_lines_only() {
    guarded(LIMIT, || {
        for killed_at in 0..50 {
            let mut peer = peer("count", &[]);
            let mut next = 0;
            while let Some(line) = peer.try_answer() {
                assert_eq!(line, next.to_string());
                if next == killed_at {
                    peer.signal(Signal::SIGKILL);
                }
                next += 1;
            }
            assert!(next > killed_at);
        }
    });
}

#[test]
fn an_end_without_a_newline_is_not_a_line() {
    guarded(LIMIT, || {
        let mut peer = Peer::spawn("printf", r"a line\na re", &[], Command::spawn).expect("spawn");
        assert_eq!(peer.answer(), "a line");
        assert_eq!(peer.try_answer(), None);
    });
}

#[test]
fn a_killed_writer_leaves_whole_entries_without_a_gap() {
    guarded(LIMIT, || {
        for _ in 0..20 {
            let scratch = Scratch::new().expect("scratch");
            let mut peer = peer("ledger-writer", &[&scratch]);
            assert_eq!(peer.answer(), "begun");
            peer.signal(Signal::SIGKILL);
            assert_eq!(peer.wait().signal(), Some(9));
            let entries = Ledger::read(scratch.path(), "numbers").expect("read");
            assert!(!entries.is_empty());
            assert!(
                (0..)
                    .zip(entries)
                    .all(|(at, entry)| (entry.kind, entry.number) == (1, at))
            );
        }
    });
}

#[test]
fn a_role_ends_when_its_test_is_gone() {
    guarded(LIMIT, || {
        let mut child = Command::new(program("peer"))
            .arg("count")
            .stdout(Stdio::piped())
            .spawn()
            .expect("spawn");
        drop(child.stdout.take());
        assert_eq!(child.wait().expect("wait").code(), Some(ABANDONED));
    });
}

#[test]
fn an_unknown_role_is_refused_with_the_list() {
    guarded(LIMIT, || {
        let output = Command::new(program("peer"))
            .arg("hamlet")
            .output()
            .expect("run");
        assert_eq!(output.status.code(), Some(2));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(
            text.contains("\"hamlet\"") && text.contains("echo, unresponsive"),
            "{text}"
        );
    });
}

/// The child that hangs inherits standard error, so `output` returns only when the watchdog has killed it.
#[test]
fn a_watchdog_reports_every_thread_and_kills_the_descendants() {
    guarded(LIMIT, || {
        let output = Command::new(program("peer"))
            .arg("hang-under-watchdog")
            .output()
            .expect("run");
        assert_eq!(output.status.signal(), Some(6), "aborted");
        let text = String::from_utf8_lossy(&output.stderr);
        let expected = [
            "WATCHDOG: main did not end or get on within 1ms",
            "  the unresponsive child is ",
            "(watchdog): state R",
            "peer unresponsive",
            "(peer): state ",
            ", waits in ",
        ];
        for part in expected {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    });
}

#[test]
fn a_watchdog_that_is_dropped_in_time_is_silent() {
    for _ in 0..100 {
        guarded(LIMIT, || {});
    }
}
