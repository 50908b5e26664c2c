//! Errors of submitting a task to a pool, of changing its workers, and of shutting it down.

use super::MemoryLimit;
use super::memory::no_memory;
use crate::codec::EncodeError;
use core::fmt;
use core::ops::RangeInclusive;
use std::error::Error;

const FORKED: &str =
    "this process is a forked child of the one that started the pool: start a pool of its own";
const FULL: &str = "as many tasks are in flight as allowed, or no memory is free for one of this size: try again \
                    later, or wait with `submit`";

/// The error of submitting a task: it was not accepted. Contains the task.
#[derive(PartialEq, Eq)]
#[non_exhaustive]
pub enum SubmitError<T> {
    /// The pool is being shut down, or has been.
    Closed(T),
    /// This process is a forked child of the pool's. Nothing was done.
    Forked(T),
    /// As many outcomes are unclaimed as
    /// [`Builder::max_unclaimed_results`](crate::pool::Builder::max_unclaimed_results) allows. Claim some, with
    /// [`TypedPool::drain`](crate::pool::TypedPool::drain) or by the handles.
    #[non_exhaustive]
    Unclaimed {
        /// The task.
        task: T,
        /// The largest number of unclaimed outcomes.
        max: usize,
    },
    /// No worker could be started, as often in a row as
    /// [`Builder::max_worker_failures`](crate::pool::Builder::max_worker_failures) allows. The pool goes on trying, and
    /// accepts tasks again when a worker is ready.
    #[non_exhaustive]
    NoWorkers {
        /// The task.
        task: T,
        /// Why the last attempt failed.
        why: String,
    },
    /// The task has a priority, and the pool was started without
    /// [`Builder::priorities`](crate::pool::Builder::priorities).
    #[non_exhaustive]
    NoPriorities {
        /// The task.
        task: T,
    },
    /// The task is larger than [`Builder::max_message_len`](crate::pool::Builder::max_message_len).
    #[non_exhaustive]
    TooLarge {
        /// The task.
        task: T,
        /// The length of the encoded task in bytes.
        len: usize,
        /// The largest length.
        max: usize,
    },
    /// There is no memory for a task of this size, as for
    /// [`SendError::NoMemory`](crate::error::SendError::NoMemory).
    #[non_exhaustive]
    NoMemory {
        /// The task.
        task: T,
        /// Which limit leaves too little.
        limit: MemoryLimit,
        /// How many bytes were needed.
        wanted: u64,
        /// How many bytes the limit leaves.
        available: u64,
    },
    /// The task could not be encoded.
    #[non_exhaustive]
    Encode {
        /// The task.
        task: T,
        /// The codec's error.
        source: EncodeError,
    },
    /// The shared memory contains something that no peer writes.
    #[non_exhaustive]
    Corrupt {
        /// The task.
        task: T,
        /// What is wrong.
        what: &'static str,
    },
}

impl<T> SubmitError<T> {
    /// Replaces the task by what `with` returns for it: `map(drop)` keeps only the reason.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> SubmitError<U> {
        match self {
            Self::Closed(task) => SubmitError::Closed(with(task)),
            Self::Forked(task) => SubmitError::Forked(with(task)),
            Self::Unclaimed { task, max } => SubmitError::Unclaimed {
                task: with(task),
                max,
            },
            Self::NoWorkers { task, why } => SubmitError::NoWorkers {
                task: with(task),
                why,
            },
            Self::NoPriorities { task } => SubmitError::NoPriorities { task: with(task) },
            Self::TooLarge { task, len, max } => SubmitError::TooLarge {
                task: with(task),
                len,
                max,
            },
            Self::NoMemory {
                task,
                limit,
                wanted,
                available,
            } => SubmitError::NoMemory {
                task: with(task),
                limit,
                wanted,
                available,
            },
            Self::Encode { task, source } => SubmitError::Encode {
                task: with(task),
                source,
            },
            Self::Corrupt { task, what } => SubmitError::Corrupt {
                task: with(task),
                what,
            },
        }
    }

    /// Returns the task that was not accepted.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../pool/example.in")]
    /// let pool = TypedPool::<Square>::builder().start()?;
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
            | Self::NoWorkers { task, .. }
            | Self::NoPriorities { task }
            | Self::TooLarge { task, .. }
            | Self::NoMemory { task, .. }
            | Self::Encode { task, .. }
            | Self::Corrupt { task, .. } => task,
        }
    }

    /// Returns whether the pool is shut down or being shut down.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../pool/example.in")]
    /// let pool = TypedPool::<Square>::builder().max_message_len(1000).start()?;
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

