//! Errors of giving an end of a queue over a connection, and of taking it.

use super::equality::impl_eq;
use super::{HandoffError, InheritError, text};
use core::fmt;
use std::error::Error;
use std::io;

const CLOSED: &str = "the other process has ended, or has closed the connection: connect again";

/// The error of [`Connection::give`](crate::rendezvous::Connection::give). The other process gets nothing.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GiveError {
    /// The other process has ended, or has dropped the connection.
    Closed,
    /// The connection holds as much as the system allows that the other process has not yet received.
    Full,
    /// The queue has a name. Its file is private to this user, and the other process belongs to another one.
    #[non_exhaustive]
    OtherUser {
        /// The user id of the other process.
        user: u32,
    },
    /// The end cannot be given, to this process or to any other.
    Handoff(HandoffError),
}

impl GiveError {
    /// Returns whether the connection is closed. For a closed queue, the error is [`Handoff`](Self::Handoff).
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl From<HandoffError> for GiveError {
    fn from(error: HandoffError) -> Self {
        Self::Handoff(error)
    }
}

impl fmt::Display for GiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(CLOSED),
            Self::Full => f.write_str(
                "the other process has not yet taken what it was given before: try again later",
            ),
            Self::OtherUser { user } => write!(
                f,
                "a queue that has a name cannot be given to user {user}: give an end of a queue without one"
            ),
            Self::Handoff(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl Error for GiveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Handoff(error) => error.source(),
            _ => None,
        }
    }
}

/// The error of [`Connection::take`](crate::rendezvous::Connection::take).
#[derive(Debug)]
#[non_exhaustive]
pub enum TakeError {
    /// The other process has ended, or has dropped the connection, and has given nothing of that name that was not taken.
    Closed,
    /// The other process has given nothing of that name before the time limit passed.
    Timeout,
    /// An [`Interrupter`](crate::rendezvous::Interrupter) ended the wait.
    Interrupted,
    /// The other process has given nothing of that name so far. Only from
    /// [`try_take`](crate::rendezvous::Connection::try_take).
    #[non_exhaustive]
    NotGiven {
        /// The name that was asked for.
        name: String,
        /// The names of what it has given and was not taken.
        given: Vec<String>,
    },
    /// The other process has given many ends of other names, and none of them was taken.
    #[non_exhaustive]
    TooManyGiven {
        /// How many a connection keeps until they are taken.
        max: usize,
    },
    /// This process is a forked child of the one that has the connection. Nothing was done.
    Forked,
    /// The other process sends something that this version of the crate does not. The connection is of no more use.
    #[non_exhaustive]
    NotUnderstood {
        /// What is wrong.
        what: &'static str,
    },
    /// What was given is not what this process asks for.
    Inherit(InheritError),
    /// The operating system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl TakeError {
    /// Returns whether the connection is closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Returns whether this is [`Timeout`](Self::Timeout).
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }
}

impl From<InheritError> for TakeError {
    fn from(error: InheritError) -> Self {
        Self::Inherit(error)
    }
}

impl_eq!(TakeError {
    Closed,
    Timeout,
    Interrupted,
    NotGiven { name, given },
    TooManyGiven { max },
    Forked,
    NotUnderstood { what },
    Inherit(source),
    Os { what, source },
});

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(CLOSED),
            Self::Timeout => f.write_str(text::TIMEOUT),
            Self::Interrupted => f.write_str(text::INTERRUPTED),
            Self::NotGiven { name, given } if given.is_empty() => write!(
                f,
                "the other process has given nothing, {name:?} included: try again later, or wait with `take`"
            ),
            Self::NotGiven { name, given } => write!(
                f,
                "the other process has given no {name:?}, but {}: ask for one of these, or wait with `take`",
                given.join(", ")
            ),
            Self::TooManyGiven { max } => write!(
                f,
                "the other process has given {max} ends of other names: take those first"
            ),
            Self::Forked => f.write_str(
                "this process is a forked child of the one that has the connection: connect again",
            ),
            Self::NotUnderstood { what } => write!(
                f,
                "what the other process sends is not understood ({what}): build both with the same version of workring"
            ),
            Self::Inherit(error) => fmt::Display::fmt(error, f),
            Self::Os { what, source } => text::os(f, what, source),
        }
    }
}

impl Error for TakeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Inherit(error) => error.source(),
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}
