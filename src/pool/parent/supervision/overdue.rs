//! Workers whose time is up: that of their life, or that in which they should have got on.

use super::log;
use super::reasons::{KillReason, Leave, Why};
use super::slot::{Slot, Stage};
use super::supervisor::{Phase, Supervisor};
use crate::os::clock;
use crate::pool::outcome::{TaskError, TaskId};
use crate::pool::task::Task;
use crate::pool::wire::messages::FromParent;
use crate::segment::board;
use std::time::Instant;

impl<T: Task> Supervisor<T> {
    /// A worker takes tasks from now on.
    pub(crate) fn begin_term(&mut self, index: usize) {
        let expires = self.settings().staff.expires(Instant::now());
        if let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) {
            worker.expires = expires;
        }
        self.look_at_staff_soon();
    }

    /// A worker has said that it stops, whoever wanted that. It has the grace time to end.
    pub(crate) fn let_go(&mut self, index: usize) {
        if self.course != Phase::Running {
            return;
        }
        let overdue = clock::after(Instant::now(), self.settings().grace);
        if let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut)
            && !worker.is_doomed
        {
            worker.expires = None;
            worker.overdue = Some(overdue);
            self.toll.recycled += u64::from(worker.leaves != Some(Leave::Idle));
        }
    }

    /// Tell a worker to stop when it is through with its task.
    pub(crate) fn dismiss(&mut self, index: usize, why: Leave) {
        let overdue = clock::after(Instant::now(), self.settings().grace);
        if let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) {
            worker.leaves = Some(why);
            worker.overdue = Some(overdue);
            worker.say(FromParent::Stop);
        }
    }

    /// A worker's time is up: that of its life, or that in which it should have got on.
    pub(crate) fn attend(&mut self, index: usize, now: Instant) {
        let is_running = self.course == Phase::Running;
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let Some(worker) = slot.worker_mut() else {
            return;
        };
        if worker.process.only_wrapper_runs() {
            worker.overdue = None;
            worker.expires = None;
            worker.process.kill_wrapper();
            return;
        }
        if worker.expires.is_some_and(|due| due <= now) {
            worker.expires = None;
            if worker.stays() && is_running {
                self.dismiss(index, Leave::Old);
            }
            return;
        }
        if worker.is_doomed {
            worker.overdue = None;
            if is_running {
                self.has_outlived_its_kill(index);
            }
            return;
        }
        let stage = worker.stage;
        let is_leaving = worker.leaves.is_some() && stage == Stage::Ready;
        if is_leaving && self.is_at_work(number) {
            // It has not heard it yet: it has all the time that its task may take.
            let overdue = clock::after(now, self.settings().grace);
            if let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) {
                worker.overdue = Some(overdue);
            }
        } else if is_leaving || stage == Stage::Stopping {
            // STAFF-2.
            let (task, why) = (None, Why::Cancelled);
            self.kill_for(index, KillReason { task, why });
        } else {
            self.end_overdue(index);
        }
    }

    /// A worker has not got ready in time, or has closed its link and lives on.
    fn end_overdue(&mut self, index: usize) {
        let mut is_no_worker = false;
        if let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) {
            is_no_worker = worker.is_no_worker();
            self.toll.killed += u64::from(worker.kill());
        }
        self.bury_unwatched(index);
        // Of one that is no worker, the start's error says so when it has ended.
        if self.course == Phase::Starting && !is_no_worker {
            let error = self.late_start();
            self.fail(error);
        }
    }

    /// A worker was killed and lives on: it belongs to another user and is stopped, or the kernel can't end it now. Its
    /// task has its outcome; its slot waits for its end, which may come yet.
    fn has_outlived_its_kill(&mut self, index: usize) {
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
        worker.is_immortal = true;
        let (pid, struck) = (worker.pid(), worker.struck);
        let cause = log::unkillable(number, pid);
        let shared = &self.launcher.shared;
        if let Some(running) = shared
            .board
            .entry(number)
            .and_then(board::WorkerEntry::running)
        {
            let id = TaskId(running.task);
            shared.inbox.collect();
            shared.inbox.change(|state| {
                let Some(flight) = state.flight(id).copied() else {
                    return;
                };
                let error = match struck.filter(|strike| strike.is_for(id)) {
                    Some(strike) => strike.why.into(),
                    None if flight.timed_out => TaskError::TimedOut,
                    None if flight.cancelled => TaskError::Cancelled,
                    None => TaskError::Unknown {
                        what: "its worker can't be ended",
                    },
                };
                state.file(id, flight.crashes + 1, Err(error));
            });
        }
        self.note_failure(index, cause);
    }

    /// Whether a worker runs a task that has no outcome yet. One that has been stopped right after it had sent what its
    /// task gave looks busy for ever.
    fn is_at_work(&self, number: u32) -> bool {
        let shared = &self.launcher.shared;
        // The outcome may have arrived and not have been looked at.
        shared.inbox.collect();
        let running = shared
            .board
            .entry(number)
            .and_then(board::WorkerEntry::running);
        running.is_some_and(|running| {
            let id = TaskId(running.task);
            shared.inbox.with(|state| state.flight(id).is_some())
        })
    }
}
