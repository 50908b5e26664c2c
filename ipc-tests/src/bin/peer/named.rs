//! Roles that create, open and remove named queues.

use crate::handoff::{Renamed, SCHEMA};
use ipc_tests::role::{Io, Role};
use serde::{Deserialize, Serialize};
use std::{error::Error, fmt::Debug, fs, mem, process};
use workring::{
    Lease, Options, Receiver, SendError, Sender,
    error::{CreateError, CreateNamedError, MemoryLimit, RemoveError},
    queue::{Bincode, Mailbox, Raw, open_as, open_on, shmem_conf},
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("named-queues", named_queues),
    ("create-and-remove", create_and_remove),
    ("small-shm", small_shm),
    ("small-shm-for-mappings", small_shm_for_mappings),
    ("without-proc", without_proc),
];

/// The ends and leases that the role has.
#[derive(Default)]
struct Ends {
    senders: Vec<Sender<u32>>,
    receivers: Vec<Receiver<u32>>,
    leases: Vec<Lease<'static, u32>>,
    mailboxes: Vec<Mailbox<u32>>,
}

/// Runs commands, one a line, each of a verb and an argument, and prints the outcome.
fn named_queues(io: &mut Io) {
    let mut ends = Ends::default();
    while let Some(line) = io.try_next_line() {
        let answer = ends.run_command(&line);
        io.say(answer.unwrap_or_else(|error| error));
    }
}

impl Ends {
    fn run_command(&mut self, command: &str) -> Result<String, String> {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "create" => {
                let (tx, rx) = describe_error(Options::new(16).create_named(rest))?;
                self.senders.push(tx);
                self.receivers.push(rx);
            }
            "open-out" => self.senders.push(describe_error(workring::open(rest))?),
            "open-in" => self.receivers.push(describe_error(workring::open(rest))?),
            "schema-in" => self
                .receivers
                .push(describe_error(workring::queue::open_as(rest, SCHEMA))?),
            "renamed-in" => {
                let receiver: Receiver<Renamed> =
                    describe_error(workring::queue::open_as(rest, SCHEMA))?;
                return Ok(describe_error(receiver.recv())?.0.to_string());
            }
            "create-on" => {
                let (tx, rx) = describe_error(create_on(&Options::new(16), rest))?;
                self.senders.push(tx);
                self.receivers.push(rx);
            }
            "open-in-on" => {
                let shmem = shmem_conf(rest).open().expect("a mapping");
                self.receivers.push(describe_error(open_on(shmem))?);
            }
            "stage" => {
                let shmem = Options::new(16)
                    .shmem_conf::<u32>()
                    .expect("a name")
                    .create();
                let shmem = shmem.expect("a mapping");
                let os_id = shmem.get_os_id().to_owned();
                mem::forget(shmem);
                return Ok(os_id);
            }
            "open-or-create" => {
                let made = Options::new(16).open_or_create_named(rest);
                let (tx, rx) = describe_error(made)?;
                self.senders.push(tx);
                self.receivers.push(rx);
            }
            "mailbox" => {
                let mailbox = describe_error(Options::new(1).mailbox::<u32>())?;
                let name = mailbox.address().name().to_owned();
                self.mailboxes.push(mailbox);
                return Ok(name);
            }
            "picture-in" => {
                let (name, schema) = rest.split_once(' ').ok_or("a name and a schema")?;
                let receiver: Receiver<Picture> = describe_error(open_as(name, schema))?;
                let Picture { number, file } = describe_error(receiver.recv())?;
                return Ok(format!("{number} {file}"));
            }
            "texts-in" => drop(describe_error(workring::open::<Receiver<String>>(rest))?),
            "bytes-in" => drop(describe_error(
                workring::open::<Receiver<Vec<u8>, Bincode>>(rest),
            )?),
            "raw-in" => drop(describe_error(workring::open::<Receiver<Vec<u8>, Raw>>(
                rest,
            ))?),
            "remove" => describe_error(workring::queue::remove_named(rest))?,
            "send" => {
                let sender = self.senders.last().ok_or("nothing to send with")?;
                describe_error(sender.send(rest.parse().expect("a number")))?;
            }
            "recv" => {
                let receiver = self.receivers.last().ok_or("nothing to receive with")?;
                return Ok(describe_error(receiver.recv())?.to_string());
            }
            "hold" => {
                let receiver = self.receivers.last().ok_or("nothing to receive with")?;
                let lease = describe_error(receiver.lease())?;
                let number = lease.to_string();
                self.leases.push(lease.into_owned());
                return Ok(number);
            }
            "hold-borrowed" => {
                let receiver = self.receivers.last().ok_or("nothing to receive with")?;
                let lease = describe_error(receiver.lease())?;
                let number = lease.to_string();
                mem::forget(lease);
                return Ok(number);
            }
            "forget" => self.leases.drain(..).for_each(mem::forget),
            "leave" => {
                self.senders.clear();
                self.receivers.clear();
            }
            "close" => drop(self.senders.last().map(Sender::close)),
            "drop" => *self = Self::default(),
            other => panic!("no such command: {other}"),
        }
        Ok("done".to_owned())
    }
}

/// Creates a queue in a mapping of the crate `shared_memory`.
fn create_on(
    options: &Options,
    name: &str,
) -> Result<(Sender<u32>, Receiver<u32>), CreateNamedError> {
    let conf = options.shmem_conf::<u32>()?;
    let shmem = conf.create().expect("a mapping");
    options.create_on(shmem, name)
}

/// The messages of the test, as another program defines them.
#[derive(Serialize, Deserialize)]
struct Picture {
    number: u32,
    file: String,
}

