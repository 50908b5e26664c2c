//! Events in the lives of workers, for the listener of a pool.

use crate::pool::outcome::TaskId;
use std::process::ExitStatus;
use std::sync::Arc;

/// An event in the life of a worker. See [`Builder::on_event`](crate::pool::Builder::on_event).
///
/// The events of a process come in the order of this list: `Started` first and `Exited` last, once each. If the worker
/// dies, events in between may be missing.
///
/// # Examples
///
/// ```
#[doc = include_str!("../example.in")]
/// use std::collections::BTreeMap;
/// use std::sync::{Arc, Mutex};
///
/// // How many tasks each worker has started.
/// let started_tasks = Arc::new(Mutex::new(BTreeMap::<u32, u32>::new()));
/// let counter = Arc::clone(&started_tasks);
/// let pool = TypedPool::<Square>::builder().on_event(move |event| match event {
///     Event::TaskStarted { worker, .. } => {
///         *counter.lock().unwrap().entry(*worker).or_default() += 1;
///     }
///     Event::Exited { worker, status, .. } => println!("worker {worker} has ended: {status:?}"),
///     _ => {}
/// });
/// let pool = pool.start()?;
/// assert_eq!(pool.map((0..10).map(Square)).count(), 10);
/// pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
/// assert_eq!(started_tasks.lock().unwrap().values().sum::<u32>(), 10);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The worker's process was started.
    #[non_exhaustive]
    Started {
        /// The number of the worker, from 0. A process that replaces another one has the same number.
        worker: u32,
        /// The process id.
        pid: u32,
    },
    /// The worker is prepared, and takes tasks.
    #[non_exhaustive]
    Ready {
        /// The number of the worker.
        worker: u32,
        /// The process id.
        pid: u32,
    },
    /// The worker has started a task.
    #[non_exhaustive]
    TaskStarted {
        /// The number of the worker.
        worker: u32,
        /// The process id.
        pid: u32,
        /// The id of the task.
        task: TaskId,
    },
    /// The worker has sent the outcome of a task.
    #[non_exhaustive]
    TaskEnded {
        /// The number of the worker.
        worker: u32,
        /// The process id.
        pid: u32,
        /// The id of the task.
        task: TaskId,
    },
    /// The worker's process has ended, and was reaped.
    #[non_exhaustive]
    Exited {
        /// The number of the worker.
        worker: u32,
        /// The process id that it had.
        pid: u32,
        /// How it ended; `None` if that is unknown, because this process ignores `SIGCHLD`, or other code in it waits
        /// for any child and has reaped the worker.
        status: Option<ExitStatus>,
    },
}

/// The function that is called with each event.
pub(crate) type Listener = Arc<dyn Fn(&Event) + Send + Sync>;
