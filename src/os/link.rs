//! A link between two processes: a pair of sockets (`socketpair(2)`, `SOCK_SEQPACKET`) that carry datagrams, whole and
//! in order. Each side is notified at once when the other side is gone, however its process ends.
//!
//! LINK-1. A datagram that was sent is received even if its sender is gone by then. The end of the link comes after it.
//! LINK-2. If one side closes the link without having read everything, Linux reports `ECONNRESET` to the other side
//!     once, before the datagrams that wait there. That is not the end: those datagrams can still be received.
//! LINK-3. Receiving an empty datagram looks like the end, so none is sent. One that another program sends is
//!     distinguished from the end by a check that the other side is still open, or that more waits to be read.
//! LINK-4. A side that was shut down for sending counts as gone for the other side.
//!
//! State: each [`Link`] owns one socket.

use super::descriptor::beyond_stdio;
use super::poll;
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
    sockopt::set_socket_passcred,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One side of a link. Other programs inherit it only if it is handed to them.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

/// The length of the longest datagram in bytes. A buffer of this length can receive any datagram.
pub(crate) const MAX_DATAGRAM: usize = 64 << 10;

/// Reason why a datagram was not sent.
#[allow(dead_code, reason = "the error is read through `Debug`")]
#[derive(Debug)]
pub(crate) enum SendError {
    /// The other side is gone.
    Closed,
    /// The other side's buffer is full. Only from [`Link::try_send`].
    Full,
    /// The datagram is longer than [`MAX_DATAGRAM`], or than the system allows.
    TooLong,
    /// The datagram is empty (LINK-3).
    Empty,
    Os(io::Error),
}

/// Outcome of receiving.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RecvOutcome<'a> {
    Datagram(&'a [u8]),
    /// A datagram of this length did not fit into the buffer and was dropped.
    TooLong(usize),
    /// The other side is gone, and everything that it has sent was received.
    Closed,
    /// No datagram waits. Only from [`Link::try_recv`] and [`Link::try_recv_from`].
    WouldBlock,
}

impl Link {
    /// Returns both sides of a new link.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(beyond_stdio(one)?), Self(beyond_stdio(other)?)))
    }

    /// Sends a datagram. Blocks while the other side's buffer is full, or until the other side is gone.
    pub(crate) fn send(&self, datagram: &[u8]) -> Result<(), SendError> {
        self.send_with(datagram, SendFlags::empty())
    }

    /// Sends a datagram if that does not block.
    pub(crate) fn try_send(&self, datagram: &[u8]) -> Result<(), SendError> {
        self.send_with(datagram, SendFlags::DONTWAIT)
    }

    fn send_with(&self, datagram: &[u8], flags: SendFlags) -> Result<(), SendError> {
        if datagram.is_empty() {
            return Err(SendError::Empty);
        }
        if datagram.len() > MAX_DATAGRAM {
            return Err(SendError::TooLong);
        }
        loop {
            // NOSIGNAL: an error instead of a SIGPIPE if the other side is gone.
            match send(&self.0, datagram, flags | SendFlags::NOSIGNAL) {
                // A datagram is sent whole or not at all.
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => {
                    return Err(SendError::Closed);
                }
                Err(Errno::AGAIN) => return Err(SendError::Full),
                Err(Errno::MSGSIZE) => return Err(SendError::TooLong),
                Err(error) => return Err(SendError::Os(error.into())),
            }
        }
    }

    /// Receives a datagram. Blocks until there is one, or until the other side is gone.
    pub(crate) fn recv<'a>(&self, buffer: &'a mut [u8]) -> io::Result<RecvOutcome<'a>> {
        self.recv_with(buffer, RecvFlags::empty())
    }

    /// Receives a datagram if there is one.
    pub(crate) fn try_recv<'a>(&self, buffer: &'a mut [u8]) -> io::Result<RecvOutcome<'a>> {
        self.recv_with(buffer, RecvFlags::DONTWAIT)
    }

    /// Makes the kernel attach the sender's process id to each datagram that arrives here from now on.
    pub(crate) fn enable_credentials(&self) -> io::Result<()> {
        Ok(set_socket_passcred(&self.0, true)?)
    }

    /// Does the same as [`try_recv`](Link::try_recv), and also returns the sender's process id in this process's
    /// namespace; `None` if it has none there, or if [`enable_credentials`](Link::enable_credentials) was not called.
    pub(crate) fn try_recv_from<'a>(
        &self,
        buffer: &'a mut [u8],
    ) -> io::Result<(RecvOutcome<'a>, Option<u32>)> {
        let sender = credentials::peek(&self.0);
        self.try_recv(buffer).map(|received| (received, sender))
    }

    fn recv_with<'a>(&self, buffer: &'a mut [u8], flags: RecvFlags) -> io::Result<RecvOutcome<'a>> {
        let length = loop {
            // TRUNC: the true length is returned even if it exceeds the buffer.
            match recv(&self.0, &mut *buffer, flags | RecvFlags::TRUNC) {
                Ok((_, length)) => break length,
                // For CONNRESET see LINK-2.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(Errno::AGAIN) => return Ok(RecvOutcome::WouldBlock),
                Err(error) => return Err(error.into()),
            }
        };
        if length == 0 && self.is_at_end()? {
            return Ok(RecvOutcome::Closed);
        }
        let received = buffer.get(..length).map(RecvOutcome::Datagram);
        Ok(received.unwrap_or(RecvOutcome::TooLong(length)))
    }

    /// Returns whether a receive of length 0 was the end, and not an empty datagram (LINK-3).
    fn is_at_end(&self) -> io::Result<bool> {
        Ok(mutant!(EmptyDatagramIsTheEnd) || self.has_hung_up()? && self.pending_bytes()? == 0)
    }

    /// Returns the total length of the datagrams that wait here, in bytes.
    pub(crate) fn pending_bytes(&self) -> io::Result<u64> {
        Ok(ioctl_fionread(&self.0)?)
    }

    /// Returns whether the other side is gone, or sends nothing more. Datagrams may still wait here.
    pub(crate) fn has_hung_up(&self) -> io::Result<bool> {
        poll::has_hung_up(&self.0)
    }
}

