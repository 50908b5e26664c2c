//! What can go wrong with a pool of workers.

use super::{CreateError, FORKED, MemoryLimit, corrupt, no_memory};
use crate::codec::EncodeError;
use core::fmt;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// A pool could not be started. Nothing of it is left.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// An option has a value that makes no sense.
    #[non_exhaustive]
    InvalidOption {
        /// Which one, as the method of [`Builder`](crate::workers::Builder) is called.
        option: &'static str,
        /// What was asked for.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// This process was itself started as a worker of a pool, and has not become one: its `main` must begin with
    /// [`run_if_worker`](crate::workers::run_if_worker).
    StartedAsWorker,
    /// A queue could not be made.
    Queue(CreateError),
    /// The program of the workers could not be started.
    #[non_exhaustive]
    Spawn {
        /// Which program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A worker ended before it had said what it is. As a rule its `main` does not begin with
    /// [`run_if_worker`](crate::workers::run_if_worker).
    #[non_exhaustive]
    NoHandshake {
        /// How it ended; `None` if that is unknown, as for [`TaskError::Crashed`](crate::workers::TaskError::Crashed).
        status: Option<ExitStatus>,
    },
    /// The worker's program has other tasks, or another version of this crate.
    #[non_exhaustive]
    Mismatch {
        /// What differs.
        what: &'static str,
        /// The worker's.
        theirs: String,
        /// This process's.
        ours: String,
    },
    /// A worker could not be prepared.
    #[non_exhaustive]
    Unfit {
        /// What it said.
        what: String,
    },
    /// Workers died while they were prepared, again and again.
    #[non_exhaustive]
    Died {
        /// How the last of them ended; `None` if that is unknown.
        status: Option<ExitStatus>,
    },
    /// The workers were not ready in [time](crate::workers::Builder::start_timeout).
    TimedOut,
    /// The system refused.
    #[non_exhaustive]
    Os {
        /// What was tried.
        what: &'static str,
        /// What it said.
        source: io::Error,
    },
}

/// How a process ended, in words: an unknown status is never shown as a known one.
pub(crate) fn ending(status: Option<ExitStatus>) -> String {
    status.map_or_else(
        || "an unknown exit status".to_owned(),
        |status| status.to_string(),
    )
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidOption {
                option,
                value,
                allowed,
            } => {
                write!(f, "the option `{option}` is {value}, but must be {allowed}")
            }
            Self::StartedAsWorker => f.write_str(
                "this process was started as a worker of a pool: call `run_if_worker` at the start of `main`",
            ),
            Self::Queue(source) => write!(f, "a queue of the pool could not be made: {source}"),
            Self::Spawn { program, source } => {
                write!(f, "the worker program {} could not be started: {source}", program.display())
            }
            Self::NoHandshake { status } => write!(
                f,
                "a worker ended ({}) without a word: call `run_if_worker` at the start of its `main`",
                ending(*status)
            ),
            Self::Mismatch { what, theirs, ours } => write!(
                f,
                "the worker's {what} is {theirs}, that of this process {ours}: build both from the same sources"
            ),
            Self::Unfit { what } => write!(f, "a worker could not be prepared: {what}"),
            Self::Died { status } => {
                write!(f, "workers died while they were prepared, the last one with {}", ending(*status))
            }
            Self::TimedOut => f.write_str("the workers were not ready in time"),
            Self::Os { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Queue(source) => Some(source),
            Self::Spawn { source, .. } | Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// A task was not accepted. Carries the task.
#[non_exhaustive]
pub enum SubmitError<T> {
    /// The pool is being shut down, or was.
    Closed(T),
    /// This process was forked from the pool's, and has no part in it. Nothing was done.
    Forked(T),
    /// There are as many outcomes that nobody has claimed as [`Builder::max_unclaimed`](crate::workers::Builder) allows:
    /// take some, with [`Pool::drain`](crate::workers::Pool::drain) or by the handles.
    #[non_exhaustive]
    Unclaimed {
        /// The task.
        task: T,
        /// How many there may be.
        max: usize,
    },
    /// The task is larger than [`Builder::max_message_len`](crate::workers::Builder::max_message_len) allows.
    #[non_exhaustive]
    TooLarge {
        /// The task.
        task: T,
        /// Its length in bytes, encoded.
        len: usize,
        /// The largest length.
        max: usize,
    },
    /// There is no memory for a task of this size, as for [`SendError::NoMemory`](crate::SendError).
    #[non_exhaustive]
    NoMemory {
        /// The task.
        task: T,
        /// Which limit it was.
        limit: MemoryLimit,
        /// How many bytes were wanted.
        wanted: u64,
        /// How many the limit leaves.
        available: u64,
    },
    /// The task could not be encoded.
    #[non_exhaustive]
    Encode {
        /// The task.
        task: T,
        /// What the codec said.
        source: EncodeError,
    },
    /// Shared memory holds something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// The task.
        task: T,
        /// What is wrong.
        what: &'static str,
    },
}

impl<T> SubmitError<T> {
    pub(crate) fn map<U>(self, task: impl FnOnce(T) -> U) -> SubmitError<U> {
        let map = task;
        match self {
            Self::Closed(task) => SubmitError::Closed(map(task)),
            Self::Forked(task) => SubmitError::Forked(map(task)),
            Self::Unclaimed { task, max } => SubmitError::Unclaimed {
                task: map(task),
                max,
            },
            Self::TooLarge { task, len, max } => SubmitError::TooLarge {
                task: map(task),
                len,
                max,
            },
            Self::NoMemory {
                task,
                limit,
                wanted,
                available,
            } => SubmitError::NoMemory {
                task: map(task),
                limit,
                wanted,
                available,
            },
            Self::Encode { task, source } => SubmitError::Encode {
                task: map(task),
                source,
            },
            Self::Corrupt { task, what } => SubmitError::Corrupt {
                task: map(task),
                what,
            },
        }
    }

    /// The task.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../workers/example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
    /// pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    /// let refused = pool.submit(Square(3)).expect_err("it is shut down");
    /// assert_eq!(refused.into_task(), Square(3));
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_task(self) -> T {
        match self {
            Self::Closed(task)
            | Self::Forked(task)
            | Self::Unclaimed { task, .. }
            | Self::TooLarge { task, .. }
            | Self::NoMemory { task, .. }
            | Self::Encode { task, .. }
            | Self::Corrupt { task, .. } => task,
        }
    }

    /// Whether the pool is being shut down.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../workers/example.in")]
    /// let pool = Pool::<Square>::builder().max_message_len(1000).start()?;
    /// pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
    /// for n in 0.. {
    ///     match pool.submit(Square(n)) {
    ///         Err(refused) if refused.is_closed() => break,
    ///         other => drop(other?),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<T> fmt::Debug for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubmitError({self})")
    }
}

impl<T> fmt::Display for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("the pool takes no more tasks"),
            Self::Forked(_) => f.write_str(FORKED),
            Self::Unclaimed { max, .. } => write!(
                f,
                "{max} outcomes wait to be claimed, as many as may: take some before more tasks are submitted"
            ),
            Self::TooLarge { len, max, .. } => write!(
                f,
                "the task has {len} bytes, the largest may have {max}: raise `Builder::max_message_len`"
            ),
            Self::NoMemory {
                limit,
                wanted,
                available,
                ..
            } => no_memory(f, *limit, *wanted, *available),
            Self::Encode { source, .. } => fmt::Display::fmt(source, f),
            Self::Corrupt { what, .. } => corrupt(f, what),
        }
    }
}

