//! Tasks that run for too long, or take too much memory, or are cancelled and go on.
//!
//! What runs, and since when, stands on the board: no message is sent for it, and no clock is read for a task that
//! has no limit. The supervisor looks at the board when the first limit could be over, and not before:
//!
//! | a worker                          | is looked at again                                                      |
//! |-----------------------------------|-------------------------------------------------------------------------|
//! | runs a task, since `t`            | at `t` and its next limit                                               |
//! | runs none                         | after the shortest limit, of the pool or of a task that has its own: what is begun after the look is not over before |
//! | any, and no task is in flight     | after the next task was submitted, which wakes the supervisor once       |
//! | any, and a task comes whose own limit is shorter | at once: submitting it wakes the supervisor              |
//! | any, and there is a memory limit  | after [`MEMORY_LOOK`], while tasks are in flight                        |
//!
//! At its soft limit a task is told, and its failure is a time-out from then on. Beyond a hard one its worker is
//! killed:
//!
//! LIMIT-1. The results that have arrived are filed first: an outcome that is there wins, and nobody is killed for it.
//! LIMIT-2. The board is looked at once more, right before the kill: a worker that has gone on to another task is not killed.
//! LIMIT-3. Should it go on between that look and the kill, the task that it has begun is sent again, and no attempt
//!     counted. The death knows what the worker was killed for ([`KillReason`]).
//! LIMIT-4. A worker that is through with its task, and does not get any further within the grace time, is stopped, or can't
//!     send: it is killed for the task that it is through with.
//!     One that is stopped while it has no task at all is not noticed here: it is in nobody's way, but for its age.
//! LIMIT-5. `begin` on the board is told a time that lies [a little](clock::coarse_resolution) in the past. No limit strikes before its
//!     time, so that much is added to each.

use super::reasons::{KillCause, KillReason};
use super::supervisor::{PendingKill, Phase, Supervisor, earlier};
use crate::os::clock;
use crate::pool::context::CANCELLED_BY_TIME_LIMIT;
use crate::pool::outcome::TaskId;
use crate::pool::parent::settings::TaskLimits;
use crate::pool::task::Task;
use crate::pool::wire::task_phase;
use crate::segment::board;
use core::time::Duration;
use std::time::Instant;

/// How often the memory of workers that run a task is looked at.
const MEMORY_LOOK: Duration = Duration::from_millis(100);

/// Workers are not looked at more often than this for what they may begin, however short a limit is.
const LEAST_LOOK: Duration = Duration::from_millis(1);

/// How long to wait before looking again for a task that is to be killed and was found nowhere: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl TaskLimits {
    /// How long nothing needs to be looked at after a look at which nothing ran. `None`: there is nothing to look at.
    fn shortest(&self) -> Option<Duration> {
        let memory = self.memory.map(|_| MEMORY_LOOK);
        [self.soft_time, self.hard_time, memory]
            .into_iter()
            .flatten()
            .min()
    }
}

/// What a worker does, as its line on the board says.
#[derive(Clone, Copy, Debug)]
struct RunningTask {
    task: TaskId,
    /// For how long, at the least (LIMIT-5).
    age: Duration,
    /// Whether it only has to send what the task gave.
    is_sending: bool,
}

impl RunningTask {
    fn on(line: &board::WorkerEntry) -> Option<Self> {
        let (running, phase) = loop {
            let running = line.running()?;
            let phase = line.phase();
            // The phase is of this task only if the worker has not gone on meanwhile.
            if line.running() == Some(running) {
                break (running, phase);
            }
        };
        let begun = running.started.saturating_add(clock::coarse_resolution());
        Some(Self {
            task: TaskId(running.task),
            age: Duration::from_nanos(clock::now().saturating_sub(begun)),
            is_sending: phase == task_phase::SENDING,
        })
    }

