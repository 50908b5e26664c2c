//! How the messages of a batch lie in its payload.
//!
//! | part     | what                                                                                   |
//! |----------|----------------------------------------------------------------------------------------|
//! | lengths  | of each message, 32 bits, little-endian; or of all together, if it is the same for all |
//! | messages | one after the other                                                                    |
//!
//! Each part and each message is filled up to [`ALIGNMENT`]. So each message begins where words may lie, as the
//! payload of a block does.

use core::ops::Range;

/// In bytes.
pub(crate) const ALIGNMENT: usize = 8;
const LENGTH: usize = size_of::<u32>();
/// In the first length: it is that of all messages, and the only one.
const ALL: u32 = 1 << 31;

/// What so many bytes take up.
#[must_use]
#[inline(always)]
pub(crate) const fn padded(bytes: usize) -> usize {
    bytes.saturating_add(ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT
}

/// What the lengths of so many messages take up.
#[inline(always)]
const fn lengths(count: usize, equal: bool) -> usize {
    padded(if equal { 1 } else { count } * LENGTH)
}

/// The length of a payload with so many messages, all equally long or not, which take up so many bytes.
#[must_use]
#[inline(always)]
pub(crate) const fn length(count: usize, equal: bool, bytes: usize) -> usize {
    lengths(count, equal) + bytes
}

/// Write a payload: the lengths of the messages, all equal or not, and the messages, each padded. How long it is;
/// `None` if `into` is too short.
pub(crate) fn write(
    into: &mut [u8],
    lengths: &[u32],
    equal: bool,
    messages: &[u8],
) -> Option<usize> {
    let (table, rest) = into.split_at_mut_checked(self::lengths(lengths.len(), equal))?;
    if equal {
        let said = lengths.first()? | ALL;
        table
            .first_chunk_mut()
            .map(|entry| *entry = said.to_le_bytes())?;
    } else {
        for (entry, length) in table.chunks_exact_mut(LENGTH).zip(lengths) {
            entry.copy_from_slice(&length.to_le_bytes());
        }
    }
    rest.get_mut(..messages.len())?.copy_from_slice(messages);
    Some(length(lengths.len(), equal, messages.len()))
}

/// Which message is next, and where it starts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchCursor {
    pub(crate) message: usize,
    start: usize,
    /// The length of each message, if it is the same for all.
    all: Option<usize>,
}

impl BatchCursor {
    /// The first of `count` messages in this payload.
    #[must_use]
    pub(crate) fn first(count: usize, payload: &[u8]) -> Self {
        let all = said(payload, 0).filter(|said| said & ALL != 0);
        Self {
            message: 0,
            start: lengths(count, all.is_some()),
            all: all.map(|said| (said & !ALL) as usize),
        }
    }

    /// The next message, after one whose length is nonsense: its bytes can't be found either.
    #[must_use]
    pub(crate) const fn skip_corrupt(self) -> Self {
        Self {
            message: self.message + 1,
            start: usize::MAX,
            all: self.all,
        }
    }

    /// The next `count` messages, if all are equally long, and not empty.
    #[inline(always)]
    pub(crate) fn run(
        self,
        payload: &[u8],
        count: usize,
    ) -> Option<impl ExactSizeIterator<Item = &[u8]>> {
        let len = self.all.filter(|len| *len > 0)?;
        let stride = padded(len);
        let end = self.start.checked_add(stride.checked_mul(count)?)?;
        let run = payload.get(self.start..end)?.chunks_exact(stride);
        Some(run.map(move |padded| padded.get(..len).unwrap_or_default()))
    }

    /// Where the message lies in `payload`, and the place of the next one. `None`: nonsense is written there.
    #[must_use]
    #[inline(always)]
    pub(crate) fn look(self, payload: &[u8]) -> Option<(Range<usize>, Self)> {
        let length = match self.all {
            Some(length) => length,
            None => said(payload, self.message)? as usize,
        };
        let end = self.start.checked_add(length)?;
        if end > payload.len() {
            return None;
        }
        let next = Self {
            message: self.message + 1,
            start: padded(end),
            all: self.all,
        };
        Some((self.start..end, next))
    }
}

/// What stands among the lengths for this message.
#[inline(always)]
fn said(payload: &[u8], message: usize) -> Option<u32> {
    let at = message * LENGTH;
    let bytes = payload.get(at..at + LENGTH)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found in a payload of `count` messages, until nonsense is met.
    fn found(payload: &[u8], count: usize) -> Vec<&[u8]> {
        let mut place = BatchCursor::first(count, payload);
        let mut found = Vec::new();
        while found.len() < count
            && let Some((range, next)) = place.look(payload)
        {
            assert_eq!(range.start % ALIGNMENT, 0);
            found.push(payload.get(range).expect("within"));
            place = next;
        }
        found
    }

    #[test]
    fn what_is_written_is_found_again() {
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
            found(payload, 4),
            [&[1, 2, 3][..], &[], &[4, 0, 0, 0, 0, 0, 0, 5], &[6]]
        );
    }

    #[test]
    fn one_length_stands_for_all_equal_ones() {
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
            assert_eq!(found(&payload, 5), each);
        }
    }

    #[test]
    fn a_payload_that_is_too_short_is_not_written() {
        for equal in [false, true] {
            for room in 0..length(3, equal, 24) {
                let mut payload = vec![0; room];
                assert!(write(&mut payload, &[8, 8, 8], equal, &[0; 24]).is_none());
            }
        }
    }

    #[test]
    fn lengths_beyond_the_payload_are_nonsense() {
        let mut payload = [0; 32];
        for length in [25, 1 << 20, u32::MAX >> 1] {
            for equal in [false, true] {
                write(&mut payload, &[length], equal, &[]).expect("room");
                assert!(BatchCursor::first(1, &payload).look(&payload).is_none());
            }
        }
        write(&mut payload, &[8; 9], true, &[]).expect("room");
        assert_eq!(found(&payload, 9).len(), 3, "the payload has three of them");
        payload.fill(0);
        assert!(BatchCursor::first(9, &payload).look(&payload).is_none());
        let beyond = BatchCursor {
            message: 8,
            start: 0,
            all: None,
        };
        assert!(beyond.look(&payload).is_none());
        let lost = BatchCursor::first(2, &payload).skip_corrupt();
        assert!(lost.look(&payload).is_none());
        assert!(BatchCursor::first(2, &[]).look(&[]).is_none());
    }
}
