//! How messages become bytes.

mod nesting;

use core::fmt;
use nesting::{LEVELS, Limited, TOO_DEEP, Whole};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;

/// Turns messages of type `T` into bytes and back.
///
/// A codec is a type, not a value: it is the second parameter of [`Sender`](crate::Sender) and
/// [`Receiver`](crate::Receiver), and its name is kept in the queue, so that both sides use the same one.
/// Encoding happens on the sender's thread, straight into shared memory; decoding on the receiver's, straight
/// from it.
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
    /// What both sides must agree on. Change it when the format changes.
    const NAME: &'static str;

    /// Write `message` to the start of `into`; how many bytes it took.
    ///
    /// # Errors
    ///
    /// [`EncodeError::NoRoom`] if `into` is too short: [`encoded_len`](Codec::encoded_len) is asked next, and
    /// then `encode` again with enough room. [`EncodeError::Failed`] ends the send and gives the message back.
    fn encode(message: &T, into: &mut [u8]) -> Result<usize, EncodeError>;

    /// How many bytes [`encode`](Codec::encode) will need.
    ///
    /// # Errors
    ///
    /// [`EncodeError::Failed`], as for `encode`.
    fn encoded_len(message: &T) -> Result<usize, EncodeError>;

    /// The message that `bytes` stand for: all of them, exactly as `encode` wrote them. May be called more than once for
    /// a message, also by one receive.
    ///
    /// # Errors
    ///
    /// The message becomes a dead letter, and the receiver gets the error.
    fn decode(bytes: &[u8]) -> Result<T, DecodeError>;
}

/// Why a message could not be turned into bytes.
#[derive(Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// The buffer is too short. The queue takes a larger one; this never reaches the caller of `send`.
    NoRoom,
    /// The message is nested more than `limit` levels deep, so that decoding it could overflow the stack of its
    /// receiver. See [`Bincode`] for what counts as a level.
    #[non_exhaustive]
    TooDeep {
        /// How many levels a message may have.
        limit: usize,
    },
    /// The message can't be encoded at all.
    Failed(Box<dyn Error + Send + Sync>),
}

/// Names the limit on nesting and what to do about it.
fn too_deep(f: &mut fmt::Formatter<'_>, limit: usize) -> fmt::Result {
    write!(
        f,
        "the message is nested more than {limit} levels deep: send it in a flatter form, such as a list whose entries \
         refer to each other by index, or use a `Codec` of your own"
    )
}

impl EncodeError {
    /// The message can't be encoded, because of `source`.
    pub fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(source.into())
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => f.write_str("the buffer is too short for the message"),
            Self::TooDeep { limit } => too_deep(f, *limit),
            Self::Failed(source) => write!(f, "the codec could not encode the message: {source}"),
        }
    }
}

impl Error for EncodeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoRoom | Self::TooDeep { .. } => None,
            // Its own text is in the sentence.
            Self::Failed(source) => source.source(),
        }
    }
}

/// Two errors of a codec are equal if their texts are.
impl PartialEq for EncodeError {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::NoRoom, Self::NoRoom) => true,
            (Self::TooDeep { limit }, Self::TooDeep { limit: other }) => limit == other,
            (Self::Failed(source), Self::Failed(other)) => source.to_string() == other.to_string(),
            _ => false,
        }
    }
}

impl Eq for EncodeError {}

/// Why bytes could not be turned into a message.
#[derive(Debug)]
pub struct DecodeError(Box<dyn Error + Send + Sync>);

/// The message is nested deeper than this.
#[derive(Debug)]
struct TooDeep(usize);

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        too_deep(f, self.0)
    }
}

impl Error for TooDeep {}

impl DecodeError {
    /// The bytes do not stand for a message, because of `source`.
    pub fn new(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(source.into())
    }

    /// The error that the codec gave to [`new`](DecodeError::new).
    #[must_use]
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.as_ref()
    }

    pub(crate) fn too_deep(limit: usize) -> Self {
        Self::new(TooDeep(limit))
    }

    /// Whether the message was refused because it is nested too deep: see [`EncodeError::TooDeep`].
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        self.0.is::<TooDeep>()
    }
}

