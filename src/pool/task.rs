//! What a task is, and what becomes of it.

use super::context::Context;
use crate::error::ending;
use core::fmt;
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::process::ExitStatus;

/// Work for a process of its own: a value that can be sent there, and what to do with it.
///
/// The task, its output and its error cross the border between processes, so all three are serde types. Several
/// kinds of work are one enum.
///
/// # Examples
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use workring::pool::{Context, Task};
///
/// #[derive(Serialize, Deserialize)]
/// enum Geometry {
///     Area { radius: f64 },
///     Corners(u32),
/// }
///
/// impl Task for Geometry {
///     type Output = f64;
///     type Error = String;
///
///     fn run(self, _: &Context) -> Result<f64, String> {
///         match self {
///             Self::Area { radius } => Ok(std::f64::consts::PI * radius * radius),
///             Self::Corners(n) if n < 3 => Err(format!("there is no polygon with {n} corners")),
///             Self::Corners(n) => Ok(f64::from(n - 2) * 180.0),
///         }
///     }
/// }
/// ```
pub trait Task: Serialize + DeserializeOwned + Send + 'static {
    /// What it gives.
    type Output: Serialize + DeserializeOwned + Send + 'static;
    /// How it can fail, by its own account.
    type Error: Serialize + DeserializeOwned + Send + 'static;

    /// A number to change with the meaning of a task: a worker whose program has another one is refused.
    const SCHEMA: u64 = 0;

    /// Do it: in a worker process, on its main thread. A panic is caught, and becomes the task's outcome.
    ///
    /// # Errors
    ///
    /// Its own. The caller gets them as [`TaskError::Failed`].
    fn run(self, context: &Context) -> Result<Self::Output, Self::Error>;

    /// How long this task may run: in the place of the pool's [`time_limit`](super::Builder::time_limit), be it longer or
    /// shorter, and otherwise like it. `None`, the default: as long as the pool says.
    ///
    /// Asked once, in the parent, when the task is submitted or [taken from a map's iterator](super::Pool::map), and the
    /// same for all its attempts. The pool's [soft limit](super::Builder::soft_time_limit) is the same for all tasks.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::pool::{Context, Pool, Task, TaskError, run_if_worker};
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct Sleep {
    ///     seconds: u64,
    ///     at_most: Duration,
    /// }
    ///
    /// impl Task for Sleep {
    ///     type Output = ();
    ///     type Error = ();
    ///
    ///     fn run(self, _: &Context) -> Result<(), ()> {
    ///         std::thread::sleep(Duration::from_secs(self.seconds));
    ///         Ok(())
    ///     }
    ///
    ///     fn time_limit(&self) -> Option<Duration> {
    ///         Some(self.at_most)
    ///     }
    /// }
    ///
    /// fn main() {
    ///     run_if_worker::<Sleep>();
    ///     let pool = Pool::<Sleep>::builder().start().expect("a pool");
    ///     let sleep = Sleep { seconds: 1000, at_most: Duration::from_millis(10) };
    ///     let handle = pool.submit(sleep).expect("open");
    ///     assert!(matches!(handle.wait(), Err(TaskError::TimedOut)));
    /// }
    /// ```
    fn time_limit(&self) -> Option<Duration> {
        None
    }

    /// Prepare a worker process, before its first task: open a database, load a model. By default, nothing.
    ///
    /// # Errors
    ///
    /// Any. The worker ends; [`Builder::start`](super::Builder::start) fails with the error's text, and later a worker
    /// that can't be prepared is tried again, after a while.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::error::Error;
    /// use std::sync::OnceLock;
    /// use workring::pool::{Context, Pool, Task, run_if_worker};
    ///
    /// static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    ///
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct IsWord(String);
    ///
    /// impl Task for IsWord {
    ///     type Output = bool;
    ///     type Error = String;
    ///
    ///     fn run(self, _: &Context) -> Result<bool, String> {
    ///         let words = WORDS.get().ok_or("not prepared")?;
    ///         Ok(words.contains(&self.0))
    ///     }
    ///
    ///     fn prepare_worker() -> Result<(), Box<dyn Error + Send + Sync>> {
    ///         // In earnest, from a large file.
    ///         WORDS.get_or_init(|| vec!["ring".to_owned(), "work".to_owned()]);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// fn main() {
    ///     run_if_worker::<IsWord>();
    ///     let pool = Pool::<IsWord>::builder().start().expect("a pool");
    ///     let handle = pool.submit(IsWord("ring".to_owned())).expect("open");
    ///     assert!(handle.wait().expect("an output"));
    /// }
    /// ```
    fn prepare_worker() -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

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

/// The [`Outcome`] of a task of this type.
pub type OutcomeOf<T> = Outcome<<T as Task>::Output, <T as Task>::Error>;

/// The result of a task of this type.
pub type ResultOf<T> = Result<<T as Task>::Output, TaskError<<T as Task>::Error>>;

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
impl<E: fmt::Debug + fmt::Display> Error for TaskError<E> {}

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
