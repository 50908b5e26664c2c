//! What a task emits, as a stream.

use super::super::progress::{Emitted, Progress};
use super::super::results::Registration;
use crate::error::ProgressError;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use futures_core::{FusedStream, Stream};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a task emits, as a [`Stream`]. Returned by [`Progress::into_stream`].
///
/// Dropping a future for its next item loses no value. Dropping the stream does the same as dropping the [`Progress`].
#[must_use = "streams do nothing unless polled"]
pub struct ProgressStream<P: Serialize + DeserializeOwned> {
    progress: Progress<P>,
    registration: Option<Registration>,
}

impl<P: Serialize + DeserializeOwned> Progress<P> {
    /// Returns the values as a stream, for async callers. Needs the feature `async`.
    ///
    /// # Examples
    ///
    /// ```
    /// use ::futures::StreamExt;
    #[doc = include_str!("../../example.in")]
    /// # ::futures::executor::block_on(async {
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// let square = pool.submit(Square(3))?;
    /// let mut progress = square.progress::<u32>().into_stream();
    /// while let Some(emitted) = progress.next().await {
    ///     println!("{}", emitted?.value);
    /// }
    /// assert_eq!(square.await?, 9);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn into_stream(self) -> ProgressStream<P> {
        ProgressStream {
            progress: self,
            registration: None,
        }
    }
}

impl<P: Serialize + DeserializeOwned> Stream for ProgressStream<P> {
    type Item = Result<Emitted<P>, ProgressError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.progress.poll_next(&mut this.registration, context)
    }
}

impl<P: Serialize + DeserializeOwned> FusedStream for ProgressStream<P> {
    fn is_terminated(&self) -> bool {
        self.progress.is_over()
    }
}

impl<P: Serialize + DeserializeOwned> Drop for ProgressStream<P> {
    fn drop(&mut self) {
        self.progress.forget_future(&mut self.registration);
    }
}

impl<P: Serialize + DeserializeOwned> fmt::Debug for ProgressStream<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProgressStream")
            .field(&self.progress)
            .finish()
    }
}
