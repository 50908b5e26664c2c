//! The end of a pool, as its supervisor sees it.

use super::log;
use super::slot::{SlotState, UNTIL_GIVEN_UP, WorkerSlot};
use super::supervisor::{Phase, StopStep, Supervisor};
use crate::os::clock;
use crate::pool::outcome::TaskError;
use crate::pool::task::Task;
use crate::pool::wire::messages::FromParent;
use std::time::Instant;

impl<T: Task> Supervisor<T> {
    pub(crate) fn stop(&mut self, cancel: bool) {
        if matches!(self.phase, Phase::Stopping { .. }) {
            return;
        }
        let (message, tasks) = (
            if cancel {
                FromParent::Cancel
            } else {
                FromParent::Stop
            },
            &self.launcher.shared.tasks,
        );
        if cancel && mutant!(ResultsNotDrained) {
            self.launcher.shared.results.queue().cancel();
        }
        if cancel {
            tasks.cancel();
        } else {
            tasks.close();
        }
        self.give_up_empty_slots();
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

    pub(crate) fn give_up_empty_slots(&mut self) {
        for slot in &mut self.slots {
            if slot.worker().is_none() {
                slot.state = SlotState::Empty;
            }
        }
    }

    /// The time for a step is up: go on to the next.
    pub(crate) fn escalate(&mut self, step: StopStep) {
        let now = Instant::now();
        if mutant!(StopNotEnforced) {
            return;
        }
        let (next, time) = match step {
            StopStep::Asked => (StopStep::Terminated, self.settings().grace),
            StopStep::Terminated => (StopStep::Killed, UNTIL_GIVEN_UP),
            StopStep::Killed => {
                self.abandon_survivors();
                return;
            }
        };
        for index in 0..self.slots.len() {
            let Some(worker) = self.slots.get_mut(index).and_then(WorkerSlot::worker_mut) else {
                continue;
            };
            if next == StopStep::Terminated {
                worker.is_being_ended = true;
                // Counted as killed when it is reaped, if it has died of it.
                worker.got_sigterm = true;
                let _ = worker.process.terminate_group();
            } else {
                self.worker_stats.killed += u64::from(worker.kill());
            }
            self.reap_unwatched(index);
        }
        self.phase = Phase::Stopping {
            cancel: true,
            step: next,
            until: clock::after(now, time),
        };
    }

    /// Those who live on although they were killed are the kernel's business.
    pub(crate) fn abandon_survivors(&mut self) {
        for slot in &mut self.slots {
            if let SlotState::Occupied(worker) =
                core::mem::replace(&mut slot.state, SlotState::Empty)
            {
                log::left_behind(slot.number, worker.pid());
                self.worker_stats.left_behind += 1;
                self.watchlist.remove(&worker.link);
                self.watchlist.remove(&worker.process);
                worker.process.detach();
            }
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        let is_absent = |slot: &WorkerSlot| matches!(slot.state, SlotState::Empty);
        matches!(self.phase, Phase::Stopping { .. }) && self.slots.iter().all(is_absent)
    }

    /// Every task gets its outcome (SUPERVISE-3): those whose results have arrived that, the others are cancelled.
    pub(crate) fn finish(&mut self) {
        self.settle_tasks();
        let results = &self.launcher.shared.results;
        results.collect();
        results.change(|state| {
            for id in state.in_flight_ids() {
                let crashes = state.flight(id).map_or(0, |flight| flight.crashes);
                state.record_outcome(id, crashes, Err(TaskError::Cancelled));
            }
        });
        results.queue().close();
        results.end();
    }
}
