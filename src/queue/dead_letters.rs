//! Reading dead letters.

use super::attachment::Attachment;
use crate::codec::{Bincode, Codec, DecodeError};
use crate::protocol::batch::BatchMarks;
use crate::protocol::ids::{BlockIndex, Position};
use crate::protocol::steps::{OwnedBlock, batch, dead_letters};
use crate::protocol::{Corrupt, SharedState};
use crate::segment::batch_layout::BatchCursor;
use crate::sync::{AtomicBool, Ordering};
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;
use std::sync::Arc;

/// The dead letters of a queue, oldest first. Made by [`Receiver::dead_letters`](crate::Receiver::dead_letters).
///
/// Those that there were when it was made, less those that somebody else is looking at or has discarded. Letters
/// that were sent batched ([`Sender::send_many`](crate::Sender::send_many)) are opened together: while one of them
/// is looked at, its whole batch is.
pub struct DeadLetters<T, C: Codec<T> = Bincode> {
    attachment: Arc<Attachment>,
    found: std::vec::IntoIter<(Position, BlockIndex)>,
    /// A batch whose letters come next.
    batch: Option<(Arc<OpenBlock>, BatchCursor)>,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C: Codec<T>> DeadLetters<T, C> {
    pub(super) fn new(attachment: &Arc<Attachment>) -> Self {
        let found = if attachment.is_forked_child() {
            Vec::new()
        } else {
            dead_letters::list(attachment.segment())
        };
        Self {
            attachment: Arc::clone(attachment),
            found: found.into_iter(),
            batch: None,
            types: PhantomData,
        }
    }

    /// The next letter of the batch that is open.
    fn next_of_batch(&mut self) -> Option<Letter> {
        let (block, place) = self.batch.as_mut()?;
        while let Some((message, range)) = block.step(place) {
            if !block.is_done(message) {
                return Some(Letter::OfBatch {
                    block: Arc::clone(block),
                    message,
                    range,
                });
            }
        }
        self.batch = None;
        None
    }
}

impl<T, C: Codec<T>> Iterator for DeadLetters<T, C> {
    type Item = DeadLetter<T, C>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.attachment.is_forked_child() {
            return None;
        }
        loop {
            if let Some(letter) = self.next_of_batch() {
                return Some(DeadLetter::new(letter));
            }
            let (position, index) = self.found.next()?;
            let attachment = &self.attachment;
            let (segment, row) = (attachment.segment(), attachment.row());
            let Some(block) = dead_letters::open(segment, row, position, index) else {
                continue;
            };
            let block = OpenBlock {
                attachment: Arc::clone(attachment),
                block,
                discarded: AtomicBool::new(false),
            };
            match batch::batch(segment, index) {
                Ok(Some(batch)) => {
                    let payload = segment.batch_payload(&block.block).unwrap_or_default();
                    let first = BatchCursor::first(batch.count, payload);
                    self.batch = Some((Arc::new(block), first));
                }
                Ok(None) | Err(_) => return Some(DeadLetter::new(Letter::Alone(block))),
            }
        }
    }
}

impl<T, C: Codec<T>> fmt::Debug for DeadLetters<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters")
            .field("left", &self.found.len())
            .finish_non_exhaustive()
    }
}

/// A block that this process reads. Put back, or freed if all of its letters are discarded, when it is dropped.
struct OpenBlock {
    attachment: Arc<Attachment>,
    block: OwnedBlock,
    /// Said of a single message; a batch has marks.
    discarded: AtomicBool,
}

impl OpenBlock {
    /// The message of a batch at `place`, which moves on to the next. `None`: there is no more, or nonsense. An
    /// empty message stands for one whose bytes can't be found.
    fn step(&self, place: &mut BatchCursor) -> Option<(usize, Range<usize>)> {
        if self.attachment.is_forked_child() {
            return None;
        }
        let segment = self.attachment.segment();
        let batch = batch::batch(segment, self.block.index()).ok()??;
        let message = place.message;
        if message >= batch.count {
            return None;
        }
        let found = segment
            .batch_payload(&self.block)
            .ok()
            .and_then(|payload| place.locate(payload));
        let (range, next) = found.unwrap_or((0..0, place.skip_corrupt()));
        *place = next;
        Some((message, range))
    }

