//! An established connection: gives ends of queues to the other process, and takes what that one gives.
//!
//! GIVE-1. A ticket's lock belongs to an open file description that the giver makes for it, independent of its own. The
//!     other process gets that description, and needs no permission to open the file.
//! GIVE-2. Until it is taken, the description is in the socket, or in `given` of the taker. The end of either process, or
//!     of the connection, closes it there, and the kernel releases the lock. So a ticket that is not taken is found to be
//!     dead, like a process that has died.
//! GIVE-3. A ticket that could not be sent is taken back at once.
//! GIVE-4. The taker moves the lock to a description of its own, if it may open the file. So a copy that a forked child of
//!     the giver has does not keep a dead taker's lock.

use super::frame::{Frame, FrameReader, Incoming, MAX_NAME, Ticket};
use super::interrupter::Interrupter;
use super::peer::Peer;
use crate::error::{GiveError, HandoffError, InheritError, TakeError};
use crate::os::directory::own_user;
use crate::os::fork::OwnerProcess;
use crate::os::local_socket::{self, SendError};
use crate::os::poll::Poll;
use crate::os::{inherit, memory, named};
use crate::queue::attachment::Forked;
use crate::queue::end::End;
use crate::queue::end::sealed::{AnyHandle, EndRole};
use crate::queue::handoff;
use crate::queue::name::is_plain;
use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

/// A connection to another process, through which each side gives ends of queues to the other.
///
/// Dropping it closes the connection: operations of the other side return `Closed` from then on, but it can still take what
/// it was given. What this side was given and has not taken goes back.
///
/// # Examples
///
/// See the [module](super).
pub struct Connection {
    socket: OwnedFd,
    peer: Peer,
    owner: OwnerProcess,
    reader: FrameReader,
    /// What the other side has given and this one has not taken, oldest first.
    given: VecDeque<GivenEnd>,
    interrupter: Interrupter,
}

struct GivenEnd {
    ticket: Ticket,
    /// The open file description that holds the ticket's lock.
    file: OwnedFd,
}

/// How many ends the other side can give before one is taken.
const MAX_GIVEN: usize = 64;

/// How long an operation waits for an end.
#[derive(Clone, Copy)]
enum Wait {
    Not,
    Until(Instant),
    Forever,
}

fn os(what: &'static str) -> impl FnOnce(io::Error) -> TakeError {
    move |source| TakeError::Os { what, source }
}

impl Connection {
    /// Wraps a socket through which both sides have sent their greeting. `reader` has received that of the other side.
    pub(super) fn new(socket: OwnedFd, peer: Peer, reader: FrameReader) -> io::Result<Self> {
        Ok(Self {
            socket,
            peer,
            owner: OwnerProcess::current()?,
            reader,
            given: VecDeque::new(),
            interrupter: Interrupter::new()?,
        })
    }

