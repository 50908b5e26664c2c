//! Receiving results: one thread at a time, which the others wait for.

use super::state::{State, WaitError};
use super::streams::Streams;
use crate::announce::defer;
use crate::error::RecvTimeoutError;
use crate::os::fork::OwnerProcess;
use crate::pool::pace::Pace;
use crate::pool::parent::commands::Commands;
use crate::pool::parent::report::TaskStats;
use crate::pool::wire::result_message::{EncodedResult, EncodedResultCodec};
use crate::queue::{Interrupter, Receiver};
use core::time::Duration;
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

/// Results received at a time: enough that the lock is taken rarely, few enough that none waits for long.
const BATCH: usize = 64;

/// What a forked child of the pool's process gets to receive.
pub(crate) const FORKED: &str = "this process was forked from the pool's, and has no part in it";

pub(crate) struct Results {
    pub(in crate::pool::parent::results) state: Mutex<State>,
    pub(in crate::pool::parent::results) changed: Condvar,
    pub(in crate::pool::parent::results) queue: Receiver<EncodedResult, EncodedResultCodec>,
    pub(in crate::pool::parent::results) interrupter: Interrupter,
    pub(in crate::pool::parent::results) supervisor: Arc<Commands>,
    pub(in crate::pool::parent::results) max_unclaimed: usize,
    pub(in crate::pool::parent::results) origin: OwnerProcess,
}

impl Results {
    /// Room for `capacity` tasks in flight, with `places` for them: a power of two, more than the capacity.
    pub(crate) fn new(
        results: Receiver<EncodedResult, EncodedResultCodec>,
        capacity: usize,
        places: usize,
        max_unclaimed_results: usize,
        supervisor: Arc<Commands>,
        origin: OwnerProcess,
    ) -> Self {
        debug_assert!(places.is_power_of_two() && places > capacity);
        let state = State {
            open: true,
            ended: false,
            unknown: None,
            outage: None,
            next: 0,
            entries: vec![None; places],
            in_flight: 0,
            owned: 0,
            capacity,
            wake_above: usize::MAX,
            shortest_limit: None,
            for_handles: HashMap::new(),
            unclaimed: VecDeque::new(),
            streams: Streams::default(),
            task_stats: TaskStats::default(),
            has_leader: false,
            waiters: 0,
            pace: Pace::default(),
            collecting: 0,
            buffer: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            interrupter: results.interrupter(),
            queue: results,
            supervisor,
            max_unclaimed: max_unclaimed_results,
            origin,
        }
    }

