//! A batch that this process holds, and its messages.

use super::super::attachment::{Attachment, Entered, Forked};
use super::super::failure::RecvFailure;
use crate::protocol::steps::batch::{self, Batch};
use crate::protocol::steps::{OwnedBlock, settle};
use crate::protocol::{Corrupt, SharedState};
use crate::segment::batch_layout::BatchCursor;
use core::fmt;
use std::sync::Arc;

/// A batch that this process holds. It is given back when nothing refers to it any more.
pub(in crate::queue) struct HeldBatch {
    attachment: Arc<Attachment>,
    block: OwnedBlock,
    acknowledged: bool,
}

impl HeldBatch {
    pub(in crate::queue) fn attachment(&self) -> &Arc<Attachment> {
        &self.attachment
    }

    pub(super) fn enter(&self) -> Result<Entered<'_>, Forked> {
        self.attachment.enter()
    }

    #[inline(always)]
    pub(super) fn batch<'a>(&self, queue: Entered<'a>) -> Result<Batch<'a>, Corrupt> {
        batch::batch(queue.segment(), self.block.index())?.ok_or(Corrupt::InvalidBatch)
    }

    #[inline(always)]
    pub(super) fn payload<'a>(&'a self, queue: Entered<'a>) -> Result<&'a [u8], Corrupt> {
        queue.view().batch_payload(&self.block)
    }

    /// Returns the bytes of a message, where its sender wrote them. With the batch and the place of its own, since a lease
    /// whose address a call gets is kept in memory.
    #[inline(never)]
    pub(in crate::queue) fn message(&self, place: Place) -> Result<&[u8], RecvFailure> {
        let payload = self.payload(self.enter()?)?;
        let start = place.start as usize;
        let range = start..start + usize::from(place.length);
        Ok(payload.get(range).ok_or(Corrupt::TooLong)?)
    }

    /// Acknowledges a message (`Release`).
    pub(in crate::queue) fn acknowledge_message(&self, place: Place) -> Result<(), RecvFailure> {
        let batch = self.batch(self.enter()?)?;
        batch.marks.mark_done(place.message.into());
        Ok(())
    }

    /// Makes a message a dead letter (`Return`), because no receiver can decode it.
    pub(in crate::queue) fn reject(&self, place: Place) -> Result<(), RecvFailure> {
        let batch = self.batch(self.enter()?)?;
        batch.marks.mark_rejected(place.message.into());
        Ok(())
    }

    /// Acknowledges all messages at once (`Release`). The caller holds all of them.
    pub(super) fn acknowledge(mut self) {
        let block = self.block.take();
        self.acknowledged = true;
        if let Ok(queue) = self.enter() {
            // The next operation meets a corrupt word, too, and reports it.
            let _ = settle::acknowledge_batch(queue.segment(), block);
        }
    }
}

impl Drop for HeldBatch {
    fn drop(&mut self) {
        if self.acknowledged || mutant!(RestOfBatchKept) {
            return;
        }
        let block = self.block.take();
        if let Ok(queue) = self.enter() {
            // As in `acknowledge`.
            let _ = settle::settle_batch(queue.segment(), block);
        }
    }
}

/// One message of a batch. Dropping it returns it, together with the rest of the batch.
pub(in crate::queue) struct BatchedMessage {
    batch: Arc<HeldBatch>,
    place: Place,
}

/// Which message of its batch a message is. As small as a register: see [`super::super::lease`].
#[derive(Clone, Copy, Debug)]
pub(in crate::queue) struct Place {
    /// Where the message lies in the payload of the batch.
    start: u32,
    length: u16,
    message: u8,
    deliveries: u8,
}

const _: () = assert!(size_of::<Place>() == 8);

impl Place {
    /// No message.
    pub(in crate::queue) const NONE: Self = Self {
        start: 0,
        length: 0,
        message: 0,
        deliveries: 0,
    };

    /// Returns how many deliveries of the message have failed before this one.
    pub(in crate::queue) fn deliveries(self) -> u32 {
        self.deliveries.into()
    }
}

impl BatchedMessage {
    #[inline(always)]
    pub(in crate::queue) fn into_parts(self) -> (Arc<HeldBatch>, Place) {
        (self.batch, self.place)
    }

    /// Returns the bytes of the message, where its sender wrote them.
    #[inline(always)]
    pub(in crate::queue) fn bytes(&self) -> Result<&[u8], RecvFailure> {
        self.batch.message(self.place)
    }

