//! What becomes of a worker that has died, and of its slot.

use super::log;
use super::outage::EndedWorker;
use super::reasons::LeaveReason;
use super::slot::{self, DeadWorker, SlotState, Stage, WorkerSlot};
use super::supervisor::{Phase, Supervisor};
use crate::error::ending;
use crate::os::clock;
use crate::pool::parent::events::Event;
use crate::pool::task::Task;
use crate::pool::wire::task_phase;
use crate::segment::board;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

impl<T: Task> Supervisor<T> {
    /// A worker has ended: reap it, and see to its task and its place.
    pub(crate) fn reap_worker(&mut self, index: usize) {
        if !self.check_ended(index) {
            return;
        }
        let Some(worker) = self.slots.get_mut(index).and_then(WorkerSlot::worker_mut) else {
            return;
        };
        self.strays.extend(core::mem::take(&mut worker.strays));
        self.strays.extend_from_group(&mut worker.process);
        let status = worker.process.reap().ok().flatten();
        self.receive_remaining(index);
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let SlotState::Occupied(worker) = core::mem::replace(&mut slot.state, SlotState::Empty)
        else {
            return;
        };
        self.watchlist.remove(&worker.link);
        // The link of one that has ended is closed in any case. A signal that this process has not sent says nothing about
        // what it would have become.
        let is_by_others = !worker.is_being_ended && status.is_some_and(|it| it.signal().is_some());
        let never_became_worker =
            worker.never_became_worker() && (worker.starts_pool || !is_by_others);
        let slot::WorkerProcess {
            process,
            stage,
            is_being_ended,
            got_sigterm,
            is_counted_as_killed,
            start_failure,
            kill_reason,
            leave_reason,
            previous_start,
            ready_since,
            pid_in_namespace,
            ..
        } = worker;
        let pid = process.id();
        // One that exits after SIGTERM has obeyed.
        let is_by_signal = status.is_none_or(|status| status.signal().is_some());
        self.worker_stats.killed += u64::from(got_sigterm && !is_counted_as_killed && is_by_signal);
        let line = self.launcher.shared.board.entry(number);
        let last_start = line.map_or(previous_start, board::WorkerEntry::last_start);
        let is_stopping = matches!(self.phase, Phase::Stopping { .. });
        let death = DeadWorker {
            pid: pid_in_namespace.unwrap_or(pid),
            status,
            running: line.and_then(board::WorkerEntry::running),
            was_decoding: line.is_some_and(|line| line.phase() == task_phase::DECODING),
            has_started_task: last_start != previous_start,
            was_ended_by_shutdown: is_being_ended && is_stopping,
            kill_reason,
            never_became_worker,
        };
        self.notify_listener(Event::Exited {
            worker: number,
            pid,
            status,
        });
        // Nobody waits for one to be ready when all are to stop.
        let is_expected =
            stage == Stage::Stopping || is_being_ended || is_stopping && stage < Stage::Ready;
        if !is_expected {
            self.worker_stats.died += 1;
            let task = death.running.map(|running| running.task);
            log::died(number, pid, &ending(death.status), task);
        }
        let service = EndedWorker {
            stage,
            is_being_ended,
            start_failure: start_failure.clone(),
            status: death.status,
            has_started_task: death.has_started_task,
            ready_since,
        };
        self.dead_workers.push(death);
        self.settle_tasks();
        self.record_end(index, service);
        self.refill_slot(index, stage, start_failure, leave_reason, &death);
    }

    /// Whether the worker of a slot has ended, and its wrapper, which has some time for it.
    fn check_ended(&mut self, index: usize) -> bool {
        let patience = clock::after(Instant::now(), self.settings().grace);
        let Some(worker) = self.slots.get_mut(index).and_then(WorkerSlot::worker_mut) else {
            return false;
        };
        let was_only_wrapper = worker.process.only_wrapper_runs();
        let is_over = worker.has_ended();
        if worker.process.only_wrapper_runs() && !was_only_wrapper {
            worker.retire_at = None;
            worker.overdue = Some(patience);
        }
        // One that has ended would be reported again and again.
        for ended in worker.process.exited() {
            self.watchlist.remove(ended);
        }
        is_over
    }

    /// Everything that it has said (SLOT-2 of the slot), and no more (DEATH-4).
    fn receive_remaining(&mut self, index: usize) {
        /// More than a link has room for.
        const MANY: u32 = 1 << 16;
        let worker = self.slots.get(index).and_then(WorkerSlot::worker);
        let pending = worker.and_then(|worker| worker.link.pending_bytes().ok());
        let mut left = pending.unwrap_or(u64::MAX);
        for _ in 0..MANY {
            if left == 0 {
                return;
            }
            let Some(length) = self.receive_message(index) else {
                return;
            };
            left = left.saturating_sub(length as u64);
        }
    }

    /// See to the place of a worker that has ended.
    fn refill_slot(
        &mut self,
        index: usize,
        stage: Stage,
        start_failure: Option<String>,
        leave_reason: Option<LeaveReason>,
        death: &DeadWorker,
    ) {
        self.inspect_soon();
        match self.phase {
            Phase::Running if mutant!(DeadNotReplaced) => {}
            Phase::Stopping { .. } => {}
            Phase::Starting => {
                self.handle_failed_start(index, stage, start_failure, death);
            }
            Phase::Running if leave_reason == Some(LeaveReason::Idle) => {}
            Phase::Running => {
                let has_left = stage == Stage::Stopping || death.kill_reason.is_some();
                if has_left || death.has_started_task {
                    if let Some(slot) = self.slots.get_mut(index) {
                        slot.consecutive_backoffs = 0;
                    }
                    self.start_worker(index);
                } else {
                    self.back_off(index);
                }
            }
        }
    }

    /// See to a worker that no pidfd tells of: its child has ended before it has said who it is, and now its link has, too, or
    /// it was killed.
    pub(crate) fn reap_unwatched(&mut self, index: usize) {
        let worker = self.slots.get_mut(index).and_then(WorkerSlot::worker_mut);
        if worker.is_some_and(|worker| !worker.process.has_running() && worker.has_ended()) {
            self.reap_worker(index);
        }
    }
}
