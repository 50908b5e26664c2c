//! What can go wrong, one type for each operation.

use crate::codec::{DecodeError, EncodeError};
use core::fmt;
use std::error::Error;
use std::io;

mod many;

pub use many::{SendManyError, SendManyTimeoutError, TrySendManyError, Unsent};

/// A send failed. Carries the message.
#[non_exhaustive]
pub enum SendError<T> {
    /// The queue is closed: no message will be accepted any more.
    Closed(T),
    /// The wait was ended by an [`Interrupter`](crate::Interrupter).
    Interrupted(T),
    /// The message is larger than any block of the queue.
    #[non_exhaustive]
    TooLarge {
        /// The message.
        value: T,
        /// Its length in bytes, encoded.
        len: usize,
        /// The largest length that this queue takes.
        max: usize,
    },
    /// The codec could not encode the message.
    #[non_exhaustive]
    Encode {
        /// The message.
        value: T,
        /// What the codec said.
        source: EncodeError,
    },
    /// Shared memory holds something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// The message.
        value: T,
        /// What is wrong.
        what: &'static str,
    },
}

/// A send that does not wait failed. Carries the message.
#[non_exhaustive]
pub enum TrySendError<T> {
    /// The queue is full, or has no block free for a message of this size: try again later, or wait with
    /// [`send`](crate::Sender::send).
    Full(T),
    /// The queue is closed: no message will be accepted any more.
    Closed(T),
    /// The message is larger than any block of the queue.
    #[non_exhaustive]
    TooLarge {
        /// The message.
        value: T,
        /// Its length in bytes, encoded.
        len: usize,
        /// The largest length that this queue takes.
        max: usize,
    },
    /// The codec could not encode the message.
    #[non_exhaustive]
    Encode {
        /// The message.
        value: T,
        /// What the codec said.
        source: EncodeError,
    },
    /// Shared memory holds something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// The message.
        value: T,
        /// What is wrong.
        what: &'static str,
    },
}

/// A send with a time limit failed. Carries the message.
#[non_exhaustive]
pub enum SendTimeoutError<T> {
    /// The queue stayed full until the time was up.
    Timeout(T),
    /// The queue is closed: no message will be accepted any more.
    Closed(T),
    /// The wait was ended by an [`Interrupter`](crate::Interrupter).
    Interrupted(T),
    /// The message is larger than any block of the queue.
    #[non_exhaustive]
    TooLarge {
        /// The message.
        value: T,
        /// Its length in bytes, encoded.
        len: usize,
        /// The largest length that this queue takes.
        max: usize,
    },
    /// The codec could not encode the message.
    #[non_exhaustive]
    Encode {
        /// The message.
        value: T,
        /// What the codec said.
        source: EncodeError,
    },
    /// Shared memory holds something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// The message.
        value: T,
        /// What is wrong.
        what: &'static str,
    },
}

const CLOSED: &str = "the queue is closed";
const INTERRUPTED: &str = "the wait was interrupted";
const TIMEOUT: &str = "the time is up";
const FULL: &str = "the queue is full: try again later, or wait with `send`";

fn too_large(f: &mut fmt::Formatter<'_>, len: usize, max: usize) -> fmt::Result {
    write!(
        f,
        "a message of {len} bytes is larger than the {max} that this queue takes: send it in parts"
    )
}

fn corrupt(f: &mut fmt::Formatter<'_>, what: &str) -> fmt::Result {
    write!(
        f,
        "the queue's shared memory is corrupt ({what}): make a new queue"
    )
}

