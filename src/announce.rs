//! Calls to code of the program that informs it: events of `tracing`, and a pool's listener. Such code may be slow,
//! panic, or never return, so it runs at a moment, and on a thread, at which nothing in this crate waits for it.
//!
//! A *notice* is one such call. Where [`announce`] runs it depends on the calling thread:
//!
//! | calling thread      | notice                                                         |
//! | ------------------- | -------------------------------------------------------------- |
//! | a pool's supervisor | runs on a thread of its [`Announcer`], which is started for it |
//! | inside [`defer`]    | runs on this thread, once it has released what it holds        |
//! | any other           | runs at once; a panic reaches the caller                       |
//!
//! A thread that waits for long inside [`defer`] runs its notices in between, by [`run_deferred`].
//!
//! The thread of an announcer:
//!
//! | state    | meaning                                                 | ends with                                 |
//! | -------- | ------------------------------------------------------- | ----------------------------------------- |
//! | none     | there was no notice yet                                 | the first notice, which starts the thread |
//! | running  | runs notices one by one, in the order of arrival        | the end of the pool, once all have run    |
//! | detached | has not finished in time, or shuts down the pool itself | the return of the code that it calls      |
//!
//! ANNOUNCE-1. Each notice runs once, those of a pool in order and on one thread. A panic of a deferred notice, or of
//!             one on an announcer's thread, keeps no other notice from running and affects nothing else.
//! ANNOUNCE-2. Notices of [`Importance::Detail`], of which there may be very many (one for each task or log record of a
//!             worker), are dropped and counted while [`BACKLOG`] notices wait. At the end of a pool, those that still
//!             wait after half of the time limit are dropped, too. Notices of [`Importance::Lifecycle`] are never
//!             dropped.

use core::cell::RefCell;
use core::time::Duration;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// A call to code of the program.
pub(crate) type Notice = Box<dyn FnOnce() + Send>;

/// The number of waiting notices at which details are dropped.
const BACKLOG: usize = 1 << 16;

thread_local! {
    /// Where notices of this thread go.
    static OUTLET: RefCell<Outlet> = const { RefCell::new(Outlet::Immediate) };
    /// The queue whose notices this thread runs, if it is an announcer's thread.
    static RUNS_NOTICES_OF: RefCell<Option<Arc<Queue>>> = const { RefCell::new(None) };
}

/// Where notices of a thread go: see the module's first table.
enum Outlet {
    Immediate,
    Announcer(Arc<Queue>),
    Deferred(Vec<Notice>),
}

/// Whether a notice may be dropped (ANNOUNCE-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Importance {
    /// About the life of a worker or a peer. Never dropped.
    Lifecycle,
    /// About a task or a log record. Dropped if too many notices wait.
    Detail,
}

/// Runs a notice, or passes it on: see the module's first table.
pub(crate) fn announce(importance: Importance, notice: Notice) {
    let run_now = OUTLET.with_borrow_mut(|outlet| match outlet {
        Outlet::Immediate => Some(notice),
        Outlet::Announcer(queue) => {
            queue.push(importance, notice);
            None
        }
        Outlet::Deferred(notices) => {
            notices.push(notice);
            None
        }
    });
    if let Some(notice) = run_now {
        notice();
    }
}

/// Runs a notice and catches its panic, which the panic hook has reported already.
fn run_caught(notice: Notice) {
    // What the notice leaves half done is data of the program, not of this crate.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(notice)) {
        // Dropping the payload might panic in turn.
        core::mem::forget(payload);
    }
}

/// Defers the notices of this thread until the returned guard is dropped, which runs them. Has no effect inside another
/// guard, and on a supervisor's thread.
pub(crate) fn defer() -> DeferGuard {
    let is_outermost = OUTLET.with_borrow_mut(|outlet| {
        let is_outermost = matches!(outlet, Outlet::Immediate);
        if is_outermost {
            *outlet = Outlet::Deferred(Vec::new());
        }
        is_outermost
    });
    DeferGuard { is_outermost }
}

/// Returns whether any notices of this thread are deferred.
#[inline]
pub(crate) fn is_any_deferred() -> bool {
    OUTLET.with_borrow(|outlet| matches!(outlet, Outlet::Deferred(notices) if !notices.is_empty()))
}

/// Runs the deferred notices of this thread, which holds nothing, and goes on deferring.
pub(crate) fn run_deferred() {
    let take = || {
        OUTLET.with_borrow_mut(|outlet| match outlet {
            Outlet::Deferred(notices) => core::mem::take(notices),
            _ => Vec::new(),
        })
    };
    loop {
        let notices = take();
        if notices.is_empty() {
            return;
        }
        notices.into_iter().for_each(run_caught);
    }
}

/// Runs the deferred notices when it is dropped: see [`defer`].
#[must_use = "dropping it runs the deferred notices"]
#[derive(Debug)]
pub(crate) struct DeferGuard {
    is_outermost: bool,
}

impl Drop for DeferGuard {
    fn drop(&mut self) {
        if !self.is_outermost {
            return;
        }
        if let Outlet::Deferred(notices) = OUTLET.replace(Outlet::Immediate) {
            notices.into_iter().for_each(run_caught);
        }
    }
}

