//! Lists and removes named queues, and what dead processes have left of them.

use super::named_file::{MAILBOX_MARK, attach, count_processes, not_found, not_locked, open_file};
use crate::error::{OpenError, RemoveError};
use crate::os::{named, staging};
use crate::protocol::peers::Role;
use std::io;
use std::os::fd::OwnedFd;

/// A named queue of this user, or another file that has such a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedQueue {
    /// The name.
    pub name: String,
    /// The number of processes that are attached to it or were given an end of it. A process that has opened it twice
    /// counts twice. `Some(0)`: it can be removed. `None`: it cannot be examined; the error of [`open`](crate::open()) says why.
    pub processes: Option<usize>,
}

/// Lists the named queues of this user, and other files that have such names, in the order of their names. First removes
/// the [mailboxes](crate::queue::Mailbox) of dead processes. Those of live processes are in the list; their names begin
/// with `~`.
///
/// # Errors
///
/// Those of reading the folder `/dev/shm`.
///
/// # Examples
///
/// Remove this program's queues that no process is attached to, for example because all of them were killed:
///
/// ```
/// # let mine = format!("my-program-{}", std::process::id());
/// # workring::Options::new(16).create_named::<u32>(&mine)?;
/// for queue in workring::queue::named_queues()? {
///     if queue.name.starts_with(&mine) && queue.processes == Some(0) {
///         workring::queue::remove_named(&queue.name)?;
///     }
/// }
/// # assert!(workring::queue::named_queues()?.iter().all(|queue| queue.name != mine));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn named_queues() -> io::Result<Vec<NamedQueue>> {
    let names = remove_leftovers()?.into_iter();
    let describe = |name: String| {
        let processes = open_file(&name)
            .and_then(attach)
            .and_then(|segment| count_processes(&segment, None));
        match processes {
            // It was removed after its name was read.
            Err(OpenError::NotFound { .. }) => None,
            processes => Some(NamedQueue {
                name,
                processes: processes.ok(),
            }),
        }
    };
    let queues = names.filter(|name| !staging::is_staging(name));
    Ok(queues.filter_map(describe).collect())
}

/// Removes the mailboxes of this user that no live process receives from, and the files that dead processes were making.
/// Returns the names of all of this user's files.
pub(super) fn remove_leftovers() -> io::Result<Vec<String>> {
    let names = named::list()?;
    staging::remove_leftovers(&names);
    if !mutant!(MailboxKept) {
        let is_mailbox =
            |name: &&String| name.starts_with(MAILBOX_MARK) && !staging::is_staging(name);
        for name in names.iter().filter(is_mailbox) {
            // A process still receives from it, or another one removes it.
            let _ = remove_without(Some(Role::Receiver), name);
        }
    }
    Ok(names)
}

/// Removes a named queue that no process is attached to, with the messages in it. Never waits.
///
/// Removes also a private file that has the name of a queue and is none. Does not remove a queue of another version:
/// see the section on upgrading of [`create_named`](crate::Options::create_named).
///
/// # Errors
///
/// [`RemoveError`]: no queue has this name, it is in use, or it cannot be examined. Then it is not removed.
///
/// # Examples
///
/// See [`named_queues`] and [`create_named`](crate::Options::create_named).
pub fn remove_named(name: &str) -> Result<(), RemoveError> {
    remove_without(None, name)
}

/// Removes a queue that no live process with this role, or with any, is attached to.
fn remove_without(role: Option<Role>, name: &str) -> Result<(), RemoveError> {
    let file = open_file(name)?;
    // Shares the open file description with `file`, so that the lock outlives the segment.
    let lock = file.try_clone().map_err(not_locked)?;
    let segment = match attach(file) {
        Ok(segment) => Some(segment),
        Err(OpenError::NotAQueue { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let check = || match segment
        .as_ref()
        .map_or(Ok(0), |segment| count_processes(segment, role))?
    {
        0 => Ok(()),
        processes => Err(RemoveError::InUse { processes }),
    };
    // A process that opens the queue waits for the lock: so it is not locked where the first check fails.
    check()?;
    if !named::try_lock_exclusive(&lock).map_err(not_locked)? {
        return Err(RemoveError::InUse { processes: 1 });
    }
    let removed = check().and_then(|()| unlink(&lock, name));
    // Closing the file does not unlock it if a child that was forked in the meantime has it open too.
    let _ = named::unlock(&lock);
    removed
}

/// Removes the name, with the file locked. The name still means this file, unless it was removed before.
fn unlink(file: &OwnedFd, name: &str) -> Result<(), RemoveError> {
    if !named::has_name(file).map_err(not_locked)? {
        return Err(not_found(name).into());
    }
    named::unlink(name).map_err(|source| {
        RemoveError::Open(OpenError::Os {
            what: "the queue's name could not be removed",
            source,
        })
    })
}
