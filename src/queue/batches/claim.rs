//! Decoding many messages of a batch at once.

use super::super::attachment::Entered;
use super::super::failure::RecvFailure;
use super::held::{OpenBatch, reject_from};
use super::store::Batches;
use crate::codec::Codec;
use crate::protocol::SharedState;
use crate::segment::batch_layout::BatchCursor;
use std::sync::Arc;

/// A batch that one thread has taken out of the store to decode many of its messages at once. Dropping the claim
/// returns the messages that it has not decoded to the store.
pub(in crate::queue) struct Claim<'a> {
    batches: &'a Batches,
    /// `None` only while this is being dropped.
    open: Option<OpenBatch>,
    /// Which messages have been decoded, a bit for each.
    decoded: u64,
}

impl Batches {
    /// Claims all messages of the first batch in the store.
    #[cold]
    pub(in crate::queue) fn claim(
        &self,
        queue: Entered<'_>,
    ) -> Result<Option<Claim<'_>>, RecvFailure> {
        let open = self.take_for_claim(queue)?;
        Ok(open.map(|open| Claim {
            batches: self,
            open: Some(open),
            decoded: 0,
        }))
    }

    /// Claims a batch that has just been taken, of which the first messages have been decoded.
    pub(super) fn claim_fresh(
        &self,
        queue: Entered<'_>,
        open: OpenBatch,
        decoded: usize,
    ) -> Claim<'_> {
        self.begin_claim(queue, &open);
        Claim {
            batches: self,
            open: Some(open),
            decoded: (1 << decoded) - 1,
        }
    }
}

/// How far a claim has come: in registers, and stored when this is dropped, also by a panic of the codec. The message
/// that the codec was called for has been handed out then, and those after it have not.
struct Progress<'a> {
    place: BatchCursor,
    decoded: u64,
    next: &'a mut BatchCursor,
    noted: &'a mut u64,
}

impl Drop for Progress<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        *self.next = self.place;
        *self.noted = self.decoded;
    }
}

impl Claim<'_> {
    /// Decodes up to `max` messages, all of which then count as received. An error is about the message after them, or
    /// about corrupt memory there.
    pub(in crate::queue) fn decode_into<T, C: Codec<T>>(
        mut self,
        into: &mut Vec<T>,
        max: usize,
    ) -> Result<(), RecvFailure> {
        let Some(OpenBatch { batch: held, next }) = self.open.as_mut() else {
            return Ok(());
        };
        let queue = held.enter()?;
        let (batch, payload) = (held.batch(queue)?, held.payload(queue)?);
        let limit = queue.segment().limits().max_deliveries;
        let mut progress = Progress {
            place: *next,
            decoded: self.decoded,
            next,
            noted: &mut self.decoded,
        };
        into.reserve(max.min(batch.count - progress.place.message.min(batch.count)));
        let room = into.len().saturating_add(max);
        while into.len() < room && progress.place.message < batch.count {
            let message = progress.place.message;
            let Some((range, next)) = progress.place.locate(payload) else {
                return Err(reject_from(&batch, message).into());
            };
            progress.place = next;
            let mark = batch.marks.get(message);
            if !mark.is_live(limit) {
                continue;
            }
            batch.marks.record_delivery(message, mark);
            match C::decode(payload.get(range).unwrap_or_default()) {
                Ok(value) => {
                    into.push(value);
                    progress.decoded |= 1 << message;
                }
                Err(error) => {
                    batch.marks.mark_rejected(message);
                    return Err(RecvFailure::Decode(error));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else {
            return;
        };
        let attachment = Arc::clone(open.batch.attachment());
        let Ok(queue) = attachment.enter() else {
            return;
        };
        let (mut all, mut more) = (false, false);
        if let Ok(batch) = open.batch.batch(queue) {
            all = self.decoded.count_ones() as usize == batch.count;
            if !all {
                (0..batch.count)
                    .filter(|message| self.decoded >> message & 1 == 1)
                    .for_each(|message| batch.marks.mark_done(message));
                more = open.has_more(queue);
            }
        }
        let left = self.batches.end_claim(queue, open, more);
        if all {
            // No other thread has any of its messages.
            if let Some(batch) = left.and_then(|open| Arc::into_inner(open.batch)) {
                batch.acknowledge();
            }
        } else {
            drop(left);
        }
        self.batches.wake(queue);
    }
}
