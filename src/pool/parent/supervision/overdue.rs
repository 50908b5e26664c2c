//! Workers whose time is up: that of their life, or that in which they should have got on.

use super::log;
use super::reasons::{KillCause, KillReason, LeaveReason};
use super::slot::{Stage, WorkerSlot};
use super::supervisor::{Phase, Supervisor};
use crate::os::clock;
use crate::pool::outcome::{TaskError, TaskId};
use crate::pool::task::Task;
use crate::pool::wire::messages::FromParent;
use crate::segment::board;
use std::time::Instant;

impl<T: Task> Supervisor<T> {
    /// A worker takes tasks from now on.
    pub(crate) fn handle_ready(&mut self, index: usize) {
        let retire_at = self.settings().workers.draw_expiry(Instant::now());
        if let Some(worker) = self.slots.get_mut(index).and_then(WorkerSlot::worker_mut) {
            worker.retire_at = retire_at;
        }
        self.inspect_soon();
    }

    /// A worker has said that it stops, whoever wanted that. It has the grace time to end.
    pub(crate) fn handle_stopping(&mut self, index: usize) {
        if self.phase != Phase::Running {
            return;
        }
        let overdue = clock::after(Instant::now(), self.settings().grace);
        if let Some(worker) = self.slots.get_mut(index).and_then(WorkerSlot::worker_mut)
            && !worker.is_being_ended
        {
            worker.retire_at = None;
            worker.overdue = Some(overdue);
            self.worker_stats.recycled += u64::from(worker.leave_reason != Some(LeaveReason::Idle));
        }
    }

    /// Tell a worker to stop when it is through with its task.
    pub(crate) fn ask_to_leave(&mut self, index: usize, reason: LeaveReason) {
        let overdue = clock::after(Instant::now(), self.settings().grace);
        if let Some(worker) = self.slots.get_mut(index).and_then(WorkerSlot::worker_mut) {
            worker.leave_reason = Some(reason);
            worker.overdue = Some(overdue);
            worker.send(FromParent::Stop);
        }
    }

    /// A worker's time is up: that of its life, or that in which it should have got on.
    pub(crate) fn handle_overdue(&mut self, index: usize, now: Instant) {
        let is_running = self.phase == Phase::Running;
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let Some(worker) = slot.worker_mut() else {
            return;
        };
        if worker.process.only_wrapper_runs() {
            worker.overdue = None;
            worker.retire_at = None;
            worker.process.kill_wrapper();
            return;
        }
        if worker.retire_at.is_some_and(|due| due <= now) {
            worker.retire_at = None;
            if worker.accepts_tasks() && is_running {
                self.ask_to_leave(index, LeaveReason::TooOld);
            }
            return;
        }
        if worker.is_being_ended {
            worker.overdue = None;
            if is_running {
                self.handle_survived_kill(index);
            }
            return;
        }
        let stage = worker.stage;
        let is_leaving = worker.leave_reason.is_some() && stage == Stage::Ready;
        if is_leaving && self.runs_unfinished_task(number) {
            // It has not heard it yet: it has all the time that its task may take.
            let overdue = clock::after(now, self.settings().grace);
            if let Some(worker) = self.slots.get_mut(index).and_then(WorkerSlot::worker_mut) {
                worker.overdue = Some(overdue);
            }
        } else if is_leaving || stage == Stage::Stopping {
            // STAFF-2.
            let (task, cause) = (None, KillCause::Cancelled);
            self.kill_worker(index, KillReason { task, cause });
        } else {
            self.kill_overdue(index);
        }
    }

    /// A worker has not got ready in time, or has closed its link and lives on.
    fn kill_overdue(&mut self, index: usize) {
        let mut never_became_worker = false;
        if let Some(worker) = self.slots.get_mut(index).and_then(WorkerSlot::worker_mut) {
            never_became_worker = worker.never_became_worker();
            self.worker_stats.killed += u64::from(worker.kill());
        }
        self.reap_unwatched(index);
        // Of one that is no worker, the start's error says so when it has ended.
        if self.phase == Phase::Starting && !never_became_worker {
            let error = self.late_start_error();
            self.fail(error);
        }
    }

    /// A worker was killed and lives on: it belongs to another user and is stopped, or the kernel can't end it now. Its
    /// task has its outcome; its slot waits for its end, which may come yet.
    fn handle_survived_kill(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let Some(worker) = slot.worker_mut() else {
            return;
        };
        if worker.process.has_ended().unwrap_or(false) {
            // This thread has only not got round to it.
            return;
        }
        worker.survived_kill = true;
        let (pid, kill_reason) = (worker.pid(), worker.kill_reason);
        let cause = log::unkillable(number, pid);
        let shared = &self.launcher.shared;
        if let Some(running) = shared
            .board
            .entry(number)
            .and_then(board::WorkerEntry::running)
        {
            let id = TaskId(running.task);
            shared.results.collect();
            shared.results.change(|state| {
                let Some(flight) = state.flight(id).copied() else {
                    return;
                };
                let error = match kill_reason.filter(|kill| kill.is_for(id)) {
                    Some(kill) => kill.cause.into(),
                    None if flight.timed_out => TaskError::TimedOut,
                    None if flight.cancelled => TaskError::Cancelled,
                    None => TaskError::Unknown {
                        what: "its worker can't be ended",
                    },
                };
                state.record_outcome(id, flight.crashes + 1, Err(error));
            });
        }
        self.record_failure(index, cause);
    }

    /// Whether a worker runs a task that has no outcome yet. One that has been stopped right after it had sent what its
    /// task gave looks busy for ever.
    fn runs_unfinished_task(&self, number: u32) -> bool {
        let shared = &self.launcher.shared;
        // The outcome may have arrived and not have been looked at.
        shared.results.collect();
        let running = shared
            .board
            .entry(number)
            .and_then(board::WorkerEntry::running);
        running.is_some_and(|running| {
            let id = TaskId(running.task);
            shared.results.with(|state| state.flight(id).is_some())
        })
    }
}
