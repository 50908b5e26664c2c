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

use super::reasons::{KillReason, Why};
use super::supervisor::{PendingKill, Phase, Supervisor, sooner};
use crate::os::clock;
use crate::pool::context::TIME_LIMIT;
use crate::pool::outcome::TaskId;
use crate::pool::parent::settings::Limits;
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

impl Limits {
    /// How long nothing needs to be looked at after a look at which nothing ran. `None`: there is nothing to look at.
    fn shortest(&self) -> Option<Duration> {
        let memory = self.resident.map(|_| MEMORY_LOOK);
        [self.soft, self.hard, memory].into_iter().flatten().min()
    }
}

/// What a worker does, as its line on the board says.
#[derive(Clone, Copy, Debug)]
struct Seen {
    task: TaskId,
    /// For how long, at the least (LIMIT-5).
    age: Duration,
    /// Whether it only has to send what the task gave.
    is_sending: bool,
}

impl Seen {
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
        self.inspection = None;
        if self.course != Phase::Running {
            return;
        }
        let inbox = &self.launcher.shared.inbox;
        let own = inbox.with(|state| state.shortest_limit());
        let shortest = self.settings().limits.shortest();
        let shortest = own.into_iter().chain(shortest).min();
        let shortest = shortest.map(|shortest| shortest.max(LEAST_LOOK));
        if shortest.is_none() && self.condemned.is_empty() && !self.settings().staff.varies() {
            return;
        }
        // So that in flight is only what is queued or runs.
        self.launcher.shared.inbox.glance();
        let now = Instant::now();
        let mut next = self.execute(now);
        if shortest.is_some() {
            for index in 0..self.slots.len() {
                next = sooner(next, self.examine(index, own, now));
            }
        }
        let idle = if shortest.is_some() { 0 } else { usize::MAX };
        let (idle, busy) = self.room_for_tasks(idle);
        // Before the look at what waits: whatever is submitted after it wakes this thread.
        let inbox = &self.launcher.shared.inbox;
        let in_flight = inbox.with(|state| state.wake_above(idle, busy));
        if in_flight > 0 {
            next = sooner(next, shortest.map(|shortest| clock::after(now, shortest)));
        }
        next = sooner(next, self.adapt(now, in_flight));
        self.inspection = sooner(self.inspection, next);
    }

    /// See to a worker's task. When it reaches its next limit. `own` is the shortest that a task has of its own.
    fn examine(&mut self, index: usize, own: Option<Duration>, now: Instant) -> Option<Instant> {
        let limits = self.settings().limits;
        let seen = self.seen(index)?;
        let inbox = &self.launcher.shared.inbox;
        let flight = inbox.with(|state| state.flight(seen.task).copied());
        // What limit a task had that has its outcome is not known any more. It is through, so any will do (LIMIT-4).
        let own = flight.map_or(own, |flight| flight.limit);
        let own = own.filter(|_| !mutant!(OwnLimitIgnored));
        let hard = own.or(limits.hard);
        let Some(flight) = flight.filter(|_| !seen.is_sending) else {
            return if seen.is_beyond(hard) {
                self.linger(index, seen.task, Why::TimedOut, now)
            } else {
                seen.reaches(hard, now)
            };
        };
        if seen.is_beyond(hard) {
            self.strike(index, seen.task, Why::TimedOut, false);
            return None;
        }
        if let Some(resident) = self.excess(index) {
            self.strike(index, seen.task, Why::TooMuchMemory { resident }, false);
            return None;
        }
        if seen.is_beyond(limits.soft) && !flight.timed_out {
            self.warn(seen.task);
        }
        sooner(seen.reaches(limits.soft, now), seen.reaches(hard, now))
    }

    /// What runs in a slot.
    fn seen(&self, index: usize) -> Option<Seen> {
        let slot = self.slots.get(index)?;
        slot.worker()
            .filter(|worker| !worker.is_doomed && !worker.process.only_wrapper_runs())?;
        Seen::on(self.launcher.shared.board.entry(slot.number)?)
    }

    /// How much memory a worker has, if that is more than it may have.
    fn excess(&self, index: usize) -> Option<u64> {
        let limit = self.settings().limits.resident?;
        let worker = self.slots.get(index)?.worker()?;
        let resident = worker.process.resident().ok()?;
        (resident > limit).then_some(resident)
    }

    /// The soft limit.
    fn warn(&self, id: TaskId) {
        let shared = &self.launcher.shared;
        let is_known = shared.inbox.with(|state| {
            let flight = state.flight(id)?;
            flight.timed_out = true;
            Some(())
        });
        if is_known.is_some() && !mutant!(SoftLimitNotReported) {
            shared.board.cancel(id.0, TIME_LIMIT);
        }
    }

    /// LIMIT-4. When to look again.
    fn linger(&mut self, index: usize, id: TaskId, why: Why, now: Instant) -> Option<Instant> {
        let grace = self.settings().grace;
        // Perhaps it has no room to send.
        self.launcher.shared.inbox.collect();
        let worker = self.slots.get_mut(index)?.worker_mut()?;
        let since = match worker.lingers {
            Some((task, since)) if task == id.0 => since,
            _ => now,
        };
        worker.lingers = Some((id.0, since));
        let due = clock::after(since, grace);
        if due > now {
            return Some(due);
        }
        self.strike(index, id, why, true);
        None
    }

    /// Kill a worker for the task that it runs (LIMIT-1, LIMIT-2).
    fn strike(&mut self, index: usize, id: TaskId, why: Why, is_over: bool) {
        let inbox = &self.launcher.shared.inbox;
        inbox.collect();
        if !is_over && inbox.with(|state| state.flight(id).is_none()) {
            return;
        }
        if self.seen(index).is_none_or(|seen| seen.task != id) {
            return;
        }
        let task = Some(id.0);
        self.kill_for(index, KillReason { task, why });
    }

    /// Kill a worker, and remember what for (LIMIT-3).
    pub(crate) fn kill_for(&mut self, index: usize, strike: KillReason) {
        if let Some(worker) = self.slots.get_mut(index).and_then(|slot| slot.worker_mut()) {
            worker.struck = Some(strike);
            self.toll.killed += u64::from(worker.kill());
        }
    }

    /// See [`TaskHandle::cancel_within`](super::TaskHandle::cancel_within).
    pub(crate) fn condemn(&mut self, task: TaskId, due: Instant) {
        self.condemned.push(PendingKill {
            task,
            due,
            pause: FIRST_PAUSE,
        });
    }

    /// End those that are cancelled and run on. When to look for the next.
    ///
    /// One that runs nowhere is queued, and will not be begun; or its worker was just about to begin it when it was
    /// cancelled. So it is looked for until it has its outcome.
    fn execute(&mut self, now: Instant) -> Option<Instant> {
        let mut condemned = core::mem::take(&mut self.condemned);
        condemned.retain_mut(|one| {
            if one.due > now {
                return true;
            }
            let inbox = &self.launcher.shared.inbox;
            if inbox.with(|state| state.flight(one.task).is_none()) {
                return false;
            }
            let runs = (0..self.slots.len()).find_map(|index| {
                let seen = self.seen(index).filter(|seen| seen.task == one.task)?;
                Some((index, seen.is_sending))
            });
            match runs {
                Some((index, true)) => {
                    self.linger(index, one.task, Why::Cancelled, now);
                }
                Some((index, false)) => self.strike(index, one.task, Why::Cancelled, false),
                None => {}
            }
            one.due = clock::after(now, one.pause);
            one.pause = one.pause.saturating_mul(2).min(LONGEST_PAUSE);
            true
        });
        // Nobody else adds to them.
        self.condemned = condemned;
        self.condemned.iter().map(|one| one.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(age: u64) -> Seen {
        Seen {
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
        let mut limits = Limits::default();
        assert_eq!(limits.shortest(), None);
        limits.hard = hard;
        assert_eq!(limits.shortest(), hard);
        limits.soft = soft;
        assert_eq!(limits.shortest(), soft);
        limits.resident = Some(1);
        assert_eq!(limits.shortest(), Some(MEMORY_LOOK));
    }
}
