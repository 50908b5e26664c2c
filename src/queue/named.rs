//! Queues that unrelated processes open by name, and that outlive all of them.
//!
//! A name stands for a file in `/dev/shm`; [`crate::os::named`] has the rules of its life. What is in it, and what
//! processes do with it, is the same as for every other queue.

use super::attachment::{Attachment, Refused};
use super::end::End;
use super::end::sealed::{AnyAttachment, EndRole};
use super::name::is_plain;
use super::options::{self, Options, not_made};
use super::{Receiver, Sender, compatibility};
use crate::codec::{Bincode, Codec};
use crate::error::{CreateError, CreateNamedError, OpenError, RemoveError};
use crate::os::budget::OutOfMemory;
use crate::os::identity;
use crate::os::named::{self, NamedFileError};
use crate::protocol::ids::PeerIndex;
use crate::protocol::peers::Roles;
use crate::segment::{AttachError, Segment};
use core::any::type_name;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// In bytes. With what stands before it a file's name may have 255.
const LONGEST_NAME: usize = 200;

impl Options {
    /// Make a queue with a name, for messages of any serde type.
    ///
    /// Any process of the same user can [`open`](crate::open()) it, whoever started it. It appears under its name
    /// whole and at once, or not at all. It lasts, with the messages in it, until it is
    /// [removed](crate::queue::remove_named) or the machine is started again: the end of a process, or of all of them,
    /// does not change that. So the last sender and the last receiver to go do not close it either, unless
    /// [`close_on_last_sender`](Options::close_on_last_sender) or
    /// [`close_on_last_receiver`](Options::close_on_last_receiver) says so. Once it is closed, nobody can open it.
    ///
    /// The name has 1 to 200 letters, digits, `-`, `_` and `.`; names of different users do not meet. The queue lies
    /// in `/dev/shm`, as a file of mode 0600: its size there counts. A process of the same user that writes to that
    /// file, or cuts it off, harms everybody who is attached.
    ///
    /// # Errors
    ///
    /// [`CreateNamedError`]: the name can't be used, or is used already; or what keeps other queues from being made.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, Receiver, Sender};
    ///
    /// let name = format!("example-{}", std::process::id());
    /// let (tx, rx) = Options::new(16).create_named::<String>(&name)?;
    /// tx.send("kept".to_owned())?;
    /// drop((tx, rx)); // or the end of this process, whichever way
    ///
    /// // Any other process, at any later time:
    /// let receiver: Receiver<String> = workring::open(&name)?;
    /// let sender: Sender<String> = workring::open(&name)?;
    /// assert_eq!(receiver.recv()?, "kept");
    ///
    /// // Whoever is the last:
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

    /// As [`create_named`](Options::create_named), for messages that `C` encodes.
    ///
    /// # Errors
    ///
    /// As `create_named`.
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
        let settings = self.settings(type_name::<T>(), C::NAME, false)?;
        let taken = || CreateNamedError::AlreadyExists {
            name: name.to_owned(),
        };
        // Only to save the work: what decides is the publishing.
        if named::exists(name) {
            return Err(taken());
        }
        let segment = Segment::create_draft(settings).map_err(not_made)?;
        let attachment = Attachment::create(segment).map_err(options::not_attached)?;
        // Nobody sees the queue before it is complete, and has somebody attached.
        let published = named::publish(attachment.segment().file(), name);
        let published = published.map_err(|source| CreateError::Os {
            what: "the queue could not be given its name",
            source,
        })?;
        if !published {
            return Err(taken());
        }
        let attachment = Arc::new(attachment);
        Ok((
            Sender::counted(Arc::clone(&attachment)),
            Receiver::counted(attachment),
        ))
    }
}

fn is_name(name: &str) -> bool {
    is_plain(name) && name.len() <= LONGEST_NAME
}

/// Open one end of a queue that some process of this user has made with
/// [`create_named`](Options::create_named).
///
/// The type says which end: a [`Sender`] or a [`Receiver`], of the very message type and codec that the queue was
/// made with. What processes that have died have left undone is repaired first. Waits for others only if somebody is
/// just looking whether the queue can be removed, and at the most a second.
///
/// # Errors
///
/// [`OpenError`]: there is none, it belongs to somebody else, it is no queue, does not fit this program, is closed,
/// or has no row left for another process.
///
/// # Examples
///
/// See [`create_named`](Options::create_named).
pub fn open<E: End>(name: &str) -> Result<E, OpenError> {
    open_expecting(name, None)
}

/// As [`open`], for a queue that was made with [`Options::schema`].
///
/// # Errors
///
/// As [`open`], and [`OpenError::Schema`] if the schemas differ.
pub fn open_as<E: End>(name: &str, schema: &str) -> Result<E, OpenError> {
    open_expecting(name, Some(schema))
}

fn open_expecting<E: End>(name: &str, schema: Option<&str>) -> Result<E, OpenError> {
    let file = open_file(name)?;
    enter(&file, name)?;
    let segment = attach(file)?;
    compatibility::check::<E>(&segment, schema)?;
    let EndRole(role) = E::ROLE;
    let attachment = Attachment::join(segment, Roles::only(role)).map_err(not_attached)?;
    // Whoever would remove the queue finds somebody attached from now on.
    named::unlock(attachment.segment().file()).map_err(not_locked)?;
    Ok(E::from_attachment(AnyAttachment(attachment)))
}

