//! Options: how worker processes are started, replaced, and ended.

use super::options::Builder;
use crate::pool::parent::settings::Backoff;
use crate::pool::task::Task;
use core::time::Duration;
use std::ffi::OsString;
use std::path::PathBuf;

impl<T: Task> Builder<T> {
    /// How long a worker beyond the [least number](Builder::workers) may have nothing to do before it is ended. It may
    /// take up to twice as long: what workers do is looked at once in this time, while there are more than the least
    /// number. By default 10 s.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().workers(1..=2).idle_timeout(Duration::from_secs(1)).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.settings.workers.idle_timeout = idle_timeout;
        self
    }

    /// Replace each worker after it has run `tasks` tasks, and up to `jitter` more, at random for each, so that not all
    /// are replaced at once. At least 1. By default never. A chunk of a [map](crate::pool::Pool::map) is finished first.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().workers(1).recycle_after_tasks(4, 1).start()?;
    /// assert!(pool.map((0..10).map(Square)).all(|outcome| outcome.result.is_ok()));
    /// assert!(pool.shutdown(Shutdown::Drain, HOUR)?.recycled >= 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recycle_after_tasks(mut self, tasks: u64, jitter: u64) -> Self {
        self.settings.workers.max_tasks = Some((tasks, jitter));
        self
    }

    /// Replace a worker that has more than so many bytes of memory in use after a task: its resident set, shared memory
    /// included. The look takes some microseconds for each task. By default never.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().workers(1).recycle_above_memory(1).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// assert_eq!(pool.submit(Square(4))?.wait()?, 16); // by another process
    /// # Ok(())
    /// # }
    /// ```
    pub fn recycle_above_memory(mut self, bytes: u64) -> Self {
        self.settings.workers.max_memory = Some(bytes);
        self
    }

    /// Replace a worker that has been ready for so long, or up to a tenth longer, at random for each, so that not all are
    /// replaced at once. The task that it runs is done first. By default never.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().recycle_after_age(Duration::from_secs(600)).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recycle_after_age(mut self, age: Duration) -> Self {
        self.settings.workers.max_age = Some(age);
        self
    }

    /// How long to wait before a worker is started again that has died several times in a row without having run a task:
    /// `first`, then twice as long each time, `longest` at the most. By default 10 ms and 5 s. One that has died of a task is
    /// replaced at once.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let (first, longest) = (Duration::from_millis(100), Duration::from_secs(60));
    /// let pool = Pool::<Square>::builder().respawn_backoff(first, longest).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn respawn_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.settings.respawn_backoff = Backoff { first, longest };
        self
    }

    /// How often in a row each worker may fail to come, before tasks fail for it: by default 8, which takes some 1.3 s with
    /// the default [back-off](Builder::respawn_backoff); at least 1. A worker fails to come if no process can be
    /// started, or if it ends before it is ready, or before it has begun a task although tasks wait.
    ///
    /// When all workers have failed so often and none is ready, the tasks that are queued, or wait to be tried again, have
    /// the outcome [`TaskError::NoWorkers`](crate::pool::TaskError::NoWorkers), and [`submit`](Pool::submit) fails with
    /// [`SubmitError::NoWorkers`](crate::pool::SubmitError), both with the cause: so a caller is not kept waiting for
    /// what may never come. The pool goes on trying, with its back-off; as soon as a worker is ready, it accepts tasks
    /// as before. While at least one worker serves, however busy it is, tasks wait for it.
    ///
    /// [`start`](Builder::start) does not wait for this: it fails by itself.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().max_worker_failures(3).start()?;
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

    /// How long [`start`](Builder::start) waits for all workers to be ready, and how long a worker that is started later
    /// may take before it is ended and another one is tried. By default 30 s.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let hasty = Pool::<Square>::builder().start_timeout(Duration::ZERO).start();
    /// assert!(matches!(hasty, Err(StartError::TimedOut)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn start_timeout(mut self, start_timeout: Duration) -> Self {
        self.settings.start_timeout = start_timeout;
        self
    }

    /// How long a worker has to stop by itself, when the pool is shut down, before its process group gets `SIGTERM`; and
    /// how long after that, before it gets `SIGKILL`. Also how long one has to end that is to be replaced, or is through
    /// with a task beyond its [time limit](Builder::time_limit), before it is killed. By default 2 s.
    ///
    /// A process that gives up its privileges after the start may not signal its workers any more. They are asked over
    /// their links then, and kill themselves and their groups, whatever the task does: limits, cancellation and the end of the
    /// pool hold. A worker that is stopped does not; it is left behind after 5 s, and its task has its outcome by then:
    /// see [`Report::left_behind`](crate::pool::Report::left_behind).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Nap>::builder().grace(Duration::from_secs(5)).start()?;
    /// let nap = pool.submit(Nap(HOUR))?;
    /// pool.shutdown(Shutdown::Cancel, Duration::ZERO)?; // takes 10 s at the most: this task obeys
    /// assert!(nap.wait().is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn grace(mut self, grace: Duration) -> Self {
        self.settings.grace = grace;
        self
    }

    /// Another program for the workers than this one. Its `main` has to call
    /// [`run_if_worker`](crate::pool::run_if_worker), too, with the very same type of task.
    ///
    /// It is run by its path each time a worker is started, and searched for in the workers' `PATH` if that has no slash. So
    /// a file that is replaced while the pool runs is the program of the workers that are started from then on. Without this
    /// option, workers run the program of this process, whatever becomes of its file.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// // This program, which is what workers are anyway.
    /// let pool = Pool::<Square>::builder().program(std::env::current_exe()?).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.settings.program = Some(program.into());
        self
    }

    /// Set an environment variable of the workers.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().env("RUST_BACKTRACE", "1").start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        let variable = (name.into(), Some(value.into()));
        self.settings.environment.push(variable);
        self
    }

    /// Keep an environment variable of this process from the workers.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().env_remove("SSH_AUTH_SOCK").start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.settings.environment.push((name.into(), None));
        self
    }

    /// The working directory of the workers. By default, this process's.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().current_dir("/").start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.current_dir = Some(directory.into());
        self
    }

    /// Whether a worker becomes the parent of those of its descendants whose own parent ends (*orphans*: daemons, or what
    /// a shell leaves in the background). By default it does not.
    ///
    /// A worker is ended with its process group and with all of its descendants, whatever groups and sessions these have made
    /// for themselves. Without this option, an orphan that has left the group is no descendant any more, and lives on. With
    /// it, it is found. The price: a worker does not wait for orphans, so those that end stay as zombies until the worker does.
    ///
    /// What lives on in either case: descendants outside the group of a worker that dies by itself, by a crash for instance,
    /// since nothing connects them with it from then on; and all descendants outside the group where `/proc` is not
    /// mounted, hides processes, or belongs to another namespace of process ids.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().workers(1).adopt_orphans(true).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn adopt_orphans(mut self, adopt: bool) -> Self {
        self.settings.adopts_orphans = adopt;
        self
    }
}
