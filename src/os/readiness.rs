//! Waiting for descriptors in the background: one thread of the process waits for all of them, in `epoll(7)`, and calls
//! a function for each one that becomes ready.
//!
//! The thread is started for the first [`Registration`] and ends with the last one. Each registration is
//!
//! | state | in the epoll          | becomes                                                                           |
//! |-------|-----------------------|-----------------------------------------------------------------------------------|
//! | Armed | enabled               | Fired, by the kernel, when the descriptor is ready; then its function is called    |
//! | Fired | disabled              | Armed, by [`Registration::arm`]                                                    |
//!
//! READY-1. A function is called once for each time its registration was armed and the descriptor was ready, also if it
//!     was ready before. It is not called any more when dropping the registration has returned.
//! READY-2. All state belongs to one process ([`Hub`]). A forked child has a copy, no thread, and perhaps a locked lock:
//!     it leaves the copy alone, and makes a hub of its own for registrations of its own.
//!     A waker that it has returned may still be called.
//! READY-3. If the epoll cannot be waited for any more, for example because the program has closed all descriptors,
//!     every function is called, and each arming calls it again: those that wait find out for themselves.
//! READY-4. Wakers are user code: they may drop registrations, also the last one, and may panic. So the thread calls them
//!     without a lock, and does not wait for its own end.

use super::fork::OwnerProcess;
use super::poll::{Epoll, EventFd};
use crate::sync::{AtomicPtr, Ordering};
use core::fmt;
use core::mem;
use core::ptr;
use core::task::Waker;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// A descriptor that is waited for.
pub(crate) struct Registration {
    hub: &'static Hub,
    key: u64,
    file: OwnedFd,
    entry: Arc<Entry>,
    /// The epoll that the descriptor is in. `None` if the kernel cannot wait for it, which means that it is always
    /// ready: a regular file.
    epoll: Option<Arc<Running>>,
}

struct Entry {
    /// `None` once the registration is dropped.
    on_ready: Mutex<Option<OnReady>>,
}

/// What is called. Returns wakers to be called after it.
type OnReady = Box<dyn FnMut() -> Vec<Waker> + Send>;

/// The registrations of one process, and its thread. Never freed: a process has one.
struct Hub {
    owner: OwnerProcess,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<u64, Arc<Entry>>,
    next_key: u64,
    /// The thread, as long as there are entries.
    running: Option<(Arc<Running>, JoinHandle<()>)>,
}

/// What one thread waits with.
struct Running {
    epoll: Epoll,
    end: EventFd,
}

/// The key of [`Running::end`].
const END: u64 = u64::MAX;

/// The hub of this process or, right after a fork, of its parent. Not a lock, as a fork could leave it locked.
static CURRENT: AtomicPtr<Hub> = AtomicPtr::new(ptr::null_mut());

impl Hub {
    fn current() -> io::Result<&'static Self> {
        let owner = OwnerProcess::current()?;
        loop {
            // Acquire: pairs with the exchange below.
            let current = CURRENT.load(Ordering::Acquire);
            // SAFETY: the pointer is null, or was published below; what is published is never freed.
            let hub = unsafe { current.as_ref() };
            if let Some(hub) = hub.filter(|hub| hub.owner.is_current()) {
                return Ok(hub);
            }
            let new = Box::new(Self {
                owner,
                state: Mutex::default(),
            });
            let new = Box::into_raw(new);
            // AcqRel: publishes the hub.
            if CURRENT
                .compare_exchange(current, new, Ordering::AcqRel, Ordering::Relaxed)
                .is_err()
            {
                // Another thread was first.
                // SAFETY: the pointer is from `Box::into_raw`, and was not published.
                drop(unsafe { Box::from_raw(new) });
            }
        }
    }

    /// Runs the thread.
    fn run(&self, running: &Running) {
        loop {
            let Ok(keys) = running.epoll.wait(None) else {
                // READY-3.
                let entries: Vec<_> = self.state.lock().entries.values().cloned().collect();
                for entry in entries {
                    entry.call();
                }
                return;
            };
            for key in keys {
                if key == END {
                    return;
                }
                let entry = self.state.lock().entries.get(&key).cloned();
                if let Some(entry) = entry {
                    entry.call();
                    // A waker may have forked.
                    if !self.owner.is_current() {
                        return;
                    }
                }
            }
        }
    }
}

