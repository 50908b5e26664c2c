//! The first messages between a worker and its parent, and how it reads the later ones.

use crate::os::link::{Link, RecvOutcome};
use crate::os::poll::Poll;
use crate::pool::task::Task;
use crate::pool::wire::messages::{FromParent, FromWorker, Identity, LONGEST, Terms};
use std::os::fd::{AsFd, OwnedFd};
use std::process;

/// Say what this process is. What the parent wants; `None`: it wants no worker any more, or not this one, which it ends.
pub(crate) fn greet<T: Task>(link: &Link) -> Option<Terms> {
    let pid = process::id();
    link.send(&FromWorker::Process { pid }.encode()).ok()?;
    link.send(&FromWorker::Hello(Identity::of::<T>()).encode())
        .ok()?;
    loop {
        match hear(link) {
            Heard::Said(FromParent::Welcome(terms)) => return Some(terms),
            Heard::Nonsense => {}
            Heard::Said(_) | Heard::Nobody => return None,
        }
    }
}

/// What the parent says next.
pub(crate) enum Heard {
    Said(FromParent),
    Nonsense,
    /// It has ended.
    Nobody,
}

fn hear(link: &Link) -> Heard {
    hear_with(link, None)
}

/// As [`hear`], but the end of this process, the parent, is enough: somebody else may have its side of the link open.
pub(crate) fn hear_with(link: &Link, parent: Option<&OwnedFd>) -> Heard {
    if let Some(parent) = parent {
        let mut poll = Poll::new();
        let said = poll.readable(link.as_fd());
        poll.readable(parent.as_fd());
        if poll.wait(None).is_ok() && !poll.is_ready(said) {
            return Heard::Nobody;
        }
    }
    let mut buffer = [0; LONGEST];
    match link.recv(&mut buffer) {
        Ok(RecvOutcome::Datagram(bytes)) => {
            FromParent::decode(bytes).map_or(Heard::Nonsense, Heard::Said)
        }
        Ok(RecvOutcome::TooLong(_) | RecvOutcome::WouldBlock) => Heard::Nonsense,
        Ok(RecvOutcome::Closed) | Err(_) => Heard::Nobody,
    }
}
