//! Errors of requests to other processes.

use super::text::{CLOSED, FORKED, TIMEOUT, corrupt};
use super::{RecvTimeoutError, SendTimeoutError};
use core::fmt;
use std::error::Error;

/// The error of waiting for the answer to a request: there is none, and there will be none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplyError {
    /// No answer came before the deadline of the request.
    Timeout,
    /// The responders that had the request died, or dropped it.
    #[non_exhaustive]
    Abandoned {
        /// How many did.
        deliveries: u32,
    },
    /// A responder has an answer and could not send it, for instance since it is too large.
    #[non_exhaustive]
    AnswerNotSent {
        /// Why not.
        what: String,
    },
    /// Another process has closed the mailbox of this requester.
    Closed,
    /// This process is a forked child of the one that made the requester. Nothing was done.
    Forked,
    /// The shared memory of the mailbox contains something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
}

impl ReplyError {
    /// Returns whether this is [`Timeout`](Self::Timeout).
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Returns whether this is [`Closed`](Self::Closed).
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl From<RecvTimeoutError> for ReplyError {
    fn from(error: RecvTimeoutError) -> Self {
        match error {
            RecvTimeoutError::Closed => Self::Closed,
            RecvTimeoutError::Forked => Self::Forked,
            RecvTimeoutError::Corrupt { what } => Self::Corrupt { what },
            // No interrupter is given away, and nothing is leased.
            RecvTimeoutError::Timeout
            | RecvTimeoutError::Interrupted
            | RecvTimeoutError::Decode(_)
            | RecvTimeoutError::TooManyLeases { .. } => Self::Timeout,
        }
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str(TIMEOUT),
            Self::Abandoned { deliveries } => write!(
                f,
                "{deliveries} responders had the request and died or dropped it: look for what it does to them"
            ),
            Self::AnswerNotSent { what } => write!(
                f,
                "the responder could not send its answer ({what}): ask for less, or give this requester a mailbox for it"
            ),
            Self::Closed => f.write_str(CLOSED),
            Self::Forked => f.write_str(FORKED),
            Self::Corrupt { what } => corrupt(f, what),
        }
    }
}

impl Error for ReplyError {}

/// The error of a [request](crate::request::Requester::request): it has no answer.
#[derive(PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError<T> {
    /// The request was not sent, and is in this error.
    NotSent(SendTimeoutError<T>),
    /// The request was sent, and there is no answer.
    NoAnswer(ReplyError),
}

impl<T> RequestError<T> {
    /// Returns the request, if it was not sent.
    pub fn into_inner(self) -> Option<T> {
        match self {
            Self::NotSent(error) => Some(error.into_inner()),
            Self::NoAnswer(_) => None,
        }
    }

    /// Returns whether the time limit has passed, before or after the request was sent.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        match self {
            Self::NotSent(error) => error.is_timeout(),
            Self::NoAnswer(error) => error.is_timeout(),
        }
    }

    /// Returns whether the queue for requests is closed, or the mailbox.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        match self {
            Self::NotSent(error) => error.is_closed(),
            Self::NoAnswer(error) => error.is_closed(),
        }
    }
}

impl<T> From<SendTimeoutError<T>> for RequestError<T> {
    fn from(error: SendTimeoutError<T>) -> Self {
        Self::NotSent(error)
    }
}

impl<T> From<ReplyError> for RequestError<T> {
    fn from(error: ReplyError) -> Self {
        Self::NoAnswer(error)
    }
}

impl<T> fmt::Display for RequestError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => fmt::Display::fmt(error, f),
            Self::NoAnswer(error) => fmt::Display::fmt(error, f),
        }
    }
}

// By hand, so that requests need not be `Debug`.
impl<T> fmt::Debug for RequestError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => f.debug_tuple("NotSent").field(error).finish(),
            Self::NoAnswer(error) => f.debug_tuple("NoAnswer").field(error).finish(),
        }
    }
}

impl<T> Error for RequestError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotSent(error) => error.source(),
            Self::NoAnswer(error) => error.source(),
        }
    }
}
