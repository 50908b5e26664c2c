//! Processes that find each other's queues: mailboxes and their addresses, a queue that the first of them creates, and
//! programs that share no types.

use crate::named::{Name, ask, caller, done, refusal};
use ipc_tests::support::{LIMIT, dismiss};
use ipc_tests::{Signal, guarded, rounds::rounds};
use serde::{Deserialize, Serialize};
use std::{fs, os::unix::fs::MetadataExt, sync::Barrier, thread, time::Duration};
use workring::{
    Options, Receiver, SendError, Sender,
    error::{OpenError, OpenOrCreateError},
    queue::{Address, named_queues, remove_named},
};

/// Returns the path of the file of a mailbox, or of another named queue.
fn path(name: &str) -> String {
    let me = fs::metadata("/proc/self").expect("/proc").uid();
    format!("/dev/shm/workring-{me}-{name}")
}

#[test]
fn a_mailbox_is_there_as_long_as_its_process_keeps_it() {
    guarded(LIMIT, || {
        let mailbox = Options::new(4).mailbox::<u32>().expect("a mailbox");
        let address = mailbox.address();
        let mut other = caller();
        done(&mut other, &format!("open-out {}", address.name()));
        done(&mut other, "send 7");
        assert_eq!(mailbox.recv(), Ok(7));
        // Another process lists it, and does not remove it.
        let is_listed = |name: &str| {
            let queues = named_queues().expect("a list");
            queues.iter().any(|queue| queue.name == name)
        };
        assert!(is_listed(address.name()));
        drop(mailbox);
        assert!(!fs::exists(path(address.name())).expect("stat"));
        assert!(!is_listed(address.name()));
        assert!(ask(&mut other, "send 8").starts_with("Closed"));
        let refused = address.open().map(drop);
        assert!(
            matches!(refused, Err(OpenError::NotFound { .. })),
            "{refused:?}"
        );
        dismiss(other);
    });
}

/// What it is called, and what it does.
type Collector = (&'static str, fn(&Name));

/// M5. The owner is killed. The next process that creates, opens or lists named queues removes what it has left.
#[test]
fn the_mailbox_of_a_dead_process_is_removed_by_the_next_create_open_or_list() {
    guarded(LIMIT, || {
        let collectors: [Collector; 4] = [
            ("list", |_| drop(named_queues().expect("a list"))),
            ("open", |name| drop(name.open_in().expect("the queue"))),
            ("create", |name| {
                let other = format!("{}-other", name.0);
                drop(
                    Options::new(4)
                        .create_named::<u32>(&other)
                        .expect("a queue"),
                );
                remove_named(&other).expect("no process is attached");
            }),
            ("mailbox", |_| {
                drop(Options::new(4).mailbox::<u32>().expect("a mailbox"));
            }),
        ];
        let name = Name::new("collectors");
        drop(
            Options::new(4)
                .create_named::<u32>(&name.0)
                .expect("a queue"),
        );
        for (what, collect) in collectors {
            let mut owner = caller();
            let mailbox = ask(&mut owner, "mailbox");
            let sender: Sender<u32> = workring::open(&mailbox).expect("the mailbox");
            owner.stop();
            collect(&name);
            assert!(
                fs::exists(path(&mailbox)).expect("stat"),
                "{what}: its owner lives"
            );
            owner.resume();
            // This sender fills the mailbox. One that waits for room is released by the death.
            sender.send(1).expect("room");
            let waiting = thread::spawn(move || sender.send(2));
            owner.signal(Signal::SIGKILL);
            owner.wait();
            let sent = waiting.join().expect("no panic");
            assert_eq!(sent, Err(SendError::Closed(2)), "{what}");
            // Another test may have collected it already.
            collect(&name);
            assert!(
                !fs::exists(path(&mailbox)).expect("stat"),
                "{what} has left it"
            );
        }
        name.remove();
    });
}

/// An address is sent in a message, and carries the schema.
#[test]
fn an_address_can_be_sent_and_opened() {
    guarded(LIMIT, || {
        let mailbox = Options::new(4).schema("number.v1").mailbox::<u32>();
        let mailbox = mailbox.expect("a mailbox");
        let (tx, rx) = workring::channel::<Address<Sender<u32>>>(4).expect("a queue");
        tx.send(mailbox.address()).expect("room");
        let address = rx.recv().expect("a message");
        assert_eq!(address, mailbox.address());
        address.open().expect("the mailbox").send(7).expect("room");
        assert_eq!(mailbox.recv(), Ok(7));
        let other = Address::<Sender<u32>>::new(address.name()).schema("number.v2");
        let refused = other.open().map(drop);
        assert!(
            matches!(refused, Err(OpenError::Schema { .. })),
            "{refused:?}"
        );
        let other = Address::<Receiver<String>>::new("no-such-queue")
            .open()
            .map(drop);
        assert!(
            matches!(other, Err(OpenError::NotFound { .. })),
            "{other:?}"
        );
    });
}

/// Many threads and processes ask for one queue at the same moment, while others remove it.
#[test]
fn of_those_who_open_or_create_a_queue_at_once_one_creates_it() {
    const THREADS: u32 = 4;
    guarded(LIMIT, || {
        let (name, mut peer) = (Name::new("both"), caller());
        for _ in 0..rounds(100, 3_000) {
            let start = Barrier::new(THREADS as usize + 1);
            thread::scope(|scope| {
                let make = || {
                    start.wait();
                    Options::new(16)
                        .open_or_create_named::<u32>(&name.0)
                        .expect("the queue")
                };
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(make)).collect();
                start.wait();
                done(&mut peer, &format!("open-or-create {}", name.0));
                done(&mut peer, "send 100");
                let ends: Vec<_> = threads
                    .into_iter()
                    .map(|one| one.join().expect("ends"))
                    .collect();
                for (number, (tx, _)) in (0..).zip(&ends) {
                    tx.send(number).expect("room");
                }
                // Any receiver gets the messages of all senders.
                let (_, rx) = ends.last().expect("some");
                let mut all: Vec<u32> = rx.try_iter().map(|n| n.expect("a number")).collect();
                all.sort_unstable();
                assert_eq!(all, [0, 1, 2, 3, 100]);
                // While the ends are open, the queue cannot be removed.
                assert!(remove_named(&name.0).is_err());
                done(&mut peer, "drop");
            });
            name.remove();
        }
        dismiss(peer);
    });
}

