//! The shutdown of a pool, for async callers.
//!
//! A shutdown waits for processes and for time limits, so a thread does it. It is started by the first poll, and ends with the
//! shutdown, also if the future is dropped.

use super::super::report::Report;
use super::super::running::RunningPool;
use super::super::shared::Shared;
use super::super::shutdown::{Shutdown, ShutdownState};
use crate::error::ShutdownError;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use parking_lot::Mutex;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Shuts a pool down. Returned by `shutdown_async`.
///
/// The shutdown begins with the first poll. Dropping the future does not stop it: the pool goes on shutting down, within the
/// same time limits.
#[must_use = "futures do nothing unless polled"]
pub struct ShutdownFuture<'a> {
    pool: &'a RunningPool,
    how: Shutdown,
    timeout: Duration,
    /// The thread, and what it reports to. `None` before the first poll, and once it has ended.
    running: Option<(Arc<Mutex<Progress>>, JoinHandle<()>)>,
}

/// What the thread and the future share.
enum Progress {
    Waiting(Waker),
    Done(Report),
}

impl<'a> ShutdownFuture<'a> {
    pub(in crate::pool::parent) fn new(
        pool: &'a RunningPool,
        how: Shutdown,
        timeout: Duration,
    ) -> Self {
        Self {
            pool,
            how,
            timeout,
            running: None,
        }
    }

    /// Starts the thread, and returns what it will report to.
    fn start(&self, waker: Waker) -> Option<(Arc<Mutex<Progress>>, JoinHandle<()>)> {
        let progress = Arc::new(Mutex::new(Progress::Waiting(waker)));
        let (shared, state) = self.pool.parts();
        let (reported, how, timeout) = (Arc::clone(&progress), self.how, self.timeout);
        let shut_down = move || report(&shared, &state, how, timeout, &reported);
        let thread = thread::Builder::new().name("workring-shutdown".to_owned());
        Some((progress, thread.spawn(shut_down).ok()?))
    }
}

/// Runs the thread.
fn report(
    shared: &Shared,
    state: &ShutdownState,
    how: Shutdown,
    timeout: Duration,
    progress: &Mutex<Progress>,
) {
    let report = state.shut_down(shared, how, timeout);
    let before = core::mem::replace(&mut *progress.lock(), Progress::Done(report));
    if let Progress::Waiting(waker) = before {
        waker.wake();
    }
}

/// Waits for the end of a thread that has reported, so that none is left. The thread itself may be the caller: the waker
/// may poll at once.
fn wait_for_end_of(thread: JoinHandle<()>) {
    if thread.thread().id() != thread::current().id() {
        let _ = thread.join();
    }
}

impl Future for ShutdownFuture<'_> {
    type Output = Result<Report, ShutdownError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.pool.shared().owner.is_current() {
            return Poll::Ready(Err(ShutdownError::Forked));
        }
        // Before the lock, like its drop: it is user code.
        let waker = context.waker().clone();
        let Some((progress, _)) = &self.running else {
            self.running = self.start(waker);
            return match self.running {
                Some(_) => Poll::Pending,
                // The system has no thread left: this one does it.
                None => Poll::Ready(self.pool.shut_down(self.how, self.timeout)),
            };
        };
        // Dropped last, without the lock.
        let _old;
        let report = match &mut *progress.lock() {
            Progress::Done(report) => *report,
            Progress::Waiting(current) => {
                _old = core::mem::replace(current, waker);
                return Poll::Pending;
            }
        };
        if let Some((_, thread)) = self.running.take() {
            wait_for_end_of(thread);
        }
        Poll::Ready(Ok(report))
    }
}

impl fmt::Debug for ShutdownFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownFuture")
            .field("how", &self.how)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
