//! Named queues in mappings that the test has made with the crate `shared_memory`. Most of the tests of named queues apply
//! to them as well: these are about what is different.

use crate::named::{Name, ask, caller, done, kill_makers, open_while_they_are_made};
use ipc_tests::support::{LIMIT, dismiss, sleepy};
use ipc_tests::{Signal, guarded, program, rounds::rounds};
use shared_memory::{Shmem, ShmemConf};
use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{self, Command},
};
use workring::{
    Options, Receiver, Sender,
    error::{CreateError, CreateNamedError, OpenError},
    queue::{open_on, open_on_as, shmem_conf},
};

type Ends = (Sender<u32>, Receiver<u32>);

fn staged(options: &Options) -> Shmem {
    let conf = options.shmem_conf::<u32>().expect("a name");
    conf.create().expect("a mapping")
}

fn create_on(options: &Options, name: &Name) -> Result<Ends, CreateNamedError> {
    options.create_on(staged(options), &name.0)
}

fn opened(name: &Name) -> Shmem {
    shmem_conf(&name.0).open().expect("a mapping")
}

fn path_of(shmem: &Shmem) -> PathBuf {
    Path::new("/dev/shm").join(shmem.get_os_id().trim_start_matches('/'))
}

/// Returns what a refused mapping is said to be.
fn unfit(made: Result<Ends, CreateNamedError>) -> &'static str {
    match made {
        Err(CreateNamedError::Mapping { what, .. }) => what,
        other => panic!("not refused for its mapping: {other:?}"),
    }
}

/// Both crates' ways to make and to open a queue lead to the same queue.
#[test]
fn a_mapping_of_shared_memory_becomes_a_named_queue() {
    guarded(LIMIT, || {
        let name = Name::new("mapping");
        let (mut maker, mut other) = (caller(), caller());
        for way in ["create", "create-on"] {
            done(&mut maker, &format!("{way} {}", name.0));
            assert_eq!(
                fs::metadata(name.path()).expect("a file").mode() & 0o7777,
                0o600
            );
            done(&mut other, &format!("open-in-on {}", name.0));
            let receiver: Receiver<u32> = open_on(opened(&name)).expect("the queue");
            let sender: Sender<u32> = workring::open(&name.0).expect("the queue");
            assert_eq!(name.processes(), Some(4));
            sender.send(1).expect("room");
            assert_eq!(ask(&mut other, "recv"), "1");
            done(&mut maker, "send 2");
            assert_eq!(receiver.recv().expect("a message"), 2);
            done(&mut maker, "drop");
            done(&mut other, "drop");
            drop((receiver, sender));
            assert_eq!(name.processes(), Some(0));
            name.remove();
        }
        dismiss(maker);
        dismiss(other);
    });
}

/// M2. The checks of `open_as` hold for mappings, too, and one that is refused does not attach.
#[test]
fn a_mapping_of_another_queue_is_refused() {
    guarded(LIMIT, || {
        let name = Name::new("mapping-misfit");
        let options = Options::new(4).schema("number.v1");
        let ends = create_on(&options, &name).expect("a queue");
        let refused = open_on::<Receiver<u32>>(opened(&name)).map(drop);
        assert!(
            matches!(refused, Err(OpenError::Schema { .. })),
            "{refused:?}"
        );
        let fits = open_on_as::<Receiver<u32>>(opened(&name), "number.v1");
        drop(fits.expect("the queue"));
        // The mapping is of the queue before.
        let stale = opened(&name);
        drop(ends);
        name.remove();
        let refused = open_on_as::<Receiver<u32>>(stale, "number.v1").map(drop);
        assert!(
            matches!(refused, Err(OpenError::NotFound { .. })),
            "{refused:?}"
        );

        let ends = create_on(&options, &name).expect("a queue");
        let stale = opened(&name);
        drop(ends);
        name.remove();
        let ends = create_on(&options, &name).expect("another queue");
        let refused = open_on_as::<Receiver<u32>>(stale, "number.v1").map(drop);
        assert!(
            matches!(refused, Err(OpenError::OtherFile { .. })),
            "{refused:?}"
        );
        assert_eq!(name.processes(), Some(1));
        drop(ends);
        name.remove();
    });
}

