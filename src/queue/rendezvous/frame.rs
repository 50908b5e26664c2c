//! The messages of a connection. Each is a *frame* of [`LENGTH`] bytes, so that no frame has to say how long it is.
//!
//! | bytes  | contents                                              |
//! |--------|-------------------------------------------------------|
//! | 0..8   | [`MAGIC`], with the version of this format             |
//! | 8      | the kind: see [`Frame`]                               |
//! | 9      | length of the name                                    |
//! | 10..12 | entry in the table of peers                           |
//! | 16..24 | incarnation of that entry                             |
//! | 24..32 | offset of the byte that the ticket has locked          |
//! | 32..   | the name                                              |
//!
//! All but the first two are only in a frame that gives an end. Numbers are in the byte order of the machine: both sides run
//! on it. A frame is written by another process, so nothing in it is believed before it was checked.

use crate::os::local_socket::{self, Received, SendError};
use crate::protocol::ids::PeerIndex;
use crate::protocol::peers::{Incarnation, Role};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const LENGTH: usize = 256;
const MAGIC: [u8; 8] = *b"wkrmeet\x01";
/// The number of bytes before the name.
const HEAD: usize = 32;
/// The longest name of what is given.
pub(super) const MAX_NAME: usize = 200;

/// A message of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The first frame of each side: it has this connection.
    Hello,
    /// Instead of the listener's hello: it does not accept this user.
    Refused,
    /// Instead of the listener's hello: it was dropped.
    Goodbye,
    /// An end of a queue. The descriptor that holds the lock of its ticket comes with it.
    Give(Ticket),
}

/// A ticket for an end of a queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) peer: PeerIndex,
    pub(super) incarnation: Incarnation,
    /// The offset of the byte that is locked.
    pub(super) byte: u64,
}

const HELLO: u8 = 1;
const REFUSED: u8 = 2;
const GOODBYE: u8 = 3;
const GIVE_SENDER: u8 = 4;
const GIVE_RECEIVER: u8 = 5;

/// Why bytes are no frame.
const NO_MAGIC: &str = "it does not begin as messages of this version do";
const NO_KIND: &str = "it is of an unknown kind";
const NO_TICKET: &str = "a ticket that no process writes";

impl Frame {
    fn to_bytes(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        let mut put = |at: usize, part: &[u8]| {
            for (byte, from) in bytes.iter_mut().skip(at).zip(part) {
                *byte = *from;
            }
        };
        put(0, &MAGIC);
        match self {
            Self::Hello => put(8, &[HELLO]),
            Self::Refused => put(8, &[REFUSED]),
            Self::Goodbye => put(8, &[GOODBYE]),
            Self::Give(ticket) => {
                let kind = match ticket.role {
                    Role::Sender => GIVE_SENDER,
                    Role::Receiver => GIVE_RECEIVER,
                };
                let length = u8::try_from(ticket.name.len()).unwrap_or(u8::MAX);
                put(8, &[kind, length]);
                put(10, &ticket.peer.get().to_ne_bytes());
                put(16, &ticket.incarnation.get().to_ne_bytes());
                put(24, &ticket.byte.to_ne_bytes());
                put(HEAD, ticket.name.as_bytes());
            }
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; LENGTH]) -> Result<Self, &'static str> {
        if bytes.first_chunk() != Some(&MAGIC) {
            return Err(NO_MAGIC);
        }
        let role = match bytes.get(8) {
            Some(&HELLO) => return Ok(Self::Hello),
            Some(&REFUSED) => return Ok(Self::Refused),
            Some(&GOODBYE) => return Ok(Self::Goodbye),
            Some(&GIVE_SENDER) => Role::Sender,
            Some(&GIVE_RECEIVER) => Role::Receiver,
            _ => return Err(NO_KIND),
        };
        ticket_from(bytes, role).map(Self::Give).ok_or(NO_TICKET)
    }

    /// Sends the frame whole or not at all, with a descriptor. Does not block.
    pub(super) fn send(
        &self,
        socket: impl AsFd,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<(), SendError> {
        local_socket::send(socket, &self.to_bytes(), file)
    }
}

