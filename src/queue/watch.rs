//! Waiting for a message and a file descriptor together.
//!
//! A receiver sleeps on a futex, and the kernel has no wait for a futex and a descriptor (except in `io_uring`, which
//! is often disabled). So a thread waits for the descriptor, and when it is readable wakes the threads that wait for
//! messages, as a message would. Both sleep until something happens. It is one thread for all descriptors of the
//! process: see [`readiness`](crate::os::readiness).
//!
//! | `ready` | registration | descriptor   | meaning                                                      |
//! |---------|--------------|--------------|--------------------------------------------------------------|
//! | false   | armed        | not readable | receives wait for messages                                   |
//! | true    | fired        | readable     | each receive asks the kernel, and returns `Ready`            |
//! | true    | fired        | not readable | the next receive that asks clears `ready` and arms again     |
//!
//! WATCH-1. The thread sets `ready` before it raises the epoch of the parking word. A receive that announces a sleep
//!          after that finds `ready` in its last look; one that did so before is woken.
//! WATCH-2. A receive returns `Ready` only if the kernel says so at that moment; `ready` merely saves the others a
//!          system call.
//! WATCH-3. A receive that clears `ready` arms the registration. The kernel then reports the descriptor at once if it
//!          has become readable by then. So clearing too often does no harm.
//! WATCH-4. All receivers are woken. So a receive that was woken for a message, and returns `Ready` instead, takes no
//!          wake away from another one: it found `ready` false before it slept, hence `ready` was set later, and all
//!          receivers are woken after that.

use super::attachment::{Attachment, Entered};
use super::failure::{Failure, RecvFailure};
use super::lease::Lease;
use super::policy::{Deadline, NonBlocking, Unbounded, WaitPolicy};
use super::receiver::Receiver;
use crate::codec::{Bincode, Codec};
use crate::error::{RecvError, RecvTimeoutError, TryRecvError, WatchError};
use crate::os::poll;
use crate::os::readiness::Registration;
use crate::protocol::SharedState;
use crate::sync::{AtomicBool, Ordering};
use core::fmt;
use core::time::Duration;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Weak};
use std::time::Instant;

/// What a receive with a [`Watch`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched<M> {
    /// A message, or a lease of one.
    Message(M),
    /// The descriptor is readable: it has data, is at its end, or has an error to report.
    Ready,
}

/// A receiver that also watches a file descriptor. Returned by [`Receiver::watch`].
///
/// A receive ends with a message, with [`Ready`](Watched::Ready), or as without a watch: by close, a time limit or an
/// interrupt. It returns `Ready` as long as the descriptor is readable, even if it was readable before, and even on a
/// closed queue. `Ready` has precedence over messages: they stay where they are, for the next receive or for other
/// receivers. But a message that is there already may be returned first, while the watch has not noticed the descriptor
/// yet.
///
/// Several threads may receive with one watch; all of them notice the descriptor.
///
/// A watch has a copy of the descriptor until it is dropped, which never waits for the descriptor. All watches of a
/// process together have one thread, which ends with the last of them. While nothing happens the thread sleeps. Other
/// receives of the same receiver do not notice the descriptor.
pub struct Watch<'a, T, C: Codec<T> = Bincode> {
    receiver: &'a Receiver<T, C>,
    /// See the table above. Shared with the thread.
    ready: Arc<AtomicBool>,
    file: Registration,
}

/// What a wait ends with.
type Waited<P, R> = Result<Watched<R>, Failure<<P as WaitPolicy>::Error, RecvFailure>>;

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Watches a file descriptor while waiting for messages: a socket, pipe, eventfd, pidfd or anything else that
    /// `poll(2)` supports.
    ///
    /// # Errors
    ///
    /// [`WatchError`]: the system has no descriptor or no thread left.
    ///
    /// # Examples
    ///
    /// A worker that notices a task, a closed queue, and its parent's death in one wait:
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use workring::queue::Watched;
    ///
    /// let (tasks, rx) = workring::channel::<String>(4)?;
    /// let (parent, link) = UnixStream::pair()?;
    ///
    /// let watch = rx.watch(&link)?;
    /// tasks.send("task".to_owned())?;
    /// assert_eq!(watch.recv()?, Watched::Message("task".to_owned()));
    /// drop(parent); // the parent dies in any way
    /// assert_eq!(watch.recv()?, Watched::Ready);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(&self, file: impl AsFd) -> Result<Watch<'_, T, C>, WatchError> {
        let attachment = &self.handle.attachment;
        if attachment.enter().is_err() {
            return Err(WatchError::Forked);
        }
        let ready = Arc::new(AtomicBool::new(false));
        let file = register(file, Arc::downgrade(attachment), Arc::clone(&ready));
        Ok(Watch {
            receiver: self,
            ready,
            file: file.map_err(|source| WatchError::Os {
                what: "no descriptor or thread for the watch",
                source,
            })?,
        })
    }
}