/// How long somebody may take to look whether a queue can be removed: he has been stopped, if it is longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Keep the queue from being removed, unless it is already.
fn enter(file: &OwnedFd, name: &str) -> Result<(), OpenError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let held = named::try_lock_shared(file).map_err(not_locked)?;
        if !named::has_name(file).map_err(not_locked)? {
            return Err(not_found(name));
        }
        if held {
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
    named::open(name).map_err(|obstacle| match obstacle {
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

/// What to say to whoever gets no row.
pub(super) fn not_attached(refused: Refused) -> OpenError {
    match refused {
        Refused::Closed => OpenError::Closed,
        Refused::TooManyPeers => OpenError::TooManyPeers {
            max: usize::from(PeerIndex::COUNT),
        },
        Refused::Corrupt(corrupt) => OpenError::NotAQueue {
            what: corrupt.what(),
        },
        Refused::Forked => OpenError::NotAQueue {
            what: "its mapping belongs to another process",
        },
        Refused::Os(source) => OpenError::Os {
            what: "the queue could not be attached to",
            source,
        },
    }
}

pub(super) fn attach(file: OwnedFd) -> Result<Segment, OpenError> {
    Segment::attach(file).map_err(|refusal| match refusal {
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

/// How many processes are attached to a queue, or were given an end of it.
fn count_living(segment: &Segment) -> Result<usize, OpenError> {
    let me = identity::current().map_err(|source| OpenError::Os {
        what: "this process could not be identified",
        source,
    })?;
    Ok(segment.count_live_peers(&me))
}

/// What there is under one name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NamedQueue {
    /// The name.
    pub name: String,
    /// How many processes are attached to it, or were given an end of it; 0: it can be removed. One that has opened
    /// it twice counts twice. `None`: it can't be looked at, and [`open`] says why.
    pub processes: Option<usize>,
}

/// The named queues of this user, in order of their names, and whatever else has such a name.
///
/// # Errors
///
/// `/dev/shm` can't be read.
///
/// # Examples
///
/// Remove those that nobody is attached to, for example because all processes were killed, and that are this
/// program's own:
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
            .and_then(|segment| count_living(&segment));
        match processes {
            // It has been removed meanwhile.
            Err(OpenError::NotFound { .. }) => None,
            processes => Some(NamedQueue {
                name,
                processes: processes.ok(),
            }),
        }
    };
    Ok(names.filter_map(describe).collect())
}

/// Remove a named queue that no process is attached to, with the messages in it. Never waits.
///
/// A private file that has the name of a queue and is none goes, too. A queue of another version of this crate does not: remove it
/// with a program that has that version, or remove `/dev/shm/workring-USERID-NAME` yourself.
///
/// # Errors
///
/// [`RemoveError`]: there is none, it is in use, or it can't be looked at. Then it is still there.
///
/// # Examples
///
/// See [`named_queues`] and [`create_named`](Options::create_named).
pub fn remove_named(name: &str) -> Result<(), RemoveError> {
    let file = open_file(name)?;
    // Of the same description, so that the door stays barred to the end.
    let door = file.try_clone().map_err(not_locked)?;
    let segment = match attach(file) {
        Ok(segment) => Some(segment),
        Err(OpenError::NotAQueue { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let check = || match segment.as_ref().map_or(Ok(0), count_living)? {
        0 => Ok(()),
        processes => Err(RemoveError::InUse { processes }),
    };
    // Who comes now waits at the door: so it is barred only if it will most likely be for good.
    check()?;
    if !named::try_lock_exclusive(&door).map_err(not_locked)? {
        return Err(RemoveError::InUse { processes: 1 });
    }
    let removed = check().and_then(|()| unlink(&door, name));
    // Not left to the closing of the file: a child that was forked meanwhile has it open, too.
    let _ = named::unlock(&door);
    removed
}

/// Behind the barred door: the name still leads to this file, unless it was removed before.
fn unlink(file: &OwnedFd, name: &str) -> Result<(), RemoveError> {
    if !named::has_name(file).map_err(not_locked)? {
        return Err(not_found(name).into());
    }
    named::unlink(name).map_err(|source| {
        RemoveError::Open(OpenError::Os {
            what: "the queue's name could not be taken away",
            source,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By a process that was stopped, as far as others can tell.
    #[test]
    fn a_removal_that_takes_for_ever_is_an_error_of_those_who_open() {
        let name = format!("unit-removal-{}", std::process::id());
        drop(Options::new(1).create_named::<u8>(&name).expect("a queue"));
        let remover = named::open(&name).expect("it is there");
        assert!(named::try_lock_exclusive(&remover).expect("lock"));
        let refused = open::<Sender<u8>>(&name).expect_err("it is being removed");
        assert!(
            matches!(refused, OpenError::BeingRemoved { .. }),
            "{refused:?}"
        );
        let refused = remove_named(&name).expect_err("it is being removed");
        assert!(matches!(refused, RemoveError::InUse { .. }), "{refused:?}");
        drop(remover);
        drop(open::<Sender<u8>>(&name).expect("the remover has died"));
        remove_named(&name).expect("nobody has it");
    }
}
