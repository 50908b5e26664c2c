//! Roles that make, open and remove queues by name, as the test asks, and say what became of it.

use crate::handoff::{Renamed, SCHEMA};
use ipc_tests::role::{Io, Role};
use std::{error::Error, fmt::Debug, fs, mem, process};
use workring::{
    Lease, Options, Receiver, SendError, Sender,
    error::{CreateError, CreateNamedError, MemoryLimit, RemoveError},
    queue::{Bincode, Raw},
};

pub(crate) const ROLES: &[(&str, Role)] = &[
    ("caller", caller),
    ("churn", churn),
    ("cramped", cramped),
    ("procless", procless),
];

/// The ends that the role has opened, and what it holds.
#[derive(Default)]
struct Ends {
    senders: Vec<Sender<u32>>,
    receivers: Vec<Receiver<u32>>,
    leases: Vec<Lease<u32>>,
}

/// Obeys orders, each of a verb and an argument.
fn caller(io: &mut Io) {
    let mut ends = Ends::default();
    while let Some(line) = io.try_answer() {
        let answer = ends.obey(&line);
        io.say(answer.unwrap_or_else(|error| error));
    }
}

impl Ends {
    fn obey(&mut self, order: &str) -> Result<String, String> {
        let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "create" => {
                let (tx, rx) = said(Options::new(16).create_named(rest))?;
                self.senders.push(tx);
                self.receivers.push(rx);
            }
            "open-out" => self.senders.push(said(workring::open(rest))?),
            "open-in" => self.receivers.push(said(workring::open(rest))?),
            "schema-in" => self
                .receivers
                .push(said(workring::queue::open_as(rest, SCHEMA))?),
            "renamed-in" => {
                let receiver: Receiver<Renamed> = said(workring::queue::open_as(rest, SCHEMA))?;
                return Ok(said(receiver.recv())?.0.to_string());
            }
            "texts-in" => drop(said(workring::open::<Receiver<String>>(rest))?),
            "bytes-in" => drop(said(workring::open::<Receiver<Vec<u8>, Bincode>>(rest))?),
            "raw-in" => drop(said(workring::open::<Receiver<Vec<u8>, Raw>>(rest))?),
            "remove" => said(workring::queue::remove_named(rest))?,
            "send" => {
                let sender = self.senders.last().ok_or("nothing to send with")?;
                said(sender.send(rest.parse().expect("a number")))?;
            }
            "recv" => {
                let receiver = self.receivers.last().ok_or("nothing to receive with")?;
                return Ok(said(receiver.recv())?.to_string());
            }
            "hold" => {
                let receiver = self.receivers.last().ok_or("nothing to receive with")?;
                let lease = said(receiver.lease())?;
                let number = lease.to_string();
                self.leases.push(lease);
                return Ok(number);
            }
            "forget" => self.leases.drain(..).for_each(mem::forget),
            "leave" => {
                self.senders.clear();
                self.receivers.clear();
            }
            "close" => drop(self.senders.last().map(Sender::close)),
            "drop" => *self = Self::default(),
            other => panic!("no such order: {other}"),
        }
        Ok("done".to_owned())
    }
}

/// The variant and its fields, and the sentence.
fn said<T, E: Error + Debug>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| format!("{error:?} | {error}"))
}

/// Makes a queue, fills it and removes it again, over and over; says so after each removal.
fn churn(io: &mut Io) {
    let name: String = io.argument();
    let rounds: u32 = io.argument();
    for _ in 0..rounds {
        let (tx, rx) = Options::new(4)
            .max_message_len(128)
            .create_named::<u32>(&name)
            .expect("nobody else makes it");
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

/// In a small `/dev/shm` of its own: what there is no room for is an error, what there is room for works.
fn cramped(io: &mut Io) {
    let name: String = io.argument();
    let make = |largest| {
        let options = Options::new(4).max_message_len(largest);
        options.create_named_with::<Vec<u8>, Raw>(&name)
    };
    let (tx, rx) = make(8 << 20).expect("room for the small blocks");
    tx.send(vec![7; 1 << 20]).expect("room for one large block");
    let refused = tx.send(vec![7; 8 << 20]).map_err(|error| error.map(drop));
    let Err(SendError::NoMemory { limit, .. }) = refused else {
        panic!("sent without room for it: {refused:?}");
    };
    assert_eq!(limit, MemoryLimit::FileSystem);
    // Of the blocks that there was no memory for, none stays in hand.
    let classes = rx.stats().blocks;
    let in_use = classes.iter().map(|class| class.total - class.free);
    assert_eq!(in_use.sum::<u64>(), 1, "{classes:?}");
    assert_eq!(rx.recv().expect("the first"), vec![7; 1 << 20]);
    drop((tx, rx));
    workring::queue::remove_named(&name).expect("nobody has it");

    let ballast = vec![7; 7 << 20];
    fs::write("/dev/shm/ballast", ballast).expect("room for it");
    let refused = make(64 << 10);
    let Err(CreateNamedError::Create(CreateError::NoMemory { limit, .. })) = refused else {
        panic!("made without room for it: {refused:?}");
    };
    assert_eq!(limit, MemoryLimit::FileSystem);
    assert_eq!(workring::queue::named_queues().expect("a list"), []);
    fs::remove_file("/dev/shm/ballast").expect("it is there");
    drop(make(64 << 10).expect("there is room again"));
    io.say("done");
}

/// Where nothing is mounted on `/proc`: no queue, and the error says so.
fn procless(io: &mut Io) {
    let name: String = io.argument();
    let options = Options::new(4);
    let unnamed = options.channel::<u32>().map(drop).expect_err("no /proc");
    let named = options.create_named::<u32>(&name).map(drop);
    let named = named.expect_err("no /proc");
    for source in [unnamed.source(), named.source()] {
        let said = source.expect("a cause").to_string();
        assert!(
            said.contains("/proc") && said.contains("mount it"),
            "{said}"
        );
    }
    io.say("done");
}
