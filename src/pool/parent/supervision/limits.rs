//! Enforces limits: ends tasks that run for too long, use too much memory, or are cancelled and do not end.
//!
//! Each worker records its task and the time of its start on the *board*, shared memory that the supervisor reads
//! ([`segment::board`](crate::segment::board)). So a task needs no message about its start. The supervisor reads the
//! board again only when a limit could first be exceeded. That time is `Supervisor::inspect_at`:
//!
//! | state                                      | next inspection                                     |
//! |--------------------------------------------|-----------------------------------------------------|
//! | a worker runs a task since `t`             | at `t` plus its next limit                          |
//! | a task may start after this inspection     | after the shortest limit, of the pool or of a task  |
//! | no task is in flight, or all are held back | when a task is submitted: this wakes the supervisor |
//! | a task with a shorter limit is submitted   | at once: this wakes the supervisor                  |
//! | tasks are in flight, and memory is limited | after [`MEMORY_INTERVAL`]                           |
//!
//! A task that starts after an inspection takes at least the shortest limit to exceed one. So an inspection that far
//! ahead is early enough for it.
//!
//! At its soft limit a task is asked to end. If it fails or crashes from then on, its outcome is a time-out. At its
//! hard limit its worker is killed:
//!
//! LIMIT-1. The results that have arrived are recorded first. If the outcome of the task is among them, it counts,
//!     and the worker is not killed.
//! LIMIT-2. The board is read again right before the kill. A worker that has moved on to another task is not killed.
//! LIMIT-3. If the worker starts another task between that read and the kill, the other task is sent again, and its
//!     attempt is not counted. The supervisor can tell, because the [reason](KillReason) of the kill names the task
//!     that the kill was for.
//! LIMIT-4. A worker that has finished its task but makes no progress within the grace time must be suspended (by
//!     `SIGSTOP`) or unable to send its result. It is killed, with the finished task as the reason. An idle worker
//!     that is suspended is not detected here; it delays no task.
//! LIMIT-5. The start time on the board may be too early, by up to the [resolution](clock::coarse_resolution) of the
//!     coarse clock. That much is added to each limit, so that no limit takes effect too early.

use super::reasons::{KillCause, KillReason};
use super::supervisor::{PendingKill, Phase, Supervisor, earlier};
use crate::os::clock;
use crate::pool::context::CANCELLED_BY_TIME_LIMIT;
use crate::pool::outcome::TaskId;
use crate::pool::parent::running_task::RunningTask;
use crate::pool::parent::settings::TaskLimits;
use core::time::Duration;
use std::time::Instant;

/// How often the memory of workers is read while tasks are in flight.
const MEMORY_INTERVAL: Duration = Duration::from_millis(100);
/// The shortest time between two inspections for tasks that may have started, however short a limit is.
const MIN_INTERVAL: Duration = Duration::from_millis(1);
/// The first delay before `enforce_kills` looks for a task again. It doubles each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl TaskLimits {
    /// Returns the shortest time in which a task that starts now can exceed a limit; `None` if there is no limit.
    fn shortest(&self) -> Option<Duration> {
        let memory = self.memory.map(|_| MEMORY_INTERVAL);
        [self.soft_time, self.hard_time, memory]
            .into_iter()
            .flatten()
            .min()
    }
}

