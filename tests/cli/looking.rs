//! `ls`, `stat`, `peek`: what they show, and that they take no part.

use super::support::{CROWD, Name, Watchdog, json, listed, ok, program, run, spawn, stat, stdout};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{self, Child};
use std::sync::PoisonError;
use std::time::Instant;
use workring::queue::{Raw, Stats};
use workring::{Options, Receiver, Sender};

type Bytes = Vec<u8>;
type Ends = (Sender<Bytes, Raw>, Receiver<Bytes, Raw>);

fn raw(name: &Name, capacity: usize) -> Ends {
    Options::new(capacity)
        .create_named_with(&name.0)
        .expect("a queue")
}

#[test]
fn ls_and_stat_show_what_the_library_counts_and_take_no_part() {
    let _watchdog = Watchdog::start();
    let name = Name::new("figures");
    let (tx, rx) = Options::new(16)
        .max_deliveries(1)
        .create_named::<String>(&name.0)
        .expect("a queue");
    for text in ["acknowledged", "dead", "held", "queued"] {
        tx.send(text.to_owned()).expect("room");
    }
    rx.recv().expect("a message");
    drop(rx.lease().expect("a lease"));
    let lease = rx.lease().expect("a lease");
    let before: Stats = tx.stats();
    for shown in [listed(&name.0).expect("it is listed"), stat(&name.0)] {
        let expected = [
            ("accepted", before.accepted),
            ("acknowledged", before.acknowledged),
            ("queued", before.queued),
            ("held", before.held),
            ("returned", before.returned),
            ("dead_letters", before.dead_letters),
        ];
        for (field, count) in expected {
            assert_eq!(shown["messages"][field], count, "{field}: {shown:#}");
        }
        assert_eq!(expected.map(|(_, count)| count), [4, 1, 1, 1, 0, 1]);
        assert_eq!(
            (&shown["depth"], &shown["capacity"]),
            (&1.into(), &16.into())
        );
        assert_eq!(
            (&shown["state"], &shown["settled"]),
            (&"open".into(), &true.into())
        );
        assert_eq!(shown["memory"]["bytes"], before.memory);
        assert_eq!(shown["settings"]["raw"], false);
        let peers = shown["peers"].as_array().expect("peers");
        assert_eq!(peers.len(), 1, "looking takes no entry");
        assert_eq!(peers[0]["pid"], process::id());
        assert_eq!(
            (&peers[0]["holds"], &peers[0]["state"]),
            (&1.into(), &"live".into())
        );
        assert_eq!(shown["holdings"][0]["pid"], process::id());
    }
    ok(&["peek", &name.0, "--held", "--dead"]);
    ok(&["dead-letters", "list", &name.0]);
    assert_eq!(tx.stats(), before, "looking changes nothing");
    drop(lease);
}

#[test]
fn stat_shows_rates_and_how_long_messages_are_held_at_least() {
    let _watchdog = Watchdog::start();
    let name = Name::new("rates");
    let (tx, rx) = raw(&name, 16);
    tx.send(vec![1]).expect("room");
    let lease = rx.lease().expect("a lease");
    let shown = json("queue", &["stat", &name.0, "--json", "--sample", "0.1"]);
    assert_eq!(shown["rates"]["accepted"], 0.0);
    let held = shown["holdings"][0]["held_for_at_least"]
        .as_f64()
        .expect("a time");
    assert!(held >= 0.1, "{held}");
    assert!(ok(&["stat", &name.0]).contains("one of them for"));
    lease.ack();
}

