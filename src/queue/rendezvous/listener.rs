//! Listens under a name, and accepts processes that connect.
//!
//! | a process that connects       | where it is                  | ends with                                            |
//! |-------------------------------|------------------------------|------------------------------------------------------|
//! | waits to be accepted          | in the backlog of the socket | [`Listener::accept`], or the end of either side      |
//! | was accepted, not yet greeted | `guests`                     | its hello, its end, [`MAX_GREETING`], or a full house |
//! | was greeted                   | a [`Connection`]             | the drop of either side                              |
//!
//! LISTEN-1. A connection is reported after the kernel has named the peer, the policy allows it, its hello was received, and
//!     ours was sent. A hello comes with the connect, so a process that is well is greeted at once.
//! LISTEN-2. No process keeps others from being accepted: one that sends no hello waits in `guests`, which is bounded.
//! LISTEN-3. All threads that accept wait for one set of descriptors, the guests' included. So whichever of them accepts a
//!     guest, all are woken by its hello, and one reports it.
//!
//! Crash: the kernel closes the socket, and with it all connections that wait there.

#[cfg(feature = "async")]
use super::accepting::Accepting;
use super::connection::Connection;
use super::frame::{Frame, FrameReader, Incoming};
use super::interrupter::Interrupter;
use super::peer::{Admission, Peer};
use super::place::Place;
use crate::error::{AcceptError, BindError};
use crate::os::descriptor;
use crate::os::directory::Kind;
use crate::os::local_socket::ListeningSocket;
use crate::os::poll::Epoll;
use core::fmt;
use core::time::Duration;
use parking_lot::Mutex;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

/// How long a process that was accepted has time for its hello.
const MAX_GREETING: Duration = Duration::from_secs(10);
/// How many processes at a time may be late with their hello. The one that has been longest is dropped for another.
const MAX_GUESTS: usize = 64;
/// The default of [`ListenOptions::backlog`], as in most servers.
const DEFAULT_BACKLOG: u32 = 128;
/// All descriptors of the set have this key: a wait that ends looks at all of them.
const KEY: u64 = 0;

/// How a process listens: see [`Listener::bind`] for the defaults.
///
/// # Examples
///
/// ```no_run
/// use workring::rendezvous::ListenOptions;
///
/// // Processes of user 33, too.
/// let listener = ListenOptions::new("thumbnails").allow_user(33).bind()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing by themselves: call `bind`"]
pub struct ListenOptions {
    name: String,
    admission: Admission,
    directory: Option<PathBuf>,
    backlog: u32,
}

impl ListenOptions {
    /// Returns the defaults for this name: 1 to 80 letters, digits, `-`, `_` and `.`.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            admission: Admission::default(),
            directory: None,
            backlog: DEFAULT_BACKLOG,
        }
    }

    /// Also accepts processes of this effective user id. May be called several times.
    ///
    /// The socket then lies in `/tmp/workring-UID-shared`, with the user id of this process: other users may use the names
    /// there, but not list or change them. They connect with [`ConnectOptions::user`](super::ConnectOptions::user).
    ///
    /// A process that has an end of a queue can write to all of the queue's memory: accept only users that you trust with
    /// it.
    pub fn allow_user(mut self, uid: u32) -> Self {
        self.admission.users.push(uid);
        self
    }

    /// Also accepts processes of all other users: see [`allow_user`](Self::allow_user). Look at
    /// [`Peer::uid`](super::Peer::uid) before you give them anything.
    pub fn allow_any_user(mut self) -> Self {
        self.admission.any = true;
        self
    }

    /// Puts the socket into this directory, such as `/run/NAME` of a service. It must exist and belong to this user or to
    /// root, and no other user may have permission to write to it. Other processes name it with
    /// [`ConnectOptions::directory`](super::ConnectOptions::directory).
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets how many processes may wait to be accepted. Further ones try again until their deadline. The default is 128;
    /// the system's limit is `net.core.somaxconn`.
    pub fn backlog(mut self, processes: u32) -> Self {
        self.backlog = processes;
        self
    }

    /// Listens. Does not wait for other processes.
    ///
    /// # Errors
    ///
    /// The same as [`Listener::bind`].
    pub fn bind(self) -> Result<Listener, BindError> {
        Listener::with(self)
    }
}