impl Supervisor {
    /// Enforces the limits of running tasks, and adjusts the number of workers, which `staffing` does at the same
    /// times. Sets the time of the next inspection.
    pub(super) fn inspect(&mut self) {
        self.inspect_at = None;
        if self.phase != Phase::Running {
            return;
        }
        let shortest_own = self.results().with(|tasks| tasks.shortest_limit());
        let shortest = self.settings().limits.shortest();
        let shortest = shortest_own.into_iter().chain(shortest).min();
        let shortest = shortest.map(|shortest| shortest.max(MIN_INTERVAL));
        let is_elastic = self.size.is_elastic();
        if shortest.is_none() && self.pending_kills.is_empty() && !is_elastic {
            return;
        }
        // Record the results that have arrived, so that finished tasks no longer count as in flight.
        self.results().poll();
        let now = Instant::now();
        let mut next = self.enforce_kills(now);
        if shortest.is_some() {
            for index in 0..self.slots.len() {
                next = earlier(next, self.check_limits(index, shortest_own, now));
            }
        }
        // With a limit, the first task of an idle pool must wake this thread.
        let if_idle = if shortest.is_some() { 0 } else { usize::MAX };
        let (if_idle, if_busy) = self.wake_thresholds(if_idle);
        // Set the thresholds before `adjust_worker_count` reads the queue: a task submitted after that wakes this
        // thread.
        let held = self.held.len();
        let in_flight = self
            .results()
            .with(|tasks| tasks.set_wake_above(if_idle, if_busy, held));
        if in_flight > 0 {
            next = earlier(next, shortest.map(|shortest| clock::after(now, shortest)));
        }
        next = earlier(next, self.adjust_worker_count(now, in_flight));
        self.inspect_at = earlier(self.inspect_at, next);
    }

    /// Enforces the limits of the task that a worker runs. Returns when the task reaches the next one. `shortest_own`
    /// is the shortest time limit that any task has of its own.
    fn check_limits(
        &mut self,
        index: usize,
        shortest_own: Option<Duration>,
        now: Instant,
    ) -> Option<Instant> {
        let limits = self.settings().limits;
        let running = self.running_task(index)?;
        let id = running.task;
        let task = self.results().with(|tasks| tasks.get_mut(id).copied());
        // If the task has its outcome already, its entry is gone, and its own limit with it. Then what matters is how
        // long the worker has been stuck since, so any limit serves (LIMIT-4).
        let own = task.map_or(shortest_own, |task| task.own.time);
        let own = own.filter(|_| !mutant!(OwnLimitIgnored));
        let hard = own.or(limits.hard_time);
        let Some(task) = task.filter(|_| !running.is_sending) else {
            return if running.has_reached(hard) {
                self.kill_if_stuck(index, id, KillCause::TimedOut, now)
            } else {
                running.due(hard, now)
            };
        };
        if running.has_reached(hard) {
            self.kill_for_task(index, id, KillCause::TimedOut, false);
            return None;
        }
        if let Some(resident) = self.excess_memory(index) {
            self.kill_for_task(index, id, KillCause::TooMuchMemory { resident }, false);
            return None;
        }
        if running.has_reached(limits.soft_time) && !task.timed_out {
            self.signal_soft_limit(id);
        }
        earlier(running.due(limits.soft_time, now), running.due(hard, now))
    }

    /// Returns the task that the worker of a slot runs.
    fn running_task(&self, index: usize) -> Option<RunningTask> {
        let slot = self.slots.get(index)?;
        slot.worker()
            .filter(|worker| !worker.is_being_ended && !worker.process.only_wrapper_runs())?;
        RunningTask::read(self.board_entry(slot.number)?)
    }

    /// Returns the resident set of a worker, if that is above the limit.
    fn excess_memory(&self, index: usize) -> Option<u64> {
        let limit = self.settings().limits.memory?;
        let resident = self.worker(index)?.process.resident().ok()?;
        (resident > limit).then_some(resident)
    }

    /// Asks a task that has reached its soft limit to end.
    fn signal_soft_limit(&self, id: TaskId) {
        let board = &self.launcher.shared.board;
        self.results().with(|tasks| {
            let Some(task) = tasks.get_mut(id) else {
                return;
            };
            task.timed_out = true;
            if !mutant!(SoftLimitNotReported) {
                // Under the lock, as in `Shared::cancel`.
                board.cancel(id.0, CANCELLED_BY_TIME_LIMIT);
                tasks.wake_emitter(id);
            }
        });
    }

