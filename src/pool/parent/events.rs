//! What is told of workers while they work.

use crate::pool::outcome::TaskId;
use std::process::ExitStatus;
use std::sync::Arc;

/// Something that has happened to a worker. See [`Builder::on_event`](crate::pool::Builder::on_event).
///
/// For each process the events come in the order of this list: `Started` first and `Exited` last, once each. A worker
/// that dies may leave out those in between.
///
/// # Examples
///
/// ```
#[doc = include_str!("../example.in")]
/// use std::collections::BTreeMap;
/// use std::sync::{Arc, Mutex};
///
/// // How many tasks each worker has begun.
/// let begun = Arc::new(Mutex::new(BTreeMap::<u32, u32>::new()));
/// let counter = Arc::clone(&begun);
/// let pool = Pool::<Square>::builder().on_event(move |event| match event {
///     Event::TaskStarted { worker, .. } => {
///         *counter.lock().unwrap().entry(*worker).or_default() += 1;
///     }
///     Event::Exited { worker, status, .. } => println!("worker {worker} has ended: {status:?}"),
///     _ => {}
/// });
/// let pool = pool.start()?;
/// assert_eq!(pool.map((0..10).map(Square)).count(), 10);
/// pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
/// assert_eq!(begun.lock().unwrap().values().sum::<u32>(), 10);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Its process was started.
    #[non_exhaustive]
    Started {
        /// Which worker: from 0 to one less than there are. Its processes follow each other.
        worker: u32,
        /// Its process id.
        pid: u32,
    },
    /// It is prepared, and takes tasks.
    #[non_exhaustive]
    Ready {
        /// Which worker.
        worker: u32,
        /// Its process id.
        pid: u32,
    },
    /// It has started a task.
    #[non_exhaustive]
    TaskStarted {
        /// Which worker.
        worker: u32,
        /// Its process id.
        pid: u32,
        /// Which task.
        task: TaskId,
    },
    /// It is done with a task, whose outcome is on its way.
    #[non_exhaustive]
    TaskEnded {
        /// Which worker.
        worker: u32,
        /// Its process id.
        pid: u32,
        /// Which task.
        task: TaskId,
    },
    /// Its process has ended, and was reaped.
    #[non_exhaustive]
    Exited {
        /// Which worker.
        worker: u32,
        /// What its process id was.
        pid: u32,
        /// How it ended; `None` if that is unknown: `SIGCHLD` is ignored in this process, or something else in it
        /// waits for any child and has reaped the worker.
        status: Option<ExitStatus>,
    },
}

/// Who is told of events.
pub(crate) type Listener = Arc<dyn Fn(&Event) + Send + Sync>;
