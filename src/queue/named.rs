//! Named queues: unrelated processes open them by name, and they outlive all of these processes.
//!
//! The queue of a name is a segment in a file in `/dev/shm`. [`crate::os::named`] has the rules by which such a file is
//! made, locked and removed. The segment itself, and the operations on it, are those of every other queue.

use super::attachment::{Attachment, JoinError};
use super::end::End;
use super::end::sealed::{AnyAttachment, EndRole};
use super::name::is_plain;
use super::option_checks::{self, not_made};
use super::options::Options;
use super::{Receiver, Sender, compatibility};
use crate::codec::{Bincode, Codec};
use crate::error::OutOfMemory;
use crate::error::{CreateError, CreateNamedError, OpenError, RemoveError};
use crate::os::identity;
use crate::os::named::{self, NamedFileError};
use crate::protocol::ids::PeerIndex;
use crate::protocol::peers::Roles;
use crate::segment::{AttachError, Segment};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The longest name, in bytes. A file name has up to 255, and starts with a prefix.
const MAX_NAME_LEN: usize = 200;

impl Options {
    /// Creates a queue with a name, for messages of any serde type.
    ///
    /// Any process of the same user can [`open`](crate::open()) it. The queue appears under its name when it is
    /// complete, or not at all. It stays, with its messages, until it is [removed](crate::queue::remove_named) or the
    /// machine is restarted, however its processes end. So it does not close with its last sender or receiver, unless
    /// [`close_on_last_sender`](Options::close_on_last_sender) or
    /// [`close_on_last_receiver`](Options::close_on_last_receiver) says otherwise. A closed queue can no longer be
    /// opened.
    ///
    /// The name has 1 to 200 ASCII letters, digits, `-`, `_` and `.`. Each user has names of their own. The queue is a
    /// file of mode 0600 in `/dev/shm`, and takes its memory from that file system. A process of the same user that
    /// writes to the file, or truncates it, harms every process that is attached.
    ///
    /// # Upgrading a program
    ///
    /// A named queue outlives the program that made it, so a new version of a program can find a queue of an old one.
    /// The new program is compared with the queue before it takes part in it. What does not fit is refused, and the
    /// queue and the processes that use it are not affected:
    ///
    /// | what differs | error of [`open`](crate::open()) |
    /// |---|---|
    /// | the version of the shared memory's layout and protocol | [`OpenError::Version`], with both versions |
    /// | where the parts of the queue lie in memory | [`OpenError::Layout`] |
    /// | the [schema](Options::schema), or without one the message type | [`OpenError::Schema`], [`OpenError::Type`] |
    /// | the codec | [`OpenError::Codec`] |
    ///
    /// This crate never converts a queue. Each release that changes the layout or the protocol raises the version;
    /// releases that differ only in the last of their three numbers have the same version. A child process that
    /// [inherits](crate::inherit()) an end is compared in the same way.
    ///
    /// So drain a queue with the old program before you start the new one:
    ///
    /// 1. With a receiver attached, [close](crate::Sender::close) the queue. No message is accepted from now on, and no
    ///    process can open the queue.
    /// 2. Receive until `Closed` and settle all leases, then read the [dead letters](crate::Receiver::dead_letters).
    /// 3. Drop all ends in all processes, and [remove](crate::queue::remove_named) the queue.
    /// 4. Start the new program, which makes its own queue.
    ///
    /// To upgrade without a pause, put a version into the name: new programs use `jobs-v2` while old ones drain
    /// `jobs-v1`. If no program of the old version is left, its queue can only be thrown away, with the messages in it:
    /// neither [`remove_named`] of another version nor
    /// [`named_queues`] can tell whether a process uses it, so delete the file
    /// `/dev/shm/workring-USERID-NAME`.
    ///
    /// # Errors
    ///
    /// [`CreateNamedError`]: the name is invalid or exists already, or one of the reasons of
    /// [`channel`](Options::channel).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, Receiver, Sender};
    ///
    /// let name = format!("example-{}", std::process::id());
    /// let (tx, rx) = Options::new(16).create_named::<String>(&name)?;
    /// tx.send("kept".to_owned())?;
    /// drop((tx, rx)); // the queue stays
    ///
    /// // In any process of this user, at any later time:
    /// let receiver: Receiver<String> = workring::open(&name)?;
    /// let sender: Sender<String> = workring::open(&name)?;
    /// assert_eq!(receiver.recv()?, "kept");
    ///
    /// // When no process needs it any more:
    /// drop((receiver, sender));
    /// workring::queue::remove_named(&name)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[allow(
        clippy::type_complexity,
        reason = "a pair of two handles, spelt out once"
    )]
    pub fn create_named<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<(Sender<T>, Receiver<T>), CreateNamedError> {
        self.create_named_with::<T, Bincode>(name)
    }

    /// Creates a queue with a name, as [`create_named`](Options::create_named) does, for messages that `C` encodes.
    ///
    /// # Errors
    ///
    /// The same as `create_named`.
    #[allow(
        clippy::type_complexity,
        reason = "a pair of two handles, spelt out once"
    )]
    pub fn create_named_with<T, C: Codec<T>>(
        &self,
        name: &str,
    ) -> Result<(Sender<T, C>, Receiver<T, C>), CreateNamedError> {
        if !is_name(name) {
            let name = name.to_owned();
            return Err(CreateNamedError::InvalidName { name });
        }
        let settings = self.settings::<T>(C::NAME, false)?;
        let already_exists = || CreateNamedError::AlreadyExists {
            name: name.to_owned(),
        };
        // Only saves work: `publish` below decides.
        if named::exists(name) {
            return Err(already_exists());
        }
        let segment = Segment::create_draft(settings).map_err(not_made)?;
        let attachment = Attachment::create(segment).map_err(option_checks::not_attached)?;
        // The queue gets its name when it is complete and this process is attached to it.
        let published = named::publish(attachment.file(), name);
        let published = published.map_err(|source| CreateError::Os {
            what: "the queue could not be given its name",
            source,
        })?;
        if !published {
            return Err(already_exists());
        }
        let attachment = Arc::new(attachment);
        Ok((
            Sender::counted(Arc::clone(&attachment)),
            Receiver::counted(attachment),
        ))
    }
}