/// Exempts the calling thread from the wait for all notices at the end of a pool. Called by a thread that is about to
/// wait for that end: if it is the pool's own announcer thread, both would wait for each other.
pub(crate) fn exempt_from_shutdown() {
    if let Some(queue) = RUNS_NOTICES_OF.with_borrow(Clone::clone) {
        queue.state.lock().is_detached = true;
        queue.changed.notify_all();
    }
}

/// The notices of one announcer, shared with its thread.
#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Importance, Notice)>,
    /// Number of notices dropped since this was last reported.
    dropped: u64,
    thread: Option<JoinHandle<()>>,
    /// No more notices will be added.
    is_closed: bool,
    /// All notices have run.
    is_finished: bool,
    /// [`Announcer::close`] does not wait for the thread.
    is_detached: bool,
}

impl State {
    /// Removes and counts the details that wait. Returns them, so that the caller can drop them without the lock.
    fn take_details(&mut self) -> VecDeque<(Importance, Notice)> {
        let waiting = core::mem::take(&mut self.waiting);
        let (details, others): (VecDeque<_>, VecDeque<_>) = waiting
            .into_iter()
            .partition(|(importance, _)| *importance == Importance::Detail);
        self.waiting = others;
        self.dropped += details.len() as u64;
        details
    }
}

impl Queue {
    fn push(self: &Arc<Self>, importance: Importance, notice: Notice) {
        let mut state = self.state.lock();
        if importance == Importance::Detail && state.waiting.len() >= BACKLOG {
            state.dropped += 1;
            // The notice is code of the program: it is dropped without the lock.
            drop(state);
            drop(notice);
            return;
        }
        state.waiting.push_back((importance, notice));
        self.start_thread(&mut state);
        self.changed.notify_all();
    }

    /// Starts the thread if there are notices and no thread yet. If the system refuses, the next notice tries again.
    fn start_thread(self: &Arc<Self>, state: &mut State) {
        if state.thread.is_none() && !state.waiting.is_empty() {
            let queue = Arc::clone(self);
            let builder = thread::Builder::new().name("workring-events".to_owned());
            state.thread = builder.spawn(move || queue.run()).ok();
        }
    }

    /// Runs notices on the announcer's thread until the queue is closed and empty.
    fn run(self: Arc<Self>) {
        RUNS_NOTICES_OF.set(Some(Arc::clone(&self)));
        while let Some((notice, dropped)) = self.next() {
            if dropped > 0 {
                run_caught(Box::new(move || report_dropped(dropped)));
            }
            run_caught(notice);
        }
        self.state.lock().is_finished = true;
        self.changed.notify_all();
    }

    /// Blocks until there is a notice. Returns it and the number dropped before it; `None` once the queue is closed and
    /// empty.
    fn next(&self) -> Option<(Notice, u64)> {
        let mut state = self.state.lock();
        loop {
            if let Some((_, notice)) = state.waiting.pop_front() {
                return Some((notice, core::mem::take(&mut state.dropped)));
            }
            if state.is_closed {
                let dropped = core::mem::take(&mut state.dropped);
                return (dropped > 0).then(|| (Box::new(|| {}) as Notice, dropped));
            }
            self.changed.wait(&mut state);
        }
    }

    /// Blocks until the state has changed. Returns false after `deadline`.
    fn wait(&self, state: &mut MutexGuard<'_, State>, deadline: Option<Instant>) -> bool {
        if let Some(deadline) = deadline {
            return !self.changed.wait_until(state, deadline).timed_out();
        }
        self.changed.wait(state);
        true
    }
}

/// Runs the notices of a pool's supervisor on another thread. Belongs to the supervisor's thread.
pub(crate) struct Announcer(Arc<Queue>);

impl Announcer {
    /// Passes the notices of the calling thread to an announcer's thread from now on.
    pub(crate) fn for_this_thread() -> Self {
        let queue = Arc::<Queue>::default();
        OUTLET.set(Outlet::Announcer(Arc::clone(&queue)));
        Self(queue)
    }

    /// Closes the announcer and waits until all notices have run, for at most `time_limit` (ANNOUNCE-2).
    pub(crate) fn close(self, time_limit: Duration) {
        let Self(queue) = self;
        OUTLET.set(Outlet::Immediate);
        let now = Instant::now();
        let mut details_deadline = now.checked_add(time_limit / 2);
        let deadline = now.checked_add(time_limit);
        let mut state = queue.state.lock();
        queue.start_thread(&mut state);
        state.is_closed = true;
        queue.changed.notify_all();
        while state.thread.is_some() && !state.is_finished && !state.is_detached {
            if queue.wait(&mut state, details_deadline.or(deadline)) {
                continue;
            }
            if details_deadline.take().is_none() {
                return;
            }
            let details = state.take_details();
            // The notices are code of the program: they are dropped without the lock.
            MutexGuard::unlocked(&mut state, || drop(details));
        }
        let thread = state.thread.take().filter(|_| state.is_finished);
        drop(state);
        if let Some(thread) = thread {
            // The thread has nothing left to do, so this does not block for long.
            let _ = thread.join();
        }
    }
}

#[cfg(feature = "tracing")]
fn report_dropped(count: u64) {
    tracing::error!(
        target: "workring",
        count,
        "a pool dropped some events, because its listener or the `tracing` subscriber is too slow: make \
         it faster"
    );
}

#[cfg(not(feature = "tracing"))]
fn report_dropped(_: u64) {}

#[cfg(test)]
mod tests;