#[test]
fn a_queue_without_a_name_is_listed_with_its_processes() {
    let _watchdog = Watchdog::start();
    let (tx, rx) = Options::new(7)
        .channel_with::<Bytes, Raw>()
        .expect("a queue");
    tx.send(b"anonymous".to_vec()).expect("room");
    let all = json("ls", &["ls", "--json"]);
    let queues = all["queues"].as_array().expect("queues");
    // A child that another test starts has the queue open, too, until it runs its program.
    let is_mine = |queue: &&serde_json::Value| {
        queue["capacity"] == 7 && queue["processes"][0] == process::id()
    };
    let mine = queues.iter().find(is_mine).expect("it is listed");
    assert_eq!(mine["kind"], "anonymous");
    let name = mine["name"].as_str().expect("a name");
    assert!(name.starts_with(&format!("{}/", process::id())), "{name}");
    assert_eq!(stat(name)["messages"]["queued"], 1);
    assert_eq!(ok(&["peek", name]), "0 9 B: anonymous\n");
    assert_eq!(ok(&["recv", name, "-n", "1"]), "anonymous\n");
    assert!(rx.is_empty());
}

#[test]
fn peek_shows_messages_in_the_order_of_delivery_and_leaves_them() {
    let _watchdog = Watchdog::start();
    let name = Name::new("peek");
    let (tx, rx) = raw(&name, 16);
    tx.send(b"returned".to_vec()).expect("room");
    drop(rx.lease().expect("a lease"));
    tx.send_many([b"one\n\x1b[31m".to_vec(), vec![0xff; 300]])
        .expect("room");
    let shown = ok(&["peek", &name.0, "--max-bytes", "20"]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "0 returned failed 1 8 B: returned");
    assert_eq!(lines[1], "1.0 9 B: one\\n\\u{1b}[31m");
    assert!(lines[2].starts_with("1.1 300 B: \\xff") && lines[2].ends_with('…'));
    let value = json("peek", &["peek", &name.0, "--json"]);
    assert_eq!(value["messages"][0]["text"], "returned");
    assert_eq!(value["messages"][2]["len"], 300);
    assert_eq!((tx.stats().queued, tx.stats().returned), (2, 1));
}

#[test]
fn peek_shows_the_messages_of_a_typed_queue_in_hexadecimal() {
    let _watchdog = Watchdog::start();
    let name = Name::new("typed");
    let (tx, _rx) = Options::new(4)
        .create_named::<u32>(&name.0)
        .expect("a queue");
    tx.send(0x0102_0304).expect("room");
    assert_eq!(ok(&["peek", &name.0]), "0 4 B: 04030201\n");
    assert_eq!(ok(&["recv", &name.0, "-n", "1"]), "04030201\n");
}

/// A `recv` that holds the message of a queue: it waits for a command that does not end.
fn holder(name: &Name) -> (Child, Pid) {
    let command = "cat >&2; echo $$; exec sleep 600";
    let arguments = ["recv", &name.0, "-n", "1", "--ack-after", command];
    let mut child = spawn(program().args(arguments).process_group(0));
    let mut first = String::new();
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    lines
        .read_line(&mut first)
        .expect("the process id of the command");
    (
        child,
        Pid::from_raw(first.trim().parse().expect("a number")),
    )
}

#[test]
fn stopped_and_dead_processes_are_shown_with_what_they_hold() {
    let _watchdog = Watchdog::start();
    let name = Name::new("stopped");
    let (tx, rx) = raw(&name, 4);
    drop(rx);
    tx.send(b"held".to_vec()).expect("room");
    let (mut child, sleeper) = holder(&name);
    let pid = Pid::from_raw(child.id().try_into().expect("a process id"));
    kill(pid, Signal::SIGSTOP).expect("stop");
    let stopped = waitpid(pid, Some(WaitPidFlag::WUNTRACED)).expect("wait");
    assert_eq!(stopped, WaitStatus::Stopped(pid, Signal::SIGSTOP));
    let state = |shown: &serde_json::Value| {
        let peers = shown["peers"].as_array().expect("peers").clone();
        let peer = peers
            .into_iter()
            .find(|peer| peer["pid"] == child.id())
            .expect("the process");
        (
            peer["state"].as_str().map(str::to_owned),
            peer["holds"].clone(),
        )
    };
    assert_eq!(state(&stat(&name.0)), (Some("stopped".into()), 1.into()));
    assert!(ok(&["stat", &name.0]).contains("stopped receiver     1"));
    kill(pid, Signal::SIGKILL).expect("kill");
    let ended = waitpid(pid, None).expect("wait");
    assert!(
        matches!(ended, WaitStatus::Signaled(_, Signal::SIGKILL, _)),
        "{ended:?}"
    );
    assert_eq!(state(&stat(&name.0)), (Some("dead".into()), 1.into()));
    assert_eq!(
        stat(&name.0)["messages"]["held"],
        1,
        "looking does not recover"
    );
    kill(sleeper, Signal::SIGKILL).expect("kill");
    let _ = child.wait();
}