impl<T> Error for SubmitError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode { source, .. } => source.source(),
            _ => None,
        }
    }
}

/// A task was not accepted at once. Carries the task.
#[non_exhaustive]
pub enum TrySubmitError<T> {
    /// As many tasks are in flight as may be: try again later, or wait with [`submit`](crate::workers::Pool::submit).
    Full(T),
    /// It would not be accepted later either.
    Refused(SubmitError<T>),
}

impl<T> TrySubmitError<T> {
    /// The task.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../workers/example.in")]
    /// let pool = Pool::<Square>::builder().workers(1).capacity(1).start()?;
    /// let mut tasks: Vec<Square> = (0..10).map(Square).collect();
    /// while let Some(task) = tasks.pop() {
    ///     if let Err(refused) = pool.try_submit(task) {
    ///         tasks.push(refused.into_task()); // and do something else for a while
    ///     }
    /// }
    /// assert_eq!(pool.drain().count(), 10);
    /// # Ok(())
    /// # }
    /// ```
    pub fn into_task(self) -> T {
        match self {
            Self::Full(task) => task,
            Self::Refused(error) => error.into_task(),
        }
    }

    /// Whether to try again later.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../workers/example.in")]
    /// let pool = Pool::<Square>::builder().workers(1).capacity(1).start()?;
    /// let mut later = 0;
    /// for n in 0..10 {
    ///     match pool.try_submit(Square(n)) {
    ///         Ok(_) => {}
    ///         Err(refused) if refused.is_full() => later += 1,
    ///         Err(refused) => return Err(refused.into()),
    ///     }
    /// }
    /// assert_eq!(pool.drain().count() + later, 10);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}

impl<T> fmt::Debug for TrySubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrySubmitError({self})")
    }
}

impl<T> fmt::Display for TrySubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => {
                f.write_str("as many tasks are in flight as may be: wait, or try again later")
            }
            Self::Refused(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl<T> Error for TrySubmitError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Full(_) => None,
            Self::Refused(error) => error.source(),
        }
    }
}

/// A pool could not be shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownError {
    /// This process was forked from the pool's, and has no part in it. Nothing was done.
    Forked,
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forked => f.write_str(FORKED),
        }
    }
}

impl Error for ShutdownError {}
