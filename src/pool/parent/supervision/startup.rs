//! Starting a worker in a slot, and the start of the pool.

use super::captured::CapturedStream;
use super::launch::Launched;
use super::log;
use super::output;
use super::slot::{DeadWorker, SlotState, Stage, WorkerProcess, WorkerSlot};
use super::supervisor::{Phase, StopStep, Supervisor};
use super::watchlist::{key_of_link, key_of_process};
use crate::error::{StartError, with_causes};
use crate::os::child::ChildProcess;
use crate::os::clock;
use crate::os::link::Link;
use crate::pool::parent::events::Event;
use std::io;
use std::time::Instant;

/// How many processes in a row may die in one slot before the start of the pool fails.
const MAX_DEATHS_AT_START: u32 = 3;

impl Supervisor {
    /// Starts a worker in a slot, unless the pool is stopping.
    pub(super) fn start_worker(&mut self, index: usize) {
        let Some(number) = self.slots.get(index).map(|slot| slot.number) else {
            return;
        };
        if self.is_stopping() {
            return;
        }
        let mut previous_start = 0;
        if let Some(entry) = self.board_entry(number) {
            entry.reset();
            previous_start = entry.last_start();
        }
        let launched = self.launcher.launch(number).and_then(|launched| {
            let Launched { link, process, .. } = &launched;
            let watched = self.watch(index, link, process, &launched.output);
            watched.map_err(|source| StartError::Os {
                what: "the pool could not watch a worker",
                source,
            })?;
            Ok(launched)
        });
        match launched {
            Ok(Launched {
                link,
                process,
                output,
            }) => {
                let pid = process.id();
                let deadline = clock::after(Instant::now(), self.settings().start_timeout);
                let mut worker = WorkerProcess::new(link, process, deadline, previous_start);
                worker.generation = self.rollouts.generation;
                worker.output = output;
                if let Some(slot) = self.slots.get_mut(index) {
                    slot.state = SlotState::Occupied(worker);
                }
                self.worker_stats.started += 1;
                self.notify_listener(Event::Started {
                    worker: number,
                    pid,
                });
            }
            Err(error) if self.phase == Phase::Starting => self.fail_start(error),
            Err(error) => {
                log::start_failed(number, &error);
                self.record_failure(index, with_causes(&error));
                self.back_off(index);
            }
        }
    }

    /// Adds the descriptors of a worker to the watchlist.
    fn watch(
        &self,
        index: usize,
        link: &Link,
        process: &ChildProcess,
        output: &[CapturedStream],
    ) -> io::Result<()> {
        self.watchlist.add(link, key_of_link(index))?;
        let added = self.watchlist.add(process, key_of_process(index));
        let added = added.and_then(|()| {
            let watched = output::watch(&self.watchlist, index, output);
            watched.inspect_err(|_| self.watchlist.remove(process))
        });
        if added.is_err() {
            self.watchlist.remove(link);
        }
        added
    }

    /// Leaves a slot empty for a while, which gets longer with each consecutive call.
    pub(super) fn back_off(&mut self, index: usize) {
        let backoff = self.settings().respawn_backoff;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.consecutive_backoffs = slot.consecutive_backoffs.saturating_add(1);
            let until = clock::after(Instant::now(), backoff.after(slot.consecutive_backoffs));
            slot.state = SlotState::BackingOff { until };
        }
    }

    /// Completes the start of the pool if all workers are ready.
    pub(super) fn check_all_ready(&mut self) {
        // Slots beyond the minimum are empty: they are filled when there is work for them.
        let is_ready = |slot: &WorkerSlot| match &slot.state {
            SlotState::Empty => true,
            SlotState::Occupied(worker) => worker.stage == Stage::Ready,
            SlotState::BackingOff { .. } => false,
        };
        if self.phase == Phase::Starting && self.slots.iter().all(is_ready) {
            self.phase = Phase::Running;
            self.inspect_soon();
            // No worker is too old before the pool has started, however long that takes.
            (0..self.slots.len()).for_each(|index| self.set_retirement(index));
            self.publish_staff();
            if let Some(start_result) = self.start_result.take() {
                // The receiver is gone if the thread that called `start` has panicked.
                let _ = start_result.send(Ok(()));
            }
        }
    }

    /// Fails the start of the pool, and ends all workers at once.
    pub(super) fn fail_start(&mut self, error: StartError) {
        if let Some(start_result) = self.start_result.take() {
            self.results().close();
            let _ = start_result.send(Err(error));
        }
        self.abandon_empty_slots();
        self.escalate(StopStep::Terminated);
    }

    /// Handles a worker that can never serve this pool: fails the start if the pool is starting. The event of its death
    /// says why.
    pub(super) fn handle_mismatch(&mut self, error: StartError) {
        if self.phase == Phase::Starting {
            self.fail_start(error);
        }
    }

    /// Returns why the start takes too long: workers never identify themselves, die, or are slow.
    pub(super) fn late_start_error(&self) -> StartError {
        let never_became_worker = |slot: &WorkerSlot| {
            let worker = slot.worker();
            worker.is_some_and(WorkerProcess::never_became_worker)
        };
        if self.slots.iter().any(never_became_worker) {
            return StartError::NoHandshake { status: None };
        }
        let is_ready = |slot: &&WorkerSlot| {
            let worker = slot.worker();
            worker.is_some_and(|worker| worker.stage == Stage::Ready)
        };
        let late = self.slots.iter().filter(|slot| !is_ready(slot));
        let mut died = late.filter(|slot| slot.died_before_ready);
        died.next_back()
            .map_or(StartError::TimedOut, |slot| StartError::Died {
                status: slot.last_exit_status,
            })
    }

    /// Handles a worker that has ended while the pool is starting: fails the start, or backs off and tries again.
    pub(super) fn handle_death_at_start(
        &mut self,
        index: usize,
        stage: Stage,
        start_failure: Option<String>,
        death: &DeadWorker,
    ) {
        let status = death.status;
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        slot.died_before_ready = true;
        slot.last_exit_status = status;
        let has_died_often = slot.consecutive_backoffs >= MAX_DEATHS_AT_START;
        let has_exited = status.is_none_or(|status| status.code().is_some());
        if let Some(what) = start_failure {
            self.fail_start(StartError::Unfit { what });
        } else if stage == Stage::Starting && (death.never_became_worker || has_exited) {
            self.fail_start(StartError::NoHandshake { status });
        } else if has_died_often {
            self.fail_start(StartError::Died { status });
        } else {
            self.back_off(index);
        }
    }
}
