//! Why operations on a queue fail, and the public errors that the reasons become.
//!
//! | reason                                         | why it failed                                      |
//! |------------------------------------------------|----------------------------------------------------|
//! | [`WouldBlock`], [`Interrupted`], [`WaitError`] | a wait, one for each [policy](super::policy)       |
//! | [`SendFailure`]                                | a send, with any policy                            |
//! | [`RecvFailure`]                                | a receive or a lease, with any policy              |
//! | [`SelectFailure`]                              | a select itself, none of its operations            |
//! | [`Failure`]                                    | an operation that may wait: either of the two      |
//!
//! A new reason why sends fail needs a variant in [`SendFailure`], one in the public errors (`send_error!` in
//! `error::send`), and an arm in `send_error!` here, which maps the one to the other. Receives likewise.

use super::attachment::Forked;
use crate::codec::{DecodeError, EncodeError};
use crate::error::OutOfMemory;
use crate::error::{
    RecvError, RecvTimeoutError, SelectError, SelectTimeoutError, SendError, SendTimeoutError,
    TryRecvError, TrySelectError, TrySendError,
};
use crate::protocol::Corrupt;
use std::io;

/// Why an operation that may wait failed.
pub(super) enum Failure<W, E> {
    /// The wait ended first.
    Wait(W),
    /// The operation failed, and waiting longer would not help.
    Operation(E),
}

impl<W, E> From<E> for Failure<W, E> {
    fn from(reason: E) -> Self {
        Self::Operation(reason)
    }
}

/// The operation would have had to wait.
pub(super) struct WouldBlock;

/// An interrupter ended the wait.
pub(super) struct Interrupted;

/// Why a wait with a time limit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitError {
    Timeout,
    Interrupted,
}

/// Why a send failed.
pub(super) enum SendFailure {
    Closed,
    Forked,
    TooLarge { len: usize, max: usize },
    NoMemory(OutOfMemory),
    Encode(EncodeError),
    Corrupt(Corrupt),
}

impl From<Forked> for SendFailure {
    fn from(_: Forked) -> Self {
        Self::Forked
    }
}

impl From<OutOfMemory> for SendFailure {
    fn from(out_of_memory: OutOfMemory) -> Self {
        Self::NoMemory(out_of_memory)
    }
}

impl From<Corrupt> for SendFailure {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// Why a receive or a lease failed.
pub(super) enum RecvFailure {
    Closed,
    Forked,
    Decode(DecodeError),
    TooManyLeases { max: usize },
    Corrupt(Corrupt),
}

/// Why a select has done no operation.
pub(super) enum SelectFailure {
    NoOperations,
    TooManyQueues { max: usize },
    Os(io::Error),
}

impl From<Forked> for RecvFailure {
    fn from(_: Forked) -> Self {
        Self::Forked
    }
}

impl From<Corrupt> for RecvFailure {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// Makes the public error of a send, which carries a value, from the failure: `$wait` is how its waits end.
macro_rules! send_error {
    ($error:ident, $wait:ty { $($end:path => $variant:ident),+ }) => {
        impl<V> From<(Failure<$wait, SendFailure>, V)> for $error<V> {
            fn from((failure, value): (Failure<$wait, SendFailure>, V)) -> Self {
                let reason = match failure {
                    $(Failure::Wait($end) => return Self::$variant(value),)+
                    Failure::Operation(reason) => reason,
                };
                match reason {
                    SendFailure::Closed => Self::Closed(value),
                    SendFailure::Forked => Self::Forked(value),
                    SendFailure::TooLarge { len, max } => Self::TooLarge { value, len, max },
                    SendFailure::NoMemory(OutOfMemory { limit, wanted, available }) => {
                        Self::NoMemory { value, limit, wanted, available }
                    }
                    SendFailure::Encode(source) => Self::Encode { value, source },
                    SendFailure::Corrupt(corrupt) => Self::Corrupt { value, what: corrupt.what() },
                }
            }
        }
    };
}

send_error!(SendError, Interrupted { Interrupted => Interrupted });
send_error!(TrySendError, WouldBlock { WouldBlock => Full });
send_error!(SendTimeoutError, WaitError {
    WaitError::Timeout => Timeout,
    WaitError::Interrupted => Interrupted
});

/// Makes the public error of a receive from the failure: `$wait` is how its waits end.
macro_rules! recv_error {
    ($error:ident, $wait:ty { $($end:path => $variant:ident),+ }) => {
        impl From<Failure<$wait, RecvFailure>> for $error {
            fn from(failure: Failure<$wait, RecvFailure>) -> Self {
                let reason = match failure {
                    $(Failure::Wait($end) => return Self::$variant,)+
                    Failure::Operation(reason) => reason,
                };
                match reason {
                    RecvFailure::Closed => Self::Closed,
                    RecvFailure::Forked => Self::Forked,
                    RecvFailure::Decode(error) => Self::Decode(error),
                    RecvFailure::TooManyLeases { max } => Self::TooManyLeases { max },
                    RecvFailure::Corrupt(corrupt) => Self::Corrupt { what: corrupt.what() },
                }
            }
        }
    };
}

recv_error!(RecvError, Interrupted { Interrupted => Interrupted });
recv_error!(TryRecvError, WouldBlock { WouldBlock => Empty });
recv_error!(RecvTimeoutError, WaitError {
    WaitError::Timeout => Timeout,
    WaitError::Interrupted => Interrupted
});

impl From<Failure<WouldBlock, SelectFailure>> for TrySelectError {
    fn from(failure: Failure<WouldBlock, SelectFailure>) -> Self {
        match failure {
            Failure::Operation(SelectFailure::NoOperations) => Self::NoOperations,
            // The others are failures to sleep.
            Failure::Wait(WouldBlock) | Failure::Operation(_) => Self::NotReady,
        }
    }
}

/// Makes the public error of a select that may sleep from the failure: `$wait` is how its waits end.
macro_rules! select_error {
    ($error:ident, $wait:ty { $($end:path => $variant:ident),+ }) => {
        impl From<Failure<$wait, SelectFailure>> for $error {
            fn from(failure: Failure<$wait, SelectFailure>) -> Self {
                match failure {
                    $(Failure::Wait($end) => Self::$variant,)+
                    Failure::Operation(SelectFailure::NoOperations) => Self::NoOperations,
                    Failure::Operation(SelectFailure::TooManyQueues { max }) => {
                        Self::TooManyQueues { max }
                    }
                    Failure::Operation(SelectFailure::Os(source)) => Self::Os { source },
                }
            }
        }
    };
}

select_error!(SelectError, Interrupted { Interrupted => Interrupted });
select_error!(SelectTimeoutError, WaitError {
    WaitError::Timeout => Timeout,
    WaitError::Interrupted => Interrupted
});
