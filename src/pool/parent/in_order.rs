//! The outstanding tasks of a map that returns its outcomes in order.

use super::results::AttemptRange;
use crate::pool::outcome::{Outcome, TaskId};
use crate::pool::wire::result_message::EncodedOutcome;
use std::collections::VecDeque;

/// Outstanding tasks in the order of the source, each with its outcome if that has arrived. Ids rise in this order,
/// except that all tasks without an id have the same.
#[derive(Default)]
pub(super) struct InOrder(VecDeque<OrderedTask>);

struct OrderedTask {
    id: TaskId,
    outcome: Option<EncodedOutcome>,
}

impl InOrder {
    /// Adds tasks that were sent.
    pub(super) fn add_sent(&mut self, range: AttemptRange) {
        self.0.extend((0..range.count).map(|n| OrderedTask {
            id: range.first.nth(n).id,
            outcome: None,
        }));
    }

    /// Adds a task that has its outcome, since it was refused.
    pub(super) fn add_refused(&mut self, outcome: EncodedOutcome) {
        self.0.push_back(OrderedTask {
            id: outcome.id,
            outcome: Some(outcome),
        });
    }

    /// Puts an outcome in its place.
    pub(super) fn put(&mut self, outcome: EncodedOutcome) {
        let place = self.0.binary_search_by_key(&outcome.id, |task| task.id);
        if let Some(task) = place.ok().and_then(|place| self.0.get_mut(place)) {
            task.outcome = Some(outcome);
        }
    }

    /// Takes the outcome of the first task, if it has arrived.
    pub(super) fn take_first(&mut self) -> Option<EncodedOutcome> {
        let outcome = self.0.front_mut()?.outcome.take()?;
        self.0.pop_front();
        Some(outcome)
    }

    /// Gives all tasks that have no outcome one that says that it is unknown, for this reason.
    pub(super) fn fail_unknown(&mut self, what: &'static str) {
        for task in &mut self.0 {
            let unknown = || Outcome::unknown(task.id, what);
            task.outcome.get_or_insert_with(unknown);
        }
    }
}