impl State {
    /// Returns what the thread waits with. Starts the thread if there is none.
    fn running(&mut self, hub: &'static Hub) -> io::Result<Arc<Running>> {
        if let Some((running, thread)) = &self.running
            && !thread.is_finished()
        {
            return Ok(Arc::clone(running));
        }
        let running = Arc::new(Running::new()?);
        let theirs = Arc::clone(&running);
        let thread = thread::Builder::new().name("workring-ready".to_owned());
        let thread = thread.spawn(move || hub.run(&theirs))?;
        self.running = Some((Arc::clone(&running), thread));
        Ok(running)
    }
}

impl Running {
    fn new() -> io::Result<Self> {
        let (epoll, end) = (Epoll::new()?, EventFd::new()?);
        epoll.add(&end, END)?;
        Ok(Self { epoll, end })
    }
}

impl Entry {
    fn call(&self) {
        let woken = self.on_ready.lock().as_mut().map(|on_ready| on_ready());
        for waker in woken.into_iter().flatten() {
            // User code (READY-4). The panic hook has reported a panic, and dropping its payload could panic again.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
                mem::forget(payload);
            }
        }
    }
}

impl Registration {
    /// Registers a descriptor, and arms it: when it is ready, a thread of the library calls `on_ready`, once, until it is
    /// armed again, and then the wakers that it returns. The function must be short, must not block or panic, and must
    /// neither arm nor drop a registration.
    ///
    /// # Errors
    ///
    /// The system has no descriptor or no thread left.
    pub(crate) fn new(
        file: OwnedFd,
        on_ready: impl FnMut() -> Vec<Waker> + Send + 'static,
    ) -> io::Result<Self> {
        let hub = Hub::current()?;
        let entry = Arc::new(Entry {
            on_ready: Mutex::new(Some(Box::new(on_ready))),
        });
        let mut state = hub.state.lock();
        let running = state.running(hub)?;
        let key = state.next_key;
        // Before the descriptor is added: the thread may find it ready at once.
        state.entries.insert(key, Arc::clone(&entry));
        state.next_key += 1;
        let added = running.epoll.add_once(&file, key);
        drop(state);
        let mut registration = Self {
            hub,
            key,
            file,
            entry,
            epoll: Some(running),
        };
        match added {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                registration.epoll = None;
                registration.entry.call();
            }
            Err(error) => return Err(error),
        }
        Ok(registration)
    }

    /// Arms the registration again after its function was called. Does nothing if it is armed. Does not block.
    pub(crate) fn arm(&self) {
        let epoll = self.epoll.as_ref().map(|running| &running.epoll);
        if epoll.is_none_or(|epoll| epoll.rearm(&self.file, self.key).is_err()) {
            // Always ready, or READY-3.
            self.entry.call();
        }
    }
}

impl AsFd for Registration {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if !self.hub.owner.is_current() {
            // READY-2: the function may refer to anything. The copy of the descriptor is closed.
            mem::forget(Arc::clone(&self.entry));
            return;
        }
        let mut state = self.hub.state.lock();
        state.entries.remove(&self.key);
        if let Some(running) = &self.epoll {
            running.epoll.remove(&self.file);
        }
        let last = state.entries.is_empty() && !mutant!(ReadyThreadStays);
        let ended = last.then(|| state.running.take()).flatten();
        drop(state);
        // Waits for a call that is under way (READY-1).
        let on_ready = self.entry.on_ready.lock().take();
        drop(on_ready);
        if let Some((running, thread)) = ended {
            running.end.set();
            if thread.thread().id() != thread::current().id() {
                // It does not panic.
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
