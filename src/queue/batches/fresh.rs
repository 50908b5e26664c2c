//! Decoding a whole batch right after it was taken.

use super::super::attachment::{Attachment, Entered};
use super::super::failure::RecvFailure;
use super::super::held_block::HeldBlock;
use super::claim::Claim;
use super::held::OpenBatch;
use super::store::Batches;
use crate::codec::Codec;
use crate::protocol::batch::MessageMark;
use crate::protocol::steps::batch::{self, Batch};
use crate::protocol::steps::{OwnedBlock, settle};
use crate::segment::batch_layout::BatchCursor;
use std::sync::Arc;

/// The largest values that are decoded into a place of their own and moved from there, in bytes.
const LARGEST_MOVED: usize = 64;

/// How far a [`FreshBatch`] has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Untouched,
    /// The codec has been called.
    Begun,
    /// The caller has all messages.
    Received,
    /// A claim has the batch.
    Claimed,
}

/// A batch that one thread has just taken and that no other thread knows of: it is not *opened* (HAND-1).
///
/// Usually all of its messages are decoded and acknowledged together: if they are equally long and not empty, none has
/// been handed out before, the caller has room for all, and the values are small. Otherwise a [`Claim`] takes over.
struct FreshBatch<'a, 'v, T> {
    batches: &'a Batches,
    attachment: &'a Arc<Attachment>,
    queue: Entered<'a>,
    block: OwnedBlock,
    into: &'v mut Vec<T>,
    /// What the codec has made of the first messages.
    values: Vec<Option<T>>,
    stage: Stage,
}

impl Batches {
    /// Decodes up to `max` messages of a batch that has just been taken. Otherwise the same as [`Claim::decode_into`].
    #[inline(always)]
    pub(in crate::queue) fn decode_fresh<'a, T, C: Codec<T>>(
        &'a self,
        attachment: &'a Arc<Attachment>,
        held: HeldBlock<'a>,
        into: &mut Vec<T>,
        max: usize,
    ) -> Result<(), RecvFailure> {
        let mut fresh = FreshBatch {
            batches: self,
            attachment,
            queue: held.queue(),
            block: held.into_block(),
            into,
            values: Vec::new(),
            stage: Stage::Untouched,
        };
        if fresh.decode::<C>(max).is_some() {
            return Ok(());
        }
        let (claim, received) = fresh.claim_rest()?;
        drop(fresh);
        claim.decode_into::<T, C>(into, max - received)
    }
}

impl<'a, T> FreshBatch<'a, '_, T> {
    /// Decodes all messages if there are at most `max`. Returns `None` if that was not possible; then a claim must
    /// [take over](Self::claim_rest).
    ///
    /// Pushing the messages into `into` one by one would make each wait until the one before has stored the length of
    /// `into`. This way the processor works on them side by side.
    #[inline(always)]
    fn decode<C: Codec<T>>(&mut self, max: usize) -> Option<()> {
        let segment = self.queue.segment();
        let Batch { count, marks, .. } = batch::batch(segment, self.block.index()).ok()??;
        if size_of::<T>() > LARGEST_MOVED || count > max || !marks.are_fresh(count) {
            return None;
        }
        let payload = segment.view().batch_payload(&self.block).ok()?;
        let messages = BatchCursor::first(count, payload).equal_messages(payload, count)?;
        self.stage = Stage::Begun;
        self.values.reserve(count);
        let mut failures = 0;
        self.values
            .extend(messages.enumerate().map(|(message, bytes)| {
                marks.record_delivery(message, MessageMark::FRESH);
                let value = C::decode(bytes).ok();
                failures += usize::from(value.is_none());
                value
            }));
        if failures > 0 {
            return None;
        }
        self.into.extend(self.values.drain(..).map(|value| {
            let Some(value) = value else {
                unreachable!("there were no failures")
            };
            value
        }));
        self.stage = Stage::Received;
        Some(())
    }

    /// Receives the messages before the first failure. Takes back those that were decoded after it, which the caller
    /// has not seen. Returns a claim of the rest, and the number of messages that were received.
    #[cold]
    #[inline(never)]
    fn claim_rest(&mut self) -> Result<(Claim<'a>, usize), RecvFailure> {
        let panicked = self.stage == Stage::Begun;
        self.stage = Stage::Claimed;
        // The codec may have forked (ATTACH-4).
        let queue = self.attachment.enter()?;
        let block = self.block.take();
        let (decoded, before) = (self.values.len(), self.into.len());
        let mut values = core::mem::take(&mut self.values).into_iter();
        self.into.extend(values.by_ref().map_while(|value| value));
        let received = self.into.len() - before;
        if let Ok(Some(batch)) = batch::batch(queue.segment(), block.index()) {
            batch.marks.reset_to_fresh(received..decoded);
        }
        // Either all have been decoded, and one has failed; or the codec has panicked, with the one after these.
        let panicked = panicked && received == decoded;
        let mut open = OpenBatch::new(queue, self.attachment, block)?;
        open.skip(queue, received + usize::from(panicked));
        let claim = self.batches.claim_fresh(queue, open, received);
        // Not before: a panic in here would leave the batch without an owner.
        drop(values);
        Ok((claim, received))
    }
}

impl<T> Drop for FreshBatch<'_, '_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        match self.stage {
            Stage::Claimed => {}
            Stage::Received => {
                let block = self.block.take();
                if let Ok(queue) = self.attachment.enter() {
                    // This also wakes threads that wait for this batch before they report `Closed`; there was nothing
                    // in it for them. The next operation meets a corrupt word, too, and reports it.
                    let _ = settle::acknowledge_batch(queue.segment(), block);
                }
            }
            // The codec has panicked.
            Stage::Untouched | Stage::Begun => {
                let _ = self.claim_rest();
            }
        }
    }
}
