//! The task that a worker runs, according to the worker's entry on the board.

use crate::os::clock;
use crate::pool::outcome::TaskId;
use crate::pool::wire::task_phase;
use crate::segment::board::WorkerEntry;
use core::time::Duration;
use std::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(super) struct RunningTask {
    pub(super) task: TaskId,
    /// How long it has run, at least: see [`RunningTask::read`].
    pub(super) age: Duration,
    /// Whether it is finished and the worker is sending its result.
    pub(super) is_sending: bool,
}

impl RunningTask {
    /// Reads the entry of a worker; `None` if it is idle. The start time on the board may be too early, by up to the
    /// [resolution](clock::coarse_resolution) of the coarse clock. That much is taken off the age.
    pub(super) fn read(entry: &WorkerEntry) -> Option<Self> {
        let (running, phase) = loop {
            let running = entry.running()?;
            let phase = entry.phase();
            // The phase belongs to this task only if the worker has not moved on to another one between the reads.
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

    /// Returns when the task reaches the limit; `None` if it has reached it, or if there is none.
    pub(super) fn due(&self, limit: Option<Duration>, now: Instant) -> Option<Instant> {
        let left = limit?.checked_sub(self.age)?;
        (!left.is_zero()).then(|| clock::after(now, left))
    }

    pub(super) fn has_reached(&self, limit: Option<Duration>) -> bool {
        if mutant!(HardLimitIgnored) {
            return false;
        }
        limit.is_some_and(|limit| self.age >= limit)
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
        assert_eq!(aged(3).due(limit, now), Some(due));
        assert!(!aged(3).has_reached(limit));
        for age in [10, 11] {
            assert_eq!(aged(age).due(limit, now), None);
            assert!(aged(age).has_reached(limit));
        }
        assert_eq!(aged(3).due(None, now), None);
        assert!(!aged(3).has_reached(None));
        let never = aged(3).due(Some(Duration::MAX), now);
        assert!(
            never.is_some_and(|never| never > clock::after(now, Duration::from_secs(24 * 60 * 60)))
        );
    }
}
