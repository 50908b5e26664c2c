//! Errors of receives and leases.

use super::text::{CLOSED, FORKED, INTERRUPTED, TIMEOUT, corrupt};
use crate::codec::DecodeError;
use core::fmt;
use std::error::Error;

const EMPTY: &str = "the queue is empty: try again later, or wait with `recv`";

/// Defines the error of one kind of receive. It has the variants that are given here, each with its sentence and the
/// method that tests for it, and those that every receive has.
macro_rules! recv_error {
    (
        $(#[$doc:meta])*
        $error:ident {
            $($(#[$variant_doc:meta])* $variant:ident: $sentence:ident, $is:ident;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum $error {
            $($(#[$variant_doc])* $variant,)*
            /// The queue is closed, and there will never be another message. Every later receive returns this too.
            Closed,
            /// This process is a forked child of the one that is attached to the queue. Nothing was done.
            Forked,
            /// The codec could not decode the message, which is now a dead letter. The next receive returns the message
            /// after it.
            Decode(DecodeError),
            /// This process has as many leases as [`Options::max_leases`](crate::Options::max_leases) allows:
            /// acknowledge or return one first. Only leases fail with this.
            #[non_exhaustive]
            TooManyLeases {
                /// How many leases a process may have.
                max: usize,
            },
            /// The shared memory contains something that no peer writes.
            #[non_exhaustive]
            Corrupt {
                /// What is wrong.
                what: &'static str,
            },
        }

        impl $error {
            /// Returns whether the queue is closed and drained.
            #[must_use]
            pub const fn is_closed(&self) -> bool {
                matches!(self, Self::Closed)
            }

            $(
                #[doc = concat!(
                    "Returns whether this is [`", stringify!($variant), "`](Self::", stringify!($variant), ")."
                )]
                #[must_use]
                pub const fn $is(&self) -> bool {
                    matches!(self, Self::$variant)
                }
            )*
        }

        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($sentence),)*
                    Self::Closed => f.write_str(CLOSED),
                    Self::Forked => f.write_str(FORKED),
                    Self::Decode(_) => f.write_str(
                        "the message could not be decoded and is now a dead letter: look at it with \
                         `Receiver::dead_letters`",
                    ),
                    Self::TooManyLeases { max } => {
                        write!(f, "this process has {max} leases already: acknowledge or return one first")
                    }
                    Self::Corrupt { what } => corrupt(f, what),
                }
            }
        }

        impl Error for $error {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                match self {
                    Self::Decode(source) => Some(source),
                    _ => None,
                }
            }
        }
    };
}

recv_error! {
    /// The error of a receive without a time limit. No message is lost.
    RecvError {
        /// An [`Interrupter`](crate::queue::Interrupter) ended the wait.
        Interrupted: INTERRUPTED, is_interrupted;
    }
}

recv_error! {
    /// The error of a receive that does not wait. No message is lost.
    TryRecvError {
        /// There is no message now; there may be one later.
        Empty: EMPTY, is_empty;
    }
}

recv_error! {
    /// The error of a receive with a time limit. No message is lost.
    RecvTimeoutError {
        /// No message was sent before the time limit passed.
        Timeout: TIMEOUT, is_timeout;
        /// An [`Interrupter`](crate::queue::Interrupter) ended the wait.
        Interrupted: INTERRUPTED, is_interrupted;
    }
}

macro_rules! from_recv_error {
    ($error:ident: Interrupted is $interrupted:ident) => {
        impl From<RecvError> for $error {
            fn from(error: RecvError) -> Self {
                match error {
                    RecvError::Closed => Self::Closed,
                    RecvError::Forked => Self::Forked,
                    RecvError::Interrupted => Self::$interrupted,
                    RecvError::Decode(source) => Self::Decode(source),
                    RecvError::TooManyLeases { max } => Self::TooManyLeases { max },
                    RecvError::Corrupt { what } => Self::Corrupt { what },
                }
            }
        }
    };
}

// A wait that was interrupted had found the queue empty.
from_recv_error!(TryRecvError: Interrupted is Empty);
from_recv_error!(RecvTimeoutError: Interrupted is Interrupted);
