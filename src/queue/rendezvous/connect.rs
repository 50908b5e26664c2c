//! Connects to a process that listens.
//!
//! CONNECT-1. A connection is reported after the listener has sent its hello. The kernel reports a connect as done when
//!     the connection is in the listener's backlog, whether or not anybody accepts it; and `interprocess` reports one as
//!     done, too, that the kernel has refused because the backlog is full.
//!
//! | what an attempt finds                                   | then                     |
//! |---------------------------------------------------------|--------------------------|
//! | no listener, a full backlog, no permission, an end before the hello | another attempt, later |
//! | the listener's hello                                    | a connection             |
//! | a goodbye: the listener was dropped                     | `Closed`                 |
//! | a refusal, another user, another version                | an error that says so    |
//!
//! An attempt that is accepted waits for the hello until the deadline. This module owns no state.

use super::connection::Connection;
use super::frame::{Frame, FrameReader, Incoming};
use super::peer::Peer;
use super::place::{is_valid, socket_name};
use crate::error::ConnectError;
use crate::os::directory::{Directory, DirectoryError, Kind, own_user};
use crate::os::local_socket::{self, Connecting, SendError};
use crate::os::poll::Poll;
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

/// The delay after the first attempt. It doubles with each further one.
const MIN_DELAY: Duration = Duration::from_millis(1);
const MAX_DELAY: Duration = Duration::from_millis(100);

const NO_LISTENER: &str = "no process listened under that name";
const BACKLOG_FULL: &str = "the listener's backlog was full";
const NOT_PERMITTED: &str = "this user had no permission to connect";
const NO_ANSWER: &str = "the listener did not accept";
const ENDED: &str = "the listener ended before it answered";

/// How a process connects: see [`connect`] for the defaults.
///
/// # Examples
///
/// ```no_run
/// use std::time::{Duration, Instant};
/// use workring::rendezvous::ConnectOptions;
///
/// // To a process of user 33, and to no other.
/// let deadline = Instant::now() + Duration::from_secs(5);
/// let connection = ConnectOptions::new("thumbnails").user(33).connect(deadline)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing by themselves: call `connect`"]
pub struct ConnectOptions {
    name: String,
    user: Option<u32>,
    directory: Option<PathBuf>,
}

