//! The error of a task that needs no error type of its own.

use core::any::Any;
use core::fmt;
use serde::de::Deserializer;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::io;
use std::panic::Location;

/// Why a task failed: a message, a kind, the errors that caused it, and the place in the source.
///
/// It is made of any [`Error`] by `?`, and travels from the worker to the caller, who gets it as
/// [`TaskError::Failed`](super::TaskError::Failed). The causes are texts there: their types stay in the worker. It is the
/// error of every `#[workring::task]` that does not name another.
///
/// `Display` is the message; `{:#}` adds the causes, joined by colons. `Debug` has all parts, one in a line, for a `main`
/// that returns the error. It is not an [`Error`] itself, or it could not be made of every one. `?` turns it into a
/// `Box<dyn Error + Send + Sync>`, and the [`source`](Error::source) of a [`TaskError`](super::TaskError) is its cause.
///
/// # Examples
///
/// ```
/// use workring::Failure;
///
/// fn first_line(path: &str) -> Result<String, Failure> {
///     let text = std::fs::read_to_string(path)?;
///     let line = text.lines().next().ok_or_else(|| Failure::new("the file is empty").with_kind("empty"))?;
///     Ok(line.to_owned())
/// }
///
/// let missing = first_line("/no/such/file").unwrap_err();
/// assert_eq!(missing.kind(), "NotFound");
/// assert!(missing.place().contains(".rs:"));
/// assert_eq!(first_line("/dev/null").unwrap_err().kind(), "empty");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    kind: String,
    place: String,
    cause: Option<Box<Cause>>,
}

/// An error that caused another, as far as it travelled: its text, and its own cause.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cause {
    message: String,
    cause: Option<Box<Cause>>,
}

impl Failure {
    /// Makes a failure with this message, at the place of the caller, without a kind or a cause.
    #[track_caller]
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            kind: String::new(),
            place: Location::caller().to_string(),
            cause: None,
        }
    }

    /// Replaces the kind: a word by which callers can tell failures apart.
    #[must_use]
    pub fn with_kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Makes a failure whose cause is this one, with another message. The kind and the place stay.
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::Failure;
    ///
    /// let failure = Failure::from(std::io::Error::other("the disk is full")).context("saving 7.png");
    /// assert_eq!(failure.to_string(), "saving 7.png");
    /// assert_eq!(format!("{failure:#}"), "saving 7.png: the disk is full");
    /// ```
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        let mut cause = Box::new(Cause {
            message: self.message,
            cause: self.cause,
        });
        cause.cut();
        Self {
            message: message.into(),
            cause: Some(cause),
            kind: self.kind,
            place: self.place,
        }
    }

    /// Returns the message: what the error said that it was made of.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns the kind.
    ///
    /// | made of                    | kind                                                                  |
    /// |----------------------------|-----------------------------------------------------------------------|
    /// | [`io::Error`]              | the name of its [`ErrorKind`](io::ErrorKind), such as `NotFound`      |
    /// | another [`Error`]          | the name of its type, such as `core::num::error::ParseIntError`       |
    /// | a message, a boxed error   | empty                                                                 |
    /// | any, with [`with_kind`](Failure::with_kind) | the word that was set                                |
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns where it was made, as `file:line:column`: the `?` or the call of [`new`](Failure::new). Empty if it was
    /// made by [`TaskError::described`](super::TaskError::described).
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the texts of the errors that caused it, the nearest first: at most 64.
    pub fn causes(&self) -> impl Iterator<Item = &str> {
        core::iter::successors(self.cause.as_deref(), |cause| cause.cause.as_deref())
            .map(|cause| cause.message.as_str())
    }

    /// Returns the nearest cause as an error, whose sources are the others.
    pub(super) fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }

    /// Makes a failure of a value of any type: itself, or one with its text.
    pub(super) fn of_any<E: fmt::Debug + 'static>(error: E) -> Self {
        let mut error = Some(error);
        let any: &mut dyn Any = &mut error;
        if let Some(failure) = any.downcast_mut::<Option<Self>>().and_then(Option::take) {
            return failure;
        }
        let message = match any.downcast_mut::<Option<String>>().and_then(Option::take) {
            Some(text) => text,
            None => error.map(|error| format!("{error:?}")).unwrap_or_default(),
        };
        Self {
            message,
            kind: String::new(),
            place: String::new(),
            cause: None,
        }
    }

    /// Makes a failure of an error and its sources.
    #[track_caller]
    pub(super) fn of_error(error: &(dyn Error + 'static), kind: String) -> Self {
        Self {
            message: error.to_string(),
            kind,
            place: Location::caller().to_string(),
            cause: error.source().and_then(Cause::of),
        }
    }
}

