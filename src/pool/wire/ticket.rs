//! The ticket of a task: the first bytes of each message in both queues.

use crate::codec::{DecodeError, EncodeError};
use crate::pool::outcome::TaskId;

/// Identifies a task and one of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) id: TaskId,
    /// The number of the attempt, from 1.
    pub(crate) attempt: u16,
}

pub(crate) const HEADER: usize = 12;

impl Ticket {
    /// Returns the ticket of the `n`th task of a chunk whose first task has this ticket.
    pub(crate) const fn nth(self, n: usize) -> Self {
        Self {
            id: TaskId(self.id.0.wrapping_add(n as u64)),
            attempt: self.attempt,
        }
    }

    pub(crate) fn encode(self, kind: u8, into: &mut [u8]) -> Result<&mut [u8], EncodeError> {
        let (header, rest) = into
            .split_first_chunk_mut::<HEADER>()
            .ok_or(EncodeError::NoRoom)?;
        let word = u32::from(self.attempt) | u32::from(kind) << 16;
        let (first, second) = header.split_at_mut(8);
        first.copy_from_slice(&self.id.0.to_le_bytes());
        second.copy_from_slice(&word.to_le_bytes());
        Ok(rest)
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "each field is cut out of its word"
    )]
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u8, &[u8]), DecodeError> {
        let header = bytes.split_first_chunk::<8>();
        let header = header.and_then(|(id, rest)| Some((id, rest.split_first_chunk::<4>()?)));
        let Some((id, (word, rest))) = header else {
            return Err(DecodeError::new("a message shorter than a ticket"));
        };
        let word = u32::from_le_bytes(*word);
        let ticket = Self {
            id: TaskId(u64::from_le_bytes(*id)),
            attempt: word as u16,
        };
        Ok((ticket, (word >> 16) as u8, rest))
    }
}

/// Returns the codec's own error text, without the sentence about dead letters.
pub(crate) fn reason(error: &DecodeError) -> String {
    error.cause().to_string()
}
