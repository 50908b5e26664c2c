//! Taking tasks from the queues of several levels: see [`priority`](crate::pool::priority).
//!
//! A worker that is free looks at the queues in the order of its turn. If all of them are empty, it waits for all at once, and
//! takes the first task that comes, whatever its level.

use super::inherited::TaskReceiver;
use crate::codec::Raw;
use crate::error::{RecvError, TryRecvError, with_causes};
use crate::pool::priority::{Levels, Turn};
use crate::queue::{BytesLease, Interrupter, Lease, Select};

/// A message with tasks that was leased.
pub(super) enum Leased<'a> {
    InPlace(BytesLease<'a>),
    Copied(Lease<'a, Vec<u8>, Raw>),
}

impl Leased<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::InPlace(lease) => lease,
            Self::Copied(lease) => lease,
        }
    }

    pub(super) fn ack(self) {
        match self {
            Self::InPlace(lease) => lease.ack(),
            Self::Copied(lease) => drop(lease.ack()),
        }
    }
}

/// Why no task was taken.
pub(super) enum TakeError {
    Closed,
    Interrupted,
    /// The worker can't go on, for this reason.
    Broken(String),
}

/// The queues of all levels.
pub(super) struct ByPriority<'a> {
    tasks: &'a Levels<TaskReceiver>,
    /// The queues, in the order in which the select has them.
    queues: Vec<&'a TaskReceiver>,
    select: Select<'a>,
    turn: Turn,
}

impl<'a> ByPriority<'a> {
    pub(super) fn new(tasks: &'a Levels<TaskReceiver>) -> Self {
        let queues: Vec<&TaskReceiver> = tasks.iter().map(|(_, queue)| queue).collect();
        let mut select = Select::new();
        for queue in &queues {
            select.lease(queue);
        }
        Self {
            tasks,
            queues,
            select,
            turn: Turn::random(),
        }
    }

    /// Returns what ends a wait of [`take`](Self::take).
    pub(super) fn interrupter(&self) -> Interrupter {
        self.select.interrupter()
    }

    /// Takes the next task. Blocks until there is one, or the queues are closed.
    pub(super) fn take(&mut self) -> Result<Leased<'a>, TakeError> {
        let found = match self.look() {
            None => self.wait(),
            Some(Ok(lease)) => Ok(Leased::InPlace(lease)),
            Some(Err(TryRecvError::Closed)) => Err(TakeError::Closed),
            Some(Err(error)) => Err(TakeError::Broken(with_causes(&error))),
        };
        self.turn.advance();
        found
    }

    /// Takes a task from the first queue that has one, in the order of this turn.
    fn look(&self) -> Option<Result<BytesLease<'a>, TryRecvError>> {
        let tasks = self.tasks;
        let mut queues = self.turn.order().into_iter().filter_map(|it| tasks.of(it));
        queues.find_map(|queue| match queue.try_lease_bytes() {
            Err(TryRecvError::Empty) => None,
            found => Some(found),
        })
    }

    fn wait(&mut self) -> Result<Leased<'a>, TakeError> {
        let selected = self.select.select().map_err(|error| {
            if error.is_interrupted() {
                TakeError::Interrupted
            } else {
                TakeError::Broken(with_causes(&error))
            }
        })?;
        let queue = self.queues.get(selected.index());
        match selected.lease(queue.copied().unwrap_or(&self.tasks.normal)) {
            Ok(lease) => Ok(Leased::Copied(lease)),
            Err(RecvError::Closed) => Err(TakeError::Closed),
            Err(error) => Err(TakeError::Broken(with_causes(&error))),
        }
    }
}