/// Makes a thread wait for a copy of the descriptor.
fn register(
    file: impl AsFd,
    queue: Weak<Attachment>,
    ready: Arc<AtomicBool>,
) -> io::Result<Registration> {
    let file = file.as_fd().try_clone_to_owned()?;
    // The first receive need not wait for the thread.
    ready.store(poll::is_readable(&file)?, Ordering::Relaxed);
    Registration::new(file, move || {
        // Release, and before the wake: see WATCH-1.
        ready.store(true, Ordering::Release);
        wake_receivers(&queue);
        Vec::new()
    })
}

/// Makes all threads that wait for messages look again (WATCH-4). The word does not say which of them wait with the
/// watch.
fn wake_receivers(queue: &Weak<Attachment>) {
    if let Some(attachment) = queue.upgrade()
        && let Ok(queue) = attachment.enter()
    {
        let segment = queue.segment();
        segment.items().notify(|word| segment.wake(word, u32::MAX));
    }
}

impl<T, C: Codec<T>> Watch<'_, T, C> {
    /// Receives a message, as [`Receiver::recv`] does. Blocks until there is one or the descriptor is readable.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`Receiver::recv`].
    ///
    /// # Examples
    ///
    /// See [`Receiver::watch`].
    pub fn recv(&self) -> Result<Watched<T>, RecvError> {
        Ok(self.receive(&Unbounded)?)
    }

    /// Receives a message if there is one now, unless the descriptor is readable.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: there is no message and the descriptor is not readable, or as for [`recv`](Watch::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Write;
    /// use std::os::unix::net::UnixStream;
    /// use workring::error::TryRecvError;
    /// use workring::queue::Watched;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let (mut peer, link) = UnixStream::pair()?;
    /// let watch = rx.watch(&link)?;
    /// assert_eq!(watch.try_recv(), Err(TryRecvError::Empty));
    /// tx.send(1)?;
    /// assert_eq!(watch.try_recv(), Ok(Watched::Message(1)));
    /// # peer.write_all(b"data")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_recv(&self) -> Result<Watched<T>, TryRecvError> {
        Ok(self.receive(&NonBlocking)?)
    }

    /// Receives a message, as [`recv`](Watch::recv) does. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time limit has passed, or as for `recv`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let (peer, link) = UnixStream::pair()?;
    /// let watch = rx.watch(&link)?;
    /// assert!(watch.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # drop((tx, peer));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Watched<T>, RecvTimeoutError> {
        Ok(self.receive(&Deadline::after(timeout))?)
    }

    /// Receives a message, as [`recv`](Watch::recv) does. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the deadline has passed, or as for `recv`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use std::time::{Duration, Instant};
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let (peer, link) = UnixStream::pair()?;
    /// let watch = rx.watch(&link)?;
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// assert!(watch.recv_deadline(deadline).unwrap_err().is_timeout());
    /// # drop((tx, peer));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Watched<T>, RecvTimeoutError> {
        Ok(self.receive(&Deadline::at(deadline))?)
    }

    /// Leases a message, as [`Receiver::lease`] does. Blocks until there is one or the descriptor is readable.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`Receiver::lease`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use workring::queue::Watched;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let (parent, link) = UnixStream::pair()?;
    /// let watch = rx.watch(&link)?;
    /// tx.send(1)?;
    /// if let Watched::Message(lease) = watch.lease()? {
    ///     assert_eq!(lease.ack(), 1);
    /// }
    /// # drop(parent);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease(&self) -> Result<Watched<Lease<'_, T, C>>, RecvError> {
        Ok(self.lease_with(&Unbounded)?)
    }

    /// Leases a message if there is one now, unless the descriptor is readable.
    ///
    /// # Errors
    ///
    /// [`TryRecvError`]: there is no message and the descriptor is not readable, or as for [`lease`](Watch::lease).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use workring::queue::Watched;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let (peer, link) = UnixStream::pair()?;
    /// let watch = rx.watch(&link)?;
    /// assert!(watch.try_lease().unwrap_err().is_empty());
    /// tx.send(1)?;
    /// assert!(matches!(watch.try_lease()?, Watched::Message(lease) if *lease == 1));
    /// # drop((tx, peer));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_lease(&self) -> Result<Watched<Lease<'_, T, C>>, TryRecvError> {
        Ok(self.lease_with(&NonBlocking)?)
    }

    /// Leases a message, as [`lease`](Watch::lease) does. Blocks for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time limit has passed, or as for `lease`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use std::time::Duration;
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let (peer, link) = UnixStream::pair()?;
    /// let watch = rx.watch(&link)?;
    /// assert!(watch.lease_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    /// # drop((tx, peer));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Watched<Lease<'_, T, C>>, RecvTimeoutError> {
        Ok(self.lease_with(&Deadline::after(timeout))?)
    }

    /// Leases a message, as [`lease`](Watch::lease) does. Blocks until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the deadline has passed, or as for `lease`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::net::UnixStream;
    /// use std::time::{Duration, Instant};
    ///
    /// let (tx, rx) = workring::channel::<u32>(4)?;
    /// let (peer, link) = UnixStream::pair()?;
    /// let watch = rx.watch(&link)?;
    /// let deadline = Instant::now() + Duration::from_millis(1);
    /// assert!(watch.lease_deadline(deadline).unwrap_err().is_timeout());
    /// # drop((tx, peer));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lease_deadline(
        &self,
        deadline: Instant,
    ) -> Result<Watched<Lease<'_, T, C>>, RecvTimeoutError> {
        Ok(self.lease_with(&Deadline::at(deadline))?)
    }

    /// Returns whether the descriptor is readable now, as far as the thread has noticed (WATCH-2).
    #[inline]
    fn is_ready(&self) -> bool {
        // Acquire: pairs with the store in `register`.
        self.ready.load(Ordering::Acquire) && self.is_still_ready()
    }

    #[cold]
    fn is_still_ready(&self) -> bool {
        // If the kernel cannot tell, the caller had better read and see.
        if poll::is_readable(&self.file).unwrap_or(true) {
            return true;
        }
        // Only one of several receives that find this (WATCH-3).
        if self.ready.swap(false, Ordering::AcqRel) {
            self.file.arm();
        }
        false
    }

    fn receive<P: WaitPolicy>(&self, policy: &P) -> Waited<P, T> {
        let found = self.wait(|queue| self.receiver.take_one(queue), policy)?;
        Ok(match found {
            Watched::Message(taken) => Watched::Message(taken.receive::<T, C>()?),
            Watched::Ready => Watched::Ready,
        })
    }

    fn lease_with<P: WaitPolicy>(&self, policy: &P) -> Waited<P, Lease<'_, T, C>> {
        let found = self.wait(|queue| self.receiver.lease_one(queue), policy)?;
        Ok(match found {
            Watched::Message(leased) => {
                Watched::Message(Lease::decode::<Failure<_, _>, _>(leased)?)
            }
            Watched::Ready => Watched::Ready,
        })
    }

    /// Waits until `take` returns a message or the descriptor is readable.
    fn wait<'a, P: WaitPolicy, R>(
        &'a self,
        take: impl Fn(Entered<'a>) -> Result<Option<R>, RecvFailure>,
        policy: &P,
    ) -> Waited<P, R> {
        let queue = self.receiver.handle.begin().map_err(RecvFailure::from)?;
        let look = || {
            if self.is_ready() {
                return Ok(Some(Watched::Ready));
            }
            Ok(take(queue)?.map(Watched::Message))
        };
        match look()? {
            Some(found) => Ok(found),
            None => self.receiver.wait_for_messages(queue, look, policy),
        }
    }
}

impl<T, C: Codec<T>> fmt::Debug for Watch<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("receiver", self.receiver)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}
