//! Sends in a select.

use super::super::attachment::Entered;
use super::super::block_writer::BlockWriter;
use super::super::end::Handle;
use super::super::failure::SendFailure;
use super::super::sender::Sender;
use super::operation::{Awaited, Fault, Kind, Operation, Outcome};
use crate::codec::Codec;
use crate::protocol::steps::send::{self, Publish};

/// Sends a message that stays with the caller. It is encoded once in a wait: its block is kept from one attempt to the
/// next, as in a send that waits for room.
pub(super) struct Sending<'a, T, C: Codec<T>> {
    sender: &'a Sender<T, C>,
    message: &'a T,
    /// The length of the encoded message, once it was measured in this wait.
    length: Option<usize>,
    /// The message in its block, offered.
    offered: Option<BlockWriter<'a>>,
}

impl<'a, T, C: Codec<T>> Sending<'a, T, C> {
    pub(super) fn new(sender: &'a Sender<T, C>, message: &'a T) -> Self {
        Self {
            sender,
            message,
            length: None,
            offered: None,
        }
    }

    fn try_send(&mut self, queue: Entered<'a>) -> Result<Option<()>, SendFailure> {
        if self.offered.is_none() {
            let length = match self.length {
                Some(length) => length,
                None => *self.length.insert(self.sender.measure(self.message)?),
            };
            // The block that this sender keeps may be the one that it needs (PREPARE-4).
            self.sender.handle.prepared.withdraw(queue.attachment());
            let Some(writer) = self.sender.allocator.block_for(queue, length)? else {
                return Ok(None);
            };
            self.offered = Some(
                self.sender
                    .encode_in::<T, C>(writer, self.message, length)?,
            );
        }
        let Some(writer) = &mut self.offered else {
            return Ok(None);
        };
        let block = writer.block_mut();
        match send::publish(queue.segment(), queue.view(), block, &self.sender.room)? {
            Publish::Accepted => {
                if let Some(writer) = self.offered.take() {
                    writer.forget();
                }
                Ok(Some(()))
            }
            Publish::Full => Ok(None),
            Publish::Closed => Err(SendFailure::Closed),
        }
    }
}

impl<'a, T, C: Codec<T>> Operation<'a> for Sending<'a, T, C> {
    fn kind(&self) -> Kind {
        Kind::Send
    }

    fn handle(&self) -> &'a Handle {
        &self.sender.handle
    }

    fn attempt(&mut self, queue: Entered<'a>) -> Option<Outcome<'a>> {
        self.try_send(queue).transpose().map(Outcome::Sent)
    }

    fn awaited(&self) -> Awaited {
        if self.offered.is_some() {
            Awaited::Space
        } else {
            Awaited::Blocks
        }
    }

    fn give_up(&mut self) {
        self.length = None;
        self.offered = None;
    }

    fn failed(&self, fault: Fault) -> Outcome<'a> {
        Outcome::Sent(Err(fault.into()))
    }
}