impl AsFd for Link {
    /// Returns the socket, to wait for datagrams together with other descriptors: it is ready while [`Link::recv`]
    /// would not block.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Link {
    /// Wraps a side that was inherited.
    fn from(file: OwnedFd) -> Self {
        Self(file)
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> Self {
        link.0
    }
}

/// Process ids of senders: control messages of `recvmsg(2)`.
mod credentials {
    use core::{mem, ptr};
    use nix::libc;
    use std::os::fd::{AsRawFd, OwnedFd};

    /// A buffer for control messages, aligned for their headers.
    #[repr(C, align(8))]
    struct ControlBuffer([u8; 64]);

    /// Sets a length, which C libraries give different types.
    fn set_length<L: TryFrom<usize> + Default>(field: &mut L, length: usize) {
        *field = L::try_from(length).unwrap_or_default();
    }

    /// Returns the process id of the sender of the next datagram, which stays in the socket; `None` if no datagram
    /// waits, or its sender is not known.
    pub(super) fn peek(socket: &OwnedFd) -> Option<u32> {
        let mut buffer = ControlBuffer([0; 64]);
        // SAFETY: `msghdr` consists of integers and pointers, for which all zeros are valid.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_control = ptr::from_mut(&mut buffer).cast();
        set_length(&mut header.msg_controllen, mem::size_of::<ControlBuffer>());
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        // SAFETY: the header has no buffer but `buffer`, with its length, and `buffer` outlives the call.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
        if received < 0 {
            return None;
        }
        // SAFETY: the kernel has filled in the header, whose control buffer still exists.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        loop {
            // SAFETY: `next` is null, or a control message inside `buffer`, which is aligned for it.
            let message = unsafe { next.as_ref() }?;
            if message.cmsg_level == libc::SOL_SOCKET && message.cmsg_type == libc::SCM_CREDENTIALS
            {
                // SAFETY: `next` is a control message inside `buffer`.
                let data = unsafe { libc::CMSG_DATA(next) };
                // SAFETY: the data of a message of this type is a `ucred`, read here without regard to alignment.
                let sender: libc::ucred = unsafe { ptr::read_unaligned(data.cast()) };
                return u32::try_from(sender.pid).ok().filter(|&pid| pid > 0);
            }
            // SAFETY: `next` is a control message of this header.
            next = unsafe { libc::CMSG_NXTHDR(&raw const header, next) };
        }
    }
}

#[cfg(test)]
mod tests;
