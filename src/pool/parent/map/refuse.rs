//! Outcomes that a map makes itself: of tasks that the pool has refused, and in a forked child.

use super::super::results::ReserveError;
use super::Map;
use crate::pool::outcome::{Outcome, TaskId};
use crate::pool::task::Task;

impl<T: Task, I: Iterator<Item = T>> Map<'_, T, I> {
    /// Makes outcomes for the pending tasks, which the pool has refused (MAP-3), and takes no more from the source.
    #[cold]
    pub(super) fn refuse(&mut self, error: &ReserveError) {
        let results = &self.shared.results;
        let source = self.source.take();
        let mut pending = core::mem::take(&mut self.pending);
        self.limits.clear();
        self.send_singly = 0;
        let mut ids = Vec::new();
        for _ in 0..pending.len() {
            let id = if results.is_in_owner() {
                results.take_id()
            } else {
                TaskId::NONE
            };
            ids.push(id);
            let outcome = Outcome::new(id, 0, Err(error.into()));
            self.outstanding += 1;
            match &mut self.in_order {
                Some(in_order) => in_order.add_refused(outcome),
                None => self.arrived.push_back(outcome),
            }
        }
        // All tasks have their outcomes before the program's code makes their tags (MAP-4).
        if self.kept.is_on() {
            for id in ids {
                self.kept.keep_all(id, pending.pop_front());
            }
        }
        // Last, because their `Drop` is the program's code (MAP-4).
        drop((pending, source));
    }

    /// Makes outcomes for all outstanding tasks that have none: in a forked child, no more arrive.
    #[cold]
    pub(super) fn fail_unknown(&mut self, what: &'static str) {
        match &mut self.in_order {
            Some(in_order) => in_order.fail_unknown(what),
            // The map does not know which of them have arrived.
            None => self
                .arrived
                .resize_with(self.outstanding, || Outcome::unknown(TaskId::NONE, what)),
        }
    }
}
