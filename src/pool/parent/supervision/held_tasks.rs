//! The tasks that are held back, by the time when they are due. See [`holding`](super::holding).

use crate::pool::outcome::TaskId;
use crate::pool::parent::commands::HeldTask;
use crate::pool::wire::task_attempt::TaskAttempt;
use std::collections::BTreeMap;
use std::time::Instant;

#[derive(Default)]
pub(super) struct HeldTasks {
    tasks: BTreeMap<(Instant, TaskId), HeldTask>,
    /// How many of them are to be tried again.
    retries: usize,
    /// Tasks that are due later are cancelled.
    pub(super) last: Option<Instant>,
}

impl HeldTasks {
    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Returns how many tasks are to be tried again.
    pub(super) fn retry_count(&self) -> usize {
        self.retries
    }

    /// Returns when the first task is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.tasks.first_key_value().map(|((due, _), _)| *due)
    }

    pub(super) fn insert(&mut self, task: HeldTask) {
        self.retries += usize::from(task.is_retry);
        self.tasks.insert((task.due, task.task.attempt.id), task);
    }

    /// Takes the first task, if it is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<HeldTask> {
        let first = self.tasks.first_entry()?;
        let taken = (first.key().0 <= now).then(|| first.remove())?;
        self.retries -= usize::from(taken.is_retry);
        Some(taken)
    }

    /// Takes the tasks that pass this test.
    pub(super) fn take_if(&mut self, mut test: impl FnMut(&HeldTask) -> bool) -> Vec<TaskAttempt> {
        let mut taken = Vec::new();
        self.tasks.retain(|_, task| {
            let is_taken = test(task);
            if is_taken {
                self.retries -= usize::from(task.is_retry);
                taken.push(task.task.attempt);
            }
            !is_taken
        });
        taken
    }
}