/// M5. The owner flag of the crate would remove the name when the mapping ends.
#[test]
fn an_owner_that_leaves_does_not_remove_a_queue_in_use() {
    guarded(LIMIT, || {
        let (name, mut other) = (Name::new("owner-flag"), caller());
        let ends = create_on(&sleepy(4), &name).expect("a queue");
        done(&mut other, &format!("open-in {}", name.0));
        ends.0.send(1).expect("room");
        drop(ends);
        let mut shmem = opened(&name);
        shmem.set_owner(true);
        drop(open_on::<Sender<u32>>(shmem).expect("the queue"));
        assert!(name.path().exists(), "the owner has removed the name");
        assert_eq!(ask(&mut other, "recv"), "1");
        dismiss(other);
        name.remove();
    });
}

/// M2, M3. Whatever is wrong with a mapping, its file is removed with it if it was the owner.
#[test]
fn a_mapping_that_cannot_hold_the_queue_is_refused_and_removed() {
    const NOBODY: u32 = 65_534;
    guarded(LIMIT, || {
        let (name, options) = (Name::new("unfit"), Options::new(4));
        let create = |shmem| options.create_on::<u32>(shmem, &name.0);

        let small = staged(&options);
        let path = path_of(&small);
        let opened = ShmemConf::new().os_id(small.get_os_id()).open();
        assert!(unfit(create(opened.expect("a mapping"))).contains("owner"));
        assert!(path.exists(), "only its owner removes it");
        drop(small);

        let larger = options.shmem_conf::<u32>().expect("a name").size(1 << 20);
        let larger = larger.create().expect("a mapping");
        let path = path_of(&larger);
        assert!(unfit(create(larger)).contains("size"));
        assert!(!path.exists());

        let link = format!("/tmp/workring-test-link-{}", process::id());
        let linked = options.shmem_conf::<u32>().expect("a name").flink(&link);
        let linked = linked.create().expect("a mapping");
        assert!(unfit(create(linked)).contains("file link"));
        fs::remove_file(link).expect("the link");

        let open_to_all = staged(&options);
        let path = path_of(&open_to_all);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
        assert!(unfit(create(open_to_all)).contains("other users"));
        assert!(!path.exists());

        let foreign = staged(&options);
        let path = path_of(&foreign);
        if chown(&path, Some(NOBODY), None).is_ok() {
            assert!(unfit(create(foreign)).contains("another user"));
        } else {
            println!("SKIPPED: only root can have files of other users");
        }

        let renamed = staged(&options);
        let path = path_of(&renamed);
        fs::remove_file(&path).expect("the file");
        fs::write(&path, vec![0; renamed.len()]).expect("another file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
        assert!(unfit(create(renamed)).contains("another file"));

        let first = create(staged(&options)).expect("a queue");
        let second = create(staged(&options));
        assert!(
            matches!(second, Err(CreateNamedError::AlreadyExists { .. })),
            "{second:?}"
        );
        let refused = options.create_on::<u32>(staged(&options), "a/b");
        assert!(
            matches!(refused, Err(CreateNamedError::InvalidName { .. })),
            "{refused:?}"
        );
        assert_eq!(leftovers(process::id()), [""; 0]);
        drop(first);
        name.remove();
    });
}

/// Returns the names of files that this process was making.
fn leftovers(process_id: u32) -> Vec<String> {
    let files = fs::read_dir("/dev/shm").expect("the folder").flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    let of_process = format!("-{process_id}.");
    names
        .filter(|name| name.contains("-~~") && name.contains(&of_process))
        .collect()
}

/// What a program has written to its mapping before is not taken for words of the protocol.
#[test]
fn the_contents_of_a_mapping_are_discarded() {
    guarded(LIMIT, || {
        let (name, options) = (Name::new("dirty"), Options::new(4));
        let shmem = staged(&options);
        fs::write(path_of(&shmem), vec![0xff; shmem.len()]).expect("write");
        let (tx, rx) = options.create_on(shmem, &name.0).expect("a queue");
        tx.send(7).expect("room");
        assert_eq!(rx.recv(), Ok(7));
        assert!(
            rx.stats()
                .blocks
                .iter()
                .all(|class| class.free == class.total)
        );
        drop((tx, rx));
        name.remove();
    });
}

/// M1.
#[test]
fn a_lack_of_memory_for_a_mapping_is_an_error_and_no_signal() {
    const SMALL: &str = "mount -t tmpfs -o size=8m tmpfs /dev/shm && exec \"$0\" \"$@\"";
    guarded(LIMIT, || {
        let (name, options) = (Name::new("mapping-limit"), Options::new(4));
        let refused = create_on(&options.clone().memory_limit(1), &name);
        let Err(CreateNamedError::Create(CreateError::NoMemory { .. })) = refused else {
            panic!("made beyond its own limit: {refused:?}");
        };
        let able = Command::new("unshare").args(["-m", "true"]).output();
        if !able.is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: mounting a small /dev/shm needs root and unshare(1)");
            return;
        }
        // The mount ends with its namespace, and the namespace with the process.
        let peer = program("peer");
        let role = [
            "-m",
            "sh",
            "-c",
            SMALL,
            &peer,
            "small-shm-for-mappings",
            "small",
        ];
        let output = Command::new("unshare").args(role).output().expect("run");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {text}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");
    });
}

