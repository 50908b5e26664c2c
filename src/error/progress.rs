//! Errors of what tasks emit while they run.

use super::MemoryLimit;
use super::memory::no_memory;
use super::text::corrupt;
use crate::codec::EncodeError;
use core::fmt;
use std::error::Error;

/// The error of [`Context::emit`](crate::pool::Context::emit): the value was not sent.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// The task was cancelled, has exceeded its soft time limit, or its pool shuts down, while this call waited.
    Cancelled,
    /// This process is a forked child of the worker. Nothing was done.
    Forked,
    /// The value is larger than [`Builder::max_message_len`](crate::pool::Builder::max_message_len).
    #[non_exhaustive]
    TooLarge {
        /// The length of the encoded value in bytes.
        len: usize,
        /// The largest length.
        max: usize,
    },
    /// There is no memory for a value of this size, as for [`SendError::NoMemory`](crate::error::SendError::NoMemory).
    #[non_exhaustive]
    NoMemory {
        /// Which limit leaves too little.
        limit: MemoryLimit,
        /// How many bytes were needed.
        wanted: u64,
        /// How many bytes the limit leaves.
        available: u64,
    },
    /// The value could not be encoded.
    #[non_exhaustive]
    Encode {
        /// The codec's error.
        source: EncodeError,
    },
    /// The shared memory contains something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str(
                "the task was cancelled while it waited to emit a value: return from the task",
            ),
            Self::Forked => f.write_str(
                "this process is a forked child of the worker: emit values in the worker itself",
            ),
            Self::TooLarge { len, max } => write!(
                f,
                "a value of {len} bytes is larger than the {max} bytes that the pool accepts: emit it in parts, or \
                 raise `Builder::max_message_len`"
            ),
            Self::NoMemory {
                limit,
                wanted,
                available,
            } => no_memory(f, *limit, *wanted, *available),
            Self::Encode { .. } => {
                f.write_str("the value could not be encoded: emit one that the codec supports")
            }
            Self::Corrupt { what } => corrupt(f, what),
        }
    }
}

impl Error for EmitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode { source } => Some(source),
            _ => None,
        }
    }
}

/// The error of reading what a task emits: one value could not be read. The values after it can.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProgressError {
    /// The task has emitted a value of another type.
    #[non_exhaustive]
    Type {
        /// The type of the value.
        emitted: String,
        /// The type that [`TaskHandle::progress`](crate::pool::TaskHandle::progress) was called with.
        wanted: String,
    },
    /// The value could not be decoded, or its `Deserialize` panicked.
    #[non_exhaustive]
    Decode {
        /// What is wrong with it.
        what: String,
    },
}

impl fmt::Display for ProgressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { emitted, wanted } => write!(
                f,
                "the task emits values of the type `{emitted}`, not `{wanted}`: call `progress` with that type"
            ),
            Self::Decode { what } => write!(
                f,
                "a value that the task emitted can't be decoded ({what}): check its `Deserialize`"
            ),
        }
    }
}

impl Error for ProgressError {}
