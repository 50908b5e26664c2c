//! What a task emits while it runs, as a message of the results queue: see the table in `task_message`.
//!
//! | bytes | contents of an emission                                                                       |
//! |-------|-----------------------------------------------------------------------------------------------|
//! | 0-1   | the number of the worker                                                                      |
//! | 2-3   | the number of the attempt                                                                     |
//! | 4-7   | which value of this worker it is, from 1, modulo 2^32                                         |
//! | 8-15  | the index of the value in this attempt, from 0                                                |
//! | 16-17 | the length of the name of the type                                                            |
//! | 18-   | the name of the type; then the value by the default codec                                     |
//!
//! The header of the message has the attempt 0, which no result has. So the table of tasks takes it for no result.

use super::result_message::{EMISSION, Encoded, NO_ATTEMPT, RESULTS_CODEC};
use super::task_attempt::{HEADER, TaskAttempt, reason};
use crate::codec::{Bincode, Codec, DecodeError, EncodeError};
use crate::pool::outcome::TaskId;
use crate::pool::wire::panics::catch_panic_message;
use core::any::type_name;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The length of the contents before the name.
const FIXED: usize = 18;

/// A value that a worker sends, encoded.
pub(crate) struct EmissionMessage<'a> {
    pub(crate) head: EmissionHead,
    pub(crate) task: TaskId,
    /// The name of its type.
    pub(crate) type_name: &'static str,
    pub(crate) value: &'a [u8],
}

/// What the parent needs to know of a value without its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EmissionHead {
    pub(crate) worker: u16,
    pub(crate) attempt: u16,
    pub(crate) number: u32,
    pub(crate) index: u64,
}

/// Returns the name by which types of values are compared: as much of it as a message has room for.
fn cut(type_name: &'static str) -> &'static [u8] {
    let name = type_name.as_bytes();
    name.get(..1 << 10).unwrap_or(name)
}

/// The worker's codec of emissions.
pub(crate) struct EmissionCodec;

impl<'a> Codec<EmissionMessage<'a>> for EmissionCodec {
    const NAME: &'static str = RESULTS_CODEC;

    fn encode(message: &EmissionMessage<'a>, into: &mut [u8]) -> Result<usize, EncodeError> {
        let head = message.head;
        let name = cut(message.type_name);
        let header = TaskAttempt {
            id: message.task,
            number: NO_ATTEMPT,
        };
        let rest = header.encode(EMISSION, into)?;
        let length = u16::try_from(name.len()).map_err(EncodeError::failed)?;
        let rest = put(&head.worker.to_le_bytes(), rest)?;
        let rest = put(&head.attempt.to_le_bytes(), rest)?;
        let rest = put(&head.number.to_le_bytes(), rest)?;
        let rest = put(&head.index.to_le_bytes(), rest)?;
        let rest = put(&length.to_le_bytes(), rest)?;
        put(message.value, put(name, rest)?)?;
        Self::encoded_len(message)
    }

    fn encoded_len(message: &EmissionMessage<'a>) -> Result<usize, EncodeError> {
        Ok(HEADER + FIXED + cut(message.type_name).len() + message.value.len())
    }

    /// Required by the trait only: the parent receives an [`Emission`].
    fn decode(_: &[u8]) -> Result<EmissionMessage<'a>, DecodeError> {
        Err(DecodeError::new("a value is decoded when it is read"))
    }
}

fn put<'a>(bytes: &[u8], into: &'a mut [u8]) -> Result<&'a mut [u8], EncodeError> {
    let (first, rest) = into
        .split_at_mut_checked(bytes.len())
        .ok_or(EncodeError::NoRoom)?;
    first.copy_from_slice(bytes);
    Ok(rest)
}

/// A value in the parent, not decoded.
#[derive(Debug)]
pub(crate) struct Emission {
    pub(crate) head: EmissionHead,
    contents: Encoded,
}

