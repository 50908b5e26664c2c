//! Messages: a number, and as many further bytes as it takes to be of a certain length.

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

impl Message {
    /// The length of the number.
    pub(crate) const MIN_LENGTH: usize = size_of::<u32>();

    pub(crate) const fn small(number: u32) -> Self {
        let length = Self::MIN_LENGTH;
        Self { number, length }
    }
}

impl Codec<Message> for Raw {
    const NAME: &'static str = "stepkill";

    fn encode(message: &Message, into: &mut [u8]) -> Result<usize, EncodeError> {
        let into = into.get_mut(..message.length).ok_or(EncodeError::NoRoom)?;
        let number = into.first_chunk_mut().ok_or(EncodeError::NoRoom)?;
        *number = message.number.to_le_bytes();
        Ok(message.length)
    }

    fn encoded_len(message: &Message) -> Result<usize, EncodeError> {
        Ok(message.length)
    }

    fn decode(bytes: &[u8]) -> Result<Message, DecodeError> {
        let number = bytes
            .first_chunk()
            .ok_or_else(|| DecodeError::new("too short"))?;
        Ok(Message {
            number: u32::from_le_bytes(*number),
            length: bytes.len(),
        })
    }
}
