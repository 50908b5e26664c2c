//! Errors of watches.

use super::equality::impl_eq;
use super::text::{self, FORKED};
use core::fmt;
use std::error::Error;
use std::io;

/// The error of [`Receiver::watch`](crate::Receiver::watch): a descriptor could not be watched.
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchError {
    /// This process is a forked child of the one that is attached to the queue. Nothing was done.
    Forked,
    /// The operating system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl_eq!(WatchError {
    Forked,
    Os { what, source },
});

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forked => f.write_str(FORKED),
            Self::Os { what, source } => text::os(f, what, source),
        }
    }
}

impl Error for WatchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Forked => None,
            Self::Os { source, .. } => Some(source),
        }
    }
}
