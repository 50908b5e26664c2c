//! Errors of listening for other processes, and of connecting to one.

use super::equality::impl_eq;
use super::text;
use core::fmt;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Writes the sentence for a name that no listener can have.
fn invalid_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    write!(
        f,
        "{name:?} can't name a listener: use 1 to 80 ASCII letters, digits, `-`, `_` and `.`"
    )
}

/// Writes the sentence for a directory that other users could change.
fn not_private(f: &mut fmt::Formatter<'_>, directory: &Path, owner: u32, mode: u32) -> fmt::Result {
    write!(
        f,
        "the directory {} belongs to user {owner} and has mode {mode:04o}, so other users could interfere: remove it, \
         or choose another directory",
        directory.display()
    )
}

/// The error of [`Listener::bind`](crate::rendezvous::Listener::bind): this process cannot listen under a name.
#[derive(Debug)]
#[non_exhaustive]
pub enum BindError {
    /// A name must have 1 to 80 letters, digits, `-`, `_` and `.`.
    #[non_exhaustive]
    InvalidName {
        /// The name.
        name: String,
    },
    /// Another listener of this user has the name, in this process or in another one.
    #[non_exhaustive]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The directory in which listeners are found belongs to another user, or other users may write to it.
    #[non_exhaustive]
    NotPrivate {
        /// The directory.
        directory: PathBuf,
        /// The id of the user that it belongs to.
        owner: u32,
        /// Its permissions, as in `chmod(1)`.
        mode: u32,
    },
    /// The operating system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl_eq!(BindError {
    InvalidName { name },
    NameTaken { name },
    NotPrivate { directory, owner, mode },
    Os { what, source },
});

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName { name } => invalid_name(f, name),
            Self::NameTaken { name } => write!(
                f,
                "another listener has the name {name:?}: end that one, or choose another name"
            ),
            Self::NotPrivate {
                directory,
                owner,
                mode,
            } => not_private(f, directory, *owner, *mode),
            Self::Os { what, source } => text::os(f, what, source),
        }
    }
}

impl Error for BindError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The error of [`Listener::accept`](crate::rendezvous::Listener::accept): no connection was accepted.
#[derive(Debug)]
#[non_exhaustive]
pub enum AcceptError {
    /// No process has connected before the time limit passed.
    Timeout,
    /// No process waits to be accepted now. Only from
    /// [`try_accept`](crate::rendezvous::Listener::try_accept).
    Empty,
    /// An [`Interrupter`](crate::rendezvous::Interrupter) ended the wait.
    Interrupted,
    /// This process is a forked child of the one that listens. Nothing was done.
    Forked,
    /// The operating system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl_eq!(AcceptError {
    Timeout,
    Empty,
    Interrupted,
    Forked,
    Os { what, source },
});

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str(text::TIMEOUT),
            Self::Empty => {
                f.write_str("no process waits to be accepted: try again later, or wait with `accept`")
            }
            Self::Interrupted => f.write_str(text::INTERRUPTED),
            Self::Forked => f.write_str(
                "this process is a forked child of the one that listens: make a listener of its own",
            ),
            Self::Os { what, source } => text::os(f, what, source),
        }
    }
}

impl Error for AcceptError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The error of [`connect`](crate::rendezvous::connect()): there is no connection.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// A name must have 1 to 80 letters, digits, `-`, `_` and `.`.
    #[non_exhaustive]
    InvalidName {
        /// The name.
        name: String,
    },
    /// No listener of that name has accepted this process and answered before the deadline.
    #[non_exhaustive]
    Timeout {
        /// What the last attempt has found.
        last: &'static str,
    },
    /// The listener was dropped while this process waited to be accepted.
    Closed,
    /// The listener does not accept processes of this user.
    #[non_exhaustive]
    Refused {
        /// The effective user id of this process.
        user: u32,
    },
    /// The process that listens belongs to another user than this process expects.
    #[non_exhaustive]
    WrongUser {
        /// The user id of the process that listens.
        theirs: u32,
        /// The user id that this process expects.
        expected: u32,
    },
    /// What listens there does not answer as this version of the crate does.
    #[non_exhaustive]
    NotUnderstood {
        /// What is wrong.
        what: &'static str,
    },
    /// The directory in which listeners are found belongs to another user, or other users may write to it.
    #[non_exhaustive]
    NotPrivate {
        /// The directory.
        directory: PathBuf,
        /// The id of the user that it belongs to.
        owner: u32,
        /// Its permissions, as in `chmod(1)`.
        mode: u32,
    },
    /// The operating system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl ConnectError {
    /// Returns whether this is [`Timeout`](Self::Timeout).
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout { .. })
    }

    /// Returns whether this is [`Closed`](Self::Closed).
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

impl_eq!(ConnectError {
    InvalidName { name },
    Timeout { last },
    Closed,
    Refused { user },
    WrongUser { theirs, expected },
    NotUnderstood { what },
    NotPrivate { directory, owner, mode },
    Os { what, source },
});

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidName { name } => invalid_name(f, name),
            Self::Timeout { last } => write!(
                f,
                "no listener has answered in time, at last because {last}: start the listener, or wait longer"
            ),
            Self::Closed => f.write_str("the listener was closed: connect again when there is one"),
            Self::Refused { user } => write!(
                f,
                "the listener does not accept user {user}: let it do so with `ListenOptions::allow_user`"
            ),
            Self::WrongUser { theirs, expected } => write!(
                f,
                "user {theirs} listens there, and not user {expected}: name the user with `ConnectOptions::user`"
            ),
            Self::NotUnderstood { what } => write!(
                f,
                "what listens there is no listener of this crate ({what}): build both with the same version of workring"
            ),
            Self::NotPrivate {
                directory,
                owner,
                mode,
            } => not_private(f, directory, *owner, *mode),
            Self::Os { what, source } => text::os(f, what, source),
        }
    }
}

impl Error for ConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}
