//! The trait of a codec.

use super::error::{DecodeError, EncodeError};

/// Turns messages of type `T` into bytes and back.
///
/// A codec is a type, not a value: it is the second type parameter of [`Sender`](crate::Sender) and
/// [`Receiver`](crate::Receiver). Its name is kept in the queue, so that both sides use the same one. Encoding happens
/// on the sender's thread, straight into shared memory. Decoding happens on the receiver's thread, straight from shared
/// memory.
///
/// # What each codec carries
///
/// `Bincode` and `Postcard` write values without names or types: the receiver's type says what comes next. So they carry no
/// type that asks the message what it is, or that writes less for some values than for others. `Json` does.
///
/// | | `Bincode` | `Postcard` | `Json` |
/// |---|---|---|---|
/// | structs, enums, text, numbers, lists, maps | yes | yes | yes |
/// | `serde_json::Value` and the like | no: not decoded | no: not decoded | yes |
/// | `skip_serializing_if` | no: not decoded, or misread | the same | yes, with `default` |
/// | enums that are `untagged`, or `tag = ".."`; `flatten` | no: not decoded, or not sent | the same | yes |
/// | maps whose keys are structs or lists | yes | yes | no: not sent |
/// | `NaN` and infinity | yes | yes | no: not decoded |
///
/// A message that is not decoded becomes a dead letter, and in a pool the outcome is
/// [`TaskError::Transport`](crate::pool::TaskError::Transport). [`Coded`](super::Coded) carries one value by another codec than
/// the rest of its message.
///
/// # Examples
///
/// A codec for numbers that always takes eight bytes:
///
/// ```
/// use workring::{Options, error::{DecodeError, EncodeError}, queue::Codec};
///
/// struct BigEndian;
///
/// impl Codec<u64> for BigEndian {
///     const NAME: &'static str = "big-endian";
///
///     fn encode(message: &u64, into: &mut [u8]) -> Result<usize, EncodeError> {
///         into.get_mut(..8).ok_or(EncodeError::NoRoom)?.copy_from_slice(&message.to_be_bytes());
///         Ok(8)
///     }
///
///     fn encoded_len(_: &u64) -> Result<usize, EncodeError> {
///         Ok(8)
///     }
///
///     fn decode(bytes: &[u8]) -> Result<u64, DecodeError> {
///         Ok(u64::from_be_bytes(bytes.try_into().map_err(DecodeError::new)?))
///     }
/// }
///
/// let (tx, rx) = Options::new(16).channel_with::<u64, BigEndian>()?;
/// tx.send(7)?;
/// assert_eq!(rx.recv()?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Codec<T>: 'static {
    /// The name that both sides must agree on. Change it when the format changes.
    const NAME: &'static str;

    /// Writes `message` to the start of `into`. Returns the number of bytes written.
    ///
    /// # Errors
    ///
    /// - [`EncodeError::NoRoom`] if `into` is too short. The queue then calls [`encoded_len`](Codec::encoded_len), and
    ///   `encode` again with enough room.
    /// - [`EncodeError::Failed`] ends the send, which returns the message with this error.
    fn encode(message: &T, into: &mut [u8]) -> Result<usize, EncodeError>;

    /// Returns the number of bytes that [`encode`](Codec::encode) needs.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Failed`], as for `encode`.
    fn encoded_len(message: &T) -> Result<usize, EncodeError>;

    /// Returns the message that `bytes` encode. They are all the bytes that `encode` wrote, and no others. May be
    /// called more than once for a message, also by one receive.
    ///
    /// # Errors
    ///
    /// Any error makes the message a dead letter, and the receiver returns the error.
    fn decode(bytes: &[u8]) -> Result<T, DecodeError>;

    /// Does the same as [`decode`](Codec::decode), and passes on what comes of it. A codec that copies large values writes
    /// them once this way: where the caller wants them, and not into a result that is then moved. The bytes begin at a
    /// multiple of 8.
    #[doc(hidden)]
    #[inline(always)]
    fn decode_as<R>(
        bytes: &[u8],
        usual: impl FnOnce(T) -> R,
        failed: impl FnOnce(DecodeError) -> R,
    ) -> R {
        match Self::decode(bytes) {
            Ok(message) => usual(message),
            Err(error) => failed(error),
        }
    }
}
