//! A worker of a pool of one type of task.

use super::main_loop::{Runner, Startup, Worker};
use crate::pool::task::Task;
use crate::pool::wire::messages::Identity;
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::pool::wire::task_message::TaskKey;
use crate::pool::worker_state::States;
use core::any::type_name;
use core::marker::PhantomData;
use std::error::Error;

/// Tasks of the type `T`.
struct OneType<T>(PhantomData<T>);

impl<T: Task> Runner for OneType<T> {
    fn identity(&self) -> Identity {
        Identity::of::<T>()
    }

    fn prepare(&self, states: &mut States) -> Result<(), Box<dyn Error + Send + Sync>> {
        T::prepare_worker()?;
        T::build_states(states)
    }

    #[inline]
    fn run(&self, worker: &mut Worker, _: TaskKey, attempt: TaskAttempt, bytes: &[u8], start: u64) {
        worker.run_and_report::<T>(attempt, bytes, start);
    }
}

/// Serves and never returns if the parent's type of task is `T`. Otherwise returns false.
pub(crate) fn serve_type<T: Task>(startup: &Startup<'_>) -> bool {
    if startup.task_type() != type_name::<T>() {
        return false;
    }
    let runner = OneType::<T>(PhantomData);
    Worker::enter(startup, &runner).work(&runner)
}
