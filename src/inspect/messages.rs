//! The bytes of messages, without taking them.
//!
//! MESSAGES-1. The bytes of a message are read from the file after its block was found in the copy of the words. They
//!             are returned only if the block's word is the same afterwards: each change of owner changes it (BLOCK-3),
//!             and until then no process changes the payload (BLOCK-4).

use super::view::QueueView;
use crate::error::OpenError;
use crate::protocol::SharedState;
use crate::protocol::blocks::BlockKind;
use crate::protocol::ids::{BlockIndex, Position};
use crate::protocol::ring::{LapOrder, SlotKind};
use crate::protocol::steps::batch;
use crate::protocol::steps::walk::filled_and_taken;
use crate::segment::batch_layout::BatchCursor;
use std::io;

/// Where a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In the ring: it was not delivered yet.
    Queued,
    /// It waits to be delivered again, before those in the ring.
    Returned,
    /// A process holds it.
    Held,
    /// It is a dead letter.
    Dead,
}

/// A message that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// Its number in the order of acceptance; all messages of a batch share one.
    pub position: u64,
    /// Its number in its batch, if it was sent in one.
    pub in_batch: Option<usize>,
    /// Where it is.
    pub place: Place,
    /// How many deliveries of it failed.
    pub failed_deliveries: u8,
    /// Its length in bytes.
    pub len: usize,
    /// Its bytes, or the first of them.
    pub bytes: Vec<u8>,
}

impl QueueView {
    /// Returns up to `max` messages that are in one of these places, in the order in which they would be delivered: those
    /// that were returned, then those in the ring; after these, those that are held, and dead letters. Of each, at most
    /// `max_bytes` bytes. Leaves out those that move during the call.
    ///
    /// # Errors
    ///
    /// The file was cut, or cannot be read.
    pub fn messages(
        &self,
        places: &[Place],
        max: usize,
        max_bytes: usize,
    ) -> Result<Vec<Message>, OpenError> {
        let mut found = Vec::new();
        for place in [Place::Returned, Place::Queued, Place::Held, Place::Dead] {
            if !places.contains(&place) {
                continue;
            }
            for (position, block) in self.blocks_in(place) {
                if found.len() >= max {
                    break;
                }
                let read = self.read_block(place, position, block, max_bytes);
                found.extend(read.map_err(|source| OpenError::Os {
                    what: "the queue's file could not be read",
                    source,
                })?);
            }
        }
        found.truncate(max);
        Ok(found)
    }

    /// Returns the blocks with messages in a place, oldest first.
    fn blocks_in(&self, place: Place) -> Vec<(Position, BlockIndex)> {
        let image = &self.image;
        if place == Place::Queued {
            let (filled, taken) = filled_and_taken(image);
            let size = image.ring_size();
            let count = filled.0.saturating_sub(taken.0).min(size.slots());
            let slot = |offset| {
                let position = taken.plus(offset);
                let slot = image.slot(position).load();
                let is_there = slot.kind() == SlotKind::Full
                    && slot.compare_lap(size.lap(position)) == LapOrder::Same;
                is_there.then(|| (position, slot.block()))
            };
            return (0..count).filter_map(slot).collect();
        }
        let ended = image.lifecycle().load();
        let is_late = ended.has_ended() && !ended.is_cancelled();
        let block = |number| {
            let index = BlockIndex::new(number)?;
            let header = image.block(index)?;
            let state = header.word.load();
            let is_there = match place {
                Place::Held => state.is(BlockKind::Held),
                Place::Returned => state.is(BlockKind::Returned) && !is_late,
                Place::Queued => false,
                Place::Dead => {
                    state.is(BlockKind::Dead)
                        || state.is(BlockKind::Read)
                        || state.is(BlockKind::Returned) && is_late
                }
            };
            is_there.then(|| (header.position(), index))
        };
        let mut found: Vec<_> = (0..image.block_count()).filter_map(block).collect();
        found.sort_unstable_by_key(|(position, _)| *position);
        found
    }

    /// Returns the messages in a block; none if it changes meanwhile (MESSAGES-1), or makes no sense.
    fn read_block(
        &self,
        place: Place,
        position: Position,
        index: BlockIndex,
        max_bytes: usize,
    ) -> io::Result<Vec<Message>> {
        let image = &self.image;
        let Some(header) = image.block(index) else {
            return Ok(Vec::new());
        };
        let batch = batch::batch(image, index).ok().flatten();
        let len = match &batch {
            Some(_) => header.length_of_batch() as usize,
            None => header.length() as usize,
        };
        let read = batch.as_ref().map_or(len.min(max_bytes), |_| len);
        let Some(payload) = image.payload(index, read)? else {
            return Ok(Vec::new());
        };
        if !image.is_unchanged(index)? {
            return Ok(Vec::new());
        }
        let message = |in_batch, failed_deliveries, bytes: &[u8], len| Message {
            position: position.0,
            in_batch,
            place,
            failed_deliveries,
            len,
            bytes: bytes.get(..max_bytes).unwrap_or(bytes).to_vec(),
        };
        let Some(batch) = batch else {
            let failed = header.word.load().failed_deliveries();
            return Ok(vec![message(None, failed, &payload, len)]);
        };
        let mut messages = Vec::new();
        let mut cursor = BatchCursor::first(batch.count, &payload);
        for number in 0..batch.count {
            let Some((range, next)) = cursor.locate(&payload) else {
                break;
            };
            cursor = next;
            let mark = batch.marks.get(number);
            if mark.is_done() {
                continue;
            }
            let bytes = payload.get(range).unwrap_or_default();
            let failed = mark.failed_deliveries();
            messages.push(message(Some(number), failed, bytes, bytes.len()));
        }
        Ok(messages)
    }
}
