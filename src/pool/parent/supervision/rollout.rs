//! Changes of the workers at the request of a caller: a rolling restart, and another number of workers.
//!
//! | a slot has                          | a restart                             | fewer workers are wanted                      |
//! |-------------------------------------|---------------------------------------|-----------------------------------------------|
//! | a worker of an earlier generation   | is asked to stop, one after the other | as below                                      |
//! | an idle worker                      |                                       | is asked to stop, and not replaced            |
//! | a busy worker                       |                                       | the same, if there are not enough idle ones   |
//! | a worker that stops, to be replaced | waits for the next one                | is not replaced                               |
//! | a worker that is not ready          | waits until it is                     | the same; then it is asked to stop            |
//! | no process, for a while             | waits for the next one                | none is started                               |
//!
//! ROLLOUT-1. Each worker has the *generation* in which it was started. A restart begins another one. It asks a worker to stop
//!     only while all others take tasks. So never more than one worker is missing because of it, however long a task takes.
//! ROLLOUT-2. A restart is complete when a worker of its generation, or a later one, has been ready in each slot that has or
//!     gets a worker. It need not still live: a pool whose workers keep dying completes its restarts.
//! ROLLOUT-3. Nothing here waits, and every turn of the supervisor looks again. Once the pool stops, nothing is asked any more;
//!     callers that wait learn that it has ended.

use super::reasons::LeaveReason;
use super::rollout_list::Waiting;
use super::slot::{SlotState, Stage, WorkerSlot};
use super::supervisor::{Phase, Supervisor};
use crate::pool::parent::settings::PoolSize;
use std::sync::mpsc::Sender;

impl Supervisor {
    /// Begins a restart of all workers that there are now.
    pub(super) fn begin_recycling(&mut self, done: Sender<()>) {
        self.rollouts.generation += 1;
        let generation = self.rollouts.generation;
        self.rollouts.waiting.push(Waiting { generation, done });
    }

    /// Begins to change the number of workers.
    pub(super) fn begin_resizing(&mut self, size: PoolSize, done: Sender<()>) {
        self.size = size;
        self.rollouts.is_resizing = true;
        let generation = 0;
        self.rollouts.waiting.push(Waiting { generation, done });
        self.inspect_soon();
    }

    /// Does the next step of what is under way.
    pub(super) fn continue_rollouts(&mut self) {
        if self.phase != Phase::Running {
            return;
        }
        if self.rollouts.is_resizing {
            self.resize();
        }
        if self.rollouts.generation > 0 {
            self.recycle_next();
        }
        if !self.rollouts.waiting.is_empty() && !self.rollouts.is_resizing {
            self.report_complete_rollouts();
        }
    }

    /// Ends all waits for rollouts (ROLLOUT-3).
    pub(super) fn end_rollouts(&mut self) {
        self.rollouts.waiting.clear();
        self.launcher.shared.commands.close();
    }

    /// Returns how many slots have a worker that will be replaced when it ends, or get one.
    pub(super) fn position_count(&self) -> usize {
        self.slots.iter().filter(|slot| is_position(slot)).count()
    }

    /// Asks a worker of an earlier generation to stop if all others take tasks (ROLLOUT-1): an idle one, if there is any.
    fn recycle_next(&mut self) {
        let generation = self.rollouts.generation;
        let is_stale = |slot: &WorkerSlot| {
            let worker = slot.worker();
            slot.takes_tasks() && worker.is_some_and(|worker| worker.generation < generation)
        };
        let is_complete = |slot: &WorkerSlot| !is_position(slot) || slot.takes_tasks();
        if !self.slots.iter().any(is_stale)
            || !self.slots.iter().all(is_complete) && !mutant!(RecycledAllAtOnce)
        {
            return;
        }
        let is_idle = |slot: &WorkerSlot| is_stale(slot) && !self.is_busy(slot.number);
        let idle = self.slots.iter().position(is_idle);
        if let Some(index) = idle.or_else(|| self.slots.iter().position(is_stale)) {
            self.ask_to_stop(index, LeaveReason::Recycled);
        }
    }

    /// Starts workers that are missing, and lets go of those that are too many.
    fn resize(&mut self) {
        let size = self.size;
        for _ in self.position_count()..size.min as usize {
            match self.slots.iter().position(WorkerSlot::is_empty) {
                Some(index) => self.start_worker(index),
                // A worker that is not replaced has not ended yet.
                None => break,
            }
        }
        for _ in size.max as usize..self.position_count() {
            if !self.let_one_go() {
                break;
            }
        }
        let positions = self.position_count();
        let occupied = self.slots.iter().filter(|slot| slot.worker().is_some());
        let is_within = (size.min as usize..=size.max as usize).contains(&positions);
        self.rollouts.is_resizing = !is_within || occupied.count() > size.max as usize;
    }

    /// Takes a slot whose worker is missed least, and makes sure that it gets no other one. Returns false if none can be let go
    /// now.
    fn let_one_go(&mut self) -> bool {
        let backs_off = |slot: &WorkerSlot| matches!(slot.state, SlotState::BackingOff { .. });
        if let Some(slot) = self.slots.iter_mut().rfind(|slot| backs_off(slot)) {
            slot.empty();
            return true;
        }
        let stops = |slot: &WorkerSlot| {
            let stage = slot.worker().map(|worker| worker.stage);
            is_position(slot) && stage == Some(Stage::Stopping) || leaves(slot)
        };
        let has_stopping = self.slots.iter_mut().rfind(|slot| stops(slot));
        if let Some(worker) = has_stopping.and_then(WorkerSlot::worker_mut) {
            worker.leave_reason = Some(LeaveReason::Surplus);
            return true;
        }
        let idle = self.slots.iter().rposition(|slot| self.is_idle(slot));
        let any = || self.slots.iter().rposition(WorkerSlot::takes_tasks);
        let Some(index) = idle.or_else(any) else {
            return false;
        };
        self.ask_to_stop(index, LeaveReason::Surplus);
        true
    }

    /// Reports the changes that are complete (ROLLOUT-2).
    fn report_complete_rollouts(&mut self) {
        let positions = self.slots.iter().filter(|slot| is_position(slot));
        let generations = positions.map(|slot| slot.ready_generation);
        // `None`, which no worker was ready in, is less than any number.
        let Some(oldest) = generations.min().unwrap_or(Some(u64::MAX)) else {
            return;
        };
        let is_complete = |waiting: &mut Waiting| waiting.generation <= oldest;
        let waiting = &mut self.rollouts.waiting;
        let complete: Vec<Waiting> = waiting.extract_if(.., is_complete).collect();
        if complete.is_empty() {
            return;
        }
        // Before a caller wakes, and compares.
        self.publish_staff();
        for waiting in complete {
            // The caller may not wait.
            let _ = waiting.done.send(());
        }
    }
}

/// Returns whether a slot has a worker that will be replaced when it ends, or gets one.
fn is_position(slot: &WorkerSlot) -> bool {
    match &slot.state {
        SlotState::Empty => false,
        SlotState::Occupied(worker) => !worker.is_not_replaced(),
        SlotState::BackingOff { .. } => true,
    }
}

/// Returns whether a worker was asked to stop, and will be replaced.
fn leaves(slot: &WorkerSlot) -> bool {
    let worker = slot.worker();
    is_position(slot) && worker.is_some_and(|worker| worker.leave_reason.is_some())
}
