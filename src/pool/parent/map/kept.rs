//! The tasks of a map in a pool that returns tasks, until their outcomes are returned.

use super::super::results::AttemptRange;
use crate::pool::carried::KeptTask;
use crate::pool::outcome::TaskId;
use crate::pool::task::{OutcomeOf, Task};
use crate::pool::wire::task_message::Envelope;
use std::collections::HashMap;

/// Tasks that were sent. `None` if the pool does not return tasks.
pub(super) struct KeptTasks<T>(Option<HashMap<TaskId, T>>);

impl<T: Task> KeptTasks<T> {
    pub(super) fn new(is_on: bool) -> Self {
        Self(is_on.then(HashMap::new))
    }

    pub(super) const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Keeps the tasks of this envelope, which were sent with these ids. Otherwise drops them.
    #[inline]
    pub(super) fn keep(&mut self, range: AttemptRange, envelope: Envelope<T>) {
        if self.is_on() {
            self.keep_all(range.first.id, envelope.into_tasks());
        }
    }

    /// Keeps these tasks, whose ids are consecutive.
    #[cold]
    pub(super) fn keep_all(&mut self, first: TaskId, tasks: impl IntoIterator<Item = T>) {
        if let Some(kept) = &mut self.0 {
            kept.extend((first.0..).map(TaskId).zip(tasks));
        }
    }

    /// Lets an outcome carry its task, if it has no output. Otherwise drops the task.
    #[inline]
    pub(super) fn give_back(&mut self, outcome: &mut OutcomeOf<T>) {
        if let Some(kept) = &mut self.0
            && let Some(task) = kept.remove(&outcome.id)
            && outcome.result.is_err()
        {
            outcome.carry_task(KeptTask::new(task));
        }
    }
}
