//! What a pool has to say, and what its workers have: events of `tracing`, where that feature is on.
//!
//! A subscriber is code of the program: nothing here calls it on the supervisor's thread (see [`crate::announce`]).

use crate::error::StartError;
use crate::pool::parent::events::Event;
use crate::pool::wire::messages::Level;

#[cfg(feature = "tracing")]
mod with_tracing {
    use super::{Event, Level, StartError};
    use crate::announce::{Importance, announce};
    use tracing::level_filters::LevelFilter;
    use tracing::{debug, error, info, trace, warn};

    /// The least important events that somebody in this process listens to; `None`: nobody listens to any.
    pub(crate) fn verbosity() -> Option<Level> {
        Some(match LevelFilter::current().into_level()? {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warn,
            tracing::Level::INFO => Level::Info,
            tracing::Level::DEBUG => Level::Debug,
            tracing::Level::TRACE => Level::Trace,
        })
    }

    /// Calls the subscriber soon, if it listens to events of this level.
    fn soon(level: LevelFilter, tell: impl FnOnce() + Send + 'static) {
        if level <= LevelFilter::current() {
            announce(Importance::Lifecycle, Box::new(tell));
        }
    }

    /// Something that a worker has logged.
    pub(crate) fn forward(worker: u32, pid: u32, level: Level, origin: String, message: String) {
        const TARGET: &str = "workring::worker";
        let tell = move || match level {
            Level::Error => error!(target: TARGET, worker, pid, origin, "{message}"),
            Level::Warn => warn!(target: TARGET, worker, pid, origin, "{message}"),
            Level::Info => info!(target: TARGET, worker, pid, origin, "{message}"),
            Level::Debug => debug!(target: TARGET, worker, pid, origin, "{message}"),
            Level::Trace => trace!(target: TARGET, worker, pid, origin, "{message}"),
        };
        announce(Importance::Detail, Box::new(tell));
    }

    /// A worker has said something that makes no sense.
    pub(crate) fn invalid_message(pid: u32) {
        soon(LevelFilter::WARN, move || {
            warn!(target: "workring", pid, "a message of a worker made no sense, and was skipped");
        });
    }

    /// A worker can't be started, and will be tried again.
    pub(crate) fn start_failed(worker: u32, error: &StartError) {
        let error = error.to_string();
        soon(LevelFilter::WARN, move || {
            warn!(target: "workring", worker, %error, "a worker could not be started, and is tried again later");
        });
    }

    /// A worker has died that was not told to.
    pub(crate) fn died(worker: u32, pid: u32, status: &str, task: Option<u64>) {
        let status = status.to_owned();
        soon(LevelFilter::WARN, move || {
            warn!(target: "workring", worker, pid, status, task, "a worker died unexpectedly");
        });
    }

    /// A process was killed and lives on.
    pub(crate) fn left_behind(worker: u32, pid: u32) {
        soon(LevelFilter::ERROR, move || {
            error!(target: "workring", worker, pid, "a worker was killed, but has not ended: it is left behind");
        });
    }

    /// A worker was killed in a pool that goes on, and lives on. Returns that in words.
    pub(crate) fn unkillable(worker: u32, pid: u32) -> String {
        let what = super::cannot_be_ended(pid);
        let said = what.clone();
        soon(LevelFilter::ERROR, move || {
            error!(target: "workring", worker, pid, "{said}");
        });
        what
    }

    /// The supervisor can't wait.
    pub(crate) fn wait_failed(error: &std::io::Error) {
        let error = error.to_string();
        soon(LevelFilter::ERROR, move || {
            error!(target: "workring", %error, "the pool can't wait for its workers: it looks at them every 10 ms instead");
        });
    }

    /// No worker can be had.
    pub(crate) fn outage(cause: &str) {
        let cause = cause.to_owned();
        soon(LevelFilter::ERROR, move || {
            error!(
                target: "workring",
                cause,
                "no worker could be started, several times in a row: queued tasks fail and none is accepted, until one can"
            );
        });
    }

    /// A worker is ready again.
    pub(crate) fn outage_ended() {
        soon(LevelFilter::INFO, || {
            info!(target: "workring", "a worker was started again: tasks are accepted");
        });
    }

    /// Who is told of events has panicked.
    pub(crate) fn listener_panicked(event: Event) {
        soon(LevelFilter::ERROR, move || {
            error!(target: "workring", ?event, "the pool's listener has panicked over an event");
        });
    }

    /// A dead letter that nobody can make sense of.
    pub(crate) fn unreadable_task(reason: &str) {
        let reason = reason.to_owned();
        soon(LevelFilter::ERROR, move || {
            error!(target: "workring", reason, "a task that no worker has taken could not be read, and is dropped");
        });
    }
}

#[cfg(feature = "tracing")]
pub(crate) use with_tracing::{
    died, forward, invalid_message, left_behind, listener_panicked, outage, outage_ended,
    start_failed, unkillable, unreadable_task, verbosity, wait_failed,
};

/// A worker that lives on although it was killed.
fn cannot_be_ended(pid: u32) -> String {
    format!(
        "the worker with process id {pid} was killed and has not ended: if it is stopped and belongs to another user, \
         continue it or end it as that user"
    )
}

#[cfg(not(feature = "tracing"))]
mod without {
    use super::{Event, Level, StartError};

    pub(crate) fn verbosity() -> Option<Level> {
        None
    }

    pub(crate) fn forward(_: u32, _: u32, _: Level, _: String, _: String) {}
    pub(crate) fn invalid_message(_: u32) {}
    pub(crate) fn start_failed(_: u32, _: &StartError) {}
    pub(crate) fn died(_: u32, _: u32, _: &str, _: Option<u64>) {}
    pub(crate) fn left_behind(_: u32, _: u32) {}
    pub(crate) fn unkillable(_: u32, pid: u32) -> String {
        super::cannot_be_ended(pid)
    }
    pub(crate) fn wait_failed(_: &std::io::Error) {}
    pub(crate) fn outage(_: &str) {}
    pub(crate) fn outage_ended() {}
    pub(crate) fn listener_panicked(_: Event) {}
    pub(crate) fn unreadable_task(_: &str) {}
}

#[cfg(not(feature = "tracing"))]
pub(crate) use without::{
    died, forward, invalid_message, left_behind, listener_panicked, outage, outage_ended,
    start_failed, unkillable, unreadable_task, verbosity, wait_failed,
};
