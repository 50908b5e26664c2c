//! How the messages of a batch lie in the payload of its block.
//!
//! | part     | content                                                                                |
//! |----------|----------------------------------------------------------------------------------------|
//! | lengths  | of each message, 32 bits, little-endian; or one for all, if all are equally long        |
//! | messages | one after the other                                                                    |
//!
//! The part and each message are padded to a multiple of [`ALIGNMENT`]. So each message begins where a word may, as a
//! message alone in a block does.

use core::ops::Range;

/// The alignment of each message, in bytes.
pub(crate) const ALIGNMENT: usize = 8;
/// The size of an entry of the lengths.
const ENTRY: usize = size_of::<u32>();
/// A bit of the first length: it is the length of all messages, and the only entry.
const ALL_EQUAL: u32 = 1 << 31;

/// Rounds a length up to a multiple of [`ALIGNMENT`].
#[must_use]
#[inline(always)]
pub(crate) const fn padded(bytes: usize) -> usize {
    bytes.saturating_add(ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
}

/// Returns the size of the lengths of `count` messages.
#[inline(always)]
const fn lengths_size(count: usize, all_equal: bool) -> usize {
    padded(if all_equal { 1 } else { count } * ENTRY)
}

/// Returns the length of a payload with `count` messages that take up `bytes` bytes, each padded.
#[must_use]
#[inline(always)]
pub(crate) const fn length(count: usize, all_equal: bool, bytes: usize) -> usize {
    lengths_size(count, all_equal) + bytes
}

/// Writes a payload: the lengths of the messages, and the messages, each padded. Returns the length of the payload;
/// `None` if `into` is too short.
pub(crate) fn write(
    into: &mut [u8],
    lengths: &[u32],
    all_equal: bool,
    messages: &[u8],
) -> Option<usize> {
    let (table, rest) = into.split_at_mut_checked(lengths_size(lengths.len(), all_equal))?;
    if all_equal {
        let entry = lengths.first()? | ALL_EQUAL;
        table
            .first_chunk_mut()
            .map(|bytes| *bytes = entry.to_le_bytes())?;
    } else {
        for (entry, length) in table.chunks_exact_mut(ENTRY).zip(lengths) {
            entry.copy_from_slice(&length.to_le_bytes());
        }
    }
    rest.get_mut(..messages.len())?.copy_from_slice(messages);
    Some(length(lengths.len(), all_equal, messages.len()))
}

/// A place between two messages of a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchCursor {
    /// The number of the next message.
    pub(crate) message: usize,
    /// The offset of the next message.
    start: usize,
    /// The length of each message, if all are equally long.
    equal_length: Option<usize>,
}

impl BatchCursor {
    /// Returns the place before the first of `count` messages.
    #[must_use]
    pub(crate) fn first(count: usize, payload: &[u8]) -> Self {
        let equal_length = entry(payload, 0).filter(|entry| entry & ALL_EQUAL != 0);
        Self {
            message: 0,
            start: lengths_size(count, equal_length.is_some()),
            equal_length: equal_length.map(|entry| (entry & !ALL_EQUAL) as usize),
        }
    }

    /// Returns the place after a message whose length is corrupt. The bytes of later messages cannot be located either.
    #[must_use]
    pub(crate) const fn skip_corrupt(self) -> Self {
        Self {
            message: self.message + 1,
            start: usize::MAX,
            equal_length: self.equal_length,
        }
    }

    /// Returns the next `count` messages, if all are equally long and not empty.
    #[inline(always)]
    pub(crate) fn equal_messages(
        self,
        payload: &[u8],
        count: usize,
    ) -> Option<impl ExactSizeIterator<Item = &[u8]>> {
        let len = self.equal_length.filter(|len| *len > 0)?;
        let stride = padded(len);
        let end = self.start.checked_add(stride.checked_mul(count)?)?;
        let messages = payload.get(self.start..end)?.chunks_exact(stride);
        Some(messages.map(move |padded| padded.get(..len).unwrap_or_default()))
    }

