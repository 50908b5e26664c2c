//! Why a file is not a segment that this process can use.

use crate::error::OutOfMemory;
use crate::os::memory::MemoryError;
use std::io;

/// The reason why [`Segment::attach`](super::Segment::attach) fails.
#[derive(Debug)]
pub(crate) enum AttachError {
    /// The file is no segment, or not a complete one. A clause that says what is wrong with it.
    NotASegment(&'static str),
    /// The segment was made by a version of this crate with another protocol.
    Version {
        theirs: u64,
        ours: u64,
    },
    /// The segment was made by a build of this crate that lays segments out differently.
    Layout {
        theirs: u64,
        ours: u64,
    },
    NoMemory(OutOfMemory),
    Os(io::Error),
}

impl From<io::Error> for AttachError {
    fn from(error: io::Error) -> Self {
        Self::Os(error)
    }
}

impl From<MemoryError> for AttachError {
    fn from(error: MemoryError) -> Self {
        match error {
            MemoryError::OutOfMemory(shortage) => Self::NoMemory(shortage),
            MemoryError::Os(error) => Self::Os(error),
        }
    }
}
