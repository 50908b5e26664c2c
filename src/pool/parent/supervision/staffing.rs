//! How many workers there are, and for how long each of them stays.
//!
//! | a worker                         | who notices    | then                                                      |
//! |----------------------------------|----------------|-----------------------------------------------------------|
//! | has run so many tasks            | itself         | it says `Stopping`, and is replaced                       |
//! | has so much memory in use        | itself, after a task | the same                                             |
//! | is so old                        | the supervisor | it is told to stop after the task that it runs; the same  |
//! | has been idle for so long        | the supervisor | it is told to stop, and is not replaced                   |
//!
//! STAFF-1. A worker leaves between two tasks, of its own accord; what it has not leased is for the others. So nothing waits for
//!     anything, and a shutdown that comes meanwhile finds a worker that is stopping, as it wants it.
//! STAFF-2. One that was told and does nothing within the grace time, or said that it stops and does not end, is killed. If it
//!     has begun a task in this very moment, that one is sent again, and no attempt counted.
//! STAFF-3. Whether a task waits that nobody is there for is looked at when more tasks are in flight than there are workers:
//!     then the submitter wakes the supervisor. Another worker is started when all are busy, and tasks wait; the next
//!     one when that one is ready.

use super::reasons::LeaveReason;
use super::slot::{self, SlotState, Stage, WorkerSlot};
use super::supervisor::{Supervisor, earlier};
use crate::os::clock;
use crate::pool::task::Task;
use core::time::Duration;
use std::time::Instant;

/// How soon to look again whether tasks still wait, when a worker seemed to be about to take one.
const RETRY_DELAY: Duration = Duration::from_millis(10);

impl<T: Task> Supervisor<T> {
    fn is_busy(&self, number: u32) -> bool {
        let line = self.launcher.shared.board.entry(number);
        line.is_some_and(|line| line.running().is_some())
    }

    /// How many tasks may be in flight before this thread wants to be woken: if none is now, and otherwise.
    pub(crate) fn wake_thresholds(&self, idle: usize) -> (usize, usize) {
        if !self.settings().workers.is_elastic() {
            return (idle, usize::MAX);
        }
        let there = self.worker_count();
        let busy = if there < self.slots.len() {
            there
        } else {
            usize::MAX
        };
        (idle.min(busy), busy)
    }

    /// How many workers there are, or are to be, not counting those that leave.
    fn worker_count(&self) -> usize {
        let is_there = |slot: &&WorkerSlot| match &slot.state {
            SlotState::Empty => false,
            SlotState::Occupied(worker) => worker.leave_reason.is_none(),
            SlotState::BackingOff { .. } => true,
        };
        self.slots.iter().filter(is_there).count()
    }

    /// Have as many workers as there is work for (STAFF-3). When to look again.
    pub(crate) fn adjust_worker_count(
        &mut self,
        now: Instant,
        in_flight: usize,
    ) -> Option<Instant> {
        if !self.settings().workers.is_elastic() {
            return None;
        }
        let grown = self.grow(now, in_flight);
        earlier(grown, self.shrink(now))
    }

    fn grow(&mut self, now: Instant, in_flight: usize) -> Option<Instant> {
        if in_flight <= self.worker_count() {
            return None;
        }
        let absent = |slot: &WorkerSlot| matches!(slot.state, SlotState::Empty);
        let vacant = self.slots.iter().position(absent)?;
        let is_starting = |slot: &WorkerSlot| match &slot.state {
            SlotState::Empty => false,
            SlotState::Occupied(worker) => worker.stage < Stage::Ready,
            SlotState::BackingOff { .. } => true,
        };
        if self.slots.iter().any(is_starting) {
            // Its being ready, or its death, leads here again.
            return None;
        }
        let is_idle = |slot: &WorkerSlot| {
            let worker = slot.worker();
            worker.is_some_and(slot::WorkerProcess::accepts_tasks) && !self.is_busy(slot.number)
        };
        let waits = !self.launcher.shared.tasks.is_empty();
        if !waits || self.slots.iter().any(is_idle) {
            return Some(clock::after(now, RETRY_DELAY));
        }
        self.start_worker(vacant);
        None
    }

    /// Dismiss those beyond the least number that have begun no task for the idle time.
    fn shrink(&mut self, now: Instant) -> Option<Instant> {
        let policy = self.settings().workers;
        let mut spare = self.worker_count().saturating_sub(policy.min as usize);
        let mut next = None;
        for index in (0..self.slots.len()).rev() {
            if spare == 0 {
                return None;
            }
            let since = self.idle_since(index, now);
            let due = since.map(|since| clock::after(since, policy.idle_timeout));
            if due.is_some_and(|due| due <= now) {
                self.ask_to_leave(index, LeaveReason::Idle);
                spare -= 1;
            } else {
                // One that is busy can't be due before that either.
                next = earlier(next, due.or(Some(clock::after(now, policy.idle_timeout))));
            }
        }
        if spare == 0 { None } else { next }
    }

    /// Since when a worker is known to have begun no task.
    fn idle_since(&mut self, index: usize, now: Instant) -> Option<Instant> {
        let slot = self.slots.get_mut(index)?;
        let line = self.launcher.shared.board.entry(slot.number)?;
        let worker = slot.worker_mut().filter(|worker| worker.accepts_tasks())?;
        if line.running().is_some() {
            worker.idle_since = None;
            return None;
        }
        let last = line.last_start();
        let since = match worker.idle_since {
            Some((start, since)) if start == last => since,
            _ => now,
        };
        worker.idle_since = Some((last, since));
        Some(since)
    }
}
