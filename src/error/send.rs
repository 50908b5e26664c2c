//! Errors of sends.

use super::MemoryLimit;
use super::memory::no_memory;
use super::text::{CLOSED, FORKED, INTERRUPTED, TIMEOUT, corrupt};
use crate::codec::EncodeError;
use core::fmt;
use std::error::Error;

const FULL: &str = "the queue is full: try again later, or wait with `send`";

/// Defines the error of one kind of send. It has the variants that are given here, each with its sentence and the
/// method that tests for it, and those that every send has.
macro_rules! send_error {
    (
        $(#[$doc:meta])*
        $error:ident {
            $($(#[$variant_doc:meta])* $variant:ident: $sentence:ident, $is:ident;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $error<T> {
            $($(#[$variant_doc])* $variant(T),)*
            /// The queue is closed and will never accept another message.
            Closed(T),
            /// This process is a forked child of the one that is attached to the queue. Nothing was done.
            Forked(T),
            /// The message is larger than [`Options::max_message_len`](crate::Options::max_message_len).
            #[non_exhaustive]
            TooLarge {
                /// The message.
                value: T,
                /// The length of the encoded message in bytes.
                len: usize,
                /// The largest length that this queue accepts.
                max: usize,
            },
            /// There is no memory for a message of this size, and no message in the queue will free enough of it. Only
            /// for messages above 64 KiB: the memory for smaller ones is allocated when the queue is made.
            #[non_exhaustive]
            NoMemory {
                /// The message.
                value: T,
                /// Which limit leaves too little.
                limit: MemoryLimit,
                /// How many bytes were needed.
                wanted: u64,
                /// How many bytes the limit leaves.
                available: u64,
            },
            /// The codec could not encode the message.
            #[non_exhaustive]
            Encode {
                /// The message.
                value: T,
                /// The codec's error.
                source: EncodeError,
            },
            /// The shared memory contains something that no peer writes.
            #[non_exhaustive]
            Corrupt {
                /// The message.
                value: T,
                /// What is wrong.
                what: &'static str,
            },
        }

        impl<T> $error<T> {
            /// Returns the message that was not sent.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$variant(value))|*
                    | Self::Closed(value)
                    | Self::Forked(value)
                    | Self::TooLarge { value, .. }
                    | Self::NoMemory { value, .. }
                    | Self::Encode { value, .. }
                    | Self::Corrupt { value, .. } => value,
                }
            }

            /// Replaces the message by what `with` returns for it: `map(drop)` keeps only the reason.
            pub fn map<U>(self, with: impl FnOnce(T) -> U) -> $error<U> {
                match self {
                    $(Self::$variant(value) => $error::$variant(with(value)),)*
                    Self::Closed(value) => $error::Closed(with(value)),
                    Self::Forked(value) => $error::Forked(with(value)),
                    Self::TooLarge { value, len, max } => $error::TooLarge { value: with(value), len, max },
                    Self::NoMemory { value, limit, wanted, available } => {
                        $error::NoMemory { value: with(value), limit, wanted, available }
                    }
                    Self::Encode { value, source } => $error::Encode { value: with(value), source },
                    Self::Corrupt { value, what } => $error::Corrupt { value: with(value), what },
                }
            }

            /// Returns whether the queue is closed.
            #[must_use]
            pub const fn is_closed(&self) -> bool {
                matches!(self, Self::Closed(_))
            }

            $(
                #[doc = concat!(
                    "Returns whether this is [`", stringify!($variant), "`](Self::", stringify!($variant), ")."
                )]
                #[must_use]
                pub const fn $is(&self) -> bool {
                    matches!(self, Self::$variant(_))
                }
            )*
        }

        impl<T> fmt::Display for $error<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(_) => f.write_str($sentence),)*
                    Self::Closed(_) => f.write_str(CLOSED),
                    Self::Forked(_) => f.write_str(FORKED),
                    Self::TooLarge { len, max, .. } => write!(
                        f,
                        "a message of {len} bytes is larger than the {max} bytes that this queue accepts: send it in \
                         parts, or raise `Options::max_message_len`"
                    ),
                    Self::NoMemory { limit, wanted, available, .. } => {
                        no_memory(f, *limit, *wanted, *available)
                    }
                    Self::Encode { .. } => f.write_str(
                        "the message could not be encoded: send one that the codec supports, or use another `Codec`",
                    ),
                    Self::Corrupt { what, .. } => corrupt(f, what),
                }
            }
        }

        // By hand, so that messages need not be `Debug`.
        impl<T> fmt::Debug for $error<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(_) => f.write_str(concat!(stringify!($variant), "(..)")),)*
                    Self::Closed(_) => f.write_str("Closed(..)"),
                    Self::Forked(_) => f.write_str("Forked(..)"),
                    Self::TooLarge { len, max, .. } => {
                        f.debug_struct("TooLarge").field("len", len).field("max", max).finish_non_exhaustive()
                    }
                    Self::NoMemory { limit, wanted, available, .. } => f
                        .debug_struct("NoMemory")
                        .field("limit", limit)
                        .field("wanted", wanted)
                        .field("available", available)
                        .finish_non_exhaustive(),
                    Self::Encode { source, .. } => {
                        f.debug_struct("Encode").field("source", source).finish_non_exhaustive()
                    }
                    Self::Corrupt { what, .. } => {
                        f.debug_struct("Corrupt").field("what", what).finish_non_exhaustive()
                    }
                }
            }
        }

        impl<T> Error for $error<T> {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                match self {
                    Self::Encode { source, .. } => Some(source),
                    _ => None,
                }
            }
        }
    };
}

send_error! {
    /// The error of a send without a time limit. Contains the message that was not sent.
    SendError {
        /// An [`Interrupter`](crate::queue::Interrupter) ended the wait.
        Interrupted: INTERRUPTED, is_interrupted;
    }
}

send_error! {
    /// The error of a send that does not wait. Contains the message that was not sent.
    TrySendError {
        /// The queue is full, or has no free block for a message of this size. Try again later, or wait with
        /// [`send`](crate::Sender::send).
        Full: FULL, is_full;
    }
}

send_error! {
    /// The error of a send with a time limit. Contains the message that was not sent.
    SendTimeoutError {
        /// The queue was full until the time limit passed.
        Timeout: TIMEOUT, is_timeout;
        /// An [`Interrupter`](crate::queue::Interrupter) ended the wait.
        Interrupted: INTERRUPTED, is_interrupted;
    }
}

macro_rules! from_send_error {
    ($error:ident: Interrupted is $interrupted:ident) => {
        impl<T> From<SendError<T>> for $error<T> {
            fn from(error: SendError<T>) -> Self {
                match error {
                    SendError::Closed(value) => Self::Closed(value),
                    SendError::Forked(value) => Self::Forked(value),
                    SendError::Interrupted(value) => Self::$interrupted(value),
                    SendError::TooLarge { value, len, max } => Self::TooLarge { value, len, max },
                    SendError::Encode { value, source } => Self::Encode { value, source },
                    SendError::NoMemory {
                        value,
                        limit,
                        wanted,
                        available,
                    } => Self::NoMemory {
                        value,
                        limit,
                        wanted,
                        available,
                    },
                    SendError::Corrupt { value, what } => Self::Corrupt { value, what },
                }
            }
        }
    };
}

// A wait that was interrupted had found the queue full.
from_send_error!(TrySendError: Interrupted is Full);
from_send_error!(SendTimeoutError: Interrupted is Interrupted);
