//! Errors of opening and removing a queue that has a name.

use super::CreateNamedError;
use super::MemoryLimit;
use super::equality::impl_eq;
use super::memory::no_memory;
use super::text::{self, CLOSED};
use core::fmt;
use std::error::Error;
use std::io;

/// The error of [`open`](crate::open()): a queue with a name could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// A name must have 1 to 200 letters, digits, `-`, `_` and `.`.
    #[non_exhaustive]
    InvalidName {
        /// The name.
        name: String,
    },
    /// This user has no queue of that name.
    #[non_exhaustive]
    NotFound {
        /// The name.
        name: String,
    },
    /// Another process is removing the queue, or checks whether it can be removed, and was stopped while it did so. Try
    /// again later.
    #[non_exhaustive]
    BeingRemoved {
        /// The name.
        name: String,
    },
    /// The file of that name belongs to another user, or other users may access it.
    #[non_exhaustive]
    NotPrivate {
        /// The id of the user that the file belongs to.
        owner: u32,
        /// The permissions of the file, as in `chmod(1)`.
        mode: u32,
    },
    /// The file of that name is no queue of this crate.
    #[non_exhaustive]
    NotAQueue {
        /// Why not.
        what: &'static str,
    },
    /// The mapping of the crate `shared_memory` is one of another file than the one that has its name now: the queue was
    /// removed since it was mapped, and another one was made.
    #[non_exhaustive]
    OtherFile {
        /// The name by which that crate has opened the file.
        os_id: String,
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
    /// The queue is closed. Processes that are attached still receive what is left in it.
    Closed,
    /// The queue's table of peers is full: it counts the processes that are attached and those that were given an end.
    #[non_exhaustive]
    TooManyPeers {
        /// How many processes the table has room for.
        max: usize,
    },
    /// There is not enough room to map the queue, or no memory for another entry in its table of peers.
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

impl OpenError {
    /// Returns whether the queue is closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl_eq!(OpenError {
    InvalidName { name },
    NotFound { name },
    BeingRemoved { name },
    NotPrivate { owner, mode },
    NotAQueue { what },
    OtherFile { os_id },
    Version { theirs, ours },
    Layout { theirs, ours },
    Type { theirs, ours },
    Codec { theirs, ours },
    Schema { theirs, ours },
    Closed,
    TooManyPeers { max },
    NoMemory {
        limit,
        wanted,
        available
    },
    Os { what, source },
});

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName { name } => text::invalid_queue_name(f, name),
            Self::NotFound { name } => write!(
                f,
                "this user has no queue {name:?}: make it with `Options::create_named`"
            ),
            Self::BeingRemoved { name } => write!(
                f,
                "a process that is stopped is removing the queue {name:?}: try again later"
            ),
            Self::NotPrivate { owner, mode } => write!(
                f,
                "the queue's file belongs to user {owner} and has mode {mode:04o}: give it to this user, with mode \
                 0600, or choose another name"
            ),
            Self::NotAQueue { what } => write!(
                f,
                "the file of that name is no queue of this crate ({what}): choose another name"
            ),
            Self::OtherFile { os_id } => write!(
                f,
                "the mapping is not of the file that has the name {os_id:?} now: open it again"
            ),
            Self::Version { theirs, ours } => text::version(f, *theirs, *ours),
            Self::Layout { theirs, ours } => text::layout(f, *theirs, *ours),
            Self::Type { theirs, ours } => text::message_type(f, theirs, ours),
            Self::Codec { theirs, ours } => text::codec(f, theirs, ours),
            Self::Schema { theirs, ours } => text::schema(f, theirs.as_deref(), ours.as_deref()),
            Self::Closed => f.write_str(CLOSED),
            Self::TooManyPeers { max } => write!(
                f,
                "{max} processes are attached to the queue, as many as can be: end one of them"
            ),
            Self::NoMemory {
                limit,
                wanted,
                available,
            } => no_memory(f, *limit, *wanted, *available),
            Self::Os { what, source } => text::os(f, what, source),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The error of [`Options::open_or_create_named`](crate::Options::open_or_create_named): a queue with a name could be
/// neither opened nor created.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenOrCreateError {
    /// The queue exists, and was made with another value of an option.
    #[non_exhaustive]
    OtherOption {
        /// The name of the option: a method of [`Options`](crate::Options).
        option: &'static str,
        /// The value that the queue was made with.
        theirs: String,
        /// The value that this process names.
        ours: String,
    },
    /// The queue exists, and could not be opened.
    Open(OpenError),
    /// There was no queue of that name, and it could not be created.
    Create(CreateNamedError),
}

impl From<OpenError> for OpenOrCreateError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<CreateNamedError> for OpenOrCreateError {
    fn from(error: CreateNamedError) -> Self {
        Self::Create(error)
    }
}

impl fmt::Display for OpenOrCreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherOption {
                option,
                theirs,
                ours,
            } => write!(
                f,
                "the queue has the option `{option}` {theirs}, this process names {ours}: use the same options, or open \
                 the queue as it is with `open`"
            ),
            Self::Open(error) => fmt::Display::fmt(error, f),
            Self::Create(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl Error for OpenOrCreateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::OtherOption { .. } => None,
            Self::Open(error) => error.source(),
            Self::Create(error) => error.source(),
        }
    }
}

/// The error of [`remove_named`](crate::queue::remove_named): a queue with a name could not be removed.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemoveError {
    /// Processes are attached to the queue, or are attaching or removing it at this moment. This process counts if it
    /// is attached: drop its ends first.
    #[non_exhaustive]
    InUse {
        /// How many processes, as far as this one can tell.
        processes: usize,
    },
    /// The queue could not be opened to check whether it is in use.
    Open(OpenError),
}

impl From<OpenError> for RemoveError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl fmt::Display for RemoveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { processes: 1 } => {
                f.write_str("1 process is attached to the queue: end it, or drop its ends, first")
            }
            Self::InUse { processes } => write!(
                f,
                "{processes} processes are attached to the queue: end them, or drop their ends, first"
            ),
            Self::Open(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl Error for RemoveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InUse { .. } => None,
            Self::Open(error) => error.source(),
        }
    }
}
