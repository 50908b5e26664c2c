//! `drain`, `dead-letters`, `close`, `cancel`, `rm`, `gc`.

use super::support::{Name, Watchdog, fails, json, listed, ok, stat};
use workring::queue::Raw;
use workring::{Options, Receiver, Sender};

type Ends = (Sender<Vec<u8>, Raw>, Receiver<Vec<u8>, Raw>);

fn raw(name: &Name, capacity: usize) -> Ends {
    let options = Options::new(capacity).max_deliveries(1);
    options.create_named_with(&name.0).expect("a queue")
}

#[test]
fn drain_discards_what_waits_also_in_a_closed_queue_without_processes() {
    let _watchdog = Watchdog::start();
    let name = Name::new("drain");
    let (tx, rx) = raw(&name, 64);
    tx.send_many((0..100).map(|number| vec![number]))
        .expect("room");
    tx.close();
    drop((tx, rx));
    assert_eq!(
        ok(&["drain", &name.0, "--dry-run"]),
        format!("{}: 100 messages would be discarded\n", name.0)
    );
    assert!(ok(&["drain", &name.0]).starts_with(&format!("{}: 100 messages discarded", name.0)));
    let shown = stat(&name.0);
    assert_eq!(
        (
            &shown["messages"]["queued"],
            &shown["messages"]["acknowledged"]
        ),
        (&0.into(), &100.into())
    );
    assert_eq!(shown["peers"].as_array().expect("peers").len(), 0);
    fails(&["drain", "cli-there-is-none"], 3);
}

#[test]
fn dead_letters_are_listed_sent_again_and_dropped() {
    let _watchdog = Watchdog::start();
    let name = Name::new("letters");
    let (tx, rx) = raw(&name, 8);
    fails(&["dead-letters", "requeue", &name.0], 6);
    fails(&["dead-letters", "drop", &name.0], 6);
    fails(&["dead-letters", "list", &name.0], 6);
    for number in 0..4 {
        tx.send(vec![b'a' + number]).expect("room");
        drop(rx.lease().expect("a lease"));
    }
    let listed = json("peek", &["dead-letters", "list", &name.0, "--json"]);
    let texts: Vec<_> = listed["messages"]
        .as_array()
        .expect("messages")
        .iter()
        .map(|m| m["text"].clone())
        .collect();
    assert_eq!(texts, ["a", "b", "c", "d"]);
    assert!(
        ok(&["dead-letters", "requeue", &name.0, "--dry-run"]).contains("4 dead letters would be")
    );
    assert_eq!(tx.stats().dead_letters, 4);
    ok(&["dead-letters", "requeue", &name.0, "-n", "2"]);
    assert_eq!((tx.stats().dead_letters, tx.stats().queued), (2, 2));
    assert_eq!(
        (rx.recv(), rx.recv()),
        (Ok(b"a".to_vec()), Ok(b"b".to_vec()))
    );
    ok(&["dead-letters", "drop", &name.0, "-n", "1"]);
    assert_eq!(
        ok(&["dead-letters", "list", &name.0]),
        "3 dead failed 1 1 B: d\n"
    );
}

#[test]
fn requeued_letters_of_a_typed_queue_are_the_same_messages() {
    let _watchdog = Watchdog::start();
    let name = Name::new("requeue-typed");
    let options = Options::new(8).max_deliveries(1).schema("job.v1");
    let (tx, rx) = options
        .create_named::<(u32, String)>(&name.0)
        .expect("a queue");
    tx.send((7, "seven".to_owned())).expect("room");
    drop(rx.lease().expect("a lease"));
    ok(&["dead-letters", "requeue", &name.0]);
    assert_eq!(rx.try_recv(), Ok((7, "seven".to_owned())));
}

#[test]
fn a_full_queue_takes_no_letters_back_and_keeps_them() {
    let _watchdog = Watchdog::start();
    let name = Name::new("requeue-full");
    let (tx, rx) = raw(&name, 1);
    tx.send(b"dead".to_vec()).expect("room");
    drop(rx.lease().expect("a lease"));
    tx.send(b"full".to_vec()).expect("room");
    fails(&["dead-letters", "requeue", &name.0], 6);
    assert_eq!(tx.stats().dead_letters, 1);
}

#[test]
fn close_and_cancel_end_a_queue() {
    let _watchdog = Watchdog::start();
    let (closed, cancelled) = (Name::new("close"), Name::new("cancel"));
    let (tx, rx) = raw(&closed, 8);
    tx.send(b"left".to_vec()).expect("room");
    let (other, _rx) = raw(&cancelled, 8);
    other.send(b"gone".to_vec()).expect("room");
    ok(&["close", &closed.0]);
    assert_eq!((rx.recv(), rx.is_closed()), (Ok(b"left".to_vec()), true));
    assert!(ok(&["cancel", &cancelled.0]).contains("1 messages discarded"));
    assert!(other.is_closed() && other.stats().discarded == 1);
    assert_eq!(stat(&cancelled.0)["state"], "cancelled");
    assert_eq!(stat(&closed.0)["state"], "closed");
    fails(&["close", &closed.0], 4);
}

#[test]
fn rm_removes_only_what_no_process_uses() {
    let _watchdog = Watchdog::start();
    let name = Name::new("rm");
    let ends = raw(&name, 8);
    assert!(fails(&["rm", &name.0], 7).contains("process"));
    drop(ends);
    ok(&["rm", &name.0]);
    assert!(listed(&name.0).is_none());
    fails(&["rm", &name.0], 3);
}

#[test]
fn gc_removes_old_queues_without_processes_and_says_so() {
    let _watchdog = Watchdog::start();
    let (used, full, old) = (
        Name::new("gc-used"),
        Name::new("gc-full"),
        Name::new("gc-old"),
    );
    let ends = raw(&used, 8);
    raw(&full, 8).0.send(vec![1]).expect("room");
    drop(raw(&old, 8));
    let verdict = |arguments: &[&str], name: &Name| {
        let value = json("gc", arguments);
        let queues = value["queues"].as_array().expect("queues").clone();
        let queue = queues
            .into_iter()
            .find(|queue| queue["name"] == name.0.as_str());
        queue.map(|queue| (queue["removed"] == true, queue["kept_because"].to_string()))
    };
    // Other tests have queues too, so nothing is removed but by an age that all of them are under.
    let dry = ["gc", "--older-than", "0", "--dry-run", "--json"];
    assert_eq!(verdict(&dry, &old), Some((true, "null".to_owned())));
    let (removed, reason) = verdict(&dry, &used).expect("listed");
    assert!(
        !removed && reason.contains("1 processes use it"),
        "{reason}"
    );
    let (removed, reason) = verdict(&dry, &full).expect("listed");
    assert!(!removed && reason.contains("1 messages"), "{reason}");
    let all = [
        "gc",
        "--older-than",
        "0",
        "--dry-run",
        "--with-messages",
        "--json",
    ];
    assert!(verdict(&all, &full).expect("listed").0);
    let young = ["gc", "--older-than", "1000d", "--json"];
    let (removed, reason) = verdict(&young, &old).expect("listed");
    assert!(!removed && reason.contains("less than"), "{reason}");
    assert!(listed(&old.0).is_some(), "a dry run removes nothing");
    drop(ends);
}
