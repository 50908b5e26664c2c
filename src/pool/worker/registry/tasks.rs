//! All registered tasks of this program.
//!
//! State: none that changes. The section is part of the program file, and sorted once.

use super::entry::Registered;
use crate::pool::wire::messages::{Identity, PROTOCOL_VERSION, REGISTERED, own_build, truncated};
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::TaskKey;
use crate::pool::worker::main_loop::{Runner, Startup, Worker};
use crate::pool::worker_state::States;
use std::error::Error;
use std::sync::OnceLock;

/// The section that the linker fills.
#[doc(hidden)]
#[linkme::distributed_slice]
pub static TASKS: [Registered];

/// The registered tasks of this program.
#[derive(Debug)]
pub(crate) struct RegisteredTasks {
    /// In the order of their keys.
    tasks: Vec<&'static Registered>,
}

/// Two tasks with the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SameName {
    pub(crate) name: &'static str,
    pub(crate) places: [&'static str; 2],
}

/// Returns the registered tasks, or the first two of them that have the same name.
pub(crate) fn registered() -> Result<&'static RegisteredTasks, SameName> {
    static ALL: OnceLock<Result<RegisteredTasks, SameName>> = OnceLock::new();
    match ALL.get_or_init(|| RegisteredTasks::of(&TASKS)) {
        Ok(tasks) => Ok(tasks),
        Err(same) => Err(*same),
    }
}

impl RegisteredTasks {
    fn of(tasks: &'static [Registered]) -> Result<Self, SameName> {
        let mut tasks: Vec<_> = tasks.iter().collect();
        // With places, so that the same two are named in each run.
        tasks.sort_unstable_by_key(|task| (task.key, task.name, task.place));
        let pairs = tasks.iter().zip(tasks.iter().skip(1));
        // Two names of 64 bits that are equal by chance count as well: one of the tasks has to be renamed.
        match pairs.into_iter().find(|(one, other)| one.key == other.key) {
            Some((one, other)) => Err(SameName {
                name: one.name,
                places: [one.place, other.place],
            }),
            None => Ok(Self { tasks }),
        }
    }

    fn find(&self, key: TaskKey) -> Option<&'static Registered> {
        let place = self.tasks.binary_search_by_key(&key, |task| task.key);
        self.tasks.get(place.ok()?).copied()
    }

    /// Returns the name of the task with this key.
    pub(crate) fn name(&self, key: TaskKey) -> Option<&'static str> {
        self.find(key).map(|task| task.name)
    }

    /// Serves a pool of the one type that this worker was started for, and never returns, if that type is registered.
    pub(crate) fn serve_type(&self, startup: &Startup<'_>) -> bool {
        let of_type = |task: &&&Registered| (task.type_name)() == startup.task_type();
        let task = self.tasks.iter().find(of_type);
        task.is_some_and(|task| (task.serve)(startup))
    }

    /// Returns whether a worker that was started for this type of task can be one of these.
    pub(crate) fn can_serve(&self, task_type: &str) -> bool {
        task_type == REGISTERED
            || self
                .tasks
                .iter()
                .any(|task| (task.type_name)() == task_type)
    }
}

impl Runner for RegisteredTasks {
    fn identity(&self) -> Identity {
        let mut by_name = self.tasks.clone();
        by_name.sort_unstable_by_key(|task| task.name);
        let all: Vec<String> = by_name.iter().map(|task| (task.describe)()).collect();
        let all = all.join("; ");
        let digest = TaskKey::of(&all).number();
        Identity {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: digest,
            task: REGISTERED.to_owned(),
            output: truncated(all),
            error: String::new(),
            shapes: String::new(),
            build: own_build(),
        }
    }

    fn prepare(&self, states: &mut States) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut by_name = self.tasks.clone();
        by_name.sort_unstable_by_key(|task| task.name);
        by_name.iter().try_for_each(|task| (task.prepare)())?;
        by_name
            .iter()
            .try_for_each(|task| (task.build_states)(states))
    }

    #[inline]
    fn run(
        &self,
        worker: &mut Worker,
        key: TaskKey,
        attempt: TaskAttempt,
        bytes: &[u8],
        start: u64,
    ) {
        match self.find(key) {
            Some(task) => (task.run)(worker, attempt, bytes, start),
            None => worker.report_transport(
                attempt,
                "the worker's program has not registered this task: register it with `workring::register!`".to_owned(),
            ),
        }
    }
}
