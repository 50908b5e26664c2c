//! Options for starting, replacing and ending worker processes.

use super::options::Builder;
use crate::pool::parent::settings::Backoff;
use core::time::Duration;
use std::ffi::OsString;
use std::path::PathBuf;

impl<P> Builder<P> {
    /// Sets how many workers [`resize`](crate::pool::TypedPool::resize) may give the pool, up to 512. By default, as many as
    /// [`workers`](Builder::workers) allows. The room for each takes about 2.5 KiB.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(1).max_workers(8).start()?;
    /// pool.resize(2)?.wait()?;
    /// assert_eq!(pool.stats().workers.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_workers(mut self, workers: usize) -> Self {
        self.max_workers = Some(workers);
        self
    }

    /// Sets how long a worker beyond the [least number](Builder::workers) may be idle before it is ended. It may take
    /// up to twice as long, because idle workers are checked once in this time. By default 10 s.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(1..=2).idle_timeout(Duration::from_secs(1)).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.settings.workers.idle_timeout = idle_timeout;
        self
    }

    /// Sets after how many tasks a worker is replaced: `tasks`, and up to `jitter` more. The number is drawn for each
    /// worker, so that they are not all replaced at once. `tasks` is at least 1. By default workers are not replaced.
    ///
    /// A worker finishes its chunk of a [map](crate::pool::TypedPool::map) first.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(1).recycle_after_tasks(4, 1).start()?;
    /// assert!(pool.map((0..10).map(Square)).all(|outcome| outcome.result.is_ok()));
    /// assert!(pool.shutdown(Shutdown::Drain, HOUR)?.recycled >= 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recycle_after_tasks(mut self, tasks: u64, jitter: u64) -> Self {
        self.settings.workers.max_tasks = Some((tasks, jitter));
        self
    }

    /// Sets the memory above which a worker is replaced: if its resident set, shared memory included, is larger than
    /// `bytes` after a task. Checking this takes some microseconds per task. By default workers are not replaced.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(1).recycle_above_memory(1).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// assert_eq!(pool.submit(Square(4))?.wait()?, 16); // by another process
    /// # Ok(())
    /// # }
    /// ```
    pub fn recycle_above_memory(mut self, bytes: u64) -> Self {
        self.settings.workers.max_memory = Some(bytes);
        self
    }

    /// Sets the age at which a worker is replaced, counted from when it was ready: `age`, and up to a tenth more. The
    /// time is drawn for each worker, so that they are not all replaced at once. A worker finishes its task first. By
    /// default workers are not replaced.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().recycle_after_age(Duration::from_secs(600)).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recycle_after_age(mut self, age: Duration) -> Self {
        self.settings.workers.max_age = Some(age);
        self
    }

    /// Sets the delay before replacing a worker that died without having run a task: `first`, and twice as long each
    /// time in a row, up to `longest`. By default 10 ms and 5 s. A worker that has died after it ran a task is replaced
    /// at once.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let (first, longest) = (Duration::from_millis(100), Duration::from_secs(60));
    /// let pool = TypedPool::<Square>::builder().respawn_backoff(first, longest).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn respawn_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.settings.respawn_backoff = Backoff { first, longest };
        self
    }

    /// Sets after how many failed starts of each worker in a row tasks fail with
    /// [`NoWorkers`](crate::pool::TaskError::NoWorkers). By default 8, which takes some 1.3 s with the default
    /// [back-off](Builder::respawn_backoff); at least 1. A start fails if no process can be started, or if the process
    /// ends before it is ready, or before it has started a task although tasks are queued.
    ///
    /// When this is so for all workers, and none is ready, the tasks that are queued or wait for a retry have the
    /// outcome [`TaskError::NoWorkers`](crate::pool::TaskError::NoWorkers), and [`submit`](crate::pool::TypedPool::submit)
    /// fails with [`SubmitError::NoWorkers`](crate::pool::SubmitError), both with the cause. So callers do not wait for
    /// workers that may never come. The pool goes on trying, and accepts tasks again as soon as a worker is ready.
    /// While at least one worker takes tasks, tasks wait for it, however busy it is.
    ///
    /// [`start`](Builder::start) does not use this number: see [`StartError`](crate::pool::StartError).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().max_worker_failures(3).start()?;
    /// match pool.submit(Square(3)) {
    ///     Ok(handle) => assert_eq!(handle.wait()?, 9),
    ///     Err(SubmitError::NoWorkers { task, why, .. }) => eprintln!("try {task:?} later: {why}"),
    ///     Err(other) => return Err(other.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_worker_failures(mut self, failures: u32) -> Self {
        self.settings.max_worker_failures = failures;
        self
    }

    /// Sets how long [`start`](Builder::start) waits until all workers are ready. A worker that is started later and is
    /// not ready within this time is ended, and another one started. By default 30 s.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let hasty = TypedPool::<Square>::builder().start_timeout(Duration::ZERO).start();
    /// assert!(matches!(hasty, Err(StartError::TimedOut)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_timeout(mut self, start_timeout: Duration) -> Self {
        self.settings.start_timeout = start_timeout;
        self
    }

    /// Sets the grace time. When the pool is shut down, workers have this long to stop before their process groups get
    /// `SIGTERM`, and as long again before they get `SIGKILL`. A worker that is to be replaced, or has finished a task
    /// beyond its [time limit](Builder::time_limit), has this long before it is killed. By default 2 s.
    ///
    /// A process that gives up its privileges after the start may have no permission to signal its workers. It asks
    /// them over their links instead, and they kill themselves and their groups, whatever the task does. So limits,
    /// cancellation and shutdown work as well. A stopped worker does not react to that. Its task has its outcome after
    /// 5 s, and at the end of the pool it is left behind: see
    /// [`Report::left_behind`](crate::pool::Report::left_behind).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Nap>::builder().grace(Duration::from_secs(5)).start()?;
    /// let nap = pool.submit(Nap(HOUR))?;
    /// pool.shutdown(Shutdown::Cancel, Duration::ZERO)?; // ends at once: this task obeys
    /// assert!(nap.wait().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Sets the program of the workers. By default it is the program of this process, whatever becomes of its file. The
    /// `main` function of another program must call [`run_if_worker_for`](crate::pool::run_if_worker_for) as well, with the
    /// same type of task.
    ///
    /// Parent and worker compare their tasks: a program with other tasks, types, fields or arguments, or with these in another
    /// order, is refused with [`StartError::Mismatch`](crate::pool::StartError::Mismatch). What is inside the types of fields is
    /// not compared; [`Task::SCHEMA`](crate::pool::Task::SCHEMA) stands for it. An event of `tracing` says if the program
    /// is another build than this one, by its build id.
    ///
    /// A pool in a library that a program loads, such as a Python module, has to set this:
    /// [`StartError::Hosted`](crate::pool::StartError::Hosted).
    ///
    /// The program is run by its path each time a worker is started, and searched for in the workers' `PATH` if the
    /// path has no slash. So if its file is replaced, workers that are started from then on run the new one, unless it is
    /// refused: then they count as [failures](Self::max_worker_failures).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// // This program, which is what workers are anyway.
    /// let pool = TypedPool::<Square>::builder().program(std::env::current_exe()?).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.settings.program = Some(program.into());
        self
    }

    /// Sets an environment variable of the workers.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().env("RUST_BACKTRACE", "1").start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let variable = (name.into(), Some(value.into()));
        self.settings.environment.push(variable);
        self
    }

    /// Removes an environment variable of this process from the environment of the workers.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().env_remove("SSH_AUTH_SOCK").start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.settings.environment.push((name.into(), None));
        self
    }

    /// Clears the environment of the workers: they get no variable of this process, and none that was set before this. Those that are
    /// set after it they get, and those by which the pool and its workers find each other.
    ///
    /// # Examples
    ///
    /// ```standalone_crate
    #[doc = include_str!("../../example.in")]
    /// let builder = TypedPool::<Square>::builder().env_clear();
    /// let pool = builder.env("PATH", "/usr/bin:/bin").start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn env_clear(mut self) -> Self {
        self.settings.clears_environment = true;
        self.settings.environment.clear();
        self
    }

    /// Sets the working directory of the workers. By default it is that of this process.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().current_dir("/").start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.current_dir = Some(directory.into());
        self
    }

    /// Sets whether a worker becomes the parent of those of its descendants whose own parent ends (*orphans*: daemons,
    /// or background processes of a shell). By default it does not.
    ///
    /// A worker that is ended takes its process group and all of its descendants along, whatever groups and sessions
    /// these have made for themselves. Without this option, an orphan that has left the group is no descendant of the
    /// worker any more, and lives on. With it, the orphan is found and ended. The cost: a worker does not wait for
    /// orphans, so those that end stay zombies until the worker ends.
    ///
    /// In both cases, these live on: descendants outside the group of a worker that dies by itself, for instance by a
    /// crash; and all descendants outside the group if `/proc` is not mounted, hides processes, or belongs to another
    /// process id namespace.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(1).adopt_orphans(true).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn adopt_orphans(mut self, adopt: bool) -> Self {
        self.settings.adopts_orphans = adopt;
        self
    }
}
