//! What a worker process gets at its start: an environment variable, and descriptors by name.

use crate::os::{identity, pidfd, procfs};
use crate::pool::priority::Priority;

/// The variable that makes a process a worker. It has the number of its slot, its starter, and the type of its tasks.
pub(crate) const VARIABLE: &str = "WORKRING_WORKER";

/// The names of a worker's descriptors and queues.
pub(crate) const LINK: &str = "workring-link";
pub(crate) const BOARD: &str = "workring-board";
const TASKS: &str = "workring-tasks";
/// Only given if the pool has priorities.
const TASKS_HIGH: &str = "workring-tasks-high";
const TASKS_LOW: &str = "workring-tasks-low";
pub(crate) const RESULTS: &str = "workring-results";
/// Only given if the pool has values for states.
pub(crate) const STATES: &str = "workring-states";

/// Returns the name of the queue of tasks of a level.
pub(crate) const fn tasks_of(priority: Priority) -> &'static str {
    match priority {
        Priority::Normal => TASKS,
        Priority::High => TASKS_HIGH,
        Priority::Low => TASKS_LOW,
    }
}

/// Returns the schema of the queue of tasks of a level, from that of the other queues of the pool. So a process that looks at
/// them can tell them apart.
pub(crate) fn schema_of(priority: Priority, schema: &str) -> String {
    match priority {
        Priority::Normal => schema.to_owned(),
        Priority::High => format!("{HIGH} of {schema}"),
        Priority::Low => format!("{LOW} of {schema}"),
    }
}

/// Returns whether this is the schema of a level that only pools with priorities have.
#[cfg(feature = "cli")]
pub(crate) fn is_of_other_level(schema: &str) -> bool {
    [HIGH, LOW].iter().any(|level| schema.starts_with(level))
}

const HIGH: &str = "high priority";
const LOW: &str = "low priority";

/// The contents of [`VARIABLE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) slot: u32,
    pub(crate) starter: Starter,
    /// The type of the tasks.
    pub(crate) task_type: String,
}

/// The process that has started a worker. It is not the worker's parent if there is a wrapper in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Starter {
    pub(crate) process: u32,
    /// The start time, in clock ticks since boot, modulo 2^32.
    pub(crate) started: u32,
    /// The inode of its namespace of process ids.
    pub(crate) namespace: u64,
}

impl Starter {
    /// Returns this process.
    pub(crate) fn here() -> std::io::Result<Self> {
        let identity = identity::current()?;
        Ok(Self {
            process: identity.process_id(),
            started: identity.start_time(),
            namespace: identity.pid_namespace,
        })
    }

    /// Returns whether it has ended; false if this process cannot know.
    pub(crate) fn has_ended(self) -> bool {
        self.is_visible()
            && (!pidfd::exists(self.process)
                || procfs::start_time(self.process).is_ok_and(|started| started != self.started))
    }

    /// Returns whether its id means the same process in this namespace.
    pub(crate) fn is_visible(self) -> bool {
        procfs::is_own_namespace().unwrap_or(false)
            && identity::current().is_ok_and(|me| me.pid_namespace == self.namespace)
    }
}

impl Assignment {
    pub(crate) fn to_text(&self) -> String {
        let Starter {
            process,
            started,
            namespace,
        } = self.starter;
        format!(
            "{} {process}.{started}.{namespace} {}",
            self.slot, self.task_type
        )
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (slot, rest) = text.split_once(' ')?;
        let (starter, task_type) = rest.split_once(' ')?;
        let mut numbers = starter.split('.');
        let starter = Starter {
            process: numbers.next()?.parse().ok()?,
            started: numbers.next()?.parse().ok()?,
            namespace: numbers.next()?.parse().ok()?,
        };
        Some(Self {
            slot: slot.parse().ok()?,
            starter,
            task_type: task_type.to_owned(),
        })
    }
}
