//! Checks of options, their defaults that depend on the queue, and the errors for a queue that cannot be made.

use super::attachment::JoinError;
use crate::error::CreateError;
use crate::error::OutOfMemory;
use crate::os::memory::MemoryError;
use core::fmt::{Debug, Display};
use core::ops::{RangeBounds, RangeInclusive};

/// The default of `inline_len` for types that are no plain data.
const INLINE_LEN: usize = 96;
/// The largest default for plain data.
const MAX_PLAIN_INLINE_LEN: usize = 1024;
/// In a queue of a larger capacity, cells for long plain data would take much memory.
const MAX_PLAIN_INLINE_CAPACITY: u32 = 8192;

/// Returns the default of `inline_len`. Codecs encode plain data with about as many bytes as it takes in memory.
pub(super) const fn default_inline_len<T>(capacity: u32) -> usize {
    let max = if capacity > MAX_PLAIN_INLINE_CAPACITY {
        INLINE_LEN
    } else {
        MAX_PLAIN_INLINE_LEN
    };
    if core::mem::needs_drop::<T>() {
        INLINE_LEN
    } else if size_of::<T>() < max {
        size_of::<T>()
    } else {
        max
    }
}

/// Returns the error for a segment that could not be made.
pub(super) fn not_made(error: MemoryError) -> CreateError {
    match error {
        MemoryError::OutOfMemory(OutOfMemory {
            limit,
            wanted,
            available,
        }) => CreateError::NoMemory {
            limit,
            wanted,
            available,
        },
        MemoryError::Os(source) => CreateError::Os {
            what: "no shared memory for the queue",
            source,
        },
    }
}

/// Returns the error for a process that could not attach to the queue that it has just made.
pub(super) fn not_attached(error: JoinError) -> CreateError {
    CreateError::Os {
        what: "the new queue could not be attached to",
        source: match error {
            JoinError::Os(source) => source,
            // No other process has been given the queue yet.
            JoinError::Closed
            | JoinError::TooManyPeers
            | JoinError::NoMemory(_)
            | JoinError::Corrupt(_) => {
                std::io::Error::other("another process has written to its memory")
            }
        },
    }
}

/// Checks an option, and returns it as the segment stores it.
pub(super) fn number(
    option: &'static str,
    value: usize,
    allowed: &RangeInclusive<usize>,
) -> Result<u32, CreateError> {
    let text = format!("from {} to {}", allowed.start(), allowed.end());
    let value = within(option, value, allowed, text)?;
    Ok(u32::try_from(value).unwrap_or(u32::MAX))
}

pub(super) fn within<V: PartialOrd + Debug>(
    option: &'static str,
    value: V,
    allowed: &impl RangeBounds<V>,
    text: impl Display,
) -> Result<V, CreateError> {
    if allowed.contains(&value) {
        return Ok(value);
    }
    Err(CreateError::InvalidOption {
        option,
        value: format!("{value:?}"),
        allowed: text.to_string(),
    })
}
