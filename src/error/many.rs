//! What can go wrong when many messages are sent at once.

use super::{SendError, SendTimeoutError, TrySendError};
use core::fmt;
use core::iter::FusedIterator;
use std::error::Error;

/// Sending many messages ended before all were sent. Carries those that were not.
///
/// `I` is the iterator that the messages came from; `E` is what one send of this kind fails with.
#[non_exhaustive]
pub struct SendManyError<I: Iterator, E = SendError<<I as Iterator>::Item>> {
    /// How many messages were accepted: the first ones.
    pub accepted: usize,
    /// What was the matter with the next one, which it carries.
    pub error: E,
    /// Those after it.
    pub rest: Unsent<I>,
}

/// As [`SendManyError`], from [`Sender::try_send_many`](crate::Sender::try_send_many).
pub type TrySendManyError<I> = SendManyError<I, TrySendError<<I as Iterator>::Item>>;

/// As [`SendManyError`], from [`Sender::send_many_timeout`](crate::Sender::send_many_timeout).
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

impl<I: Iterator> fmt::Debug for Unsent<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent")
            .field("taken", &self.taken.len())
            .finish_non_exhaustive()
    }
}

macro_rules! into_unsent {
    ($($error:ident),*) => {$(
        impl<I: Iterator> SendManyError<I, $error<I::Item>> {
            /// All messages that were not sent, in order, to be tried again for instance.
            pub fn into_unsent(self) -> impl Iterator<Item = I::Item> {
                core::iter::once(self.error.into_inner()).chain(self.rest)
            }

            /// Whether the queue is closed.
            #[must_use]
            pub fn is_closed(&self) -> bool {
                self.error.is_closed()
            }
        }
    )*};
}

into_unsent!(SendError, TrySendError, SendTimeoutError);

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
        write!(f, "after {} messages: {}", self.accepted, self.error)
    }
}

impl<I: Iterator, E: Error> Error for SendManyError<I, E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.error.source()
    }
}
