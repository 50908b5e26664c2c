//! The number of workers, and how long each of them stays.
//!
//! | a worker                        | who notices          | then                                     |
//! |---------------------------------|----------------------|------------------------------------------|
//! | has run its number of tasks     | itself               | it sends `Stopping`, and is replaced     |
//! | has too much memory in use      | itself, after a task | it sends `Stopping`, and is replaced     |
//! | has reached its age             | the supervisor       | it is asked to stop, and is replaced     |
//! | has been idle for the idle time | the supervisor       | it is asked to stop, and is not replaced |
//! | is to go at a caller's request  | the supervisor       | see [`super::rollout`]                   |
//!
//! STAFFING-1. A worker stops by itself, between two tasks. Tasks that it has not leased go to other workers. So
//!     nothing waits for it, and a shutdown that begins before the worker has ended finds it stopping.
//! STAFFING-2. A worker is killed if it was asked to stop and has no task, or has sent `Stopping`, and does not end
//!     within the grace time. If it starts a task at that very moment, the task is sent again, and the attempt not
//!     counted.
//! STAFFING-3. When more tasks are in flight than there are workers, a submission wakes the supervisor. It starts
//!     another worker if tasks are queued and all workers are busy, and the next one when that worker is ready.

use super::reasons::LeaveReason;
use super::slot::{SlotState, Stage, WorkerSlot};
use super::supervisor::{Supervisor, earlier};
use crate::os::clock;
use core::time::Duration;
use std::time::Instant;

/// How long to wait before checking again whether tasks are queued, when a worker seems to be about to take one.
const RETRY_DELAY: Duration = Duration::from_millis(10);

impl Supervisor {
    /// Returns above how many tasks in flight this thread has to be woken: if no task is in flight now, which is
    /// `idle` or less, and otherwise.
    pub(super) fn wake_thresholds(&self, idle: usize) -> (usize, usize) {
        if !self.size.is_elastic() {
            return (idle, usize::MAX);
        }
        let workers = self.worker_count();
        let busy = if workers < self.size.max as usize {
            workers
        } else {
            usize::MAX
        };
        (idle.min(busy), busy)
    }

    /// Returns how many workers there are or will be, without those that were asked to stop.
    fn worker_count(&self) -> usize {
        let counts = |slot: &&WorkerSlot| match &slot.state {
            SlotState::Empty => false,
            SlotState::Occupied(worker) => worker.leave_reason.is_none(),
            SlotState::BackingOff { .. } => true,
        };
        self.slots.iter().filter(counts).count()
    }

    /// Adjusts the number of workers to the tasks in flight (STAFFING-3). Returns when to check again.
    pub(super) fn adjust_worker_count(
        &mut self,
        now: Instant,
        in_flight: usize,
    ) -> Option<Instant> {
        if !self.size.is_elastic() {
            return None;
        }
        let grown = self.grow(now, in_flight);
        earlier(grown, self.shrink(now))
    }

    /// Starts another worker if tasks are queued that no worker is about to take. Returns when to check again.
    fn grow(&mut self, now: Instant, in_flight: usize) -> Option<Instant> {
        if in_flight <= self.worker_count() || self.position_count() >= self.size.max as usize {
            return None;
        }
        let empty = self.slots.iter().position(WorkerSlot::is_empty)?;
        let is_starting = |slot: &WorkerSlot| match &slot.state {
            SlotState::Empty => false,
            SlotState::Occupied(worker) => worker.stage < Stage::Ready,
            SlotState::BackingOff { .. } => true,
        };
        if self.slots.iter().any(is_starting) {
            // There is another inspection when the worker is ready, or dies.
            return None;
        }
        if !self.is_task_queued() || self.slots.iter().any(|slot| self.is_idle(slot)) {
            return Some(clock::after(now, RETRY_DELAY));
        }
        self.start_worker(empty);
        None
    }

    /// Returns whether a queue of tasks has one.
    pub(super) fn is_task_queued(&self) -> bool {
        let mut queues = self.launcher.shared.tasks.iter();
        queues.any(|(_, tasks)| !tasks.is_empty())
    }

    /// Returns whether a worker runs a task.
    pub(super) fn is_busy(&self, number: u32) -> bool {
        let entry = self.board_entry(number);
        entry.is_some_and(|entry| entry.running().is_some())
    }

    /// Returns whether a slot has a worker that takes tasks and runs none.
    pub(super) fn is_idle(&self, slot: &WorkerSlot) -> bool {
        slot.takes_tasks() && !self.is_busy(slot.number)
    }

    /// Asks workers beyond the minimum to stop that have started no task for the idle time. Returns when to check
    /// again.
    fn shrink(&mut self, now: Instant) -> Option<Instant> {
        let policy = self.settings().workers;
        let mut spare = self.worker_count().saturating_sub(self.size.min as usize);
        let mut next = None;
        for index in (0..self.slots.len()).rev() {
            if spare == 0 {
                return None;
            }
            let idle_since = self.idle_since(index, now);
            let due = idle_since.map(|since| clock::after(since, policy.idle_timeout));
            if due.is_some_and(|due| due <= now) {
                self.ask_to_stop(index, LeaveReason::Idle);
                spare -= 1;
            } else {
                // A busy worker can't be due before this either.
                next = earlier(next, due.or(Some(clock::after(now, policy.idle_timeout))));
            }
        }
        if spare == 0 { None } else { next }
    }

    /// Returns since when it is known that a worker has started no task; `None` if it runs one.
    fn idle_since(&mut self, index: usize, now: Instant) -> Option<Instant> {
        let slot = self.slots.get_mut(index)?;
        let entry = self.launcher.shared.board.entry(slot.number)?;
        let worker = slot.worker_mut().filter(|worker| worker.accepts_tasks())?;
        if entry.running().is_some() {
            worker.idle_since = None;
            return None;
        }
        let last_start = entry.last_start();
        let since = match worker.idle_since {
            Some((start, since)) if start == last_start => since,
            _ => now,
        };
        worker.idle_since = Some((last_start, since));
        Some(since)
    }
}
