//! What the callers of a pool, their handles and its supervisor share.

use super::commands::{Command, Commands};
use super::results::{Results, StreamId};
use super::settings::Settings;
use crate::os::clock;
use crate::os::fork::OwnerProcess;
use crate::pool::context::CANCELLED_BY_HANDLE;
use crate::pool::outcome::TaskId;
use crate::pool::task::{OutcomeOf, Task};
use crate::pool::wire::result_message::EncodedOutcome;
use crate::pool::wire::task_message::{Envelope, TaskCodec};
use crate::queue::Sender;
use crate::segment::board::Board;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

/// What the callers, their handles and the supervisor share.
pub(super) struct Shared<T: Task> {
    pub(super) results: Results,
    pub(super) tasks: Sender<Envelope<T>, TaskCodec>,
    pub(super) board: Board,
    pub(super) settings: Settings,
    pub(super) origin: OwnerProcess,
    pub(super) commands: Arc<Commands>,
}

impl<T: Task> Shared<T> {
    /// See [`TaskHandle::cancel`].
    pub(super) fn cancel(&self, id: TaskId) -> bool {
        if !self.origin.is_current() {
            return false;
        }
        let cancelled = self.results.with(|state| {
            let flight = state.flight(id)?;
            flight.cancelled = true;
            Some(())
        });
        if cancelled.is_some() {
            self.board.cancel(id.0, CANCELLED_BY_HANDLE);
        }
        cancelled.is_some()
    }

    /// See [`TaskHandle::cancel_within`].
    pub(super) fn cancel_within(&self, id: TaskId, grace: Duration) -> bool {
        let is_cancelled = self.cancel(id);
        if is_cancelled {
            let due = clock::after(Instant::now(), grace);
            self.commands.send(Command::Kill { task: id, due });
        }
        is_cancelled
    }

    /// What a caller gets who has claimed an outcome. Calls the user's `Deserialize`, on the caller's thread, who holds
    /// nothing of the pool meanwhile (RESULTS-7 of the results).
    pub(super) fn open(&self, sealed: EncodedOutcome) -> OutcomeOf<T> {
        let has_output = sealed.result.is_ok();
        let outcome = sealed.open::<T>();
        if has_output && outcome.result.is_err() {
            self.results.recount_undecodable();
        }
        outcome
    }

    /// The outcomes of a map are not wanted any more, nor what would lead to them.
    pub(super) fn abandon(&self, stream: StreamId, has_tasks: bool) {
        // What is left is dropped here, without the results's lock: it is the caller's own.
        let (cancelled, _left) = self.results.abandon(stream, has_tasks);
        for id in cancelled {
            self.board.cancel(id.0, CANCELLED_BY_HANDLE);
        }
    }
}