/// Why a value could not be decoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotDecoded {
    OtherType {
        emitted: String,
        wanted: &'static str,
    },
    Codec(String),
}

impl Emission {
    /// Returns the value in a result of no attempt; `None` if these bytes are none.
    pub(crate) fn of(contents: Encoded) -> Option<Self> {
        let bytes = contents.bytes();
        let (worker, rest) = bytes.split_first_chunk()?;
        let (attempt, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (index, _) = rest.split_first_chunk()?;
        let head = EmissionHead {
            worker: u16::from_le_bytes(*worker),
            attempt: u16::from_le_bytes(*attempt),
            number: u32::from_le_bytes(*number),
            index: u64::from_le_bytes(*index),
        };
        Some(Self { head, contents })
    }

    /// Decodes the value, which runs user code. If that panics, the panic is the reason why there is no value.
    pub(crate) fn decode<P: Serialize + DeserializeOwned>(&self) -> Result<P, NotDecoded> {
        let no_name = || NotDecoded::Codec("the value has no type".to_owned());
        let (name, value) = self.name_and_value().ok_or_else(no_name)?;
        let wanted = type_name::<P>();
        if name != cut(wanted) {
            return Err(NotDecoded::OtherType {
                emitted: String::from_utf8_lossy(name).into_owned(),
                wanted,
            });
        }
        match catch_panic_message(|| <Bincode as Codec<P>>::decode(value)) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(NotDecoded::Codec(reason(&error))),
            Err(message) => Err(NotDecoded::Codec(format!(
                "decoding it panicked: {message}"
            ))),
        }
    }

    fn name_and_value(&self) -> Option<(&[u8], &[u8])> {
        let rest = self.contents.bytes().get(FIXED - size_of::<u16>()..)?;
        let (length, rest) = rest.split_first_chunk()?;
        rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::wire::result_message::EncodedResultCodec;

    fn sent<P: Serialize + DeserializeOwned>(value: &P) -> Vec<u8> {
        let mut encoded = vec![0; Bincode::encoded_len(value).expect("a length")];
        Bincode::encode(value, &mut encoded).expect("bytes");
        let head = EmissionHead {
            worker: 511,
            attempt: 3,
            number: u32::MAX,
            index: 1 << 40,
        };
        let message = EmissionMessage {
            head,
            task: TaskId(77),
            type_name: type_name::<P>(),
            value: &encoded,
        };
        let mut bytes = vec![0; EmissionCodec::encoded_len(&message).expect("a length")];
        let length = EmissionCodec::encode(&message, &mut bytes).expect("bytes");
        assert_eq!(length, bytes.len());
        bytes
    }

    fn received(bytes: &[u8]) -> Option<Emission> {
        let result = EncodedResultCodec::decode(bytes).expect("a header");
        assert_eq!(
            (result.attempt, result.outcome.id),
            (NO_ATTEMPT, TaskId(77))
        );
        Emission::of(result.outcome.result.ok()?)
    }

    #[test]
    fn a_value_arrives_with_its_type() {
        let emission = received(&sent(&"half".to_owned())).expect("an emission");
        let EmissionHead {
            worker,
            attempt,
            number,
            index,
        } = emission.head;
        assert_eq!(
            (worker, attempt, number, index),
            (511, 3, u32::MAX, 1 << 40)
        );
        assert_eq!(emission.decode(), Ok("half".to_owned()));
        let other = NotDecoded::OtherType {
            emitted: "alloc::string::String".to_owned(),
            wanted: "u64",
        };
        assert_eq!(emission.decode::<u64>(), Err(other));
    }

    #[test]
    fn a_cut_value_is_an_error() {
        let bytes = sent(&7_u64);
        for length in HEADER..bytes.len() {
            let cut = bytes.get(..length).expect("shorter");
            if let Some(emission) = received(cut) {
                emission.decode::<u64>().expect_err("it is cut");
            }
        }
    }
}