    /// When this task reaches this age; none if it has.
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
    /// Look at what the workers do, do what is due, and find out when to look again.
    pub(crate) fn inspect(&mut self) {
        self.inspect_at = None;
        if self.phase != Phase::Running {
            return;
        }
        let results = &self.launcher.shared.results;
        let own = results.with(|state| state.shortest_limit());
        let shortest = self.settings().limits.shortest();
        let shortest = own.into_iter().chain(shortest).min();
        let shortest = shortest.map(|shortest| shortest.max(LEAST_LOOK));
        if shortest.is_none()
            && self.pending_kills.is_empty()
            && !self.settings().workers.is_elastic()
        {
            return;
        }
        // So that in flight is only what is queued or runs.
        self.launcher.shared.results.poll();
        let now = Instant::now();
        let mut next = self.enforce_kills(now);
        if shortest.is_some() {
            for index in 0..self.slots.len() {
                next = earlier(next, self.check_limits(index, own, now));
            }
        }
        let idle = if shortest.is_some() { 0 } else { usize::MAX };
        let (idle, busy) = self.wake_thresholds(idle);
        // Before the look at what waits: whatever is submitted after it wakes this thread.
        let results = &self.launcher.shared.results;
        let in_flight = results.with(|state| state.wake_above(idle, busy));
        if in_flight > 0 {
            next = earlier(next, shortest.map(|shortest| clock::after(now, shortest)));
        }
        next = earlier(next, self.adjust_worker_count(now, in_flight));
        self.inspect_at = earlier(self.inspect_at, next);
    }

    /// See to a worker's task. When it reaches its next limit. `own` is the shortest that a task has of its own.
    fn check_limits(
        &mut self,
        index: usize,
        own: Option<Duration>,
        now: Instant,
    ) -> Option<Instant> {
        let limits = self.settings().limits;
        let seen = self.running_task(index)?;
        let results = &self.launcher.shared.results;
        let flight = results.with(|state| state.flight(seen.task).copied());
        // What limit a task had that has its outcome is not known any more. It is through, so any will do (LIMIT-4).
        let own = flight.map_or(own, |flight| flight.limit);
        let own = own.filter(|_| !mutant!(OwnLimitIgnored));
        let hard = own.or(limits.hard_time);
        let Some(flight) = flight.filter(|_| !seen.is_sending) else {
            return if seen.is_beyond(hard) {
                self.kill_if_stuck(index, seen.task, KillCause::TimedOut, now)
            } else {
                seen.reaches(hard, now)
            };
        };
        if seen.is_beyond(hard) {
            self.kill_for_task(index, seen.task, KillCause::TimedOut, false);
            return None;
        }
        if let Some(resident) = self.excess_memory(index) {
            self.kill_for_task(
                index,
                seen.task,
                KillCause::TooMuchMemory { resident },
                false,
            );
            return None;
        }
        if seen.is_beyond(limits.soft_time) && !flight.timed_out {
            self.signal_soft_limit(seen.task);
        }
        earlier(seen.reaches(limits.soft_time, now), seen.reaches(hard, now))
    }

    /// What runs in a slot.
    fn running_task(&self, index: usize) -> Option<RunningTask> {
        let slot = self.slots.get(index)?;
        slot.worker()
            .filter(|worker| !worker.is_being_ended && !worker.process.only_wrapper_runs())?;
        RunningTask::on(self.launcher.shared.board.entry(slot.number)?)
    }

    /// How much memory a worker has, if that is more than it may have.
    fn excess_memory(&self, index: usize) -> Option<u64> {
        let limit = self.settings().limits.memory?;
        let worker = self.slots.get(index)?.worker()?;
        let resident = worker.process.resident().ok()?;
        (resident > limit).then_some(resident)
    }

    /// The soft limit.
    fn signal_soft_limit(&self, id: TaskId) {
        let shared = &self.launcher.shared;
        let is_known = shared.results.with(|state| {
            let flight = state.flight(id)?;
            flight.timed_out = true;
            Some(())
        });
        if is_known.is_some() && !mutant!(SoftLimitNotReported) {
            shared.board.cancel(id.0, CANCELLED_BY_TIME_LIMIT);
        }
    }

    /// LIMIT-4. When to look again.
    fn kill_if_stuck(
        &mut self,
        index: usize,
        id: TaskId,
        cause: KillCause,
        now: Instant,
    ) -> Option<Instant> {
        let grace = self.settings().grace;
        // Perhaps it has no room to send.
        self.launcher.shared.results.collect();
        let worker = self.slots.get_mut(index)?.worker_mut()?;
        let since = match worker.finished_task {
            Some((task, since)) if task == id.0 => since,
            _ => now,
        };
        worker.finished_task = Some((id.0, since));
        let due = clock::after(since, grace);
        if due > now {
            return Some(due);
        }
        self.kill_for_task(index, id, cause, true);
        None
    }

