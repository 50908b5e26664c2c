//! How a future waits: it tries, takes a place in the reactor, tries again, and is pending. If messages come in runs, it first
//! pauses for a few microseconds and tries a few times more.

use super::super::attachment::Attachment;
use super::super::end::Handle;
use super::super::failure::{Failure, Interrupted, RecvFailure, WouldBlock};
use super::super::policy::Polled;
use super::super::reactor::{Place, Source, Word};
use super::super::receiver::Receiver;
use super::super::sender::Sender;
use super::super::wait::QUICK_TRIES;
use super::source::QueueWord;
use crate::codec::Codec;
use crate::protocol::steps::{send, walk};
use crate::protocol::{Corrupt, SharedState};
use core::fmt;
use core::hint;
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
    state: WaitState,
}

/// Whether a future waits, and where.
#[derive(Default)]
struct WaitState {
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
        Self {
            end,
            state: WaitState::default(),
        }
    }

    pub(super) fn borrowed(end: &'a E) -> Self {
        Self::new(Owner::Borrowed(end))
    }

    #[inline(always)]
    pub(super) fn end(&self) -> &E {
        &self.end
    }

    /// Returns whether no poll has had to wait before.
    #[inline(always)]
    pub(super) fn is_first(&self) -> bool {
        !self.state.is_waiting()
    }

    /// Tries, takes a place in the reactor, tries again, and is pending (REACTOR-1). Pauses at most for some microseconds.
    ///
    /// The first attempt is part of the caller's code: it usually succeeds, and then nothing else is needed.
    #[inline(always)]
    pub(super) fn poll<R, F: From<Corrupt>>(
        &mut self,
        context: &Context<'_>,
        mut attempt: impl FnMut(&E, &Polled) -> Attempt<R, F>,
    ) -> Poll<Outcome<R, F>> {
        let Self { end, state } = self;
        let mut blocked = None;
        if !state.is_waiting() {
            let policy = Polled::new();
            match attempt(end, &policy) {
                Ok(result) => return Poll::Ready(Ok(result)),
                Err(Failure::Operation(failure)) => {
                    return Poll::Ready(Err(Failure::Operation(failure)));
                }
                Err(Failure::Wait(WouldBlock)) => blocked = Some(policy.word()),
            }
        }
        state.poll(&**end, blocked, context, attempt)
    }
}

impl<T, C: Codec<T>> Waiting<'_, Receiver<T, C>> {
    /// Does the same as [`poll`](Self::poll) with [`Receiver::receive`]. The usual message goes straight into the result of
    /// the caller: see [`Receiver::receive_as`].
    #[inline(always)]
    pub(super) fn poll_receive<R>(
        &mut self,
        context: &Context<'_>,
        usual: impl FnOnce(T) -> R,
        otherwise: impl FnOnce(Poll<Outcome<T, RecvFailure>>) -> R,
    ) -> R {
        let Self { end, state } = self;
        let receiver: &Receiver<T, C> = end;
        if state.is_waiting() {
            return otherwise(state.poll(receiver, None, context, Receiver::receive));
        }
        let policy = Polled::new();
        receiver.receive_as(&policy, usual, |received| {
            otherwise(match received {
                Ok(message) => Poll::Ready(Ok(message)),
                Err(Failure::Operation(failure)) => Poll::Ready(Err(Failure::Operation(failure))),
                Err(Failure::Wait(WouldBlock)) => {
                    state.poll(receiver, Some(policy.word()), context, Receiver::receive)
                }
            })
        })
    }
}

impl WaitState {
    #[inline(always)]
    fn is_waiting(&self) -> bool {
        self.place.is_some()
    }