    /// Returns where the next message lies in `payload`, and the place after it; `None` if its length is corrupt.
    #[must_use]
    #[inline(always)]
    pub(crate) fn locate(self, payload: &[u8]) -> Option<(Range<usize>, Self)> {
        let length = match self.equal_length {
            Some(length) => length,
            None => entry(payload, self.message)? as usize,
        };
        let end = self.start.checked_add(length)?;
        if end > payload.len() {
            return None;
        }
        let next = Self {
            message: self.message + 1,
            start: padded(end),
            equal_length: self.equal_length,
        };
        Some((self.start..end, next))
    }
}

/// Returns an entry of the lengths.
#[inline(always)]
fn entry(payload: &[u8], message: usize) -> Option<u32> {
    let at = message * ENTRY;
    let bytes = payload.get(at..at + ENTRY)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of a payload, up to the first that cannot be located.
    fn read(payload: &[u8], count: usize) -> Vec<&[u8]> {
        let mut cursor = BatchCursor::first(count, payload);
        let mut found = Vec::new();
        while found.len() < count
            && let Some((range, next)) = cursor.locate(payload)
        {
            assert_eq!(range.start % ALIGNMENT, 0);
            found.push(payload.get(range).expect("within"));
            cursor = next;
        }
        found
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        let lengths = [3, 0, 8, 1];
        let mut messages = [0; 24];
        for (at, byte) in [(0, 1), (1, 2), (2, 3), (8, 4), (15, 5), (16, 6)] {
            *messages.get_mut(at).expect("within") = byte;
        }
        let mut payload = [0xff; 64];
        let written = write(&mut payload, &lengths, false, &messages).expect("room");
        assert_eq!(written, length(4, false, 24));
        let payload = payload.get(..written).expect("as written");
        assert_eq!(
            read(payload, 4),
            [&[1, 2, 3][..], &[], &[4, 0, 0, 0, 0, 0, 0, 5], &[6]]
        );
    }

    #[test]
    fn equally_long_messages_share_one_length() {
        for len in [0, 1, 8, 13] {
            let mut messages = vec![0; 5 * padded(len)];
            let each: Vec<Vec<u8>> = (1..=5).map(|byte| vec![byte; len]).collect();
            for (at, message) in each.iter().enumerate() {
                let start = at * padded(len);
                messages
                    .get_mut(start..start + len)
                    .expect("within")
                    .copy_from_slice(message);
            }
            let lengths = [u32::try_from(len).expect("short"); 5];
            let mut payload = vec![0xff; length(5, true, messages.len())];
            let written = write(&mut payload, &lengths, true, &messages).expect("room");
            assert_eq!(written, payload.len());
            assert_eq!(written, 8 + 5 * padded(len));
            assert_eq!(read(&payload, 5), each);
        }
    }

    #[test]
    fn a_payload_that_is_too_short_is_not_written() {
        for all_equal in [false, true] {
            for room in 0..length(3, all_equal, 24) {
                let mut payload = vec![0; room];
                assert!(write(&mut payload, &[8, 8, 8], all_equal, &[0; 24]).is_none());
            }
        }
    }

    #[test]
    fn a_length_beyond_the_payload_is_corrupt() {
        let mut payload = [0; 32];
        for length in [25, 1 << 20, u32::MAX >> 1] {
            for all_equal in [false, true] {
                write(&mut payload, &[length], all_equal, &[]).expect("room");
                assert!(BatchCursor::first(1, &payload).locate(&payload).is_none());
            }
        }
        write(&mut payload, &[8; 9], true, &[]).expect("room");
        assert_eq!(read(&payload, 9).len(), 3, "the payload has room for three");
        payload.fill(0);
        assert!(BatchCursor::first(9, &payload).locate(&payload).is_none());
        let beyond = BatchCursor {
            message: 8,
            start: 0,
            equal_length: None,
        };
        assert!(beyond.locate(&payload).is_none());
        let skipped = BatchCursor::first(2, &payload).skip_corrupt();
        assert!(skipped.locate(&payload).is_none());
        assert!(BatchCursor::first(2, &[]).locate(&[]).is_none());
    }
}
