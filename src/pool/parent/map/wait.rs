//! The wait of a map, until it can go on.

use super::super::dispatch::MEMORY_WAIT;
use super::super::results::{FORKED, MapStep, WaitError};
use super::Map;
use crate::pool::task::Task;

impl<T: Task, I: Iterator<Item = T>> Map<'_, T, I> {
    /// Waits until the map can go on (see MAP-2). Returns `false` if no outcome will arrive.
    pub(super) fn wait(&mut self) -> bool {
        let results = &self.shared.results;
        if !results.is_in_owner() {
            self.fail_unknown(FORKED);
            return true;
        }
        if self.lacks_memory {
            return self.wait_for_memory();
        }
        let stream = self.stream();
        let step = results.wait_for_step(stream, &self.limits, &mut self.arrived);
        self.take_step(step)
    }

    /// Goes on after a wait. Returns `false` if no outcome will arrive.
    pub(super) fn take_step(&mut self, step: Result<MapStep, WaitError>) -> bool {
        match step {
            Ok(MapStep::Outcomes) => {}
            Ok(MapStep::Reserved(range)) => {
                self.send(range, None);
            }
            Ok(MapStep::Refused(error)) => self.refuse(&error),
            Err(WaitError::Unknown(what)) => {
                // The tasks that were sent have outcomes then. Those that are pending are refused.
                self.shared.results.fail_unknown(what);
                let stream = self.stream();
                let has_outcomes = self.shared.results.take_outcomes(stream, &mut self.arrived);
                return has_outcomes || !self.pending.is_empty();
            }
            Err(WaitError::Ended | WaitError::TimedOut) => return false,
        }
        true
    }

    /// Waits until outcomes arrive or the first pending task, which is large, is sent. Workers free memory for it,
    /// and may themselves be waiting until this process receives results.
    #[cold]
    fn wait_for_memory(&mut self) -> bool {
        let stream = self.stream();
        let results = &self.shared.results;
        // The tasks' `Serialize` may fork.
        while results.is_in_owner() && !results.take_outcomes(stream, &mut self.arrived) {
            match results.reserve_range(stream, &self.limits) {
                Ok(Some(range)) => {
                    if self.send(range, Some(MEMORY_WAIT)) {
                        break;
                    }
                }
                Ok(None) => {
                    self.lacks_memory = false;
                    return self.wait();
                }
                Err(error) => {
                    self.refuse(&error);
                    break;
                }
            }
        }
        true
    }
}
