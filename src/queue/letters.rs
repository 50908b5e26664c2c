//! Reading dead letters.

use super::attachment::Attachment;
use crate::codec::{Bincode, Codec, DecodeError};
use crate::protocol::Corrupt;
use crate::protocol::blocks::BlockIndex;
use crate::protocol::operations::{InHand, letters};
use crate::protocol::ring::Position;
use core::fmt;
use core::marker::PhantomData;
use std::sync::Arc;

/// The dead letters of a queue, oldest first. Made by [`Receiver::dead_letters`](crate::Receiver::dead_letters).
///
/// Those that there were when it was made, less those that somebody else is looking at or has discarded.
pub struct DeadLetters<T, C: Codec<T> = Bincode> {
    attachment: Arc<Attachment>,
    found: std::vec::IntoIter<(Position, BlockIndex)>,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C: Codec<T>> DeadLetters<T, C> {
    pub(super) fn new(attachment: &Arc<Attachment>) -> Self {
        let found = if attachment.is_elsewhere() {
            Vec::new()
        } else {
            letters::letters(attachment.segment())
        };
        Self {
            attachment: Arc::clone(attachment),
            found: found.into_iter(),
            types: PhantomData,
        }
    }
}

impl<T, C: Codec<T>> Iterator for DeadLetters<T, C> {
    type Item = DeadLetter<T, C>;

    fn next(&mut self) -> Option<Self::Item> {
        let attachment = &self.attachment;
        if attachment.is_elsewhere() {
            return None;
        }
        self.found.find_map(|(position, index)| {
            let block = letters::open(attachment.segment(), attachment.row(), position, index)?;
            Some(DeadLetter {
                attachment: Arc::clone(attachment),
                block: Some(block),
                types: PhantomData,
            })
        })
    }
}

impl<T, C: Codec<T>> fmt::Debug for DeadLetters<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters")
            .field("left", &self.found.len())
            .finish_non_exhaustive()
    }
}

/// A message that was handed out too often, could not be decoded, or came back when all receivers had been
/// told that the queue has ended.
///
/// While it is open, nobody else can open it. Dropping it puts it back.
#[must_use = "dropping a dead letter puts it back"]
pub struct DeadLetter<T, C: Codec<T> = Bincode> {
    attachment: Arc<Attachment>,
    block: Option<InHand>,
    types: PhantomData<fn() -> (T, C)>,
}

impl<T, C: Codec<T>> DeadLetter<T, C> {
    /// How often the message was handed out and came back.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.block
            .as_ref()
            .map_or(0, |block| block.word.attempts().into())
    }

    fn payload(&self) -> Result<&[u8], Corrupt> {
        if self.attachment.is_elsewhere() {
            return Err(Corrupt::NotInHand);
        }
        let block = self.block.as_ref().ok_or(Corrupt::NotInHand)?;
        self.attachment.segment().payload(block)
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

    /// The letter is done with: its memory is free again. Never waits.
    pub fn discard(mut self) {
        if let Some(block) = self.block.take()
            && !self.attachment.is_elsewhere()
        {
            // Corrupt memory is reported by the operation that meets it; here nobody listens.
            let _ = letters::discard(self.attachment.segment(), &block);
            let row = self.attachment.row();
            self.attachment.segment().tidy(row, block.index);
        }
    }
}

impl<T, C: Codec<T>> Drop for DeadLetter<T, C> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take()
            && !self.attachment.is_elsewhere()
        {
            // As above.
            let _ = letters::put_back(self.attachment.segment(), &block);
        }
    }
}

impl<T, C: Codec<T>> fmt::Debug for DeadLetter<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetter")
            .field("attempts", &self.attempts())
            .finish_non_exhaustive()
    }
}
