//! What becomes of a task: its outcome, and why it may have no output.

use crate::error::ending;
use core::fmt;
use std::process::ExitStatus;

/// Which task: unique in its pool, and the same for all of its attempts. Tasks are numbered in the order in which
/// they were submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(super) u64);

impl TaskId {
    /// The number of no task.
    pub(super) const NONE: Self = Self(u64::MAX);

    /// Its number, from 0.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
    /// assert_eq!(pool.submit(Square(3))?.id().get(), 0);
    /// assert_eq!(pool.submit(Square(4))?.id().get(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What became of one task.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome<O, E> {
    /// Which task it was.
    pub id: TaskId,
    /// How often it was started: 1, unless it was [retried](super::Builder::retries); 0 if it never was.
    pub attempts: u32,
    /// Its output, or why there is none.
    pub result: Result<O, TaskError<E>>,
}

impl<O, E> Outcome<O, E> {
    /// That of a task of which nothing can be known any more.
    pub(super) const fn unknown(id: TaskId, what: &'static str) -> Self {
        Self {
            id,
            attempts: 0,
            result: Err(TaskError::Unknown { what }),
        }
    }
}

/// Why a task has no output.
///
/// # Examples
///
/// ```
#[doc = include_str!("example.in")]
/// let pool = Pool::<Square>::builder().start()?;
/// for outcome in pool.map([3, u64::MAX].map(Square)) {
///     match outcome.result {
///         Ok(square) => println!("{square}"),
///         Err(TaskError::Failed(said)) => println!("it says: {said}"),
///         Err(TaskError::Panicked(panic)) => println!("a bug at {}", panic.place),
///         Err(TaskError::Crashed { status, .. }) => println!("its worker ended: {status:?}"),
///         Err(error) => println!("{error}"),
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TaskError<E> {
    /// It failed by its own account: [`Task::run`] returned this error.
    Failed(E),
    /// It panicked. The worker lives.
    Panicked(Panic),
    /// Its worker ended while it ran, as often as it was tried.
    #[non_exhaustive]
    Crashed {
        /// How the last of them ended. `None` if that is unknown: `SIGCHLD` is ignored in this process, or something
        /// else in it waits for any child and has reaped the worker.
        status: Option<ExitStatus>,
    },
    /// It was cancelled, by its handle or because the pool was shut down.
    Cancelled,
    /// It ran for longer than it may: see [`Builder::time_limit`](super::Builder::time_limit) and [`Task::time_limit`].
    TimedOut,
    /// Its worker was killed because it had more memory in use than a task [may](super::Builder::memory_limit).
    #[non_exhaustive]
    TooMuchMemory {
        /// How many bytes it had.
        resident: u64,
    },
    /// It was not run: no worker could be started, as often in a row as
    /// [`Builder::max_worker_failures`](super::Builder::max_worker_failures) allows.
    #[non_exhaustive]
    NoWorkers {
        /// Why the last attempt failed.
        why: String,
    },
    /// The task, or what it gave, could not be carried from one process to the other.
    #[non_exhaustive]
    Transport {
        /// What was the matter.
        what: String,
    },
    /// This process can't know: the pool's memory is corrupt, or this is a forked child of the pool's process.
    #[non_exhaustive]
    Unknown {
        /// What was the matter.
        what: &'static str,
    },
}

impl<E: fmt::Display> fmt::Display for TaskError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "the task failed: {error}"),
            Self::Panicked(panic) => fmt::Display::fmt(panic, f),
            Self::Crashed { status } => {
                write!(f, "the task's worker died: {}", ending(*status))
            }
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::TimedOut => f.write_str(
                "the task ran for longer than it may: see `Builder::time_limit` and `Task::time_limit`",
            ),
            Self::TooMuchMemory { resident } => {
                write!(
                    f,
                    "the task's worker had {resident} bytes in use, more than it may: raise `Builder::memory_limit`"
                )
            }
            Self::NoWorkers { why } => {
                write!(f, "no worker could be started for the task: {why}")
            }
            Self::Transport { what } => {
                write!(f, "the task or its output could not be carried: {what}")
            }
            Self::Unknown { what } => write!(f, "what became of the task is not known: {what}"),
        }
    }
}

/// Whatever a task fails with: its text is part of this one's.
impl<E: fmt::Debug + fmt::Display> std::error::Error for TaskError<E> {}

/// A panic of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Panic {
    /// What it said.
    pub message: String,
    /// Where: `file:line:column`; empty if that is not known.
    pub place: String,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task panicked at {}: {}", self.place, self.message)
    }
}