macro_rules! send_error {
    ($name:ident: $($plain:ident $text:ident),+) => {
        impl<T> $name<T> {
            /// The message that was not sent.
            pub fn into_inner(self) -> T {
                match self {
                    $(Self::$plain(value))|+
                    | Self::TooLarge { value, .. }
                    | Self::Encode { value, .. }
                    | Self::Corrupt { value, .. } => value,
                }
            }

            /// The same error with something else in the place of the message: `map(drop)` to pass on an error
            /// whose message borrows from the queue.
            pub fn map<U>(self, with: impl FnOnce(T) -> U) -> $name<U> {
                match self {
                    $(Self::$plain(value) => $name::$plain(with(value)),)+
                    Self::TooLarge { value, len, max } => $name::TooLarge { value: with(value), len, max },
                    Self::Encode { value, source } => $name::Encode { value: with(value), source },
                    Self::Corrupt { value, what } => $name::Corrupt { value: with(value), what },
                }
            }

            /// Whether the queue is closed.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                matches!(self, Self::Closed(_))
            }
        }

        impl<T> fmt::Display for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$plain(_) => f.write_str($text),)+
                    Self::TooLarge { len, max, .. } => too_large(f, *len, *max),
                    Self::Encode { source, .. } => fmt::Display::fmt(source, f),
                    Self::Corrupt { what, .. } => corrupt(f, what),
                }
            }
        }

        // By hand, so that messages need not be Debug.
        impl<T> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$plain(_) => f.write_str(concat!(stringify!($plain), "(..)")),)+
                    Self::TooLarge { len, max, .. } => {
                        f.debug_struct("TooLarge").field("len", len).field("max", max).finish_non_exhaustive()
                    }
                    Self::Encode { source, .. } => {
                        f.debug_struct("Encode").field("source", source).finish_non_exhaustive()
                    }
                    Self::Corrupt { what, .. } => {
                        f.debug_struct("Corrupt").field("what", what).finish_non_exhaustive()
                    }
                }
            }
        }

        impl<T> Error for $name<T> {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                match self {
                    Self::Encode { source, .. } => source.source(),
                    _ => None,
                }
            }
        }
    };
}

send_error!(SendError: Closed CLOSED, Interrupted INTERRUPTED);
send_error!(TrySendError: Full FULL, Closed CLOSED);
send_error!(SendTimeoutError: Timeout TIMEOUT, Closed CLOSED, Interrupted INTERRUPTED);

/// A receive failed. No message is lost.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// The queue is closed and there will never be another message. Every later receive says the same.
    Closed,
    /// The wait was ended by an [`Interrupter`](crate::Interrupter).
    Interrupted,
    /// The codec could not decode the message, which is now a dead letter. The next receive goes on after it.
    Decode(DecodeError),
    /// This process has as many leases as it may; acknowledge or return one first. From `lease` only.
    #[non_exhaustive]
    TooManyLeases {
        /// How many it may have.
        max: usize,
    },
    /// Shared memory holds something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
}

/// A receive that does not wait failed. No message is lost.
#[derive(Debug)]
#[non_exhaustive]
pub enum TryRecvError {
    /// There is no message now; there may be one later.
    Empty,
    /// The queue is closed and there will never be another message. Every later receive says the same.
    Closed,
    /// The codec could not decode the message, which is now a dead letter. The next receive goes on after it.
    Decode(DecodeError),
    /// This process has as many leases as it may; acknowledge or return one first. From `try_lease` only.
    #[non_exhaustive]
    TooManyLeases {
        /// How many it may have.
        max: usize,
    },
    /// Shared memory holds something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
}

/// A receive with a time limit failed. No message is lost.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// No message came until the time was up.
    Timeout,
    /// The queue is closed and there will never be another message. Every later receive says the same.
    Closed,
    /// The wait was ended by an [`Interrupter`](crate::Interrupter).
    Interrupted,
    /// The codec could not decode the message, which is now a dead letter. The next receive goes on after it.
    Decode(DecodeError),
    /// This process has as many leases as it may; acknowledge or return one first. From `lease_timeout` and
    /// `lease_deadline` only.
    #[non_exhaustive]
    TooManyLeases {
        /// How many it may have.
        max: usize,
    },
    /// Shared memory holds something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
}

const EMPTY: &str = "the queue is empty: try again later, or wait with `recv`";

macro_rules! recv_error {
    ($name:ident: $($plain:ident $text:ident),+) => {
        impl $name {
            /// Whether the queue is closed and drained.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                matches!(self, Self::Closed)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$plain => f.write_str($text),)+
                    Self::Decode(source) => fmt::Display::fmt(source, f),
                    Self::TooManyLeases { max } => {
                        write!(f, "this process has {max} leases already: acknowledge or return one first")
                    }
                    Self::Corrupt { what } => corrupt(f, what),
                }
            }
        }

        impl Error for $name {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                match self {
                    Self::Decode(source) => source.source(),
                    _ => None,
                }
            }
        }
    };
}

recv_error!(RecvError: Closed CLOSED, Interrupted INTERRUPTED);
recv_error!(TryRecvError: Empty EMPTY, Closed CLOSED);
recv_error!(RecvTimeoutError: Timeout TIMEOUT, Closed CLOSED, Interrupted INTERRUPTED);