fn is_name(name: &str) -> bool {
    is_plain(name) && name.len() <= MAX_NAME_LEN
}

/// Opens one end of a queue that a process of this user has made with [`create_named`](Options::create_named).
///
/// The type says which end: a [`Sender`] or a [`Receiver`], with the message type and the codec that the queue was made
/// with. Recovers first what dead processes have left in the queue. Waits only while another process checks whether the
/// queue can be removed, and at most one second.
///
/// # Errors
///
/// [`OpenError`]: no queue has this name, the file belongs to another user or is no queue, the queue does not fit this
/// program, is closed, or has a full table of peers.
///
/// # Examples
///
/// See [`create_named`](Options::create_named).
pub fn open<E: End>(name: &str) -> Result<E, OpenError> {
    open_end(name, None)
}

/// Opens one end as [`open`] does, of a queue that was made with this [schema](Options::schema).
///
/// # Errors
///
/// The same as [`open`]; also [`OpenError::Schema`] if the schemas differ.
pub fn open_as<E: End>(name: &str, schema: &str) -> Result<E, OpenError> {
    open_end(name, Some(schema))
}

fn open_end<E: End>(name: &str, schema: Option<&str>) -> Result<E, OpenError> {
    let file = open_file(name)?;
    lock_against_removal(&file, name)?;
    let segment = attach(file)?;
    compatibility::check::<E>(&segment, schema)?;
    let EndRole(role) = E::ROLE;
    let attachment = Attachment::join(segment, Roles::only(role)).map_err(not_attached)?;
    // From now on, a process that wants to remove the queue finds this one in the table of peers.
    named::unlock(attachment.file()).map_err(not_locked)?;
    Ok(E::from_attachment(AnyAttachment(attachment)))
}

