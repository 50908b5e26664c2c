//! The end of a pool, as its supervisor sees it.

use super::log;
use super::slot::{Slot, State, UNTIL_GIVEN_UP};
use super::supervisor::{Phase, Step, Supervisor};
use crate::os::clock;
use crate::pool::outcome::TaskError;
use crate::pool::task::Task;
use crate::pool::wire::messages::FromParent;
use std::time::Instant;

impl<T: Task> Supervisor<T> {
    pub(crate) fn stop(&mut self, cancel: bool) {
        if matches!(self.course, Phase::Stopping { .. }) {
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
            self.launcher.shared.inbox.results().cancel();
        }
        if cancel {
            tasks.cancel();
        } else {
            tasks.close();
        }
        self.leave_empty_slots();
        for worker in self.slots.iter_mut().filter_map(Slot::worker_mut) {
            worker.say(message);
        }
        let until = clock::after(Instant::now(), self.settings().grace);
        self.course = Phase::Stopping {
            cancel,
            step: Step::Asked,
            until,
        };
    }

    pub(crate) fn leave_empty_slots(&mut self) {
        for slot in &mut self.slots {
            if slot.worker().is_none() {
                slot.state = State::Absent;
            }
        }
    }

    /// The time for a step is up: go on to the next.
    pub(crate) fn press(&mut self, step: Step) {
        let now = Instant::now();
        if mutant!(StopNotEnforced) {
            return;
        }
        let (next, time) = match step {
            Step::Asked => (Step::Terminated, self.settings().grace),
            Step::Terminated => (Step::Killed, UNTIL_GIVEN_UP),
            Step::Killed => {
                self.give_up();
                return;
            }
        };
        for index in 0..self.slots.len() {
            let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) else {
                continue;
            };
            if next == Step::Terminated {
                worker.is_doomed = true;
                // Counted as killed when it is reaped, if it has died of it.
                worker.is_terminated = true;
                let _ = worker.process.terminate_group();
            } else {
                self.toll.killed += u64::from(worker.kill());
            }
            self.bury_unwatched(index);
        }
        self.course = Phase::Stopping {
            cancel: true,
            step: next,
            until: clock::after(now, time),
        };
    }

    /// Those who live on although they were killed are the kernel's business.
    pub(crate) fn give_up(&mut self) {
        for slot in &mut self.slots {
            if let State::Occupied(worker) = core::mem::replace(&mut slot.state, State::Absent) {
                log::immortal(slot.number, worker.pid());
                self.toll.left_behind += 1;
                self.watchlist.remove(&worker.link);
                self.watchlist.remove(&worker.process);
                worker.process.detach();
            }
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        let is_absent = |slot: &Slot| matches!(slot.state, State::Absent);
        matches!(self.course, Phase::Stopping { .. }) && self.slots.iter().all(is_absent)
    }

    /// Every task gets its outcome (SUPERVISE-3): those whose results have arrived that, the others are cancelled.
    pub(crate) fn finish(&mut self) {
        self.settle();
        let inbox = &self.launcher.shared.inbox;
        inbox.collect();
        inbox.change(|state| {
            for id in state.flights() {
                let crashes = state.flight(id).map_or(0, |flight| flight.crashes);
                state.file(id, crashes, Err(TaskError::Cancelled));
            }
        });
        inbox.results().close();
        inbox.end();
    }
}
