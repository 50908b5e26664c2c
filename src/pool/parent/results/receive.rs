//! Waiting for a change of the table. One of the waiting threads at a time, the leader, receives results for all.

use super::futures::{self, Futures};
use super::table::TaskTable;
use crate::announce::{defer, is_any_deferred, run_deferred};
use crate::error::{RecvTimeoutError, TryRecvError};
use crate::os::fork::OwnerProcess;
use crate::pool::parent::commands::Commands;
use crate::pool::wire::result_message::{EncodedResult, EncodedResultCodec};
#[cfg(feature = "async")]
use crate::queue::futures::LinePlace;
use crate::queue::{Interrupter, Receiver};
use crate::sync::AtomicBool;
#[cfg(feature = "async")]
use crate::sync::Ordering;
use core::time::Duration;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
#[cfg(feature = "async")]
use std::sync::Weak;
use std::time::Instant;

/// How many results are received at a time: enough that the lock is taken rarely, few enough that none waits for long.
const BATCH: usize = 64;

/// Error text for calls from a forked child.
pub(crate) const FORKED: &str =
    "this process is a forked child of the pool's and has no part in the pool";

/// The table of tasks, and the queue from which their results are received.
pub(crate) struct Results {
    pub(super) state: Mutex<State>,
    changed: Condvar,
    queue: Receiver<EncodedResult, EncodedResultCodec>,
    pub(super) interrupter: Interrupter,
    pub(super) supervisor: Arc<Commands>,
    pub(super) max_unclaimed: usize,
    owner: OwnerProcess,
    /// Whether any future waits, as of the last change. Changed under the lock.
    #[cfg_attr(
        not(feature = "async"),
        expect(dead_code, reason = "only futures need it")
    )]
    pub(super) has_futures: AtomicBool,
    /// For what the reactor calls, and its place in the line of the queue: see [`super::arrival`].
    #[cfg(feature = "async")]
    pub(super) this: Weak<Self>,
    #[cfg(feature = "async")]
    pub(super) place: Mutex<LinePlace>,
}

pub(super) struct State {
    pub(super) tasks: TaskTable,
    /// Whether a thread is the leader (RESULTS-4).
    pub(super) has_leader: bool,
    /// Threads that sleep on `changed`.
    waiters: usize,
    /// Threads that wait to collect (RESULTS-5).
    pub(super) collectors: usize,
    /// The memory into which the leader receives, while there is no leader.
    buffer: Vec<EncodedResult>,
    /// The futures that wait for a change.
    pub(super) futures: Futures,
    /// Whether the reactor receives for them: see [`super::arrival`].
    #[cfg_attr(
        not(feature = "async"),
        expect(dead_code, reason = "only futures need it")
    )]
    pub(super) is_armed: bool,
}

/// Why a wait failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitError {
    /// The deadline has passed.
    TimedOut,
    /// The pool has ended: nothing will arrive.
    Ended,
    /// This process can't learn outcomes, for this reason.
    Unknown(&'static str),
}

