//! Errors of giving an end of a queue to a child process, and of inheriting it there.

use super::MemoryLimit;
use super::equality::impl_eq;
use super::memory::no_memory;
use super::text::{self, CLOSED, FORKED, corrupt};
use core::fmt;
use std::error::Error;
use std::io;

/// The error of a [`Handoff`](crate::Handoff): an end of a queue could not be given to a child process.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandoffError {
    /// A name must be one or more letters, digits, `-`, `_` and `.`, and each may be given once.
    #[non_exhaustive]
    InvalidName {
        /// The name.
        name: String,
    },
    /// The queue is closed: a child could not use it.
    Closed,
    /// This process is a forked child of the one that is attached to the queue. Nothing was done.
    Forked,
    /// The queue's table of peers is full: it counts the processes that are attached and those that were given an end.
    /// End one of them, or drop a [`Handoff`](crate::Handoff) that was not spawned, and try again.
    #[non_exhaustive]
    TooManyPeers {
        /// How many processes the table has room for.
        max: usize,
    },
    /// There is no memory for another entry in the queue's table of peers.
    #[non_exhaustive]
    NoMemory {
        /// Which limit leaves too little.
        limit: MemoryLimit,
        /// How many bytes were needed.
        wanted: u64,
        /// How many bytes the limit leaves.
        available: u64,
    },
    /// The shared memory contains something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
    /// The operating system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl HandoffError {
    /// Returns whether the queue is closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl_eq!(HandoffError {
    InvalidName { name },
    Closed,
    Forked,
    TooManyPeers { max },
    NoMemory {
        limit,
        wanted,
        available
    },
    Corrupt { what },
    Os { what, source },
});

impl fmt::Display for HandoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName { name } => write!(
                f,
                "{name:?} can't name a hand-off: use letters, digits, `-`, `_` and `.`, and each name once"
            ),
            Self::Closed => f.write_str(CLOSED),
            Self::Forked => f.write_str(FORKED),
            Self::TooManyPeers { max } => write!(
                f,
                "{max} processes are attached to the queue, as many as can be: end one of them, or drop a hand-off \
                 that was not spawned"
            ),
            Self::NoMemory {
                limit,
                wanted,
                available,
            } => no_memory(f, *limit, *wanted, *available),
            Self::Corrupt { what } => corrupt(f, what),
            Self::Os { what, source } => text::os(f, what, source),
        }
    }
}

impl Error for HandoffError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The error of [`inherit`](crate::inherit()): this process could not inherit an end of a queue.
#[derive(Debug)]
#[non_exhaustive]
pub enum InheritError {
    /// This process was given nothing of that name.
    #[non_exhaustive]
    NotGiven {
        /// The name that was asked for.
        name: String,
        /// The names that it was given.
        given: Vec<String>,
    },
    /// The end was inherited before, by this process or another one.
    #[non_exhaustive]
    AlreadyTaken {
        /// The name.
        name: String,
    },
    /// The parent gave the other end, or something else.
    #[non_exhaustive]
    WrongEnd {
        /// The name.
        name: String,
        /// What the parent gave: `"Sender"`, `"Receiver"` or, if it is no end of a queue at all, `"file"`.
        given: &'static str,
    },
    /// What was inherited is no queue of this crate.
    #[non_exhaustive]
    NotAQueue {
        /// Why not.
        what: &'static str,
    },
    /// The queue was made by another version of this crate.
    #[non_exhaustive]
    Version {
        /// The version of the queue.
        theirs: u64,
        /// The version of this process.
        ours: u64,
    },
    /// The queue has another memory layout than this build of the crate expects.
    #[non_exhaustive]
    Layout {
        /// The fingerprint of the queue's layout.
        theirs: u64,
        /// The fingerprint of this process's layout.
        ours: u64,
    },
    /// The queue carries messages of another type.
    #[non_exhaustive]
    Type {
        /// The type of the queue.
        theirs: String,
        /// The type that this process expects.
        ours: String,
    },
    /// The queue has another codec.
    #[non_exhaustive]
    Codec {
        /// The codec of the queue.
        theirs: String,
        /// The codec that this process expects.
        ours: String,
    },
    /// The queue has another schema than this process names, or only one of the two has any.
    #[non_exhaustive]
    Schema {
        /// The schema of the queue. `None`: it has none. Of a name of more than 256 bytes this is the end.
        theirs: Option<String>,
        /// The schema that this process names. `None`: it names none.
        ours: Option<String>,
    },
    /// There is not enough room to map the queue.
    #[non_exhaustive]
    NoMemory {
        /// Which limit leaves too little.
        limit: MemoryLimit,
        /// How many bytes were needed.
        wanted: u64,
        /// How many bytes the limit leaves.
        available: u64,
    },
    /// The operating system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl_eq!(InheritError {
    NotGiven { name, given },
    AlreadyTaken { name },
    WrongEnd { name, given },
    NotAQueue { what },
    Version { theirs, ours },
    Layout { theirs, ours },
    Type { theirs, ours },
    Codec { theirs, ours },
    Schema { theirs, ours },
    NoMemory {
        limit,
        wanted,
        available
    },
    Os { what, source },
});

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGiven { name, given } if given.is_empty() => write!(
                f,
                "this process was given no queue, {name:?} included: start it with `Handoff::spawn`"
            ),
            Self::NotGiven { name, given } => write!(
                f,
                "this process was given no {name:?}, but {}: ask for one of these",
                given.join(", ")
            ),
            Self::AlreadyTaken { name } => write!(
                f,
                "{name:?} was inherited before: clone what that call returned"
            ),
            Self::WrongEnd { name, given } => write!(f, "{name:?} is a {given}: ask for that"),
            Self::NotAQueue { what } => write!(
                f,
                "what was inherited is no queue of this crate ({what}): give an end with `Handoff::give`"
            ),
            Self::Version { theirs, ours } => text::version(f, *theirs, *ours),
            Self::Layout { theirs, ours } => text::layout(f, *theirs, *ours),
            Self::Type { theirs, ours } => text::message_type(f, theirs, ours),
            Self::Codec { theirs, ours } => text::codec(f, theirs, ours),
            Self::Schema { theirs, ours } => text::schema(f, theirs.as_deref(), ours.as_deref()),
            Self::NoMemory {
                limit,
                wanted,
                available,
            } => no_memory(f, *limit, *wanted, *available),
            Self::Os { what, source } => text::os(f, what, source),
        }
    }
}

impl Error for InheritError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}