// By hand, so that tasks need not be `Debug`.
impl<T> fmt::Debug for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Forked(_) => f.write_str("Forked(..)"),
            Self::Unclaimed { max, .. } => f
                .debug_struct("Unclaimed")
                .field("max", max)
                .finish_non_exhaustive(),
            Self::NoWorkers { why, .. } => f
                .debug_struct("NoWorkers")
                .field("why", why)
                .finish_non_exhaustive(),
            Self::NoPriorities { .. } => f.debug_struct("NoPriorities").finish_non_exhaustive(),
            Self::TooLarge { len, max, .. } => f
                .debug_struct("TooLarge")
                .field("len", len)
                .field("max", max)
                .finish_non_exhaustive(),
            Self::NoMemory {
                limit,
                wanted,
                available,
                ..
            } => f
                .debug_struct("NoMemory")
                .field("limit", limit)
                .field("wanted", wanted)
                .field("available", available)
                .finish_non_exhaustive(),
            Self::Encode { source, .. } => f
                .debug_struct("Encode")
                .field("source", source)
                .finish_non_exhaustive(),
            Self::Corrupt { what, .. } => f
                .debug_struct("Corrupt")
                .field("what", what)
                .finish_non_exhaustive(),
        }
    }
}

impl<T> fmt::Display for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => {
                f.write_str("the pool is shut down and accepts no tasks: start another one")
            }
            Self::Forked(_) => f.write_str(FORKED),
            Self::Unclaimed { max, .. } => write!(
                f,
                "{max} outcomes are unclaimed, as many as allowed: claim some before you submit more tasks"
            ),
            Self::NoWorkers { why, .. } => write!(
                f,
                "no worker of the pool could be started ({why}): remove the cause, and submit the task again"
            ),
            Self::NoPriorities { .. } => f.write_str(
                "the pool has no priorities: start it with `Builder::priorities`, or submit the task without one",
            ),
            Self::TooLarge { len, max, .. } => write!(
                f,
                "a task of {len} bytes is larger than the {max} bytes that this pool accepts: raise \
                 `Builder::max_message_len`"
            ),
            Self::NoMemory {
                limit,
                wanted,
                available,
                ..
            } => no_memory(f, *limit, *wanted, *available),
            Self::Encode { .. } => f.write_str(
                "the task could not be encoded: submit one that serde and bincode support",
            ),
            Self::Corrupt { what, .. } => {
                write!(f, "the pool can't go on ({what}): start another one")
            }
        }
    }
}

impl<T> Error for SubmitError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Encode { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// The error of submitting a task without waiting: it was not accepted at once. Contains the task.
#[derive(PartialEq, Eq)]
#[non_exhaustive]
pub enum TrySubmitError<T> {
    /// As many tasks are in flight as allowed, or no memory is free for a task of this size: try again later, or wait
    /// with [`submit`](crate::pool::TypedPool::submit).
    Full(T),
    /// The task is not accepted, and waiting would not help.
    Refused(SubmitError<T>),
}

impl<T> TrySubmitError<T> {
    /// Replaces the task by what `with` returns for it: `map(drop)` keeps only the reason.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> TrySubmitError<U> {
        match self {
            Self::Full(task) => TrySubmitError::Full(with(task)),
            Self::Refused(error) => TrySubmitError::Refused(error.map(with)),
        }
    }

    /// Returns the task that was not accepted.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../pool/example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(1).capacity(1).start()?;
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

    /// Returns whether the task may be accepted later.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../pool/example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(1).capacity(1).start()?;
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

    /// Returns whether the pool is shut down or being shut down.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        matches!(self, Self::Refused(SubmitError::Closed(_)))
    }
}

// By hand, so that tasks need not be `Debug`.
impl<T> fmt::Debug for TrySubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::Refused(error) => f.debug_tuple("Refused").field(error).finish(),
        }
    }
}

impl<T> fmt::Display for TrySubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str(FULL),
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
    /// This process is a forked child of the pool's. Nothing was done.
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

/// The workers of a pool could not be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RolloutError {
    /// The pool was shut down before the change was complete.
    Closed,
    /// The pool can't have as many workers, or as few. Nothing was done.
    #[non_exhaustive]
    InvalidSize {
        /// The numbers that were asked for.
        workers: RangeInclusive<usize>,
        /// The most that there is room for.
        max: usize,
    },
    /// This process is a forked child of the pool's. Nothing was done.
    Forked,
}

impl fmt::Display for RolloutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(
                "the pool was shut down before all workers were changed: expect that at its end",
            ),
            Self::InvalidSize { workers, max } => write!(
                f,
                "the pool can't have {} to {} workers: give it 1 to {max}, or raise `Builder::max_workers`",
                workers.start(),
                workers.end()
            ),
            Self::Forked => f.write_str(FORKED),
        }
    }
}

impl Error for RolloutError {}
