//! What tasks have emitted, until it is read.
//!
//! | state of a task's values | values                                | a task that emits more           | next                                    |
//! |--------------------------|---------------------------------------|----------------------------------|-----------------------------------------|
//! | none                     | of tasks that no handle belongs to: dropped | goes on                    | the first value of a task with a handle |
//! | kept                     | wait here, up to the bound            | as the pool is set: waits, or the oldest is dropped      | waited for, closed, gone |
//! | waited for               | the same                              | the oldest value is dropped      | kept, when a reader is made; closed, gone |
//! | closed                   | wait here, up to a higher bound       | the oldest value is dropped      | gone                                    |
//! | gone                     | dropped                               | goes on                          | never changes                           |
//!
//! *Waited for*: a caller waits for the outcome, or has waited, and there is no reader. *Closed*: the pool shuts down. *Gone*:
//! there is no reader, and no handle that could make one, since it was dropped or has its outcome.
//!
//! EMIT-1. A value comes in the same queue as the result of its task, and before it. So once the outcome is recorded, however
//!     the task has ended, all of its values are here.
//! EMIT-2. Each value that is taken from the queue is counted for its worker, whatever becomes of it. So a task waits for room
//!     in the queue only until the parent receives.
//! EMIT-3. In a pool whose tasks wait for readers, the limit of a task is raised when one of its values is read, and lifted in
//!     all states but *kept*.
//! EMIT-4. The limit on the board is that of the task whose value came last from the worker. So one that has ended, or runs in
//!     another worker now, changes nothing there.

use crate::pool::outcome::TaskId;
use crate::pool::parent::settings::{ProgressSettings, WhenFull};
use crate::pool::wire::emission::Emission;
use crate::segment::board::{Board, EmissionFlow};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The least bound of a task's values once the pool shuts down.
const CLOSED_BOUND: usize = 1024;

/// What all tasks have emitted.
pub(crate) struct Emissions {
    tasks: HashMap<TaskId, TaskEmissions>,
    /// The task of the last value of each worker (EMIT-4).
    last_tasks: HashMap<u32, TaskId>,
    /// Where workers see how much they may emit.
    board: Arc<Board>,
    settings: ProgressSettings,
    is_closed: bool,
}

/// What one task has emitted.
#[derive(Default)]
struct TaskEmissions {
    unread: VecDeque<Emission>,
    /// How many values were dropped unread.
    lost: u64,
    readers: usize,
    /// Whether a caller waits for the outcome, or has waited.
    is_waited_for: bool,
    /// The worker of the last value, and the index after it.
    last: Option<(u32, u64)>,
}

impl Emissions {
    pub(crate) fn new(board: Arc<Board>, settings: ProgressSettings) -> Self {
        Self {
            tasks: HashMap::new(),
            last_tasks: HashMap::new(),
            board,
            settings,
            is_closed: false,
        }
    }

    /// Returns whether a task that emits waits until its values are read.
    fn keeps_waiting(&self, task: &TaskEmissions) -> bool {
        let may_be_read = task.readers > 0 || !task.is_waited_for;
        self.settings.when_full == WhenFull::Wait && !self.is_closed && may_be_read
    }

    /// Records a value. `is_current`: whether it is of the attempt that runs; `has_handle`: whether the handle of the task
    /// exists.
    #[cold]
    pub(super) fn record(
        &mut self,
        id: TaskId,
        emission: Emission,
        is_current: bool,
        has_handle: bool,
    ) {
        let head = emission.head;
        if let Some(flow) = self.board.flow(head.worker.into()) {
            flow.set_received(head.number);
        }
        self.last_tasks.insert(head.worker.into(), id);
        if is_current && has_handle {
            self.tasks.entry(id).or_default();
        }
        let bound = if self.is_closed {
            self.settings.bound.max(CLOSED_BOUND)
        } else {
            self.settings.bound
        };
        let kept = if is_current {
            self.tasks.remove(&id)
        } else {
            None
        };
        if let Some(mut task) = kept {
            task.last = Some((head.worker.into(), head.index + 1));
            task.unread.push_back(emission);
            if !self.keeps_waiting(&task) && task.unread.len() > bound {
                task.unread.pop_front();
                task.lost += 1;
            }
            self.set_limit(id, &task);
            self.tasks.insert(id, task);
        } else {
            self.release(id, head.worker.into());
        }
    }

    /// Lets the worker of a task emit as much as there is room for, and wakes it (EMIT-3).
    fn set_limit(&self, id: TaskId, task: &TaskEmissions) {
        let Some((worker, next)) = task.last else {
            return;
        };
        if !self.keeps_waiting(task) {
            self.release(id, worker);
        } else if let Some(flow) = self.flow(id, worker) {
            let room = self.settings.bound.saturating_sub(task.unread.len());
            flow.set_limit(id.0, next + room as u64);
            flow.notify();
        }
    }

    /// Lets the worker of a task emit whatever it likes, and wakes it.
    fn release(&self, id: TaskId, worker: u32) {
        if let Some(flow) = self.flow(id, worker) {
            flow.release(id.0);
            flow.notify();
        }
    }

    /// Returns where the worker of a task sees how much it may emit, unless it has emitted values of another task since.
    fn flow(&self, id: TaskId, worker: u32) -> Option<&EmissionFlow> {
        let is_last = self.last_tasks.get(&worker) == Some(&id);
        self.board.flow(worker).filter(|_| is_last)
    }

