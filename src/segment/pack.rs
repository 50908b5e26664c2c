//! How the messages of a pack lie in its payload.
//!
//! | part     | what                                                                  |
//! |----------|-----------------------------------------------------------------------|
//! | lengths  | of each message, 32 bits, little-endian; filled up to [`ALIGNMENT`]   |
//! | messages | one after the other, each filled up to [`ALIGNMENT`]                  |
//!
//! So each message begins where words may lie, as the payload of a block does.

use core::ops::Range;

/// In bytes.
pub(crate) const ALIGNMENT: usize = 8;
const LENGTH: usize = size_of::<u32>();

/// What so many bytes take up.
#[must_use]
#[inline(always)]
pub(crate) const fn padded(bytes: usize) -> usize {
    bytes.saturating_add(ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
}

/// The length of a payload with so many messages, which take up so many bytes.
#[must_use]
#[inline(always)]
pub(crate) const fn length(count: usize, bytes: usize) -> usize {
    padded(count * LENGTH) + bytes
}

/// Write a payload: the lengths of the messages, and the messages, each padded. How long it is; `None` if `into`
/// is too short.
pub(crate) fn write(into: &mut [u8], lengths: &[u32], messages: &[u8]) -> Option<usize> {
    let (table, rest) = into.split_at_mut_checked(length(lengths.len(), 0))?;
    for (entry, length) in table.chunks_exact_mut(LENGTH).zip(lengths) {
        entry.copy_from_slice(&length.to_le_bytes());
    }
    rest.get_mut(..messages.len())?.copy_from_slice(messages);
    Some(length(lengths.len(), messages.len()))
}

/// Which message is next, and where it starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) message: usize,
    start: usize,
}

impl Place {
    /// The first of `count` messages.
    #[must_use]
    pub(crate) const fn first(count: usize) -> Self {
        Self {
            message: 0,
            start: length(count, 0),
        }
    }

    /// The next message, after one whose length is nonsense: its bytes can't be found either.
    #[must_use]
    pub(crate) const fn after_nonsense(self) -> Self {
        Self {
            message: self.message + 1,
            start: usize::MAX,
        }
    }

    /// Where the message lies in `payload`, and the place of the next one. `None`: nonsense is written there.
    #[must_use]
    #[inline(always)]
    pub(crate) fn look(self, payload: &[u8]) -> Option<(Range<usize>, Self)> {
        let at = self.message * LENGTH;
        let length = payload.get(at..at + LENGTH)?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let end = self.start.checked_add(length)?;
        if end > payload.len() {
            return None;
        }
        let next = Self {
            message: self.message + 1,
            start: padded(end),
        };
        Some((self.start..end, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_found_again() {
        let lengths = [3, 0, 8, 1];
        let mut messages = [0; 24];
        for (at, byte) in [(0, 1), (1, 2), (2, 3), (8, 4), (15, 5), (16, 6)] {
            *messages.get_mut(at).expect("within") = byte;
        }
        let mut payload = [0xff; 64];
        let written = write(&mut payload, &lengths, &messages).expect("room");
        assert_eq!(written, length(4, 24));
        let payload = payload.get(..written).expect("as written");
        let mut place = Place::first(lengths.len());
        let mut found: Vec<&[u8]> = Vec::new();
        for _ in lengths {
            let (range, next) = place.look(payload).expect("sound");
            assert_eq!(range.start % ALIGNMENT, 0);
            found.push(payload.get(range).expect("within"));
            place = next;
        }
        assert_eq!(
            found,
            [&[1, 2, 3][..], &[], &[4, 0, 0, 0, 0, 0, 0, 5], &[6]]
        );
    }

    #[test]
    fn a_payload_that_is_too_short_is_not_written() {
        for room in 0..length(2, 16) {
            assert!(write(&mut vec![0; room], &[8, 8], &[0; 16]).is_none());
        }
    }

    #[test]
    fn lengths_beyond_the_payload_are_nonsense() {
        let mut payload = [0; 32];
        for length in [25, 1 << 20, u32::MAX] {
            write(&mut payload, &[length], &[]).expect("room");
            assert!(Place::first(1).look(&payload).is_none());
        }
        assert!(Place::first(9).look(&payload).is_none());
        let beyond = Place {
            message: 8,
            start: 0,
        };
        assert!(beyond.look(&payload).is_none());
    }
}