impl Results {
    pub(crate) fn new(
        queue: Receiver<EncodedResult, EncodedResultCodec>,
        tasks: TaskTable,
        max_unclaimed: usize,
        supervisor: Arc<Commands>,
        owner: OwnerProcess,
    ) -> Arc<Self> {
        let state = State {
            tasks,
            has_leader: false,
            waiters: 0,
            collectors: 0,
            buffer: Vec::new(),
            futures: Futures::default(),
            is_armed: false,
        };
        #[cfg_attr(
            not(feature = "async"),
            allow(unused_variables, reason = "only the reactor needs it")
        )]
        Arc::new_cyclic(|this| Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            interrupter: queue.interrupter(),
            queue,
            supervisor,
            max_unclaimed,
            owner,
            has_futures: AtomicBool::new(false),
            #[cfg(feature = "async")]
            this: Weak::clone(this),
            #[cfg(feature = "async")]
            place: Mutex::default(),
        })
    }

    /// Returns whether this is the pool's process, and not a forked child of it (RESULTS-9).
    #[inline]
    pub(crate) fn is_in_owner(&self) -> bool {
        self.owner.is_current()
    }

    /// Calls `act` with the table, under the lock. Not for a forked child (RESULTS-9).
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut TaskTable) -> R) -> R {
        act(&mut self.state.lock().tasks)
    }

    /// Calls `act` with the table, under the lock, and lets all waiters look again. Not for a forked child (RESULTS-9).
    pub(crate) fn change<R>(&self, act: impl FnOnce(&mut TaskTable) -> R) -> R {
        self.change_if(|tasks| (act(tasks), true))
    }

    /// Calls `act` with the table, under the lock. If `act` also returns `true`, lets all waiters look again. Not for a
    /// forked child (RESULTS-9).
    pub(super) fn change_if<R>(&self, act: impl FnOnce(&mut TaskTable) -> (R, bool)) -> R {
        let _deferred = defer();
        let _attending = self.attend_afterwards();
        let mut state = self.state.lock();
        let (result, has_changed) = act(&mut state.tasks);
        if has_changed {
            self.wake_all(&mut state);
        }
        result
    }

    /// Makes all waiters look at the table again, the leader included.
    fn wake_all(&self, state: &mut State) {
        futures::wake(state.futures.take_all());
        if state.waiters > 0 {
            self.changed.notify_all();
        }
        if state.has_leader {
            self.interrupter.interrupt();
        }
    }

    /// Waits until `look` returns something, or the deadline passes. While it waits, this thread receives results if no
    /// other one does (RESULTS-4). Without a deadline it waits until the pool ends.
    pub(crate) fn wait_until<R>(
        &self,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut TaskTable) -> Option<R>,
    ) -> Result<R, WaitError> {
        if !self.is_in_owner() {
            return Err(WaitError::Unknown(FORKED));
        }
        let _deferred = defer();
        let _attending = self.attend_afterwards();
        let mut state = self.state.lock();
        loop {
            if let Some(found) = look(&mut state.tasks) {
                return Ok(found);
            }
            if let Some(what) = state.tasks.unknown() {
                return Err(WaitError::Unknown(what));
            }
            if state.tasks.has_ended() {
                return Err(WaitError::Ended);
            }
            if !state.has_leader && state.collectors == 0 {
                let (again, is_late) = self.receive_as_leader(state, deadline);
                state = again;
                if is_late {
                    return look(&mut state.tasks).ok_or(WaitError::TimedOut);
                }
                if is_any_deferred() && !mutant!(NoticesHeldBackInWait) {
                    self.run_deferred_unlocked(&mut state);
                }
                continue;
            }
            state.waiters += 1;
            let is_late = match deadline {
                None => {
                    self.changed.wait(&mut state);
                    false
                }
                Some(deadline) => self.changed.wait_until(&mut state, deadline).timed_out(),
            };
            state.waiters -= 1;
            if is_late {
                return look(&mut state.tasks).ok_or(WaitError::TimedOut);
            }
        }
    }

    /// Runs the deferred notices of this thread, which may go on waiting for long. It is no leader, and others can become it.
    #[cold]
    fn run_deferred_unlocked(&self, state: &mut MutexGuard<'_, State>) {
        MutexGuard::unlocked(state, || {
            drop(self.attend_afterwards());
            run_deferred();
        });
    }

    /// Becomes the leader, receives once, and records the results. Returns whether the deadline has passed.
    fn receive_as_leader<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, State>, bool) {
        let mut leader = Leader::start(self, state);
        let received = leader.receive(deadline);
        let mut state = leader.step_down();
        let mut is_late = false;
        match received {
            Ok(()) | Err(RecvTimeoutError::Interrupted | RecvTimeoutError::Decode(_)) => {}
            Err(RecvTimeoutError::Timeout) => is_late = true,
            // Only the supervisor closes the queue, right before it ends all waits.
            Err(RecvTimeoutError::Closed) => state = self.wait_for_end(state),
            Err(error) => self.fail(&mut state, reason(&error)),
        }
        if state.waiters > 0 {
            self.changed.notify_all();
        }
        (state, is_late)
    }

    /// Waits until the supervisor has ended all waits.
    fn wait_for_end<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while !state.tasks.has_ended() && state.tasks.unknown().is_none() {
            state.waiters += 1;
            self.changed.wait(&mut state);
            state.waiters -= 1;
        }
        state
    }

    /// Receives and records all results that were sent so far, before any other thread receives (RESULTS-5). For the
    /// supervisor.
    pub(crate) fn collect(&self) {
        let _attending = self.attend_afterwards();
        let mut state = self.state.lock();
        state.collectors += 1;
        while state.has_leader {
            self.interrupter.interrupt();
            state.waiters += 1;
            self.changed.wait(&mut state);
            state.waiters -= 1;
        }
        state.collectors -= 1;
        let mut leader = Leader::start(self, state);
        let failure = self.receive_all_sent(&mut leader);
        let mut state = leader.step_down();
        if let Some(error) = failure {
            self.fail(&mut state, reason(&error));
        }
        self.changed.notify_all();
    }

    /// Receives and records the results that were sent so far. Those that are sent meanwhile may be among them, but are not
    /// waited for: tasks that emit values could go on for ever.
    fn receive_all_sent(&self, leader: &mut Leader<'_>) -> Option<RecvTimeoutError> {
        let mut left = self.queue.len();
        loop {
            let received = self
                .queue
                .recv_many_timeout(&mut leader.buffer, BATCH, Duration::ZERO);
            let count = match received {
                Ok(count) => count,
                Err(RecvTimeoutError::Decode(_)) => 1,
                Err(RecvTimeoutError::Interrupted) => 0,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Closed) => return None,
                Err(error) => return Some(error),
            };
            leader.record();
            left = left.saturating_sub(count);
            if left == 0 {
                return None;
            }
        }
    }

    /// Records the results that have arrived, unless another thread is the leader. Never waits.
    pub(crate) fn poll(&self) {
        if !self.is_in_owner() {
            return;
        }
        let _deferred = defer();
        let _attending = self.attend_afterwards();
        self.record_arrived();
    }

    /// Records all results that have arrived, unless another thread is the leader, which then does. Never waits. For the
    /// supervisor.
    pub(crate) fn record_all_arrived(&self) {
        let _attending = self.attend_afterwards();
        let mut batches = 1 + self.queue.len() / BATCH;
        while batches > 0 && self.record_arrived() {
            batches -= 1;
        }
    }

    /// Records a batch of the results that have arrived, unless another thread is the leader. Returns whether there were any.
    /// Never waits.
    pub(super) fn record_arrived(&self) -> bool {
        let state = self.state.lock();
        if state.has_leader || state.collectors > 0 {
            return false;
        }
        let mut leader = Leader::start(self, state);
        let received = leader.try_receive();
        let mut state = leader.step_down();
        let has_received = received.is_ok();
        match received {
            // Only the supervisor closes the queue, right before it ends all waits.
            Ok(()) | Err(TryRecvError::Empty | TryRecvError::Decode(_) | TryRecvError::Closed) => {}
            Err(TryRecvError::Corrupt { what }) => self.fail(&mut state, what),
            Err(_) => self.fail(&mut state, FORKED),
        }
        if state.waiters > 0 {
            self.changed.notify_all();
        }
        has_received
    }

    /// Notes why no more results can be received, and lets all waiters look again.
    #[cold]
    fn fail(&self, state: &mut State, what: &'static str) {
        state.tasks.set_unknown(what);
        self.wake_all(state);
    }

    /// Returns a guard that attends to the futures that wait, once it is dropped. It is made before the lock is taken, so
    /// that it is dropped after the lock is released.
    pub(super) fn attend_afterwards(&self) -> Attending<'_> {
        Attending(self)
    }

    /// Returns the results queue, to report dead processes to it, and to close it.
    pub(crate) fn queue(&self) -> &Receiver<EncodedResult, EncodedResultCodec> {
        &self.queue
    }
}

