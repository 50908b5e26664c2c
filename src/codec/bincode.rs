//! The default codec: the format bincode 2, for serde types.

use super::error::{DecodeError, EncodeError};
use super::nesting::{DepthLimited, MAX_DEPTH, TOO_DEEP, WithinDepth};
use super::traits::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The default codec, for any serde type: the format [bincode] 2 with integers of fixed width.
///
/// A message may be nested 128 levels deep. The limit holds in both directions, so that no message of a peer can
/// overflow the stack of a process that decodes it. `Some`, a newtype, a tuple, a struct, an enum variant with content,
/// a list and a map each open a level; `Box` and the like open none. A message that is nested deeper fails to be sent
/// with [`EncodeError::TooDeep`]. If a peer sends one all the same, it fails to be decoded with a [`DecodeError`] that
/// [`is_too_deep`](DecodeError::is_too_deep).
///
/// To serde, a `Vec<u8>` is a sequence of numbers, which are decoded one by one. A message of many bytes is received
/// several times faster as a `String`, as a type that serde handles as bytes (such as those of the crate [serde_bytes]),
/// or with the codec [`Raw`](super::Raw).
///
/// It carries no type that asks the message what it is, such as `serde_json::Value` or an `untagged` enum: see the
/// [table](Codec#what-each-codec-carries).
///
/// bincode 2.0.1 is complete and no longer developed (RUSTSEC-2025-0141). That is why the codec is a parameter: to use
/// another format, implement [`Codec`].
///
/// [bincode]: https://docs.rs/bincode/2.0.1
/// [serde_bytes]: https://docs.rs/serde_bytes
#[derive(Clone, Copy, Debug)]
pub struct Bincode;

/// The width is fixed because decoding a number is then one load, and the size of a struct of numbers never varies.
const FORMAT: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
> = bincode::config::standard().with_fixed_int_encoding();

/// A writer that only counts bytes.
struct Counter(usize);

impl bincode::enc::write::Writer for Counter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(())
    }
}

/// Returns whether values of this type may contain values of the same type. They need memory of their own for that,
/// which only types that need to be dropped have. For all other types there is nothing to limit.
const fn can_nest<T>() -> bool {
    core::mem::needs_drop::<T>()
}

#[cold]
fn encode_error(error: bincode::error::EncodeError) -> EncodeError {
    match error {
        bincode::error::EncodeError::UnexpectedEnd => EncodeError::NoRoom,
        bincode::error::EncodeError::OtherString(text) if text == TOO_DEEP => {
            EncodeError::TooDeep {
                limit: MAX_DEPTH as usize,
            }
        }
        error => EncodeError::failed(error),
    }
}

#[cold]
fn decode_error(error: bincode::error::DecodeError) -> DecodeError {
    match error {
        bincode::error::DecodeError::OtherString(text) if text == TOO_DEEP => {
            DecodeError::too_deep(MAX_DEPTH as usize)
        }
        error => DecodeError::new(error),
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Bincode {
    const NAME: &'static str = "bincode 2, serde, little-endian, fixed-width integers";

    #[inline]
    fn encode(message: &T, into: &mut [u8]) -> Result<usize, EncodeError> {
        if can_nest::<T>() {
            bincode::serde::encode_into_slice(DepthLimited::new(message), into, FORMAT)
        } else {
            bincode::serde::encode_into_slice(message, into, FORMAT)
        }
        .map_err(encode_error)
    }

    fn encoded_len(message: &T) -> Result<usize, EncodeError> {
        let mut counter = Counter(0);
        bincode::serde::encode_into_writer(DepthLimited::new(message), &mut counter, FORMAT)
            .map_err(encode_error)?;
        Ok(counter.0)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        let decoded = if can_nest::<T>() {
            bincode::serde::decode_from_slice(bytes, FORMAT)
                .map(|(WithinDepth(message), used)| (message, used))
        } else {
            bincode::serde::decode_from_slice(bytes, FORMAT)
        };
        let (message, used) = decoded.map_err(decode_error)?;
        if used != bytes.len() {
            return Err(DecodeError::new(format!(
                "the message takes {used} of {} bytes",
                bytes.len()
            )));
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests;