impl Cause {
    /// Returns the texts of an error and its sources.
    fn of(error: &(dyn Error + 'static)) -> Option<Box<Self>> {
        let chain = core::iter::successors(Some(error), |&error| error.source());
        let messages = chain.take(MAX_CAUSES).map(ToString::to_string);
        Self::chain(messages.collect())
    }

    /// Makes a chain of these texts, the nearest first: of as many as are kept.
    fn chain(mut messages: Vec<String>) -> Option<Box<Self>> {
        messages.truncate(MAX_CAUSES);
        let inward = messages.into_iter().rev();
        inward.fold(None, |cause, message| {
            Some(Box::new(Self { message, cause }))
        })
    }

    /// Drops the causes beyond those that are kept.
    fn cut(&mut self) {
        let mut last = self;
        for _ in 1..MAX_CAUSES {
            match &mut last.cause {
                Some(next) => last = next,
                None => return,
            }
        }
        last.cause = None;
    }
}

/// How many causes a failure keeps. A chain of sources may have no end, and a very long one would overflow the stack when it is
/// dropped.
const MAX_CAUSES: usize = 64;

impl<E: Error + 'static> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Self {
        let of_io = (&error as &dyn Any).downcast_ref::<io::Error>();
        let kind = match of_io {
            Some(error) => format!("{:?}", error.kind()),
            None => core::any::type_name::<E>().to_owned(),
        };
        Self::of_error(&error, kind)
    }
}

impl From<Failure> for Box<dyn Error + Send + Sync> {
    fn from(failure: Failure) -> Self {
        Box::new(Cause {
            message: failure.message,
            cause: failure.cause,
        })
    }
}

impl From<Failure> for Box<dyn Error> {
    fn from(failure: Failure) -> Self {
        Box::<dyn Error + Send + Sync>::from(failure)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            for cause in self.causes() {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for cause in self.causes() {
            write!(f, "\n  caused by: {cause}")?;
        }
        if !self.kind.is_empty() {
            write!(f, "\n  kind: {}", self.kind)?;
        }
        if !self.place.is_empty() {
            write!(f, "\n  at {}", self.place)?;
        }
        Ok(())
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

// By hand, since serde's derive is a dependency of the feature `macros` only.

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let causes: Vec<&str> = self.causes().collect();
        (&self.message, &self.kind, &self.place, causes).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (message, kind, place, causes) =
            <(String, String, String, Vec<String>)>::deserialize(deserializer)?;
        Ok(Self {
            message,
            kind,
            place,
            cause: Cause::chain(causes),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Bincode, Codec};

    /// The line of the question mark: the second one after this.
    const PARSED_AT: u32 = line!() + 2;
    fn parsed(text: &str) -> Result<u32, Failure> {
        Ok(text.parse::<u32>()?)
    }

    #[test]
    fn a_question_mark_keeps_the_message_the_kind_and_the_place() {
        let failure = parsed("seven").expect_err("no number");
        assert_eq!(failure.message(), "invalid digit found in string");
        assert!(failure.kind().ends_with("ParseIntError"), "{failure:?}");
        assert!(
            failure
                .place()
                .contains(&format!("failure.rs:{PARSED_AT}:")),
            "{failure:?}"
        );
        let missing = Failure::from(io::Error::from(io::ErrorKind::NotFound));
        assert_eq!(missing.kind(), "NotFound");
    }

    #[test]
    fn every_part_travels() {
        let root = io::Error::other("root");
        let failure = Failure::from(io::Error::other(root))
            .context("outer")
            .with_kind("quota");
        let mut bytes = vec![0; Bincode::encoded_len(&failure).expect("a length")];
        Bincode::encode(&failure, &mut bytes).expect("room");
        let arrived: Failure = Bincode::decode(&bytes).expect("a failure");
        assert_eq!(arrived, failure);
        assert_eq!(arrived.kind(), "quota");
        assert_eq!(format!("{arrived:#}"), "outer: root");
    }

    /// However many there are: dropping a longer chain would overflow the stack.
    #[test]
    fn a_failure_keeps_the_nearest_causes() {
        let all: Vec<String> = (0..100_000).map(|n| n.to_string()).collect();
        let bytes = {
            let parts = (String::new(), String::new(), String::new(), all);
            let mut bytes = vec![0; Bincode::encoded_len(&parts).expect("a length")];
            Bincode::encode(&parts, &mut bytes).expect("room");
            bytes
        };
        let arrived: Failure = Bincode::decode(&bytes).expect("a failure");
        let kept: Vec<&str> = arrived.causes().collect();
        assert_eq!(kept.len(), MAX_CAUSES);
        assert_eq!((kept.first(), kept.last()), (Some(&"0"), Some(&"63")));
        let wrapped = (0..100_000).fold(arrived, |failure, n| failure.context(n.to_string()));
        assert_eq!(wrapped.message(), "99999");
        assert_eq!(wrapped.causes().count(), MAX_CAUSES);
        assert_eq!(wrapped.causes().next(), Some("99998"));
    }

    #[test]
    fn a_failure_becomes_a_boxed_error_with_its_causes() {
        let boxed: Box<dyn Error + Send + Sync> = Failure::new("inner").context("outer").into();
        assert_eq!(boxed.to_string(), "outer");
        assert_eq!(boxed.source().expect("a cause").to_string(), "inner");
    }
}
