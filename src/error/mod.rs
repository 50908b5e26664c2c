//! What can go wrong, one type for each operation.

use crate::codec::{DecodeError, EncodeError};
use core::fmt;
use std::error::Error;
use std::io;

mod many;
mod named;
mod pool;
mod watch;

pub use many::{SendManyError, SendManyTimeoutError, TrySendManyError, Unsent};
pub use named::{CreateNamedError, OpenError, RemoveError};
pub(crate) use pool::ending;
pub use pool::{ShutdownError, StartError, SubmitError, TrySubmitError};
pub use watch::WatchError;

/// Which limit leaves too little memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemoryLimit {
    /// The queue's own, [`Options::memory_limit`](crate::Options::memory_limit).
    Queue,
    /// That of a memory control group which this process is in: `memory.max` less `memory.current`, not counting
    /// file cache as used.
    Cgroup,
    /// The machine's memory: `MemAvailable`, or what the kernel is willing to commit.
    Machine,
    /// `RLIMIT_FSIZE`, which has to leave room for the whole queue, with every block that it could come to use.
    FileSize,
    /// The size of the file system that the queue lies in.
    FileSystem,
    /// `RLIMIT_AS`, which has to leave room for the whole queue, with every block that it could come to use.
    AddressSpace,
}

impl MemoryLimit {
    /// What to call it, and what to do.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Queue => ("the queue's memory limit", "raise `Options::memory_limit`"),
            Self::Cgroup => (
                "the memory control group",
                "raise its limit, or use less elsewhere in it",
            ),
            Self::Machine => ("the machine", "use less elsewhere"),
            Self::FileSize => (
                "RLIMIT_FSIZE",
                "raise it, or lower `Options::max_message_len`",
            ),
            Self::FileSystem => ("the file system", "make it larger"),
            Self::AddressSpace => ("RLIMIT_AS", "raise it, or lower `Options::max_message_len`"),
        }
    }
}

impl fmt::Display for MemoryLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words().0)
    }
}