    /// Returns the process at the other side, as the kernel reports it.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns whether the other process has ended, or has dropped the connection. What it has given may still be taken.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        // An error of `poll` says nothing about the other side.
        local_socket::has_hung_up(&self.socket).unwrap_or(false)
    }

    /// Returns a handle that ends waits of this connection from another thread.
    #[must_use]
    pub fn interrupter(&self) -> Interrupter {
        self.interrupter.clone()
    }

    /// Gives `end` to the other process, which [takes](Connection::take) it under `name`: 1 to 200 letters, digits, `-`,
    /// `_` and `.`. The caller's own end stays as it is. Several ends may be given under one name: they are taken in the
    /// order in which they were given. Never waits.
    ///
    /// The end counts as present from now on. If the other process ends before it has taken the end, the queue finds that
    /// within one liveness interval.
    ///
    /// A process of another user can take an end of a queue without a name. It cannot give that to a further process, since
    /// it may not open the queue's memory again.
    ///
    /// # Errors
    ///
    /// [`GiveError`]: the connection is closed, or full; the queue has a name, and the other process belongs to another user;
    /// or what a [`Handoff`](crate::Handoff) would fail with. The end was not given then.
    pub fn give<E: End>(&self, name: &str, end: &E) -> Result<(), GiveError> {
        if !self.owner.is_current() {
            return Err(HandoffError::Forked.into());
        }
        if !is_plain(name) || name.len() > MAX_NAME {
            let name = name.to_owned();
            return Err(HandoffError::InvalidName { name }.into());
        }
        if self.is_closed() {
            return Err(GiveError::Closed);
        }
        let AnyHandle(handle) = end.handle();
        let queue = handle.enter().map_err(|Forked| HandoffError::Forked)?;
        let user = self.peer.uid();
        if user != own_user() && !is_sealed(queue.segment().file()).map_err(no_descriptor)? {
            return Err(GiveError::OtherUser { user });
        }
        let role = handle.role();
        let (file, peer, ticket) = queue.make_ticket(role).map_err(handoff::no_ticket)?;
        let frame = Frame::Give(Ticket {
            name: name.to_owned(),
            role,
            peer,
            incarnation: ticket.incarnation(),
            byte: queue.segment().lock_byte(peer, ticket),
        });
        let sent = frame.send(&self.socket, Some(file.as_fd()));
        if sent.is_err() {
            // GIVE-3.
            queue.void_ticket(peer, ticket);
        }
        sent.map_err(|error| match error {
            SendError::Closed => GiveError::Closed,
            SendError::Full => GiveError::Full,
            SendError::Os(source) => no_descriptor(source).into(),
        })
    }

    /// Takes the end that the other process has given, or will give, under `name`. Blocks until then.
    ///
    /// The type says which end: a [`Sender`](crate::Sender) or a [`Receiver`](crate::Receiver), with the message type and
    /// the codec that the queue was made with.
    ///
    /// # Errors
    ///
    /// [`TakeError`]: the other side is gone and has given nothing of that name; an [`Interrupter`] ended the wait; or the end
    /// is another one, or does not fit this program. The wrong one of the two ends stays, to be taken as what it is; one
    /// that does not fit is gone.
    pub fn take<E: End>(&mut self, name: &str) -> Result<E, TakeError> {
        self.take_end(name, None, Wait::Forever)
    }

    /// Takes an end as [`take`](Connection::take) does, but waits at most for `timeout`.
    ///
    /// # Errors
    ///
    /// The same as [`take`](Connection::take); also [`TakeError::Timeout`].
    pub fn take_timeout<E: End>(&mut self, name: &str, timeout: Duration) -> Result<E, TakeError> {
        self.take_end(name, None, until(timeout))
    }

    /// Takes an end as [`take`](Connection::take) does, if it was given already. Does not wait.
    ///
    /// # Errors
    ///
    /// The same as [`take`](Connection::take); also [`TakeError::NotGiven`].
    pub fn try_take<E: End>(&mut self, name: &str) -> Result<E, TakeError> {
        self.take_end(name, None, Wait::Not)
    }

    /// Takes an end as [`take`](Connection::take) does, of a queue that was made with this
    /// [schema](crate::Options::schema).
    ///
    /// # Errors
    ///
    /// The same as [`take`](Connection::take); also [`InheritError::Schema`] if the schemas differ.
    pub fn take_as<E: End>(&mut self, name: &str, schema: &str) -> Result<E, TakeError> {
        self.take_end(name, Some(schema), Wait::Forever)
    }

    /// Takes an end as [`take_as`](Connection::take_as) does, but waits at most for `timeout`.
    ///
    /// # Errors
    ///
    /// The same as [`take_as`](Connection::take_as); also [`TakeError::Timeout`].
    pub fn take_timeout_as<E: End>(
        &mut self,
        name: &str,
        schema: &str,
        timeout: Duration,
    ) -> Result<E, TakeError> {
        self.take_end(name, Some(schema), until(timeout))
    }

    /// Takes an end as [`take_as`](Connection::take_as) does, if it was given already. Does not wait.
    ///
    /// # Errors
    ///
    /// The same as [`take_as`](Connection::take_as); also [`TakeError::NotGiven`].
    pub fn try_take_as<E: End>(&mut self, name: &str, schema: &str) -> Result<E, TakeError> {
        self.take_end(name, Some(schema), Wait::Not)
    }

    fn take_end<E: End>(
        &mut self,
        name: &str,
        schema: Option<&str>,
        wait: Wait,
    ) -> Result<E, TakeError> {
        if !self.owner.is_current() {
            return Err(TakeError::Forked);
        }
        let end = self.find::<E>(name, wait)?;
        Ok(claim(end, schema)?)
    }

    /// Returns what was given under this name, and waits for it.
    fn find<E: End>(&mut self, name: &str, wait: Wait) -> Result<GivenEnd, TakeError> {
        loop {
            if let Some(end) = self.remove::<E>(name)? {
                return Ok(end);
            }
            if self.given.len() >= MAX_GIVEN {
                return Err(TakeError::TooManyGiven { max: MAX_GIVEN });
            }
            let incoming = self.reader.read(&self.socket);
            match incoming.map_err(os("nothing could be received"))? {
                Incoming::Frame(Frame::Give(ticket), Some(file)) => {
                    self.given.push_back(GivenEnd { ticket, file });
                }
                Incoming::Frame(..) => {
                    let what = "a message that does not belong there";
                    return Err(TakeError::NotUnderstood { what });
                }
                Incoming::NotUnderstood(what) => return Err(TakeError::NotUnderstood { what }),
                Incoming::Closed => return Err(TakeError::Closed),
                Incoming::WouldBlock => self.wait(name, wait)?,
            }
        }
    }

    /// Returns the oldest end of this name, if there is one and it is the one that is asked for.
    fn remove<E: End>(&mut self, name: &str) -> Result<Option<GivenEnd>, InheritError> {
        let EndRole(role) = E::ROLE;
        let mut ends = self.given.iter();
        let Some(place) = ends.position(|end| end.ticket.name == name) else {
            return Ok(None);
        };
        if let Some(end) = self.given.get(place).filter(|end| end.ticket.role != role) {
            return Err(InheritError::WrongEnd {
                name: name.to_owned(),
                given: handoff::role_name(end.ticket.role),
            });
        }
        Ok(self.given.remove(place))
    }

    /// Waits until there is something to receive.
    fn wait(&self, name: &str, wait: Wait) -> Result<(), TakeError> {
        let deadline = match wait {
            Wait::Not => {
                let names = self.given.iter().map(|end| end.ticket.name.clone());
                return Err(TakeError::NotGiven {
                    name: name.to_owned(),
                    given: names.collect(),
                });
            }
            Wait::Until(deadline) => Some(deadline),
            Wait::Forever => None,
        };
        if self.interrupter.take() {
            return Err(TakeError::Interrupted);
        }
        let mut poll = Poll::new();
        let socket = poll.readable(self.socket.as_fd());
        poll.readable(self.interrupter.as_fd());
        let is_ready = poll.wait(deadline).map_err(os("the wait failed"))?;
        if !is_ready {
            return Err(TakeError::Timeout);
        }
        if !poll.is_ready(socket) && self.interrupter.take() {
            return Err(TakeError::Interrupted);
        }
        Ok(())
    }
}

