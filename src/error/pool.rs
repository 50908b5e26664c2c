//! What can go wrong with a pool of workers.

use super::memory::no_memory;
use super::{CreateError, MemoryLimit};
use crate::codec::EncodeError;
use core::fmt;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

const FORKED: &str =
    "this process was forked from the one that has the pool: start a pool of its own instead";

/// What can be done about an error of the system that is a matter of limits.
fn remedy(error: &io::Error) -> &'static str {
    /// As Linux numbers them: too many processes, or too many open files of this process or of the machine.
    const EAGAIN: i32 = 11;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    match error.raw_os_error() {
        Some(EAGAIN) => ": raise the limit of processes, `ulimit -u`",
        Some(EMFILE) => ": raise the limit of open files, `ulimit -n`",
        Some(ENFILE) => ": raise the machine's limit of open files, `fs.file-max`",
        _ => "",
    }
}

/// A pool could not be started. Nothing of it is left.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// An option has a value that makes no sense.
    #[non_exhaustive]
    InvalidOption {
        /// Which one, as the method of [`Builder`](crate::pool::Builder) is called.
        option: &'static str,
        /// What was asked for.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// This process was itself started as a worker of a pool, and has not become one: its `main` must begin with
    /// [`run_if_worker`](crate::pool::run_if_worker). A wrapper between the two must leave the environment and open
    /// descriptors as they are. Returned by every call, in every thread, so that such a program can't start itself again and
    /// again.
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
    /// A worker ended before it had said what it is, or was ended because it has started a pool instead, or has closed its
    /// descriptors. As a rule its `main` does not begin with [`run_if_worker`](crate::pool::run_if_worker), or a wrapper
    /// does not pass on the environment and the descriptors.
    #[non_exhaustive]
    NoHandshake {
        /// How it ended; `None` if that is unknown, as for [`TaskError::Crashed`](crate::pool::TaskError::Crashed).
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
    /// Workers died before all of them were ready, again and again, or until the
    /// [time](crate::pool::Builder::start_timeout) was up.
    #[non_exhaustive]
    Died {
        /// How the last of them ended; `None` if that is unknown.
        status: Option<ExitStatus>,
    },
    /// The workers were not ready in [time](crate::pool::Builder::start_timeout).
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
                "this process was started as a worker of a pool and has not become one, so it can't start a pool: call \
                 `run_if_worker` at the start of `main`, and let wrappers pass on the environment and the descriptors",
            ),
            Self::Queue(source) => write!(f, "a queue of the pool could not be made: {source}"),
            Self::Spawn { program, source } => {
                let (program, remedy) = (program.display(), remedy(source));
                write!(f, "the worker program {program} could not be started: {source}{remedy}")
            }
            Self::NoHandshake { status } => write!(
                f,
                "a worker ended ({}) without a handshake: call `run_if_worker` at the start of its `main`, and let \
                 wrappers pass on the environment and the descriptors",
                ending(*status)
            ),
            Self::Mismatch { what, theirs, ours } => write!(
                f,
                "the worker's {what} is {theirs}, that of this process {ours}: build both from the same sources"
            ),
            Self::Unfit { what } => write!(f, "a worker could not be prepared: {what}"),
            Self::Died { status } => {
                write!(
                    f,
                    "workers died again and again before all were ready, the last one with {}: \
                     see what `prepare_worker`, and whatever it has started, does",
                    ending(*status)
                )
            }
            Self::TimedOut => f.write_str(
                "the workers were not ready in time: raise `Builder::start_timeout`, or see what `prepare_worker` waits for",
            ),
            Self::Os { what, source } => write!(f, "{what}: {source}{}", remedy(source)),
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
    /// There are as many outcomes that nobody has claimed as [`Builder::max_unclaimed_results`](crate::pool::Builder) allows:
    /// take some, with [`Pool::drain`](crate::pool::Pool::drain) or by the handles.
    #[non_exhaustive]
    Unclaimed {
        /// The task.
        task: T,
        /// How many there may be.
        max: usize,
    },
    /// No worker could be started, as often in a row as
    /// [`Builder::max_worker_failures`](crate::pool::Builder::max_worker_failures) allows. The pool goes on trying, and
    /// takes tasks again when a worker is ready.
    #[non_exhaustive]
    NoWorkers {
        /// The task.
        task: T,
        /// Why the last attempt failed.
        why: String,
    },
    /// The task is larger than [`Builder::max_message_len`](crate::pool::Builder::max_message_len) allows.
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
            Self::NoWorkers { task, why } => SubmitError::NoWorkers {
                task: map(task),
                why,
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
    #[doc = include_str!("../pool/example.in")]
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
            | Self::NoWorkers { task, .. }
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
    #[doc = include_str!("../pool/example.in")]
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
            Self::Closed(_) => {
                f.write_str("the pool was shut down and takes no more tasks: start another one")
            }
            Self::Forked(_) => f.write_str(FORKED),
            Self::Unclaimed { max, .. } => write!(
                f,
                "{max} outcomes wait to be claimed, as many as may: take some before more tasks are submitted"
            ),
            Self::NoWorkers { why, .. } => write!(
                f,
                "the pool has no workers, and takes no task until one can be started: {why}"
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
            Self::Corrupt { what, .. } => {
                write!(f, "the pool can't go on ({what}): start another one")
            }
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
    /// As many tasks are in flight as may be: try again later, or wait with [`submit`](crate::pool::Pool::submit).
    Full(T),
    /// It would not be accepted later either.
    Refused(SubmitError<T>),
}

impl<T> TrySubmitError<T> {
    pub(crate) fn map<U>(self, with: impl FnOnce(T) -> U) -> TrySubmitError<U> {
        match self {
            Self::Full(task) => TrySubmitError::Full(with(task)),
            Self::Refused(error) => TrySubmitError::Refused(error.map(with)),
        }
    }

    /// The task.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../pool/example.in")]
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
    #[doc = include_str!("../pool/example.in")]
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::pool::TaskError;

    fn says(error: &dyn Error, parts: &[&str]) {
        let text = error.to_string();
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text:?}");
        }
    }

    #[test]
    fn a_start_without_descriptors_or_processes_names_the_limit() {
        for (number, limit) in [(24, "ulimit -n"), (23, "fs.file-max"), (11, "ulimit -u")] {
            let source = || io::Error::from_raw_os_error(number);
            let what = "no socket for a worker";
            says(
                &StartError::Os {
                    what,
                    source: source(),
                },
                &[what, limit],
            );
            let program = PathBuf::from("/bin/worker");
            let error = StartError::Spawn {
                program,
                source: source(),
            };
            says(&error, &["/bin/worker", limit]);
        }
        let source = io::Error::from_raw_os_error(2);
        let program = PathBuf::from("/bin/worker");
        says(
            &StartError::Spawn { program, source },
            &["/bin/worker", "No such file"],
        );
    }

    #[test]
    fn what_a_pool_refuses_names_the_cause_and_the_remedy() {
        says(&SubmitError::Closed(1), &["shut down", "start another"]);
        says(&SubmitError::Forked(1), &["forked", "a pool of its own"]);
        says(&ShutdownError::Forked, &["forked", "a pool of its own"]);
        let what = "the pool's thread has panicked";
        says(
            &SubmitError::Corrupt { task: 1, what },
            &[what, "start another"],
        );
        let (task, len, max) = (1, 2000, 1000);
        let error = SubmitError::TooLarge { task, len, max };
        says(&error, &["2000", "1000", "`Builder::max_message_len`"]);
        let why = "a worker could not be prepared: no model".to_owned();
        let error = SubmitError::NoWorkers {
            task,
            why: why.clone(),
        };
        says(&error, &["no workers", &why]);
        says(
            &TaskError::<String>::NoWorkers { why },
            &["no worker", "no model"],
        );
        says(&TaskError::<String>::TimedOut, &["Builder::time_limit"]);
        let error = TaskError::<String>::TooMuchMemory { resident: 7 };
        says(&error, &["7 bytes", "Builder::memory_limit"]);
        says(
            &StartError::TimedOut,
            &["Builder::start_timeout", "prepare_worker"],
        );
    }
}
