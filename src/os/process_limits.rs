//! What a child may use: its niceness, processors, and resource limits. Set by the child itself between `clone(2)` and
//! `execve(2)`: `setpriority(2)`, `sched_setaffinity(2)`, `setrlimit(2)`.
//!
//! This module owns no state.

use rustix::process::{Resource as Number, Rlimit, setpriority_process, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::io;

/// The number of processors that a [`CpuSet`] has room for.
pub(crate) const MAX_PROCESSORS: usize = CpuSet::MAX_CPU;

/// A resource of which a worker may have a limited amount: see
/// [`Builder::resource_limit`](crate::pool::Builder::resource_limit). setrlimit(2) describes each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// The size of a core file, in bytes (`RLIMIT_CORE`). With 0, a worker that crashes leaves none.
    CoreFile,
    /// Processor time in seconds (`RLIMIT_CPU`), of all tasks of a worker together. Beyond it, the worker gets `SIGXCPU`.
    ProcessorTime,
    /// The size of its data, in bytes (`RLIMIT_DATA`). Beyond it, allocations fail.
    Data,
    /// The size of files that it writes, in bytes (`RLIMIT_FSIZE`). Beyond it, it gets `SIGXFSZ`.
    FileSize,
    /// Memory that it locks, in bytes (`RLIMIT_MEMLOCK`).
    LockedMemory,
    /// Open file descriptors (`RLIMIT_NOFILE`).
    OpenFiles,
    /// Processes and threads of its user (`RLIMIT_NPROC`), those that are not workers included.
    Processes,
    /// The size of the main thread's stack, in bytes (`RLIMIT_STACK`).
    Stack,
}

impl Resource {
    const fn number(self) -> Number {
        match self {
            Self::CoreFile => Number::Core,
            Self::ProcessorTime => Number::Cpu,
            Self::Data => Number::Data,
            Self::FileSize => Number::Fsize,
            Self::LockedMemory => Number::Memlock,
            Self::OpenFiles => Number::Nofile,
            Self::Processes => Number::Nproc,
            Self::Stack => Number::Stack,
        }
    }
}

/// What a child may use. What is not set it has from this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProcessLimits {
    pub(crate) nice: Option<i32>,
    /// The processors that it may run on, if any are named.
    pub(crate) processors: Vec<usize>,
    /// Soft and hard limit alike. `u64::MAX` is no limit.
    pub(crate) resources: Vec<(Resource, u64)>,
}

impl ProcessLimits {
    /// Sets the niceness of the calling process. Allocates nothing, so that a child can call it before its program runs.
    pub(crate) fn apply_nice(&self) -> io::Result<()> {
        self.nice
            .map_or(Ok(()), |nice| Ok(setpriority_process(None, nice)?))
    }

    /// Binds the calling thread to the processors. Allocates nothing.
    pub(crate) fn apply_processors(&self) -> io::Result<()> {
        if self.processors.is_empty() {
            return Ok(());
        }
        let mut set = CpuSet::new();
        for &processor in &self.processors {
            if processor < MAX_PROCESSORS {
                set.set(processor);
            }
        }
        Ok(sched_setaffinity(None, &set)?)
    }

    /// Sets the resource limits of the calling process. Allocates nothing.
    pub(crate) fn apply_resources(&self) -> io::Result<()> {
        for &(resource, limit) in &self.resources {
            let limit = (limit != u64::MAX).then_some(limit);
            let limits = Rlimit {
                current: limit,
                maximum: limit,
            };
            setrlimit(resource.number(), limits)?;
        }
        Ok(())
    }
}