/// The queue stays as it is, also one that would close with the last sender.
#[test]
fn a_queue_with_other_options_is_refused_with_both_values() {
    guarded(LIMIT, || {
        let name = Name::new("options");
        let options = Options::new(16).close_on_last_sender(true);
        let (tx, rx) = options
            .open_or_create_named::<u32>(&name.0)
            .expect("a queue");
        let other_options = [
            ("capacity", Options::new(17)),
            ("max_deliveries", Options::new(16).max_deliveries(4)),
            ("max_dead_letters", Options::new(16).max_dead_letters(7)),
            (
                "close_waits_for_leases",
                Options::new(16).close_waits_for_leases(true),
            ),
            (
                "close_on_last_receiver",
                Options::new(16).close_on_last_receiver(true),
            ),
            (
                "evict_dead_letters",
                Options::new(16).evict_dead_letters(false),
            ),
            ("max_leases", Options::new(16).max_leases(3)),
            ("max_message_len", Options::new(16).max_message_len(4096)),
            ("memory_limit", Options::new(16).memory_limit(1 << 30)),
            ("max_idle_memory", Options::new(16).max_idle_memory(0)),
            ("preallocate", Options::new(16).preallocate(true)),
            ("spin", Options::new(16).spin(Duration::ZERO)),
            (
                "liveness_interval",
                Options::new(16).liveness_interval(Duration::from_secs(1)),
            ),
            ("inline_len", Options::new(16).inline_len(200)),
        ];
        for (expected, other) in other_options {
            let refused = other
                .close_on_last_sender(true)
                .open_or_create_named::<u32>(&name.0);
            match refused.map(drop) {
                Err(OpenOrCreateError::OtherOption {
                    option,
                    theirs,
                    ours,
                    ..
                }) => {
                    assert_eq!(option, expected);
                    assert_ne!(theirs, ours);
                }
                other => panic!("{expected}: {other:?}"),
            }
        }
        let refused = Options::new(16)
            .open_or_create_named::<u32>(&name.0)
            .map(drop);
        let text = refused.expect_err("another option").to_string();
        let both = "the option `close_on_last_sender` true, this process names false";
        assert!(text.contains(both), "{text}");
        assert!(
            !tx.is_closed(),
            "a process that was refused has closed the queue"
        );
        let typed = options.open_or_create_named::<u64>(&name.0).map(drop);
        assert!(
            matches!(typed, Err(OpenOrCreateError::Open(OpenError::Type { .. }))),
            "{typed:?}"
        );
        drop((tx, rx));
        name.remove();
    });
}

/// The messages as this program defines them. The peer, which is another program, has a type of its own.
#[derive(Serialize, Deserialize)]
struct Image {
    id: u32,
    path: String,
}

#[test]
fn programs_that_define_their_own_types_share_a_queue_by_its_schema() {
    guarded(LIMIT, || {
        let (name, mut other) = (Name::new("schema"), caller());
        let made = Options::new(4)
            .schema("picture.v1")
            .create_named::<Image>(&name.0);
        let (tx, rx) = made.expect("a queue");
        let path = "7.png".to_owned();
        tx.send(Image { id: 7, path }).expect("room");
        refusal(
            &mut other,
            &format!("picture-in {} picture.v2", name.0),
            r#"Schema { theirs: Some("picture.v1"), ours: Some("picture.v2") }"#,
            &[r#"the schema "picture.v1""#, r#"names "picture.v2""#],
        );
        assert_eq!(
            ask(&mut other, &format!("picture-in {} picture.v1", name.0)),
            "7 7.png"
        );
        dismiss(other);
        drop((tx, rx));
        name.remove();
    });
}
