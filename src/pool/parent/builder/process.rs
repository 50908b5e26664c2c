//! Options for what a worker process may use, and for what it writes.

use super::options::Builder;
pub use crate::os::process_limits::Resource;
use crate::os::spawn::PreExec;
use crate::pool::parent::settings::WorkerOutput;

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
        resources.retain(|&(other, _)| other != resource);
        resources.push((resource, limit));
        self
    }

    /// Adds code that each worker process runs before its program, as
    /// [`CommandExt::pre_exec`](std::os::unix::process::CommandExt::pre_exec) does for a command. It runs last, when all else about
    /// the process is set; several in the order in which they were added. For what this builder has an option for, use that:
    /// data needs no unsafe code, and costs nothing.
    ///
    /// This is the slow way to start: the kernel copies the page tables of this process for each worker, which takes up to 0.15 s for
    /// each GiB of memory that it has in use. Without such code it copies nothing.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// use nix::sys::prctl::set_no_new_privs;
    ///
    /// // SAFETY: the closure makes one system call.
    /// let no_new_privileges = unsafe { PreExec::new(|| Ok(set_no_new_privs()?)) };
    /// let pool = TypedPool::<Square>::builder().pre_exec(no_new_privileges).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pre_exec(mut self, code: PreExec) -> Self {
        self.settings.pre_exec.push(code);
        self
    }
}
