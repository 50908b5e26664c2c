//! Messages that `send_many` is about to send, encoded for a batch.

use crate::codec::Codec;
use crate::protocol::batch::MAX_BATCH;
use crate::segment::batch_layout;

/// The largest message that is batched, in bytes. With larger ones, copying the bytes costs more than a send does, and
/// a batch would keep much work in the hands of one receiver.
const LARGEST: usize = 1024;

/// Room for the encoded messages of a batch, each of at most [`LARGEST`] bytes.
pub(super) type Scratch = Box<[u8]>;

/// Messages that are to be sent next, the first ones encoded.
pub(super) struct EncodedBatch<T> {
    /// In order. The first `encoded` of them are encoded.
    messages: Vec<T>,
    encoded: usize,
    /// The lengths of the encoded messages, and whether they are all equal.
    lengths: [u32; MAX_BATCH],
    equal: bool,
    /// The encoded messages, each padded, in the first `used` bytes.
    bytes: Scratch,
    used: usize,
}

impl<T> EncodedBatch<T> {
    pub(super) fn new(scratch: Option<Scratch>) -> Self {
        Self {
            messages: Vec::with_capacity(MAX_BATCH),
            encoded: 0,
            lengths: [0; MAX_BATCH],
            equal: false,
            bytes: scratch.unwrap_or_else(|| vec![0; MAX_BATCH * LARGEST].into()),
            used: 0,
        }
    }

    /// Takes messages and encodes them, until there are enough for a batch, the source has no more, or one must be sent
    /// alone.
    #[inline(always)]
    pub(super) fn fill<C: Codec<T>>(&mut self, source: &mut impl Iterator<Item = T>) {
        self.messages
            .extend(source.take(MAX_BATCH - self.messages.len()));
        // Nothing is encoded yet. Counted in registers: in memory, each message would wait for the one before.
        let (mut used, mut encoded) = (0, 0);
        let bytes = &mut *self.bytes;
        for (message, noted) in self.messages.iter().zip(&mut self.lengths) {
            let Some(room) = bytes.get_mut(used..used + LARGEST) else {
                break;
            };
            // If a message cannot be encoded here, sending it alone reports why.
            match C::encode(message, room).map(u32::try_from) {
                Ok(Ok(length)) if length as usize <= LARGEST => {
                    *noted = length;
                    used += batch_layout::padded(length as usize);
                }
                _ => break,
            }
            encoded += 1;
        }
        (self.used, self.encoded) = (used, encoded);
        let [first, ..] = self.lengths;
        // Without an early exit, which is faster.
        let differences = (self.lengths().iter()).fold(0, |sum, length| sum | (length ^ first));
        self.equal = differences == 0;
    }

    /// Returns the messages that are not sent yet, encoded or not.
    pub(super) fn messages(&self) -> &[T] {
        &self.messages
    }

    /// Returns how many messages are encoded.
    pub(super) fn encoded(&self) -> usize {
        self.encoded
    }

    /// Returns the length of the payload that holds all encoded messages.
    pub(super) fn length(&self) -> usize {
        batch_layout::length(self.encoded, self.equal, self.used)
    }

    fn lengths(&self) -> &[u32] {
        self.lengths.get(..self.encoded).unwrap_or_default()
    }

    /// Returns how many of the encoded messages fit a payload of `room` bytes, and how many bytes they need.
    pub(super) fn prefix(&self, room: usize) -> (usize, usize) {
        if self.length() <= room {
            return (self.encoded, self.used);
        }
        let mut bytes = 0;
        for (count, length) in self.lengths().iter().enumerate() {
            let more = bytes + batch_layout::padded(*length as usize);
            if batch_layout::length(count + 1, self.equal, more) > room {
                return (count, bytes);
            }
            bytes = more;
        }
        (self.encoded, bytes)
    }

    /// Writes the first `count` messages, which need this many bytes, to a payload. Returns the length of the payload,
    /// or `None` if it is too short.
    pub(super) fn write(&self, into: &mut [u8], count: usize, bytes: usize) -> Option<usize> {
        let (lengths, messages) = (self.lengths().get(..count)?, self.bytes.get(..bytes)?);
        batch_layout::write(into, lengths, self.equal, messages)
    }

    /// Drops the first `count` messages, which were accepted.
    pub(super) fn remove_sent(&mut self, count: usize) {
        // What is left is encoded again: there is hardly ever any.
        self.messages.drain(..count);
    }

    /// Returns the messages that were not sent, and the scratch memory.
    pub(super) fn into_parts(self) -> (Vec<T>, Scratch) {
        (self.messages, self.bytes)
    }
}
