//! Queues that unrelated processes open by name, at any time, even after all earlier ones have died. The children of
//! these tests inherit nothing and know only the name.

use ipc_tests::support::{LIMIT, dismiss, hand_over, sleepy};
use ipc_tests::{
    Signal,
    child::Peer,
    guarded, program,
    rounds::{Rng, rounds, seed},
};
use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink},
    path::PathBuf,
    process::{self, Command},
};
use workring::{
    Options, Receiver, RecvError, Sender,
    error::{CreateError, CreateNamedError, OpenError, RemoveError, TryRecvError},
    queue::Raw,
};

/// A unique name. Dropping it removes the queue of that name, so that a failed test leaves none.
pub(crate) struct Name(pub(crate) String);

impl Name {
    pub(crate) fn new(test: &str) -> Self {
        Self(format!("test-{test}-{}", process::id()))
    }

    /// Returns the path of the queue's file.
    pub(crate) fn path(&self) -> PathBuf {
        let me = fs::metadata("/proc/self").expect("/proc").uid();
        format!("/dev/shm/workring-{me}-{}", self.0).into()
    }

    /// Returns how many processes the list of queues reports for it. `None`: it is not listed, or could not be
    /// examined.
    pub(crate) fn processes(&self) -> Option<usize> {
        let queues = workring::queue::named_queues().expect("a list");
        queues
            .into_iter()
            .find(|queue| queue.name == self.0)
            .and_then(|queue| queue.processes)
    }

    pub(crate) fn inode(&self) -> Option<u64> {
        Some(fs::metadata(self.path()).ok()?.ino())
    }

    pub(crate) fn is_listed(&self) -> bool {
        let queues = workring::queue::named_queues().expect("a list");
        queues.iter().any(|queue| queue.name == self.0)
    }

    pub(crate) fn open_in(&self) -> Result<Receiver<u32>, OpenError> {
        workring::open(&self.0)
    }