/// How long to wait for a process that checks whether the queue can be removed. If that process takes longer, it was
/// probably stopped.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Locks the file so that the queue is not removed. Fails if it is removed already.
fn lock_against_removal(file: &OwnedFd, name: &str) -> Result<(), OpenError> {
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

fn not_found(name: &str) -> OpenError {
    OpenError::NotFound {
        name: name.to_owned(),
    }
}

fn not_locked(source: io::Error) -> OpenError {
    OpenError::Os {
        what: "the queue's file could not be locked",
        source,
    }
}

fn open_file(name: &str) -> Result<OwnedFd, OpenError> {
    if !is_name(name) {
        let name = name.to_owned();
        return Err(OpenError::InvalidName { name });
    }
    named::open(name).map_err(|error| match error {
        NamedFileError::NotFound => not_found(name),
        NamedFileError::NotPrivate { owner, mode } => OpenError::NotPrivate { owner, mode },
        NamedFileError::NotAFile => OpenError::NotAQueue {
            what: "it is not a file",
        },
        NamedFileError::Os(source) => OpenError::Os {
            what: "the queue's file could not be opened",
            source,
        },
    })
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

pub(super) fn attach(file: OwnedFd) -> Result<Segment, OpenError> {
    Segment::attach(file).map_err(|error| match error {
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
    })
}

/// Returns the number of processes that are attached to a queue or were given an end of it.
fn count_processes(segment: &Segment) -> Result<usize, OpenError> {
    let own = identity::current().map_err(|source| OpenError::Os {
        what: "this process could not be identified",
        source,
    })?;
    Ok(segment.count_live_peers(&own))
}

/// A named queue of this user, or another file that has such a name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedQueue {
    /// The name.
    pub name: String,
    /// The number of processes that are attached to it or were given an end of it. A process that has opened it twice
    /// counts twice. `Some(0)`: it can be removed. `None`: it cannot be examined; the error of [`open`] says why.
    pub processes: Option<usize>,
}

/// Lists the named queues of this user, and other files that have such names, in the order of their names.
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
    let names = named::list()?.into_iter();
    let describe = |name: String| {
        let processes = open_file(&name)
            .and_then(attach)
            .and_then(|segment| count_processes(&segment));
        match processes {
            // It was removed after `list` had found it.
            Err(OpenError::NotFound { .. }) => None,
            processes => Some(NamedQueue {
                name,
                processes: processes.ok(),
            }),
        }
    };
    Ok(names.filter_map(describe).collect())
}

/// Removes a named queue that no process is attached to, with the messages in it. Never waits.
///
/// Removes also a private file that has the name of a queue and is none. Does not remove a queue of another version:
/// see the section on upgrading of [`create_named`](Options::create_named).
///
/// # Errors
///
/// [`RemoveError`]: no queue has this name, it is in use, or it cannot be examined. Then it is not removed.
///
/// # Examples
///
/// See [`named_queues`] and [`create_named`](Options::create_named).
pub fn remove_named(name: &str) -> Result<(), RemoveError> {
    let file = open_file(name)?;
    // Shares the open file description with `file`, so that the lock outlives the segment.
    let lock = file.try_clone().map_err(not_locked)?;
    let segment = match attach(file) {
        Ok(segment) => Some(segment),
        Err(OpenError::NotAQueue { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let check = || match segment.as_ref().map_or(Ok(0), count_processes)? {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_fails_while_a_stopped_process_removes_the_queue() {
        let name = format!("unit-removal-{}", std::process::id());
        drop(Options::new(1).create_named::<u8>(&name).expect("a queue"));
        let remover = named::open(&name).expect("a file");
        assert!(named::try_lock_exclusive(&remover).expect("lock"));
        let error = open::<Sender<u8>>(&name).expect_err("it is being removed");
        assert!(matches!(error, OpenError::BeingRemoved { .. }), "{error:?}");
        let error = remove_named(&name).expect_err("it is being removed");
        assert!(matches!(error, RemoveError::InUse { .. }), "{error:?}");
        drop(remover);
        drop(open::<Sender<u8>>(&name).expect("the remover has ended"));
        remove_named(&name).expect("no process is attached");
    }

    /// The steps that the documentation of `create_named` gives for an upgrade.
    #[test]
    fn a_queue_that_was_drained_can_be_made_again() {
        let name = format!("unit-drain-{}", std::process::id());
        let old = Options::new(4).schema("job.v1");
        let (tx, rx) = old.create_named::<u8>(&name).expect("a queue");
        tx.send(7).expect("room");
        tx.close();
        let error = open_as::<Sender<u8>>(&name, "job.v1").expect_err("it is closed");
        assert!(matches!(error, OpenError::Closed), "{error:?}");
        assert_eq!(rx.iter().collect::<Result<Vec<_>, _>>(), Ok(vec![7]));
        drop((tx, rx));
        remove_named(&name).expect("no process is attached");
        let new = Options::new(4).schema("job.v2");
        drop(new.create_named::<u16>(&name).expect("a queue"));
        remove_named(&name).expect("no process is attached");
    }
}
