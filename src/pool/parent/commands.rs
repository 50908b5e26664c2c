//! Commands of other threads to the supervisor.

use super::settings::PoolSize;
use crate::os::poll::EventFd as Notifier;
use crate::pool::outcome::TaskId;
use crate::pool::priority::Priority;
use crate::pool::wire::task_message::EncodedTask;
use parking_lot::Mutex;
use std::io;
use std::sync::mpsc::Sender;
use std::time::Instant;

pub(super) enum Command {
    /// Stop all workers, and end. If `cancel`, tasks are in flight and are cancelled.
    Stop { cancel: bool },
    /// Kill the worker of a cancelled task if it still runs the task at `due`.
    Kill { task: TaskId, due: Instant },
    /// Hold this task back until it is due.
    Hold(HeldTask),
    /// End the tasks that are held back and cancelled.
    WithdrawCancelled,
    /// Cancel tasks that are held back beyond this time: the pool will be at its end by then.
    WithdrawAfter(Instant),
    /// Replace each worker by another process, and then send.
    Recycle { done: Sender<()> },
    /// Have as many workers, and then send.
    Resize { size: PoolSize, done: Sender<()> },
}

/// A task that the supervisor sends to the workers at a time.
pub(super) struct HeldTask {
    pub(super) due: Instant,
    pub(super) priority: Priority,
    pub(super) task: EncodedTask,
    /// Whether it is to be tried again. Otherwise it was submitted with a time before which it is not to begin.
    pub(super) is_retry: bool,
}

/// The queue of commands, and the notifier that wakes the supervisor.
pub(super) struct Commands {
    /// `None` once no one reads it any more.
    queue: Mutex<Option<Vec<Command>>>,
    pub(super) notifier: Notifier,
}

impl Commands {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            queue: Mutex::new(Some(Vec::new())),
            notifier: Notifier::new()?,
        })
    }

    /// Sends a command. Never waits. After the end of the supervisor, drops it.
    pub(super) fn send(&self, command: Command) {
        if let Some(queue) = &mut *self.queue.lock() {
            queue.push(command);
        }
        self.notifier.set();
    }

    /// Drops all commands, and those that follow.
    pub(super) fn close(&self) {
        *self.queue.lock() = None;
    }

    /// Makes the supervisor inspect its workers. Never waits.
    pub(super) fn notify(&self) {
        self.notifier.set();
    }

    /// Takes all commands, and resets the notifier.
    pub(super) fn take(&self) -> Vec<Command> {
        // Before the queue is read, so that a later command sets the notifier again.
        self.notifier.clear();
        let mut queue = self.queue.lock();
        queue.as_mut().map(core::mem::take).unwrap_or_default()
    }
}
