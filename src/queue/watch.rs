//! Waiting for a message and a file descriptor together.
//!
//! A receiver sleeps on a futex, and the kernel has no wait for a futex and a descriptor (but for `io_uring`, which is
//! often switched off). So a thread waits for the descriptor, and when it is ready wakes those who wait for messages,
//! as a message would. Both sleep until something happens.
//!
//! | `ready` | thread                         | descriptor | meaning                                          |
//! |---------|--------------------------------|------------|--------------------------------------------------|
//! | false   | waits for the descriptor       | silent     | receives wait for messages                       |
//! | true    | waits for `event`              | readable   | each receive asks the kernel, and says `Ready`   |
//! | true    | waits for `event`              | silent     | the next receive that asks takes `ready` back and sets `event` |
//!
//! WATCH-1. The thread sets `ready` before it raises the epoch of the parking word: whoever announces a sleep after that finds
//!     it in its last look, whoever did before is woken.
//! WATCH-2. Only what the kernel says at that moment makes a receive say `Ready`; `ready` merely spares the others a system call.
//! WATCH-3. Whoever takes `ready` back sets `event`, and the thread then waits for the descriptor again, which the kernel
//!     answers at once if it has become readable meanwhile. So to take it back too often does no harm.
//! WATCH-4. All receivers are woken. So a receive that was woken for a message, and says `Ready` instead, takes no wake away
//!     from the others: it found `ready` false before it slept, hence it was set later, and all are woken after that.

use super::attachment::Attachment;
use super::lease::Lease;
use super::receiver::{Receiver, Refusal};
use super::wait::{Deadline, Failure, Unbounded, WaitPolicy};
use crate::codec::{Bincode, Codec};
use crate::error::{RecvError, RecvTimeoutError, WatchError};
use crate::os::poll::{self, EventFd, Poll};
use crate::protocol::SharedState;
use crate::sync::{AtomicBool, Ordering};
use core::fmt;
use core::time::Duration;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// What a receive with a [`Watch`] comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched<M> {
    /// A message, or a lease of one.
    Message(M),
    /// The descriptor can be read from: there is something to read, or it is at its end, or it has an error to tell.
    Ready,
}

/// Receives messages from a queue and watches a file descriptor meanwhile. Made by [`Receiver::watch`].
///
/// A receive ends with a message, with [`Ready`](Watched::Ready), or as without a watch: by close, a time limit or an
/// interrupt. It says `Ready` for as long as the descriptor can be read from, also if that was so before, and on a closed
/// queue. `Ready` goes before messages: they stay where they are, for the next receive or for others. But a message
/// that is there already may come first while the watch has not heard yet.
///
/// Several threads may receive with one watch; all hear of the descriptor.
///
/// A watch has a thread and a copy of the descriptor, both until it is dropped, which never waits for the descriptor.
/// While nothing happens the thread sleeps. Other receives of the same receiver know nothing of the watch.
pub struct Watch<'a, T, C: Codec<T> = Bincode> {
    receiver: &'a Receiver<T, C>,
    state: Arc<State>,
    /// `None` while it is being dropped.
    thread: Option<JoinHandle<()>>,
}

/// What a wait comes to.
type Waited<P, R> = Result<Watched<R>, Failure<<P as WaitPolicy>::Stop, Refusal>>;

/// What the watch and its thread share.
struct State {
    file: OwnedFd,
    /// See the table above.
    ready: AtomicBool,
    /// The thread's orders: to wait for the descriptor again, or to end.
    event: EventFd,
    ending: AtomicBool,
}

impl<T, C: Codec<T>> Receiver<T, C> {
    /// Watch a file descriptor while waiting for messages: a socket, pipe, eventfd, pidfd or whatever `poll(2)` knows.
    ///
    /// # Errors
    ///
    /// [`WatchError`]: the system has no descriptor or no thread left.
    ///
    /// # Examples
    ///
    /// A worker that hears of a task, of a closed queue, and of its parent's death in one wait:
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
    /// drop(parent); // the parent ends, by whatever death
    /// assert_eq!(watch.recv()?, Watched::Ready);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watch(&self, file: impl AsFd) -> Result<Watch<'_, T, C>, WatchError> {
        let attachment = &self.handle.attachment;
        if attachment.is_forked_child() {
            return Err(WatchError::Forked);
        }
        let refused = |what| move |source| WatchError::Os { what, source };
        let state = State::new(file).map_err(refused("no descriptor for the watch"))?;
        let state = Arc::new(state);
        let (shared, queue) = (Arc::clone(&state), Arc::downgrade(attachment));
        let thread = thread::Builder::new().name("workring-watch".to_owned());
        let thread = thread.spawn(move || shared.keep_watch(&queue));
        Ok(Watch {
            receiver: self,
            state,
            thread: Some(thread.map_err(refused("no thread for the watch"))?),
        })
    }
}

impl State {
    fn new(file: impl AsFd) -> io::Result<Self> {
        let file = file.as_fd().try_clone_to_owned()?;
        // What is known already need not wait for the thread.
        let ready = AtomicBool::new(poll::is_readable(&file)?);
        Ok(Self {
            file,
            ready,
            event: EventFd::new()?,
            ending: AtomicBool::new(false),
        })
    }