/// A queue could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum CreateError {
    /// An option has a value that makes no sense.
    #[non_exhaustive]
    InvalidOption {
        /// Which one, as the method of [`Options`](crate::Options) is called.
        option: &'static str,
        /// What was asked for.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// The system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidOption {
                option,
                value,
                allowed,
            } => {
                write!(f, "the option `{option}` is {value}, but must be {allowed}")
            }
            Self::Os { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl Error for CreateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InvalidOption { .. } => None,
            Self::Os { source, .. } => Some(source),
        }
    }
}

/// An end of a queue could not be handed to a child process.
#[derive(Debug)]
#[non_exhaustive]
pub enum HandoffError {
    /// A name must be one or more letters, digits, `-`, `_` and `.`, and each may be given once.
    #[non_exhaustive]
    InvalidName {
        /// The name.
        name: String,
    },
    /// The queue is closed: a child would have nothing to do with it.
    Closed,
    /// As many processes are attached to the queue as it has rows for.
    #[non_exhaustive]
    TooManyPeers {
        /// How many there can be.
        max: usize,
    },
    /// Shared memory holds something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// What is wrong.
        what: &'static str,
    },
    /// The system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for HandoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName { name } => write!(
                f,
                "{name:?} can't name a hand-off: use letters, digits, `-`, `_` and `.`, and each name once"
            ),
            Self::Closed => f.write_str(CLOSED),
            Self::TooManyPeers { max } => {
                write!(f, "the queue has {max} processes already: let one go first")
            }
            Self::Corrupt { what } => corrupt(f, what),
            Self::Os { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl Error for HandoffError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A child process could not take over an end of a queue.
#[derive(Debug)]
#[non_exhaustive]
pub enum InheritError {
    /// This process was not given an end of that name.
    #[non_exhaustive]
    NotGiven {
        /// The name asked for.
        name: String,
        /// The names that there are.
        given: Vec<String>,
    },
    /// The end was taken over before, by this process or another one.
    #[non_exhaustive]
    AlreadyTaken {
        /// The name.
        name: String,
    },
    /// The parent gave the other end.
    #[non_exhaustive]
    WrongEnd {
        /// The name.
        name: String,
        /// What it gave: `"Sender"` or `"Receiver"`.
        given: &'static str,
    },
    /// What was inherited is no queue of this crate.
    #[non_exhaustive]
    NotAQueue {
        /// Why not.
        what: &'static str,
    },
    /// The queue was made by another version of this crate.
    #[non_exhaustive]
    Version {
        /// The queue's.
        theirs: u64,
        /// This process's.
        ours: u64,
    },
    /// The queue's parts lie elsewhere than this build of the crate expects.
    #[non_exhaustive]
    Layout {
        /// The queue's fingerprint.
        theirs: u64,
        /// This process's.
        ours: u64,
    },
    /// The queue carries messages of another type.
    #[non_exhaustive]
    Type {
        /// The queue's.
        theirs: String,
        /// This process's.
        ours: String,
    },
    /// The queue's messages have another codec.
    #[non_exhaustive]
    Codec {
        /// The queue's.
        theirs: String,
        /// This process's.
        ours: String,
    },
    /// The queue was made with another schema tag.
    #[non_exhaustive]
    Schema {
        /// The queue's.
        theirs: u64,
        /// This process's.
        ours: u64,
    },
    /// The system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

impl fmt::Display for InheritError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGiven { name, given } if given.is_empty() => {
                write!(
                    f,
                    "this process was given no queue, {name:?} included: start it with `Handoff::spawn`"
                )
            }
            Self::NotGiven { name, given } => {
                write!(
                    f,
                    "this process was given no {name:?}, but {}",
                    given.join(", ")
                )
            }
            Self::AlreadyTaken { name } => write!(
                f,
                "{name:?} was taken over before: clone what that returned"
            ),
            Self::WrongEnd { name, given } => write!(f, "{name:?} is a {given}: ask for that"),
            Self::NotAQueue { what } => write!(f, "what was inherited is no queue: {what}"),
            Self::Version { theirs, ours } => {
                write!(
                    f,
                    "the queue has version {theirs}, this process {ours}: build both with one workring"
                )
            }
            Self::Layout { theirs, ours } => write!(
                f,
                "the queue has layout {theirs:#x}, this process {ours:#x}: build both with one workring"
            ),
            Self::Type { theirs, ours } => {
                write!(f, "the queue carries {theirs}, this process expects {ours}")
            }
            Self::Codec { theirs, ours } => write!(
                f,
                "the queue's codec is {theirs:?}, this process's {ours:?}"
            ),
            Self::Schema { theirs, ours } => write!(
                f,
                "the queue's schema tag is {theirs}, this process's {ours}"
            ),
            Self::Os { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl Error for InheritError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}