/// Returns the wait that ends after `timeout`.
fn until(timeout: Duration) -> Wait {
    let deadline = Instant::now().checked_add(timeout);
    deadline.map_or(Wait::Forever, Wait::Until)
}

fn is_sealed(file: &OwnedFd) -> io::Result<bool> {
    Ok(memory::sealed_size(file)?.is_some())
}

fn no_descriptor(source: io::Error) -> HandoffError {
    HandoffError::Os {
        what: "the queue could not be passed to the other process",
        source,
    }
}

/// Makes the end of a queue that was given.
fn claim<E: End>(end: GivenEnd, schema: Option<&str>) -> Result<E, InheritError> {
    let GivenEnd { ticket, file } = end;
    let no_queue = |what| InheritError::NotAQueue { what };
    let failed = |source| InheritError::Os {
        what: "the queue's memory could not be taken over",
        source,
    };
    // Nothing else is opened again: another file could do anything when it is opened.
    if !is_sealed(&file).map_err(failed)? && named::private_size(&file).map_err(failed)?.is_none() {
        return Err(no_queue("its memory could be cut off by another user"));
    }
    // GIVE-4.
    let file = inherit::take_over(file, ticket.byte).map_err(failed)?;
    let file = file.ok_or_else(|| InheritError::AlreadyTaken {
        name: ticket.name.clone(),
    })?;
    let segment = handoff::attach(file)?;
    let byte = segment
        .geometry()
        .lock_byte(ticket.peer, ticket.incarnation.get());
    if byte != ticket.byte {
        return Err(no_queue("its ticket is for another entry"));
    }
    handoff::redeem(
        segment,
        ticket.peer,
        ticket.incarnation,
        &ticket.name,
        schema,
    )
}

impl AsFd for Connection {
    /// Returns the socket, to wait together with other descriptors: it is ready for reading when
    /// [`try_take`](Connection::try_take) is worth a call. Do not read from it or write to it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let given = self.given.iter().map(|end| &end.ticket.name);
        f.debug_struct("Connection")
            .field("peer", &self.peer)
            .field("given", &given.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
