//! Accepting with a future.

use super::connection::Connection;
use super::listener::Listener;
use crate::error::AcceptError;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Accepts a process. Returned by [`Listener::accept_async`].
///
/// Dropping it loses no connection: a process that waits to be accepted is accepted by another call.
#[must_use = "futures do nothing unless polled"]
pub struct AcceptFuture<'a> {
    listener: &'a Listener,
    number: Option<u64>,
}

impl Listener {
    /// Accepts a process that has connected. The future completes when there is one. Needs the feature `async`.
    ///
    /// It works with any runtime: a thread of this process waits for the descriptors of all listeners and
    /// [watches](crate::Receiver::watch). Several tasks may accept with one listener; each connection goes to one of them.
    /// Dropping the future before it has completed loses no connection.
    ///
    /// A process that has connected, but is late with its greeting, is only dropped when something else happens: futures
    /// have no clock.
    ///
    /// There is no connecting with a future, which would need one, too: call [`connect`](super::connect()) in a thread of
    /// its own, such as tokio's `spawn_blocking`.
    ///
    /// # Errors
    ///
    /// [`AcceptError`], as for [`accept`](Listener::accept).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use workring::rendezvous::{Listener, connect};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let name = &format!("doc-accept-{}", std::process::id());
    /// let listener = Listener::bind(name)?;
    /// # let name = name.clone();
    /// let client = tokio::task::spawn_blocking(move || {
    ///     connect(&name, Instant::now() + Duration::from_secs(10))
    /// });
    /// let connection = listener.accept_async().await?;
    /// println!("process {:?} has connected", connection.peer().pid());
    /// client.await??;
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept_async(&self) -> AcceptFuture<'_> {
        AcceptFuture {
            listener: self,
            number: None,
        }
    }
}

impl AcceptFuture<'_> {
    fn leave(&mut self) {
        if let Some(number) = self.number.take()
            && self.listener.is_own()
        {
            self.listener.accepting().leave(number);
        }
    }
}

impl Future for AcceptFuture<'_> {
    type Output = Result<Connection, AcceptError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let listener = self.listener;
        let accepted = listener.accept_now();
        if !matches!(accepted, Err(AcceptError::Empty)) {
            self.leave();
            return Poll::Ready(accepted);
        }
        let waker = context.waker().clone();
        let entered = (listener.accepting()).enter(listener, &mut self.number, waker);
        match entered {
            Ok(()) => Poll::Pending,
            Err(source) => {
                self.leave();
                Poll::Ready(Err(AcceptError::Os {
                    what: "no descriptor or thread to wait for processes",
                    source,
                }))
            }
        }
    }
}

impl Drop for AcceptFuture<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl fmt::Debug for AcceptFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptFuture")
            .field("listener", self.listener)
            .finish_non_exhaustive()
    }
}
