//! The process at the other side of a connection.

use crate::os::directory::own_user;
use crate::os::local_socket::{self, Credentials};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The process at the other side of a connection, as the kernel recorded it when that process connected or, on the other
/// side, when it began to listen.
#[derive(Debug)]
pub struct Peer {
    credentials: Credentials,
    pidfd: Option<OwnedFd>,
}

impl Peer {
    /// Asks the kernel for the process at the other end of a socket.
    pub(super) fn of(socket: impl AsFd) -> io::Result<Self> {
        Ok(Self {
            credentials: local_socket::credentials(&socket)?,
            pidfd: local_socket::pidfd(&socket),
        })
    }

    /// Returns the process id, in the namespace of this process; `None` if the other process has none there.
    ///
    /// When a process has ended, another one may get its id: to signal or watch it, use [`pidfd`](Self::pidfd).
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.credentials.process_id
    }

    /// Returns the effective user id.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.credentials.user
    }

    /// Returns the effective group id.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.credentials.group
    }

    /// Returns a pidfd of the process, which is ready for reading once the process has ended. `None`: the kernel does not
    /// provide one for connections (before Linux 6.5), or the process had ended already.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }
}

/// Which users a listener accepts, besides its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission {
    pub(super) users: Vec<u32>,
    pub(super) any: bool,
}

impl Admission {
    /// Returns whether users other than this process's may be accepted.
    pub(super) fn includes_others(&self) -> bool {
        self.any || !self.users.is_empty()
    }

    /// Returns whether a process is accepted.
    pub(super) fn admits(&self, peer: &Peer) -> bool {
        let user = peer.uid();
        self.any
            || user == own_user()
            || self.users.contains(&user)
            || mutant!(CredentialsNotChecked)
    }
}
