//! The codec for bytes.

use super::error::{DecodeError, EncodeError};
use super::traits::Codec;

/// A codec for messages that are bytes already: `[u8; N]`, `Vec<u8>` or `Box<[u8]>`.
///
/// ```
/// use workring::{Options, queue::Raw};
///
/// let (tx, rx) = Options::new(16).channel_with::<Vec<u8>, Raw>()?;
/// tx.send(b"as they are".to_vec())?;
/// assert_eq!(rx.recv()?, b"as they are");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Raw;

#[inline]
fn copy(message: &[u8], into: &mut [u8]) -> Result<usize, EncodeError> {
    into.get_mut(..message.len())
        .ok_or(EncodeError::NoRoom)?
        .copy_from_slice(message);
    Ok(message.len())
}

impl<const N: usize> Codec<[u8; N]> for Raw {
    const NAME: &'static str = "raw bytes";

    #[inline]
    fn encode(message: &[u8; N], into: &mut [u8]) -> Result<usize, EncodeError> {
        copy(message, into)
    }

    fn encoded_len(_: &[u8; N]) -> Result<usize, EncodeError> {
        Ok(N)
    }

    #[inline(always)]
    fn decode(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
        match bytes.try_into() {
            Ok(message) => Ok(message),
            Err(_) => mismatch(bytes.len()),
        }
    }

    #[inline(always)]
    fn decode_as<R>(
        bytes: &[u8],
        usual: impl FnOnce([u8; N]) -> R,
        failed: impl FnOnce(DecodeError) -> R,
    ) -> R {
        match <&[u8; N]>::try_from(bytes) {
            Ok(message) => usual(*message),
            Err(_) => failed(wrong_length(bytes.len(), N)),
        }
    }
}

/// Fails for a message of another length. Returns the whole result, through memory: so the compiler copies the bytes of
/// the usual message at once, and not in pieces as long as the fields of an error, which the processor reads slowly.
#[cold]
#[inline(never)]
fn mismatch<const N: usize>(length: usize) -> Result<[u8; N], DecodeError> {
    Err(wrong_length(length, N))
}

#[cold]
#[inline(never)]
fn wrong_length(length: usize, expected: usize) -> DecodeError {
    DecodeError::new(format!("{length} bytes instead of {expected}"))
}

macro_rules! impl_for_bytes_on_the_heap {
    ($($container:ty),*) => {$(
        impl Codec<$container> for Raw {
            const NAME: &'static str = "raw bytes";

            fn encode(message: &$container, into: &mut [u8]) -> Result<usize, EncodeError> {
                copy(message, into)
            }

            fn encoded_len(message: &$container) -> Result<usize, EncodeError> {
                Ok(message.len())
            }

            fn decode(bytes: &[u8]) -> Result<$container, DecodeError> {
                Ok(bytes.into())
            }
        }
    )*};
}

impl_for_bytes_on_the_heap!(Vec<u8>, Box<[u8]>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_another_length_are_no_array() {
        assert!(<Raw as Codec<[u8; 4]>>::decode(&[1, 2, 3]).is_err());
    }
}
