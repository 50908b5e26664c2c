//! Reading dead letters.

use super::attachment::{Attachment, Entered};
use crate::codec::{Bincode, Codec, DecodeError};
use crate::protocol::SharedState;
use crate::protocol::batch::{BatchMarks, MessageMark};
use crate::protocol::ids::{BlockIndex, Position};
use crate::protocol::steps::{OwnedBlock, batch, dead_letters};
use crate::segment::batch_layout::BatchCursor;
use crate::sync::{AtomicBool, Ordering};
use core::fmt;
use core::marker::PhantomData;
use core::ops::Range;
use std::sync::Arc;

/// An iterator over the dead letters of a queue, oldest first. Returned by
/// [`Receiver::dead_letters`](crate::Receiver::dead_letters).
///
/// Contains the dead letters that existed when it was created, without those that another process has open or has
/// discarded.
/// Letters that were sent batched ([`Sender::send_many`](crate::Sender::send_many)) are opened together: while one of
/// them is open, its whole batch is.
pub struct DeadLetters<T, C: Codec<T> = Bincode> {
    attachment: Arc<Attachment>,
    found: std::vec::IntoIter<(Position, BlockIndex)>,
    /// A batch whose letters come next.
    batch: Option<(Arc<OpenBlock>, BatchCursor)>,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C: Codec<T>> DeadLetters<T, C> {
    pub(super) fn new(attachment: &Arc<Attachment>) -> Self {
        let found = attachment
            .enter()
            .map_or_else(|_| Vec::new(), |queue| dead_letters::list(queue.segment()));
        Self {
            attachment: Arc::clone(attachment),
            found: found.into_iter(),
            batch: None,
            types: PhantomData,
        }
    }

    /// Returns the next letter of the batch that is open.
    fn next_of_batch(&mut self) -> Option<Letter> {
        let (block, place) = self.batch.as_mut()?;
        while let Some((message, range)) = block.step(place) {
            if block.mark(message).is_some_and(|mark| !mark.is_done()) {
                return Some(Letter::Batched {
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
        loop {
            if let Some(letter) = self.next_of_batch() {
                return Some(DeadLetter::new(letter));
            }
            let attachment = Arc::clone(&self.attachment);
            let queue = attachment.enter().ok()?;
            let (position, index) = self.found.next()?;
            let segment = queue.segment();
            let Some(block) = dead_letters::open(segment, queue.peer(), position, index) else {
                continue;
            };
            let block = OpenBlock {
                attachment: Arc::clone(&attachment),
                block,
                discarded: AtomicBool::new(false),
            };
            match batch::batch(segment, index) {
                Ok(Some(batch)) => {
                    let payload = segment
                        .view()
                        .batch_payload(&block.block)
                        .unwrap_or_default();
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

/// A block that this process reads. When it is dropped, it is put back, or freed if all of its letters are discarded.
struct OpenBlock {
    attachment: Arc<Attachment>,
    block: OwnedBlock,
    /// For a single message; a batch has marks.
    discarded: AtomicBool,
}

impl OpenBlock {
    /// Returns the message of a batch at `place`, and advances to the next. `None`: there is none, or the memory is
    /// corrupt. An empty range stands for a message whose bytes cannot be found.
    fn step(&self, place: &mut BatchCursor) -> Option<(usize, Range<usize>)> {
        let queue = self.attachment.enter().ok()?;
        let segment = queue.segment();
        let batch = batch::batch(segment, self.block.index()).ok()??;
        let message = place.message;
        if message >= batch.count {
            return None;
        }
        let payload = segment.view().batch_payload(&self.block).ok();
        let found = payload.and_then(|payload| place.locate(payload));
        let (range, next) = found.unwrap_or((0..0, place.skip_corrupt()));
        *place = next;
        Some((message, range))
    }

    /// Returns the marks of a batch; `None` in a forked child, too.
    fn marks(&self) -> Option<&BatchMarks> {
        let queue = self.attachment.enter().ok()?;
        queue.segment().marks(self.block.index())
    }

    fn mark(&self, message: usize) -> Option<MessageMark> {
        Some(self.marks()?.get(message))
    }

    /// Returns the bytes of a single message; `None` if the memory is corrupt.
    fn payload<'a>(&'a self, queue: Entered<'a>) -> Option<&'a [u8]> {
        queue.view().payload(&self.block).ok()
    }

    /// Returns the bytes of a message of a batch; `None` if the memory is corrupt.
    fn batched_payload<'a>(&'a self, queue: Entered<'a>, range: &Range<usize>) -> Option<&'a [u8]> {
        let payload = queue.view().batch_payload(&self.block).ok()?;
        payload.get(range.clone())
    }
}

impl Drop for OpenBlock {
    fn drop(&mut self) {
        let (index, block) = (self.block.index(), self.block.take());
        let Ok(queue) = self.attachment.enter() else {
            return;
        };
        let segment = queue.segment();
        // The operation that meets corrupt memory reports it; here there is no caller to report it to.
        let _ = if self.discarded.load(Ordering::Relaxed) {
            dead_letters::discard(segment, block)
        } else {
            dead_letters::put_back(segment, block)
        };
        segment.trim(queue.peer(), index);
    }
}

enum Letter {
    Alone(OpenBlock),
    Batched {
        block: Arc<OpenBlock>,
        message: usize,
        range: Range<usize>,
    },
}

/// A message that was handed out too often, could not be decoded, or was returned when all receivers had already been
/// notified that the queue has ended.
///
/// While it is open, no other process can open it. Dropping it puts it back.
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
    /// [`Options::max_deliveries`](crate::Options::max_deliveries) or less. A delivery in which the message could not
    /// be decoded does not count.
    #[must_use]
    pub fn deliveries(&self) -> u32 {
        match &self.letter {
            Letter::Alone(open) => open.block.word().failed_deliveries().into(),
            Letter::Batched { block, message, .. } => block
                .mark(*message)
                .map_or(0, |mark| mark.failed_deliveries().into()),
        }
    }

    /// Returns the bytes of the message, or why there are none.
    fn payload(&self) -> Result<&[u8], &'static str> {
        let open = match &self.letter {
            Letter::Alone(open) => open,
            Letter::Batched { block, .. } => block,
        };
        let Ok(queue) = open.attachment.enter() else {
            return Err("this process is a forked child of the one that opened it");
        };
        let payload = match &self.letter {
            Letter::Alone(open) => open.payload(queue),
            Letter::Batched { block, range, .. } => block.batched_payload(queue, range),
        };
        payload.ok_or("the queue's shared memory is corrupt")
    }

    /// Decodes the message.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], which may be the reason why the message is a dead letter.
    pub fn decode(&self) -> Result<T, DecodeError> {
        C::decode(self.payload().map_err(DecodeError::new)?)
    }

    /// Returns the message as its sender encoded it.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.payload().unwrap_or_default().to_vec()
    }

    /// Discards the letter: its memory is free again. If it was sent in a batch, the memory is free once all letters of
    /// the batch are discarded. Never waits.
    pub fn discard(self) {
        match &self.letter {
            Letter::Alone(open) => open.discarded.store(true, Ordering::Relaxed),
            Letter::Batched { block, message, .. } => {
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