/// Attends to the futures that wait, when it is dropped: see [`super::arrival`].
#[cfg_attr(
    not(feature = "async"),
    expect(dead_code, reason = "only futures need it")
)]
pub(super) struct Attending<'a>(&'a Results);

impl Drop for Attending<'_> {
    #[inline]
    fn drop(&mut self) {
        // Relaxed: what this thread saw under the lock comes before.
        #[cfg(feature = "async")]
        if self.0.has_futures.load(Ordering::Relaxed) && !mutant!(FuturesLeftBehind) {
            self.0.attend();
        }
    }
}

/// The role of the leader (RESULTS-4), with results that are received and not yet recorded. Dropping it records them
/// and gives the role up (RESULTS-8).
struct Leader<'a> {
    results: &'a Results,
    buffer: Vec<EncodedResult>,
    has_stepped_down: bool,
}

impl<'a> Leader<'a> {
    /// Makes this thread the leader. There must be none.
    fn start(results: &'a Results, mut state: MutexGuard<'a, State>) -> Self {
        state.has_leader = true;
        Self {
            results,
            buffer: core::mem::take(&mut state.buffer),
            has_stepped_down: false,
        }
    }

    /// Receives a result, and then as many as have arrived by then, but not more than a batch.
    ///
    /// One by one: that costs less than `recv_many`, which is for batches that were sent as such.
    fn receive(&mut self, deadline: Option<Instant>) -> Result<(), RecvTimeoutError> {
        let queue = &self.results.queue;
        let first = match deadline {
            None => queue.recv()?,
            Some(deadline) => queue.recv_deadline(deadline)?,
        };
        self.receive_more(first);
        Ok(())
    }

