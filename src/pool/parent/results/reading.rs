//! Reading what tasks emit.

use super::in_flight::Home;
use super::receive::Results;
use super::table::TaskTable;
use crate::pool::outcome::TaskId;
use crate::pool::wire::emission::Emission;
use crate::pool::wire::result_message::EncodedOutcome;

/// What a reader finds.
pub(crate) enum NextEmission {
    Value(Emission),
    /// The task has ended, and all of its values were read.
    End,
}

impl TaskTable {
    /// Records a value that came as a result of no attempt.
    #[cold]
    pub(super) fn record_emission(&mut self, message: EncodedOutcome) {
        let id = message.id;
        if let Some(emission) = message.result.ok().and_then(Emission::of) {
            let attempt = emission.head.attempt;
            let is_current = self
                .get_mut(id)
                .is_some_and(|task| task.attempt.number == attempt);
            let has_handle = self.has_handle(id);
            self.emissions.record(id, emission, is_current, has_handle);
        }
    }

    /// Takes the next value of a task. `None` if it has emitted no more, and runs.
    pub(crate) fn next_emission(&mut self, id: TaskId) -> Option<NextEmission> {
        if let Some(emission) = self.emissions.take(id) {
            return Some(NextEmission::Value(emission));
        }
        self.get_mut(id).is_none().then_some(NextEmission::End)
    }

    /// Wakes the worker of a task that was cancelled, if it waits to emit.
    pub(crate) fn wake_emitter(&self, id: TaskId) {
        self.emissions.wake(id);
    }
}

impl Results {
    pub(crate) fn add_reader(&self, id: TaskId) {
        if self.is_in_owner() {
            self.with(|tasks| tasks.emissions.add_reader(id));
        }
    }

    pub(crate) fn remove_reader(&self, id: TaskId) {
        if self.is_in_owner() {
            // Dropped without the lock.
            let _unread = self.with(|tasks| {
                let has_handle = tasks.has_handle(id);
                tasks.emissions.remove_reader(id, has_handle)
            });
        }
    }

    /// Returns how many values of a task were dropped because they were not read in time.
    pub(crate) fn lost_emissions(&self, id: TaskId) -> u64 {
        if !self.is_in_owner() {
            return 0;
        }
        self.with(|tasks| tasks.emissions.lost(id))
    }

    /// Records that a caller waits for the outcome of a task, and so reads none of its values.
    #[cold]
    pub(crate) fn stop_waiting_for_reader(&self, id: TaskId) {
        if self.is_in_owner() {
            self.with(|tasks| {
                // Not once the handle has its outcome.
                if tasks.has_handle(id) {
                    tasks.emissions.wait_for(id);
                }
            });
        }
    }

    /// Records that a caller waits for all tasks of the pool, or of a group, and so reads none of their values.
    #[cold]
    pub(crate) fn stop_waiting_for_readers(&self, home: Home) {
        if self.is_in_owner() {
            self.with(|tasks| {
                for id in tasks.ids_with_handles(home) {
                    tasks.emissions.wait_for(id);
                }
            });
        }
    }
}
