//! A link between two processes: a pair of sockets that carry datagrams, whole and in order, and tell each side at
//! once when the other has gone, by whatever death.
//!
//! LINK-1. A datagram that was sent is received, also if its sender has gone meanwhile. Only then comes the end.
//! LINK-2. If one side goes without having read everything, Linux tells the other `ECONNRESET`, once, before the datagrams
//!     that wait there: that is not the end, and they can still be read.
//! LINK-3. A datagram of no bytes looks like the end, so none is sent. If one comes nevertheless, it is told from the end by
//!     the other side's being there still, or having left more to read.
//! LINK-4. A side that was shut down for sending has gone, as far as the other one can hear.

use super::descriptor::beyond_stdio;
use super::poll;
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
    sockopt::set_socket_passcred,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One side of a link. Not inherited by other programs, unless it is given to one.
#[derive(Debug)]
pub(crate) struct Link(OwnedFd);

/// The length of the longest datagram, in bytes: what a buffer must hold to receive any of them.
pub(crate) const LONGEST: usize = 64 << 10;

/// Why a datagram was not sent.
#[allow(dead_code, reason = "what is wrong is told by `Debug`")]
#[derive(Debug)]
pub(crate) enum Unsent {
    /// The other side has gone.
    Closed,
    /// So much waits there already that it would have to wait; only where that is not wanted.
    Full,
    /// Longer than [`LONGEST`], or than the system allows.
    TooLong,
    /// It has no bytes (LINK-3).
    Empty,
    Os(io::Error),
}

/// What was received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    Datagram(&'a [u8]),
    /// A datagram of so many bytes, more than the buffer holds. It is gone.
    TooLong(usize),
    /// The other side has gone, and everything that it has sent was received.
    Closed,
    /// Nothing yet; only where that is not waited for.
    Nothing,
}

impl Link {
    /// Both sides of a new link.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self(beyond_stdio(one)?), Self(beyond_stdio(other)?)))
    }

    /// Send a datagram; wait while the other side has too much to read already, or until it goes.
    pub(crate) fn send(&self, datagram: &[u8]) -> Result<(), Unsent> {
        self.send_with(datagram, SendFlags::empty())
    }

    /// Send a datagram if that does not need a wait.
    pub(crate) fn try_send(&self, datagram: &[u8]) -> Result<(), Unsent> {
        self.send_with(datagram, SendFlags::DONTWAIT)
    }

    fn send_with(&self, datagram: &[u8], flags: SendFlags) -> Result<(), Unsent> {
        if datagram.is_empty() {
            return Err(Unsent::Empty);
        }
        if datagram.len() > LONGEST {
            return Err(Unsent::TooLong);
        }
        loop {
            // An error, not a SIGPIPE, if the other side has gone.
            match send(&self.0, datagram, flags | SendFlags::NOSIGNAL) {
                // Datagrams are sent whole.
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => return Err(Unsent::Closed),
                Err(Errno::AGAIN) => return Err(Unsent::Full),
                Err(Errno::MSGSIZE) => return Err(Unsent::TooLong),
                Err(error) => return Err(Unsent::Os(error.into())),
            }
        }
    }

    /// Receive a datagram; wait until there is one, or the other side goes.
    pub(crate) fn recv<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Received<'a>> {
        self.recv_with(buffer, RecvFlags::empty())
    }

    /// Receive a datagram if there is one.
    pub(crate) fn try_recv<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Received<'a>> {
        self.recv_with(buffer, RecvFlags::DONTWAIT)
    }

    /// Makes the kernel add to each datagram that comes from now on which process has sent it.
    pub(crate) fn ask_for_senders(&self) -> io::Result<()> {
        Ok(set_socket_passcred(&self.0, true)?)
    }

    /// As [`try_recv`](Link::try_recv), with the process id of the sender, as the kernel translates it into this process's
    /// namespace; `None` if it has none there, or the kernel was not [asked](Link::ask_for_senders).
    pub(crate) fn try_recv_from<'a>(
        &self,
        buffer: &'a mut [u8],
    ) -> io::Result<(Received<'a>, Option<u32>)> {
        // A look at the credentials only: the datagram stays.
        let sender = credentials::peek(&self.0);
        self.try_recv(buffer).map(|received| (received, sender))
    }

    fn recv_with<'a>(&self, buffer: &'a mut [u8], flags: RecvFlags) -> io::Result<Received<'a>> {
        let length = loop {
            // The true length, also if it is more than the buffer holds.
            match recv(&self.0, &mut *buffer, flags | RecvFlags::TRUNC) {
                Ok((_, length)) => break length,
                // The second of these: LINK-2.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(error) => return Err(error.into()),
            }
        };
        let is_end = || {
            Ok::<_, io::Error>(
                mutant!(EmptyDatagramIsTheEnd)
                    || self.has_hung_up()? && ioctl_fionread(&self.0)? == 0,
            )
        };
        if length == 0 && is_end()? {
            return Ok(Received::Closed);
        }
        let received = buffer.get(..length).map(Received::Datagram);
        Ok(received.unwrap_or(Received::TooLong(length)))
    }

    /// Returns the length of all datagrams that wait here, in bytes.
    pub(crate) fn pending(&self) -> io::Result<u64> {
        Ok(ioctl_fionread(&self.0)?)
    }

    /// Whether the other side has gone, or sends nothing any more. There may still be datagrams to receive.
    pub(crate) fn has_hung_up(&self) -> io::Result<bool> {
        poll::has_hung_up(&self.0)
    }
}