    /// Polls when the first attempt has failed: this one, because of the word `blocked`, or an earlier one.
    #[cold]
    #[inline(never)]
    fn poll<E: AsyncEnd, R, F: From<Corrupt>>(
        &mut self,
        end: &E,
        blocked: Option<Word>,
        context: &Context<'_>,
        mut attempt: impl FnMut(&E, &Polled) -> Attempt<R, F>,
    ) -> Poll<Outcome<R, F>> {
        let mut step = match blocked {
            Some(word) => self.pause_and_try(end, word, &mut attempt),
            None => self.attempt(end, &mut attempt),
        };
        for _ in 0..CHANGES {
            let word = match step {
                Step::Over(outcome) => return self.finish(end, outcome),
                Step::Blocked(word) => word,
            };
            if self.take_place(end, word, context).is_err() {
                break;
            }
            step = self.attempt(end, &mut attempt);
            if matches!(step, Step::Blocked(again) if again == word) {
                return match end_of_wait(end) {
                    Some(failure) => self.finish(end, Err(failure)),
                    None => Poll::Pending,
                };
            }
        }
        // Or the system has no thread left for the reactor: try again until it has.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Pauses after a first attempt that has failed, and tries a few times more, if messages come in runs. Otherwise each of
    /// them would cost the way through the reactor.
    fn pause_and_try<E: AsyncEnd, R, F>(
        &self,
        end: &E,
        word: Word,
        attempt: &mut impl FnMut(&E, &Polled) -> Attempt<R, F>,
    ) -> Step<R, F> {
        let handle = end.handle();
        let is_run = handle.enter().is_ok_and(|queue| {
            let progress = match word {
                Word::Items => queue.segment().head(),
                Word::Space => queue.segment().tail(),
                // Messages that need such a block are large, and not in a hurry.
                Word::Blocks => return false,
            };
            handle.waiter.pause_in_run(queue, progress)
        });
        if !is_run {
            return Step::Blocked(word);
        }
        for _ in 0..QUICK_TRIES {
            // An attempt of a sender encodes its message.
            if word != Word::Space || !handle.is_full() {
                let step = self.attempt(end, attempt);
                if !matches!(step, Step::Blocked(again) if again == word) {
                    return step;
                }
            }
            hint::spin_loop();
        }
        Step::Blocked(word)
    }

    fn attempt<E: AsyncEnd, R, F>(
        &self,
        end: &E,
        attempt: &mut impl FnMut(&E, &Polled) -> Attempt<R, F>,
    ) -> Step<R, F> {
        if self.is_surely_full(end) {
            return Step::Blocked(Word::Space);
        }
        let policy = Polled::new();
        match attempt(end, &policy) {
            Ok(result) => Step::Over(Ok(result)),
            Err(Failure::Operation(failure)) => Step::Over(Err(Failure::Operation(failure))),
            Err(Failure::Wait(WouldBlock)) => Step::Blocked(policy.word()),
        }
    }

    /// Returns whether the queue that was full still is. Then a sender need not encode its message again.
    fn is_surely_full(&self, end: &impl AsyncEnd) -> bool {
        let waits_for_room = matches!(&self.place, Some(place) if place.word() == Word::Space);
        waits_for_room
            && end.handle().enter().is_ok_and(|queue| {
                let segment = queue.segment();
                segment.lifecycle().load().is_open() && send::is_full(segment)
            })
    }

    /// Takes a place in the line of a word, or keeps the one that it has, with the waker of this poll.
    fn take_place(
        &mut self,
        end: &impl AsyncEnd,
        word: Word,
        context: &Context<'_>,
    ) -> io::Result<()> {
        // Before any lock: it is user code.
        let waker = context.waker().clone();
        if self
            .place
            .as_ref()
            .is_some_and(|place| place.word() != word)
        {
            self.leave(end, false);
        }
        let is_new = self.place.is_none();
        if is_new {
            end.begin_wait();
        }
        let attachment = &end.handle().attachment;
        let source = || Arc::new(QueueWord::new(attachment, word)) as Arc<dyn Source>;
        let taken = attachment.seats.admit(&mut self.place, word, waker, source);
        if is_new && taken.is_err() {
            end.end_wait();
        }
        taken
    }

    fn finish<R, F>(&mut self, end: &impl AsyncEnd, outcome: Outcome<R, F>) -> Poll<Outcome<R, F>> {
        self.leave(end, outcome.is_ok());
        Poll::Ready(outcome)
    }

    /// Gives the place back. `is_used`: the future has got what it waited for.
    fn leave(&mut self, end: &impl AsyncEnd, is_used: bool) {
        let Some(place) = self.place.take() else {
            return;
        };
        end.end_wait();
        let attachment: &Attachment = &end.handle().attachment;
        // A forked child has no reactor, and must not lock that of its parent.
        if attachment.enter().is_ok() {
            attachment.seats.dismiss(&place, is_used);
        }
    }
}

/// Returns why the wait ends although there is nothing to take, if it does.
fn end_of_wait<F: From<Corrupt>>(end: &impl AsyncEnd) -> Option<Failure<Interrupted, F>> {
    let handle = end.handle();
    if handle.waiter.take_interrupt() {
        return Some(Failure::Wait(Interrupted));
    }
    // As after every sleep: see `check_tail`.
    let checked = walk::check_tail(handle.enter().ok()?.segment());
    checked
        .err()
        .map(|corrupt| Failure::Operation(corrupt.into()))
}

impl<E: AsyncEnd> Drop for Waiting<'_, E> {
    #[inline]
    fn drop(&mut self) {
        if self.state.is_waiting() {
            self.state.leave(&*self.end, false);
        }
    }
}

impl<E: AsyncEnd> fmt::Debug for Waiting<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("place", &self.state.place)
            .finish_non_exhaustive()
    }
}
