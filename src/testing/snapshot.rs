//! What a process has at one moment, from `/proc` and `/dev/shm`. No state.

use crate::os::{named, procfs};
use core::fmt;
use std::collections::BTreeSet;
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

/// Something that a process has more than before.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Leak {
    /// A thread.
    #[non_exhaustive]
    Thread {
        /// Its id.
        id: u32,
        /// The first 15 bytes of its name.
        name: String,
    },
    /// A child process.
    #[non_exhaustive]
    Child {
        /// Its process id.
        id: u32,
        /// The first 15 bytes of its name.
        name: String,
        /// Whether it has ended, and was not waited for.
        is_zombie: bool,
    },
    /// An open descriptor.
    #[non_exhaustive]
    Descriptor {
        /// Its number.
        number: u32,
        /// What it refers to: a path, or a text such as `socket:[4711]` or `/memfd:work ring (deleted)`.
        target: String,
    },
    /// The name of a named queue that this process has made. [`remove_named`](crate::queue::remove_named) removes it.
    #[non_exhaustive]
    NamedQueue {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread { id, name } => write!(f, "thread {id} ({name})"),
            Self::Child {
                id,
                name,
                is_zombie,
            } => {
                let ended = if *is_zombie { ", not waited for" } else { "" };
                write!(f, "child process {id} ({name}){ended}")
            }
            Self::Descriptor { number, target } => write!(f, "descriptor {number} of {target}"),
            Self::NamedQueue { name } => write!(f, "named queue {name}"),
        }
    }
}

/// All that this process has.
#[derive(Debug)]
pub(super) struct Snapshot(BTreeSet<Leak>);

impl Snapshot {
    /// Looks at this process.
    pub(super) fn take() -> Self {
        let mut all = BTreeSet::new();
        all.extend(threads());
        all.extend(children());
        all.extend(descriptors());
        all.extend(queues());
        Self(all)
    }

    /// Returns what this snapshot has and the one before has not. A child that has ended in the meantime is no new one.
    pub(super) fn beyond(&self, before: &Self) -> Vec<Leak> {
        let is_new = |leak: &&Leak| match leak {
            Leak::Child {
                id,
                is_zombie: true,
                ..
            } => !before
                .0
                .iter()
                .any(|old| matches!(old, Leak::Child { id: old, .. } if old == id)),
            Leak::Thread { id, .. } => !before
                .0
                .iter()
                .any(|old| matches!(old, Leak::Thread { id: old, .. } if old == id)),
            _ => !before.0.contains(leak),
        };
        self.0.iter().filter(is_new).cloned().collect()
    }
}

/// Returns the id of the calling thread.
pub(super) fn own_thread() -> u32 {
    // PROCESS/task/THREAD
    let link = fs::read_link("/proc/thread-self").ok();
    let id = link.as_deref().and_then(Path::file_name);
    let id = id.and_then(|id| id.to_str()?.parse().ok());
    id.expect("`/proc`, which shows what a process has, can be read only where it is mounted")
}

fn threads() -> impl Iterator<Item = Leak> {
    numbers("/proc/self/task").filter_map(|(id, entry)| {
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        let name = name.trim_end_matches('\n').to_owned();
        Some(Leak::Thread { id, name })
    })
}

fn children() -> impl Iterator<Item = Leak> {
    let children = procfs::children(std::process::id()).into_iter();
    children.filter_map(|id| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // ID (NAME) STATE ..; the name may contain anything.
        let (head, rest) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once(" (")?;
        Some(Leak::Child {
            id,
            name: name.to_owned(),
            is_zombie: rest.starts_with(['Z', 'X']),
        })
    })
}

fn descriptors() -> impl Iterator<Item = Leak> {
    let listing = PathBuf::from(format!("/proc/{}/fd", std::process::id()));
    numbers("/proc/self/fd").filter_map(move |(number, entry)| {
        let target = fs::read_link(entry.path()).ok()?;
        (target != listing).then(|| Leak::Descriptor {
            number,
            target: target.display().to_string(),
        })
    })
}

/// Lists the named queues that this process has made. Another process may have made others at the same time.
fn queues() -> impl Iterator<Item = Leak> {
    let names = named::names_given().into_iter();
    names.map(|name| Leak::NamedQueue { name })
}

/// Lists the entries of a folder whose names are numbers.
fn numbers(folder: &str) -> impl Iterator<Item = (u32, DirEntry)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry)))
}
