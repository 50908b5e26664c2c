//! Tasks that run for too long, use too much memory, or are cancelled and go on.
//!
//! The board tells what runs, and since when: this takes no message, and no clock is read for a task without a limit.
//! The supervisor inspects the board when the first limit could be exceeded, and not before:
//!
//! | state                                      | next inspection                                     |
//! |--------------------------------------------|-----------------------------------------------------|
//! | a worker runs a task since `t`             | at `t` plus its next limit                          |
//! | a worker runs no task                      | after the shortest limit, of the pool or of a task  |
//! | no task is in flight                       | when a task is submitted: this wakes the supervisor |
//! | a task with a shorter limit is submitted   | at once: this wakes the supervisor                  |
//! | tasks are in flight, and memory is limited | after [`MEMORY_INTERVAL`]                           |
//!
//! At its soft limit a task is asked to end; if it fails from then on, its outcome is a time-out. At its hard limit
//! its worker is killed:
//!
//! LIMIT-1. The results that have arrived are recorded first. If the outcome of the task is among them, it counts,
//!     and the worker is not killed.
//! LIMIT-2. The board is read again right before the kill. A worker that has gone on to another task is not killed.
//! LIMIT-3. If the worker goes on between that read and the kill, the other task is sent again, and the attempt not
//!     counted: the [reason](KillReason) of the kill names the task that it was for.
//! LIMIT-4. A worker that has finished its task, and makes no progress within the grace time, is stopped, or can't
//!     send its result. It is killed because of the finished task. A worker that is stopped while it has no task is
//!     not noticed here. It delays no task.
//! LIMIT-5. The start time on the board may be too early, by up to the [resolution](clock::coarse_resolution) of the
//!     coarse clock. That much is added to each limit, so that no limit takes effect too early.

use super::reasons::{KillCause, KillReason};
use super::supervisor::{PendingKill, Phase, Supervisor, earlier};
use crate::os::clock;
use crate::pool::context::CANCELLED_BY_TIME_LIMIT;
use crate::pool::outcome::TaskId;
use crate::pool::parent::settings::TaskLimits;
use crate::pool::task::Task;
use crate::pool::wire::task_phase;
use crate::segment::board::WorkerEntry;
use core::time::Duration;
use std::time::Instant;

/// How often the memory of workers is read while tasks are in flight.
const MEMORY_INTERVAL: Duration = Duration::from_millis(100);
/// The shortest time between two inspections for tasks that may have started, however short a limit is.
const MIN_INTERVAL: Duration = Duration::from_millis(1);
/// The first pause after a task that is to be killed was not found running. It doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl TaskLimits {
    /// Returns how long after an inspection a task that starts after it can exceed a limit; `None` if there is no
    /// limit.
    fn shortest(&self) -> Option<Duration> {
        let memory = self.memory.map(|_| MEMORY_INTERVAL);
        [self.soft_time, self.hard_time, memory]
            .into_iter()
            .flatten()
            .min()
    }
}

/// The task that a worker runs, as the worker's entry on the board tells.
#[derive(Clone, Copy, Debug)]
struct RunningTask {
    task: TaskId,
    /// The least time for which it has run (LIMIT-5).
    age: Duration,
    /// Whether it is finished, and its result is being sent.
    is_sending: bool,
}

impl RunningTask {
    fn read(entry: &WorkerEntry) -> Option<Self> {
        let (running, phase) = loop {
            let running = entry.running()?;
            let phase = entry.phase();
            // The phase is of this task only if the worker has not gone on meanwhile.
            if entry.running() == Some(running) {
                break (running, phase);
            }
        };
        let started = running.started.saturating_add(clock::coarse_resolution());
        Some(Self {
            task: TaskId(running.task),
            age: Duration::from_nanos(clock::now().saturating_sub(started)),
            is_sending: phase == task_phase::SENDING,
        })
    }

    /// Returns when the task reaches this age; `None` if it has.
    fn reaches(&self, age: Option<Duration>, now: Instant) -> Option<Instant> {
        let left = age?.checked_sub(self.age)?;
        (!left.is_zero()).then(|| clock::after(now, left))
    }

    fn is_beyond(&self, age: Option<Duration>) -> bool {
        if mutant!(HardLimitIgnored) {
            return false;
        }
        age.is_some_and(|age| self.age >= age)
    }
}

