//! Errors of codecs.

use core::fmt;
use std::error::Error;

type Cause = Box<dyn Error + Send + Sync>;

/// Error of encoding a message.
///
/// Two errors are equal if they are of the same kind and the texts of their causes are equal.
#[derive(Debug)]
#[non_exhaustive]
pub enum EncodeError {
    /// The buffer is too short. The queue tries again with a longer one, so `send` never returns this.
    NoRoom,
    /// The message is nested more than `limit` levels deep, so that decoding it could overflow the receiver's stack.
    /// See [`Bincode`](crate::queue::Bincode) for what counts as a level.
    #[non_exhaustive]
    TooDeep {
        /// The number of levels that a message may have.
        limit: usize,
    },
    /// The codec cannot encode the message.
    Failed(Box<dyn Error + Send + Sync>),
}

/// Writes the sentence for a message that is nested too deep.
fn too_deep(f: &mut fmt::Formatter<'_>, limit: usize) -> fmt::Result {
    write!(
        f,
        "the message is nested more than {limit} levels deep: send it in a flatter form, such as a list whose entries \
         refer to each other by index, or use a `Codec` of your own"
    )
}

impl EncodeError {
    /// Returns [`Failed`](EncodeError::Failed) with this cause.
    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(cause.into())
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => {
                f.write_str("the buffer is too short for the message: encode it into a longer one")
            }
            Self::TooDeep { limit } => too_deep(f, *limit),
            Self::Failed(_) => {
                f.write_str("the codec could not encode the message: see the codec's error")
            }
        }
    }
}

impl Error for EncodeError {
    /// Returns the codec's error.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoRoom | Self::TooDeep { .. } => None,
            Self::Failed(cause) => Some(cause.as_ref()),
        }
    }
}

impl PartialEq for EncodeError {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::NoRoom, Self::NoRoom) => true,
            (Self::TooDeep { limit }, Self::TooDeep { limit: other }) => limit == other,
            (Self::Failed(cause), Self::Failed(other)) => cause.to_string() == other.to_string(),
            _ => false,
        }
    }
}

impl Eq for EncodeError {}

/// Error of decoding a message.
///
/// Two errors are equal if they are of the same [kind](DecodeError::is_too_deep) and the texts of their causes are
/// equal.
#[derive(Debug)]
pub struct DecodeError(Cause);

/// Cause of a [`DecodeError`]: the message is nested deeper than this limit.
#[derive(Debug)]
struct TooDeep(usize);

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        too_deep(f, self.0)
    }
}

impl Error for TooDeep {}

impl DecodeError {
    /// Returns an error with this cause, which says why the bytes do not encode a message.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }

    /// Returns the cause that the codec gave to [`new`](DecodeError::new).
    #[must_use]
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.0.as_ref()
    }

    #[cfg_attr(loom, allow(dead_code, reason = "the build for loom has no codec"))]
    pub(super) fn too_deep(limit: usize) -> Self {
        Self::new(TooDeep(limit))
    }

    /// Returns whether the message is nested too deep: see [`EncodeError::TooDeep`].
    #[must_use]
    pub fn is_too_deep(&self) -> bool {
        self.0.is::<TooDeep>()
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the codec could not decode the message: see the codec's error")
    }
}

impl Error for DecodeError {
    /// Returns the same as [`cause`](DecodeError::cause).
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.0.as_ref())
    }
}

impl PartialEq for DecodeError {
    fn eq(&self, other: &Self) -> bool {
        self.is_too_deep() == other.is_too_deep() && self.0.to_string() == other.0.to_string()
    }
}

impl Eq for DecodeError {}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn encode_errors_are_equal_if_kind_and_cause_are() {
        let failed = || EncodeError::failed("no colour called mauve");
        assert_eq!(failed(), failed());
        assert_ne!(failed(), EncodeError::failed("no colour called puce"));
        assert_ne!(failed(), EncodeError::NoRoom);
        assert_eq!(EncodeError::NoRoom, EncodeError::NoRoom);
        let too_deep = |limit| EncodeError::TooDeep { limit };
        assert_eq!(too_deep(128), too_deep(128));
        assert_ne!(too_deep(128), too_deep(64));
        assert_ne!(
            too_deep(128),
            EncodeError::failed(too_deep(128).to_string())
        );
    }

    #[test]
    fn decode_errors_are_equal_if_kind_and_cause_are() {
        let failed = || DecodeError::new("colour 77 of 16");
        assert_eq!(failed(), failed());
        assert_ne!(failed(), DecodeError::new("colour 78 of 16"));
        let too_deep = DecodeError::too_deep;
        assert_eq!(too_deep(128), too_deep(128));
        assert_ne!(too_deep(128), too_deep(64));
        let same_text = DecodeError::new(too_deep(128).cause().to_string());
        assert_ne!(too_deep(128), same_text);
    }

    #[test]
    fn the_source_is_the_codecs_error_and_not_part_of_the_sentence() {
        let number = "seven".parse::<u8>().expect_err("not a number");
        let text = number.to_string();
        let errors: [&dyn Error; 2] = [
            &EncodeError::failed(number.clone()),
            &DecodeError::new(number),
        ];
        for error in errors {
            let source = error.source().expect("the codec's error");
            assert!(source.is::<core::num::ParseIntError>());
            assert_eq!(source.to_string(), text);
            assert!(!error.to_string().contains(&text), "{error}");
        }
        assert!(EncodeError::NoRoom.source().is_none());
    }
}
