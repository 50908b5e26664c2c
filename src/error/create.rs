//! Errors of making a queue.

use super::MemoryLimit;
use super::equality::impl_eq;
use super::memory::no_memory;
use super::text;
use core::fmt;
use std::error::Error;
use std::io;

/// The error of [`Options::channel`](crate::Options::channel) and [`channel`](crate::channel): a queue could not be
/// created.
#[derive(Debug)]
#[non_exhaustive]
pub enum CreateError {
    /// An option has a value that is not allowed.
    #[non_exhaustive]
    InvalidOption {
        /// The name of the option: a method of [`Options`](crate::Options).
        option: &'static str,
        /// The value that it was set to.
        value: String,
        /// The values that are allowed.
        allowed: String,
    },
    /// There is not enough memory for the queue.
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

impl_eq!(CreateError {
    InvalidOption {
        option,
        value,
        allowed
    },
    NoMemory {
        limit,
        wanted,
        available
    },
    Os { what, source },
});

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidOption {
                option,
                value,
                allowed,
            } => write!(
                f,
                "the option `{option}` must not be {value}: set it to a value {allowed}"
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

impl Error for CreateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InvalidOption { .. } | Self::NoMemory { .. } => None,
            Self::Os { source, .. } => Some(source),
        }
    }
}

/// The error of [`Options::create_named`](crate::Options::create_named): a queue with a name could not be created.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateNamedError {
    /// A name must have 1 to 200 letters, digits, `-`, `_` and `.`.
    #[non_exhaustive]
    InvalidName {
        /// The name.
        name: String,
    },
    /// This user already has a queue, or another file, of that name.
    #[non_exhaustive]
    AlreadyExists {
        /// The name.
        name: String,
    },
    /// A mapping of the crate `shared_memory` cannot hold the queue. It is unmapped, and if it was its file's owner, the
    /// file is removed.
    #[non_exhaustive]
    Mapping {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The queue could not be made for a reason that has nothing to do with its name. A full `/dev/shm` is a
    /// [`NoMemory`](CreateError::NoMemory) for lack of room in the [file system](MemoryLimit::FileSystem).
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
            Self::InvalidName { name } => text::invalid_queue_name(f, name),
            Self::AlreadyExists { name } => write!(
                f,
                "there is a queue {name:?} already: open it, remove it, or choose another name"
            ),
            Self::Mapping { what } => write!(
                f,
                "the mapping cannot hold the queue ({what}): create it with the result of `Options::shmem_conf`"
            ),
            Self::Create(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl Error for CreateNamedError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InvalidName { .. } | Self::AlreadyExists { .. } | Self::Mapping { .. } => None,
            Self::Create(error) => error.source(),
        }
    }
}