/// A send failed. Carries the message.
#[non_exhaustive]
pub enum SendError<T> {
    /// The queue is closed: no message will be accepted any more.
    Closed(T),
    /// This process was forked from the one that is attached to the queue, and has no part in it. Nothing was
    /// done.
    Forked(T),
    /// The wait was ended by an [`Interrupter`](crate::Interrupter).
    Interrupted(T),
    /// The message is larger than [`Options::max_message_len`](crate::Options::max_message_len).
    #[non_exhaustive]
    TooLarge {
        /// The message.
        value: T,
        /// Its length in bytes, encoded.
        len: usize,
        /// The largest length that this queue takes.
        max: usize,
    },
    /// There is no memory for a message of this size, and waiting for other messages to go would not help. Only for
    /// messages above 64 KiB: the memory for smaller ones is taken when the queue is made.
    #[non_exhaustive]
    NoMemory {
        /// The message.
        value: T,
        /// Which limit it was.
        limit: MemoryLimit,
        /// How many bytes were wanted.
        wanted: u64,
        /// How many the limit leaves.
        available: u64,
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
    /// This process was forked from the one that is attached to the queue, and has no part in it. Nothing was
    /// done.
    Forked(T),
    /// The message is larger than [`Options::max_message_len`](crate::Options::max_message_len).
    #[non_exhaustive]
    TooLarge {
        /// The message.
        value: T,
        /// Its length in bytes, encoded.
        len: usize,
        /// The largest length that this queue takes.
        max: usize,
    },
    /// There is no memory for a message of this size, and waiting for other messages to go would not help. Only for
    /// messages above 64 KiB: the memory for smaller ones is taken when the queue is made.
    #[non_exhaustive]
    NoMemory {
        /// The message.
        value: T,
        /// Which limit it was.
        limit: MemoryLimit,
        /// How many bytes were wanted.
        wanted: u64,
        /// How many the limit leaves.
        available: u64,
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
    /// This process was forked from the one that is attached to the queue, and has no part in it. Nothing was
    /// done.
    Forked(T),
    /// The wait was ended by an [`Interrupter`](crate::Interrupter).
    Interrupted(T),
    /// The message is larger than [`Options::max_message_len`](crate::Options::max_message_len).
    #[non_exhaustive]
    TooLarge {
        /// The message.
        value: T,
        /// Its length in bytes, encoded.
        len: usize,
        /// The largest length that this queue takes.
        max: usize,
    },
    /// There is no memory for a message of this size, and waiting for other messages to go would not help. Only for
    /// messages above 64 KiB: the memory for smaller ones is taken when the queue is made.
    #[non_exhaustive]
    NoMemory {
        /// The message.
        value: T,
        /// Which limit it was.
        limit: MemoryLimit,
        /// How many bytes were wanted.
        wanted: u64,
        /// How many the limit leaves.
        available: u64,
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

const CLOSED: &str = "the queue is closed: stop using it, or make a new one";
const FORKED: &str = "this process was forked from the one that has the queue: give it an end with `Handoff` instead";
const INTERRUPTED: &str = "an `Interrupter` ended the wait: call again to go on waiting";
const TIMEOUT: &str = "the time is up: try again later, or wait longer";
const FULL: &str = "the queue is full: try again later, or wait with `send`";

fn too_large(f: &mut fmt::Formatter<'_>, len: usize, max: usize) -> fmt::Result {
    write!(
        f,
        "a message of {len} bytes is larger than the {max} that this queue takes: send it in parts, or raise \
         `Options::max_message_len`"
    )
}

fn no_memory(
    f: &mut fmt::Formatter<'_>,
    limit: MemoryLimit,
    wanted: u64,
    available: u64,
) -> fmt::Result {
    let (name, advice) = limit.words();
    write!(
        f,
        "{wanted} bytes of memory are needed, but {name} leaves {available}: {advice}"
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
                    | Self::NoMemory { value, .. }
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
                    Self::NoMemory { value, limit, wanted, available } => {
                        $name::NoMemory { value: with(value), limit, wanted, available }
                    }
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
                    Self::NoMemory { limit, wanted, available, .. } => {
                        no_memory(f, *limit, *wanted, *available)
                    }
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

        impl<T> Error for $name<T> {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                match self {
                    // Its own text, with that of its cause, is in the sentence.
                    Self::Encode { source, .. } => source.source(),
                    _ => None,
                }
            }
        }
    };
}

send_error!(SendError: Closed CLOSED, Forked FORKED, Interrupted INTERRUPTED);
send_error!(TrySendError: Full FULL, Closed CLOSED, Forked FORKED);
send_error!(SendTimeoutError: Timeout TIMEOUT, Closed CLOSED, Forked FORKED, Interrupted INTERRUPTED);

macro_rules! from_send_error {
    ($name:ident: Interrupted is $interrupted:ident) => {
        impl<T> From<SendError<T>> for $name<T> {
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

/// A receive failed. No message is lost.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// The queue is closed and there will never be another message. Every later receive says the same.
    Closed,
    /// This process was forked from the one that is attached to the queue, and has no part in it. Nothing was
    /// done.
    Forked,
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
    /// This process was forked from the one that is attached to the queue, and has no part in it. Nothing was
    /// done.
    Forked,
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
    /// This process was forked from the one that is attached to the queue, and has no part in it. Nothing was
    /// done.
    Forked,
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

recv_error!(RecvError: Closed CLOSED, Forked FORKED, Interrupted INTERRUPTED);
recv_error!(TryRecvError: Empty EMPTY, Closed CLOSED, Forked FORKED);
recv_error!(RecvTimeoutError: Timeout TIMEOUT, Closed CLOSED, Forked FORKED, Interrupted INTERRUPTED);

macro_rules! from_recv_error {
    ($name:ident: Interrupted is $interrupted:ident) => {
        impl From<RecvError> for $name {
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
    /// There is not enough memory for it.
    #[non_exhaustive]
    NoMemory {
        /// Which limit it was.
        limit: MemoryLimit,
        /// How many bytes were wanted.
        wanted: u64,
        /// How many the limit leaves.
        available: u64,
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
            Self::NoMemory {
                limit,
                wanted,
                available,
            } => no_memory(f, *limit, *wanted, *available),
            Self::Os { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl Error for CreateError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::InvalidOption { .. } | Self::NoMemory { .. } => None,
            // Its own text is in the sentence.
            Self::Os { source, .. } => source.source(),
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
    /// This process was forked from the one that is attached to the queue, and has no part in it. Nothing was
    /// done.
    Forked,
    /// As many processes are attached to the queue, or were given an end of it, as it has rows for. End one of
    /// them, or drop a [`Handoff`](crate::Handoff) that was not spawned, and try again.
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
            Self::Forked => f.write_str(FORKED),
            Self::TooManyPeers { max } => {
                write!(
                    f,
                    "the queue has {max} processes already, and no row for another: \
                     end one, or drop a hand-off that was not spawned"
                )
            }
            Self::Corrupt { what } => corrupt(f, what),
            Self::Os { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl Error for HandoffError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Its own text is in the sentence.
            Self::Os { source, .. } => source.source(),
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
        /// What it gave: `"Sender"`, `"Receiver"` or, if it is no end of a queue at all, `"file"`.
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
    /// There is not enough room to map the queue.
    #[non_exhaustive]
    NoMemory {
        /// Which limit it was.
        limit: MemoryLimit,
        /// How many bytes were wanted.
        wanted: u64,
        /// How many the limit leaves.
        available: u64,
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
                    "this process was given no {name:?}, but {}: ask for one of these",
                    given.join(", ")
                )
            }
            Self::AlreadyTaken { name } => write!(
                f,
                "{name:?} was taken over before: clone what that returned"
            ),
            Self::WrongEnd { name, given } => write!(f, "{name:?} is a {given}: ask for that"),
            Self::NotAQueue { what } => write!(
                f,
                "what was inherited is no queue of this crate ({what}): give an end with `Handoff::give`"
            ),
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
            Self::Type { theirs, ours } => write!(
                f,
                "the queue carries {theirs}, this process expects {ours}: use one type on both sides"
            ),
            Self::Codec { theirs, ours } => write!(
                f,
                "the queue's codec is {theirs:?}, this process's {ours:?}: use one on both sides"
            ),
            Self::Schema { theirs, ours } => write!(
                f,
                "the queue's schema tag is {theirs}, this process's {ours}: name one tag on both sides"
            ),
            Self::NoMemory {
                limit,
                wanted,
                available,
            } => no_memory(f, *limit, *wanted, *available),
            Self::Os { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl Error for InheritError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Its own text is in the sentence.
            Self::Os { source, .. } => source.source(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_codec_said_is_in_the_sentence() {
        let source = || EncodeError::failed("no colour called mauve");
        let sent = SendError::Encode {
            value: (),
            source: source(),
        };
        assert!(
            sent.to_string().ends_with("no colour called mauve"),
            "{sent}"
        );
        let received = RecvError::Decode(DecodeError::new("colour 77 of 16"));
        assert!(
            received.to_string().ends_with("colour 77 of 16"),
            "{received}"
        );
    }

    /// What a program prints that writes an error and then all of its sources.
    fn chain(error: &dyn Error) -> Vec<String> {
        let mut said = vec![error.to_string()];
        let mut next = error.source();
        while let Some(source) = next {
            said.push(source.to_string());
            next = source.source();
        }
        said
    }

    #[test]
    fn no_source_is_said_twice() {
        let os = || io::Error::from_raw_os_error(13);
        let custom = || io::Error::other(DecodeError::new("colour 77 of 16"));
        let what = "no shared memory for the queue";
        let errors: [Box<dyn Error>; 8] = [
            Box::new(SendError::Encode {
                value: (),
                source: EncodeError::failed("no colour called mauve"),
            }),
            Box::new(RecvError::Decode(DecodeError::new("colour 77 of 16"))),
            Box::new(EncodeError::failed("no colour called mauve")),
            Box::new(DecodeError::new("colour 77 of 16")),
            Box::new(CreateError::Os { what, source: os() }),
            Box::new(HandoffError::Os { what, source: os() }),
            Box::new(InheritError::Os {
                what,
                source: custom(),
            }),
            Box::new(OpenError::Os { what, source: os() }),
        ];
        for error in errors {
            let said = chain(&*error);
            let [first, rest @ ..] = &said[..] else {
                unreachable!("the error itself");
            };
            assert!(first.contains("mauve") || first.contains("77") || first.contains("denied"));
            for source in rest {
                assert!(!first.contains(source), "{said:?}");
            }
        }
    }

    #[test]
    fn every_sentence_is_in_lower_case_and_says_what_to_do() {
        let memory = (MemoryLimit::Machine, 7, 5);
        let (limit, wanted, available) = memory;
        let mut sentences = vec![
            SendError::Closed(()).to_string(),
            SendError::Forked(()).to_string(),
            SendError::Interrupted(()).to_string(),
            TrySendError::Full(()).to_string(),
            SendTimeoutError::Timeout(()).to_string(),
            RecvError::Closed.to_string(),
            RecvError::TooManyLeases { max: 3 }.to_string(),
            RecvError::Corrupt { what: "a lap" }.to_string(),
            TryRecvError::Empty.to_string(),
            RecvTimeoutError::Timeout.to_string(),
            EncodeError::TooDeep { limit: 128 }.to_string(),
            HandoffError::TooManyPeers { max: 3 }.to_string(),
            RemoveError::InUse { processes: 1 }.to_string(),
        ];
        let (value, len, max) = ((), 9, 8);
        let too_large = SendError::TooLarge { value, len, max }.to_string();
        assert!(
            too_large.contains("Options::max_message_len"),
            "{too_large}"
        );
        sentences.push(too_large);
        let no_memory = SendError::NoMemory {
            value,
            limit,
            wanted,
            available,
        };
        sentences.push(no_memory.to_string());
        let (theirs, ours) = ("u8".to_owned(), "u16".to_owned());
        sentences.push(InheritError::Type { theirs, ours }.to_string());
        let (theirs, ours) = (1, 2);
        sentences.push(InheritError::Schema { theirs, ours }.to_string());
        sentences.push(OpenError::Version { theirs, ours }.to_string());
        for sentence in sentences {
            let (cause, remedy) = sentence.split_once(": ").unwrap_or((&sentence, ""));
            assert!(!cause.is_empty() && !remedy.is_empty(), "{sentence}");
            assert!(!sentence.starts_with(char::is_uppercase), "{sentence}");
            assert!(!sentence.ends_with('.'), "{sentence}");
        }
        let one = RemoveError::InUse { processes: 1 }.to_string();
        assert!(one.starts_with("1 process is"), "{one}");
    }

    #[test]
    fn an_error_of_a_waiting_form_is_one_of_the_other_forms() {
        assert!(matches!(
            TrySendError::from(SendError::Interrupted(7)),
            TrySendError::Full(7)
        ));
        assert!(matches!(
            SendTimeoutError::from(SendError::Interrupted(7)),
            SendTimeoutError::Interrupted(7)
        ));
        assert!(matches!(
            TryRecvError::from(RecvError::Interrupted),
            TryRecvError::Empty
        ));
        let corrupt = RecvError::Corrupt { what: "a lap" };
        assert!(matches!(
            RecvTimeoutError::from(corrupt),
            RecvTimeoutError::Corrupt { what: "a lap" }
        ));
        assert!(TryRecvError::from(RecvError::Closed).is_closed());
        assert!(TrySendError::from(SendError::Closed(())).is_closed());
    }
}
