//! What can go wrong with named queues.

use super::{CLOSED, CreateError, MemoryLimit, no_memory};
use core::fmt;
use std::error::Error;
use std::io;

const BAD_NAME: &str =
    "can't name a queue: use 1 to 200 letters, digits, `-`, `_` and `.` (of ASCII)";

/// A named queue could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum CreateNamedError {
    /// A name must have 1 to 200 letters, digits, `-`, `_` and `.`.
    #[non_exhaustive]
    InvalidName {
        /// The name.
        name: String,
    },
    /// This user has something of that name already.
    #[non_exhaustive]
    AlreadyExists {
        /// The name.
        name: String,
    },
    /// What also keeps a queue without a name from being made. A full `/dev/shm` is a
    /// [`NoMemory`](CreateError::NoMemory) for want of room in the [file system](MemoryLimit::FileSystem).
    Create(CreateError),
}

impl From<CreateError> for CreateNamedError {
    fn from(error: CreateError) -> Self {
        Self::Create(error)
    }
}

impl fmt::Display for CreateNamedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName { name } => write!(f, "{name:?} {BAD_NAME}"),
            Self::AlreadyExists { name } => {
                write!(
                    f,
                    "there is a queue {name:?} already: open it, or remove it"
                )
            }
            Self::Create(source) => fmt::Display::fmt(source, f),
        }
    }
}

impl Error for CreateNamedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Create(source) => source.source(),
            _ => None,
        }
    }
}

/// A named queue could not be opened.
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
    /// Somebody is removing it, or looks whether it can be removed, and was stopped while doing so. Try again.
    #[non_exhaustive]
    BeingRemoved {
        /// The name.
        name: String,
    },
    /// What has that name belongs to another user, or other users may use it.
    #[non_exhaustive]
    NotPrivate {
        /// The id of the user that it belongs to.
        owner: u32,
        /// Who may use it, as `chmod(1)` has it.
        mode: u32,
    },
    /// What has that name is no queue of this crate.
    #[non_exhaustive]
    NotAQueue {
        /// Why not.
        what: &'static str,
    },
    /// The queue was made by another version of this crate.
    #[non_exhaustive]
    Version {
        /// The queue's.
        theirs: u64,
        /// This process's.
        ours: u64,
    },
    /// The queue's parts lie elsewhere than this build of the crate expects.
    #[non_exhaustive]
    Layout {
        /// The queue's fingerprint.
        theirs: u64,
        /// This process's.
        ours: u64,
    },
    /// The queue carries messages of another type.
    #[non_exhaustive]
    Type {
        /// The queue's.
        theirs: String,
        /// This process's.
        ours: String,
    },
    /// The queue's messages have another codec.
    #[non_exhaustive]
    Codec {
        /// The queue's.
        theirs: String,
        /// This process's.
        ours: String,
    },
    /// The queue was made with another schema tag.
    #[non_exhaustive]
    Schema {
        /// The queue's.
        theirs: u64,
        /// This process's.
        ours: u64,
    },
    /// The queue is closed. Those who are attached still receive what is left in it.
    Closed,
    /// As many processes are attached to the queue, or were given an end of it, as it has rows for.
    #[non_exhaustive]
    TooManyPeers {
        /// How many there can be.
        max: usize,
    },
    /// There is not enough room to map the queue.
    #[non_exhaustive]
    NoMemory {
        /// Which limit it was.
        limit: MemoryLimit,
        /// How many bytes were wanted.
        wanted: u64,
        /// How many the limit leaves.
        available: u64,
    },
    /// The system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName { name } => write!(f, "{name:?} {BAD_NAME}"),
            Self::NotFound { name } => write!(
                f,
                "there is no queue {name:?} of this user: make it with `Options::create_named`"
            ),
            Self::BeingRemoved { name } => write!(
                f,
                "a process that was stopped is removing the queue {name:?}: try again later"
            ),
            Self::NotPrivate { owner, mode } => write!(
                f,
                "it belongs to user {owner} and has mode {mode:04o}, but must be this user's own, with mode 0600"
            ),
            Self::NotAQueue { what } => write!(
                f,
                "what has that name is no queue of this crate ({what}): choose another name"
            ),
            Self::Version { theirs, ours } => write!(
                f,
                "the queue has version {theirs}, this process {ours}: build both with one workring"
            ),
            Self::Layout { theirs, ours } => write!(
                f,
                "the queue has layout {theirs:#x}, this process {ours:#x}: build both with one workring"
            ),
            Self::Type { theirs, ours } => write!(
                f,
                "the queue carries {theirs}, this process expects {ours}: use one type on both sides"
            ),
            Self::Codec { theirs, ours } => write!(
                f,
                "the queue's codec is {theirs:?}, this process's {ours:?}: use one on both sides"
            ),
            Self::Schema { theirs, ours } => write!(
                f,
                "the queue's schema tag is {theirs}, this process's {ours}: name one tag on both sides"
            ),
            Self::Closed => f.write_str(CLOSED),
            Self::TooManyPeers { max } => write!(
                f,
                "the queue has {max} processes already, and no row for another: end one"
            ),
            Self::NoMemory {
                limit,
                wanted,
                available,
            } => no_memory(f, *limit, *wanted, *available),
            Self::Os { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Its own text is in the sentence.
            Self::Os { source, .. } => source.source(),
            _ => None,
        }
    }
}

/// A named queue could not be removed.
#[derive(Debug)]
#[non_exhaustive]
pub enum RemoveError {
    /// Processes are attached to it, or are just attaching or removing it. This one counts, too: drop its ends
    /// first.
    #[non_exhaustive]
    InUse {
        /// How many processes, as far as this one can tell.
        processes: usize,
    },
    /// It can't be looked at, so nobody can tell whether it is in use.
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
            Self::Open(source) => fmt::Display::fmt(source, f),
        }
    }
}

impl Error for RemoveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InUse { .. } => None,
            Self::Open(source) => source.source(),
        }
    }
}
