//! The death of a worker: reaping it, and refilling its slot.
//!
//! DEATH-1. The kernel's report of a death comes before messages of the worker: a forked child that has the link of a
//!     dead worker may flood it forever. What the worker itself has sent was on the link when it was reaped, so only
//!     as many bytes are received as were there then.

use super::slot::{DeadWorker, SlotState, Stage, WorkerProcess};
use super::supervisor::{Phase, Supervisor};
use crate::os::clock;
use crate::pool::outcome::TaskId;
use crate::pool::parent::events::Event;
use crate::pool::wire::task_phase;
use crate::segment::board::WorkerEntry;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Instant;

impl Supervisor {
    /// Reaps the worker of a slot if it has ended, settles its task, and refills the slot.
    pub(super) fn reap_worker(&mut self, index: usize) {
        if !self.has_worker_ended(index) {
            return;
        }
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let Some(worker) = slot.worker_mut() else {
            return;
        };
        self.strays.extend(core::mem::take(&mut worker.strays));
        self.strays.extend_from_group(&mut worker.process);
        let status = worker.process.reap().ok().flatten();
        self.receive_remaining(index);
        self.results().with(|tasks| tasks.spans.note_death(number));
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let SlotState::Occupied(mut worker) = core::mem::replace(&mut slot.state, SlotState::Empty)
        else {
            return;
        };
        self.watchlist.remove(&worker.link);
        self.finish_output(number, &mut worker);
        let death = self.describe(number, &worker, status);
        self.report_death(number, &worker, &death);
        self.note_death(&worker, &death);
        self.dead_workers.push(death);
        // Before a caller has the outcome of the task, and compares.
        let staff = &self.launcher.shared.staff;
        staff.publish_counts(self.worker_stats);
        self.settle_tasks();
        self.record_end(index, &worker, &death);
        self.refill_slot(index, worker, &death);
        self.note_replacement(index, &death);
        self.report_deaths();
    }

    /// Reaps a worker that no pidfd of the watchlist reports: its wrapper has ended before the worker identified
    /// itself, and now its link is closed, or it was killed.
    pub(super) fn reap_unwatched(&mut self, index: usize) {
        let worker = self.worker_mut(index);
        if worker.is_some_and(|worker| !worker.process.has_running() && worker.has_ended()) {
            self.reap_worker(index);
        }
    }

    /// Returns whether the worker of a slot has ended, and so has its wrapper, which gets some time for it.
    fn has_worker_ended(&mut self, index: usize) -> bool {
        let deadline = clock::after(Instant::now(), self.settings().grace);
        let Some(slot) = self.slots.get_mut(index) else {
            return false;
        };
        let Some(worker) = slot.worker_mut() else {
            return false;
        };
        let was_only_wrapper = worker.process.only_wrapper_runs();
        let has_ended = worker.has_ended();
        if worker.process.only_wrapper_runs() && !was_only_wrapper {
            worker.retire_at = None;
            worker.deadline = Some(deadline);
        }
        // The pidfd of a process that has ended stays readable.
        for exited in worker.process.exited() {
            self.watchlist.remove(exited);
        }
        has_ended
    }

    /// Receives the messages that a dead worker has sent (SLOT-2), and no more (DEATH-1).
    fn receive_remaining(&mut self, index: usize) {
        /// More messages than a link has room for.
        const MAX_MESSAGES: u32 = 1 << 16;
        let worker = self.worker(index);
        let pending = worker.and_then(|worker| worker.link.pending_bytes().ok());
        let mut left = pending.unwrap_or(u64::MAX);
        for _ in 0..MAX_MESSAGES {
            if left == 0 {
                return;
            }
            let Some(length) = self.receive_message(index) else {
                return;
            };
            left = left.saturating_sub(length as u64);
        }
    }

    fn describe(
        &self,
        number: u32,
        worker: &WorkerProcess,
        status: Option<ExitStatus>,
    ) -> DeadWorker {
        // The link of a process that has ended is closed in any case. A signal that this process has not sent says
        // nothing about what the process would have become.
        let got_foreign_signal =
            !worker.is_being_ended && status.is_some_and(|it| it.signal().is_some());
        let entry = self.board_entry(number);
        let last_start = entry.map_or(worker.previous_start, WorkerEntry::last_start);
        let running = entry.and_then(WorkerEntry::running);
        DeadWorker {
            worker: number,
            pid_here: worker.pid(),
            pid: worker.pid_in_namespace.unwrap_or(worker.pid()),
            status,
            running: running.map(|running| TaskId(running.task)),
            was_decoding: entry.is_some_and(|entry| entry.phase() == task_phase::DECODING),
            has_started_task: last_start != worker.previous_start,
            was_ended_by_shutdown: worker.is_being_ended && self.is_stopping(),
            kill_reason: worker.kill_reason,
            never_became_worker: worker.never_became_worker()
                && (worker.starts_pool || !got_foreign_signal),
        }
    }

    /// Counts a death, and lets the listener know. The event of `tracing` comes when its task is settled.
    fn report_death(&mut self, number: u32, worker: &WorkerProcess, death: &DeadWorker) {
        let (pid, status) = (worker.pid(), death.status);
        // A worker that exits after `SIGTERM` was not killed.
        let by_signal = status.is_none_or(|status| status.signal().is_some());
        let is_killed = worker.got_sigterm && !worker.is_counted_as_killed && by_signal;
        self.worker_stats.killed += u64::from(is_killed);
        self.notify_listener(Event::Exited {
            worker: number,
            pid,
            status,
        });
        // During the end of the pool, nothing waits for a worker to become ready.
        let is_expected = worker.stage == Stage::Stopping
            || worker.is_being_ended
            || self.is_stopping() && worker.stage < Stage::Ready;
        if !is_expected {
            self.worker_stats.died += 1;
        }
    }

    /// Starts another worker in the slot of one that has ended, if the pool needs one.
    fn refill_slot(&mut self, index: usize, worker: WorkerProcess, death: &DeadWorker) {
        self.inspect_soon();
        match self.phase {
            Phase::Running if mutant!(DeadNotReplaced) => {}
            Phase::Stopping { .. } => {}
            Phase::Starting => {
                self.handle_death_at_start(index, worker.stage, worker.start_failure, death);
            }
            // The slot counts no more: it is empty.
            Phase::Running
                if worker.is_not_replaced() || self.position_count() >= self.size.max as usize =>
            {
                if let Some(slot) = self.slots.get_mut(index) {
                    slot.empty();
                }
            }
            Phase::Running => {
                let has_left = worker.stage == Stage::Stopping || death.kill_reason.is_some();
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
}