    /// Kill a worker for the task that it runs (LIMIT-1, LIMIT-2).
    fn kill_for_task(&mut self, index: usize, id: TaskId, cause: KillCause, is_over: bool) {
        let results = &self.launcher.shared.results;
        results.collect();
        if !is_over && results.with(|state| state.flight(id).is_none()) {
            return;
        }
        if self.running_task(index).is_none_or(|seen| seen.task != id) {
            return;
        }
        let task = Some(id.0);
        self.kill_worker(index, KillReason { task, cause });
    }

    /// Kill a worker, and remember what for (LIMIT-3).
    pub(crate) fn kill_worker(&mut self, index: usize, reason: KillReason) {
        if let Some(worker) = self.slots.get_mut(index).and_then(|slot| slot.worker_mut()) {
            worker.kill_reason = Some(reason);
            self.worker_stats.killed += u64::from(worker.kill());
        }
    }

    /// See [`TaskHandle::cancel_within`](super::TaskHandle::cancel_within).
    pub(crate) fn schedule_kill(&mut self, task: TaskId, due: Instant) {
        self.pending_kills.push(PendingKill {
            task,
            due,
            pause: FIRST_PAUSE,
        });
    }

    /// End those that are cancelled and run on. When to look for the next.
    ///
    /// One that runs nowhere is queued, and will not be begun; or its worker was just about to begin it when it was
    /// cancelled. So it is looked for until it has its outcome.
    fn enforce_kills(&mut self, now: Instant) -> Option<Instant> {
        let mut pending_kills = core::mem::take(&mut self.pending_kills);
        pending_kills.retain_mut(|one| {
            if one.due > now {
                return true;
            }
            let results = &self.launcher.shared.results;
            if results.with(|state| state.flight(one.task).is_none()) {
                return false;
            }
            let runs = (0..self.slots.len()).find_map(|index| {
                let seen = self
                    .running_task(index)
                    .filter(|seen| seen.task == one.task)?;
                Some((index, seen.is_sending))
            });
            match runs {
                Some((index, true)) => {
                    self.kill_if_stuck(index, one.task, KillCause::Cancelled, now);
                }
                Some((index, false)) => {
                    self.kill_for_task(index, one.task, KillCause::Cancelled, false);
                }
                None => {}
            }
            one.due = clock::after(now, one.pause);
            one.pause = one.pause.saturating_mul(2).min(LONGEST_PAUSE);
            true
        });
        // Nobody else adds to them.
        self.pending_kills = pending_kills;
        self.pending_kills.iter().map(|one| one.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(age: u64) -> RunningTask {
        RunningTask {
            task: TaskId(1),
            age: Duration::from_secs(age),
            is_sending: false,
        }
    }

    #[test]
    fn a_limit_is_ahead_until_it_is_reached() {
        let now = Instant::now();
        let limit = Some(Duration::from_secs(10));
        let ahead = now + Duration::from_secs(7);
        assert_eq!(seen(3).reaches(limit, now), Some(ahead));
        assert!(!seen(3).is_beyond(limit));
        for age in [10, 11] {
            assert_eq!(seen(age).reaches(limit, now), None);
            assert!(seen(age).is_beyond(limit));
        }
        assert_eq!(seen(3).reaches(None, now), None);
        assert!(!seen(3).is_beyond(None));
        let never = seen(3).reaches(Some(Duration::MAX), now);
        assert!(
            never.is_some_and(|never| never > clock::after(now, Duration::from_secs(24 * 3600)))
        );
    }

    #[test]
    fn the_next_look_is_after_the_shortest_limit() {
        let [soft, hard] = [1, 2].map(|seconds| Some(Duration::from_secs(seconds)));
        let mut limits = TaskLimits::default();
        assert_eq!(limits.shortest(), None);
        limits.hard_time = hard;
        assert_eq!(limits.shortest(), hard);
        limits.soft_time = soft;
        assert_eq!(limits.shortest(), soft);
        limits.memory = Some(1);
        assert_eq!(limits.shortest(), Some(MEMORY_LOOK));
    }
}