    /// Whether this is the pool's process, and not a forked child of it (RESULTS-9).
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        self.origin.is_current()
    }

    /// Do something with the state, in a moment. Not in a forked child (RESULTS-9).
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state.lock())
    }

    /// As [`with`](Results::with), where others may be waiting for what it changes.
    pub(crate) fn change<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.lock();
        let result = act(&mut state);
        self.wake_waiters(&state);
        result
    }

    /// All look again: those who sleep, and the leader.
    pub(crate) fn wake_waiters(&self, state: &State) {
        if state.waiters > 0 {
            self.changed.notify_all();
        }
        if state.has_leader {
            self.interrupter.interrupt();
        }
    }

    /// Wait until `look` finds something, receiving results meanwhile if nobody else does (RESULTS-4).
    pub(crate) fn wait_until<R>(
        &self,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut State) -> Option<R>,
    ) -> Result<R, WaitError> {
        if !self.is_here() {
            return Err(WaitError::Unknown(FORKED));
        }
        let _later = defer();
        let mut state = self.state.lock();
        loop {
            if let Some(found) = look(&mut state) {
                return Ok(found);
            }
            if let Some(what) = state.unknown {
                return Err(WaitError::Unknown(what));
            }
            if state.ended {
                return Err(WaitError::Ended);
            }
            if !state.has_leader && state.collecting == 0 {
                let (again, is_late) = self.receive_as_leader(state, deadline);
                state = again;
                if is_late {
                    return look(&mut state).ok_or(WaitError::Deadline);
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
                return look(&mut state).ok_or(WaitError::Deadline);
            }
        }
    }

    /// Receive once, as the leader, and file what has come. True: the deadline has passed.
    fn receive_as_leader<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
        deadline: Option<Instant>,
    ) -> (MutexGuard<'a, State>, bool) {
        let (pace, are_several_due) = (state.pace, state.in_flight > 1);
        let mut leader = LeaderGuard::take(self, state);
        if are_several_due && deadline.is_none_or(|deadline| deadline > Instant::now()) {
            pace.yield_if(|| self.queue.is_empty());
        }
        let received = match deadline {
            None => self
                .queue
                .recv_many(&mut leader.buffer, BATCH)
                .map_err(Into::into),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                self.queue
                    .recv_many_timeout(&mut leader.buffer, BATCH, left)
            }
        };
        let mut state = leader.release();
        if received.is_ok() {
            state.pace.step();
        }
        let mut is_late = false;
        match received {
            Ok(_) | Err(RecvTimeoutError::Interrupted | RecvTimeoutError::Decode(_)) => {}
            Err(RecvTimeoutError::Timeout) => is_late = true,
            // Only the supervisor closes it, and says so afterwards.
            Err(RecvTimeoutError::Closed) => state = self.wait_for_end(state),
            Err(error) => state.unknown = Some(unknown(&error)),
        }
        if state.waiters > 0 {
            self.changed.notify_all();
        }
        (state, is_late)
    }

    /// The results queue is closed: the supervisor is about to file what is left.
    fn wait_for_end<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while !state.ended && state.unknown.is_none() {
            state.waiters += 1;
            self.changed.wait(&mut state);
            state.waiters -= 1;
        }
        state
    }

    /// File all results that have been accepted so far, before anybody else receives (RESULTS-5). For the supervisor.
    pub(crate) fn collect(&self) {
        let mut state = self.state.lock();
        state.collecting += 1;
        while state.has_leader {
            self.interrupter.interrupt();
            state.waiters += 1;
            self.changed.wait(&mut state);
            state.waiters -= 1;
        }
        state.collecting -= 1;
        let mut leader = LeaderGuard::take(self, state);
        let end = loop {
            let received = self
                .queue
                .recv_many_timeout(&mut leader.buffer, BATCH, Duration::ZERO);
            match received {
                Ok(_) | Err(RecvTimeoutError::Interrupted | RecvTimeoutError::Decode(_)) => {
                    leader.file();
                }
                Err(error) => break error,
            }
        };
        let mut state = leader.release();
        if !matches!(end, RecvTimeoutError::Timeout | RecvTimeoutError::Closed) {
            state.unknown = Some(unknown(&end));
        }
        self.changed.notify_all();
    }

    /// File what has received, unless somebody else is doing so.
    pub(crate) fn poll(&self) {
        if !self.is_here() {
            return;
        }
        let _later = defer();
        let state = self.state.lock();
        if !state.has_leader && state.collecting == 0 {
            drop(self.receive_as_leader(state, Some(Instant::now())));
        }
    }

    /// For reports of processes that have ended, and the closing of the queue.
    pub(crate) fn queue(&self) -> &Receiver<EncodedResult, EncodedResultCodec> {
        &self.queue
    }
}

/// The leader (RESULTS-4), and what its holder has received and not filed yet. Given back in any case (RESULTS-8).
struct LeaderGuard<'a> {
    results: &'a Results,
    buffer: Vec<EncodedResult>,
    is_over: bool,
}

impl<'a> LeaderGuard<'a> {
    /// There is no leader now.
    fn take(results: &'a Results, mut state: MutexGuard<'a, State>) -> Self {
        state.has_leader = true;
        Self {
            results,
            buffer: core::mem::take(&mut state.buffer),
            is_over: false,
        }
    }

    /// Files what has been received so far.
    fn file(&mut self) {
        let mut state = self.results.state.lock();
        self.file_in(&mut state);
    }

    fn file_in(&mut self, state: &mut State) {
        for received in self.buffer.drain(..) {
            state.record_result(received);
        }
    }

    /// Files what has been received. Whoever waits has to look again.
    fn release(mut self) -> MutexGuard<'a, State> {
        let mut state = self.results.state.lock();
        self.end(&mut state);
        state
    }

    fn end(&mut self, state: &mut State) {
        self.file_in(state);
        state.buffer = core::mem::take(&mut self.buffer);
        state.has_leader = false;
        self.is_over = true;
    }
}

impl Drop for LeaderGuard<'_> {
    fn drop(&mut self) {
        if !self.is_over && self.results.is_here() {
            let mut state = self.results.state.lock();
            self.end(&mut state);
            self.results.changed.notify_all();
        }
    }
}

/// Why nothing more can be known, in words.
fn unknown(error: &RecvTimeoutError) -> &'static str {
    match error {
        RecvTimeoutError::Forked => FORKED,
        RecvTimeoutError::Corrupt { what } => what,
        _ => "the results can't be received",
    }
}
