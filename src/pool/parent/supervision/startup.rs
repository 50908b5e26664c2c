//! The start of a pool, as its supervisor sees it, and of each worker.

use super::log;
use super::slot::{DeadWorker, SlotState, Stage, WorkerProcess, WorkerSlot};
use super::supervisor::{Phase, StopStep, Supervisor};
use super::watchlist::{key_of_link, key_of_process};
use crate::error::StartError;
use crate::os::child::ChildProcess;
use crate::os::clock;
use crate::os::link::Link;
use crate::pool::parent::events::Event;
use crate::pool::task::Task;
use crate::segment::board;
use std::io;
use std::time::Instant;

/// Deaths of one worker that was just started, before a start fails.
const DEATHS_AT_START: u32 = 3;

impl<T: Task> Supervisor<T> {
    /// Start a worker in a slot.
    pub(crate) fn start_worker(&mut self, index: usize) {
        let Some(number) = self.slots.get(index).map(|slot| slot.number) else {
            return;
        };
        if matches!(self.phase, Phase::Stopping { .. }) {
            return;
        }
        if let Some(line) = self.launcher.shared.board.entry(number) {
            line.reset();
        }
        let board = &self.launcher.shared.board;
        let previous_start = board
            .entry(number)
            .map_or(0, board::WorkerEntry::last_start);
        let launched = self.launcher.launch(number).and_then(|(link, process)| {
            let watched = self.watch(index, &link, &process);
            watched.map_err(|source| StartError::Os {
                what: "a worker can't be waited for",
                source,
            })?;
            Ok((link, process))
        });
        let overdue = Some(clock::after(Instant::now(), self.settings().start_timeout));
        match launched {
            Ok((link, process)) => {
                let pid = process.id();
                if let Some(slot) = self.slots.get_mut(index) {
                    let mut worker = WorkerProcess::new(link, process, overdue);
                    worker.previous_start = previous_start;
                    slot.state = SlotState::Occupied(worker);
                }
                self.worker_stats.started += 1;
                self.notify_listener(Event::Started {
                    worker: number,
                    pid,
                });
            }
            Err(error) if self.phase == Phase::Starting => self.fail(error),
            Err(error) => {
                log::start_failed(number, &error);
                self.record_failure(index, error.to_string());
                self.back_off(index);
            }
        }
    }

    /// Waits for a worker from now on.
    pub(crate) fn watch(
        &self,
        index: usize,
        link: &Link,
        process: &ChildProcess,
    ) -> io::Result<()> {
        self.watchlist.add(link, key_of_link(index))?;
        let added = self.watchlist.add(process, key_of_process(index));
        if added.is_err() {
            self.watchlist.remove(link);
        }
        added
    }

    /// Leave a slot empty for a while, the longer the more often it has failed.
    pub(crate) fn back_off(&mut self, index: usize) {
        let backoff = self.settings().respawn_backoff;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.consecutive_backoffs = slot.consecutive_backoffs.saturating_add(1);
            let until = clock::after(Instant::now(), backoff.after(slot.consecutive_backoffs));
            slot.state = SlotState::BackingOff { until };
        }
    }

    /// Why a start takes too long: workers that die, or are slow.
    pub(crate) fn late_start_error(&self) -> StartError {
        let is_ready = |slot: &&WorkerSlot| {
            let worker = slot.worker();
            worker.is_some_and(|worker| worker.stage == Stage::Ready)
        };
        let late = self.slots.iter().filter(|slot| !is_ready(slot));
        let mut died = late.filter(|slot| slot.died_before_ready);
        let never_became_worker = |slot: &WorkerSlot| {
            slot.worker()
                .is_some_and(WorkerProcess::never_became_worker)
        };
        if self.slots.iter().any(never_became_worker) {
            return StartError::NoHandshake { status: None };
        }
        died.next_back()
            .map_or(StartError::TimedOut, |slot| StartError::Died {
                status: slot.last_exit_status,
            })
    }

    pub(crate) fn check_all_ready(&mut self) {
        // Those beyond the least number are started when there is work for them.
        let is_ready = |slot: &WorkerSlot| match &slot.state {
            SlotState::Empty => true,
            SlotState::Occupied(worker) => worker.stage == Stage::Ready,
            SlotState::BackingOff { .. } => false,
        };
        if self.phase == Phase::Starting && self.slots.iter().all(is_ready) {
            self.phase = Phase::Running;
            self.inspect_at = Some(Instant::now());
            if let Some(start_result) = self.start_result.take() {
                // Gone if the thread that started the pool has panicked; then so is the pool, soon.
                let _ = start_result.send(Ok(()));
            }
        }
    }

    /// A worker does not fit, and never will.
    pub(crate) fn refuse(&mut self, number: u32, error: StartError) {
        if self.phase == Phase::Starting {
            self.fail(error);
        } else {
            log::start_failed(number, &error);
        }
    }

    /// The start has failed: end everybody at once.
    pub(crate) fn fail(&mut self, error: StartError) {
        if let Some(start_result) = self.start_result.take() {
            self.launcher.shared.results.refuse();
            let _ = start_result.send(Err(error));
        }
        self.give_up_empty_slots();
        self.escalate(StopStep::Terminated);
    }

    /// A worker that was never ready has ended, while the pool is being started.
    pub(crate) fn handle_failed_start(
        &mut self,
        index: usize,
        stage: Stage,
        start_failure: Option<String>,
        death: &DeadWorker,
    ) {
        let status = death.status;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.died_before_ready = true;
            slot.last_exit_status = status;
        }
        if let Some(what) = start_failure {
            self.fail(StartError::Unfit { what });
        } else if stage == Stage::Starting
            && (death.never_became_worker || status.is_none_or(|status| status.code().is_some()))
        {
            self.fail(StartError::NoHandshake { status });
        } else if self
            .slots
            .get(index)
            .is_some_and(|slot| slot.consecutive_backoffs >= DEATHS_AT_START)
        {
            self.fail(StartError::Died { status });
        } else {
            self.back_off(index);
        }
    }
}
