//! Errors of sending many messages at once.

use super::{SendError, SendTimeoutError, TrySendError};
use core::fmt;
use core::iter::FusedIterator;
use std::error::Error;

/// The error of [`Sender::send_many`](crate::Sender::send_many): it ended before all messages were sent. Contains those
/// that were not sent.
///
/// `I` is the iterator that the messages came from; `E` is the error of a single send of the same kind.
#[non_exhaustive]
pub struct SendManyError<I: Iterator, E = SendError<<I as Iterator>::Item>> {
    /// How many messages were accepted: the first ones.
    pub accepted: usize,
    /// Why the next message was not accepted. Contains that message.
    pub error: E,
    /// The messages after it.
    pub rest: Unsent<I>,
}

/// The error of [`Sender::try_send_many`](crate::Sender::try_send_many): see [`SendManyError`].
pub type TrySendManyError<I> = SendManyError<I, TrySendError<<I as Iterator>::Item>>;

/// The error of [`Sender::send_many_timeout`](crate::Sender::send_many_timeout) and
/// [`Sender::send_many_deadline`](crate::Sender::send_many_deadline): see [`SendManyError`].
pub type SendManyTimeoutError<I> = SendManyError<I, SendTimeoutError<<I as Iterator>::Item>>;

/// Messages that were not sent, in order: those that had been taken from the iterator, then what it still has.
#[derive(Clone)]
#[must_use = "these messages were not sent"]
pub struct Unsent<I: Iterator> {
    taken: std::vec::IntoIter<I::Item>,
    source: I,
}

impl<I: Iterator> Unsent<I> {
    pub(crate) fn new(taken: std::vec::IntoIter<I::Item>, source: I) -> Self {
        Self { taken, source }
    }
}

impl<I: Iterator> Iterator for Unsent<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.taken.next().or_else(|| self.source.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (least, most) = self.source.size_hint();
        let taken = self.taken.len();
        (
            least.saturating_add(taken),
            most.and_then(|most| most.checked_add(taken)),
        )
    }
}

impl<I: FusedIterator> FusedIterator for Unsent<I> {}

impl<I: Iterator + PartialEq> PartialEq for Unsent<I>
where
    I::Item: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.taken.as_slice() == other.taken.as_slice() && self.source == other.source
    }
}

impl<I: Iterator + Eq> Eq for Unsent<I> where I::Item: Eq {}

impl<I: Iterator> fmt::Debug for Unsent<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent")
            .field("taken", &self.taken.len())
            .finish_non_exhaustive()
    }
}

macro_rules! send_many_error {
    ($($error:ident: $($is:ident),*;)*) => {$(
        impl<I: Iterator> SendManyError<I, $error<I::Item>> {
            /// Returns all messages that were not sent, in order, for instance to try them again.
            pub fn into_unsent(self) -> impl Iterator<Item = I::Item> {
                core::iter::once(self.error.into_inner()).chain(self.rest)
            }

            $(
                #[doc = concat!(
                    "Returns [`", stringify!($error), "::", stringify!($is), "`] of the [`error`](Self::error)."
                )]
                #[must_use]
                pub const fn $is(&self) -> bool {
                    self.error.$is()
                }
            )*
        }
    )*};
}

send_many_error! {
    SendError: is_closed, is_interrupted;
    TrySendError: is_closed, is_full;
    SendTimeoutError: is_closed, is_timeout, is_interrupted;
}

impl<I: Iterator, E: PartialEq> PartialEq for SendManyError<I, E>
where
    Unsent<I>: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.accepted == other.accepted && self.error == other.error && self.rest == other.rest
    }
}

impl<I: Iterator, E: Eq> Eq for SendManyError<I, E> where Unsent<I>: Eq {}

impl<I: Iterator, E: fmt::Debug> fmt::Debug for SendManyError<I, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendManyError")
            .field("accepted", &self.accepted)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

impl<I: Iterator, E: fmt::Display> fmt::Display for SendManyError<I, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages were sent, but not the next one: {}",
            self.accepted, self.error
        )
    }
}

impl<I: Iterator, E: Error> Error for SendManyError<I, E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
