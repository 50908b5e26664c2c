//! Where the crate calls code of the program to tell it something, a `tracing` subscriber or a pool's listener: at a moment,
//! and on a thread, at which nothing of the crate depends on when that code returns, or whether it does.
//!
//! | thread                        | what it has to [`announce`]                                              |
//! |-------------------------------|---------------------------------------------------------------------|
//! | a pool's supervisor           | is said by its [`Announcer`], a thread that is started for it       |
//! | one that has asked for [`defer`] | is said by itself, when it has let go of what it holds           |
//! | any other                     | is said at once, and a panic of it reaches the caller               |
//!
//! The thread of an announcer:
//!
//! | state    | means                                               | leaves it                                        |
//! |----------|-----------------------------------------------------|--------------------------------------------------|
//! | none     | there was nothing to say yet                        | the first notice starts it                       |
//! | there    | it says notices one by one, in the order of arrival | the end of the pool, once all are said           |
//! | left     | it did not get through in time, or ends the pool itself | whenever the code that it calls returns      |
//!
//! ANNOUNCE-1. Each notice is said once, those of a pool in order and by one thread; of those that wait, a panic of one does
//!             not keep the next one from being said, and reaches nothing else.
//! ANNOUNCE-2. When [`BACKLOG`] of them wait, those that there may be many of are left out, and counted: what workers say of
//!             tasks, and what they log. So are those that still wait after half of the time that the end of a pool has for
//!             them. What is said of the lives of workers never is.

use core::cell::RefCell;
use core::time::Duration;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Something to be said, by code of the program.
pub(crate) type Notice = Box<dyn FnOnce() + Send>;

/// So many notices may wait before some are left out.
const BACKLOG: usize = 1 << 16;

thread_local! {
    static OUTLET: RefCell<Outlet> = const { RefCell::new(Outlet::None) };
    /// The announcer whose notices this thread says.
    static VOICE: RefCell<Option<Arc<Queue>>> = const { RefCell::new(None) };
}

/// Where a thread's notices go.
enum Outlet {
    None,
    Announcer(Arc<Queue>),
    Later(Vec<Notice>),
}

/// Whether a notice may be left out (ANNOUNCE-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Importance {
    Lifecycle,
    Detail,
}

/// Says something: see the table.
pub(crate) fn announce(importance: Importance, notice: Notice) {
    let now = OUTLET.with_borrow_mut(|outlet| match outlet {
        Outlet::None => Some(notice),
        Outlet::Announcer(queue) => {
            queue.push(importance, notice);
            None
        }
        Outlet::Later(notices) => {
            notices.push(notice);
            None
        }
    });
    if let Some(notice) = now {
        notice();
    }
}

fn said(notice: Notice) {
    // What it leaves half done is the program's own. Its panic was reported by the hook.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(notice)) {
        // Its `Drop` may panic in turn.
        core::mem::forget(payload);
    }
}

/// Until the guard is dropped, this thread keeps what it has to say, and then says it. Within another one, and on the
/// thread of a supervisor, it changes nothing.
pub(crate) fn defer() -> DeferGuard {
    let is_outermost = OUTLET.with_borrow_mut(|outlet| {
        let is_outermost = matches!(outlet, Outlet::None);
        if is_outermost {
            *outlet = Outlet::Later(Vec::new());
        }
        is_outermost
    });
    DeferGuard { is_outermost }
}

/// See [`defer`].
#[must_use = "when it is dropped, what waits is said"]
#[derive(Debug)]
pub(crate) struct DeferGuard {
    is_outermost: bool,
}

impl Drop for DeferGuard {
    fn drop(&mut self) {
        if !self.is_outermost {
            return;
        }
        if let Outlet::Later(notices) = OUTLET.replace(Outlet::None) {
            notices.into_iter().for_each(said);
        }
    }
}

/// This thread waits for the end of a pool. If it is the pool's own announcer, the end does not wait for it.
pub(crate) fn exempt_from_shutdown() {
    if let Some(queue) = VOICE.with_borrow(Clone::clone) {
        queue.state.lock().is_let_go = true;
        queue.changed.notify_all();
    }
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Importance, Notice)>,
    left_out: u64,
    thread: Option<JoinHandle<()>>,
    /// Nothing will be added.
    is_closed: bool,
    /// All have been said.
    is_over: bool,
    /// Nobody is to wait for that.
    is_let_go: bool,
}

impl State {
    /// Takes out what may be left out, and counts it.
    fn leave_details_out(&mut self) -> VecDeque<(Importance, Notice)> {
        let waiting = core::mem::take(&mut self.waiting);
        let (details, lives): (VecDeque<_>, VecDeque<_>) = waiting
            .into_iter()
            .partition(|(importance, _)| *importance == Importance::Detail);
        self.waiting = lives;
        self.left_out += details.len() as u64;
        details
    }
}

impl Queue {
    fn push(self: &Arc<Self>, importance: Importance, notice: Notice) {
        let mut state = self.state.lock();
        if importance == Importance::Detail && state.waiting.len() >= BACKLOG {
            state.left_out += 1;
            drop(state);
            drop(notice);
            return;
        }
        state.waiting.push_back((importance, notice));
        self.start(&mut state);
        self.changed.notify_all();
    }

    /// Makes sure that there is a thread. If the system has none now, notices wait for the next of them.
    fn start(self: &Arc<Self>, state: &mut State) {
        if state.thread.is_none() && !state.waiting.is_empty() {
            let queue = Arc::clone(self);
            let builder = thread::Builder::new().name("workring-events".to_owned());
            state.thread = builder.spawn(move || queue.run()).ok();
        }
    }

