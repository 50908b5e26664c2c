//! Sockets of local connections by name: `unix(7)` stream sockets, with credentials and descriptors that go with them.
//!
//! The crate `interprocess` makes, names, binds and accepts the sockets. What it leaves to do is here:
//!
//! - Its connect with a time limit reports success for a socket that is not connected if the listener's backlog is full:
//!   the kernel then refuses at once (`EAGAIN`), and the socket, not being connected, looks ready for writing. So
//!   [`connect`] asks for a connect that does not wait, and then the kernel for the peer.
//! - It sends no descriptors (`SCM_RIGHTS`), and opens no pidfd of the peer (`SO_PEERPIDFD`).
//! - Its credentials refuse a peer of another process-id namespace, which has no id here.
//! - It always asks for the longest backlog that the system allows.
//!
//! SOCKET-1. What a process has sent is received even if that process is gone by then. The end comes after it. Linux may
//!     report `ECONNRESET` once, if the peer left something unread: that is not the end either.
//! SOCKET-2. A descriptor in flight is owned by the socket that it was sent to. When that is closed, by whatever end of
//!     its process, the kernel closes the descriptor.
//!
//! State: each socket is owned by its descriptor.

use super::descriptor::{beyond_stdio, number};
use super::poll;
use core::mem::MaybeUninit;
use interprocess::ConnectWaitMode;
use interprocess::local_socket::traits::Listener as _;
use interprocess::local_socket::{
    ConnectOptions, GenericFilePath, ListenerNonblockingMode, ListenerOptions, Name, ToFsName,
};
use interprocess::os::unix::uds_local_socket::{Listener, Stream};
use nix::sys::socket::{getsockopt, sockopt};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, getpeername, listen, recvmsg, sendmsg, shutdown,
};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// A process at the other end of a connection, as the kernel recorded it when the process connected, or listened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// The process id. `None`: the process has none in the namespace of this one.
    pub(crate) process_id: Option<u32>,
    /// The effective user id.
    pub(crate) user: u32,
    /// The effective group id.
    pub(crate) group: u32,
}

/// Outcome of [`connect`].
#[derive(Debug)]
pub(crate) enum Connecting {
    Connected(OwnedFd),
    /// No process listens there.
    NoListener,
    /// As many processes as the listener allows wait to be accepted.
    BacklogFull,
    /// This user may not connect there.
    NotPermitted,
}

/// Reason why nothing was sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// The peer is gone.
    Closed,
    /// The peer has not yet received what was sent before.
    Full,
    Os(io::Error),
}

/// What [`recv`] has received.
#[derive(Debug)]
pub(crate) enum Received {
    /// This many bytes.
    Bytes(usize),
    /// The peer is gone, and everything that it has sent was received.
    Closed,
    WouldBlock,
}

