//! What a map keeps of the tasks that it has sent, until their outcomes are returned: their tags, if it has any, and the tasks
//! themselves, in a pool that returns tasks.

use super::super::results::AttemptRange;
use crate::pool::carried::{KeptTask, Tag};
use crate::pool::outcome::TaskId;
use crate::pool::task::{OutcomeOf, Task};
use crate::pool::wire::task_message::Envelope;
use std::collections::HashMap;

/// Makes the tag of a task.
type TagOf<'a, T> = Box<dyn Fn(&T) -> Tag + Send + Sync + 'a>;

/// Tasks that were sent, if there is a reason to keep something of them.
pub(super) struct KeptTasks<'a, T> {
    tag_of: Option<TagOf<'a, T>>,
    returns_tasks: bool,
    kept: HashMap<TaskId, (Option<Tag>, Option<T>)>,
}

impl<'a, T: Task> KeptTasks<'a, T> {
    pub(super) fn new(returns_tasks: bool) -> Self {
        Self {
            tag_of: None,
            returns_tasks,
            kept: HashMap::new(),
        }
    }

    pub(super) fn set_tag_of(&mut self, tag_of: TagOf<'a, T>) {
        self.tag_of = Some(tag_of);
    }

    #[inline]
    pub(super) const fn is_on(&self) -> bool {
        self.returns_tasks || self.tag_of.is_some()
    }

    /// Keeps what is needed of the tasks of this envelope, which were sent with these ids.
    #[inline]
    pub(super) fn keep(&mut self, range: AttemptRange, envelope: Envelope<T>) {
        if self.is_on() {
            self.keep_all(range.first.id, envelope.into_tasks());
        }
    }

    /// Keeps what is needed of these tasks, whose ids are consecutive. Calls the program's code for their tags.
    #[cold]
    pub(super) fn keep_all(&mut self, first: TaskId, tasks: impl IntoIterator<Item = T>) {
        if !self.is_on() {
            return;
        }
        for (id, task) in (first.0..).map(TaskId).zip(tasks) {
            let tag = self.tag_of.as_ref().map(|tag_of| tag_of(&task));
            self.kept
                .insert(id, (tag, self.returns_tasks.then_some(task)));
        }
    }

    /// Lets an outcome carry the tag of its task, and the task if it has no output.
    #[inline]
    pub(super) fn give_back(&mut self, outcome: &mut OutcomeOf<T>) {
        if let Some((tag, task)) = self.take(outcome.id) {
            if let Some(tag) = tag {
                outcome.carry_tag(tag);
            }
            if let Some(task) = task.filter(|_| outcome.result.is_err()) {
                outcome.carry_task(KeptTask::new(task));
            }
        }
    }

    #[inline]
    fn take(&mut self, id: TaskId) -> Option<(Option<Tag>, Option<T>)> {
        if self.kept.is_empty() {
            return None;
        }
        self.kept.remove(&id)
    }
}