#[test]
fn a_queue_is_shown_while_all_of_its_processes_are_stopped() {
    let _watchdog = Watchdog::start();
    let name = Name::new("all-stopped");
    drop(raw(&name, 4));
    let mut child = spawn(program().args(["recv", &name.0]));
    while stat(&name.0)["peers"].as_array().expect("peers").is_empty() {
        std::thread::yield_now();
    }
    let pid = Pid::from_raw(child.id().try_into().expect("a process id"));
    kill(pid, Signal::SIGSTOP).expect("stop");
    waitpid(pid, Some(WaitPidFlag::WUNTRACED)).expect("wait");
    assert_eq!(stat(&name.0)["peers"][0]["state"], "stopped");
    assert_eq!(listed(&name.0).expect("listed")["settled"], true);
    child.kill().expect("kill");
    child.wait().expect("wait");
}

#[test]
fn watching_prints_again_and_again_until_the_reader_leaves() {
    let _watchdog = Watchdog::start();
    let name = Name::new("watch");
    let _ends = raw(&name, 4);
    for arguments in [
        vec!["stat", &name.0, "--json", "--watch", "0.01"],
        vec!["ls", "--json", "--watch", "0.01"],
    ] {
        let mut child = spawn(program().args(&arguments));
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        for _ in 0..3 {
            let line = lines.next().expect("a line").expect("text");
            let value = serde_json::from_str(&line).expect("JSON");
            let definition = if arguments[0] == "ls" { "ls" } else { "queue" };
            super::schema::check(definition, &value);
        }
        drop(lines);
        let output = child.wait_with_output().expect("the program");
        assert_eq!(output.status.code(), Some(141), "{output:?}");
        assert!(output.stderr.is_empty());
    }
}

#[test]
fn tables_fit_80_columns_and_have_no_colour_in_a_pipe() {
    let _watchdog = Watchdog::start();
    let name = Name::new("t");
    let (tx, rx) = raw(&name, 65_536);
    tx.send(vec![1]).expect("room");
    let _lease = rx.lease().expect("a lease");
    for arguments in [vec!["ls"], vec!["ls", "--rates"], vec!["stat", &name.0]] {
        let text = ok(&arguments);
        assert!(!text.contains('\u{1b}'), "{text}");
        let mine = text.lines().filter(|line| line.contains(&name.0));
        assert!(mine.clone().count() > 0);
        let longest = mine.map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(longest <= 80, "{longest}: {text}");
    }
}

#[test]
fn ls_of_a_thousand_queues_lists_all_of_them() {
    let _crowd = CROWD.write().unwrap_or_else(PoisonError::into_inner);
    let _watchdog = Watchdog::start();
    let names: Vec<Name> = (0..1000).map(|_| Name::new("many")).collect();
    for name in &names {
        drop(raw(name, 16));
    }
    let started = Instant::now();
    let output = run(&["ls"]);
    let time = started.elapsed();
    println!("ls of 1,000 queues: {} ms", time.as_millis());
    assert!(output.status.success());
    let text = stdout(&output);
    let listed: std::collections::BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(names.iter().all(|name| listed.contains(name.0.as_str())));
}
