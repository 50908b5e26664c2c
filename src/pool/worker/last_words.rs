//! What a worker sends when a panic ends it, in a program that is built with `panic = "abort"`.
//!
//! There, no panic can be caught: the process ends when the panic hook returns. So the hook sends what a caught panic would
//! have led to. State: for each thread, what it does.
//!
//! | the thread               | the hook sends                  | what becomes of its task                               |
//! |--------------------------|---------------------------------|--------------------------------------------------------|
//! | prepares the worker      | `CannotPrepare`                 | there is none                                          |
//! | decodes a task           | the outcome `Transport`         | it has its outcome                                     |
//! | runs a task              | the outcome `Panicked`          | the same                                               |
//! | encodes its outcome      | the outcome `Transport`         | the same                                               |
//! | drops what was encoded   | a log event                     | its outcome was sent before                            |
//! | is another one           | a log event                     | the task of the main thread has crashed with `SIGABRT` |
//!
//! ABORT-1. The outcome is sent before the process ends, and the message of the task is not acknowledged. The parent records
//!     all results before it judges the dead letter, and drops a task that has its outcome: it is neither retried nor
//!     answered twice.
//! ABORT-2. A thread that has sent its outcome does nothing any more. If the hook itself panics, std ends the process: then
//!     the task has crashed.
//! ABORT-3. The hook waits for room at most [`MAX_WAIT`]. A send that the panic has interrupted may hold the last block.

use crate::os::link::Link;
use crate::pool::outcome::Panic;
use crate::pool::wire::messages::{FromWorker, truncated};
use crate::pool::wire::result_message::{
    EncodedResult, EncodedResultCodec, ResultCodec, ResultMessage, WorkerResult,
};
use crate::pool::wire::task_attempt::TaskAttempt;
use crate::queue::Sender;
use core::cell::Cell;
use core::time::Duration;
use parking_lot::Mutex;
use std::sync::Arc;

/// Whether a panic ends the process.
pub(super) const PANICS_ABORT: bool = cfg!(panic = "abort");

/// How long the hook waits for room in the queue of results (ABORT-3).
const MAX_WAIT: Duration = Duration::from_secs(2);

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Anything else.
    Other,
    Preparing,
    Decoding(TaskAttempt),
    Running(TaskAttempt),
    Encoding(TaskAttempt),
}

thread_local! {
    static DOING: Cell<Doing> = const { Cell::new(Doing::Other) };
}

/// Records what this thread does from now on. Compiles to nothing where panics are caught.
#[inline(always)]
pub(super) fn note(doing: Doing) {
    if PANICS_ABORT {
        DOING.set(doing);
    }
}

type Results = Sender<EncodedResult, EncodedResultCodec>;

/// The way from the panic hook to the parent.
#[derive(Debug)]
pub(super) struct LastWords {
    link: Arc<Link>,
    /// How outcomes are sent, once the worker has that.
    results: Mutex<Option<Results>>,
}

impl LastWords {
    pub(super) fn new(link: Arc<Link>) -> Arc<Self> {
        let results = Mutex::new(None);
        Arc::new(Self { link, results })
    }

    /// Gives it the way by which outcomes are sent.
    pub(super) fn set_results(&self, results: &Results) {
        if PANICS_ABORT {
            *self.results.lock() = Some(results.clone());
        }
    }

    /// Takes that away again: the worker is about to leave the queue.
    pub(super) fn clear_results(&self) {
        drop(self.results.lock().take());
    }

    /// Sends what the panic leads to. Returns false if this thread does nothing that has an outcome.
    pub(super) fn send(&self, panic: &Panic) -> bool {
        // ABORT-2.
        let (attempt, result) = match DOING.replace(Doing::Other) {
            Doing::Other => return false,
            Doing::Preparing => {
                let what = truncated(panic.to_string());
                let _ = self.link.send(&FromWorker::CannotPrepare { what }.encode());
                return true;
            }
            Doing::Decoding(attempt) => (attempt, undecodable(panic)),
            Doing::Running(attempt) => (attempt, WorkerResult::Panicked(panic.clone())),
            Doing::Encoding(attempt) => {
                let what = truncated(panic.to_string());
                (attempt, WorkerResult::Transport(what))
            }
        };
        // Taken: nothing is sent by this way afterwards.
        let Some(results) = self.results.lock().take() else {
            return false;
        };
        let outcome = ResultMessage::<(), ()> { attempt, result };
        let sent = results.send_ref_timeout::<_, ResultCodec>(&outcome, MAX_WAIT);
        sent.is_ok()
    }
}

/// Returns the outcome of a task whose decoding has panicked.
pub(super) fn undecodable<O, E>(panic: &Panic) -> WorkerResult<O, E> {
    WorkerResult::Transport(format!("decoding the task: {panic}"))
}
