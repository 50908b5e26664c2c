//! How a pool looks from outside, for [`crate::inspect`].

use super::wire::result_message::RESULTS_CODEC;
use super::wire::startup::{Assignment, VARIABLE, is_of_other_level};
use super::wire::task_message::TASKS_CODEC;
use super::wire::task_phase;
use crate::os::open_files;

/// What a worker does with its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskPhase {
    Decoding,
    Running,
    Sending,
}

/// Returns what a phase on a board means. A number that has no meaning counts as running.
pub(crate) fn phase(number: u32) -> TaskPhase {
    match number {
        task_phase::DECODING => TaskPhase::Decoding,
        task_phase::SENDING => TaskPhase::Sending,
        _ => TaskPhase::Running,
    }
}

/// Returns whether a queue with this codec and schema has the tasks of a pool, or its results; `None`: neither. Of a pool with
/// priorities, only the queue of tasks with the normal one counts.
pub(crate) fn has_tasks(codec: &str, schema: &str) -> Option<bool> {
    if is_of_other_level(schema) {
        None
    } else if codec == TASKS_CODEC {
        Some(true)
    } else if codec == RESULTS_CODEC {
        Some(false)
    } else {
        None
    }
}

/// A worker, as it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObservedWorker {
    pub(crate) slot: u32,
    pub(crate) task_type: String,
}

/// Returns what a process is a worker of; `None`: it is none, or cannot be looked into.
pub(crate) fn worker_of(process: u32) -> Option<ObservedWorker> {
    let assignment = Assignment::parse(&open_files::variable(process, VARIABLE)?)?;
    Some(ObservedWorker {
        slot: assignment.slot,
        task_type: assignment.task_type,
    })
}
