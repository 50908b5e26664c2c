//! The start of a pool, as its supervisor sees it, and of each worker.

use super::log;
use super::slot::{DeadPeer, Slot, Stage, State, Worker};
use super::supervisor::{Phase, Step, Supervisor};
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
    pub(crate) fn fill(&mut self, index: usize) {
        let Some(number) = self.slots.get(index).map(|slot| slot.number) else {
            return;
        };
        if matches!(self.course, Phase::Stopping { .. }) {
            return;
        }
        if let Some(line) = self.launcher.shared.board.entry(number) {
            line.reset();
        }
        let board = &self.launcher.shared.board;
        let start_before = board
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
                    let mut worker = Worker::new(link, process, overdue);
                    worker.start_before = start_before;
                    slot.state = State::Occupied(worker);
                }
                self.toll.started += 1;
                self.tell(Event::Started {
                    worker: number,
                    pid,
                });
            }
            Err(error) if self.course == Phase::Starting => self.fail(error),
            Err(error) => {
                log::failure(number, &error);
                self.note_failure(index, error.to_string());
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
            slot.failures = slot.failures.saturating_add(1);
            let until = clock::after(Instant::now(), backoff.after(slot.failures));
            slot.state = State::BackingOff { until };
        }
    }

    /// Why a start takes too long: workers that die, or are slow.
    pub(crate) fn late_start(&self) -> StartError {
        let is_ready = |slot: &&Slot| {
            let worker = slot.worker();
            worker.is_some_and(|worker| worker.stage == Stage::Ready)
        };
        let late = self.slots.iter().filter(|slot| !is_ready(slot));
        let mut died = late.filter(|slot| slot.has_died_early);
        let is_no_worker = |slot: &Slot| slot.worker().is_some_and(Worker::is_no_worker);
        if self.slots.iter().any(is_no_worker) {
            return StartError::NoHandshake { status: None };
        }
        died.next_back()
            .map_or(StartError::TimedOut, |slot| StartError::Died {
                status: slot.last_status,
            })
    }

    pub(crate) fn look_whether_started(&mut self) {
        // Those beyond the least number are started when there is work for them.
        let is_ready = |slot: &Slot| match &slot.state {
            State::Absent => true,
            State::Occupied(worker) => worker.stage == Stage::Ready,
            State::BackingOff { .. } => false,
        };
        if self.course == Phase::Starting && self.slots.iter().all(is_ready) {
            self.course = Phase::Running;
            self.inspection = Some(Instant::now());
            if let Some(starter) = self.starter.take() {
                // Gone if the thread that started the pool has panicked; then so is the pool, soon.
                let _ = starter.send(Ok(()));
            }
        }
    }

    /// A worker does not fit, and never will.
    pub(crate) fn refuse(&mut self, number: u32, error: StartError) {
        if self.course == Phase::Starting {
            self.fail(error);
        } else {
            log::failure(number, &error);
        }
    }

    /// The start has failed: end everybody at once.
    pub(crate) fn fail(&mut self, error: StartError) {
        if let Some(starter) = self.starter.take() {
            self.launcher.shared.inbox.refuse();
            let _ = starter.send(Err(error));
        }
        self.leave_empty_slots();
        self.press(Step::Terminated);
    }

    /// A worker that was never ready has ended, while the pool is being started.
    pub(crate) fn has_failed_to_start(
        &mut self,
        index: usize,
        stage: Stage,
        unfit: Option<String>,
        death: &DeadPeer,
    ) {
        let status = death.status;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.has_died_early = true;
            slot.last_status = status;
        }
        if let Some(what) = unfit {
            self.fail(StartError::Unfit { what });
        } else if stage == Stage::Starting
            && (death.was_no_worker || status.is_none_or(|status| status.code().is_some()))
        {
            self.fail(StartError::NoHandshake { status });
        } else if self
            .slots
            .get(index)
            .is_some_and(|slot| slot.failures >= DEATHS_AT_START)
        {
            self.fail(StartError::Died { status });
        } else {
            self.back_off(index);
        }
    }
}
