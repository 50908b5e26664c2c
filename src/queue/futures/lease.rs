//! Leasing one message.

use super::super::bytes_lease::BytesLease;
use super::super::lease::Lease;
use super::super::receiver::Receiver;
use super::waiting::Waiting;
use crate::codec::{Bincode, Codec, Raw};
use crate::error::RecvError;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

/// Leases a message. Returned by [`Receiver::lease_async`].
///
/// Dropping it before it has completed takes no message. Once it has returned a lease, dropping the lease returns the
/// message.
#[must_use = "futures do nothing unless polled"]
pub struct LeaseFuture<'a, T, C: Codec<T> = Bincode> {
    receiver: &'a Receiver<T, C>,
    waiting: Waiting<'a, Receiver<T, C>>,
}

/// Leases a message without copying it. Returned by [`Receiver::lease_bytes_async`].
///
/// Dropping it before it has completed takes no message. Once it has returned a lease, dropping the lease returns the
/// message.
#[must_use = "futures do nothing unless polled"]
pub struct LeaseBytesFuture<'a, T>
where
    Raw: Codec<T>,
{
    receiver: &'a Receiver<T, Raw>,
    waiting: Waiting<'a, Receiver<T, Raw>>,
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Leases a message, without acknowledging it. The future completes when there is one, or when the queue is closed and
    /// none is left. Needs the feature `async`.
    ///
    /// A task that is dropped or panics while it holds the lease returns the message.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`lease`](Receiver::lease).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (tx, rx) = workring::channel::<String>(4)?;
    /// tx.send_async("resize 7.png".to_owned()).await?;
    /// let lease = rx.lease_async().await?;
    /// println!("working on {}", *lease);
    /// lease.ack();
    /// # Ok(())
    /// # }
    /// ```
    pub fn lease_async(&self) -> LeaseFuture<'_, T, C> {
        LeaseFuture {
            receiver: self,
            waiting: Waiting::borrowed(self),
        }
    }
}

impl<T> Receiver<T, Raw>
where
    Raw: Codec<T>,
{
    /// Leases a message without copying it. The future completes when there is one, or when the queue is closed and none is
    /// left. Needs the feature `async`.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`lease`](Receiver::lease).
    ///
    /// # Examples
    ///
    /// ```
    /// use workring::{Options, queue::Raw};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (tx, rx) = Options::new(4).channel_with::<Vec<u8>, Raw>()?;
    /// tx.send_async(b"in place".to_vec()).await?;
    /// let message = rx.lease_bytes_async().await?;
    /// assert_eq!(&*message, b"in place");
    /// message.ack();
    /// # Ok(())
    /// # }
    /// ```
    pub fn lease_bytes_async(&self) -> LeaseBytesFuture<'_, T> {
        LeaseBytesFuture {
            receiver: self,
            waiting: Waiting::borrowed(self),
        }
    }
}

impl<'a, T, C: Codec<T>> Future for LeaseFuture<'a, T, C> {
    type Output = Result<Lease<'a, T, C>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let receiver = self.receiver;
        let leased = (self.waiting).poll(context, |_, policy| receiver.lease_with(policy));
        leased.map_err(RecvError::from)
    }
}

impl<'a, T> Future for LeaseBytesFuture<'a, T>
where
    Raw: Codec<T>,
{
    type Output = Result<BytesLease<'a>, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let receiver = self.receiver;
        let leased = (self.waiting).poll(context, |_, policy| receiver.lease_message(policy));
        leased.map_ok(BytesLease::new).map_err(RecvError::from)
    }
}

impl<T, C: Codec<T>> fmt::Debug for LeaseFuture<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseFuture")
            .field("receiver", self.receiver)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for LeaseBytesFuture<'_, T>
where
    Raw: Codec<T>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseBytesFuture")
            .field("receiver", self.receiver)
            .finish_non_exhaustive()
    }
}