/// Turns an error into its variant with its fields, and its sentence.
fn describe_error<T, E: Error + Debug>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{error:?} | {error}"))
}

/// Creates a queue, sends to it and removes it, again and again. Then prints `done`.
///
/// Arguments: the name, the number of rounds, and whether by `create_named` or `create_on`.
fn create_and_remove(io: &mut Io) {
    let name: String = io.argument();
    let rounds: u32 = io.argument();
    let way: String = io.argument();
    let options = Options::new(4).max_message_len(128);
    for _ in 0..rounds {
        let made = if way == "create_on" {
            create_on(&options, &name)
        } else {
            options.create_named::<u32>(&name)
        };
        let (tx, rx) = made.expect("no other process creates it");
        tx.send(process::id()).expect("room");
        drop((tx, rx));
        loop {
            match workring::queue::remove_named(&name) {
                Ok(()) => break,
                Err(RemoveError::InUse { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
    io.say("done");
}

/// Runs in a small `/dev/shm` of its own. Checks that a queue or message for which there is no room is an error, and
/// one for which there is works.
///
/// Argument: the name of the queue.
fn small_shm(io: &mut Io) {
    let name: String = io.argument();
    let make_with = |largest, preallocate| {
        let options = Options::new(4).max_message_len(largest);
        let options = options.preallocate(preallocate);
        options.create_named_with::<Vec<u8>, Raw>(&name)
    };
    let make = |largest| make_with(largest, false);
    let (tx, rx) = make(8 << 20).expect("room for the small blocks");
    tx.send(vec![7; 1 << 20]).expect("room for one large block");
    let refused = tx.send(vec![7; 8 << 20]).map_err(|error| error.map(drop));
    let Err(SendError::NoMemory { limit, .. }) = refused else {
        panic!("sent without room for it: {refused:?}");
    };
    assert_eq!(limit, MemoryLimit::FileSystem);
    // The blocks without memory are free again.
    let classes = rx.stats().blocks;
    let in_use = classes.iter().map(|class| class.total - class.free);
    assert_eq!(in_use.sum::<u64>(), 1, "{classes:?}");
    assert_eq!(rx.recv().expect("the first"), vec![7; 1 << 20]);
    drop((tx, rx));
    workring::queue::remove_named(&name).expect("no process has it open");

    let ballast = vec![7; 7 << 20];
    fs::write("/dev/shm/ballast", ballast).expect("room for it");
    let (tx, rx) = make(64 << 10).expect("room for the ring");
    tx.send(vec![7; 200]).expect("room for this size");
    // Several of them have memory, or none.
    let refused = tx.send(vec![7; 64 << 10]).map_err(|error| error.map(drop));
    let Err(SendError::NoMemory { limit, .. }) = refused else {
        panic!("sent without room for it: {refused:?}");
    };
    assert_eq!(limit, MemoryLimit::FileSystem);
    assert_eq!(rx.recv().expect("the first"), vec![7; 200]);
    fs::remove_file("/dev/shm/ballast").expect("it is there");
    tx.send(vec![7; 64 << 10]).expect("room by now");
    drop((tx, rx));
    workring::queue::remove_named(&name).expect("no process has it open");

    fs::write("/dev/shm/ballast", vec![7; 7 << 20]).expect("room for it");
    let refused = make_with(64 << 10, true);
    let Err(CreateNamedError::Create(CreateError::NoMemory { limit, .. })) = refused else {
        panic!("made without room for it: {refused:?}");
    };
    assert_eq!(limit, MemoryLimit::FileSystem);
    assert_eq!(workring::queue::named_queues().expect("a list"), []);
    fs::remove_file("/dev/shm/ballast").expect("it is there");
    drop(make(64 << 10).expect("there is room again"));
    io.say("done");
}

/// Runs in a small `/dev/shm` of its own. Checks that a queue in a mapping of `shared_memory` for which there is no room is
/// an error, although that crate creates the mapping without one.
///
/// Argument: the name of the queue.
fn small_shm_for_mappings(io: &mut Io) {
    let name: String = io.argument();
    let options = Options::new(4).max_message_len(64 << 10).preallocate(true);
    let make = || {
        let shmem = options.shmem_conf::<u32>().expect("a name").create();
        options.create_on::<u32>(shmem.expect("a mapping"), &name)
    };
    drop(make().expect("there is room"));
    workring::queue::remove_named(&name).expect("no process has it open");
    fs::write("/dev/shm/ballast", vec![7; 7 << 20]).expect("room for it");
    let refused = make();
    let Err(CreateNamedError::Create(CreateError::NoMemory { limit, .. })) = refused else {
        panic!("made without room for it: {refused:?}");
    };
    assert_eq!(limit, MemoryLimit::FileSystem);
    let files = fs::read_dir("/dev/shm").expect("the folder").count();
    assert_eq!(files, 1, "more than the ballast is left");
    io.say("done");
}

/// Runs without `/proc`. Checks that no queue can be created, and that the error names `/proc`.
///
/// Argument: the name of the queue.
fn without_proc(io: &mut Io) {
    let name: String = io.argument();
    let options = Options::new(4);
    let unnamed = options.channel::<u32>().map(drop).expect_err("no /proc");
    let named = options.create_named::<u32>(&name).map(drop);
    let named = named.expect_err("no /proc");
    for source in [unnamed.source(), named.source()] {
        let text = source.expect("a cause").to_string();
        assert!(
            text.contains("/proc") && text.contains("mount it"),
            "{text}"
        );
    }
    io.say("done");
}