impl<T: Task> Supervisor<T> {
    /// Inspects the tasks that run and the number of workers, does what is due, and sets the time of the next
    /// inspection.
    pub(super) fn inspect(&mut self) {
        self.inspect_at = None;
        if self.phase != Phase::Running {
            return;
        }
        let shortest_own = self.results().with(|tasks| tasks.shortest_limit());
        let shortest = self.settings().limits.shortest();
        let shortest = shortest_own.into_iter().chain(shortest).min();
        let shortest = shortest.map(|shortest| shortest.max(MIN_INTERVAL));
        let is_elastic = self.settings().workers.is_elastic();
        if shortest.is_none() && self.pending_kills.is_empty() && !is_elastic {
            return;
        }
        // So that only tasks that are queued or run are in flight.
        self.results().poll();
        let now = Instant::now();
        let mut next = self.enforce_kills(now);
        if shortest.is_some() {
            for index in 0..self.slots.len() {
                next = earlier(next, self.check_limits(index, shortest_own, now));
            }
        }
        let idle = if shortest.is_some() { 0 } else { usize::MAX };
        let (idle, busy) = self.wake_thresholds(idle);
        // Before the queue is read: what is submitted after that wakes this thread.
        let in_flight = self
            .results()
            .with(|tasks| tasks.set_wake_above(idle, busy));
        if in_flight > 0 {
            next = earlier(next, shortest.map(|shortest| clock::after(now, shortest)));
        }
        next = earlier(next, self.adjust_worker_count(now, in_flight));
        self.inspect_at = earlier(self.inspect_at, next);
    }

    /// Checks the limits of the task that a worker runs. Returns when it reaches the next one. `shortest_own` is the
    /// shortest limit that a task has of its own.
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
        // A task that has its outcome is not known any more, nor is its own limit. It is finished, so any limit will do
        // (LIMIT-4).
        let own = task.map_or(shortest_own, |task| task.limit);
        let own = own.filter(|_| !mutant!(OwnLimitIgnored));
        let hard = own.or(limits.hard_time);
        let Some(task) = task.filter(|_| !running.is_sending) else {
            return if running.is_beyond(hard) {
                self.kill_if_stuck(index, id, KillCause::TimedOut, now)
            } else {
                running.reaches(hard, now)
            };
        };
        if running.is_beyond(hard) {
            self.kill_for_task(index, id, KillCause::TimedOut, false);
            return None;
        }
        if let Some(resident) = self.excess_memory(index) {
            self.kill_for_task(index, id, KillCause::TooMuchMemory { resident }, false);
            return None;
        }
        if running.is_beyond(limits.soft_time) && !task.timed_out {
            self.signal_soft_limit(id);
        }
        earlier(
            running.reaches(limits.soft_time, now),
            running.reaches(hard, now),
        )
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

    /// Asks a task to end that has reached its soft limit.
    fn signal_soft_limit(&self, id: TaskId) {
        let is_in_flight = self.results().with(|tasks| {
            tasks.get_mut(id)?.timed_out = true;
            Some(())
        });
        if is_in_flight.is_some() && !mutant!(SoftLimitNotReported) {
            let board = &self.launcher.shared.board;
            board.cancel(id.0, CANCELLED_BY_TIME_LIMIT);
        }
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
        // The worker may be waiting for room for its result.
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

    /// Kills a worker because of the task that it runs, unless that has its outcome and is not `is_finished`, or the
    /// worker has gone on (LIMIT-1, LIMIT-2).
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
    /// If no worker runs such a task, it is queued, and will not be started; or its worker was about to start it when
    /// it was cancelled. So this repeats until the task has its outcome.
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
        // Only this thread adds to the list, in another method.
        self.pending_kills = pending_kills;
        self.pending_kills.iter().map(|kill| kill.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aged(seconds: u64) -> RunningTask {
        RunningTask {
            task: TaskId(1),
            age: Duration::from_secs(seconds),
            is_sending: false,
        }
    }

    #[test]
    fn a_limit_is_in_the_future_until_it_is_reached() {
        let now = Instant::now();
        let limit = Some(Duration::from_secs(10));
        let due = now + Duration::from_secs(7);
        assert_eq!(aged(3).reaches(limit, now), Some(due));
        assert!(!aged(3).is_beyond(limit));
        for age in [10, 11] {
            assert_eq!(aged(age).reaches(limit, now), None);
            assert!(aged(age).is_beyond(limit));
        }
        assert_eq!(aged(3).reaches(None, now), None);
        assert!(!aged(3).is_beyond(None));
        let never = aged(3).reaches(Some(Duration::MAX), now);
        assert!(
            never.is_some_and(|never| never > clock::after(now, Duration::from_secs(24 * 60 * 60)))
        );
    }

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