    /// Acknowledges this message (`Release`).
    pub(in crate::queue) fn acknowledge(self) -> Result<(), RecvFailure> {
        self.batch.acknowledge_message(self.place)
    }

    /// Makes this message a dead letter (`Return`), because no receiver can decode it.
    pub(in crate::queue) fn reject(self) -> Result<(), RecvFailure> {
        self.batch.reject(self.place)
    }
}

impl fmt::Debug for BatchedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchedMessage")
            .field("message", &self.place.message)
            .finish_non_exhaustive()
    }
}

/// A batch with messages to hand out, from `next` on.
pub(super) struct OpenBatch {
    pub(super) batch: Arc<HeldBatch>,
    pub(super) next: BatchCursor,
}

impl OpenBatch {
    /// Opens a block that this process holds: the first message is next. The block becomes a dead letter if it holds no
    /// batch, so that it is not handed out again forever.
    pub(super) fn new(
        queue: Entered<'_>,
        attachment: &Arc<Attachment>,
        block: OwnedBlock,
    ) -> Result<Self, Corrupt> {
        let segment = queue.segment();
        let first = batch::batch(segment, block.index()).and_then(|batch| {
            let count = batch.ok_or(Corrupt::InvalidBatch)?.count;
            Ok(BatchCursor::first(
                count,
                segment.view().batch_payload(&block)?,
            ))
        });
        match first {
            Ok(next) => Ok(Self {
                batch: Arc::new(HeldBatch {
                    attachment: Arc::clone(attachment),
                    block,
                    acknowledged: false,
                }),
                next,
            }),
            Err(corrupt) => {
                settle::reject(segment, block)?;
                Err(corrupt)
            }
        }
    }

    /// Notes in shared memory that other threads can find the batch (HAND-1).
    pub(super) fn note_opened(&self, queue: Entered<'_>) {
        if let Ok(batch) = self.batch.batch(queue) {
            batch.open(self.batch.block.word());
        }
    }

    /// Leaves out the first messages, which are dealt with already.
    pub(super) fn skip(&mut self, queue: Entered<'_>, count: usize) {
        let Ok(payload) = self.batch.payload(queue) else {
            return;
        };
        for _ in 0..count {
            if let Some((_, next)) = self.next.locate(payload) {
                self.next = next;
            }
        }
    }

    /// Returns the next message and marks it as handed out; `None` if there is none.
    pub(super) fn hand_out(
        &mut self,
        queue: Entered<'_>,
    ) -> Result<Option<BatchedMessage>, Corrupt> {
        let (batch, payload) = (self.batch.batch(queue)?, self.batch.payload(queue)?);
        let limit = queue.segment().limits().max_deliveries;
        while self.next.message < batch.count {
            let message = self.next.message;
            let Some((range, next)) = self.next.locate(payload) else {
                return Err(reject_from(&batch, message));
            };
            self.next = next;
            let mark = batch.marks.get(message);
            if mark.is_live(limit) {
                batch.marks.record_delivery(message, mark);
                return Ok(Some(BatchedMessage {
                    batch: Arc::clone(&self.batch),
                    place: Place {
                        start: narrow(range.start)?,
                        length: narrow(range.len())?,
                        message: narrow(message)?,
                        deliveries: mark.deliveries(),
                    },
                }));
            }
        }
        Ok(None)
    }

    /// Returns whether any message is left to be handed out.
    pub(super) fn has_more(&self, queue: Entered<'_>) -> bool {
        let limit = queue.segment().limits().max_deliveries;
        self.batch.batch(queue).is_ok_and(|batch| {
            (self.next.message..batch.count).any(|message| batch.marks.get(message).is_live(limit))
        })
    }
}

/// Returns a place in a batch as a smaller number. A block that holds a batch has at most 64 KiB.
fn narrow<N: TryFrom<usize>>(place: usize) -> Result<N, Corrupt> {
    N::try_from(place).map_err(|_| Corrupt::TooLong)
}

/// Rejects all messages of a batch from `message` on, whose lengths are corrupt: no receiver could use them, and they
/// must not be handed out again forever.
#[cold]
pub(super) fn reject_from(batch: &Batch<'_>, message: usize) -> Corrupt {
    (message..batch.count).for_each(|message| batch.marks.mark_rejected(message));
    Corrupt::TooLong
}