/// Two errors are equal if both or none of them are about [nesting](DecodeError::is_too_deep), and their texts are equal.
impl PartialEq for DecodeError {
    fn eq(&self, other: &Self) -> bool {
        self.is_too_deep() == other.is_too_deep() && self.0.to_string() == other.0.to_string()
    }
}

impl Eq for DecodeError {}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the codec could not decode the message, which is now a dead letter: {}",
            self.0
        )
    }
}

impl Error for DecodeError {
    /// What is behind the cause: the text of the cause itself is in the sentence.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// The default codec: any serde type, by [bincode] 2 with integers of fixed width.
///
/// A message may be nested 128 levels deep. That holds for both directions, so that no message of a peer can overflow
/// the stack of a process that decodes it. A level is opened by `Some`, a newtype, a tuple, a struct, an enum variant
/// with content, a list, and a map; `Box` and the like open none. What is deeper is refused as
/// [`EncodeError::TooDeep`] before it is sent, and as a [`DecodeError`] that
/// [`is_too_deep`](DecodeError::is_too_deep) if a peer sends it all the same.
///
/// bincode 2.0.1 is complete and no longer developed (RUSTSEC-2025-0141). That is why the codec is a
/// parameter: whoever wants another format implements [`Codec`].
///
/// [bincode]: https://docs.rs/bincode/2.0.1
#[derive(Clone, Copy, Debug)]
pub struct Bincode;

/// Fixed width: decoding a number is then one load, and the size of a struct of numbers never varies.
const FORMAT: bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Fixint,
> = bincode::config::standard().with_fixed_int_encoding();

/// How much memory the lengths in a message may ask for before its end is met. bincode asks for as much as a
/// length says, so that one that somebody has overwritten would end the process. The limits are constants, hence
/// two: for messages as short as most, and for the longest that a block can say to have.
const SHORT: usize = 64 << 10;
const LONG: usize = u32::MAX as usize;

/// Counts what it is given to write.
struct Counter(usize);

impl bincode::enc::write::Writer for Counter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0 = self.0.saturating_add(bytes.len());
        Ok(())
    }
}

/// Whether values of this type may have others of the same type inside, for which they need memory of their own: only
/// what needs to be dropped has any. For all other types there is nothing to limit, neither depth nor memory.
const fn can_nest<T>() -> bool {
    core::mem::needs_drop::<T>()
}

fn whole<T>((Whole(message), used): (Whole<T>, usize)) -> (T, usize) {
    (message, used)
}

#[cold]
fn not_encoded(error: bincode::error::EncodeError) -> EncodeError {
    match error {
        bincode::error::EncodeError::UnexpectedEnd => EncodeError::NoRoom,
        bincode::error::EncodeError::OtherString(text) if text == TOO_DEEP => {
            EncodeError::TooDeep {
                limit: LEVELS as usize,
            }
        }
        error => EncodeError::failed(error),
    }
}

#[cold]
fn not_decoded(error: bincode::error::DecodeError) -> DecodeError {
    match error {
        bincode::error::DecodeError::OtherString(text) if text == TOO_DEEP => {
            DecodeError::too_deep(LEVELS as usize)
        }
        error => DecodeError::new(error),
    }
}

impl<T: Serialize + DeserializeOwned> Codec<T> for Bincode {
    const NAME: &'static str = "bincode 2, serde, little-endian, fixed-width integers";

    #[inline]
    fn encode(message: &T, into: &mut [u8]) -> Result<usize, EncodeError> {
        if can_nest::<T>() {
            bincode::serde::encode_into_slice(Limited::new(message), into, FORMAT)
        } else {
            bincode::serde::encode_into_slice(message, into, FORMAT)
        }
        .map_err(not_encoded)
    }

