//! Workers that are too old, or that take too long to start or to stop.

use super::log;
use super::reasons::{KillCause, KillReason, LeaveReason};
use super::slot::Stage;
use super::supervisor::{Phase, Supervisor};
use crate::os::clock;
use crate::pool::outcome::{TaskError, TaskId};
use crate::pool::wire::messages::FromParent;
use crate::segment::board::WorkerEntry;
use std::time::Instant;

impl Supervisor {
    /// Sets the time at which a worker that is ready now is asked to stop because of its age.
    pub(super) fn set_retirement(&mut self, index: usize) {
        let retire_at = self.settings().workers.draw_expiry(Instant::now());
        if let Some(worker) = self.worker_mut(index) {
            worker.retire_at = retire_at;
        }
        self.inspect_soon();
    }

    /// Notes that a worker has stopped taking tasks, for whatever reason. It gets the grace time to end.
    pub(super) fn note_stopping(&mut self, index: usize) {
        if self.phase != Phase::Running {
            return;
        }
        let deadline = clock::after(Instant::now(), self.settings().grace);
        if let Some(worker) = self.worker_mut(index)
            && !worker.is_being_ended
        {
            worker.retire_at = None;
            worker.deadline = Some(deadline);
            let is_recycled = !worker.is_not_replaced();
            self.worker_stats.recycled += u64::from(is_recycled);
        }
    }

    /// Asks a worker to stop after the task that it runs.
    pub(super) fn ask_to_stop(&mut self, index: usize, reason: LeaveReason) {
        let deadline = clock::after(Instant::now(), self.settings().grace);
        if let Some(worker) = self.worker_mut(index) {
            worker.leave_reason = Some(reason);
            worker.deadline = Some(deadline);
            worker.send(FromParent::Stop);
        }
    }

    /// Handles a worker that has reached its age or its deadline.
    pub(super) fn handle_overdue(&mut self, index: usize, now: Instant) {
        let is_running = self.phase == Phase::Running;
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let Some(worker) = slot.worker_mut() else {
            return;
        };
        if worker.process.only_wrapper_runs() {
            worker.deadline = None;
            worker.retire_at = None;
            worker.process.kill_wrapper();
            return;
        }
        if worker.retire_at.is_some_and(|due| due <= now) {
            worker.retire_at = None;
            if worker.accepts_tasks() && is_running {
                self.ask_to_stop(index, LeaveReason::TooOld);
            }
            return;
        }
        if worker.is_being_ended {
            worker.deadline = None;
            if is_running {
                self.handle_survived_kill(index);
            }
            return;
        }
        let stage = worker.stage;
        let was_asked_to_stop = worker.leave_reason.is_some() && stage == Stage::Ready;
        if was_asked_to_stop && self.runs_unfinished_task(number) {
            // It reads messages only between tasks, and its task may take as long as its limits allow.
            let deadline = clock::after(now, self.settings().grace);
            if let Some(worker) = self.worker_mut(index) {
                worker.deadline = Some(deadline);
            }
        } else if was_asked_to_stop || stage == Stage::Stopping {
            // See STAFFING-2.
            let (task, cause) = (None, KillCause::Cancelled);
            self.kill_worker(index, KillReason { task, cause });
        } else {
            self.kill_overdue(index);
        }
    }

    /// Kills a worker that was not ready in time, or lives although it has closed its link.
    fn kill_overdue(&mut self, index: usize) {
        let mut never_became_worker = false;
        if let Some(worker) = self.worker_mut(index) {
            never_became_worker = worker.never_became_worker();
            let is_counted = worker.kill();
            self.worker_stats.killed += u64::from(is_counted);
        }
        self.reap_unwatched(index);
        // If it never became a worker, the start fails for that reason when it has ended.
        if self.phase == Phase::Starting && !never_became_worker {
            let error = self.late_start_error();
            self.fail_start(error);
        }
    }

    /// Handles a worker that was killed and lives: it is stopped and belongs to another user, or the kernel can't end
    /// it now. Records the outcome of its task. Its slot stays occupied until it ends.
    fn handle_survived_kill(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let Some(worker) = slot.worker_mut() else {
            return;
        };
        if worker.process.has_ended().unwrap_or(false) {
            // It is about to be reaped.
            return;
        }
        worker.survived_kill = true;
        let (pid, kill_reason) = (worker.pid(), worker.kill_reason);
        let cause = log::unkillable(number, pid);
        let running = self.board_entry(number).and_then(WorkerEntry::running);
        if let Some(running) = running {
            let id = TaskId(running.task);
            self.results().collect();
            self.results().change(|tasks| {
                let Some(task) = tasks.get_mut(id).copied() else {
                    return;
                };
                let error = match kill_reason.filter(|reason| reason.is_for(id)) {
                    Some(reason) => reason.cause.into(),
                    None if task.timed_out => TaskError::TimedOut,
                    None if task.cancelled => TaskError::Cancelled,
                    None => TaskError::Unknown {
                        what: "its worker can't be ended",
                    },
                };
                tasks.record_outcome(id, task.crashes + 1, Err(error));
            });
        }
        self.record_failure(index, cause);
    }

    /// Returns whether a worker runs a task that has no outcome. The entry of a worker that was stopped right after
    /// it had sent a result keeps its task forever.
    fn runs_unfinished_task(&self, number: u32) -> bool {
        // The result may have arrived and not be recorded.
        self.results().collect();
        let running = self.board_entry(number).and_then(WorkerEntry::running);
        running.is_some_and(|running| {
            let id = TaskId(running.task);
            self.results().with(|tasks| tasks.get_mut(id).is_some())
        })
    }
}
