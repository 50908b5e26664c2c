//! A role that takes over ends of queues, rightly or wrongly, as the test asks, and says what became of it.

use ipc_tests::{
    child::Peer,
    role::{Io, Role},
};
use serde::{Deserialize, Serialize};
use std::{
    any::Any,
    env,
    fs::{self, File},
    os::fd::AsRawFd,
    process::Command,
};
use workring::{
    Receiver, Sender,
    error::InheritError,
    queue::{Bincode, Raw},
};

/// The schema that the roles name where a test asks for one.
pub(crate) const SCHEMA: &str = "number.v1";

/// A message that is encoded as a `u32` is, but by a type of another name.
#[derive(Serialize, Deserialize)]
pub(crate) struct Renamed(pub(crate) u32);

pub(crate) const ROLES: &[(&str, Role)] = &[("claim", claim)];

/// What the role has taken over or opened, kept until it ends.
#[derive(Default)]
struct Claims {
    ends: Vec<Box<dyn Any>>,
    files: Vec<File>,
}

fn claim(io: &mut Io) {
    let mut claims = Claims::default();
    while let Some(line) = io.try_answer() {
        io.say(claims.obey(&line));
    }
}

impl Claims {
    fn obey(&mut self, order: &str) -> String {
        let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
        match verb {
            "numbers-in" => self.keep(workring::inherit::<Receiver<u32>>(rest)),
            "numbers-out" => self.keep(workring::inherit::<Sender<u32>>(rest)),
            "texts-in" => self.keep(workring::inherit::<Receiver<String>>(rest)),
            "bytes-in" => self.keep(workring::inherit::<Receiver<Vec<u8>, Bincode>>(rest)),
            "raw-in" => self.keep(workring::inherit::<Receiver<Vec<u8>, Raw>>(rest)),
            "schema-in" => self.keep(workring::queue::inherit_as::<Receiver<u32>>(rest, SCHEMA)),
            "renamed-in" => self.keep(workring::queue::inherit_as::<Receiver<Renamed>>(
                rest, SCHEMA,
            )),
            "receive-renamed" => self.receive_renamed(),
            "double" => self.double().unwrap_or_else(|| "no queues".to_owned()),
            "drop" => {
                self.ends.clear();
                "dropped".to_owned()
            }
            "descriptors" => descriptors_of_queues().to_string(),
            "open" => {
                let open = || File::open("/dev/null").expect("open");
                self.files = (0..rest.parse().expect("a number"))
                    .map(|_| open())
                    .collect();
                "opened".to_owned()
            }
            "intact" => self
                .files
                .iter()
                .filter(|file| is_null(file))
                .count()
                .to_string(),
            "grandchild" => grandchild(rest),
            other => panic!("no such order: {other}"),
        }
    }

    fn keep<E: Any>(&mut self, end: Result<E, InheritError>) -> String {
        match end {
            Ok(end) => {
                self.ends.push(Box::new(end));
                "taken".to_owned()
            }
            Err(error) => format!("{} | {error}", kind(&error)),
        }
    }

    /// Receives a number as another type than the one that it was sent as.
    fn receive_renamed(&self) -> String {
        let input = self
            .ends
            .iter()
            .find_map(|end| end.downcast_ref::<Receiver<Renamed>>());
        let received = input.expect("renamed-in comes first").recv();
        received.expect("a number").0.to_string()
    }

    /// Receives a number and sends its double.
    fn double(&self) -> Option<String> {
        let input = self
            .ends
            .iter()
            .find_map(|end| end.downcast_ref::<Receiver<u32>>())?;
        let output = self
            .ends
            .iter()
            .find_map(|end| end.downcast_ref::<Sender<u32>>())?;
        let number = input.recv().expect("a number");
        output.send(2 * number).expect("room");
        Some("done".to_owned())
    }
}

/// The variant and its fields, as the test compares them.
fn kind(error: &InheritError) -> String {
    match error {
        InheritError::NotGiven { name, given, .. } => {
            format!("NotGiven {name} of {}", given.join(","))
        }
        InheritError::AlreadyTaken { name, .. } => format!("AlreadyTaken {name}"),
        InheritError::WrongEnd { name, given, .. } => format!("WrongEnd {name} {given}"),
        InheritError::Type { theirs, ours, .. } => format!("Type {theirs} {ours}"),
        InheritError::Codec { theirs, ours, .. } => format!("Codec {theirs:?} {ours:?}"),
        InheritError::Schema { theirs, ours, .. } => format!("Schema {theirs:?} {ours:?}"),
        other => format!("{other:?}"),
    }
}

fn descriptors_of_queues() -> usize {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc").flatten();
    let targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets
        .filter(|target| target.display().to_string().contains("memfd:workring"))
        .count()
}

fn is_null(file: &File) -> bool {
    let target = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
    target.is_ok_and(|target| target.as_os_str() == "/dev/null")
}

/// Starts a process that was given nothing, and relays orders to it, and its answers back.
fn grandchild(orders: &str) -> String {
    let program = env::current_exe().expect("this program");
    let mut child = Peer::spawn(program, "claim", &[], Command::spawn).expect("spawn");
    let answers: Vec<String> = orders
        .split("; ")
        .map(|order| {
            child.say(order);
            child.answer()
        })
        .collect();
    assert!(child.wait().success());
    answers.join("; ")
}
