//! Messages: a number, and as many further bytes as it takes to be of a certain length. The first of these are filled and checked.

use workring::{
    Receiver, Sender,
    error::{DecodeError, EncodeError},
    queue::{Codec, Raw},
};

pub(crate) type MessageSender = Sender<Message, Raw>;
pub(crate) type MessageReceiver = Receiver<Message, Raw>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) number: u32,
    pub(crate) length: usize,
}

/// How many bytes of a message are filled: each of them takes instructions, and all of those are boundaries.
const FILLED: usize = 128;

impl Message {
    /// The length of the number.
    pub(crate) const MIN_LENGTH: usize = size_of::<u32>();

    pub(crate) const fn small(number: u32) -> Self {
        let length = Self::MIN_LENGTH;
        Self { number, length }
    }

    /// Fills the bytes that follow the number.
    pub(crate) fn fill(self, rest: &mut [u8]) {
        let filled = rest.len().min(FILLED);
        rest.iter_mut()
            .take(filled)
            .for_each(|byte| *byte = self.filling());
    }

    fn filling(self) -> u8 {
        self.number.to_le_bytes()[0]
    }
}

impl Codec<Message> for Raw {
    const NAME: &'static str = "stepkill";

    fn encode(message: &Message, into: &mut [u8]) -> Result<usize, EncodeError> {
        let into = into.get_mut(..message.length).ok_or(EncodeError::NoRoom)?;
        let (number, rest) = into.split_first_chunk_mut().ok_or(EncodeError::NoRoom)?;
        *number = message.number.to_le_bytes();
        message.fill(rest);
        Ok(message.length)
    }

    fn encoded_len(message: &Message) -> Result<usize, EncodeError> {
        Ok(message.length)
    }

    fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        let (number, rest) = bytes
            .split_first_chunk()
            .ok_or_else(|| DecodeError::new("too short"))?;
        let message = Message {
            number: u32::from_le_bytes(*number),
            length: bytes.len(),
        };
        if rest
            .iter()
            .take(FILLED)
            .any(|byte| *byte != message.filling())
        {
            return Err(DecodeError::new("the bytes have changed"));
        }
        Ok(message)
    }
}
