//! Reading what one task emits.

#[cfg(feature = "async")]
use super::results::{Awaited, Registration};
use super::results::{NextEmission, WaitError};
use super::shared::Shared;
use crate::error::ProgressError;
use crate::pool::outcome::TaskId;
use crate::pool::wire::emission::{Emission, NotDecoded};
use core::fmt;
use core::marker::PhantomData;
#[cfg(feature = "async")]
use core::task::{Context, Poll};
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Instant;

/// A value that a task has emitted. Returned by [`Progress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Emitted<P> {
    /// The [attempt](crate::pool::Context::attempt) that has emitted it. An attempt that is tried again begins from the start:
    /// what the attempts before it have emitted comes first.
    pub attempt: u32,
    /// How many values the task has emitted before since it was last started.
    pub index: u64,
    /// The value.
    pub value: P,
}

/// Reads what a task emits while it runs. Returned by [`TaskHandle::progress`](crate::pool::TaskHandle::progress).
///
/// As an iterator it blocks until the task has emitted a value, and ends when the task has its outcome, whatever that is: an
/// output, an error, a panic, a crash, the end of the pool. By then all values were returned that the task has emitted, except
/// for [lost](Progress::lost) ones. A value that can't be read is an error in its place; the iterator goes on.
///
/// Values are decoded by the thread that reads them. It may be another thread than the one that waits for the outcome. If a
/// task has several readers, each value goes to one of them. Dropping a reader does not cancel the task. In a forked child of the
/// pool's process it ends at once.
#[must_use = "a reader returns nothing unless it is used"]
pub struct Progress<P> {
    shared: Arc<Shared>,
    id: TaskId,
    is_over: bool,
    value: PhantomData<fn() -> P>,
}

impl<P: Serialize + DeserializeOwned> Progress<P> {
    pub(super) fn new(shared: Arc<Shared>, id: TaskId) -> Self {
        shared.results.add_reader(id);
        Self {
            shared,
            id,
            is_over: false,
            value: PhantomData,
        }
    }

    /// Returns the next value if one has arrived. `None`: there is none, or the task [has ended](Progress::is_over). Never
    /// waits.
    ///
    /// # Errors
    ///
    /// [`ProgressError`]: the value is of another type, or can't be decoded.
    pub fn try_next(&mut self) -> Option<Result<Emitted<P>, ProgressError>> {
        let results = &self.shared.results;
        if self.is_over || !results.is_in_owner() {
            self.is_over = true;
            return None;
        }
        results.poll();
        let id = self.id;
        let found = results.with(|tasks| tasks.next_emission(id));
        found.and_then(|next| self.returned(next))
    }

    /// Blocks until the task has emitted a value, for at most `timeout`. `None`: there is none by then, or the task
    /// [has ended](Progress::is_over).
    ///
    /// # Errors
    ///
    /// [`ProgressError`]: the value is of another type, or can't be decoded.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../example.in")]
    /// let pool = TypedPool::<Nap>::builder().start()?;
    /// let nap = pool.submit(Nap(HOUR))?;
    /// let mut progress = nap.progress::<u32>();
    /// assert!(progress.next_timeout(Duration::from_millis(5)).is_none() && !progress.is_over());
    /// nap.cancel();
    /// assert!(progress.next().is_none() && progress.is_over());
    /// # Ok(())
    /// # }
    /// ```
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<Emitted<P>, ProgressError>> {
        self.next_until(Instant::now().checked_add(timeout))
    }

    /// Blocks until the task has emitted a value, but not beyond `deadline`, as [`next_timeout`](Self::next_timeout) does.
    ///
    /// # Errors
    ///
    /// [`ProgressError`]: the value is of another type, or can't be decoded.
    pub fn next_deadline(
        &mut self,
        deadline: Instant,
    ) -> Option<Result<Emitted<P>, ProgressError>> {
        self.next_until(Some(deadline))
    }

    fn next_until(
        &mut self,
        deadline: Option<Instant>,
    ) -> Option<Result<Emitted<P>, ProgressError>> {
        if self.is_over {
            return None;
        }
        let id = self.id;
        let results = &self.shared.results;
        match results.wait_until(deadline, |tasks| tasks.next_emission(id)) {
            Ok(next) => self.returned(next),
            Err(WaitError::TimedOut) => None,
            Err(WaitError::Ended | WaitError::Unknown(_)) => self.returned(NextEmission::End),
        }
    }

    /// Looks for the next value without waiting. Decodes it, if it has arrived.
    #[cfg(feature = "async")]
    pub(super) fn poll_next(
        &mut self,
        registration: &mut Option<Registration>,
        context: &Context<'_>,
    ) -> Poll<Option<Result<Emitted<P>, ProgressError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let id = self.id;
        let found = core::task::ready!(self.shared.results.poll_until(
            registration,
            Awaited::Progress(id),
            context,
            |tasks| tasks.next_emission(id)
        ));
        Poll::Ready(self.returned(found.unwrap_or(NextEmission::End)))
    }

    #[cfg(feature = "async")]
    pub(super) fn forget_future(&self, registration: &mut Option<Registration>) {
        self.shared.results.forget_future(registration);
    }

    fn returned(&mut self, next: NextEmission) -> Option<Result<Emitted<P>, ProgressError>> {
        match next {
            NextEmission::Value(emission) => Some(decode(&emission)),
            NextEmission::End => {
                self.is_over = true;
                None
            }
        }
    }
}

impl<P> Progress<P> {
    /// Returns whether the task has its outcome, and all of its values were returned. Changed by the methods that return
    /// values.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns how many values of the task were dropped because as many were unread as
    /// [`Builder::progress`](crate::pool::Builder::progress) allows. 0 once the task has ended and its handle is gone, if no
    /// reader was there by then.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.results.lost_emissions(self.id)
    }
}

/// Decodes a value. Calls the program's `Deserialize`, so the caller must hold nothing of the pool (RESULTS-7).
fn decode<P: Serialize + DeserializeOwned>(
    emission: &Emission,
) -> Result<Emitted<P>, ProgressError> {
    match emission.decode() {
        Ok(value) => Ok(Emitted {
            attempt: emission.head.attempt.into(),
            index: emission.head.index,
            value,
        }),
        Err(NotDecoded::OtherType { emitted, wanted }) => Err(ProgressError::Type {
            emitted,
            wanted: wanted.to_owned(),
        }),
        Err(NotDecoded::Codec(what)) => Err(ProgressError::Decode { what }),
    }
}

impl<P: Serialize + DeserializeOwned> Iterator for Progress<P> {
    type Item = Result<Emitted<P>, ProgressError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }
}

impl<P: Serialize + DeserializeOwned> core::iter::FusedIterator for Progress<P> {}

impl<P> Drop for Progress<P> {
    fn drop(&mut self) {
        self.shared.results.remove_reader(self.id);
    }
}

impl<P> fmt::Debug for Progress<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("id", &self.id)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
