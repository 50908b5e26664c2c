//! What a pool has to say, and what its workers have: events of `tracing`, where that feature is on.

use super::events::Event;
use super::messages::Level;
use crate::error::StartError;

#[cfg(feature = "tracing")]
mod with_tracing {
    use super::{Event, Level, StartError};
    use tracing::{debug, error, info, trace, warn};

    /// Something that a worker has logged.
    pub(crate) fn pass_on(worker: u32, pid: u32, level: Level, origin: &str, message: &str) {
        const TARGET: &str = "workring::worker";
        match level {
            Level::Error => error!(target: TARGET, worker, pid, origin, "{message}"),
            Level::Warn => warn!(target: TARGET, worker, pid, origin, "{message}"),
            Level::Info => info!(target: TARGET, worker, pid, origin, "{message}"),
            Level::Debug => debug!(target: TARGET, worker, pid, origin, "{message}"),
            Level::Trace => trace!(target: TARGET, worker, pid, origin, "{message}"),
        }
    }

    /// A worker has said something that makes no sense.
    pub(crate) fn nonsense(pid: u32) {
        warn!(target: "workring", pid, "a message of a worker made no sense, and was skipped");
    }

    /// A worker can't be started, and will be tried again.
    pub(crate) fn failure(worker: u32, error: &StartError) {
        warn!(target: "workring", worker, %error, "a worker could not be started");
    }

    /// A worker has died that was not told to.
    pub(crate) fn death(worker: u32, pid: u32, status: &str, task: Option<u64>) {
        warn!(target: "workring", worker, pid, status, task, "a worker died unexpectedly");
    }

    /// A process was killed and lives on.
    pub(crate) fn immortal(worker: u32, pid: u32) {
        error!(target: "workring", worker, pid, "a worker was killed, but has not ended: it is left behind");
    }

    /// Who is told of events has panicked.
    pub(crate) fn deaf(event: &Event) {
        error!(target: "workring", ?event, "the pool's listener has panicked over an event");
    }

    /// A dead letter that nobody can make sense of.
    pub(crate) fn illegible(reason: &str) {
        error!(target: "workring", reason, "a task's ticket could not be read");
    }
}

#[cfg(feature = "tracing")]
pub(super) use with_tracing::{deaf, death, failure, illegible, immortal, nonsense, pass_on};

#[cfg(not(feature = "tracing"))]
mod without {
    use super::{Event, Level, StartError};

    pub(crate) fn pass_on(_: u32, _: u32, _: Level, _: &str, _: &str) {}
    pub(crate) fn nonsense(_: u32) {}
    pub(crate) fn failure(_: u32, _: &StartError) {}
    pub(crate) fn death(_: u32, _: u32, _: &str, _: Option<u64>) {}
    pub(crate) fn immortal(_: u32, _: u32) {}
    pub(crate) fn deaf(_: &Event) {}
    pub(crate) fn illegible(_: &str) {}
}

#[cfg(not(feature = "tracing"))]
pub(super) use without::{deaf, death, failure, illegible, immortal, nonsense, pass_on};
