//! The list of what a child was given, in an environment variable that the parent writes and the child reads.
//!
//! The value of [`VARIABLE`] has one entry for each name, separated by `;`:
//!
//! | given             | entry                                                                  |
//! |-------------------|------------------------------------------------------------------------|
//! | an end of a queue | `NAME=Sender,DESCRIPTOR,INODE,PEER,INCARNATION`, or `Receiver`           |
//! | any other file    | `NAME=file,DESCRIPTOR,INODE`                                           |
//!
//! By the inode the child checks that the descriptor's number still means the file that it was given: programs that the
//! child starts see the variable too, and may have files of their own under these numbers.

use crate::protocol::ids::PeerIndex;
use crate::protocol::peers::{Incarnation, Role};
use core::fmt;
use std::os::fd::RawFd;

/// The name of the environment variable.
pub(super) const VARIABLE: &str = "WORKRING_INHERIT";

/// The kind of an entry that is not an end of a queue.
pub(super) const FILE: &str = "file";

/// One name, and what was given under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) descriptor: RawFd,
    pub(super) inode: u64,
    pub(super) kind: Kind,
}

/// What a descriptor is open for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    End {
        role: Role,
        peer: PeerIndex,
        incarnation: Incarnation,
    },
    File,
}

impl Kind {
    /// Returns the word for it in an entry, and in error messages.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::End { role, .. } => role_name(role),
            Self::File => FILE,
        }
    }
}

pub(in crate::queue) const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Sender => "Sender",
        Role::Receiver => "Receiver",
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.as_str();
        let (name, descriptor, inode) = (&self.name, self.descriptor, self.inode);
        write!(f, "{name}={kind},{descriptor},{inode}")?;
        match self.kind {
            Kind::End {
                peer, incarnation, ..
            } => write!(f, ",{},{}", peer.get(), incarnation.get()),
            Kind::File => Ok(()),
        }
    }
}

impl Entry {
    /// Returns `None` for a text that no parent writes.
    fn parse(text: &str) -> Option<Self> {
        let (name, rest) = text.split_once('=')?;
        let mut parts = rest.split(',');
        let kind = parts.next()?;
        let (descriptor, inode) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let kind = if kind == FILE {
            Kind::File
        } else {
            Kind::End {
                role: [Role::Sender, Role::Receiver]
                    .into_iter()
                    .find(|&role| role_name(role) == kind)?,
                peer: PeerIndex::new(parts.next()?.parse().ok()?)?,
                incarnation: Incarnation::new(parts.next()?.parse().ok()?),
            }
        };
        let entry = Self {
            name: name.to_owned(),
            descriptor,
            inode,
            kind,
        };
        parts.next().is_none().then_some(entry)
    }
}

/// Returns the value of the variable for these entries.
pub(super) fn to_text(entries: &[Entry]) -> String {
    let entries: Vec<String> = entries.iter().map(Entry::to_string).collect();
    entries.join(";")
}

/// Returns the entries of the variable's value, without those that make no sense.
pub(super) fn parse(text: &str) -> Vec<Entry> {
    text.split(';').filter_map(Entry::parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parent_writes_the_child_reads() {
        let entry = |name: &str, kind| Entry {
            name: name.to_owned(),
            descriptor: 7,
            inode: 4711,
            kind,
        };
        let end = |role| Kind::End {
            role,
            peer: PeerIndex::FIRST,
            incarnation: Incarnation::new(9),
        };
        let entries = [
            entry("tasks", end(Role::Receiver)),
            entry("link", Kind::File),
            entry("results", end(Role::Sender)),
        ];
        let text = to_text(&entries);
        let expected = "tasks=Receiver,7,4711,0,9;link=file,7,4711;results=Sender,7,4711,0,9";
        assert_eq!(text, expected);
        assert_eq!(parse(&text), entries);
    }

    #[test]
    fn entries_that_make_no_sense_are_left_out() {
        let nonsense = "a;b=file,x,1;c=file,1;d=Sender,1,2,3;e=Sender,1,2,1024,4;f=file,1,2,3;g=Reader,1,2,3,4";
        assert_eq!(parse(nonsense), []);
        assert_eq!(parse(""), []);
    }
}