/// M2. As for other named queues, while another process creates the queue in mappings and removes it.
#[test]
fn no_process_opens_an_incomplete_queue_in_a_mapping() {
    guarded(LIMIT, || {
        let name = Name::new("mapping-churn");
        let rounds = rounds(300, 10_000);
        let mut counts = Counts::default();
        // A busy machine may let this process see none of the queues of one maker.
        for _ in 0..20 {
            open_while_they_are_made(&name, rounds, "create_on", || counts.open(&name));
            if counts.opened.iter().all(|&count| count > 0) {
                break;
            }
        }
        println!("{counts:?}, of {rounds} queues or more");
        assert!(counts.opened.iter().all(|&count| count > 0), "never there");
        assert!(!name.is_listed());
    });
}

/// How many queues were opened, in each of two ways, and how often there was none.
#[derive(Debug, Default)]
struct Counts {
    opened: [u32; 2],
    missed: u32,
}

impl Counts {
    /// Opens the queue of this name, by turns with a mapping of this process's own and with one of `shared_memory`, and counts
    /// it. `None`: there is none.
    fn open(&mut self, name: &Name) -> Option<Receiver<u32>> {
        let way = self.opened.iter().sum::<u32>() % 2;
        let receiver = if way == 0 {
            name.open_in()
        } else {
            match shmem_conf(&name.0).open() {
                Ok(shmem) => open_on(shmem),
                // It cannot be of size 0: it has its name only when it is complete.
                Err(shared_memory::ShmemError::MapOpenFailed(2)) => {
                    self.missed += 1;
                    return None;
                }
                Err(other) => panic!("a half-made file: {other}"),
            }
        };
        match receiver {
            Ok(receiver) => {
                if let Some(count) = self.opened.get_mut(way as usize) {
                    *count += 1;
                }
                Some(receiver)
            }
            Err(OpenError::NotFound { .. } | OpenError::OtherFile { .. }) => {
                self.missed += 1;
                None
            }
            Err(other) => panic!("a half-made queue: {other}"),
        }
    }
}

/// M5. As for other named queues.
#[test]
fn a_maker_that_is_killed_in_a_mapping_leaves_a_complete_queue_or_nothing() {
    guarded(LIMIT, || kill_makers("mapping-killed", "create_on"));
}

/// M5. Between `create` of the crate and `create_on` there is a file, which only the death of its maker makes a leftover.
#[test]
fn a_mapping_that_its_dead_maker_did_not_complete_is_removed_by_the_next_list() {
    guarded(LIMIT, || {
        let mut maker = caller();
        let path = Path::new("/dev/shm").join(ask(&mut maker, "stage"));
        maker.stop();
        drop(workring::queue::named_queues().expect("a list"));
        assert!(path.exists(), "its maker lives");
        maker.signal(Signal::SIGKILL);
        maker.wait();
        let queues = workring::queue::named_queues().expect("a list");
        assert!(!path.exists(), "left behind");
        assert!(queues.iter().all(|queue| !queue.name.starts_with("~~")));
    });
}