    fn is_done(&self, message: usize) -> bool {
        self.marks()
            .is_none_or(|marks| marks.get(message).is_done())
    }

    /// Of a batch. `None` in a forked child, too.
    fn marks(&self) -> Option<&BatchMarks> {
        if self.attachment.is_forked_child() {
            return None;
        }
        self.attachment.segment().marks(self.block.index())
    }
}

impl Drop for OpenBlock {
    fn drop(&mut self) {
        if self.attachment.is_forked_child() {
            return;
        }
        let segment = self.attachment.segment();
        let (index, block) = (self.block.index(), self.block.take());
        // Corrupt memory is reported by the operation that meets it; here nobody listens.
        let _ = if *self.discarded.get_mut() {
            dead_letters::discard(segment, block)
        } else {
            dead_letters::put_back(segment, block)
        };
        segment.trim(self.attachment.row(), index);
    }
}

enum Letter {
    Alone(OpenBlock),
    OfBatch {
        block: Arc<OpenBlock>,
        message: usize,
        range: Range<usize>,
    },
}

/// A message that was handed out too often, could not be decoded, or came back when all receivers had been
/// told that the queue has ended.
///
/// While it is open, nobody else can open it. Dropping it puts it back.
#[must_use = "dropping a dead letter puts it back"]
pub struct DeadLetter<T, C: Codec<T> = Bincode> {
    letter: Letter,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C: Codec<T>> DeadLetter<T, C> {
    fn new(letter: Letter) -> Self {
        Self {
            letter,
            types: PhantomData,
        }
    }

    /// Returns how many deliveries of this message failed: its receiver returned it, or died while it held it. This is
    /// [`Options::max_deliveries`](crate::Options::max_deliveries) or less. A delivery in which the message could not be
    /// decoded does not count.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        match &self.letter {
            Letter::Alone(open) => open.block.word().failed_deliveries().into(),
            Letter::OfBatch { block, message, .. } => block
                .marks()
                .map_or(0, |marks| marks.get(*message).failed_deliveries().into()),
        }
    }

    fn payload(&self) -> Result<&[u8], Corrupt> {
        let open = match &self.letter {
            Letter::Alone(open) => open,
            Letter::OfBatch { block, .. } => block,
        };
        if open.attachment.is_forked_child() {
            return Err(Corrupt::NotOwned);
        }
        match &self.letter {
            Letter::Alone(open) => open.attachment.segment().payload(&open.block),
            Letter::OfBatch { block, range, .. } => block
                .attachment
                .segment()
                .batch_payload(&block.block)?
                .get(range.clone())
                .ok_or(Corrupt::TooLong),
        }
    }

    /// The message.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], which may be why it is here.
    pub fn decode(&self) -> Result<T, DecodeError> {
        C::decode(
            self.payload()
                .map_err(|corrupt| DecodeError::new(corrupt.what()))?,
        )
    }

    /// The message as its sender encoded it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.payload().unwrap_or_default().to_vec()
    }

    /// The letter is done with: its memory is free again, once all of its batch are if it was sent in one. Never
    /// waits.
    pub fn discard(self) {
        match &self.letter {
            Letter::Alone(open) => open.discarded.store(true, Ordering::Relaxed),
            Letter::OfBatch { block, message, .. } => {
                if let Some(marks) = block.marks() {
                    marks.mark_done(*message);
                }
            }
        }
    }
}

impl<T, C: Codec<T>> fmt::Debug for DeadLetter<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("deliveries", &self.deliveries())
            .finish_non_exhaustive()
    }
}
