//! The child's side of a hand-off: takes over what the parent has given.

use super::manifest::{self, Entry, Kind, VARIABLE};
use crate::error::InheritError;
use crate::error::OutOfMemory;
use crate::os::{descriptor, identity};
use crate::protocol::SharedState;
use crate::protocol::ids::PeerIndex;
use crate::protocol::peers::{Incarnation, PeerEntry, PeerKind, PeerState, Role};
use crate::queue::attachment::Attachment;
use crate::queue::compatibility;
use crate::queue::end::End;
use crate::queue::end::sealed::{AnyAttachment, EndRole};
use crate::segment::{AttachError, Segment};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::os::fd::{OwnedFd, RawFd};

/// The descriptors that this process has taken over. Taking one a second time would close it under its owner.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Returns the entry for `name`.
fn find(name: &str) -> Result<Entry, InheritError> {
    let entries = manifest::parse(&std::env::var(VARIABLE).unwrap_or_default());
    let names = entries.iter().map(|entry| entry.name.clone()).collect();
    let found = entries.into_iter().find(|entry| entry.name == name);
    found.ok_or_else(|| InheritError::NotGiven {
        name: name.to_owned(),
        given: names,
    })
}

/// Returns the error for a caller that expects something else under this name.
fn wrong_end(entry: Entry) -> InheritError {
    InheritError::WrongEnd {
        given: entry.kind.as_str(),
        name: entry.name,
    }
}

fn already_taken(entry: &Entry) -> InheritError {
    InheritError::AlreadyTaken {
        name: entry.name.clone(),
    }
}

/// Takes over the descriptor: this process owns it from now on, and programs that it starts do not inherit it.
fn take(entry: &Entry) -> Result<OwnedFd, InheritError> {
    let mut taken = TAKEN.lock();
    if taken.contains(&entry.descriptor) {
        return Err(already_taken(entry));
    }
    // In a program that the child has started, the number may mean no file, or another one: the child has taken it.
    let file = descriptor::take_inherited(entry.descriptor, entry.inode);
    let file = file.map_err(|_| already_taken(entry))?;
    taken.insert(entry.descriptor);
    Ok(file)
}

/// Returns another descriptor of the same file, unless this process has taken over the one that was given.
fn duplicate(entry: &Entry) -> Result<OwnedFd, InheritError> {
    let taken = TAKEN.lock();
    if taken.contains(&entry.descriptor) {
        return Err(already_taken(entry));
    }
    let file = descriptor::duplicate_inherited(entry.descriptor, entry.inode);
    file.map_err(|_| already_taken(entry))
}

/// Takes over the descriptor that the parent gave under `name` with `Handoff::give_fd`.
pub(crate) fn inherit_fd(name: &str) -> Result<OwnedFd, InheritError> {
    let entry = find(name)?;
    match entry.kind {
        Kind::File => take(&entry),
        Kind::End { .. } => Err(wrong_end(entry)),
    }
}

/// Duplicates the descriptor that the parent gave under `name` with `Handoff::give_fd`, and leaves the original to
/// [`inherit_fd`].
pub(crate) fn borrow_fd(name: &str) -> Result<OwnedFd, InheritError> {
    let entry = find(name)?;
    match entry.kind {
        Kind::File => duplicate(&entry),
        Kind::End { .. } => Err(wrong_end(entry)),
    }
}

/// Takes over the end of a queue that the parent gave this process under `name`.
///
/// The type says which end: a [`Sender`](crate::Sender) or a [`Receiver`](crate::Receiver), with the message type and
/// the codec that the queue was made with. Never waits for other processes. From now on, programs that this process
/// starts do not inherit the queue's descriptor.
///
/// # Errors
///
/// [`InheritError`]: nothing was given under that name, it was taken over before, it is the other end, or the queue does
/// not fit this program.
///
/// # Examples
///
/// See [`Handoff`](crate::Handoff).
pub fn inherit<E: End>(name: &str) -> Result<E, InheritError> {
    inherit_end(name, None, false)
}

