//! Why a run ends without a complete list.

use std::fmt;
use std::io;

/// Why a run ends without a complete list.
pub(crate) enum Unfinished {
    /// A signal or a dead worker has stopped the run: see `Stop::reason`.
    Stopped,
    /// The list could not be printed.
    Output(io::Error),
    /// The pool failed.
    Pool(String),
}

impl From<io::Error> for Unfinished {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the workers ended before all files were hashed"),
            Self::Output(error) => write!(f, "standard output: {error}"),
            Self::Pool(error) => f.write_str(error),
        }
    }
}
