//! The file of a named queue, as every operation on such a queue begins: opening it by its name, locking it, mapping it.
//!
//! [`crate::os::named`] has the rules by which such a file is made, locked and removed.

use super::attachment::{Attachment, JoinError};
use super::name::is_plain;
use crate::error::{OpenError, OutOfMemory};
use crate::os::identity;
use crate::os::named::{self, NamedFileError};
use crate::protocol::ids::PeerIndex;
use crate::protocol::peers::{Role, Roles};
use crate::segment::{AttachError, Segment};
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

/// The longest name, in bytes. A file name has up to 255, and starts with a prefix.
const MAX_NAME_LEN: usize = 200;

/// How the name of a mailbox begins (NAME-5 of [`named`]).
pub(super) const MAILBOX_MARK: char = '~';

/// Returns whether a program can choose this name.
pub(super) fn is_name(name: &str) -> bool {
    is_plain(name) && name.len() <= MAX_NAME_LEN
}

/// Returns whether a queue can have this name: one that a program has chosen, or that of a mailbox.
fn can_be_opened(name: &str) -> bool {
    is_name(name.strip_prefix(MAILBOX_MARK).unwrap_or(name))
}

/// Opens the file of this name.
pub(super) fn open_file(name: &str) -> Result<OwnedFd, OpenError> {
    if !can_be_opened(name) {
        let name = name.to_owned();
        return Err(OpenError::InvalidName { name });
    }
    named::open(name).map_err(|error| not_opened(error, name))
}

/// Returns the error for a file that could not be opened.
pub(crate) fn not_opened(error: NamedFileError, name: &str) -> OpenError {
    match error {
        NamedFileError::NotFound => not_found(name),
        NamedFileError::NotPrivate { owner, mode } => OpenError::NotPrivate { owner, mode },
        NamedFileError::NotAFile => OpenError::NotAQueue {
            what: "it is not a file",
        },
        NamedFileError::Os(source) => OpenError::Os {
            what: "the queue's file could not be opened",
            source,
        },
    }
}

/// How long to wait for a process that checks whether the queue can be removed. If that process takes longer, it was
/// probably stopped.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Locks the file so that the queue is not removed. Fails if it is removed already.
pub(super) fn lock_against_removal(file: &OwnedFd, name: &str) -> Result<(), OpenError> {
    let deadline = Instant::now() + REMOVAL_TIMEOUT;
    loop {
        let is_locked = named::try_lock_shared(file).map_err(not_locked)?;
        if !named::has_name(file).map_err(not_locked)? {
            return Err(not_found(name));
        }
        if is_locked {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let name = name.to_owned();
            return Err(OpenError::BeingRemoved { name });
        }
        thread::sleep(Duration::from_millis(1));
    }
}

pub(super) fn not_found(name: &str) -> OpenError {
    OpenError::NotFound {
        name: name.to_owned(),
    }
}

pub(super) fn not_locked(source: io::Error) -> OpenError {
    OpenError::Os {
        what: "the queue's file could not be locked",
        source,
    }
}

pub(super) fn attach(file: OwnedFd) -> Result<Segment, OpenError> {
    Segment::attach(file).map_err(not_mapped)
}

/// Returns the error for a file that could not be used as a segment.
pub(crate) fn not_mapped(error: AttachError) -> OpenError {
    match error {
        AttachError::NotASegment(what) => OpenError::NotAQueue { what },
        AttachError::Version { theirs, ours } => OpenError::Version { theirs, ours },
        AttachError::Layout { theirs, ours } => OpenError::Layout { theirs, ours },
        AttachError::NoMemory(OutOfMemory {
            limit,
            wanted,
            available,
        }) => OpenError::NoMemory {
            limit,
            wanted,
            available,
        },
        AttachError::Os(source) => OpenError::Os {
            what: "the queue could not be mapped",
            source,
        },
    }
}

/// Returns the error for a process that was not attached.
pub(super) fn not_attached(error: JoinError) -> OpenError {
    match error {
        JoinError::Closed => OpenError::Closed,
        JoinError::TooManyPeers => OpenError::TooManyPeers {
            max: usize::from(PeerIndex::COUNT),
        },
        JoinError::NoMemory(OutOfMemory {
            limit,
            wanted,
            available,
        }) => OpenError::NoMemory {
            limit,
            wanted,
            available,
        },
        JoinError::Corrupt(corrupt) => OpenError::NotAQueue {
            what: corrupt.what(),
        },
        JoinError::Os(source) => OpenError::Os {
            what: "the queue could not be attached to",
            source,
        },
    }
}

/// Attaches to a queue whose file is [locked against removal](lock_against_removal), and ends the lock.
pub(super) fn join(segment: Segment, roles: Roles) -> Result<Attachment, OpenError> {
    let attachment = Attachment::join(segment, roles).map_err(not_attached)?;
    // From now on, a process that wants to remove the queue finds this one in the table of peers.
    named::unlock(attachment.file()).map_err(not_locked)?;
    Ok(attachment)
}

/// Returns the number of processes that are attached to a queue or were given an end of it, of those with this role or of
/// all.
pub(super) fn count_processes(segment: &Segment, role: Option<Role>) -> Result<usize, OpenError> {
    let own = identity::current().map_err(|source| OpenError::Os {
        what: "this process could not be identified",
        source,
    })?;
    Ok(segment.count_live_peers(&own, role))
}
