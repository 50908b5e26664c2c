//! The codec for JSON.

use super::error::{DecodeError, EncodeError};
use super::traits::Codec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Write};

/// A codec for serde types in JSON, which carries types that are not the same on both sides, or whose shape is known only
/// from the message. Needs the feature `json`.
///
/// The [table](Codec#what-each-codec-carries) says which types need it. Other programs can read and write the messages, too:
/// `workring peek` shows them as text. Messages are longer than with [`Bincode`](super::Bincode), and take several times as
/// long to encode and decode.
///
/// What JSON itself has no form for: a floating-point number that is not finite becomes `null`, which is no number to a
/// receiver; the key of a map must be text, a number, a `bool` or a variant without content. A message that is nested more
/// than 127 levels deep fails to be decoded.
///
/// # Examples
///
/// ```
/// use serde_json::{Value, json};
/// use workring::{Options, queue::Json};
///
/// let (tx, rx) = Options::new(16).channel_with::<Value, Json>()?;
/// tx.send(json!({ "resize": "7.png", "width": 640 }))?;
/// assert_eq!(rx.recv()?["width"], 640);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Json;

/// A writer that only counts bytes.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cold]
fn encode_error(error: serde_json::Error) -> EncodeError {
    // A slice has no other error of writing than its end.
    if error.is_io() {
        EncodeError::NoRoom
    } else {
        EncodeError::failed(error)
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Json {
    const NAME: &'static str = "JSON, serde";

    fn encode(message: &T, into: &mut [u8]) -> Result<usize, EncodeError> {
        let room = into.len();
        let mut rest = into;
        serde_json::to_writer(&mut rest, message).map_err(encode_error)?;
        Ok(room - rest.len())
    }

    fn encoded_len(message: &T) -> Result<usize, EncodeError> {
        let mut counter = Counter(0);
        serde_json::to_writer(&mut counter, message).map_err(encode_error)?;
        Ok(counter.0)
    }

    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        serde_json::from_slice(bytes).map_err(DecodeError::new)
    }
}
