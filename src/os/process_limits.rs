//! What a child may use: its niceness, processors, and resource limits. Set by the child itself between `clone(2)` and
//! `execve(2)`: `setpriority(2)`, `sched_setaffinity(2)`, `setrlimit(2)`.
//!
//! This module owns no state.

use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::io;

/// The number of processors that a [`CpuSet`] has room for.
pub(crate) const MAX_PROCESSORS: usize = CpuSet::MAX_CPU;

/// A resource of which a process may have a limited amount: `RLIMIT_...` of setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitedResource {
    CoreFile,
    ProcessorTime,
    Data,
    FileSize,
    LockedMemory,
    OpenFiles,
    Processes,
    Stack,
}

impl LimitedResource {
    const fn number(self) -> Resource {
        match self {
            Self::CoreFile => Resource::Core,
            Self::ProcessorTime => Resource::Cpu,
            Self::Data => Resource::Data,
            Self::FileSize => Resource::Fsize,
            Self::LockedMemory => Resource::Memlock,
            Self::OpenFiles => Resource::Nofile,
            Self::Processes => Resource::Nproc,
            Self::Stack => Resource::Stack,
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
    pub(crate) resources: Vec<(LimitedResource, u64)>,
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