    /// Kills a worker that has finished this task and made no progress for the grace time (LIMIT-4). Returns when to
    /// check again.
    fn kill_if_stuck(
        &mut self,
        index: usize,
        id: TaskId,
        cause: KillCause,
        now: Instant,
    ) -> Option<Instant> {
        let grace = self.settings().grace;
        // Receive results: the worker may be waiting for room for its own.
        self.results().collect();
        let worker = self.worker_mut(index)?;
        let since = match worker.finished_task {
            Some((task, since)) if task == id => since,
            _ => now,
        };
        worker.finished_task = Some((id, since));
        let due = clock::after(since, grace);
        if due > now {
            return Some(due);
        }
        self.kill_for_task(index, id, cause, true);
        None
    }

    /// Kills a worker because of task `id`, unless the worker has moved on to another one (LIMIT-2), or the task has
    /// its outcome (LIMIT-1). If the task `is_finished`, its outcome does not matter (LIMIT-4).
    fn kill_for_task(&mut self, index: usize, id: TaskId, cause: KillCause, is_finished: bool) {
        let results = self.results();
        results.collect();
        if !is_finished && results.with(|tasks| tasks.get_mut(id).is_none()) {
            return;
        }
        let running = self.running_task(index);
        if running.is_none_or(|running| running.task != id) {
            return;
        }
        let task = Some(id);
        self.kill_worker(index, KillReason { task, cause });
    }

    /// Kills a worker, and records the reason (LIMIT-3).
    pub(super) fn kill_worker(&mut self, index: usize, reason: KillReason) {
        if let Some(worker) = self.worker_mut(index) {
            worker.kill_reason = Some(reason);
            let is_counted = worker.kill();
            self.worker_stats.killed += u64::from(is_counted);
        }
    }

    /// Schedules the kill of a cancelled task: see
    /// [`TaskHandle::cancel_within`](crate::pool::TaskHandle::cancel_within).
    pub(super) fn schedule_kill(&mut self, task: TaskId, due: Instant) {
        self.pending_kills.push(PendingKill {
            task,
            due,
            pause: FIRST_PAUSE,
        });
    }

    /// Kills the workers that run cancelled tasks whose grace time is over. Returns when the next kill is due.
    ///
    /// If no worker runs such a task, it is either still queued, and will not be started; or a worker was about to
    /// start it when it was cancelled. So this is repeated, after longer and longer delays, until the task has its
    /// outcome.
    fn enforce_kills(&mut self, now: Instant) -> Option<Instant> {
        let mut pending_kills = core::mem::take(&mut self.pending_kills);
        pending_kills.retain_mut(|kill| {
            if kill.due > now {
                return true;
            }
            let id = kill.task;
            if self.results().with(|tasks| tasks.get_mut(id).is_none()) {
                return false;
            }
            let found = (0..self.slots.len()).find_map(|index| {
                let running = self.running_task(index)?;
                (running.task == id).then_some((index, running.is_sending))
            });
            match found {
                Some((index, true)) => {
                    self.kill_if_stuck(index, id, KillCause::Cancelled, now);
                }
                Some((index, false)) => {
                    self.kill_for_task(index, id, KillCause::Cancelled, false);
                }
                None => {}
            }
            kill.due = clock::after(now, kill.pause);
            kill.pause = kill.pause.saturating_mul(2).min(LONGEST_PAUSE);
            true
        });
        // Nothing was added in the meantime: only this thread adds to the list, and not in the loop above.
        self.pending_kills = pending_kills;
        self.pending_kills.iter().map(|kill| kill.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_inspection_is_after_the_shortest_limit() {
        let [soft, hard] = [1, 2].map(|seconds| Some(Duration::from_secs(seconds)));
        let mut limits = TaskLimits::default();
        assert_eq!(limits.shortest(), None);
        limits.hard_time = hard;
        assert_eq!(limits.shortest(), hard);
        limits.soft_time = soft;
        assert_eq!(limits.shortest(), soft);
        limits.memory = Some(1);
        assert_eq!(limits.shortest(), Some(MEMORY_INTERVAL));
    }
}
