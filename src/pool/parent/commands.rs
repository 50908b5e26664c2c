//! What other threads ask the supervisor to do.

use crate::os::poll::EventFd as Notifier;
use crate::pool::outcome::TaskId;
use parking_lot::Mutex;
use std::io;
use std::time::Instant;

/// What the supervisor is told by other threads.
pub(super) enum Command {
    /// Stop all workers, and end. The tasks that are left are cancelled if `cancel`, else there are none.
    Stop { cancel: bool },
    /// A task is cancelled: end its worker, if it still runs at that moment.
    Kill { task: TaskId, due: Instant },
}

/// Orders on their way.
pub(super) struct Commands {
    commands: Mutex<Vec<Command>>,
    pub(super) notifier: Notifier,
}

impl Commands {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            commands: Mutex::new(Vec::new()),
            notifier: Notifier::new()?,
        })
    }

    /// Never waits.
    pub(super) fn send(&self, command: Command) {
        self.commands.lock().push(command);
        self.notifier.set();
    }

    /// There is more to do than before: look at the workers. Never waits.
    pub(super) fn notify(&self) {
        self.notifier.set();
    }

    pub(super) fn take(&self) -> Vec<Command> {
        // Before the look, so that whatever comes after it rings again.
        self.notifier.clear();
        core::mem::take(&mut *self.commands.lock())
    }
}
