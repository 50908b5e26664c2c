//! Options for what a worker process may use, and for what it writes.

use super::options::Builder;
use crate::os::process_limits::LimitedResource;
use crate::pool::parent::settings::WorkerOutput;

/// A resource of which a worker may have a limited amount: see [`Builder::resource_limit`]. setrlimit(2) describes each.
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
    const fn limited(self) -> LimitedResource {
        match self {
            Self::CoreFile => LimitedResource::CoreFile,
            Self::ProcessorTime => LimitedResource::ProcessorTime,
            Self::Data => LimitedResource::Data,
            Self::FileSize => LimitedResource::FileSize,
            Self::LockedMemory => LimitedResource::LockedMemory,
            Self::OpenFiles => LimitedResource::OpenFiles,
            Self::Processes => LimitedResource::Processes,
            Self::Stack => LimitedResource::Stack,
        }
    }
}

impl<P> Builder<P> {
    /// Sets what becomes of what workers write to their standard output. By default it goes where that of this process goes.
    ///
    /// With [`WorkerOutput::Tracing`], this process reads it, and each line becomes an event of the level `INFO` with the target
    /// `workring::output` and the fields `worker`, `pid` and `stream`. A line of more than 8 KiB comes in pieces; what has no end
    /// of line comes when the worker has ended. While more than 4 MiB wait for the subscriber, lines are dropped, and their number
    /// is logged. So neither a worker that floods its output nor a slow subscriber holds up the pool. When a worker has ended, its
    /// output ends, too: processes that it leaves behind get `SIGPIPE` when they write.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().stdout(WorkerOutput::Discard).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stdout(mut self, output: WorkerOutput) -> Self {
        self.settings.stdout = output;
        self
    }

    /// Sets what becomes of what workers write to their standard error, as [`stdout`](Builder::stdout) does for the output.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().stderr(WorkerOutput::Discard).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stderr(mut self, output: WorkerOutput) -> Self {
        self.settings.stderr = output;
        self
    }

    /// Sets the niceness of workers: from 19, which yields to all other processes, to -20. By default they have that of this
    /// process. To go below that takes a privilege; without it, the start fails.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().nice(10).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn nice(mut self, nice: i32) -> Self {
        self.settings.process_limits.nice = Some(nice);
        self
    }

    /// Sets the processors that workers may run on, by their numbers, from 0 to 1023. By default, those of this process. If none of
    /// them exists, the start fails.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().processors([0]).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn processors(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        self.settings.process_limits.processors = processors.into_iter().collect();
        self
    }

    /// Limits a resource of each worker; [`u64::MAX`] is no limit. May be called once for each resource. By default workers have the
    /// limits of this process. To go above its hard limit takes a privilege; without it, the start fails. A limit too low for the
    /// pool itself makes workers die at their start.
    ///
    /// The limit is both the soft and the hard one, and set before the worker's program begins. For the address space there is
    /// [`address_limit`](Builder::address_limit).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let builder = TypedPool::<Square>::builder().resource_limit(Resource::CoreFile, 0);
    /// let pool = builder.resource_limit(Resource::OpenFiles, 64).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn resource_limit(mut self, resource: Resource, limit: u64) -> Self {
        let resources = &mut self.settings.process_limits.resources;
        let resource = resource.limited();
        resources.retain(|&(other, _)| other != resource);
        resources.push((resource, limit));
        self
    }
}
