//! Messages that show their number and whether they are whole.

use crate::{
    events::{Event, Recorder},
    ids::MessageId,
};
use std::sync::OnceLock;
use workring::{
    Receiver, Sender,
    error::{DecodeError, EncodeError},
    queue::{Codec, Raw},
};

pub(crate) type MessageSender = Sender<Message, Raw>;
pub(crate) type MessageReceiver = Receiver<Message, Raw>;

/// A number, and bytes that are computed from it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: MessageId,
    pub(crate) length: usize,
}

impl Message {
    /// The number and a check word.
    const MIN_LENGTH: usize = 16;

    /// Makes a message of at most `max_length` bytes.
    pub(crate) fn new(id: MessageId, max_length: usize) -> Self {
        Self {
            id,
            length: Self::length(id, max_length),
        }
    }

    /// Chooses a length from the id: each order of magnitude up to `max_length` is equally frequent.
    fn length(id: MessageId, max_length: usize) -> usize {
        let max_length = max_length.max(Self::MIN_LENGTH);
        let doublings = max_length.ilog2() - Self::MIN_LENGTH.ilog2();
        let scale = id.hash(2) % u64::from(doublings + 1);
        let longest = (Self::MIN_LENGTH << (scale + 1)).min(max_length);
        let choices = (longest - Self::MIN_LENGTH + 1) as u64;
        let more = usize::try_from(id.hash(3) % choices).expect("less than the length");
        Self::MIN_LENGTH + more
    }

    /// Fills `bytes`, which are exactly as many as the message is long.
    pub(crate) fn write(&self, bytes: &mut [u8]) {
        let (words, rest) = bytes.as_chunks_mut::<8>();
        for (word, value) in words.iter_mut().zip(self.words()) {
            *word = value.to_le_bytes();
        }
        rest.fill(0xA5);
    }

    /// Returns `None` if any bit differs from what was written.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let message = Self {
            id: MessageId(u64::from_le_bytes(*words.first()?)),
            length: bytes.len(),
        };
        let mut both = words.iter().zip(message.words());
        let is_whole = both.all(|(word, value)| *word == value.to_le_bytes());
        (is_whole && rest.iter().all(|&byte| byte == 0xA5)).then_some(message)
    }

    /// Returns the number, a check word of number and length, and a value for each further place that differs from one
    /// message to the next.
    fn words(&self) -> impl Iterator<Item = u64> + use<> {
        let id = self.id.0;
        let check = self.id.hash(4).wrapping_add(self.length as u64);
        let filling = (2_u64..).map(move |place| id.wrapping_mul(place) ^ (place << 40));
        [id, check].into_iter().chain(filling)
    }
}

/// How this process records each message that it decodes.
static DECODING: OnceLock<(&'static Recorder, Event)> = OnceLock::new();

/// From now on, records `event` for each message that this process decodes. To be called once.
pub(crate) fn record_decoding(recorder: &'static Recorder, event: Event) {
    let set = DECODING.set((recorder, event));
    assert!(set.is_ok(), "called once in each process");
}

/// Decoding records the message: a process that is killed while it receives has named what it was receiving.
impl Codec<Message> for Raw {
    const NAME: &'static str = "storm";

    fn encode(message: &Message, into: &mut [u8]) -> Result<usize, EncodeError> {
        let bytes = into.get_mut(..message.length).ok_or(EncodeError::NoRoom)?;
        message.write(bytes);
        Ok(message.length)
    }

    fn encoded_len(message: &Message) -> Result<usize, EncodeError> {
        Ok(message.length)
    }

    fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        let message = Message::read(bytes).ok_or_else(|| DecodeError::new("a torn message"))?;
        if let Some((recorder, event)) = DECODING.get() {
            recorder.record(*event, message.id);
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ProcessNumber;

    #[test]
    fn a_message_is_read_as_it_was_written_or_not_at_all() {
        for number in 0..200 {
            let message = Message::new(MessageId::new(ProcessNumber(3), number), 500);
            assert!((16..=500).contains(&message.length));
            let mut bytes = vec![0; message.length];
            message.write(&mut bytes);
            assert_eq!(Message::read(&bytes), Some(message));
            let at = number as usize % bytes.len();
            *bytes.get_mut(at).expect("inside") ^= 4;
            assert_eq!(Message::read(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn lengths_are_of_every_order_of_magnitude() {
        let max_length = 300_000;
        let lengths: Vec<usize> = (0..1000)
            .map(|number| Message::new(MessageId::new(ProcessNumber(1), number), max_length).length)
            .collect();
        for limit in [32, 1000, 65_536] {
            let longer = lengths.iter().filter(|&&length| length > limit).count();
            assert!((50..950).contains(&longer), "{longer} above {limit}");
        }
        assert!(lengths.iter().all(|&length| length <= max_length));
    }
}