    /// Receives as many results as have arrived, but not more than a batch. Fails if there is none.
    fn try_receive(&mut self) -> Result<(), TryRecvError> {
        let first = self.results.queue.try_recv()?;
        self.receive_more(first);
        Ok(())
    }

    fn receive_more(&mut self, first: EncodedResult) {
        self.buffer.push(first);
        // A result without a header is ignored, here and by the callers. The next call meets any other failure again.
        while self.buffer.len() < BATCH
            && let Ok(next) = self.results.queue.try_recv()
        {
            self.buffer.push(next);
        }
    }

    /// Records what has been received so far.
    fn record(&mut self) {
        let mut state = self.results.state.lock();
        self.record_in(&mut state);
    }

    fn record_in(&mut self, state: &mut State) {
        if self.buffer.is_empty() {
            return;
        }
        let mut woken = Vec::new();
        for received in &mut self.buffer {
            let id = received.outcome.id;
            state.futures.take_for_task(id, &mut woken);
            state.tasks.record_result(received);
        }
        self.buffer.clear();
        woken.extend(state.futures.take_others());
        futures::wake(woken);
    }

    /// Records what has been received, and gives up the role. The caller wakes the waiters.
    fn step_down(mut self) -> MutexGuard<'a, State> {
        let mut state = self.results.state.lock();
        self.end(&mut state);
        state
    }

    fn end(&mut self, state: &mut State) {
        self.record_in(state);
        state.buffer = core::mem::take(&mut self.buffer);
        state.has_leader = false;
        self.has_stepped_down = true;
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if !self.has_stepped_down && self.results.is_in_owner() {
            let mut state = self.results.state.lock();
            self.end(&mut state);
            self.results.changed.notify_all();
        }
    }
}

/// Returns why no more results can be received.
fn reason(error: &RecvTimeoutError) -> &'static str {
    match error {
        RecvTimeoutError::Forked => FORKED,
        RecvTimeoutError::Corrupt { what } => what,
        _ => "the results can't be received",
    }
}

#[cfg(test)]
mod tests;