    pub(crate) fn remove(&self) {
        workring::queue::remove_named(&self.0).expect("no process is attached");
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}

/// Starts a process that inherits nothing.
pub(crate) fn caller() -> Peer {
    Peer::spawn(program("peer"), "named-queues", &[], Command::spawn).expect("spawn")
}

/// Gives an order to a peer that plays `caller`.
pub(crate) fn ask(peer: &mut Peer, order: &str) -> String {
    peer.say(order);
    peer.answer()
}

pub(crate) fn done(peer: &mut Peer, order: &str) {
    assert_eq!(ask(peer, order), "done", "{order}");
}

#[test]
fn unrelated_processes_exchange_messages_by_name() {
    guarded(LIMIT, || {
        let name = Name::new("exchange");
        let (mut maker, mut sender) = (caller(), caller());
        done(&mut maker, &format!("create {}", name.0));
        done(&mut sender, &format!("open-out {}", name.0));
        let receiver = name.open_in().expect("the queue");
        for number in 0..100 {
            done(&mut sender, &format!("send {number}"));
            assert_eq!(receiver.recv().expect("a message"), number);
        }
        assert_eq!(name.processes(), Some(3));
        assert_eq!(
            fs::metadata(name.path()).expect("a file").mode() & 0o7777,
            0o600
        );
        dismiss(maker);
        dismiss(sender);
        drop(receiver);
        assert_eq!(name.processes(), Some(0));
        name.remove();
        assert!(!name.path().exists());
    });
}

/// The last process does not close a named queue when it leaves, unless an option says so.
#[test]
fn a_named_queue_outlives_its_processes() {
    guarded(LIMIT, || {
        let name = Name::new("next");
        drop(sleepy(4).create_named::<u32>(&name.0).expect("a queue"));
        let sender: Sender<u32> = workring::open(&name.0).expect("the queue");
        sender.send(1).expect("it is open");
        drop(sender);
        let receiver = name.open_in().expect("the queue");
        assert_eq!(receiver.recv().expect("a message"), 1);
        assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
        drop(receiver);
        name.remove();

        let ending = sleepy(4).close_on_last_sender(true);
        let (tx, rx) = ending.create_named::<u32>(&name.0).expect("a queue");
        drop(tx);
        assert!(matches!(rx.recv(), Err(RecvError::Closed)));
        let refused = name.open_in();
        assert!(matches!(refused, Err(OpenError::Closed)), "{refused:?}");
        drop(rx);
        name.remove();
    });
}

#[test]
fn a_name_stands_for_one_queue_at_a_time() {
    guarded(LIMIT, || {
        let name = Name::new("twice");
        let mut maker = caller();
        done(&mut maker, &format!("create {}", name.0));
        let mine = Options::new(4).create_named::<u32>(&name.0);
        let Err(CreateNamedError::AlreadyExists { name: taken, .. }) = mine else {
            panic!("created twice: {mine:?}");
        };
        assert_eq!(taken, name.0);
        done(&mut maker, "send 5");
        let receiver = name.open_in().expect("the queue");
        assert_eq!(receiver.recv().expect("the message of the first queue"), 5);

        // A process is attached. A ticket for a child counts as well.
        let refused = workring::queue::remove_named(&name.0);
        let in_use = |count, refused: &Result<(), RemoveError>| match refused {
            Err(RemoveError::InUse { processes, .. }) => *processes == count,
            _ => false,
        };
        assert!(in_use(2, &refused), "{refused:?}");
        dismiss(maker);
        let ticket = workring::Handoff::new().give("queue", &receiver);
        drop(receiver);
        let refused = workring::queue::remove_named(&name.0);
        assert!(in_use(2, &refused), "{refused:?}");
        drop(ticket.expect("a ticket"));

        name.remove();
        let gone = workring::queue::remove_named(&name.0);
        assert!(
            matches!(gone, Err(RemoveError::Open(OpenError::NotFound { .. }))),
            "{gone:?}"
        );
        let gone = name.open_in();
        assert!(matches!(gone, Err(OpenError::NotFound { .. })), "{gone:?}");
        let again = Options::new(4).create_named::<u32>(&name.0);
        let (tx, rx) = again.expect("another queue");
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        drop((tx, rx));
        name.remove();
    });
}

/// A child that was given an end of a named queue has an end like any other.
#[test]
fn an_end_of_a_named_queue_can_be_handed_over() {
    guarded(LIMIT, || {
        let name = Name::new("handed");
        let (tx, rx) = sleepy(4).create_named::<u32>(&name.0).expect("a queue");
        let (output, doubles) = sleepy(4).channel::<u32>().expect("a queue");
        let mut child = hand_over("inheritor", &[], |handoff| {
            handoff.give("in", &rx)?.give("out", &output)
        });
        drop((rx, output));
        for order in ["numbers-in in", "numbers-out out"] {
            assert_eq!(ask(&mut child, order), "taken");
        }
        tx.send(21).expect("room");
        done(&mut child, "double");
        assert_eq!(doubles.recv().expect("the double"), 42);
        assert_eq!(name.processes(), Some(2));
        dismiss(child);
        drop(tx);
        name.remove();
    });
}

#[test]
fn names_have_a_restricted_alphabet() {
    guarded(LIMIT, || {
        let long = "x".repeat(201);
        for bad in ["", "a/b", "../up", "a b", "ä", "a\0", &long] {
            let refused = Options::new(4).create_named::<u32>(bad);
            let refused = refused.map(drop).expect_err(bad);
            assert!(
                matches!(&refused, CreateNamedError::InvalidName { name, .. } if name == bad),
                "{refused:?}"
            );
            let refused = workring::open::<Sender<u32>>(bad).expect_err(bad);
            assert!(
                matches!(refused, OpenError::InvalidName { .. }),
                "{refused:?}"
            );
            let refused = workring::queue::remove_named(bad).expect_err(bad);
            let invalid = matches!(refused, RemoveError::Open(OpenError::InvalidName { .. }));
            assert!(invalid, "{refused:?}");
        }
        let name = Name(format!("{:x>200}", process::id()));
        drop(
            Options::new(4)
                .create_named::<u32>(&name.0)
                .expect("a queue"),
        );
        name.remove();
        let refused = Options::new(0).create_named::<u32>(&name.0);
        let option = matches!(
            refused,
            Err(CreateNamedError::Create(CreateError::InvalidOption {
                option: "capacity",
                ..
            }))
        );
        assert!(option, "{refused:?}");
    });
}

/// Asserts that an order fails with an error of this kind, whose message names all of these.
pub(crate) fn refusal(peer: &mut Peer, order: &str, kind: &str, names: &[&str]) {
    let answer = ask(peer, order);
    let (found, sentence) = answer.split_once(" | ").unwrap_or((&answer, ""));
    assert!(found.starts_with(kind), "{order}: {found}");
    for name in names {
        assert!(sentence.contains(name), "no {name:?} in {sentence:?}");
    }
}

/// M2. An opener that is refused does not attach to the queue.
#[test]
fn an_opener_with_another_type_codec_or_schema_is_refused() {
    guarded(LIMIT, || {
        let (name, mut other) = (Name::new("misfit"), caller());
        drop(
            Options::new(4)
                .create_named::<u32>(&name.0)
                .expect("a queue"),
        );
        let (texts, same) = (
            format!("texts-in {}", name.0),
            format!("schema-in {}", name.0),
        );
        refusal(
            &mut other,
            &texts,
            "Type",
            &["u32", "alloc::string::String"],
        );
        refusal(
            &mut other,
            &same,
            r#"Schema { theirs: None, ours: Some("number.v1") }"#,
            &["the queue has no schema", r#"names "number.v1""#],
        );
        assert_eq!(name.processes(), Some(0));
        name.remove();

        let raw = Options::new(4).create_named_with::<Vec<u8>, Raw>(&name.0);
        drop(raw.expect("a queue"));
        let order = format!("bytes-in {}", name.0);
        refusal(&mut other, &order, "Codec", &["raw bytes", "bincode 2"]);
        done(&mut other, &format!("raw-in {}", name.0));
        name.remove();

        let options = Options::new(4).schema("number.v1");
        let (tx, _) = options.create_named::<u32>(&name.0).expect("a queue");
        let order = format!("open-in {}", name.0);
        refusal(
            &mut other,
            &order,
            r#"Schema { theirs: Some("number.v1"), ours: None }"#,
            &[r#"the schema "number.v1""#, "names none"],
        );
        done(&mut other, &same);
        // A type of another name decodes the message, since the schema is the same.
        tx.send(7).expect("room");
        drop(tx);
        assert_eq!(ask(&mut other, &format!("renamed-in {}", name.0)), "7");
        dismiss(other);
        name.remove();
    });
}

/// M2. The test writes to the second and the third word of the segment.
#[test]
fn another_version_or_layout_is_an_error_that_names_both_and_the_queue_stays() {
    const VERSION: u64 = 8;
    const FINGERPRINT: u64 = 16;
    guarded(LIMIT, || {
        let name = Name::new("version");
        drop(
            Options::new(4)
                .create_named::<u32>(&name.0)
                .expect("a queue"),
        );
        let file = File::options().read(true).write(true).open(name.path());
        let file = file.expect("a file of this user");
        let mut before = [0; 8];
        for (place, kind) in [(VERSION, "Version"), (FINGERPRINT, "Layout")] {
            file.read_exact_at(&mut before, place).expect("read");
            file.write_all_at(&77_u64.to_ne_bytes(), place)
                .expect("write");
            let theirs = match name.open_in() {
                Err(OpenError::Version { theirs, .. }) if kind == "Version" => theirs,
                Err(OpenError::Layout { theirs, .. }) if kind == "Layout" => theirs,
                other => panic!("no {kind}: {other:?}"),
            };
            assert_eq!(theirs, 77);
            let refused = workring::queue::remove_named(&name.0);
            assert!(matches!(refused, Err(RemoveError::Open(_))), "{refused:?}");
            assert!(name.is_listed() && name.processes().is_none());
            file.write_all_at(&before, place).expect("write");
        }
        drop(name.open_in().expect("the restored queue"));
        drop(file);
        name.remove();
    });
}

/// M2. None of these files is mapped, and each of them can be removed.
#[test]
fn a_file_that_is_no_queue_is_refused_and_can_be_removed() {
    guarded(LIMIT, || {
        let name = Name::new("foreign");
        let refused = |what: &str| {
            let refused = name.open_in().map(drop).expect_err(what);
            assert!(
                matches!(&refused, OpenError::NotAQueue { what: why, .. } if why.contains(what)),
                "{what}: {refused:?}"
            );
            assert!(name.is_listed() && name.processes().is_none());
        };
        let make = |bytes: &[u8], length| {
            let file = File::create(name.path()).expect("create");
            let private = Permissions::from_mode(0o600);
            file.set_permissions(private).expect("chmod");
            file.write_all_at(bytes, 0).expect("write");
            file.set_len(length).expect("truncate");
        };
        drop(
            Options::new(4)
                .create_named::<u32>(&name.0)
                .expect("a queue"),
        );
        let whole = fs::metadata(name.path()).expect("a file").len();
        let start = {
            let mut start = vec![0; 4096];
            let file = File::open(name.path()).expect("a file of this user");
            file.read_exact_at(&mut start, 0).expect("read");
            start
        };
        name.remove();

        make(b"", 0);
        refused("too short");
        name.remove();
        make(b"", whole); // The state of a queue that gets its name before it is complete.
        refused("mark of a complete segment");
        name.remove();
        make(&start, whole / 2);
        refused("length does not fit");
        name.remove();
        make(&start, whole); // Reading further would allocate memory, or cause a SIGBUS.
        refused("lacks some of its memory");
        name.remove();

        symlink("/dev/null", name.path()).expect("a link");
        refused("not a file");
        fs::remove_file(name.path()).expect("the queue");
    });
}

/// M3.
#[test]
fn a_queue_that_others_may_open_is_refused() {
    guarded(LIMIT, || {
        let name = Name::new("private");
        drop(
            Options::new(4)
                .create_named::<u32>(&name.0)
                .expect("a queue"),
        );
        let set = |mode| fs::set_permissions(name.path(), Permissions::from_mode(mode));
        set(0o640).expect("chmod");
        let refused = name.open_in();
        assert!(
            matches!(refused, Err(OpenError::NotPrivate { mode: 0o640, .. })),
            "{refused:?}"
        );
        set(0o600).expect("chmod");
        drop(name.open_in().expect("the private queue"));
        name.remove();
    });
}

/// M3.
#[test]
fn a_queue_of_another_user_is_refused() {
    const NOBODY: u32 = 65_534;
    guarded(LIMIT, || {
        let name = Name::new("owner");
        drop(
            Options::new(4)
                .create_named::<u32>(&name.0)
                .expect("a queue"),
        );
        if chown(name.path(), Some(NOBODY), None).is_err() {
            println!("SKIPPED: only root can have files of other users");
            return name.remove();
        }
        let refused = name.open_in();
        assert!(
            matches!(refused, Err(OpenError::NotPrivate { owner: NOBODY, .. })),
            "{refused:?}"
        );
        assert!(workring::queue::remove_named(&name.0).is_err());
        assert!(name.path().exists(), "another user's file was removed");
    });
}

/// M2. A process that opens a queue while others create and remove it gets a complete queue of that name, or an error.
#[test]
fn no_process_opens_an_incomplete_queue() {
    guarded(LIMIT, || {
        let name = Name::new("churn");
        let rounds = rounds(300, 10_000);
        let (mut opened, mut missed) = (0_u32, 0_u32);
        // A busy machine may let this process see none of the queues of one maker.
        for _ in 0..20 {
            open_while_they_are_made(&name, rounds, "create_named", || match name.open_in() {
                Ok(receiver) => {
                    opened += 1;
                    Some(receiver)
                }
                Err(OpenError::NotFound { .. }) => {
                    missed += 1;
                    None
                }
                Err(other) => panic!("a half-made queue: {other}"),
            });
            if opened > 0 {
                break;
            }
        }
        println!("{opened} opened, {missed} missed, of {rounds} queues or more");
        assert!(opened > 0, "never there");
        assert!(!name.is_listed());
    });
}

/// Opens and checks the queues of this name again and again, while another process creates one in each round, by the function
/// `create`, and removes it. `open` returns `None` if there is no queue at the moment.
pub(crate) fn open_while_they_are_made(
    name: &Name,
    rounds: u32,
    create: &str,
    mut open: impl FnMut() -> Option<Receiver<u32>>,
) {
    let maker = Peer::spawn(
        program("peer"),
        "create-and-remove",
        &[&name.0, &rounds, &create],
        Command::spawn,
    );
    let mut maker = maker.expect("spawn");
    let its_id = u32::try_from(maker.pid().as_raw()).expect("an id");
    let ended = std::thread::spawn(move || {
        assert_eq!(maker.answer(), "done");
        dismiss(maker);
    });
    while !ended.is_finished() {
        if let Some(receiver) = open() {
            use_until_removed(name, receiver, its_id, &ended);
        }
    }
    ended.join().expect("join");
}

/// Checks that the name stands for the queue of this receiver, which has at most the message of its maker. Drops it, and
/// waits until the maker has removed it, or has ended.
fn use_until_removed(
    name: &Name,
    receiver: Receiver<u32>,
    its_id: u32,
    ended: &std::thread::JoinHandle<()>,
) {
    // While this process is attached, none removes it.
    let sender: Sender<u32> = workring::open(&name.0).expect("the queue of that name");
    sender.send(7).expect("room");
    drop(sender);
    let all: Vec<u32> = receiver.try_iter().map(|n| n.expect("a number")).collect();
    // The maker's message is here, unless this process has received it before or it is still to be sent.
    assert!(all.contains(&7), "the messages of another queue: {all:?}");
    assert!(all.iter().all(|&n| n == 7 || n == its_id), "{all:?}");
    let life = name.inode();
    drop(receiver);
    while name.inode() == life && life.is_some() && !ended.is_finished() {
        std::thread::yield_now();
    }
}

/// M5. The maker is killed at any point.
#[test]
fn a_maker_that_is_killed_leaves_a_complete_queue_or_nothing() {
    guarded(LIMIT, || kill_makers("killed", "create_named"));
}

/// Kills processes that create queues in this way, and checks what they leave.
pub(crate) fn kill_makers(test: &str, how: &str) {
    let mut random = Rng::with_seed(seed());
    let name = Name::new(test);
    let (mut whole, rounds) = (0, rounds(30, 1_000));
    for _ in 0..rounds {
        let maker = Peer::spawn(
            program("peer"),
            "create-and-remove",
            &[&name.0, &u32::MAX, &how],
            Command::spawn,
        );
        let mut maker = maker.expect("spawn");
        // While it creates and removes one of its first queues.
        let lives = random.u32(1..50);
        let mut seen = 0;
        while seen < lives {
            seen += u32::from(name.path().exists());
        }
        maker.signal(Signal::SIGKILL);
        maker.wait();
        if name.is_listed() {
            whole += 1;
            assert_eq!(name.processes(), Some(0));
            drop(name.open_in().expect("a complete queue"));
            name.remove();
        }
        assert!(!name.path().exists());
    }
    println!("{whole} of {rounds} makers have left a queue");
}

/// M5, K4. The name and the messages remain, held messages come first, and the dead processes occupy nothing.
#[test]
fn a_queue_whose_processes_were_all_killed_is_opened_again() {
    guarded(LIMIT, || {
        let name = Name::new("survivor");
        let mut peers = [caller(), caller(), caller()];
        let [maker, sender, holder] = &mut peers;
        done(maker, &format!("create {}", name.0));
        done(sender, &format!("open-out {}", name.0));
        done(holder, &format!("open-in {}", name.0));
        for number in 0..6 {
            done(sender, &format!("send {number}"));
        }
        assert_eq!(ask(maker, "recv"), "0");
        assert_eq!(ask(holder, "hold"), "1");
        assert_eq!(ask(maker, "hold"), "2");
        for peer in &mut peers {
            peer.signal(Signal::SIGKILL);
            peer.wait();
        }
        assert_eq!(name.processes(), Some(0));

        let receiver = name.open_in().expect("the queue");
        let mut handed_out = Vec::new();
        while let Ok(lease) = receiver.try_lease() {
            handed_out.push((*lease, lease.deliveries()));
            lease.ack();
        }
        assert_eq!(handed_out, [(1, 1), (2, 1), (3, 0), (4, 0), (5, 0)]);
        let stats = receiver.stats();
        assert_eq!((stats.peers.len(), stats.recovered), (1, 3));
        assert!(stats.blocks.iter().all(|class| class.free == class.total));
        drop(receiver);
        name.remove();
    });
}

/// T2. New processes reuse the peer-table entries of processes that have left, and no descriptor or mapping remains.
#[test]
fn a_queue_can_be_opened_more_often_than_its_peer_table_has_entries() {
    guarded(LIMIT, || {
        let name = Name::new("rows");
        drop(
            Options::new(4)
                .create_named::<u32>(&name.0)
                .expect("a queue"),
        );
        for _ in 0..1_100 {
            drop(name.open_in().expect("an entry in the peer table"));
        }
        assert_eq!(name.processes(), Some(0));
        name.remove();
    });
}

/// M1. The memory of messages over 64 KiB is in the same file, and is freed if none may be kept.
#[test]
fn large_messages_take_memory_when_they_are_sent() {
    guarded(LIMIT, || {
        let name = Name::new("large");
        let options = Options::new(4)
            .max_message_len(200 << 20)
            .max_idle_memory(0);
        let made = options.create_named_with::<Vec<u8>, Raw>(&name.0);
        let (tx, rx) = made.expect("a queue");
        let before = rx.stats().memory;
        assert!(before < 8 << 20, "{before} bytes in an idle queue");
        let other: Receiver<Vec<u8>, Raw> = workring::open(&name.0).expect("the queue");
        tx.send(vec![7; 100 << 20]).expect("memory");
        assert!(rx.stats().memory >= before + (100 << 20));
        assert!(other.recv().expect("a message") == vec![7; 100 << 20]);
        // Some headers have been added.
        assert!(rx.stats().memory < before + (1 << 20));
        drop((tx, rx, other));
        name.remove();
    });
}

/// M1.
#[test]
fn a_full_file_system_is_an_error_and_no_signal() {
    const SMALL: &str = "mount -t tmpfs -o size=8m tmpfs /dev/shm && exec \"$0\" \"$@\"";
    guarded(LIMIT, || {
        let able = Command::new("unshare").args(["-m", "true"]).output();
        if !able.is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: mounting a small /dev/shm needs root and unshare(1)");
            return;
        }
        // The mount ends with its namespace, and the namespace with the process.
        let output = Command::new("unshare")
            .args([
                "-m",
                "sh",
                "-c",
                SMALL,
                &program("peer"),
                "small-shm",
                "small",
            ])
            .output();
        let output = output.expect("run");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
    });
}

#[test]
fn where_proc_is_not_mounted_the_error_says_so() {
    const COVERED: &str = "mount -t tmpfs tmpfs /proc && exec \"$0\" \"$@\"";
    guarded(LIMIT, || {
        let able = Command::new("unshare").args(["-m", "true"]).output();
        if !able.is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: covering /proc needs root and unshare(1)");
            return;
        }
        let name = Name::new("procless");
        let output = Command::new("unshare")
            .args([
                "-m",
                "sh",
                "-c",
                COVERED,
                &program("peer"),
                "without-proc",
                &name.0,
            ])
            .output();
        let output = output.expect("run");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
        assert!(!name.is_listed());
    });
}
