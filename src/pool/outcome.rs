//! The outcome of a task: its output, or the reason why it has none.

use super::carried::{Carried, KeptTask, Tag};
use super::failure::Failure;
use crate::error::ending;
use core::any::Any;
use core::fmt;
use std::process::ExitStatus;

/// The id of a task, unique in its pool and the same for all attempts. Ids rise in the order of submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(super) u64);

impl TaskId {
    /// The id of no task.
    pub(super) const NONE: Self = Self(u64::MAX);

    /// Returns the id as a number, from 0.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
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

/// The outcome of one task. Two are equal if the ids, the attempts, the results and the [tags](Outcome::tag) are.
#[derive(Debug)]
#[non_exhaustive]
pub struct Outcome<O, E> {
    /// The id of the task.
    pub id: TaskId,
    /// How often it was started: 1, or more if it was [retried](super::Builder::retries); 0 if it never was.
    pub attempts: u32,
    /// The output of the task, or why there is none.
    pub result: Result<O, TaskError<E>>,
    /// What the caller has asked for besides, if anything.
    pub(super) carried: Option<Box<Carried>>,
}

impl<O, E> Outcome<O, E> {
    /// Returns the tag that the caller has given to the task, if any.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
    /// for n in 0..10 {
    ///     pool.task(Square(n)).tag(n).submit()?;
    /// }
    /// for outcome in pool.drain() {
    ///     let n = outcome.tag().and_then(Tag::number).expect("each has one");
    ///     assert_eq!(outcome.result?, n * n);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tag(&self) -> Option<&Tag> {
        self.carried.as_ref()?.tag()
    }

    /// Takes the task itself out of the outcome. `None` if the task has an output, if it was taken before, if it is of another
    /// type, or if the pool does not [return tasks](super::Builder::return_tasks).
    ///
    /// It is the very value that was submitted, which stayed in this process.
    ///
    /// # Examples
    ///
    /// A log of dead letters, with the tasks themselves:
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = TypedPool::<Square>::builder().return_tasks(true).start()?;
    /// let mut dead_letters: Vec<(Square, TaskError<String>)> = Vec::new();
    /// for mut outcome in pool.map_unordered([3, u64::MAX].map(Square)) {
    ///     let task = outcome.take_task::<Square>();
    ///     if let Err(error) = outcome.result {
    ///         dead_letters.push((task.expect("it has no output"), error));
    ///     }
    /// }
    /// assert_eq!(dead_letters[0].0, Square(u64::MAX));
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_task<T: 'static>(&mut self) -> Option<T> {
        self.carried.as_mut()?.take_task()
    }

    /// Gives the task a tag.
    pub(super) fn carry_tag(&mut self, tag: Tag) {
        self.carried.get_or_insert_default().set_tag(tag);
    }

    /// Gives a task back to the caller, with the outcome.
    pub(super) fn carry_task(&mut self, task: KeptTask) {
        self.carried.get_or_insert_default().keep(task);
    }

    /// Returns an outcome that carries nothing else.
    pub(super) const fn new(id: TaskId, attempts: u32, result: Result<O, TaskError<E>>) -> Self {
        Self {
            id,
            attempts,
            result,
            carried: None,
        }
    }

    /// Returns the outcome of a task whose fate cannot be known.
    pub(super) const fn unknown(id: TaskId, what: &'static str) -> Self {
        Self::new(id, 0, Err(TaskError::Unknown { what }))
    }
}

impl<O: PartialEq, E: PartialEq> PartialEq for Outcome<O, E> {
    fn eq(&self, other: &Self) -> bool {
        (self.id, self.attempts, self.tag()) == (other.id, other.attempts, other.tag())
            && self.result == other.result
    }
}

impl<O: Eq, E: Eq> Eq for Outcome<O, E> {}

