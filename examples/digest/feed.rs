//! Cutting the list of paths into tasks, as many as the queue takes without waiting.

use crate::list::Unfinished;
use crate::worker::Task;
use workring::{Sender, TrySendError};

/// To hash a file of a few KiB takes no longer than to wake a process for it, so a task is several of them:
/// one at a time makes the whole run some 30% slower, and more than these no faster. ...
const FILES_PER_TASK: usize = 64;
/// ... whose paths fit a message, which has at most 64 KiB, with room to spare.
const BYTES_PER_TASK: usize = 32 * 1024;
/// Towards the end, tasks get smaller, lest one worker be busy with the last large one alone.
const TASKS_LEFT_PER_WORKER: usize = 4;
/// How far hashing may run ahead of printing, in files: what is hashed already waits while one large file
/// comes before it.
const AHEAD: usize = 1 << 16;

pub(crate) struct Feed<'a> {
    paths: &'a [Vec<u8>],
    workers: usize,
    tasks: Sender<Task>,
    /// How many paths have been made into tasks.
    cut: usize,
    /// A task that the queue had no room for.
    refused: Option<Task>,
}

impl<'a> Feed<'a> {
    pub(crate) fn new(paths: &'a [Vec<u8>], workers: usize, tasks: Sender<Task>) -> Self {
        Self {
            paths,
            workers,
            tasks,
            cut: 0,
            refused: None,
        }
    }

    /// Send what the queue has room for; never waits. After the last task, the queue is closed, so that the
    /// workers end.
    pub(crate) fn send_more(&mut self, printed: usize) -> Result<(), Unfinished> {
        while let Some(task) = self.refused.take().or_else(|| self.next_task(printed)) {
            match self.tasks.try_send(task) {
                Ok(()) => {}
                Err(TrySendError::Full(task)) => {
                    self.refused = Some(task);
                    return Ok(());
                }
                // All workers are gone, or will be in a moment.
                Err(TrySendError::Closed(_)) => return Err(Unfinished::Stopped),
                Err(error) => return Err(Unfinished::Queue(error.to_string())),
            }
        }
        if self.cut == self.paths.len() {
            self.tasks.close();
        }
        Ok(())
    }

    fn next_task(&mut self, printed: usize) -> Option<Task> {
        let rest = self.paths.get(self.cut..).unwrap_or_default();
        let share = rest.len() / (TASKS_LEFT_PER_WORKER * self.workers);
        let files = share.clamp(1, FILES_PER_TASK);
        if self.cut + files > printed + AHEAD {
            return None;
        }
        let mut bytes = 0;
        let paths: Vec<Vec<u8>> = rest
            .iter()
            .take(files)
            .take_while(|path| {
                let is_first = bytes == 0;
                bytes += path.len();
                is_first || bytes <= BYTES_PER_TASK
            })
            .cloned()
            .collect();
        let first = self.cut;
        self.cut += paths.len();
        (!paths.is_empty()).then_some(Task { first, paths })
    }
}
