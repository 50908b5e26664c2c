//! What can go wrong with a watch.

use super::FORKED;
use core::fmt;
use std::error::Error;
use std::io;

/// A descriptor could not be watched.
#[derive(Debug)]
#[non_exhaustive]
pub enum WatchError {
    /// This process was forked from the one that is attached to the queue, and has no part in it. Nothing was
    /// done.
    Forked,
    /// The system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forked => f.write_str(FORKED),
            Self::Os { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl Error for WatchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Forked => None,
            // Its own text is in the sentence.
            Self::Os { source, .. } => source.source(),
        }
    }
}