    /// The thread.
    fn keep_watch(&self, queue: &Weak<Attachment>) {
        loop {
            if self.await_readable() {
                // Release, and before the wake-up: see WATCH-1.
                self.ready.store(true, Ordering::Release);
                wake_receivers(queue);
                self.await_order();
            }
            self.event.clear();
            // Acquire: pairs with the store in `drop`, which comes before the event.
            if self.ending.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Wait until the descriptor is readable; false: there is an order.
    fn await_readable(&self) -> bool {
        let mut poll = Poll::new();
        let file = poll.readable(self.file.as_fd());
        let order = poll.readable(self.event.as_fd());
        // There is no error that two open descriptors could give. If there were, receives would meet it themselves.
        poll.wait(None).is_err() || (poll.is_ready(file) && !poll.is_ready(order))
    }

    fn await_order(&self) {
        let mut poll = Poll::new();
        poll.readable(self.event.as_fd());
        let _ = poll.wait(None);
    }

    /// Whether the descriptor can be read from now, as far as the thread has heard (WATCH-2).
    #[inline]
    fn is_ready(&self) -> bool {
        // Acquire: pairs with the store in `keep_watch`.
        self.ready.load(Ordering::Acquire) && self.is_still_ready()
    }

    #[cold]
    fn is_still_ready(&self) -> bool {
        // Whoever can't find out had better look for himself.
        if poll::is_readable(&self.file).unwrap_or(true) {
            return true;
        }
        // Only one of several that find this out (WATCH-3).
        if self.ready.swap(false, Ordering::AcqRel) {
            self.event.set();
        }
        false
    }
}

/// Make all those look again who wait for messages (WATCH-4). Which of them wait with the watch can't be told anyway.
fn wake_receivers(queue: &Weak<Attachment>) {
    if let Some(attachment) = queue.upgrade() {
        let segment = attachment.segment();
        segment.items().notify(|word| segment.wake(word, u32::MAX));
    }
}

impl<T, C: Codec<T>> Watch<'_, T, C> {
    /// Receive a message, as by [`Receiver::recv`]; wait until there is one or the descriptor is ready.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`Receiver::recv`].
    pub fn recv(&self) -> Result<Watched<T>, RecvError> {
        Ok(self.receive(&Unbounded)?)
    }

    /// As [`recv`](Watch::recv); wait for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time is up, or as for `recv`.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Watched<T>, RecvTimeoutError> {
        Ok(self.receive(&Deadline::after(timeout))?)
    }

    /// As [`recv`](Watch::recv); wait until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time is up, or as for `recv`.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Watched<T>, RecvTimeoutError> {
        Ok(self.receive(&Deadline(Some(deadline)))?)
    }

    /// Lease a message, as by [`Receiver::lease`]; wait until there is one or the descriptor is ready.
    ///
    /// # Errors
    ///
    /// [`RecvError`], as for [`Receiver::lease`].
    pub fn lease(&self) -> Result<Watched<Lease<T, C>>, RecvError> {
        Ok(self.lease_with(&Unbounded)?)
    }

    /// As [`lease`](Watch::lease); wait for `timeout` at the most.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time is up, or as for `lease`.
    pub fn lease_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Watched<Lease<T, C>>, RecvTimeoutError> {
        Ok(self.lease_with(&Deadline::after(timeout))?)
    }

    /// As [`lease`](Watch::lease); wait until `deadline` at the latest.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError`]: the time is up, or as for `lease`.
    pub fn lease_deadline(
        &self,
        deadline: Instant,
    ) -> Result<Watched<Lease<T, C>>, RecvTimeoutError> {
        Ok(self.lease_with(&Deadline(Some(deadline)))?)
    }

    fn receive<P: WaitPolicy>(&self, patience: &P) -> Waited<P, T> {
        Ok(match self.wait(|| self.receiver.take_one(), patience)? {
            Watched::Message(taken) => Watched::Message(Receiver::<T, C>::open_taken(taken)?),
            Watched::Ready => Watched::Ready,
        })
    }

    fn lease_with<P: WaitPolicy>(&self, patience: &P) -> Waited<P, Lease<T, C>> {
        Ok(
            match self.wait(|| self.receiver.take_counted_one(), patience)? {
                Watched::Message((count, taken)) => {
                    Watched::Message(Lease::new(count, taken).map_err(Refusal::from)?)
                }
                Watched::Ready => Watched::Ready,
            },
        )
    }

    /// Wait until `take` gives something or the descriptor is ready.
    fn wait<P: WaitPolicy, R>(
        &self,
        take: impl Fn() -> Result<Option<R>, Refusal>,
        patience: &P,
    ) -> Waited<P, R> {
        if self.receiver.handle.is_forked_child() {
            return Err(Refusal::Forked.into());
        }
        self.receiver.handle.count_operation();
        let look = || {
            if self.state.is_ready() {
                return Ok(Some(Watched::Ready));
            }
            Ok(take()?.map(Watched::Message))
        };
        match look()? {
            Some(found) => Ok(found),
            None => self.receiver.wait_for_messages(look, patience),
        }
    }
}

impl<T, C: Codec<T>> Drop for Watch<'_, T, C> {
    fn drop(&mut self) {
        let thread = self.thread.take();
        if self.receiver.handle.is_forked_child() {
            // A forked child has no such thread, and the event is its parent's too.
            core::mem::forget(thread);
            return;
        }
        // Release: pairs with the load in `keep_watch`, after the event.
        self.state.ending.store(true, Ordering::Release);
        self.state.event.set();
        // It does not panic, and if it did, it would have said so itself.
        let _ = thread.map(JoinHandle::join);
    }
}

impl<T, C: Codec<T>> fmt::Debug for Watch<'_, T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("receiver", self.receiver)
            .field("file", &self.state.file)
            .finish_non_exhaustive()
    }
}
