//! The queues of this user: those with a name, and those that processes have open.

use crate::os::named as named_files;
use crate::os::open_files::{self, OpenFile};
use crate::os::staging;
use crate::segment::board::image::is_board;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Returns the names of this user's named queues, and of other files that have such names, sorted. Files that are being
/// made are not among them: see [`staged`].
///
/// # Errors
///
/// Those of reading the folder `/dev/shm`.
pub fn named() -> io::Result<Vec<String>> {
    let mut names = named_files::list()?;
    names.retain(|name| !staging::is_staging(name));
    Ok(names)
}

/// A file that a process is making, or was making when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Staged {
    /// Its name for the time being.
    pub name: String,
    /// Whether its maker has ended, so that nothing will come of it.
    pub is_leftover: bool,
}

/// Returns this user's files that are being made, or that their makers have left, sorted by name.
///
/// # Errors
///
/// Those of reading the folder `/dev/shm`.
pub fn staged() -> io::Result<Vec<Staged>> {
    let mut names = named_files::list()?;
    names.retain(|name| staging::is_staging(name));
    let leftovers = staging::leftovers(&names);
    let staged = |name: &String| Staged {
        name: name.clone(),
        is_leftover: leftovers.contains(&name),
    };
    Ok(names.iter().map(staged).collect())
}

/// Removes the file of this name if its maker has ended. Returns whether it is gone.
#[must_use]
pub fn remove_leftover(name: &str) -> bool {
    staging::remove_leftovers(&[name.to_owned()]);
    !named_files::exists(name)
}

/// Returns how long nothing has made, opened for the first time, or given memory to the file of a named queue. Writes
/// to its messages do not count: the kernel does not note them.
#[must_use]
pub fn unused_for(name: &str) -> Duration {
    let changed = named_files::last_change(name);
    changed
        .ok()
        .and_then(|changed| changed.elapsed().ok())
        .unwrap_or_default()
}

/// Removes the file of a named queue that cannot be examined, such as one of another version, unless a process has it
/// open. Returns whether it was removed.
///
/// # Errors
///
/// Those of removing a file.
pub fn remove_unopened(name: &str) -> io::Result<bool> {
    if open_files::is_open(&named_files::file_of(name)) {
        return Ok(false);
    }
    named_files::unlink(name)?;
    Ok(true)
}

/// A descriptor of a memory file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Open {
    /// The process.
    pub process: u32,
    /// The number of its descriptor.
    pub descriptor: u32,
}

/// A memory file of this crate that live processes have open: a queue without a name, or the board of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Anonymous {
    /// All descriptors of it, ordered by process and number.
    pub open: Vec<Open>,
    /// Whether it is the board of a pool.
    pub is_board: bool,
}

impl Anonymous {
    /// Returns the first descriptor, by which the file is named.
    #[must_use]
    pub fn first(&self) -> Option<Open> {
        self.open.first().copied()
    }

    /// Returns the processes that have it open, in order.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let mut processes: Vec<u32> = self.open.iter().map(|open| open.process).collect();
        processes.dedup();
        processes
    }
}

/// Returns the memory files of this crate in all processes that this process may look into, ordered by their first
/// descriptor.
#[must_use]
pub fn anonymous() -> Vec<Anonymous> {
    let mut files: BTreeMap<(u64, u64), Vec<OpenFile>> = BTreeMap::new();
    for open in open_files::memory_files() {
        files.entry(open.file).or_default().push(open);
    }
    let mut found: Vec<Anonymous> = files
        .into_values()
        .map(|open| Anonymous {
            is_board: open.iter().any(is_a_board),
            open: open
                .iter()
                .map(|open| Open {
                    process: open.process,
                    descriptor: open.descriptor,
                })
                .collect(),
        })
        .collect();
    found.sort_by_key(|file| file.first().map(|open| (open.process, open.descriptor)));
    found
}

fn is_a_board(open: &OpenFile) -> bool {
    open_files::open_again(open.process, open.descriptor, false).is_ok_and(is_board)
}
