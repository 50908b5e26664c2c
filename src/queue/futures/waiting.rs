//! How a future waits: it tries, takes a place in the reactor, tries again, and is pending.

use super::super::attachment::Attachment;
use super::super::end::Handle;
use super::super::failure::{Failure, Interrupted, WouldBlock};
use super::super::policy::Polled;
use super::super::reactor::{Place, Source, Word};
use super::super::receiver::Receiver;
use super::super::sender::Sender;
use super::source::QueueWord;
use crate::codec::Codec;
use crate::protocol::steps::{send, walk};
use crate::protocol::{Corrupt, SharedState};
use core::fmt;
use core::ops::Deref;
use core::task::{Context, Poll};
use std::io;
use std::sync::Arc;

/// An end of a queue, as its futures need it.
pub(super) trait AsyncEnd {
    fn handle(&self) -> &Handle;
    /// Called when a future begins to wait, before its last attempt.
    fn begin_wait(&self) {}
    /// Called when it waits no more.
    fn end_wait(&self) {}
}

impl<T, C: Codec<T>> AsyncEnd for Receiver<T, C> {
    fn handle(&self) -> &Handle {
        &self.handle
    }
    fn begin_wait(&self) {
        self.batches.add_future();
    }
    fn end_wait(&self) {
        self.batches.remove_future();
    }
}

impl<T, C: Codec<T>> AsyncEnd for Sender<T, C> {
    fn handle(&self) -> &Handle {
        &self.handle
    }
}

/// How an attempt of a future has ended.
pub(super) type Attempt<R, E> = Result<R, Failure<WouldBlock, E>>;
/// How a future ends.
pub(super) type Outcome<R, E> = Result<R, Failure<Interrupted, E>>;

/// An end of a queue that a future, stream or sink borrows or owns.
pub(super) enum Owner<'a, E> {
    Borrowed(&'a E),
    Owned(Box<E>),
}

impl<E> Deref for Owner<'_, E> {
    type Target = E;
    fn deref(&self) -> &E {
        match self {
            Self::Borrowed(end) => end,
            Self::Owned(end) => end,
        }
    }
}

/// The wait of one future, which ends when this is dropped.
pub(super) struct Waiting<'a, E: AsyncEnd> {
    end: Owner<'a, E>,
    /// `None` before the first attempt has failed, and after the wait.
    place: Option<Place>,
}

/// What one attempt has come to.
enum Step<R, E> {
    Over(Outcome<R, E>),
    Blocked(Word),
}

/// A sender may find no block, and when it has found one no room. If the reason changes as often as this within one poll,
/// the executor gets its turn.
const CHANGES: u32 = 3;

impl<'a, E: AsyncEnd> Waiting<'a, E> {
    pub(super) fn new(end: Owner<'a, E>) -> Self {
        Self { end, place: None }
    }

    pub(super) fn borrowed(end: &'a E) -> Self {
        Self::new(Owner::Borrowed(end))
    }

    pub(super) fn end(&self) -> &E {
        &self.end
    }

    /// Tries, takes a place in the reactor, tries again, and is pending (REACTOR-1). Never waits.
    pub(super) fn poll<R, F: From<Corrupt>>(
        &mut self,
        context: &Context<'_>,
        mut attempt: impl FnMut(&E, &Polled) -> Attempt<R, F>,
    ) -> Poll<Outcome<R, F>> {
        let mut blocked = self.attempt(&mut attempt);
        for _ in 0..CHANGES {
            let word = match blocked {
                Step::Over(outcome) => return self.finish(outcome),
                Step::Blocked(word) => word,
            };
            if self.take_place(word, context).is_err() {
                break;
            }
            blocked = self.attempt(&mut attempt);
            if matches!(blocked, Step::Blocked(again) if again == word) {
                return match self.end_of_wait() {
                    Some(failure) => self.finish(Err(failure)),
                    None => Poll::Pending,
                };
            }
        }
        // Or the system has no thread left for the reactor: try again until it has.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn attempt<R, F>(&self, attempt: &mut impl FnMut(&E, &Polled) -> Attempt<R, F>) -> Step<R, F> {
        if self.is_surely_full() {
            return Step::Blocked(Word::Space);
        }
        let policy = Polled::new();
        match attempt(&self.end, &policy) {
            Ok(result) => Step::Over(Ok(result)),
            Err(Failure::Operation(failure)) => Step::Over(Err(Failure::Operation(failure))),
            Err(Failure::Wait(WouldBlock)) => Step::Blocked(policy.word()),
        }
    }

    /// Returns whether the queue that was full still is. Then a sender need not encode its message again.
    fn is_surely_full(&self) -> bool {
        let waits_for_room = matches!(&self.place, Some(place) if place.word() == Word::Space);
        waits_for_room
            && self.end.handle().enter().is_ok_and(|queue| {
                let segment = queue.segment();
                segment.lifecycle().load().is_open() && send::is_full(segment)
            })
    }

    /// Takes a place in the line of a word, or keeps the one that it has, with the waker of this poll.
    fn take_place(&mut self, word: Word, context: &Context<'_>) -> io::Result<()> {
        // Before any lock: it is user code.
        let waker = context.waker().clone();
        if self
            .place
            .as_ref()
            .is_some_and(|place| place.word() != word)
        {
            self.leave(false);
        }
        let is_new = self.place.is_none();
        if is_new {
            self.end.begin_wait();
        }
        let attachment = &self.end.handle().attachment;
        let source = || Arc::new(QueueWord::new(attachment, word)) as Arc<dyn Source>;
        let taken = attachment.seats.admit(&mut self.place, word, waker, source);
        if is_new && taken.is_err() {
            self.end.end_wait();
        }
        taken
    }

    /// Returns why the wait ends although there is nothing to take, if it does.
    fn end_of_wait<F: From<Corrupt>>(&self) -> Option<Failure<Interrupted, F>> {
        let handle = self.end.handle();
        if handle.waiter.take_interrupt() {
            return Some(Failure::Wait(Interrupted));
        }
        // As after every sleep: see `check_tail`.
        let checked = walk::check_tail(handle.enter().ok()?.segment());
        checked
            .err()
            .map(|corrupt| Failure::Operation(corrupt.into()))
    }

    fn finish<R, F>(&mut self, outcome: Outcome<R, F>) -> Poll<Outcome<R, F>> {
        self.leave(outcome.is_ok());
        Poll::Ready(outcome)
    }

    /// Gives the place back. `is_used`: the future has got what it waited for.
    fn leave(&mut self, is_used: bool) {
        let Some(place) = self.place.take() else {
            return;
        };
        self.end.end_wait();
        let attachment: &Attachment = &self.end.handle().attachment;
        // A forked child has no reactor, and must not lock that of its parent.
        if attachment.enter().is_ok() {
            attachment.seats.dismiss(&place, is_used);
        }
    }
}

impl<E: AsyncEnd> Drop for Waiting<'_, E> {
    fn drop(&mut self) {
        self.leave(false);
    }
}

impl<E: AsyncEnd> fmt::Debug for Waiting<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