/// A name under which other processes can [connect](super::connect()) to this one.
///
/// Dropping the listener gives the name back. Processes that wait to be accepted then get
/// [`Closed`](crate::error::ConnectError::Closed); connections that were accepted stay.
///
/// Threads may share a listener: each connection goes to one of them.
///
/// # Examples
///
/// See the [module](super).
pub struct Listener {
    socket: ListeningSocket,
    set: Epoll,
    guests: Mutex<Vec<Guest>>,
    interrupter: Interrupter,
    admission: Admission,
    name: String,
    place: Place,
    #[cfg(feature = "async")]
    accepting: Accepting,
}

/// A process that was accepted and has sent no hello yet.
struct Guest {
    socket: OwnedFd,
    peer: Peer,
    reader: FrameReader,
    since: Instant,
}

/// What becomes of a guest.
enum Greeting {
    Done(Connection),
    NotYet(Guest),
    /// It is not accepted, or is gone.
    Dismissed,
}

/// How long an accept waits.
#[derive(Clone, Copy)]
enum Wait {
    Not,
    /// Not here, but the caller waits: an interrupt is for it.
    #[cfg(feature = "async")]
    Elsewhere,
    Until(Instant),
    Forever,
}

const NO_SOCKET: &str = "no socket for the listener";

impl Listener {
    /// Listens under this name, for processes of the same user: 1 to 80 letters, digits, `-`, `_` and `.`. Does not wait
    /// for other processes.
    ///
    /// The socket lies in a directory of mode 0700 that belongs to this user: `workring` in `$XDG_RUNTIME_DIR` or
    /// `/run/user/UID`, otherwise `/tmp/workring-UID`. If the last listener of that name was killed, this one takes its place,
    /// unless a forked child of it lives on. [`ListenOptions`] has other policies.
    ///
    /// # Errors
    ///
    /// [`BindError`]: the name is taken or cannot be used, the directory could be changed by other users, or the system
    /// refuses.
    pub fn bind(name: &str) -> Result<Self, BindError> {
        ListenOptions::new(name).bind()
    }

    fn with(options: ListenOptions) -> Result<Self, BindError> {
        let os = |source| BindError::Os {
            what: NO_SOCKET,
            source,
        };
        let others = options.admission.includes_others();
        let kind = match options.directory {
            Some(directory) => Kind::Chosen(directory),
            None if others => Kind::Shared,
            None => Kind::Private,
        };
        let mode = if others { 0o666 } else { 0o600 };
        let place = Place::take(&kind, &options.name)?;
        let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
        let socket = place.bind(backlog, mode).map_err(os)?;
        let interrupter = Interrupter::new().map_err(os)?;
        let set = Epoll::new().map_err(os)?;
        set.add(&socket, KEY).map_err(os)?;
        set.add(&interrupter, KEY).map_err(os)?;
        Ok(Self {
            socket,
            set,
            guests: Mutex::default(),
            interrupter,
            admission: options.admission,
            name: options.name,
            place,
            #[cfg(feature = "async")]
            accepting: Accepting::default(),
        })
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Accepts a process that has connected. Blocks until there is one.
    ///
    /// # Errors
    ///
    /// [`AcceptError`]: an [`Interrupter`] ended the wait, this is a forked child, or the system refuses.
    pub fn accept(&self) -> Result<Connection, AcceptError> {
        self.accept_with(Wait::Forever)
    }

    /// Accepts a process that has connected. Blocks until there is one, at most for `timeout`.
    ///
    /// # Errors
    ///
    /// The same as [`accept`](Listener::accept); also [`AcceptError::Timeout`].
    pub fn accept_timeout(&self, timeout: Duration) -> Result<Connection, AcceptError> {
        let deadline = Instant::now().checked_add(timeout);
        self.accept_with(deadline.map_or(Wait::Forever, Wait::Until))
    }

    /// Accepts a process that has connected, if there is one. Does not wait.
    ///
    /// # Errors
    ///
    /// The same as [`accept`](Listener::accept); also [`AcceptError::Empty`].
    pub fn try_accept(&self) -> Result<Connection, AcceptError> {
        self.accept_with(Wait::Not)
    }

    /// Returns a handle that ends waits of this listener from another thread.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        self.interrupter.clone()
    }

    /// Accepts for a future, which waits if this returns [`AcceptError::Empty`].
    #[cfg(feature = "async")]
    pub(super) fn accept_now(&self) -> Result<Connection, AcceptError> {
        self.accept_with(Wait::Elsewhere)
    }

    /// Returns whether this is the process that listens, and not a forked child of it.
    #[cfg(feature = "async")]
    pub(super) fn is_own(&self) -> bool {
        self.place.is_own()
    }