/// The path of a socket in an open directory, whatever the directory's own path is by now, and however long.
fn path_in(directory: BorrowedFd<'_>, name: &str) -> io::Result<Name<'static>> {
    let path = format!("/proc/self/fd/{}/{name}", number(directory));
    PathBuf::from(path).to_fs_name::<GenericFilePath>()
}

/// A socket that accepts connections.
#[derive(Debug)]
pub(crate) struct ListeningSocket(Listener);

impl ListeningSocket {
    /// Makes a socket in `directory` at which other processes can connect, `backlog` of them before the first is accepted.
    ///
    /// # Errors
    ///
    /// The name exists, or the system refuses.
    pub(crate) fn bind(directory: impl AsFd, name: &str, backlog: i32) -> io::Result<Self> {
        let options = ListenerOptions::new()
            .name(path_in(directory.as_fd(), name)?)
            .reclaim_name(false)
            .nonblocking(ListenerNonblockingMode::Accept);
        let listener: Listener = options.create_sync_as()?;
        let socket = beyond_stdio(listener.into())?;
        listen(&socket, backlog)?;
        Ok(Self(socket.into()))
    }

    /// Accepts a connection if one waits. Does not block.
    pub(crate) fn try_accept(&self) -> io::Result<Option<OwnedFd>> {
        loop {
            match self.0.accept() {
                Ok(stream) => return beyond_stdio(stream.into()).map(Some),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(None),
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Refuses connections from now on, in copies of a forked child too. Those that wait can still be accepted.
    pub(crate) fn stop(&self) {
        // It fails only for what is no socket.
        let _ = shutdown(&self.0, Shutdown::Both);
    }
}

impl AsFd for ListeningSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Connects to a socket in `directory`. Does not block.
pub(crate) fn connect(directory: impl AsFd, name: &str) -> io::Result<Connecting> {
    let options = ConnectOptions::new()
        .name(path_in(directory.as_fd(), name)?)
        .wait_mode(ConnectWaitMode::Deferred);
    let connected: io::Result<Stream> = options.connect_sync_as();
    let socket: OwnedFd = match connected {
        Ok(stream) => beyond_stdio(stream.into())?,
        Err(error) => match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                return Ok(Connecting::NoListener);
            }
            ErrorKind::PermissionDenied => return Ok(Connecting::NotPermitted),
            // `EAGAIN`, should the crate report it one day.
            ErrorKind::WouldBlock => return Ok(Connecting::BacklogFull),
            _ => return Err(error),
        },
    };
    match getpeername(&socket) {
        Err(Errno::NOTCONN) => Ok(Connecting::BacklogFull),
        _ => Ok(Connecting::Connected(socket)),
    }
}

/// Returns the process at the other end.
pub(crate) fn credentials(socket: impl AsFd) -> io::Result<Credentials> {
    let found = getsockopt(&socket, sockopt::PeerCredentials)?;
    Ok(Credentials {
        process_id: u32::try_from(found.pid()).ok().filter(|&pid| pid > 0),
        user: found.uid(),
        group: found.gid(),
    })
}

/// Opens a pidfd of the process at the other end. `None`: the kernel is older than 6.5, or the process has been reaped.
pub(crate) fn pidfd(socket: impl AsFd) -> Option<OwnedFd> {
    let pidfd = getsockopt(&socket, sockopt::PeerPidfd).ok()?;
    beyond_stdio(pidfd).ok()
}

/// Sends all of `bytes` or nothing, and a descriptor with the first byte. Does not block.
pub(crate) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    file: Option<BorrowedFd<'_>>,
) -> Result<(), SendError> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = file.map(|file| [file]);
    if let Some(files) = &files {
        control.push(SendAncillaryMessage::ScmRights(files));
    }
    loop {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Ok(sent) if sent == bytes.len() => return Ok(()),
            Ok(_) => {
                // The kernel takes a short message as a whole. If it has not, the rest would be misread.
                let _ = shutdown(&socket, Shutdown::Both);
                return Err(SendError::Closed);
            }
            Err(Errno::INTR) => {}
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => return Err(SendError::Closed),
            Err(Errno::AGAIN) => return Err(SendError::Full),
            Err(error) => return Err(SendError::Os(error.into())),
        }
    }
}

/// Receives what fits into `bytes`, and the descriptor that came with it, if one did. Does not block.
///
/// # Errors
///
/// Besides those of `recvmsg(2)`: `EMFILE` if this process can have no further descriptor. Nothing is received then, unless
/// another thread has taken the last one at the same moment; in that case the descriptor is lost.
pub(crate) fn recv(
    socket: impl AsFd,
    bytes: &mut [u8],
    file: &mut Option<OwnedFd>,
) -> io::Result<Received> {
    // The kernel drops a descriptor for which there is no number.
    drop(socket.as_fd().try_clone_to_owned()?);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(bytes)], &mut control, flags) {
            Ok(received) => break received,
            // For CONNRESET see SOCKET-1.
            Err(Errno::INTR | Errno::CONNRESET) => {}
            Err(Errno::AGAIN) => return Ok(Received::WouldBlock),
            Err(error) => return Err(error.into()),
        }
    };
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            for received in files {
                *file = Some(beyond_stdio(received)?);
            }
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::from_raw_os_error(Errno::MFILE.raw_os_error()));
    }
    Ok(match received.bytes {
        0 => Received::Closed,
        length => Received::Bytes(length),
    })
}

/// Returns whether the peer is gone. What it has sent may still wait to be received.
pub(crate) fn has_hung_up(socket: impl AsFd) -> io::Result<bool> {
    poll::has_hung_up(socket)
}