    fn encoded_len(message: &T) -> Result<usize, EncodeError> {
        let mut counter = Counter(0);
        bincode::serde::encode_into_writer(Limited::new(message), &mut counter, FORMAT)
            .map_err(not_encoded)?;
        Ok(counter.0)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        let decoded = if !can_nest::<T>() {
            bincode::serde::decode_from_slice(bytes, FORMAT)
        } else if bytes.len() <= SHORT {
            bincode::serde::decode_from_slice(bytes, FORMAT.with_limit::<SHORT>()).map(whole)
        } else {
            bincode::serde::decode_from_slice(bytes, FORMAT.with_limit::<LONG>()).map(whole)
        };
        let (message, used) = decoded.map_err(not_decoded)?;
        if used != bytes.len() {
            return Err(DecodeError::new(format!(
                "the message takes {used} of {} bytes",
                bytes.len()
            )));
        }
        Ok(message)
    }
}

/// Bytes as they are: messages are `[u8; N]`, `Vec<u8>` or `Box<[u8]>`.
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

    #[inline]
    fn decode(bytes: &[u8]) -> Result<[u8; N], DecodeError> {
        bytes
            .try_into()
            .map_err(|_| DecodeError::new(format!("{} bytes instead of {N}", bytes.len())))
    }
}

macro_rules! raw_bytes_on_the_heap {
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

raw_bytes_on_the_heap!(Vec<u8>, Box<[u8]>);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    type Sample = (u8, u64, String, Option<Vec<u32>>);

    fn sample() -> Sample {
        (1, u64::MAX, "text".repeat(9), Some(vec![1, 2, 3]))
    }

    #[test]
    fn bincode_says_how_much_room_it_needs() {
        let needed = <Bincode as Codec<Sample>>::encoded_len(&sample()).expect("a length");
        for room in 0..needed {
            let result = Bincode::encode(&sample(), &mut vec![0; room]);
            assert!(
                matches!(result, Err(EncodeError::NoRoom)),
                "{room} of {needed} bytes: {result:?}"
            );
        }
        let mut bytes = vec![0; needed];
        assert_eq!(
            Bincode::encode(&sample(), &mut bytes).expect("room enough"),
            needed
        );
        assert_eq!(
            <Bincode as Codec<Sample>>::decode(&bytes).expect("whole"),
            sample()
        );
    }

    #[test]
    fn bincode_refuses_bytes_that_are_too_few_or_too_many() {
        let mut bytes = vec![0; 8];
        assert!(<Bincode as Codec<u64>>::decode(&bytes).is_ok());
        bytes.push(0);
        assert!(<Bincode as Codec<u64>>::decode(&bytes).is_err());
        assert!(<Bincode as Codec<u64>>::decode(bytes.get(..7).expect("nine bytes")).is_err());
    }

    #[test]
    fn a_length_that_no_memory_could_hold_is_an_error() {
        assert!(<Bincode as Codec<Vec<u64>>>::decode(&[0xff; 8]).is_err());
        for length in [1 << 20, 1 << 45, u64::MAX] {
            let mut bytes = length.to_le_bytes().to_vec();
            assert!(<Bincode as Codec<String>>::decode(&bytes).is_err());
            bytes.resize(2 * SHORT, b'x');
            assert!(<Bincode as Codec<String>>::decode(&bytes).is_err());
        }
    }

    #[test]
    fn messages_around_the_limit_are_decoded_whole() {
        for length in [SHORT - 9, SHORT - 8, SHORT - 7, 3 * SHORT] {
            let text = "x".repeat(length);
            let mut bytes = vec![0; length + 8];
            let encoded = Bincode::encode(&text, &mut bytes).expect("room enough");
            assert_eq!(encoded, bytes.len());
            let decoded = <Bincode as Codec<String>>::decode(&bytes).expect("whole");
            assert!(decoded == text, "{length} bytes");
        }
    }

    #[test]
    fn an_array_of_another_length_is_refused() {
        assert!(<Raw as Codec<[u8; 4]>>::decode(&[1, 2, 3]).is_err());
    }
}
