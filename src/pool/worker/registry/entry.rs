//! What is registered of a task.

use crate::pool::task::Task;
use crate::pool::wire::messages::shapes_of;
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::TaskKey;
use crate::pool::worker::main_loop::{Startup, Worker};
use crate::pool::worker::one_type::serve_type;
use crate::pool::worker_state::States;
use core::any::type_name;
use core::fmt;
use std::error::Error;

/// A task that any worker of the program can run. `#[workring::task]` and [`register!`](crate::register) implement it.
pub trait RegisteredTask: Task {
    /// The name by which a worker finds the task: its path, unless another was given.
    const NAME: &'static str;
}

/// A registered task. What a worker needs to know of it, without its type.
pub struct Registered {
    pub(super) name: &'static str,
    /// Where it was registered, as `file:line:column`.
    pub(super) place: &'static str,
    pub(super) key: TaskKey,
    pub(super) describe: fn() -> String,
    pub(super) prepare: fn() -> Result<(), Box<dyn Error + Send + Sync>>,
    pub(super) build_states: fn(&mut States) -> Result<(), Box<dyn Error + Send + Sync>>,
    pub(super) run: fn(&mut Worker, TaskAttempt, &[u8], u64),
    /// The name of the type, and what serves a pool of this type only.
    pub(super) type_name: fn() -> &'static str,
    pub(super) serve: fn(&Startup<'_>) -> bool,
}

impl Registered {
    /// Describes a task. For `register!` only.
    #[doc(hidden)]
    #[must_use]
    pub const fn new<T: RegisteredTask>(place: &'static str) -> Self {
        Self {
            name: T::NAME,
            place,
            key: TaskKey::of(T::NAME),
            describe: describe::<T>,
            prepare: T::prepare_worker,
            build_states: T::build_states,
            run: Worker::run_and_report::<T>,
            type_name: type_name::<T>,
            serve: serve_type::<T>,
        }
    }
}

fn describe<T: RegisteredTask>() -> String {
    format!("{}: {} (schema {})", T::NAME, shapes_of::<T>(), T::SCHEMA)
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered")
            .field("name", &self.name)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
