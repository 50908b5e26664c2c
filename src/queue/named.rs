//! Named queues: unrelated processes open them by name, and they outlive all of these processes.
//!
//! The queue of a name is a segment in a file in `/dev/shm`. [`crate::os::named`] has the rules by which such a file is
//! made, locked and removed. The segment itself, and the operations on it, are those of every other queue.

use super::attachment::Attachment;
use super::end::End;
use super::end::sealed::{AnyAttachment, EndRole};
use super::listing::remove_leftovers;
use super::named_file::{self, MAILBOX_MARK, is_name};
use super::option_checks::{self, not_made};
use super::options::Options;
use super::{Receiver, Sender, compatibility};
use crate::codec::{Bincode, Codec};
use crate::error::{CreateError, CreateNamedError, OpenError};
use crate::os::named;
use crate::protocol::peers::Roles;
use crate::segment::Segment;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

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
    /// neither [`remove_named`](crate::queue::remove_named) of another version nor
    /// [`named_queues`](crate::queue::named_queues) can tell whether a process uses it, so delete the file
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
        let _ = remove_leftovers();
        // Only saves work: `publish` below decides.
        if named::exists(name) {
            return Err(already_exists(name));
        }
        let segment = Segment::create_draft(settings).map_err(not_made)?;
        let attachment = attach_and_name(segment, name, |file| named::publish(file, name))?;
        Ok(both_ends(attachment))
    }
}

/// Attaches this process to the queue that it has made, and then gives the queue its name. So a queue that has a name is
/// complete, and has a process. `publish` returns false if the name exists.
pub(super) fn attach_and_name(
    segment: Segment,
    name: &str,
    publish: impl FnOnce(&OwnedFd) -> io::Result<bool>,
) -> Result<Attachment, CreateNamedError> {
    let attachment = Attachment::create(segment).map_err(option_checks::not_attached)?;
    let published = publish(attachment.file()).map_err(|source| CreateError::Os {
        what: "the queue could not be given its name",
        source,
    })?;
    if !published {
        return Err(already_exists(name));
    }
    named::note_given(name);
    Ok(attachment)
}

fn already_exists(name: &str) -> CreateNamedError {
    CreateNamedError::AlreadyExists {
        name: name.to_owned(),
    }
}

/// Returns a handle of each role, of an attachment that has both.
#[allow(
    clippy::type_complexity,
    reason = "a pair of two handles, spelt out once"
)]
pub(super) fn both_ends<T, C: Codec<T>>(attachment: Attachment) -> (Sender<T, C>, Receiver<T, C>) {
    let attachment = Arc::new(attachment);
    (
        Sender::counted(Arc::clone(&attachment)),
        Receiver::counted(attachment),
    )
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
    if !name.starts_with(MAILBOX_MARK) {
        // For tidiness alone: what cannot be removed now is removed later.
        let _ = remove_leftovers();
    }
    let segment = open_locked(name)?;
    compatibility::check::<E>(&segment, schema)?;
    let EndRole(role) = E::ROLE;
    let attachment = named_file::join(segment, Roles::only(role))?;
    Ok(E::from_attachment(AnyAttachment(attachment)))
}

/// Opens and maps the queue of this name, and locks its file against removal.
pub(super) fn open_locked(name: &str) -> Result<Segment, OpenError> {
    let file = named_file::open_file(name)?;
    named_file::lock_against_removal(&file, name)?;
    named_file::attach(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RemoveError;
    use crate::queue::listing::remove_named;

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
