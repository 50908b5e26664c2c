//! The processes of the models.

use super::heap_queue::HeapQueue;
use crate::protocol::SharedState;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::PeerIndex;
use crate::protocol::ring::Hint;
use crate::protocol::steps::receive::{self, Receive};
use crate::protocol::steps::send::{self, Publish};
use crate::protocol::steps::{OwnedBlock, batch, close, settle};
use crate::sync::AtomicU32;
use std::sync::Arc;

/// The outcome of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Accepted,
    /// The queue is full, or has no free block.
    Full,
    Closed,
}

/// One process, which sends and receives as the layer `queue` does.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) queue: Arc<HeapQueue>,
    pub(super) index: PeerIndex,
    taken: Hint,
    cursor: AtomicU32,
}

impl Peer {
    pub(super) fn new(queue: &Arc<HeapQueue>, index: u16) -> Self {
        Self {
            queue: Arc::clone(queue),
            index: PeerIndex::new(index).expect("a small number"),
            taken: Hint::new(),
            cursor: AtomicU32::new(0),
        }
    }

    /// Writes a message into a new block. `None`: no block is free. Transitions `Allocate` and `Offer`.
    pub(super) fn prepare(&self, message: u64) -> Option<OwnedBlock> {
        let queue = &*self.queue;
        let mut block = send::allocate_cell(queue, queue.words(), self.index, &self.cursor)?;
        *queue.allocated.lock().expect("no panic") += 1;
        queue.cell(block.index()).write(message);
        send::offer(queue.words(), &mut block, 8).expect("no corruption");
        Some(block)
    }

    /// Tries to publish a message once. Transition `Publish`.
    pub(super) fn publish(&self, offered: &mut OwnedBlock) -> Publish {
        send::publish(&*self.queue, self.queue.words(), offered, &self.taken)
            .expect("no corruption")
    }

    pub(super) fn withdraw(&self, block: OwnedBlock) {
        send::withdraw(&*self.queue, block).expect("no corruption");
    }

    pub(super) fn try_send(&self, message: u64) -> Sent {
        let Some(mut offered) = self.prepare(message) else {
            return Sent::Full;
        };
        match self.publish(&mut offered) {
            Publish::Accepted => Sent::Accepted,
            Publish::Full => {
                self.withdraw(offered.take());
                Sent::Full
            }
            Publish::Closed => {
                self.withdraw(offered.take());
                Sent::Closed
            }
        }
    }

    /// Sends a message, and sleeps while the queue is full.
    pub(super) fn send(&self, message: u64) -> Sent {
        let queue = &*self.queue;
        let prepared = queue.wait_for(queue.blocks(), || {
            if queue.lifecycle().load().is_open() {
                self.prepare(message).map(Some)
            } else {
                Some(None)
            }
        });
        let Some(mut offered) = prepared else {
            return Sent::Closed;
        };
        queue.wait_for(queue.space(), || match self.publish(&mut offered) {
            Publish::Accepted => Some(Sent::Accepted),
            Publish::Full => None,
            Publish::Closed => {
                self.withdraw(offered.take());
                Some(Sent::Closed)
            }
        })
    }

    /// Sends a batch of `count` messages, for which this queue keeps one number.
    pub(super) fn send_batch(&self, message: u64, count: usize) {
        let queue = &*self.queue;
        let mut block = send::allocate_cell(queue, queue.words(), self.index, &self.cursor)
            .expect("a free block");
        queue.cell(block.index()).write(message);
        batch::begin(queue, &block, count).expect("no corruption");
        batch::offer(queue, &mut block, 8).expect("no corruption");
        assert_eq!(self.publish(&mut block), Publish::Accepted);
    }

    pub(super) fn try_receive(&self) -> Receive {
        receive::receive(&*self.queue, self.queue.words(), self.index).expect("no corruption")
    }

    /// Receives a message, and sleeps while there is none. `None`: closed.
    pub(super) fn receive(&self) -> Option<OwnedBlock> {
        let queue = &*self.queue;
        queue.wait_for(queue.items(), || match self.try_receive() {
            Receive::Message(held) => Some(Some(held)),
            Receive::Empty => None,
            Receive::Closed => Some(None),
        })
    }

    /// Returns the message in a block that this process holds.
    pub(super) fn read(&self, held: &OwnedBlock) -> u64 {
        assert!(held.word().is(BlockKind::Held) && held.word().peer() == self.index);
        self.queue.cell(held.index()).read()
    }

    /// Reads and acknowledges a message.
    pub(super) fn consume(&self, held: OwnedBlock) -> u64 {
        let message = self.read(&held);
        settle::acknowledge(&*self.queue, self.queue.words(), held).expect("no corruption");
        message
    }

    pub(super) fn return_message(&self, held: OwnedBlock) {
        settle::return_message(&*self.queue, held).expect("no corruption");
    }

    pub(super) fn close(&self) -> bool {
        close::close(&*self.queue).expect("no corruption")
    }

    /// Receives and acknowledges all messages without waiting. Also returns whether the queue was closed.
    pub(super) fn drain(&self) -> (Vec<u64>, bool) {
        let mut messages = Vec::new();
        loop {
            match self.try_receive() {
                Receive::Message(held) => messages.push(self.consume(held)),
                Receive::Empty => return (messages, false),
                Receive::Closed => return (messages, true),
            }
        }
    }
}
