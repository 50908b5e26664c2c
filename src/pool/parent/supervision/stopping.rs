//! The end of a pool: stopping its workers, and the outcomes of tasks that are left.

use super::log;
use super::slot::{KILL_TIMEOUT, SlotState, WorkerSlot};
use super::supervisor::{Phase, StopStep, Supervisor};
use crate::os::clock;
use crate::pool::outcome::TaskError;
use crate::pool::wire::messages::FromParent;
use std::time::Instant;

impl Supervisor {
    /// Asks all workers to stop; if `cancel`, cancels all tasks as well.
    pub(super) fn stop(&mut self, cancel: bool) {
        if self.is_stopping() {
            return;
        }
        if cancel && mutant!(ResultsNotDrained) {
            self.results().queue().cancel();
        }
        for (_, tasks) in self.launcher.shared.tasks.iter() {
            if cancel {
                tasks.cancel();
            } else {
                tasks.close();
            }
        }
        let message = if cancel {
            FromParent::Cancel
        } else {
            FromParent::Stop
        };
        self.abandon_empty_slots();
        for worker in self.slots.iter_mut().filter_map(WorkerSlot::worker_mut) {
            worker.send(message);
        }
        let until = clock::after(Instant::now(), self.settings().grace);
        self.phase = Phase::Stopping {
            cancel,
            step: StopStep::Asked,
            until,
        };
    }

    /// Makes sure that no worker is started in a slot that has none.
    pub(super) fn abandon_empty_slots(&mut self) {
        for slot in &mut self.slots {
            if slot.worker().is_none() {
                slot.state = SlotState::Empty;
            }
        }
    }

    /// Goes on to the step after `step`, whose time is over.
    pub(super) fn escalate(&mut self, step: StopStep) {
        let now = Instant::now();
        if mutant!(StopNotEnforced) {
            return;
        }
        let (next, time) = match step {
            StopStep::Asked => (StopStep::Terminated, self.settings().grace),
            StopStep::Terminated => (StopStep::Killed, KILL_TIMEOUT),
            StopStep::Killed => {
                self.leave_survivors_behind();
                return;
            }
        };
        for index in 0..self.slots.len() {
            let Some(worker) = self.worker_mut(index) else {
                continue;
            };
            if next == StopStep::Terminated {
                worker.is_being_ended = true;
                // Counted as killed when it is reaped, if it has died of the signal.
                worker.got_sigterm = true;
                let _ = worker.process.terminate_group();
            } else {
                let is_counted = worker.kill();
                self.worker_stats.killed += u64::from(is_counted);
            }
            self.reap_unwatched(index);
        }
        self.phase = Phase::Stopping {
            cancel: true,
            step: next,
            until: clock::after(now, time),
        };
    }

    /// Gives up workers that live although they were killed.
    fn leave_survivors_behind(&mut self) {
        for slot in &mut self.slots {
            if let SlotState::Occupied(worker) =
                core::mem::replace(&mut slot.state, SlotState::Empty)
            {
                log::left_behind(slot.number, worker.pid());
                self.worker_stats.left_behind += 1;
                self.watchlist.remove(&worker.link);
                self.watchlist.remove(&worker.process);
                for stream in &worker.output {
                    self.watchlist.remove(stream);
                }
                worker.process.detach();
            }
        }
    }

    /// Returns whether all workers have ended, and no more are started.
    pub(super) fn is_over(&self) -> bool {
        self.is_stopping() && self.slots.iter().all(WorkerSlot::is_empty)
    }

    /// Gives every task an outcome (SUPERVISE-3), its result if that has arrived and `Cancelled` otherwise, and ends
    /// all waits.
    pub(super) fn finish_tasks(&mut self) {
        self.settle_tasks();
        let results = self.results();
        results.collect();
        results.change(|tasks| {
            for id in tasks.in_flight_ids() {
                let crashes = tasks.get_mut(id).map_or(0, |task| task.crashes);
                tasks.record_outcome(id, crashes, Err(TaskError::Cancelled));
            }
        });
        results.queue().close();
        results.end();
        // Also of those that another process keeps from being settled (REPORT-1).
        self.dead_workers.clear();
        self.report_deaths();
    }
}
