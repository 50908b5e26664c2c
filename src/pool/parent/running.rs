//! A running pool, whatever its tasks: what its callers and their handles share with the supervisor, and its end.

use super::commands::Command;
use super::report::Report;
use super::results::Home;
use super::rollout::Rollout;
use super::settings::{OnDrop, PoolSize, Workers};
use super::shared::Shared;
use super::shutdown::{Shutdown, ShutdownState};
use super::submission::Submission;
use super::unclaimed::Unclaimed;
use crate::error::{RolloutError, ShutdownError};
use crate::pool::task::Task;
use crate::pool::wire::panics::catch_panic_message;
use crate::pool::wire::task_message::TaskKey;
use core::fmt;
use core::time::Duration;
use std::panic::Location;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};

pub(super) struct RunningPool {
    shared: Arc<Shared>,
    shutdown: Arc<ShutdownState>,
    made_at: &'static Location<'static>,
}

impl RunningPool {
    pub(super) fn new(
        shared: Arc<Shared>,
        shutdown: ShutdownState,
        made_at: &'static Location<'static>,
    ) -> Self {
        Self {
            shared,
            shutdown: Arc::new(shutdown),
            made_at,
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns what a thread needs that shuts the pool down.
    #[cfg(feature = "async")]
    pub(super) fn parts(&self) -> (Arc<Shared>, Arc<ShutdownState>) {
        (Arc::clone(&self.shared), Arc::clone(&self.shutdown))
    }

    #[inline]
    pub(super) fn task<T: Task>(&self, task: T, key: TaskKey) -> Submission<'_, T> {
        Submission::new(&self.shared, Home::Pool, key, task)
    }

    pub(super) fn unclaimed(&self) -> Unclaimed<'_> {
        Unclaimed::new(&self.shared, Home::Pool)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.shared.in_flight(Home::Pool)
    }

    /// See [`TypedPool::recycle`](crate::pool::TypedPool::recycle).
    pub(super) fn recycle(&self) -> Result<Rollout, RolloutError> {
        self.begin_rollout(|done| Command::Recycle { done })
    }

    /// See [`TypedPool::resize`](crate::pool::TypedPool::resize).
    pub(super) fn resize(&self, Workers(workers): Workers) -> Result<Rollout, RolloutError> {
        let max = self.shared.settings.workers.room as usize;
        if *workers.start() < 1 || workers.is_empty() || *workers.end() > max {
            return Err(RolloutError::InvalidSize { workers, max });
        }
        let size = PoolSize::from(&workers);
        self.begin_rollout(|done| Command::Resize { size, done })
    }

    fn begin_rollout(
        &self,
        command: impl FnOnce(Sender<()>) -> Command,
    ) -> Result<Rollout, RolloutError> {
        if !self.shared.owner.is_current() {
            return Err(RolloutError::Forked);
        }
        let (done, is_done) = mpsc::channel();
        self.shared.commands.send(command(done));
        Ok(Rollout::new(is_done))
    }

    pub(super) fn shut_down(
        &self,
        how: Shutdown,
        timeout: Duration,
    ) -> Result<Report, ShutdownError> {
        if !self.shared.owner.is_current() {
            return Err(ShutdownError::Forked);
        }
        Ok(self.shutdown.shut_down(&self.shared, how, timeout))
    }

    pub(super) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("made_at", &self.made_at)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

impl Drop for RunningPool {
    fn drop(&mut self) {
        if !self.shared.owner.is_current() || self.shutdown.is_over() {
            return;
        }
        let on_drop = self.shared.settings.on_drop;
        let (how, timeout) = match on_drop {
            Some(OnDrop::Drain(timeout)) => (Shutdown::Drain, timeout),
            Some(OnDrop::Cancel) | None => (Shutdown::Cancel, Duration::ZERO),
        };
        let report = self.shutdown.shut_down(&self.shared, how, timeout);
        if on_drop.is_none() {
            // If the subscriber panics, this does not.
            let _ = catch_panic_message(|| warn_of_drop(self.made_at, &report));
        }
    }
}

#[cfg(feature = "tracing")]
fn warn_of_drop(made_at: &Location<'_>, report: &Report) {
    tracing::warn!(
        target: "workring",
        made_at = %made_at,
        report = %report,
        "a pool was dropped without `shutdown`: its tasks in flight were cancelled"
    );
}

#[cfg(not(feature = "tracing"))]
fn warn_of_drop(_: &Location<'_>, _: &Report) {}
