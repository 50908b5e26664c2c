//! Results of sends and receives, of any kind of wait, as one type. Any other error is a panic.

use crate::message::Message;
use workring::{
    RecvError, SendError,
    error::{RecvTimeoutError, SendTimeoutError, TryRecvError, TrySendError},
};

/// The outcome of one operation on a queue.
pub(crate) enum Outcome<T> {
    Done(T),
    /// The queue was full or empty for the whole wait.
    WouldBlock,
    Closed,
}

impl<T> Outcome<T> {
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U> {
        match self {
            Self::Done(value) => Outcome::Done(change(value)),
            Self::WouldBlock => Outcome::WouldBlock,
            Self::Closed => Outcome::Closed,
        }
    }
}

impl Outcome<()> {
    pub(crate) fn of_send(error: &SendError<Message>) -> Self {
        match error {
            SendError::Closed(_) => Self::Closed,
            other => panic!("send: {other}"),
        }
    }

    pub(crate) fn of_send_timeout(error: &SendTimeoutError<Message>) -> Self {
        match error {
            SendTimeoutError::Timeout(_) => Self::WouldBlock,
            SendTimeoutError::Closed(_) => Self::Closed,
            other => panic!("send with a time limit: {other}"),
        }
    }

    pub(crate) fn of_try_send(error: &TrySendError<Message>) -> Self {
        match error {
            TrySendError::Full(_) => Self::WouldBlock,
            TrySendError::Closed(_) => Self::Closed,
            other => panic!("send without a wait: {other}"),
        }
    }
}

impl<T> From<Result<T, RecvError>> for Outcome<T> {
    fn from(result: Result<T, RecvError>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(RecvError::Closed) => Self::Closed,
            Err(other) => panic!("receive: {other}"),
        }
    }
}

impl<T> From<Result<T, RecvTimeoutError>> for Outcome<T> {
    fn from(result: Result<T, RecvTimeoutError>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(RecvTimeoutError::Timeout) => Self::WouldBlock,
            Err(RecvTimeoutError::Closed) => Self::Closed,
            Err(other) => panic!("receive with a time limit: {other}"),
        }
    }
}

impl<T> From<Result<T, TryRecvError>> for Outcome<T> {
    fn from(result: Result<T, TryRecvError>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(TryRecvError::Empty) => Self::WouldBlock,
            Err(TryRecvError::Closed) => Self::Closed,
            Err(other) => panic!("receive without a wait: {other}"),
        }
    }
}
