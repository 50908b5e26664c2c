//! Errors of selects.

use super::equality::impl_eq;
use super::text::{self, INTERRUPTED, TIMEOUT};
use core::fmt;
use std::error::Error;
use std::io;

const NO_OPERATIONS: &str = "the select has no operations: register one first";
const NOT_READY: &str =
    "no operation of the select is ready: try again later, or wait with `select`";
const NO_SLEEP: &str = "the select cannot sleep";

/// The error of a select that does not wait. Nothing was taken or sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySelectError {
    /// No operation is ready now; one may be later.
    NotReady,
    /// No operation is registered.
    NoOperations,
}

impl TrySelectError {
    /// Returns whether this is [`NotReady`](Self::NotReady).
    #[must_use]
    pub const fn is_not_ready(&self) -> bool {
        matches!(self, Self::NotReady)
    }
}

impl fmt::Display for TrySelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotReady => NOT_READY,
            Self::NoOperations => NO_OPERATIONS,
        })
    }
}

impl Error for TrySelectError {}

/// Defines the error of one kind of select that may sleep. It has the variants that are given here, each with its sentence
/// and the method that tests for it, and those that both kinds have.
macro_rules! select_error {
    (
        $(#[$doc:meta])*
        $error:ident {
            $($(#[$variant_doc:meta])* $variant:ident: $sentence:ident, $is:ident;)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[non_exhaustive]
        pub enum $error {
            $($(#[$variant_doc])* $variant,)*
            /// No operation is registered.
            NoOperations,
            /// The operations wait for more queues than a thread can sleep on.
            #[non_exhaustive]
            TooManyQueues {
                /// How many queues a select can wait for, a receiver and a sender of one queue counted as two.
                max: usize,
            },
            /// The operating system has no memory for the sleep, or no thread where it takes some.
            #[non_exhaustive]
            Os {
                /// The system's error.
                source: io::Error,
            },
        }

        impl $error {
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

        impl_eq!($error {
            $($variant,)*
            NoOperations,
            TooManyQueues { max },
            Os { source },
        });

        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant => f.write_str($sentence),)*
                    Self::NoOperations => f.write_str(NO_OPERATIONS),
                    Self::TooManyQueues { max } => {
                        write!(f, "a select can wait for {max} queues: use several threads")
                    }
                    Self::Os { source } => text::os(f, NO_SLEEP, source),
                }
            }
        }

        impl Error for $error {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                match self {
                    Self::Os { source } => Some(source),
                    _ => None,
                }
            }
        }
    };
}

select_error! {
    /// The error of a select without a time limit. Nothing was taken or sent.
    SelectError {
        /// An [`Interrupter`](crate::queue::Interrupter) ended the wait.
        Interrupted: INTERRUPTED, is_interrupted;
    }
}

select_error! {
    /// The error of a select with a time limit. Nothing was taken or sent.
    SelectTimeoutError {
        /// No operation was ready before the time limit passed.
        Timeout: TIMEOUT, is_timeout;
        /// An [`Interrupter`](crate::queue::Interrupter) ended the wait.
        Interrupted: INTERRUPTED, is_interrupted;
    }
}
