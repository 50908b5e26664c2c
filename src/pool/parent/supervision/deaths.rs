//! What becomes of a worker that has died, and of its slot.

use super::log;
use super::outage::Service;
use super::reasons::Leave;
use super::slot::{self, DeadPeer, Slot, Stage, State};
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
    pub(crate) fn bury(&mut self, index: usize) {
        if !self.has_worker_ended(index) {
            return;
        }
        let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) else {
            return;
        };
        self.strays.extend(core::mem::take(&mut worker.strays));
        self.strays.extend_from_group(&mut worker.process);
        let status = worker.process.reap().ok().flatten();
        self.hear_the_last(index);
        let Some(slot) = self.slots.get_mut(index) else {
            return;
        };
        let number = slot.number;
        let State::Occupied(worker) = core::mem::replace(&mut slot.state, State::Absent) else {
            return;
        };
        self.watchlist.remove(&worker.link);
        // The link of one that has ended is closed in any case. A signal that this process has not sent says nothing about
        // what it would have become.
        let is_by_others = !worker.is_doomed && status.is_some_and(|it| it.signal().is_some());
        let was_no_worker = worker.is_no_worker() && (worker.has_renounced || !is_by_others);
        let slot::Worker {
            process,
            stage,
            is_doomed,
            is_terminated,
            is_counted,
            unfit,
            struck,
            leaves,
            start_before,
            ready_since,
            own_pid,
            ..
        } = worker;
        let pid = process.id();
        // One that exits after SIGTERM has obeyed.
        let is_by_signal = status.is_none_or(|status| status.signal().is_some());
        self.toll.killed += u64::from(is_terminated && !is_counted && is_by_signal);
        let line = self.launcher.shared.board.entry(number);
        let last_start = line.map_or(start_before, board::WorkerEntry::last_start);
        let is_stopping = matches!(self.course, Phase::Stopping { .. });
        let death = DeadPeer {
            pid: own_pid.unwrap_or(pid),
            status,
            running: line.and_then(board::WorkerEntry::running),
            was_decoding: line.is_some_and(|line| line.phase() == task_phase::DECODING),
            has_run: last_start != start_before,
            was_doomed: is_doomed && is_stopping,
            struck,
            was_no_worker,
        };
        self.tell(Event::Exited {
            worker: number,
            pid,
            status,
        });
        // Nobody waits for one to be ready when all are to stop.
        let is_expected =
            stage == Stage::Stopping || is_doomed || is_stopping && stage < Stage::Ready;
        if !is_expected {
            self.toll.died += 1;
            let task = death.running.map(|running| running.task);
            log::death(number, pid, &ending(death.status), task);
        }
        let service = Service {
            stage,
            is_doomed,
            unfit: unfit.clone(),
            status: death.status,
            has_run: death.has_run,
            ready_since,
        };
        self.deceased.push(death);
        self.settle();
        self.note_service(index, service);
        self.refill(index, stage, unfit, leaves, &death);
    }

    /// Whether the worker of a slot has ended, and its wrapper, which has some time for it.
    fn has_worker_ended(&mut self, index: usize) -> bool {
        let patience = clock::after(Instant::now(), self.settings().grace);
        let Some(worker) = self.slots.get_mut(index).and_then(Slot::worker_mut) else {
            return false;
        };
        let was_only_wrapper = worker.process.only_wrapper_runs();
        let is_over = worker.is_over();
        if worker.process.only_wrapper_runs() && !was_only_wrapper {
            worker.expires = None;
            worker.overdue = Some(patience);
        }
        // One that has ended would be reported again and again.
        for ended in worker.process.exited() {
            self.watchlist.remove(ended);
        }
        is_over
    }

    /// Everything that it has said (SLOT-2 of the slot), and no more (DEATH-4).
    fn hear_the_last(&mut self, index: usize) {
        /// More than a link has room for.
        const MANY: u32 = 1 << 16;
        let worker = self.slots.get(index).and_then(Slot::worker);
        let pending = worker.and_then(|worker| worker.link.pending_bytes().ok());
        let mut left = pending.unwrap_or(u64::MAX);
        for _ in 0..MANY {
            if left == 0 {
                return;
            }
            let Some(length) = self.hear(index) else {
                return;
            };
            left = left.saturating_sub(length as u64);
        }
    }

    /// See to the place of a worker that has ended.
    fn refill(
        &mut self,
        index: usize,
        stage: Stage,
        unfit: Option<String>,
        leaves: Option<Leave>,
        death: &DeadPeer,
    ) {
        self.look_at_staff_soon();
        match self.course {
            Phase::Running if mutant!(DeadNotReplaced) => {}
            Phase::Stopping { .. } => {}
            Phase::Starting => {
                self.has_failed_to_start(index, stage, unfit, death);
            }
            Phase::Running if leaves == Some(Leave::Idle) => {}
            Phase::Running => {
                let has_left = stage == Stage::Stopping || death.struck.is_some();
                if has_left || death.has_run {
                    if let Some(slot) = self.slots.get_mut(index) {
                        slot.failures = 0;
                    }
                    self.fill(index);
                } else {
                    self.back_off(index);
                }
            }
        }
    }

    /// See to a worker that no pidfd tells of: its child has ended before it has said who it is, and now its link has, too, or
    /// it was killed.
    pub(crate) fn bury_unwatched(&mut self, index: usize) {
        let worker = self.slots.get_mut(index).and_then(Slot::worker_mut);
        if worker.is_some_and(|worker| !worker.process.has_running() && worker.is_over()) {
            self.bury(index);
        }
    }
}
