//! Errors of starting a pool.

use super::CreateError;
use super::equality::impl_eq;
use super::text;
use core::fmt;
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// The error of [`Builder::start`](crate::pool::Builder::start): a pool could not be started. All processes that were
/// started for it have ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// An option has a value that is not allowed.
    #[non_exhaustive]
    InvalidOption {
        /// The name of the option: a method of [`Builder`](crate::pool::Builder).
        option: &'static str,
        /// The value that it was set to.
        value: String,
        /// The values that are allowed.
        allowed: String,
    },
    /// This process was itself started as a worker of a pool, and has not become one: write
    /// `workring::auto_worker!();` anywhere in the program, or begin `main` with `run_if_worker` or
    /// [`run_if_worker_for`](crate::pool::run_if_worker_for). If a wrapper program starts it, the wrapper must pass on the
    /// environment and open descriptors. Every call in every thread returns this, so that such a program does not start
    /// itself again and again.
    StartedAsWorker,
    /// This crate is part of a library that a program has loaded, such as a Python module or a plugin. Workers can't be that
    /// program, started again, since it would not load the library: give
    /// [`Builder::program`](crate::pool::Builder::program) the path of a program that becomes a worker.
    ///
    /// Not where the program itself calls `run_if_worker` or [`run_if_worker_for`](crate::pool::run_if_worker_for). A program
    /// that is linked to the library, and so loads it at each start, may name itself: `program(std::env::current_exe()?)`.
    #[non_exhaustive]
    Hosted {
        /// The program of this process.
        program: PathBuf,
        /// The library.
        library: PathBuf,
    },
    /// A queue could not be made.
    Queue(CreateError),
    /// The program of the workers could not be started.
    #[non_exhaustive]
    Spawn {
        /// The path of the program.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A worker process ended without identifying itself, or was ended because it has started a pool instead or
    /// closed its descriptors. Usually it has neither `workring::auto_worker!();` nor, at the start of `main`,
    /// [`run_if_worker_for`](crate::pool::run_if_worker_for), or a wrapper program does not pass on the environment and the descriptors.
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
        /// What the worker has.
        theirs: String,
        /// What this process has.
        ours: String,
    },
    /// Two [registered](crate::register) tasks have the same name, so that a worker can't tell them apart.
    #[non_exhaustive]
    SameName {
        /// The name of one of them. The other has the same, or one that can't be told from it.
        name: &'static str,
        /// Where one is registered, as `file:line:column`.
        one: &'static str,
        /// Where the other is.
        other: &'static str,
    },
    /// A worker could not be [prepared](crate::pool::Task::prepare_worker).
    #[non_exhaustive]
    Unfit {
        /// The worker's error.
        what: String,
    },
    /// Workers died before they were ready, again and again, or until the
    /// [time limit](crate::pool::Builder::start_timeout) had passed.
    #[non_exhaustive]
    Died {
        /// How the last of them ended; `None` if that is unknown.
        status: Option<ExitStatus>,
    },
    /// The workers were not ready within the [time limit](crate::pool::Builder::start_timeout).
    TimedOut,
    /// The operating system refused.
    #[non_exhaustive]
    Os {
        /// What has failed.
        what: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl_eq!(StartError {
    InvalidOption {
        option,
        value,
        allowed
    },
    StartedAsWorker,
    Hosted { program, library },
    Queue(source),
    Spawn { program, source },
    NoHandshake { status },
    Mismatch { what, theirs, ours },
    SameName { name, one, other },
    Unfit { what },
    Died { status },
    TimedOut,
    Os { what, source },
});

impl StartError {
    /// Returns whether the workers were not ready within the time limit.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::TimedOut)
    }
}

/// Returns how a process ended, in words.
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
            } => write!(
                f,
                "the option `{option}` must not be {value}: set it to a value from {allowed}"
            ),
            Self::StartedAsWorker => f.write_str(
                "this process was started as a worker of a pool and has not become one, so it can't start a pool: \
                 write `workring::auto_worker!();` anywhere, or call `run_if_worker` at the start of `main`, and let \
                 wrappers pass on the environment and the descriptors",
            ),
            Self::Hosted { program, library } => write!(
                f,
                "{} is a library that {} has loaded, and that program can't be started again as a worker: give \
                 `Builder::program` the path of a program that calls `run_if_worker`",
                library.display(),
                program.display()
            ),
            Self::Queue(source) => fmt::Display::fmt(source, f),
            Self::Spawn { program, source } => {
                let what = format!("the worker program {} could not be started", program.display());
                text::os(f, &what, source)
            }
            Self::NoHandshake { status } => write!(
                f,
                "a worker ended ({}) without identifying itself: write `workring::auto_worker!();` anywhere in its \
                 program, or call `run_if_worker` at the start of its `main`, and let wrappers pass on the environment \
                 and the descriptors",
                ending(*status)
            ),
            Self::Mismatch { what, theirs, ours } => write!(
                f,
                "the worker's {what} is {theirs}, that of this process {ours}: build both from the same sources"
            ),
            Self::SameName { name, one, other } => write!(
                f,
                "two tasks are registered as `{name}`, at {one} and at {other}: give one another name, as in \
                 `#[task(name = \"..\")]`"
            ),
            Self::Unfit { what } => write!(
                f,
                "a worker could not be prepared ({what}): see what `Task::prepare_worker` needs"
            ),
            Self::Died { status } => write!(
                f,
                "workers died repeatedly before all were ready, the last one with {}: see what \
                 `Task::prepare_worker` and the processes that it starts do",
                ending(*status)
            ),
            Self::TimedOut => f.write_str(
                "the workers were not ready in time: raise `Builder::start_timeout`, see what `Task::prepare_worker` \
                 waits for, or let the program call `run_if_worker` first",
            ),
            Self::Os { what, source } => text::os(f, what, source),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Queue(source) => source.source(),
            Self::Spawn { source, .. } | Self::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}
