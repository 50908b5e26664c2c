//! The id of a task and the number of its attempt: the first bytes of each message in both queues.

use crate::codec::{DecodeError, EncodeError};
use crate::pool::outcome::TaskId;

/// One attempt to run a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskAttempt {
    /// The id of the task, the same in each attempt.
    pub(crate) id: TaskId,
    /// The number of the attempt, from 1.
    pub(crate) number: u16,
}

/// The length of an encoded attempt and the kind of its message.
pub(crate) const HEADER: usize = 12;

impl TaskAttempt {
    /// Returns the attempt of the `n`th task after this one, counted from 0, in a range of consecutive ids.
    #[inline]
    pub(crate) const fn nth(self, n: usize) -> Self {
        Self {
            id: TaskId(self.id.0.wrapping_add(n as u64)),
            number: self.number,
        }
    }

    #[inline]
    pub(crate) fn encode(self, kind: u8, into: &mut [u8]) -> Result<&mut [u8], EncodeError> {
        let (header, rest) = into
            .split_first_chunk_mut::<HEADER>()
            .ok_or(EncodeError::NoRoom)?;
        let word = u32::from(self.number) | u32::from(kind) << 16;
        let (first, second) = header.split_at_mut(8);
        first.copy_from_slice(&self.id.0.to_le_bytes());
        second.copy_from_slice(&word.to_le_bytes());
        Ok(rest)
    }

    #[allow(
        clippy::cast_possible_truncation,
        reason = "each field is cut out of its word"
    )]
    #[inline]
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u8, &[u8]), DecodeError> {
        let header = bytes.split_first_chunk::<8>();
        let header = header.and_then(|(id, rest)| Some((id, rest.split_first_chunk::<4>()?)));
        let Some((id, (word, rest))) = header else {
            return Err(DecodeError::new("a message shorter than its header"));
        };
        let word = u32::from_le_bytes(*word);
        let attempt = Self {
            id: TaskId(u64::from_le_bytes(*id)),
            number: word as u16,
        };
        Ok((attempt, (word >> 16) as u8, rest))
    }
}

/// Returns the codec's own error text, without the sentence about dead letters.
#[cold]
pub(crate) fn reason(error: &DecodeError) -> String {
    error.cause().to_string()
}
