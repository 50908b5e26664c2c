//! The name of a listener: a socket and a lock file in a directory that only the user can write to.
//!
//! | lock file `NAME.lock` | its byte [`LISTENS`]  | socket `NAME.sock` | meaning                                             |
//! |-----------------------|-----------------------|--------------------|-----------------------------------------------------|
//! | no                    | -                     | no                 | the name is free                                    |
//! | yes                   | locked, exclusively   | not yet or yes     | a listener has the name                             |
//! | yes                   | locked, shared        | perhaps            | a process removes what a dead listener left         |
//! | yes                   | free                  | perhaps            | its listener is dead: a bind takes over or removes it |
//!
//! PLACE-1. A process that creates or removes the socket of a name holds the lock, and has checked after it got the lock that the
//!     file still has its name. So no process removes the socket of a listener that lives, and a name has one listener.
//! PLACE-2. The lock file is removed last, by the holder of the lock. A process that has opened it before then finds that it
//!     has no name any more, and opens the new one.
//! PLACE-3. A process that collects leftovers locks [`COLLECTS`] first, so that there is one at a time, and then
//!     [`LISTENS`] shared, so that a bind can tell it from a listener and try again.
//!
//! Crash: the kernel releases the locks. The files stay until the next bind of any name of this user.

use crate::error::BindError;
use crate::os::directory::{Directory, DirectoryError, Kind};
use crate::os::fork::OwnerProcess;
use crate::os::local_socket::ListeningSocket;
use crate::os::{locks, named};
use core::time::Duration;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;

/// The byte that a listener locks as long as it lives.
const LISTENS: u64 = 0;
/// The byte that a process locks while it removes what dead listeners left.
const COLLECTS: u64 = 1;
const LOCK_SUFFIX: &str = ".lock";
/// The longest name, with which the path of the socket still fits into its address: 107 bytes, of which
/// `/proc/self/fd/123456/` and the suffix take 26.
pub(super) const MAX_NAME: usize = 80;
/// How long a bind waits for a process that collects leftovers, which takes some system calls.
const MAX_WAIT: Duration = Duration::from_secs(2);
const RETRY_DELAY: Duration = Duration::from_millis(1);

/// Returns the file name of a listener's socket.
pub(super) fn socket_name(name: &str) -> String {
    format!("{name}.sock")
}

/// Returns whether a listener can have this name.
pub(super) fn is_valid(name: &str) -> bool {
    name.len() <= MAX_NAME && crate::queue::name::is_plain(name)
}

/// A name that this process has taken. Given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    directory: Directory,
    name: String,
    /// Holds the lock.
    _lock: OwnedFd,
    owner: OwnerProcess,
}

fn os(what: &'static str) -> impl FnOnce(io::Error) -> BindError {
    move |source| BindError::Os { what, source }
}

const NO_LOCK: &str = "the listener's name could not be locked";

impl Place {
    /// Takes a name, and removes what dead listeners have left under any name.
    pub(super) fn take(kind: &Kind, name: &str) -> Result<Self, BindError> {
        if !is_valid(name) {
            let name = name.to_owned();
            return Err(BindError::InvalidName { name });
        }
        let owner = OwnerProcess::current().map_err(os(NO_LOCK))?;
        let end = Instant::now() + MAX_WAIT;
        loop {
            let directory = match Directory::create(kind) {
                Ok(directory) => directory,
                Err(error) if error.is_removed(kind) && Instant::now() < end => continue,
                Err(error) => return Err(no_directory(error)),
            };
            match lock(&directory, name) {
                Ok(Locked::Taken(lock)) => {
                    collect(&directory);
                    let name = name.to_owned();
                    return Ok(Self {
                        directory,
                        name,
                        _lock: lock,
                        owner,
                    });
                }
                Ok(Locked::NotYet) if Instant::now() < end => thread::sleep(RETRY_DELAY),
                Ok(Locked::NotYet | Locked::ByListener) => {
                    let name = name.to_owned();
                    return Err(BindError::NameTaken { name });
                }
                // The last listener there has just removed the directory.
                Err(error) if error.kind() == ErrorKind::NotFound && Instant::now() < end => {}
                Err(error) => return Err(os(NO_LOCK)(error)),
            }
        }
    }

    /// Makes the socket, in place of one that a dead listener left, with this mode.
    pub(super) fn bind(&self, backlog: i32, mode: u32) -> io::Result<ListeningSocket> {
        let name = socket_name(&self.name);
        self.directory.remove(&name)?;
        let socket = ListeningSocket::bind(&self.directory, &name, backlog)?;
        self.directory.set_mode(&name, mode)?;
        Ok(socket)
    }

    /// Removes the socket, so that no process finds it any more.
    pub(super) fn remove_socket(&self) {
        if self.is_own() {
            // It fails only if the program has removed the directory, or its own permission to change it.
            let _ = self.directory.remove(&socket_name(&self.name));
        }
    }

    /// Returns whether this is the process that has taken the name, and not a forked child of it.
    pub(super) fn is_own(&self) -> bool {
        self.owner.is_current()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_own() {
            self.remove_socket();
            // For errors see `remove_socket`.
            let _ = self.directory.remove(&lock_name(&self.name));
            self.directory.remove_if_empty();
        }
    }
}

fn no_directory(error: DirectoryError) -> BindError {
    match error {
        DirectoryError::NotPrivate {
            directory,
            owner,
            mode,
        } => BindError::NotPrivate {
            directory,
            owner,
            mode,
        },
        DirectoryError::Os(source) => {
            os("the directory of listeners could not be opened or made")(source)
        }
    }
}

fn lock_name(name: &str) -> String {
    format!("{name}{LOCK_SUFFIX}")
}

enum Locked {
    Taken(OwnedFd),
    /// A listener has the name.
    ByListener,
    /// Another process removes files of this name at this moment.
    NotYet,
}

/// Locks a name for a listener (PLACE-1).
fn lock(directory: &Directory, name: &str) -> io::Result<Locked> {
    let file = directory.open_or_create(&lock_name(name))?;
    if locks::try_lock(&file, LISTENS)? {
        return Ok(if named::has_name(&file)? {
            Locked::Taken(file)
        } else {
            Locked::NotYet
        });
    }
    Ok(if locks::is_locked_exclusively(&file, LISTENS)? {
        Locked::ByListener
    } else {
        Locked::NotYet
    })
}

/// Removes what dead listeners have left (PLACE-3). Leaves what it cannot remove.
fn collect(directory: &Directory) {
    for name in directory.names_with(LOCK_SUFFIX) {
        let _ = collect_one(directory, &name);
    }
}

fn collect_one(directory: &Directory, name: &str) -> io::Result<()> {
    let file = directory.open(&lock_name(name))?;
    let is_left = locks::try_lock(&file, COLLECTS)?
        && locks::try_lock_shared(&file, LISTENS)?
        && named::has_name(&file)?;
    if is_left {
        directory.remove(&socket_name(name))?;
        directory.remove(&lock_name(name))?;
    }
    Ok(())
}
