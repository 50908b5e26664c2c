//! `send` and `recv` in pipes, with their exit codes, and signals.

use super::support::{
    Name, Watchdog, code, fails, ok, program, rounds, run, run_with, spawn, stat, stdout,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::Instant;
use workring::queue::Raw;
use workring::{Options, Receiver, Sender};

type Ends = (Sender<Vec<u8>, Raw>, Receiver<Vec<u8>, Raw>);

fn raw(name: &Name, capacity: usize) -> Ends {
    Options::new(capacity)
        .create_named_with(&name.0)
        .expect("a queue")
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().expect("a process id"));
    kill(pid, signal).expect("kill");
}

/// Waits until a process is attached to the queue.
fn until_attached(name: &Name) {
    while stat(&name.0)["peers"].as_array().expect("peers").is_empty() {
        std::thread::yield_now();
    }
}

#[test]
fn lines_pass_through_a_pipe_in_order() {
    let _watchdog = Watchdog::start();
    let name = Name::new("pipe");
    let count = rounds(100_000, 1_000_000);
    let mut receiver = spawn(program().args(["recv", &name.0, "--create", "1024"]));
    let output = receiver.stdout.take().expect("a pipe");
    until_attached_or_made(&name);
    let started = Instant::now();
    let mut sender = program()
        .args(["send", &name.0, "--close"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut input = sender.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || {
        let mut text = Vec::new();
        for number in 0..count {
            writeln!(text, "{number}").expect("memory");
        }
        input.write_all(&text).expect("write");
    });
    let mut lines = 0;
    for line in BufReader::new(output).lines() {
        assert_eq!(line.expect("text"), lines.to_string());
        lines += 1;
    }
    let time = started.elapsed();
    assert_eq!(lines, count);
    writer.join().expect("the writer");
    assert!(sender.wait().expect("wait").success());
    assert!(receiver.wait().expect("wait").success());
    println!("{count} lines in {} ms", time.as_millis());
}

fn until_attached_or_made(name: &Name) {
    while run(&["stat", &name.0, "--sample", "0"]).status.code() != Some(0) {
        std::thread::yield_now();
    }
    until_attached(name);
}

#[test]
fn messages_of_any_bytes_pass_with_nul_and_length_framing() {
    let _watchdog = Watchdog::start();
    for (framing, input) in [
        ("nul", b"one\ntwo\0\0last\0".to_vec()),
        (
            "length",
            [
                &[3, 0, 0, 0, 0, 10, 13][..],
                &[0, 0, 0, 0],
                &[1, 0, 0, 0, 7],
            ]
            .concat(),
        ),
    ] {
        let name = Name::new(framing);
        let sent = run_with(&["send", &name.0, "--create", "8", "-f", framing], &input);
        assert!(sent.status.success(), "{sent:?}");
        assert_eq!(stat(&name.0)["messages"]["queued"], 3);
        let output = run(&["recv", &name.0, "-f", framing, "-n", "3"]);
        assert_eq!((code(&output), output.stdout), (0, input), "{framing}");
    }
    let name = Name::new("cut");
    let cut = run_with(
        &["send", &name.0, "--create", "8", "-f", "length"],
        &[9, 0, 0, 0, 1],
    );
    assert_eq!(code(&cut), 1);
}

#[test]
fn exit_codes_tell_closed_timeout_empty_and_full_apart() {
    let _watchdog = Watchdog::start();
    let name = Name::new("codes");
    fails(&["send", &name.0, "x"], 3);
    fails(&["recv", &name.0], 3);
    fails(&["send", "bad name", "x"], 1);
    ok(&["send", &name.0, "--create", "1", "first"]);
    fails(&["send", &name.0, "--no-wait", "second"], 6);
    assert!(
        fails(&["send", &name.0, "--timeout", "0.05", "second"], 5)
            .contains("0 messages were sent")
    );
    assert_eq!(ok(&["recv", &name.0, "--no-wait"]), "first\n");
    fails(&["recv", &name.0, "--no-wait"], 6);
    fails(&["recv", &name.0, "--timeout", "0.05"], 5);
    ok(&["send", &name.0, "last"]);
    ok(&["close", &name.0]);
    fails(&["send", &name.0, "late"], 4);
    let output = run(&["recv", &name.0, "-n", "2"]);
    assert_eq!((code(&output), stdout(&output)), (4, "last\n".to_owned()));
    assert_eq!(
        ok(&["recv", &name.0]),
        "",
        "a closed queue ends without an error"
    );
    fails(&["recv", &name.0, "--timeout", "1", "--no-wait"], 2);
}

#[test]
fn a_typed_queue_is_sent_to_only_by_force() {
    let _watchdog = Watchdog::start();
    let name = Name::new("typed");
    let (_tx, rx) = Options::new(4)
        .create_named::<String>(&name.0)
        .expect("a queue");
    assert!(fails(&["send", &name.0, "text"], 7).contains("--force"));
    ok(&["send", &name.0, "--force", "text"]);
    assert!(rx.try_recv().is_err(), "these bytes are no `String`");
    assert_eq!(rx.stats().dead_letters, 1);
}

#[test]
fn ack_after_acknowledges_on_success_and_returns_on_failure() {
    let _watchdog = Watchdog::start();
    let name = Name::new("ack");
    let (tx, _rx) = raw(&name, 8);
    tx.send_many([b"good".to_vec(), b"bad".to_vec()])
        .expect("room");
    // "bad" fails as often as it may be delivered, and is a dead letter then.
    let arguments = ["recv", &name.0, "--no-wait", "--ack-after", "grep good"];
    let output = run(&arguments);
    assert_eq!(
        (code(&output), stdout(&output)),
        (0, "good\n".to_owned()),
        "{output:?}"
    );
    let stats = tx.stats();
    assert_eq!(
        (stats.acknowledged, stats.dead_letters),
        (1, 1),
        "{stats:?}"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 3);
}

/// A slow command holds its own message, and no other receiver has to wait for it.
#[test]
fn ack_after_holds_one_message_while_its_command_runs() {
    let _watchdog = Watchdog::start();
    let name = Name::new("one-by-one");
    let sent = run_with(&["send", &name.0, "--create", "8"], b"1\n2\n3\n4\n5\n");
    assert!(sent.status.success(), "{sent:?}");
    // The command runs until its standard input, which it takes over from the test, has a line.
    let command = "read -r message; echo started $message; read -r go <&3; echo done $message";
    let shell = format!(
        "exec 3<&0; exec {} recv {} -n 1 --ack-after '{command}'",
        env!("CARGO_BIN_EXE_workring"),
        name.0
    );
    let mut slow = spawn(
        std::process::Command::new("sh")
            .args(["-c", &shell])
            .stdin(Stdio::piped()),
    );
    let mut lines = BufReader::new(slow.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "started 1");
    let messages = stat(&name.0)["messages"].clone();
    assert_eq!(
        (&messages["held"], &messages["queued"]),
        (&1.into(), &4.into())
    );
    assert_eq!(ok(&["recv", &name.0, "-n", "4"]), "2\n3\n4\n5\n");
    let mut input = slow.stdin.take().expect("a pipe");
    input.write_all(b"go\n").expect("write");
    assert_eq!(lines.next().expect("a line").expect("text"), "done 1");
    assert!(slow.wait().expect("wait").success());
    assert_eq!(stat(&name.0)["messages"]["acknowledged"], 5);
}

#[test]
fn a_reader_that_is_gone_loses_nothing() {
    let _watchdog = Watchdog::start();
    let name = Name::new("gone");
    let (tx, rx) = raw(&name, 64);
    tx.send_many((0..50).map(|number| vec![number]))
        .expect("room");
    // It is gone before the program starts: what the program writes to a reader that is still there has arrived.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut receiving = program();
    receiving.args(["recv", &name.0]).stdout(writer);
    let output = receiving.stderr(Stdio::piped()).spawn();
    drop(receiving);
    let output = output
        .and_then(Child::wait_with_output)
        .expect("the program");
    assert_eq!(code(&output), 141, "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let mut left = Vec::new();
    while left.len() < 50 {
        left.push(rx.try_recv().expect("it was returned"));
    }
    assert!(
        left.iter()
            .enumerate()
            .all(|(number, message)| *message == [number as u8])
    );
    let full = File::options()
        .write(true)
        .open("/dev/full")
        .expect("/dev/full");
    tx.send(vec![1]).expect("room");
    let status = program()
        .args(["recv", &name.0])
        .stdout(full)
        .stderr(Stdio::null())
        .status();
    assert_eq!(status.expect("the program").code(), Some(1));
    assert_eq!(rx.try_recv().expect("it was returned"), [1]);
}

#[test]
fn signals_end_waits_and_lose_nothing() {
    let _watchdog = Watchdog::start();
    let name = Name::new("signals");
    let (tx, rx) = raw(&name, 1);
    for (sent, expected) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        // A receiver that waits for a message.
        let child = spawn(program().args(["recv", &name.0]));
        until_peers(&name, 2);
        signal(&child, sent);
        let output = child.wait_with_output().expect("the program");
        assert_eq!(code(&output), expected, "{output:?}");
        until_peers(&name, 1);
        // A sender that waits for input.
        let mut child = spawn(program().args(["send", &name.0]).stdin(Stdio::piped()));
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(b"whole\npart").expect("write");
        assert_eq!(rx.recv().expect("a message"), b"whole");
        signal(&child, sent);
        let output = child.wait_with_output().expect("the program");
        assert_eq!(code(&output), expected, "{output:?}");
        // A sender that waits for room.
        tx.send(b"full".to_vec()).expect("room");
        let child = spawn(program().args(["send", &name.0, "no room"]));
        until_peers(&name, 2);
        signal(&child, sent);
        let output = child.wait_with_output().expect("the program");
        assert_eq!(code(&output), expected, "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("0 messages were sent"));
        assert_eq!(rx.recv().expect("a message"), b"full");
        assert!(rx.is_empty());
    }
}

/// Waits until this many processes are attached.
fn until_peers(name: &Name, count: usize) {
    while stat(&name.0)["peers"].as_array().expect("peers").len() != count {
        std::thread::yield_now();
    }
}
