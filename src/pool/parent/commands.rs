//! Commands of other threads to the supervisor.

use crate::os::poll::EventFd as Notifier;
use crate::pool::outcome::TaskId;
use parking_lot::Mutex;
use std::io;
use std::time::Instant;

pub(super) enum Command {
    /// Stop all workers, and end. If `cancel`, tasks are in flight and are cancelled.
    Stop { cancel: bool },
    /// Kill the worker of a cancelled task if it still runs the task at `due`.
    Kill { task: TaskId, due: Instant },
}

/// The queue of commands, and the notifier that wakes the supervisor.
pub(super) struct Commands {
    queue: Mutex<Vec<Command>>,
    pub(super) notifier: Notifier,
}

impl Commands {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            queue: Mutex::new(Vec::new()),
            notifier: Notifier::new()?,
        })
    }

    /// Sends a command. Never waits.
    pub(super) fn send(&self, command: Command) {
        self.queue.lock().push(command);
        self.notifier.set();
    }

    /// Makes the supervisor inspect its workers. Never waits.
    pub(super) fn notify(&self) {
        self.notifier.set();
    }

    /// Takes all commands, and resets the notifier.
    pub(super) fn take(&self) -> Vec<Command> {
        // Before the queue is read, so that a later command sets the notifier again.
        self.notifier.clear();
        core::mem::take(&mut *self.queue.lock())
    }
}