    /// Wakes the worker of a task that was cancelled, if it waits to emit.
    pub(super) fn wake(&self, id: TaskId) {
        let last = self.tasks.get(&id).and_then(|task| task.last);
        if let Some(flow) = last.and_then(|(worker, _)| self.board.flow(worker)) {
            flow.notify();
        }
    }

    /// Takes the oldest value of a task.
    pub(super) fn take(&mut self, id: TaskId) -> Option<Emission> {
        let emission = self.tasks.get_mut(&id)?.unread.pop_front()?;
        if let Some(task) = self.tasks.get(&id) {
            self.set_limit(id, task);
        }
        Some(emission)
    }

    /// Returns how many values of a task were dropped unread.
    pub(super) fn lost(&self, id: TaskId) -> u64 {
        self.tasks.get(&id).map_or(0, |task| task.lost)
    }

    pub(super) fn add_reader(&mut self, id: TaskId) {
        let task = self.tasks.entry(id).or_default();
        task.readers += 1;
        if let Some(task) = self.tasks.get(&id) {
            self.set_limit(id, task);
        }
    }

    /// Removes a reader. Returns the values that no one will read.
    pub(super) fn remove_reader(&mut self, id: TaskId, has_handle: bool) -> VecDeque<Emission> {
        if let Some(task) = self.tasks.get_mut(&id) {
            task.readers = task.readers.saturating_sub(1);
        }
        if !has_handle {
            return self.remove_unread(id);
        }
        if let Some(task) = self.tasks.get(&id) {
            self.set_limit(id, task);
        }
        VecDeque::new()
    }

    /// Records that a task has no handle any more.
    #[inline]
    pub(super) fn remove_handle(&mut self, id: TaskId) {
        if !self.tasks.is_empty() {
            self.remove_unread(id);
        }
    }

    /// Removes a task without a handle if it has no reader. Returns the values that no one will read.
    #[cold]
    fn remove_unread(&mut self, id: TaskId) -> VecDeque<Emission> {
        if self.tasks.get(&id).is_none_or(|task| task.readers > 0) {
            return VecDeque::new();
        }
        let Some(task) = self.tasks.remove(&id) else {
            return VecDeque::new();
        };
        if let Some((worker, _)) = task.last {
            self.release(id, worker);
        }
        task.unread
    }

    /// Records that a caller waits for the outcome of a task. If there is no reader, the task no longer waits for one.
    pub(super) fn wait_for(&mut self, id: TaskId) {
        self.tasks.entry(id).or_default().is_waited_for = true;
        if let Some(task) = self.tasks.get(&id) {
            self.set_limit(id, task);
        }
    }

    /// Records that the pool shuts down: no task waits for a reader any more.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
        for (&id, task) in &self.tasks {
            self.set_limit(id, task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use crate::pool::wire::emission::{EmissionCodec, EmissionHead, EmissionMessage};
    use crate::pool::wire::result_message::EncodedResultCodec;

    const TASK: TaskId = TaskId(3);

    fn emissions(bound: usize, when_full: WhenFull) -> Emissions {
        let board = Board::create(1, 8, false).expect("a board");
        Emissions::new(Arc::new(board), ProgressSettings { bound, when_full })
    }

    /// Returns the value with this index of an attempt of the task.
    fn value(attempt: u16, index: u32) -> Emission {
        let message = EmissionMessage {
            head: EmissionHead {
                worker: 0,
                attempt,
                number: index,
                index: index.into(),
            },
            task: TASK,
            type_name: "()",
            value: &[],
        };
        let mut bytes = vec![0; EmissionCodec::encoded_len(&message).expect("a length")];
        EmissionCodec::encode(&message, &mut bytes).expect("room");
        let received = EncodedResultCodec::decode(&bytes).expect("a header");
        let value = received.outcome.result.ok().and_then(Emission::of);
        value.expect("an emission")
    }

    #[test]
    fn a_value_that_comes_too_late_takes_no_other_value_away() {
        let mut emissions = emissions(8, WhenFull::DropOldest);
        emissions.add_reader(TASK);
        emissions.record(TASK, value(1, 0), true, true);
        emissions.record(TASK, value(1, 1), false, true);
        let taken = emissions.take(TASK).expect("the first");
        assert_eq!(taken.head.index, 0);
        assert!(emissions.take(TASK).is_none());
        // The reader counts as before.
        emissions.record(TASK, value(2, 0), true, true);
        assert!(emissions.remove_reader(TASK, false).len() == 1);
        assert!(emissions.tasks.is_empty());
    }

    #[test]
    fn a_task_waits_while_it_has_a_reader_or_no_one_waits_for_its_outcome() {
        let mut emissions = emissions(1, WhenFull::Wait);
        let waits = |emissions: &Emissions| {
            let task = emissions.tasks.get(&TASK);
            task.is_some_and(|task| emissions.keeps_waiting(task))
        };
        emissions.record(TASK, value(1, 0), true, true);
        assert!(waits(&emissions));
        emissions.add_reader(TASK);
        emissions.wait_for(TASK);
        assert!(waits(&emissions));
        emissions.add_reader(TASK);
        emissions.remove_reader(TASK, true);
        assert!(waits(&emissions));
        emissions.remove_reader(TASK, true);
        assert!(!waits(&emissions), "no one reads");
        emissions.add_reader(TASK);
        assert!(waits(&emissions));
        emissions.close();
        assert!(!waits(&emissions));
    }
}