/// Why a task has no output.
///
/// # With `?`
///
/// | the error of the task | `handle.wait()?` |
/// |---|---|
/// | [`Failure`], which `#[workring::task]` makes of any error, even of one that has only `Debug` | works. The causes are its [sources](std::error::Error::source). |
/// | any other that has `Display` and `Debug` | works |
/// | one without `Display`, such as `()` | `handle.wait().map_err(TaskError::described)?` |
///
/// The last line can't be like the others. `?` needs an [`Error`](std::error::Error), and so `Display`. An implementation for
/// errors without `Display`, next to the one for those with it, would overlap: Rust has no bound for "not `Display`", not
/// even for `()`, for which the standard library may implement it one day. A single one for all errors would show each by
/// `Debug`, those with a good `Display` too.
///
/// # Examples
///
/// ```
#[doc = include_str!("example.in")]
/// let pool = TypedPool::<Square>::builder().start()?;
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
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError<E> {
    /// [`Task::run`](super::Task::run) returned this error.
    Failed(E),
    /// The task panicked. Its worker lives.
    Panicked(Panic),
    /// The worker ended while it ran the task, in each permitted attempt.
    #[non_exhaustive]
    Crashed {
        /// The exit status of the last of these workers. `None` if it is unknown: this process ignores `SIGCHLD`, or
        /// other code in it waits for any child and has reaped the worker.
        status: Option<ExitStatus>,
    },
    /// The task was cancelled, by its handle or by the shutdown of the pool.
    Cancelled,
    /// The task ran for longer than its limit: see [`Builder::time_limit`](super::Builder::time_limit) and
    /// [`Task::time_limit`](super::Task::time_limit).
    TimedOut,
    /// The worker of the task was killed because it used more memory than the [limit](super::Builder::memory_limit).
    #[non_exhaustive]
    TooMuchMemory {
        /// The resident memory of the worker, in bytes.
        resident: u64,
    },
    /// The task was not run: starting a worker failed
    /// [`Builder::max_worker_failures`](super::Builder::max_worker_failures) times in a row.
    #[non_exhaustive]
    NoWorkers {
        /// Why the last start failed.
        why: String,
    },
    /// The task, its output or its error could not be sent from one process to the other.
    #[non_exhaustive]
    Transport {
        /// The cause.
        what: String,
    },
    /// This process cannot know the outcome: the pool's memory is corrupt, or this is a forked child of the pool's
    /// process.
    #[non_exhaustive]
    Unknown {
        /// The cause.
        what: &'static str,
    },
}

impl<E> TaskError<E> {
    /// Returns the kind of the outcome, as events and figures name it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Failed(_) => "failed",
            Self::Panicked(_) => "panicked",
            Self::Crashed { .. } => "crashed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
            Self::TooMuchMemory { .. } => "too_much_memory",
            Self::NoWorkers { .. } => "no_workers",
            Self::Transport { .. } => "transport",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Replaces the task's own error by what `with` returns for it.
    pub fn map<F>(self, with: impl FnOnce(E) -> F) -> TaskError<F> {
        match self {
            Self::Failed(error) => TaskError::Failed(with(error)),
            Self::Panicked(panic) => TaskError::Panicked(panic),
            Self::Crashed { status } => TaskError::Crashed { status },
            Self::Cancelled => TaskError::Cancelled,
            Self::TimedOut => TaskError::TimedOut,
            Self::TooMuchMemory { resident } => TaskError::TooMuchMemory { resident },
            Self::NoWorkers { why } => TaskError::NoWorkers { why },
            Self::Transport { what } => TaskError::Transport { what },
            Self::Unknown { what } => TaskError::Unknown { what },
        }
    }

