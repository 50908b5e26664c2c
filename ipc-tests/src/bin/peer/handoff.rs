//! A role that inherits ends of queues, by right or wrong names and types, and prints the outcome.

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

/// The schema of the queues that have one.
pub(crate) const SCHEMA: &str = "number.v1";

/// A message that is encoded like a `u32`, by a type of another name.
#[derive(Serialize, Deserialize)]
pub(crate) struct Renamed(pub(crate) u32);

pub(crate) const ROLES: &[(&str, Role)] = &[("inheritor", inheritor)];

/// The ends and files that the role keeps until it ends.
#[derive(Default)]
struct Inheritor {
    ends: Vec<Box<dyn Any>>,
    files: Vec<File>,
}

fn inheritor(io: &mut Io) {
    let mut inheritor = Inheritor::default();
    while let Some(line) = io.try_next_line() {
        io.say(inheritor.run_command(&line));
    }
}

impl Inheritor {
    fn run_command(&mut self, command: &str) -> String {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
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
            other => panic!("no such command: {other}"),
        }
    }

    fn keep<E: Any>(&mut self, end: Result<E, InheritError>) -> String {
        match end {
            Ok(end) => {
                self.ends.push(Box::new(end));
                "taken".to_owned()
            }
            Err(error) => format!("{} | {error}", describe(&error)),
        }
    }

    /// Receives a number as another type than that of its sender.
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

/// Returns the variant and its fields, as the test compares them.
fn describe(error: &InheritError) -> String {
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

/// Starts a process that inherits nothing, runs commands in it, and returns its answers.
fn grandchild(commands: &str) -> String {
    let program = env::current_exe().expect("this program");
    let mut child = Peer::spawn(program, "inheritor", &[], Command::spawn).expect("spawn");
    let answers: Vec<String> = commands
        .split("; ")
        .map(|command| {
            child.say(command);
            child.answer()
        })
        .collect();
    assert!(child.wait().success());
    answers.join("; ")
}