    /// The whole life of the thread.
    fn run(self: Arc<Self>) {
        VOICE.set(Some(Arc::clone(&self)));
        while let Some((notice, left_out)) = self.next() {
            if left_out > 0 {
                said(Box::new(move || report_left_out(left_out)));
            }
            said(notice);
        }
        self.state.lock().is_over = true;
        self.changed.notify_all();
    }

    fn next(&self) -> Option<(Notice, u64)> {
        let mut state = self.state.lock();
        loop {
            if let Some((_, notice)) = state.waiting.pop_front() {
                return Some((notice, core::mem::take(&mut state.left_out)));
            }
            if state.is_closed {
                let left_out = core::mem::take(&mut state.left_out);
                return (left_out > 0).then(|| (Box::new(|| {}) as Notice, left_out));
            }
            self.changed.wait(&mut state);
        }
    }

    /// False: it is late.
    fn wait(&self, state: &mut MutexGuard<'_, State>, deadline: Option<Instant>) -> bool {
        if let Some(deadline) = deadline {
            return !self.changed.wait_until(state, deadline).timed_out();
        }
        self.changed.wait(state);
        true
    }
}

/// The announcer of a pool, which belongs to the supervisor's thread.
pub(crate) struct Announcer(Arc<Queue>);

impl Announcer {
    /// From now on what this thread [says](announce) is said by another one.
    pub(crate) fn for_this_thread() -> Self {
        let queue = Arc::<Queue>::default();
        OUTLET.set(Outlet::Announcer(Arc::clone(&queue)));
        Self(queue)
    }

    /// Closes the announcer and waits until all is said, at most for `patience`.
    pub(crate) fn close(self, patience: Duration) {
        let Self(queue) = self;
        OUTLET.set(Outlet::None);
        let now = Instant::now();
        let mut for_details = now.checked_add(patience / 2);
        let deadline = now.checked_add(patience);
        let mut state = queue.state.lock();
        queue.start(&mut state);
        state.is_closed = true;
        queue.changed.notify_all();
        while state.thread.is_some() && !state.is_over && !state.is_let_go {
            if queue.wait(&mut state, for_details.or(deadline)) {
                continue;
            }
            if for_details.take().is_none() {
                return;
            }
            let details = state.leave_details_out();
            // They are dropped without the lock.
            MutexGuard::unlocked(&mut state, || drop(details));
        }
        let thread = state.thread.take().filter(|_| state.is_over);
        drop(state);
        if let Some(thread) = thread {
            // It is at its end.
            let _ = thread.join();
        }
    }
}

#[cfg(feature = "tracing")]
fn report_left_out(count: u64) {
    tracing::error!(
        target: "workring",
        count,
        "a pool's events came faster than its listener and subscriber take them: some were left out"
    );
}

#[cfg(not(feature = "tracing"))]
fn report_left_out(_: u64) {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn what_is_to_be_said_later_is_said_when_the_outermost_guard_goes() {
        let (say_it, heard) = mpsc::channel();
        let tell = |what: u32| {
            let say_it = say_it.clone();
            announce(
                Importance::Lifecycle,
                Box::new(move || {
                    let _ = say_it.send(what);
                }),
            );
        };
        let outer = defer();
        tell(1);
        drop(defer());
        tell(2);
        assert!(heard.try_recv().is_err());
        announce(Importance::Lifecycle, Box::new(|| panic!("a subscriber")));
        tell(3);
        drop(outer);
        tell(4);
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn an_announcer_says_all_in_order_also_after_a_panic_and_leaves_details_out_when_there_are_too_many()
     {
        let (say_it, heard) = mpsc::channel();
        let (open, gate) = mpsc::channel::<()>();
        thread::spawn(move || {
            let announcer = Announcer::for_this_thread();
            announce(
                Importance::Lifecycle,
                Box::new(move || {
                    let _ = gate.recv();
                }),
            );
            announce(Importance::Lifecycle, Box::new(|| panic!("a listener")));
            for n in 0..2 * BACKLOG {
                let say_it = say_it.clone();
                announce(
                    Importance::Detail,
                    Box::new(move || {
                        let _ = say_it.send(n);
                    }),
                );
            }
            let last = say_it.clone();
            announce(
                Importance::Lifecycle,
                Box::new(move || {
                    let _ = last.send(usize::MAX);
                }),
            );
            drop(say_it);
            drop(open);
            announcer.close(Duration::MAX);
        })
        .join()
        .expect("no panic comes here");
        let heard: Vec<_> = heard.try_iter().collect();
        assert!(heard.len() > BACKLOG / 2 && heard.len() <= 2 * BACKLOG);
        assert!(heard.is_sorted());
        assert_eq!(heard.last(), Some(&usize::MAX));
    }

    #[test]
    fn the_end_does_not_wait_for_a_listener_that_ends_the_pool_or_never_returns() {
        for ends_it in [true, false] {
            let (open, gate) = mpsc::channel::<()>();
            let announcer = Announcer::for_this_thread();
            let hangs = move || {
                if ends_it {
                    exempt_from_shutdown();
                }
                let _ = gate.recv();
            };
            announce(Importance::Lifecycle, Box::new(hangs));
            let patience = if ends_it {
                Duration::MAX
            } else {
                Duration::ZERO
            };
            announcer.close(patience);
            drop(open);
        }
    }
}