    /// Replaces the task's own error, whatever its type, by a [`Failure`], so that `?` takes it. A `Failure` stays as it is, a
    /// `String` becomes the message of one, and of any other the message is the `Debug` text.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde::{Deserialize, Serialize};
    /// use workring::pool::{Context, Task, TaskError, TypedPool, run_if_worker_for};
    ///
    /// #[derive(Debug, Serialize, Deserialize)]
    /// struct TooLarge(u64); // it has no `Display`
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct Square(u64);
    ///
    /// impl Task for Square {
    ///     type Output = u64;
    ///     type Error = TooLarge;
    ///
    ///     fn run(self, _: &Context) -> Result<u64, TooLarge> {
    ///         self.0.checked_mul(self.0).ok_or(TooLarge(self.0))
    ///     }
    /// }
    ///
    /// fn square(pool: &TypedPool<Square>, n: u64) -> Result<u64, Box<dyn std::error::Error>> {
    ///     Ok(pool.submit(Square(n))?.wait().map_err(TaskError::described)?)
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     run_if_worker_for::<Square>();
    ///     let pool = TypedPool::<Square>::builder().workers(1).start()?;
    ///     assert_eq!(square(&pool, 3)?, 9);
    ///     let error = square(&pool, 1 << 40).unwrap_err();
    ///     assert_eq!(error.to_string(), "the task failed: TooLarge(1099511627776)");
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn described(self) -> TaskError<Failure>
    where
        E: fmt::Debug + 'static,
    {
        self.map(Failure::of_any)
    }
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
                "the task ran for longer than its limit: see `Builder::time_limit` and `Task::time_limit`",
            ),
            Self::TooMuchMemory { resident } => {
                write!(
                    f,
                    "the task's worker used {resident} bytes, more than its limit: raise `Builder::memory_limit`"
                )
            }
            Self::NoWorkers { why } => {
                write!(f, "no worker could be started for the task: {why}")
            }
            Self::Transport { what } => {
                write!(f, "the task or its output could not be sent: {what}")
            }
            Self::Unknown { what } => write!(f, "the outcome of the task is unknown: {what}"),
        }
    }
}

/// The source of a [`Failed`](TaskError::Failed) with a [`Failure`](super::Failure) is the nearest cause of that. Another
/// error of a task need not be an [`Error`](std::error::Error): its text is part of the `Display`, and there is no source.
impl<E: fmt::Debug + fmt::Display + 'static> std::error::Error for TaskError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let Self::Failed(error) = self else {
            return None;
        };
        (error as &dyn Any).downcast_ref::<Failure>()?.source()
    }
}

/// A panic of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Panic {
    /// The message of the panic.
    pub message: String,
    /// The location, as `file:line:column`; empty if it is unknown.
    pub place: String,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the task panicked at {}: {}", self.place, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn an_error_names_its_cause_and_the_option_that_helps() {
        let text = |error: TaskError<String>| error.to_string();
        let failed = text(TaskError::Failed("no such colour".to_owned()));
        assert!(failed.contains("no such colour"), "{failed}");
        let why = "no model".to_owned();
        let no_workers = text(TaskError::NoWorkers { why });
        assert!(no_workers.contains("no worker"), "{no_workers}");
        assert!(no_workers.contains("no model"), "{no_workers}");
        let late = text(TaskError::TimedOut);
        assert!(late.contains("Builder::time_limit"), "{late}");
        let large = text(TaskError::TooMuchMemory { resident: 7 });
        assert!(large.contains("7 bytes"), "{large}");
        assert!(large.contains("Builder::memory_limit"), "{large}");
    }

    #[test]
    fn any_error_becomes_a_failure_that_a_question_mark_takes() {
        fn pass_on<E: fmt::Debug + 'static>(error: TaskError<E>) -> Box<dyn std::error::Error> {
            error.described().into()
        }
        let text = |error: Box<dyn std::error::Error>| error.to_string();
        assert_eq!(text(pass_on(TaskError::Failed(()))), "the task failed: ()");
        let plain = pass_on(TaskError::Failed("no such colour".to_owned()));
        assert_eq!(text(plain), "the task failed: no such colour");
        let chain = TaskError::Failed(Failure::new("root").context("outer"));
        let chain = pass_on(chain);
        assert_eq!(chain.source().expect("a cause").to_string(), "root");
        let late = TaskError::<()>::TimedOut;
        assert_eq!(late.described(), TaskError::TimedOut);
    }

    #[test]
    fn the_causes_of_a_failure_are_the_sources_of_the_error() {
        let failure = Failure::new("root").context("middle").context("outer");
        let error = TaskError::Failed(failure);
        assert_eq!(error.to_string(), "the task failed: outer");
        let source = error.source().expect("a cause");
        assert_eq!(source.to_string(), "middle");
        assert_eq!(source.source().expect("a cause").to_string(), "root");
        assert!(TaskError::Failed("plain".to_owned()).source().is_none());
    }
}
