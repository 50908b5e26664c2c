//! [`Coded`]: a value that is carried by a codec of its own.

use super::error::EncodeError;
use super::traits::Codec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser};

/// A value that the codec `C` carries, wherever it is: in a message of a queue with another codec, in the arguments or the
/// output of a task, in a field of either.
///
/// To serde it is bytes, which are those of the codec. So a type that the default codec cannot carry needs neither a queue
/// of its own nor another type: see the [table](Codec#what-each-codec-carries).
///
/// It dereferences to the value. Encoding takes one allocation, and one copy more than a queue with the codec `C` does.
///
/// # Errors
///
/// An error of the codec is one of the message: [`EncodeError`], or the
/// [`DecodeError`](crate::error::DecodeError) of a receive. In a pool it is
/// [`TaskError::Transport`](crate::pool::TaskError::Transport), or the refusal of `submit`.
///
/// # Examples
///
/// A function that takes and returns JSON of any form, as a task (with the features `json` and `macros`):
///
#[cfg_attr(all(feature = "json", feature = "macros"), doc = "```")]
#[cfg_attr(not(all(feature = "json", feature = "macros")), doc = "```ignore")]
/// use serde_json::{Value, json};
/// use workring::{Failure, Pool, queue::{Coded, Json}};
///
/// workring::auto_worker!();
///
/// #[workring::task]
/// fn width(job: Coded<Value, Json>) -> Result<Coded<Value, Json>, Failure> {
///     let width = job["size"]["width"].as_u64().ok_or_else(|| Failure::new("no width"))?;
///     Ok(json!({ "width": width }).into())
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let pool = Pool::start(1)?;
///     let job = json!({ "size": { "width": 640 } });
///     let found = pool.submit(width::new(job.into()))?.wait()?;
///     assert_eq!(found["width"], 640);
///     Ok(())
/// }
/// ```
pub struct Coded<T, C> {
    value: T,
    codec: PhantomData<fn() -> C>,
}

impl<T, C> Coded<T, C> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self {
            value,
            codec: PhantomData,
        }
    }

    /// Returns the value.
    pub fn into_inner(self) -> T {
        self.value
    }
}

impl<T, C> From<T> for Coded<T, C> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T, C> Deref for Coded<T, C> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T, C> DerefMut for Coded<T, C> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Clone, C> Clone for Coded<T, C> {
    fn clone(&self) -> Self {
        Self::new(self.value.clone())
    }
}

impl<T: Copy, C> Copy for Coded<T, C> {}

impl<T: Default, C> Default for Coded<T, C> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: PartialEq, C> PartialEq for Coded<T, C> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq, C> Eq for Coded<T, C> {}

impl<T: fmt::Debug, C> fmt::Debug for Coded<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.value, f)
    }
}

impl<T: fmt::Display, C> fmt::Display for Coded<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.value, f)
    }
}

/// Returns an error with its cause, as one of serde, which has no causes.
fn failed<E: ser::Error>(error: &EncodeError) -> E {
    match error {
        EncodeError::Failed(cause) => E::custom(cause),
        error => E::custom(error),
    }
}

impl<T, C: Codec<T>> Serialize for Coded<T, C> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let length = C::encoded_len(&self.value).map_err(|error| failed(&error))?;
        let mut bytes = vec![0; length];
        let used = C::encode(&self.value, &mut bytes).map_err(|error| failed(&error))?;
        let bytes = bytes.get(..used);
        let too_many = || ser::Error::custom("the codec reports more bytes than it had room for");
        serializer.serialize_bytes(bytes.ok_or_else(too_many)?)
    }
}

impl<'de, T, C: Codec<T>> Deserialize<'de> for Coded<T, C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(BytesOf(PhantomData))
    }
}

/// Decodes the bytes of a [`Coded`].
struct BytesOf<T, C>(PhantomData<fn() -> (T, C)>);

impl<'de, T, C: Codec<T>> Visitor<'de> for BytesOf<T, C> {
    type Value = Coded<T, C>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes of the codec `{}`", C::NAME)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        let value = C::decode(bytes).map_err(|error| E::custom(error.cause()))?;
        Ok(Coded::new(value))
    }

    /// In formats such as JSON, bytes are a list of numbers.
    fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Self::Value, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = numbers.next_element()? {
            bytes.push(byte);
        }
        self.visit_bytes(&bytes)
    }
}
