//! Iterators over the messages of a queue.

use super::receiver::Receiver;
use crate::codec::{Bincode, Codec};
use crate::error::{RecvError, TryRecvError};
use core::fmt;

/// A blocking iterator over the messages of a queue. Returned by [`Receiver::iter`].
#[must_use = "iterators do nothing unless consumed"]
pub struct Iter<'a, T, C: Codec<T> = Bincode> {
    receiver: &'a Receiver<T, C>,
    is_over: bool,
}

/// An iterator over the messages that are available now. Returned by [`Receiver::try_iter`].
#[must_use = "iterators do nothing unless consumed"]
pub struct TryIter<'a, T, C: Codec<T> = Bincode> {
    receiver: &'a Receiver<T, C>,
    is_over: bool,
}

/// A blocking iterator over the messages of a queue, which owns the receiver.
#[must_use = "iterators do nothing unless consumed"]
pub struct IntoIter<T, C: Codec<T> = Bincode> {
    receiver: Receiver<T, C>,
    is_over: bool,
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Returns an iterator over the messages of the queue, until it is closed and drained. The iterator blocks for each
    /// message.
    ///
    /// Errors other than `Closed` are items. The iteration continues after them, except after `Corrupt` and `Forked`,
    /// with which it ends.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// tx.send_many(0..3)?;
    /// drop(tx); // the last sender: the queue closes
    /// assert_eq!(rx.iter().collect::<Result<Vec<_>, _>>()?, [0, 1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> Iter<'_, T, C> {
        Iter {
            receiver: self,
            is_over: false,
        }
    }

    /// Returns an iterator over the messages that are available now.
    ///
    /// Errors other than `Empty` and `Closed` are items. The iteration continues after them, except after `Corrupt` and
    /// `Forked`, with which it ends.
    ///
    /// # Examples
    ///
    /// ```
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// tx.send_many(0..3)?;
    /// assert_eq!(rx.try_iter().collect::<Result<Vec<_>, _>>()?, [0, 1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_iter(&self) -> TryIter<'_, T, C> {
        TryIter {
            receiver: self,
            is_over: false,
        }
    }
}

/// Returns the next item of an iteration that blocks.
fn next_blocking<T, C: Codec<T>>(
    receiver: &Receiver<T, C>,
    is_over: &mut bool,
) -> Option<Result<T, RecvError>> {
    if *is_over {
        return None;
    }
    let item = receiver.recv();
    *is_over = matches!(item, Err(RecvError::Corrupt { .. } | RecvError::Forked));
    if matches!(item, Err(RecvError::Closed)) {
        None
    } else {
        Some(item)
    }
}

impl<T, C: Codec<T>> Iterator for Iter<'_, T, C> {
    type Item = Result<T, RecvError>;
    fn next(&mut self) -> Option<Self::Item> {
        next_blocking(self.receiver, &mut self.is_over)
    }
}

impl<T, C: Codec<T>> Iterator for TryIter<'_, T, C> {
    type Item = Result<T, TryRecvError>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let received = self.receiver.try_recv();
        self.is_over = matches!(
            received,
            Err(TryRecvError::Corrupt { .. } | TryRecvError::Forked)
        );
        if matches!(received, Err(TryRecvError::Closed | TryRecvError::Empty)) {
            None
        } else {
            Some(received)
        }
    }
}

impl<T, C: Codec<T>> Iterator for IntoIter<T, C> {
    type Item = Result<T, RecvError>;
    fn next(&mut self) -> Option<Self::Item> {
        next_blocking(&self.receiver, &mut self.is_over)
    }
}

impl<'a, T, C: Codec<T>> IntoIterator for &'a Receiver<T, C> {
    type Item = Result<T, RecvError>;
    type IntoIter = Iter<'a, T, C>;
    fn into_iter(self) -> Iter<'a, T, C> {
        self.iter()
    }
}

impl<T, C: Codec<T>> IntoIterator for Receiver<T, C> {
    type Item = Result<T, RecvError>;
    type IntoIter = IntoIter<T, C>;
    fn into_iter(self) -> IntoIter<T, C> {
        IntoIter {
            receiver: self,
            is_over: false,
        }
    }
}

impl<T, C: Codec<T>> fmt::Debug for Iter<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Iter").field(self.receiver).finish()
    }
}

impl<T, C: Codec<T>> fmt::Debug for TryIter<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TryIter").field(self.receiver).finish()
    }
}

impl<T, C: Codec<T>> fmt::Debug for IntoIter<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IntoIter").field(&self.receiver).finish()
    }
}
