//! Waiting until no task is in flight.

use super::super::results::{Home, Registration};
use super::super::shared::Shared;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Arc;

/// Waits until no task of a pool, or of a group, is in flight. Returned by `join_async`.
///
/// It takes no outcome. Dropping it changes nothing: the tasks go on.
#[must_use = "futures do nothing unless polled"]
pub struct JoinFuture<'a> {
    shared: &'a Arc<Shared>,
    home: Home,
    registration: Option<Registration>,
}

impl<'a> JoinFuture<'a> {
    pub(in crate::pool::parent) const fn new(shared: &'a Arc<Shared>, home: Home) -> Self {
        Self {
            shared,
            home,
            registration: None,
        }
    }
}

impl Future for JoinFuture<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.shared
            .poll_join(this.home, &mut this.registration, context)
    }
}

impl Drop for JoinFuture<'_> {
    fn drop(&mut self) {
        self.shared.results.forget_future(&mut self.registration);
    }
}

impl fmt::Debug for JoinFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinFuture")
            .field("in_flight", &self.shared.in_flight(self.home))
            .finish_non_exhaustive()
    }
}
