//! Receives and leases in a select.

use super::super::attachment::Entered;
use super::super::batches::RegisteredWaiter;
use super::super::end::Handle;
use super::super::receiver::Receiver;
use super::operation::{Awaited, Fault, Kind, Operation, Outcome};
use crate::codec::Codec;

/// Takes a message, and holds it as a lease does until it is decoded: whatever the caller does with the
/// [`SelectedOperation`](super::SelectedOperation), the message is not lost.
pub(super) struct Receiving<'a, T, C: Codec<T>> {
    pub(super) receiver: &'a Receiver<T, C>,
    pub(super) kind: Kind,
}

impl<'a, T, C: Codec<T>> Operation<'a> for Receiving<'a, T, C> {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn handle(&self) -> &'a Handle {
        &self.receiver.handle
    }

    fn attempt(&mut self, queue: Entered<'a>) -> Option<Outcome<'a>> {
        let receiver = self.receiver;
        let taken = match self.kind {
            Kind::Lease => receiver.lease_one(queue),
            Kind::Receive | Kind::Send => receiver.hold_one(queue),
        };
        taken.transpose().map(Outcome::Message)
    }

    fn awaited(&self) -> Awaited {
        Awaited::Items
    }

    fn register_waiter(&self) -> Option<RegisteredWaiter<'a>> {
        Some(self.receiver.batches.register_waiter())
    }

    fn failed(&self, fault: Fault) -> Outcome<'a> {
        Outcome::Message(Err(fault.into()))
    }
}
