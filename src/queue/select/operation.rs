//! What a wait needs from an operation.

use super::super::attachment::{Entered, Forked};
use super::super::batches::RegisteredWaiter;
use super::super::end::Handle;
use super::super::failure::{RecvFailure, SendFailure};
use super::super::lease::LeasedMessage;
use crate::protocol::parking::ParkingWord;
use crate::protocol::{Corrupt, SharedState};
use crate::segment::Segment;

/// One operation of a select.
pub(super) trait Operation<'a> {
    fn kind(&self) -> Kind;

    fn handle(&self) -> &'a Handle;

    /// Tries to do the operation. `None`: not now; another attempt is worthwhile once [`awaited`](Operation::awaited)
    /// was notified.
    fn attempt(&mut self, queue: Entered<'a>) -> Option<Outcome<'a>>;

    /// Returns the word that the operation sleeps on now.
    fn awaited(&self) -> Awaited;

    /// Called before the thread sleeps for the first time.
    fn register_waiter(&self) -> Option<RegisteredWaiter<'a>> {
        None
    }

    /// Gives up what attempts have taken, after a wait that did not end with this operation.
    fn give_up(&mut self) {}

    /// Returns the outcome of an operation on a queue that cannot be used.
    fn failed(&self, fault: Fault) -> Outcome<'a>;
}

/// How an operation was registered, and so is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Receive,
    Lease,
    Send,
}

/// What became of an operation: the message that it holds now, or whether it was sent.
pub(super) enum Outcome<'a> {
    Message(Result<LeasedMessage<'a>, RecvFailure>),
    Sent(Result<(), SendFailure>),
}

/// Why a queue cannot be used at all.
pub(super) enum Fault {
    Forked(Forked),
    Corrupt(Corrupt),
}

impl From<Fault> for RecvFailure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Forked(forked) => forked.into(),
            Fault::Corrupt(corrupt) => corrupt.into(),
        }
    }
}

impl From<Fault> for SendFailure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Forked(forked) => forked.into(),
            Fault::Corrupt(corrupt) => corrupt.into(),
        }
    }
}

/// Which word of its queue an operation sleeps on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Items,
    Space,
    Blocks,
}

impl Awaited {
    pub(super) fn word(self, segment: &Segment) -> &ParkingWord {
        match self {
            Self::Items => segment.items(),
            Self::Space => segment.space(),
            Self::Blocks => segment.blocks(),
        }
    }
}