fn ticket_from(bytes: &[u8; LENGTH], role: Role) -> Option<Ticket> {
    let (head, name) = bytes.split_at_checked(HEAD)?;
    let name = name.get(..usize::from(*head.get(9)?))?;
    let name = core::str::from_utf8(name).ok()?;
    if name.is_empty() || name.len() > MAX_NAME {
        return None;
    }
    let number = |at: usize| {
        head.get(at..)?
            .first_chunk()
            .copied()
            .map(u64::from_ne_bytes)
    };
    let peer = head.get(10..)?.first_chunk().copied();
    Some(Ticket {
        name: name.to_owned(),
        role,
        peer: PeerIndex::new(u16::from_ne_bytes(peer?))?,
        incarnation: Incarnation::new(number(16)?),
        byte: number(24)?,
    })
}

/// Outcome of [`FrameReader::read`].
#[derive(Debug)]
pub(super) enum Incoming {
    Frame(Frame, Option<OwnedFd>),
    /// The other side is gone, and everything that it has sent was received.
    Closed,
    WouldBlock,
    /// What the other side sends is no frame, for this reason.
    NotUnderstood(&'static str),
}

/// Puts frames together from the bytes that a socket delivers.
#[derive(Debug)]
pub(super) struct FrameReader {
    bytes: [u8; LENGTH],
    filled: usize,
    file: Option<OwnedFd>,
}

impl FrameReader {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; LENGTH],
            filled: 0,
            file: None,
        }
    }

    /// Returns the next frame, and the descriptor that came with it. Does not block.
    pub(super) fn read(&mut self, socket: impl AsFd) -> io::Result<Incoming> {
        // Never more than one frame, so that a descriptor belongs to this one.
        while let Some(rest) = self
            .bytes
            .get_mut(self.filled..)
            .filter(|rest| !rest.is_empty())
        {
            match local_socket::recv(&socket, rest, &mut self.file)? {
                Received::Bytes(length) => self.filled += length,
                Received::Closed => return Ok(Incoming::Closed),
                Received::WouldBlock => return Ok(Incoming::WouldBlock),
            }
        }
        self.filled = 0;
        let file = self.file.take();
        Ok(match Frame::from_bytes(&self.bytes) {
            Ok(frame) => Incoming::Frame(frame, file),
            Err(what) => Incoming::NotUnderstood(what),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(name: &str) -> Frame {
        Frame::Give(Ticket {
            name: name.to_owned(),
            role: Role::Receiver,
            peer: PeerIndex::FIRST,
            incarnation: Incarnation::new(77),
            byte: 1 << 50,
        })
    }

    #[test]
    fn what_one_side_writes_the_other_reads() {
        let longest = "x".repeat(MAX_NAME);
        for frame in [
            Frame::Hello,
            Frame::Refused,
            Frame::Goodbye,
            give("jobs"),
            give(&longest),
        ] {
            assert_eq!(Frame::from_bytes(&frame.to_bytes()), Ok(frame));
        }
    }

    #[test]
    fn no_bytes_are_believed() {
        let changed = |at: usize, to: u8| {
            let mut bytes = give("jobs").to_bytes();
            *bytes.get_mut(at).expect("inside a frame") = to;
            Frame::from_bytes(&bytes)
        };
        assert_eq!(changed(7, 2), Err(NO_MAGIC));
        assert_eq!(changed(8, 0), Err(NO_KIND));
        assert_eq!(changed(8, 9), Err(NO_KIND));
        assert_eq!(changed(9, 0), Err(NO_TICKET), "no name");
        assert_eq!(changed(9, 255), Err(NO_TICKET), "a name beyond the end");
        assert_eq!(changed(11, 255), Err(NO_TICKET), "no such entry");
        assert_eq!(changed(32, 255), Err(NO_TICKET), "a name that is no text");
        assert!(changed(40, 255).is_ok(), "nothing is there");
    }
}
