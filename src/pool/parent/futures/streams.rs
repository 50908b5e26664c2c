//! Maps and drains as streams.

#[cfg(feature = "macros")]
use super::super::any_outcome::AnyOutcome;
#[cfg(feature = "macros")]
use super::super::drain::AnyDrain;
use super::super::drain::Drain;
use super::super::map::{Map, MapWait};
use super::super::results::Registration;
use super::super::unclaimed::Unclaimed;
use crate::pool::task::{OutcomeOf, Task};
use core::fmt;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use futures_core::{FusedStream, Stream};
#[cfg(feature = "macros")]
use std::sync::Arc;

/// The outcomes of a map as a [`Stream`]. Returned by [`Map::into_stream`].
///
/// Tasks are taken from the iterator when the stream is polled, on the thread that polls it. Dropping a future for its next
/// item loses no outcome. Dropping the stream does the same as dropping the map: its tasks in flight are cancelled.
#[must_use = "streams do nothing unless polled"]
pub struct MapStream<'a, T: Task, I: Iterator<Item = T>> {
    map: Map<'a, T, I>,
    wait: MapWait,
    is_over: bool,
}

impl<'a, T: Task, I: Iterator<Item = T>> Map<'a, T, I> {
    /// Returns the outcomes as a stream, for async callers. Needs the feature `async`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ::futures::StreamExt;
    #[doc = include_str!("../../example.in")]
    /// # ::futures::executor::block_on(async {
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let mut squares = pool.map((0..100).map(Square)).into_stream();
    /// let mut sum = 0;
    /// while let Some(outcome) = squares.next().await {
    ///     sum += outcome.result?;
    /// }
    /// assert_eq!(sum, 328_350);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn into_stream(self) -> MapStream<'a, T, I> {
        MapStream {
            map: self,
            wait: MapWait::default(),
            is_over: false,
        }
    }
}

// The iterator is never pinned.
impl<T: Task, I: Iterator<Item = T>> Unpin for MapStream<'_, T, I> {}

impl<T: Task, I: Iterator<Item = T>> Stream for MapStream<'_, T, I> {
    type Item = OutcomeOf<T>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<OutcomeOf<T>>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(None);
        }
        let next = ready!(this.map.poll_next(&mut this.wait, context));
        this.is_over = next.is_none();
        Poll::Ready(next)
    }
}

impl<T: Task, I: Iterator<Item = T>> FusedStream for MapStream<'_, T, I> {
    fn is_terminated(&self) -> bool {
        self.is_over
    }
}

impl<T: Task, I: Iterator<Item = T>> Drop for MapStream<'_, T, I> {
    fn drop(&mut self) {
        self.map.end_wait(&mut self.wait);
    }
}

impl<T: Task, I: Iterator<Item = T>> fmt::Debug for MapStream<'_, T, I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MapStream").field(&self.map).finish()
    }
}

/// The outcomes of tasks whose handles were dropped, with the registration of the stream that waits for them.
struct Waiting<'a> {
    unclaimed: Unclaimed<'a>,
    registration: Option<Registration>,
}

impl<'a> Waiting<'a> {
    fn new(unclaimed: Unclaimed<'a>) -> Self {
        Self {
            unclaimed,
            registration: None,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let results = &self.unclaimed.shared().results;
        results.forget_future(&mut self.registration);
    }
}

/// Outcomes as they arrive, as a [`Stream`]. Returned by [`Drain::into_stream`].
///
/// Dropping it, or a future for its next item, loses no outcome: the pool keeps those that were not returned.
#[must_use = "streams do nothing unless polled"]
pub struct DrainStream<'a, T: Task> {
    waiting: Waiting<'a>,
    task: PhantomData<fn() -> T>,
}

impl<'a, T: Task> Drain<'a, T> {
    /// Returns the outcomes as a stream, for async callers. Needs the feature `async`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ::futures::StreamExt;
    #[doc = include_str!("../../example.in")]
    /// # ::futures::executor::block_on(async {
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// for n in 0..10 {
    ///     pool.submit_async(Square(n)).await?; // and the handle is dropped
    /// }
    /// assert_eq!(pool.drain().into_stream().count().await, 10);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn into_stream(self) -> DrainStream<'a, T> {
        DrainStream {
            waiting: Waiting::new(self.into_unclaimed()),
            task: PhantomData,
        }
    }
}

impl<T: Task> Stream for DrainStream<'_, T> {
    type Item = OutcomeOf<T>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<OutcomeOf<T>>> {
        let Waiting {
            unclaimed,
            registration,
        } = &mut self.waiting;
        let next = ready!(unclaimed.poll_next(registration, context));
        Poll::Ready(next.map(|(_, outcome)| unclaimed.shared().decode::<T>(outcome)))
    }
}

impl<T: Task> fmt::Debug for DrainStream<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainStream")
            .field("in_flight", &self.waiting.unclaimed.in_flight())
            .finish_non_exhaustive()
    }
}

/// Outcomes as they arrive, as a [`Stream`]. Returned by [`AnyDrain::into_stream`].
///
/// Dropping it, or a future for its next item, loses no outcome: the pool keeps those that were not returned.
#[cfg(feature = "macros")]
#[must_use = "streams do nothing unless polled"]
pub struct AnyDrainStream<'a>(Waiting<'a>);

#[cfg(feature = "macros")]
impl<'a> AnyDrain<'a> {
    /// Returns the outcomes as a stream, for async callers. Needs the feature `async`. See [`Drain::into_stream`].
    pub fn into_stream(self) -> AnyDrainStream<'a> {
        AnyDrainStream(Waiting::new(self.into_unclaimed()))
    }
}

#[cfg(feature = "macros")]
impl Stream for AnyDrainStream<'_> {
    type Item = AnyOutcome;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<AnyOutcome>> {
        let Waiting {
            unclaimed,
            registration,
        } = &mut self.0;
        let next = ready!(unclaimed.poll_next(registration, context));
        let shared = unclaimed.shared();
        Poll::Ready(next.map(|(key, outcome)| AnyOutcome::new(key, Arc::clone(shared), outcome)))
    }
}

#[cfg(feature = "macros")]
impl fmt::Debug for AnyDrainStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnyDrainStream")
            .field("in_flight", &self.0.unclaimed.in_flight())
            .finish_non_exhaustive()
    }
}