    #[cfg(feature = "async")]
    pub(super) fn accepting(&self) -> &Accepting {
        &self.accepting
    }

    fn accept_with(&self, wait: Wait) -> Result<Connection, AcceptError> {
        let os = |source| AcceptError::Os {
            what: "no connection could be accepted",
            source,
        };
        loop {
            if !self.place.is_own() {
                return Err(AcceptError::Forked);
            }
            let (greeted, until) = self.greet().map_err(os)?;
            if let Some(connection) = greeted {
                return Ok(connection);
            }
            let deadline = match wait {
                Wait::Not => return Err(AcceptError::Empty),
                Wait::Until(deadline) => Some(deadline),
                #[cfg(feature = "async")]
                Wait::Elsewhere => None,
                Wait::Forever => None,
            };
            if self.interrupter.take() {
                return Err(AcceptError::Interrupted);
            }
            #[cfg(feature = "async")]
            if matches!(wait, Wait::Elsewhere) {
                return Err(AcceptError::Empty);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(AcceptError::Timeout);
            }
            self.set
                .wait(deadline.into_iter().chain(until).min())
                .map_err(os)?;
        }
    }

    /// Greets guests, and accepts further ones, until one is greeted or none is left. Also returns when the first guest
    /// that is left has to go.
    fn greet(&self) -> io::Result<(Option<Connection>, Option<Instant>)> {
        let mut guests = self.guests.lock();
        let mut place = 0;
        while place < guests.len() {
            let guest = guests.remove(place);
            // Before its descriptor is closed, or belongs to a connection.
            self.set.remove(&guest.socket);
            match self.examine(guest)? {
                Greeting::Done(connection) => return Ok((Some(connection), None)),
                Greeting::NotYet(guest) => {
                    self.set.add(&guest.socket, KEY)?;
                    guests.insert(place, guest);
                    place += 1;
                }
                Greeting::Dismissed => {}
            }
        }
        while let Some(socket) = self.socket.try_accept()? {
            match self.examine(Guest::new(socket)?)? {
                Greeting::Done(connection) => return Ok((Some(connection), None)),
                Greeting::NotYet(guest) => {
                    if guests.len() >= MAX_GUESTS {
                        let oldest = guests.remove(0);
                        self.set.remove(&oldest.socket);
                    }
                    self.set.add(&guest.socket, KEY)?;
                    guests.push(guest);
                }
                Greeting::Dismissed => {}
            }
        }
        let until = guests.iter().map(|guest| guest.since + MAX_GREETING).min();
        Ok((None, until))
    }

    /// Greets a guest whose hello has come (LISTEN-1).
    fn examine(&self, mut guest: Guest) -> io::Result<Greeting> {
        if !self.admission.admits(&guest.peer) {
            // An error means that it is gone.
            let _ = Frame::Refused.send(&guest.socket, None);
            return Ok(Greeting::Dismissed);
        }
        match guest.reader.read(&guest.socket)? {
            Incoming::Frame(Frame::Hello, _) => {
                if Frame::Hello.send(&guest.socket, None).is_err() {
                    return Ok(Greeting::Dismissed);
                }
                let Guest {
                    socket,
                    peer,
                    reader,
                    ..
                } = guest;
                Connection::new(socket, peer, reader).map(Greeting::Done)
            }
            Incoming::WouldBlock if guest.since.elapsed() < MAX_GREETING => {
                Ok(Greeting::NotYet(guest))
            }
            _ => Ok(Greeting::Dismissed),
        }
    }
}

impl Guest {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            peer: Peer::of(&socket)?,
            socket,
            reader: FrameReader::new(),
            since: Instant::now(),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if !self.place.is_own() {
            return;
        }
        self.place.remove_socket();
        self.socket.stop();
        let waiting = core::iter::from_fn(|| self.socket.try_accept().ok().flatten());
        let guests = core::mem::take(self.guests.get_mut());
        for socket in guests.into_iter().map(|guest| guest.socket).chain(waiting) {
            // An error means that it is gone.
            let _ = Frame::Goodbye.send(&socket, None);
        }
    }
}

impl AsFd for Listener {
    /// Returns a descriptor to wait for together with others: it is ready for reading when
    /// [`try_accept`](Listener::try_accept) is worth a call.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("name", &self.name)
            .field("descriptor", &descriptor::number(&self.socket))
            .finish_non_exhaustive()
    }
}
