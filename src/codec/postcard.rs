//! The codec for the format postcard.

use super::error::{DecodeError, EncodeError};
use super::nesting::{DepthLimited, WithinDepth};
use super::traits::Codec;
use postcard::Error;
use postcard::ser_flavors::Size;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A codec for serde types in the format [postcard] 1: small numbers take one byte, whatever their type. Needs the feature
/// `postcard`.
///
/// The format has a specification and does not change, so that programs in other languages can take part. It carries the
/// same types as [`Bincode`](super::Bincode), and no others: see the [table](Codec#what-each-codec-carries).
///
/// A message may be nested 128 levels deep, counted as for [`Bincode`](super::Bincode). postcard does not pass on the text
/// of an error that `Serialize` or `Deserialize` returns: that of a message which is nested deeper, too, is only
/// [`EncodeError::Failed`] or a [`DecodeError`] with postcard's own text.
///
/// [postcard]: https://docs.rs/postcard
///
/// # Examples
///
/// ```
/// use workring::{Options, queue::Postcard};
///
/// let (tx, rx) = Options::new(16).channel_with::<(u64, String), Postcard>()?;
/// tx.send((7, "resize".to_owned()))?;
/// assert_eq!(rx.recv()?, (7, "resize".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Postcard;

#[cold]
fn encode_error(error: Error) -> EncodeError {
    match error {
        Error::SerializeBufferFull => EncodeError::NoRoom,
        error => EncodeError::failed(error),
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Postcard {
    const NAME: &'static str = "postcard 1, serde";

    fn encode(message: &T, into: &mut [u8]) -> Result<usize, EncodeError> {
        let written = postcard::to_slice(&DepthLimited::new(message), into);
        written.map(|bytes| bytes.len()).map_err(encode_error)
    }

    fn encoded_len(message: &T) -> Result<usize, EncodeError> {
        let length = postcard::serialize_with_flavor(&DepthLimited::new(message), Size::default());
        length.map_err(encode_error)
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        let (WithinDepth(message), rest) =
            postcard::take_from_bytes(bytes).map_err(DecodeError::new)?;
        if !rest.is_empty() {
            return Err(DecodeError::new(format!(
                "the message takes {} of {} bytes",
                bytes.len() - rest.len(),
                bytes.len()
            )));
        }
        Ok(message)
    }
}