impl ConnectOptions {
    /// Returns the defaults for this name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            user: None,
            directory: None,
        }
    }

    /// Connects to a process of this effective user id, and to no other. The default is that of this process. The listener
    /// has to [allow](super::ListenOptions::allow_user) the user of this process.
    pub fn user(mut self, uid: u32) -> Self {
        self.user = Some(uid);
        self
    }

    /// Connects to a listener in this [directory](super::ListenOptions::directory). It must belong to the listener's user
    /// or to root, and no other user may have permission to write to it.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Connects: see [`connect`].
    ///
    /// # Errors
    ///
    /// The same as [`connect`].
    pub fn connect(&self, deadline: Instant) -> Result<Connection, ConnectError> {
        if !is_valid(&self.name) {
            let name = self.name.clone();
            return Err(ConnectError::InvalidName { name });
        }
        let mut delay = MIN_DELAY;
        loop {
            let last = match self.attempt(deadline)? {
                Ok(connection) => return Ok(connection),
                Err(why) => why,
            };
            let remaining = deadline.saturating_duration_since(Instant::now());
            if remaining.is_zero() {
                return Err(ConnectError::Timeout { last });
            }
            thread::sleep(delay.min(remaining));
            delay = (2 * delay).min(MAX_DELAY);
        }
    }

    fn expected_user(&self) -> u32 {
        self.user.unwrap_or_else(own_user)
    }

    /// Returns the directories in which the listener may be.
    fn directories(&self) -> Result<Vec<Directory>, ConnectError> {
        let user = self.expected_user();
        let kinds = match &self.directory {
            Some(directory) => vec![Kind::Chosen(directory.clone())],
            None if user == own_user() => vec![Kind::Private, Kind::Shared],
            None => vec![Kind::Shared],
        };
        let (mut found, mut unusable) = (Vec::new(), None);
        for kind in kinds {
            match Directory::of(&kind, user) {
                Ok(directories) => found.extend(directories),
                Err(error) => unusable = Some(error),
            }
        }
        match unusable {
            Some(error) if found.is_empty() => Err(no_directory(error)),
            _ => Ok(found),
        }
    }

    fn attempt(&self, deadline: Instant) -> Result<Attempt, ConnectError> {
        let mut why = NO_LISTENER;
        for directory in self.directories()? {
            let connecting = local_socket::connect(&directory, &socket_name(&self.name));
            match connecting.map_err(os("no connection could be made"))? {
                Connecting::Connected(socket) => return self.greet(socket, deadline),
                Connecting::NoListener => {}
                Connecting::BacklogFull => why = BACKLOG_FULL,
                Connecting::NotPermitted => why = NOT_PERMITTED,
            }
        }
        Ok(Err(why))
    }

    /// Exchanges hellos over a socket that may be connected (CONNECT-1).
    fn greet(&self, socket: OwnedFd, deadline: Instant) -> Result<Attempt, ConnectError> {
        const FAILED: &str = "the connection could not be used";
        match Frame::Hello.send(&socket, None) {
            // A listener that is dropped leaves a goodbye, even if this hello came too late.
            Ok(()) | Err(SendError::Closed) => {}
            Err(SendError::Full) => return Ok(Err(NO_ANSWER)),
            Err(SendError::Os(source)) => return Err(os(FAILED)(source)),
        }
        let peer = Peer::of(&socket).map_err(os(FAILED))?;
        let (theirs, expected) = (peer.uid(), self.expected_user());
        if theirs != expected && !mutant!(CredentialsNotChecked) {
            return Err(ConnectError::WrongUser { theirs, expected });
        }
        let mut reader = FrameReader::new();
        loop {
            match reader.read(&socket).map_err(os(FAILED))? {
                Incoming::Frame(Frame::Hello, _) => break,
                Incoming::WouldBlock if mutant!(HelloNotAwaited) => break,
                Incoming::WouldBlock => {
                    let mut poll = Poll::new();
                    poll.readable(socket.as_fd());
                    if !poll.wait(Some(deadline)).map_err(os(FAILED))? {
                        return Ok(Err(NO_ANSWER));
                    }
                }
                Incoming::Closed => return Ok(Err(ENDED)),
                Incoming::Frame(Frame::Goodbye, _) => return Err(ConnectError::Closed),
                Incoming::Frame(Frame::Refused, _) => {
                    return Err(ConnectError::Refused { user: own_user() });
                }
                Incoming::Frame(Frame::Give(_), _) => {
                    let what = "it gives something before it answers";
                    return Err(ConnectError::NotUnderstood { what });
                }
                Incoming::NotUnderstood(what) => return Err(ConnectError::NotUnderstood { what }),
            }
        }
        let connection = Connection::new(socket, peer, reader).map_err(os(FAILED))?;
        Ok(Ok(connection))
    }
}

/// What an attempt leads to: a connection, or nothing yet, for this reason.
type Attempt = Result<Connection, &'static str>;

fn os(what: &'static str) -> impl FnOnce(io::Error) -> ConnectError {
    move |source| ConnectError::Os { what, source }
}

fn no_directory(error: DirectoryError) -> ConnectError {
    match error {
        DirectoryError::NotPrivate {
            directory,
            owner,
            mode,
        } => ConnectError::NotPrivate {
            directory,
            owner,
            mode,
        },
        DirectoryError::Os(source) => os("the directory of listeners could not be opened")(source),
    }
}

/// Connects to the process of the same user that [listens](super::Listener) under this name. Blocks until it has accepted
/// this process and answered, at most until `deadline`.
///
/// If no process listens yet, or too many wait to be accepted, it tries again, after delays that grow from 1 ms to 100 ms.
/// With a deadline in the past it tries once. [`ConnectOptions`] has listeners of other users.
///
/// # Errors
///
/// [`ConnectError`]: [`Timeout`](ConnectError::Timeout) at the deadline, [`Closed`](ConnectError::Closed) if the listener
/// was dropped while this process waited to be accepted, an error that says why the two do not fit, or one of the system.
///
/// # Examples
///
/// See the [module](super).
pub fn connect(name: &str, deadline: Instant) -> Result<Connection, ConnectError> {
    ConnectOptions::new(name).connect(deadline)
}
