//! The table in figures.

use super::table::TaskTable;
use crate::pool::histogram::Histogram;
use crate::pool::outcome::TaskId;
use crate::pool::parent::report::TaskStats;

/// How many tasks are in which state, at one moment.
pub(crate) struct TableSnapshot {
    pub(crate) stats: TaskStats,
    pub(crate) in_flight: usize,
    /// Those of the tasks in question that are in flight.
    pub(crate) running: usize,
    /// Outcomes that wait for a handle or for `drain`.
    pub(crate) unclaimed: usize,
    pub(crate) timings: Option<TimingsSnapshot>,
}

pub(crate) struct TimingsSnapshot {
    pub(crate) waiting: Histogram,
    pub(crate) running: Histogram,
    /// When the oldest task that is in flight and not started was submitted.
    pub(crate) oldest_queued: Option<u64>,
}

impl TaskTable {
    /// Returns the figures. `running` are the tasks that workers seem to run: one of which the outcome is recorded does not
    /// count.
    pub(crate) fn snapshot(&mut self, running: &[TaskId]) -> TableSnapshot {
        let in_flight = running.iter().filter(|&&id| self.get_mut(id).is_some());
        let running = in_flight.count();
        let oldest_queued = self.oldest_queued();
        TableSnapshot {
            stats: self.stats(),
            in_flight: self.in_flight(),
            running,
            unclaimed: self.stored_count(),
            timings: self.clock.as_ref().map(|clock| TimingsSnapshot {
                waiting: clock.waiting.clone(),
                running: clock.running.clone(),
                oldest_queued,
            }),
        }
    }

    /// Returns when the oldest task in flight that has not started was submitted. Looks at each id once, in all calls together,
    /// or at each entry, whichever is less.
    fn oldest_queued(&mut self) -> Option<u64> {
        let (first, next) = (self.clock.as_ref()?.first_unstarted, self.next_id());
        let found = if next - first > self.entry_count() as u64 {
            let unstarted = |id: &TaskId| {
                let clock = self.clock.as_ref();
                clock.is_some_and(|clock| clock.submitted_unstarted(*id).is_some())
            };
            self.in_flight_ids().into_iter().filter(unstarted).min()
        } else {
            (first..next).map(TaskId).find(|&id| {
                let is_in_flight = self.get_mut(id).is_some();
                let clock = self.clock.as_ref();
                is_in_flight && clock.is_some_and(|it| it.submitted_unstarted(id).is_some())
            })
        };
        let clock = self.clock.as_mut()?;
        clock.first_unstarted = found.map_or(next, |id| id.0);
        clock.submitted_unstarted(found?)
    }
}
