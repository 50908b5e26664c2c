//! A codec that fails for some numbers.

use workring::{
    error::{DecodeError, EncodeError},
    queue::Codec,
};

/// Encodes numbers as four bytes. It cannot encode 13, cannot decode 14, and panics when it decodes 15.
pub struct Superstitious;

impl Codec<u32> for Superstitious {
    const NAME: &'static str = "superstitious";

    fn encode(message: &u32, into: &mut [u8]) -> Result<usize, EncodeError> {
        if *message == 13 {
            return Err(EncodeError::failed("bad luck"));
        }
        let room = into.get_mut(..4).ok_or(EncodeError::NoRoom)?;
        room.copy_from_slice(&message.to_le_bytes());
        Ok(4)
    }

    fn encoded_len(_: &u32) -> Result<usize, EncodeError> {
        Ok(4)
    }

    fn decode(bytes: &[u8]) -> Result<u32, DecodeError> {
        match u32::from_le_bytes(bytes.try_into().map_err(DecodeError::new)?) {
            14 => Err(DecodeError::new("the next best thing to 13")),
            15 => panic!("15 is worse"),
            number => Ok(number),
        }
    }
}