/// Takes over an end as [`inherit`] does, of a queue that was made with this
/// [schema](crate::Options::schema).
///
/// # Errors
///
/// The same as [`inherit`]; also [`InheritError::Schema`] if the schemas differ.
pub fn inherit_as<E: End>(name: &str, schema: &str) -> Result<E, InheritError> {
    inherit_end(name, Some(schema), false)
}

/// Takes over an end as [`inherit_as`] does, of a queue whose owner reports the deaths of its peers: this process emits no
/// events of them.
pub(crate) fn inherit_silent<E: End>(name: &str, schema: &str) -> Result<E, InheritError> {
    inherit_end(name, Some(schema), true)
}

fn inherit_end<E: End>(
    name: &str,
    schema: Option<&str>,
    is_silent: bool,
) -> Result<E, InheritError> {
    let entry = find(name)?;
    let EndRole(role) = E::ROLE;
    let (peer, incarnation) = match entry.kind {
        Kind::End {
            role: given,
            peer,
            incarnation,
        } if given == role => (peer, incarnation),
        _ => return Err(wrong_end(entry)),
    };
    let segment = attach(take(&entry)?)?;
    if is_silent {
        segment.silence_deaths();
    }
    redeem(segment, peer, incarnation, name, schema)
}

/// Maps the queue of a file that this process was given.
pub(in crate::queue) fn attach(file: OwnedFd) -> Result<Segment, InheritError> {
    Segment::attach(file).map_err(not_mapped)
}

/// Makes the end of a queue that a ticket is for. The segment's file must be the open file description that has the
/// ticket's lock.
pub(in crate::queue) fn redeem<E: End>(
    segment: Segment,
    peer: PeerIndex,
    incarnation: Incarnation,
    name: &str,
    schema: Option<&str>,
) -> Result<E, InheritError> {
    let EndRole(role) = E::ROLE;
    let already_taken = || InheritError::AlreadyTaken {
        name: name.to_owned(),
    };
    let ticket = find_ticket(&segment, peer, incarnation, role).ok_or_else(already_taken)?;
    let identity = identity::current().map_err(|source| InheritError::Os {
        what: "this process could not be identified",
        source,
    })?;
    let compatible = compatibility::check::<E>(&segment, schema);
    // A process that does not fit attaches all the same, and leaves as every other process does.
    let attachment = Attachment::redeem(segment, peer, ticket, role, identity)
        .map_err(|corrupt| InheritError::NotAQueue {
            what: corrupt.what(),
        })?
        .ok_or_else(already_taken)?;
    let end = E::from_attachment(AnyAttachment(attachment));
    compatible.map(|()| end).map_err(InheritError::from)
}

/// Returns the ticket that the parent made, if no process has used it.
fn find_ticket(
    segment: &Segment,
    peer: PeerIndex,
    incarnation: Incarnation,
    role: Role,
) -> Option<PeerState> {
    let found = segment.peer(peer).map(PeerEntry::load)?;
    let is_it = found.kind() == Some(PeerKind::Ticket)
        && found.incarnation() == incarnation
        && found.roles().has(role);
    is_it.then_some(found)
}

fn not_mapped(error: AttachError) -> InheritError {
    match error {
        AttachError::NotASegment(what) => InheritError::NotAQueue { what },
        AttachError::Version { theirs, ours } => InheritError::Version { theirs, ours },
        AttachError::Layout { theirs, ours } => InheritError::Layout { theirs, ours },
        AttachError::NoMemory(OutOfMemory {
            limit,
            wanted,
            available,
        }) => InheritError::NoMemory {
            limit,
            wanted,
            available,
        },
        AttachError::Os(source) => InheritError::Os {
            what: "the queue could not be mapped",
            source,
        },
    }
}