impl AsFd for Link {
    /// To wait for datagrams together with other things: it is readable while [`Link::recv`] would not wait.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for Link {
    /// A side that was inherited.
    fn from(file: OwnedFd) -> Self {
        Self(file)
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> Self {
        link.0
    }
}

/// Who has sent a datagram.
mod credentials {
    use core::{mem, ptr};
    use nix::libc;
    use std::os::fd::{AsRawFd, OwnedFd};

    /// Room for the control message, aligned for its header.
    #[repr(C, align(8))]
    struct Room([u8; 64]);

    /// The process that has sent the next datagram; `None`: there is none, or it is not known.
    pub(super) fn peek(socket: &OwnedFd) -> Option<u32> {
        let mut room = Room([0; 64]);
        // SAFETY: zeros are a valid value of this struct of integers and pointers.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        header.msg_control = ptr::from_mut(&mut room).cast();
        header.msg_controllen = mem::size_of::<Room>();
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        // SAFETY: the header points to `room`, which outlives the call, and has its length; it has no other buffer.
        let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
        if received < 0 {
            return None;
        }
        // SAFETY: the kernel has filled in the header, whose control buffer is still there.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
        loop {
            // SAFETY: null, or a control message within `room`, which is aligned for it.
            let message = unsafe { next.as_ref() }?;
            if message.cmsg_level == libc::SOL_SOCKET && message.cmsg_type == libc::SCM_CREDENTIALS
            {
                // SAFETY: `next` is a control message of this type, so its data is there.
                let data = unsafe { libc::CMSG_DATA(next) };
                // SAFETY: data of this type is a `ucred`, read without regard to its alignment.
                let sender: libc::ucred = unsafe { ptr::read_unaligned(data.cast()) };
                return u32::try_from(sender.pid).ok().filter(|&pid| pid > 0);
            }
            // SAFETY: header and message are those of above.
            next = unsafe { libc::CMSG_NXTHDR(&raw const header, next) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::poll::{Poll, is_readable};
    use core::time::Duration;
    use std::thread;
    use std::time::Instant;

    fn pair() -> (Link, Link) {
        Link::pair().expect("a link")
    }

    /// Fails rather than hangs if nothing ever comes.
    fn received(link: &Link) -> Result<Vec<u8>, &'static str> {
        let mut poll = Poll::new();
        poll.readable(link.as_fd());
        let deadline = Instant::now() + Duration::from_mins(1);
        assert!(poll.wait(Some(deadline)).expect("poll"), "nothing came");
        match link.recv(&mut vec![0; LONGEST]).expect("receive") {
            Received::Datagram(bytes) => Ok(bytes.to_vec()),
            Received::Closed => Err("closed"),
            Received::Nothing => Err("nothing"),
            Received::TooLong(_) => Err("too long"),
        }
    }

    #[test]
    fn what_waits_is_the_sum_of_all_datagrams() {
        let (one, other) = pair();
        assert_eq!(other.pending().expect("a length"), 0);
        for datagram in [&b"first"[..], b"and second"] {
            one.send(datagram).expect("sent");
        }
        assert_eq!(other.pending().expect("a length"), 15);
        assert_eq!(received(&other), Ok(b"first".to_vec()));
        assert_eq!(other.pending().expect("a length"), 10);
    }

    #[test]
    fn datagrams_arrive_whole_and_in_order_both_ways() {
        let (one, other) = pair();
        let long: Vec<u8> = (0..=255).cycle().take(LONGEST).collect();
        one.send(b"first").expect("sent");
        one.send(&long).expect("sent");
        other.send(b"answer").expect("sent");
        assert_eq!(received(&other).expect("a datagram"), b"first");
        assert_eq!(received(&other).expect("a datagram"), long);
        assert_eq!(received(&one).expect("a datagram"), b"answer");
        let mut buffer = [0; 8];
        let nothing = one.try_recv(&mut buffer).expect("receive");
        assert_eq!(nothing, Received::Nothing);
    }

    #[test]
    fn the_kernel_says_who_has_sent_a_datagram() {
        let (one, other) = pair();
        let mut buffer = [0; 8];
        one.send(b"before").expect("sent");
        other.ask_for_senders().expect("an option");
        one.send(b"after").expect("sent");
        assert_eq!(received(&other).expect("a datagram"), b"before");
        let (after, sender) = other.try_recv_from(&mut buffer).expect("receive");
        assert_eq!(after, Received::Datagram(b"after"));
        assert_eq!(sender, Some(std::process::id()));
        let (nothing, sender) = other.try_recv_from(&mut buffer).expect("receive");
        assert_eq!((nothing, sender), (Received::Nothing, None));
        drop(one);
        let (end, _) = other.try_recv_from(&mut buffer).expect("receive");
        assert_eq!(end, Received::Closed);
    }

    #[test]
    fn what_does_not_fit_is_a_typed_error_on_either_side() {
        let (one, other) = pair();
        let refused = one.send(&vec![0; LONGEST + 1]);
        assert!(matches!(refused, Err(Unsent::TooLong)), "{refused:?}");
        assert!(matches!(one.send(&[]), Err(Unsent::Empty)));
        one.send(b"nine byte").expect("sent");
        one.send(b"next").expect("sent");
        let mut buffer = [0; 8];
        let cut = other.recv(&mut buffer).expect("receive");
        assert_eq!(cut, Received::TooLong(9));
        let next = other.recv(&mut buffer).expect("receive");
        assert_eq!(next, Received::Datagram(b"next"));
    }

    #[test]
    fn a_full_link_is_a_typed_error_and_a_blocked_sender_goes_on_when_there_is_room() {
        let (one, other) = pair();
        let mut sent = 0;
        let refused = loop {
            match one.try_send(&[7; 1000]) {
                Ok(()) => sent += 1,
                Err(refused) => break refused,
            }
        };
        assert!(matches!(refused, Unsent::Full), "{refused:?}");
        assert!(sent > 0);
        thread::scope(|scope| {
            let blocked = scope.spawn(|| one.send(b"last"));
            (0..sent).for_each(|_| assert_eq!(received(&other), Ok(vec![7; 1000])));
            blocked.join().expect("join").expect("sent");
        });
        assert_eq!(received(&other).expect("a datagram"), b"last");
    }

    #[test]
    fn after_the_last_datagram_comes_the_end_again_and_again() {
        let (one, other) = pair();
        one.send(b"last words").expect("sent");
        drop(one);
        assert!(other.has_hung_up().expect("poll"));
        assert_eq!(received(&other).expect("a datagram"), b"last words");
        for _ in 0..2 {
            assert_eq!(received(&other), Err("closed"));
            let refused = other.send(b"anybody?");
            assert!(matches!(refused, Err(Unsent::Closed)), "{refused:?}");
            let refused = other.try_send(b"anybody?");
            assert!(matches!(refused, Err(Unsent::Closed)), "{refused:?}");
        }
    }

    /// LINK-2: Linux reports what the other side has left unread, and before what it has sent.
    #[test]
    fn what_the_other_side_has_sent_is_received_although_it_left_something_unread() {
        let (one, other) = pair();
        other.send(b"never read").expect("sent");
        one.send(b"last words").expect("sent");
        drop(one);
        assert_eq!(received(&other).expect("a datagram"), b"last words");
        assert_eq!(received(&other), Err("closed"));

        let (one, other) = pair();
        other.send(b"never read").expect("sent");
        drop(one);
        let refused = other.send(b"anybody?");
        assert!(matches!(refused, Err(Unsent::Closed)), "{refused:?}");
    }

    #[test]
    fn those_who_wait_hear_of_the_end_at_once() {
        let (one, other) = pair();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| received(&other));
            drop(one);
            assert_eq!(waiting.join().expect("join"), Err("closed"));
        });
        let (one, other) = pair();
        while one.try_send(&[7; 1000]).is_ok() {}
        thread::scope(|scope| {
            let blocked = scope.spawn(|| one.send(b"last"));
            drop(other);
            let refused = blocked.join().expect("join");
            assert!(matches!(refused, Err(Unsent::Closed)), "{refused:?}");
        });
    }

    /// LINK-3: what another program might do.
    #[test]
    fn a_side_that_sends_nothing_any_more_has_gone_but_may_be_told() {
        let (one, other) = pair();
        one.send(b"the last").expect("room");
        rustix::net::shutdown(&one.0, rustix::net::Shutdown::Write).expect("shut down");
        assert_eq!(received(&other).as_deref(), Ok(&b"the last"[..]));
        for _ in 0..3 {
            assert_eq!(received(&other), Err("closed"));
        }
        other.send(b"nevertheless").expect("room");
        assert_eq!(received(&one).as_deref(), Ok(&b"nevertheless"[..]));
    }

    #[test]
    fn an_empty_datagram_is_not_the_end() {
        let (one, other) = pair();
        let send_empty = || send(&one.0, &[], SendFlags::NOSIGNAL).expect("sent");
        send_empty();
        assert!(is_readable(&other).expect("poll"));
        assert_eq!(received(&other).expect("a datagram"), b"");
        send_empty();
        one.send(b"last words").expect("sent");
        drop(one);
        assert_eq!(received(&other).expect("a datagram"), b"");
        assert_eq!(received(&other).expect("a datagram"), b"last words");
        assert_eq!(received(&other), Err("closed"));
    }
}
