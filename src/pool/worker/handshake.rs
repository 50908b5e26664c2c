//! The worker's side of the handshake with its parent, and how it receives later messages.

use crate::os::link::{Link, RecvOutcome};
use crate::os::poll::Poll;
use crate::pool::wire::messages::{FromParent, FromWorker, Identity, MAX_LEN, WorkerConfig};
use std::os::fd::{AsFd, OwnedFd};
use std::process;

/// Sends what this process is. Returns the parent's settings, or `None` if the parent refuses or no longer needs this
/// worker.
pub(crate) fn greet(link: &Link, identity: Identity) -> Option<WorkerConfig> {
    let pid = process::id();
    link.send(&FromWorker::Process { pid }.encode()).ok()?;
    link.send(&FromWorker::Hello(identity).encode()).ok()?;
    loop {
        match receive(link) {
            FromLink::Message(FromParent::Welcome(config)) => return Some(config),
            FromLink::Invalid => {}
            FromLink::Message(_) | FromLink::Closed => return None,
        }
    }
}

/// A message of the parent, or its end.
pub(crate) enum FromLink {
    Message(FromParent),
    Invalid,
    /// The parent has ended.
    Closed,
}

fn receive(link: &Link) -> FromLink {
    receive_watching(link, None)
}

/// Receives a message, and also returns when the parent process `parent` ends: another process may hold the parent's
/// side of the link open.
pub(crate) fn receive_watching(link: &Link, parent: Option<&OwnedFd>) -> FromLink {
    if let Some(parent) = parent {
        let mut poll = Poll::new();
        let link_ready = poll.readable(link.as_fd());
        poll.readable(parent.as_fd());
        if poll.wait(None).is_ok() && !poll.is_ready(link_ready) {
            return FromLink::Closed;
        }
    }
    let mut buffer = [0; MAX_LEN];
    match link.recv(&mut buffer) {
        Ok(RecvOutcome::Datagram(bytes)) => {
            FromParent::decode(bytes).map_or(FromLink::Invalid, FromLink::Message)
        }
        Ok(RecvOutcome::TooLong(_) | RecvOutcome::WouldBlock) => FromLink::Invalid,
        Ok(RecvOutcome::Closed) | Err(_) => FromLink::Closed,
    }
}
