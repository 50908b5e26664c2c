//! What a pool is made with, and its start.

use super::envelope::{Answer, Arrived, ArrivedCodec, Envelope, ResultCodec, TaskCodec};
use super::events::{Event, Listener};
use super::launch::Launcher;
use super::limits::Limits;
use super::pool::{Pool, Shared};
use super::results::Results;
use super::shutdown::Ending;
use super::staffing::{Staff, Workers};
use super::standing::is_unclaimed_worker;
use super::supervisor::{Commands, Supervisor};
use super::task::Task;
use crate::error::StartError;
use crate::os::child;
use crate::os::fork::Origin;
use crate::queue::Options;
use crate::segment::board::Board;
use core::fmt::{self, Debug};
use core::marker::PhantomData;
use core::ops::RangeInclusive;
use core::time::Duration;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

/// How a delay grows: from the first time to the longest, twice as long each time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// After so many failures: none, none.
    pub(super) fn after(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// What a pool is made with, checked.
pub(super) struct Settings {
    pub(super) staff: Staff,
    pub(super) limits: Limits,
    pub(super) capacity: usize,
    pub(super) max_message_len: usize,
    pub(super) max_unclaimed_results: usize,
    pub(super) max_worker_failures: u32,
    pub(super) adopts_orphans: bool,
    pub(super) retries: u32,
    pub(super) retry_backoff: Backoff,
    pub(super) respawn_backoff: Backoff,
    pub(super) start_timeout: Duration,
    pub(super) grace: Duration,
    pub(super) spin: Duration,
    pub(super) liveness_interval: Duration,
    pub(super) program: Option<PathBuf>,
    pub(super) environment: Vec<(OsString, Option<OsString>)>,
    pub(super) current_dir: Option<PathBuf>,
    pub(super) listener: Option<Listener>,
}

/// What a pool is made with. The defaults serve.
///
/// # Examples
///
/// Each method has one. In all of these `Square` is the task of [the module's example](super), and `Nap` sleeps for so long, or
/// until it is cancelled, which is a failure. `HOUR` is one. As everywhere, the first line of `main`, which is not repeated, is
/// `run_if_worker::<(Square, Nap)>();`.
#[must_use = "a builder does nothing until `start` makes a pool"]
pub struct Builder<T: Task> {
    settings: Settings,
    workers: Option<Workers>,
    spin: Option<Duration>,
    task: PhantomData<fn() -> T>,
}

/// How many workers, and how many tasks in flight, there can be.
const WORKERS: RangeInclusive<usize> = 1..=512;
const CAPACITY: RangeInclusive<usize> = 1..=32_768;
/// How long a wait spins where that takes nothing from anybody.
const SPIN: Duration = Duration::from_micros(50);

impl<T: Task> Builder<T> {
    pub(super) fn new() -> Self {
        let settings = Settings {
            staff: Staff {
                min: 0,
                max: 0,
                tasks: None,
                resident: None,
                age: None,
                idle: Duration::from_secs(10),
            },
            limits: Limits::default(),
            capacity: 1000,
            max_message_len: 1 << 20,
            max_unclaimed_results: 1 << 20,
            max_worker_failures: 8,
            adopts_orphans: false,
            retries: 0,
            retry_backoff: Backoff {
                first: Duration::from_millis(10),
                longest: Duration::from_secs(1),
            },
            respawn_backoff: Backoff {
                first: Duration::from_millis(10),
                longest: Duration::from_secs(5),
            },
            start_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(2),
            spin: Duration::ZERO,
            liveness_interval: Duration::from_millis(100),
            program: None,
            environment: Vec::new(),
            current_dir: None,
            listener: None,
        };
        Self {
            settings,
            workers: None,
            spin: None,
            task: PhantomData,
        }
    }

    /// How many worker processes: a number, `workers(4)`, or from one to another, `workers(1..=8)`; 1 to 512, by default one
    /// for each processor that this process may use.
    ///
    /// Of a range, as many as it begins with are there from the start. Another one is started when tasks wait and all
    /// workers are busy; when it is ready, perhaps the next. One that had nothing to do for the
    /// [idle time](Builder::idle_timeout) is ended again.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().workers(2).start()?;
    /// let elastic = Pool::<Square>::builder().workers(1..=2).start()?;
    /// assert_eq!(elastic.submit(Square(3))?.wait()?, 9);
    /// # drop(pool);
    /// # Ok(())
    /// # }
    /// ```
    pub fn workers(mut self, workers: impl Into<Workers>) -> Self {
        self.workers = Some(workers.into());
        self
    }

    /// How long a worker beyond the [least number](Builder::workers) may have nothing to do before it is ended. It may
    /// take up to twice as long: what workers do is looked at once in this time, while there are more than the least
    /// number. By default 10 s.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().workers(1..=2).idle_timeout(Duration::from_secs(1)).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.settings.staff.idle = idle_timeout;
        self
    }

    /// How long a task may run before it is told to end. Then
    /// [`Context::is_cancelled`](super::Context::is_cancelled) is true, and
    /// [`cancel_reason`](super::Context::cancel_reason) says why. An output that it gives nevertheless is its outcome; if it
    /// fails or dies from then on, that is [`TaskError::TimedOut`](super::TaskError::TimedOut). By default for ever.
    ///
    /// Counted from the start of each attempt, not from the submission. Never before its time, and up to a few
    /// milliseconds after it.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Nap>::builder().soft_time_limit(Duration::from_millis(10)).start()?;
    /// let late = pool.submit(Nap(HOUR))?.wait();
    /// assert!(matches!(late, Err(TaskError::TimedOut)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn soft_time_limit(mut self, limit: Duration) -> Self {
        self.settings.limits.soft = Some(limit);
        self
    }

    /// How long a task may run at all. Then the process group of its worker is killed, whatever it does, also if it loops
    /// or is stopped, and the worker is replaced; nobody else is disturbed. The task's outcome is
    /// [`TaskError::TimedOut`](super::TaskError::TimedOut), and it is not tried again; an output that arrives just before wins.
    /// By default for ever. Counted as the [soft limit](Builder::soft_time_limit), which must be shorter. A task may have a
    /// [limit of its own](Task::time_limit) instead.
    ///
    /// Should the worker be done with the task and begin another one at the very moment in which it is killed, that one is
    /// run again by another worker, and the attempt not counted.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Nap>::builder().time_limit(Duration::from_millis(10)).start()?;
    /// let late = pool.submit(Nap(HOUR))?.wait();
    /// assert!(matches!(late, Err(TaskError::TimedOut)));
    /// assert_eq!(pool.shutdown(Shutdown::Drain, HOUR)?.killed, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.settings.limits.hard = Some(limit);
        self
    }

    /// How much memory a worker may have in use while it runs a task, in bytes: its resident set, shared memory included,
    /// that of its children not. It is looked at every 100 ms while tasks are in flight. Beyond the limit the worker's
    /// process group is killed, and the worker replaced; the task's outcome is
    /// [`TaskError::TooMuchMemory`](super::TaskError::TooMuchMemory), and it is not tried again. By default any.
    ///
    /// What is taken faster than that is not caught: [`address_limit`](Builder::address_limit) catches it.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().memory_limit(1 << 30).start()?;
    /// match pool.submit(Square(3))?.wait() {
    ///     Ok(square) => assert_eq!(square, 9),
    ///     Err(TaskError::TooMuchMemory { resident, .. }) => eprintln!("it took {resident} bytes"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.settings.limits.resident = Some(bytes);
        self
    }

    /// How many bytes of addresses a worker may have (`RLIMIT_AS`), set before it is [prepared](Task::prepare_worker); the
    /// pool's own shared memory counts, too. Beyond that the kernel gives it no more memory, and as a rule it aborts: the
    /// task's outcome is [`TaskError::Crashed`](super::TaskError::Crashed). By default as many as this process.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().address_limit(4 << 30).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn address_limit(mut self, bytes: u64) -> Self {
        self.settings.limits.addresses = Some(bytes);
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
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().workers(1).adopt_orphans(true).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn adopt_orphans(mut self, adopt: bool) -> Self {
        self.settings.adopts_orphans = adopt;
        self
    }

    /// Replace each worker after it has run `tasks` tasks, and up to `jitter` more, at random for each, so that not all
    /// are replaced at once. At least 1. By default never. A chunk of a [map](super::Pool::map) is finished first.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().workers(1).recycle_after_tasks(4, 1).start()?;
    /// assert!(pool.map((0..10).map(Square)).all(|outcome| outcome.result.is_ok()));
    /// assert!(pool.shutdown(Shutdown::Drain, HOUR)?.recycled >= 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recycle_after_tasks(mut self, tasks: u64, jitter: u64) -> Self {
        self.settings.staff.tasks = Some((tasks, jitter));
        self
    }

    /// Replace a worker that has more than so many bytes of memory in use after a task: its resident set, shared memory
    /// included. The look takes some microseconds for each task. By default never.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().workers(1).recycle_above_memory(1).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// assert_eq!(pool.submit(Square(4))?.wait()?, 16); // by another process
    /// # Ok(())
    /// # }
    /// ```
    pub fn recycle_above_memory(mut self, bytes: u64) -> Self {
        self.settings.staff.resident = Some(bytes);
        self
    }

    /// Replace a worker that has been ready for so long, or up to a tenth longer, at random for each, so that not all are
    /// replaced at once. The task that it runs is done first. By default never.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().recycle_after_age(Duration::from_secs(600)).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn recycle_after_age(mut self, age: Duration) -> Self {
        self.settings.staff.age = Some(age);
        self
    }

    /// How many tasks may be in flight: queued, running, or done without anybody having looked: 1 to 32,768, by default
    /// 1,000. A [`submit`](Pool::submit) beyond that waits. Memory for them is taken at the start: about 600 bytes each, and
    /// up to 10 MiB for large ones.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Nap>::builder().workers(1).capacity(2).start()?;
    /// let both = [pool.submit(Nap(HOUR))?, pool.submit(Nap(HOUR))?];
    /// let refused = pool.try_submit(Nap(HOUR)).expect_err("a third one");
    /// assert!(refused.is_full());
    /// # pool.shutdown(Shutdown::Cancel, Duration::ZERO)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn capacity(mut self, capacity: usize) -> Self {
        self.settings.capacity = capacity;
        self
    }

    /// How many bytes a task, or what it gives, may have, encoded: by default 1 MiB. See
    /// [`Options::max_message_len`](crate::Options::max_message_len).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().max_message_len(16 << 20).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_message_len(mut self, max_message_len: usize) -> Self {
        self.settings.max_message_len = max_message_len;
        self
    }

    /// How many outcomes this process keeps that nobody has claimed, before [`submit`](Pool::submit) takes no task beyond the
    /// capacity any more: by default 1,048,576.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().max_unclaimed_results(10_000).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_unclaimed_results(mut self, max_unclaimed_results: usize) -> Self {
        self.settings.max_unclaimed_results = max_unclaimed_results;
        self
    }

    /// How often a task is tried again whose worker has died while it ran: by default never. A task that fails or panics
    /// is not tried again.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().retries(2).start()?;
    /// let outcome = pool.submit(Square(3))?.outcome();
    /// assert_eq!((outcome.attempts, outcome.result?), (1, 9));
    /// # Ok(())
    /// # }
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// How long to wait before a task is [tried again](Builder::retries): `first`, then twice as long each time, `longest` at
    /// the most. By default 10 ms and 1 s.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let (first, longest) = (Duration::from_millis(100), Duration::from_secs(10));
    /// let pool = Pool::<Square>::builder().retries(5).retry_backoff(first, longest).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.settings.retry_backoff = Backoff { first, longest };
        self
    }

    /// How long to wait before a worker is started again that has died several times in a row without having run a task:
    /// `first`, then twice as long each time, `longest` at the most. By default 10 ms and 5 s. One that has died of a task is
    /// replaced at once.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
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
    /// the outcome [`TaskError::NoWorkers`](super::TaskError::NoWorkers), and [`submit`](Pool::submit) fails with
    /// [`SubmitError::NoWorkers`](crate::pool::SubmitError), both with the cause: so a caller is not kept waiting for
    /// what may never come. The pool goes on trying, with its back-off; as soon as a worker is ready, it accepts tasks
    /// as before. While at least one worker serves, however busy it is, tasks wait for it.
    ///
    /// [`start`](Builder::start) does not wait for this: it fails by itself.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
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
    #[doc = include_str!("example.in")]
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
    /// see [`Report::left_behind`](super::Report::left_behind).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
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

    /// How long a wait spins before it sleeps: see [`Options::spin`](crate::Options::spin). By default 50 us if there is a
    /// processor for each worker and one for this process; else not at all: whoever spins would keep those from theirs
    /// that it waits for.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().spin(Duration::ZERO).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn spin(mut self, spin: Duration) -> Self {
        self.spin = Some(spin);
        self
    }

    /// How long a worker sleeps at the most before it looks around: see [`Options::liveness_interval`](crate::Options::liveness_interval).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().liveness_interval(Duration::from_secs(1)).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn liveness_interval(mut self, interval: Duration) -> Self {
        self.settings.liveness_interval = interval;
        self
    }

    /// Another program for the workers than this one. Its `main` has to call
    /// [`run_if_worker`](super::run_if_worker), too, with the very same type of task.
    ///
    /// It is run by its path each time a worker is started, and searched for in the workers' `PATH` if that has no slash. So
    /// a file that is replaced while the pool runs is the program of the workers that are started from then on. Without this
    /// option, workers run the program of this process, whatever becomes of its file.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
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
    #[doc = include_str!("example.in")]
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
    #[doc = include_str!("example.in")]
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
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().current_dir("/").start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn current_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.settings.current_dir = Some(directory.into());
        self
    }

    /// Be told of what happens to workers: one event after the other, on a thread of the pool that does nothing else but
    /// call this, and the `tracing` subscriber. With it, each task takes two messages more; without, none.
    ///
    /// It may take its time, panic, and use the pool: limits, deaths and the end of the pool do not wait for it. Events
    /// wait for it in memory; when 65,536 do, `TaskStarted` and `TaskEnded` are left out until it has caught up, and logged
    /// as such. The end of the pool waits until it has had all events, for the [grace time](Builder::grace) at most.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let (sender, events) = std::sync::mpsc::channel();
    /// let tell = move |event: &Event| drop(sender.send(*event));
    /// let pool = Pool::<Square>::builder().workers(1).on_event(tell).start()?;
    /// assert!(matches!(events.recv()?, Event::Started { .. }));
    /// assert!(matches!(events.recv()?, Event::Ready { .. }));
    /// # drop(pool);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_event(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.settings.listener = Some(Arc::new(listener));
        self
    }

    /// Start the workers, and wait until all of them are ready.
    ///
    /// # Errors
    ///
    /// [`StartError`]: an option makes no sense; a queue could not be made; the workers' program could not be started, has no
    /// [`run_if_worker`](super::run_if_worker), or other tasks; a worker could not be
    /// [prepared](Task::prepare_worker). Nothing is left then.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("example.in")]
    /// let pool = Pool::<Square>::builder().start()?;
    /// println!("{}", pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?);
    ///
    /// let refused = Pool::<Square>::builder().workers(0).start();
    /// assert!(matches!(refused, Err(StartError::InvalidOption { option: "workers", .. })));
    /// # Ok(())
    /// # }
    /// ```
    #[track_caller]
    pub fn start(self) -> Result<Pool<T>, StartError> {
        let made_at = Location::caller();
        if is_unclaimed_worker() {
            super::worker::renounce();
            return Err(StartError::StartedAsWorker);
        }
        let settings = self.checked()?;
        let os = |what| move |source| StartError::Os { what, source };

        let places = (2 * settings.capacity).next_power_of_two();
        let options = options(&settings, T::SCHEMA);
        let tasks = options
            .clone()
            .close_waits_for_leases(true)
            .max_deliveries(1);
        // Until the supervisor has read it, a letter is all that is left of a task.
        let tasks = tasks
            .max_dead_letters(settings.capacity)
            .evict_dead_letters(false);
        let (tasks, to_do) = tasks
            .channel_with::<Envelope<T>, TaskCodec>()
            .map_err(StartError::Queue)?;
        let (done, results) = options
            .channel_with::<Answer<T>, ResultCodec<T>>()
            .map_err(StartError::Queue)?;
        let cells = u32::try_from(places).unwrap_or(u32::MAX);
        let board = Board::create(settings.staff.max, cells).map_err(|refused| StartError::Os {
            what: "the workers' board could not be made",
            source: std::io::Error::other(format!("{refused:?}")),
        })?;
        let orders = Arc::new(Commands::new().map_err(os("no event descriptor"))?);
        let (capacity, max_unclaimed_results) = (settings.capacity, settings.max_unclaimed_results);
        let supervisor = Arc::clone(&orders);
        let origin = Origin::here().map_err(os("no page to tell a fork by"))?;
        let results = results.decoding::<Arrived, ArrivedCodec>();
        let inbox = Results::new(
            results,
            capacity,
            places,
            max_unclaimed_results,
            supervisor,
            origin,
        );
        let shared = Arc::new(Shared {
            inbox,
            tasks,
            board,
            settings,
            origin,
            orders: Arc::clone(&orders),
        });

        let launcher = Launcher::new(Arc::clone(&shared), to_do, done)
            .map_err(os("this program could not be found"))?;
        let (started, has_started) = mpsc::channel();
        let supervisor = Supervisor::new(launcher, Arc::clone(&orders), started)
            .map_err(os("no descriptor to wait for workers with"))?;
        let supervise = thread::Builder::new().name("workring-pool".to_owned());
        let thread = supervise
            .spawn(|| supervisor.run())
            .map_err(os("no thread for the pool"))?;
        let ending = Ending::new(orders, thread);
        match has_started.recv() {
            Ok(Ok(())) => Ok(Pool::new(shared, ending, made_at)),
            Ok(Err(error)) => {
                ending.join();
                Err(error)
            }
            Err(mpsc::RecvError) => {
                ending.join();
                Err(StartError::Os {
                    what: "the pool's thread has panicked",
                    source: std::io::Error::other("see its message"),
                })
            }
        }
    }

    fn checked(mut self) -> Result<Settings, StartError> {
        let processors = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let Workers(workers) = self
            .workers
            .take()
            .unwrap_or_else(|| processors().clamp(*WORKERS.start(), *WORKERS.end()).into());
        check("workers", workers.start(), &WORKERS)?;
        check(
            "workers",
            workers.end(),
            &(*workers.start()..=*WORKERS.end()),
        )?;
        check("capacity", &self.settings.capacity, &CAPACITY)?;
        check(
            "max_unclaimed_results",
            &self.settings.max_unclaimed_results,
            &(1..=usize::MAX),
        )?;
        check(
            "max_worker_failures",
            &self.settings.max_worker_failures,
            &(1..=u32::MAX),
        )?;
        let number = |workers: &usize| u32::try_from(*workers).unwrap_or(u32::MAX);
        self.settings.staff.min = number(workers.start());
        self.settings.staff.max = number(workers.end());
        self.settings.check_limits()?;
        let by_default = if *workers.end() < processors() {
            SPIN
        } else {
            Duration::ZERO
        };
        self.settings.spin = self.spin.unwrap_or(by_default);
        Ok(self.settings)
    }
}

impl Settings {
    fn check_limits(&self) -> Result<(), StartError> {
        const MOMENT: Duration = Duration::from_nanos(1);
        let (limits, staff) = (&self.limits, &self.staff);
        let longest = limits
            .hard
            .map_or(Duration::MAX, |hard| hard.saturating_sub(MOMENT));
        for (option, time, longest) in [
            ("time_limit", limits.hard, Duration::MAX),
            ("soft_time_limit", limits.soft, longest),
            ("recycle_after_age", staff.age, Duration::MAX),
            ("idle_timeout", Some(staff.idle), Duration::MAX),
        ] {
            check(
                option,
                &time.unwrap_or(MOMENT),
                &(MOMENT..=longest.max(MOMENT)),
            )?;
        }
        if limits.resident.is_some() {
            child::check_memory_can_be_seen().map_err(|source| StartError::Os {
                what: "`memory_limit` can't see the memory of workers: it needs /proc",
                source,
            })?;
        }
        let tasks = staff.tasks.map_or(1, |(tasks, _)| tasks);
        check("recycle_after_tasks", &tasks, &(1..=u64::MAX))
    }
}

/// What both queues have in common.
fn options(settings: &Settings, schema: u64) -> Options {
    Options::new(settings.capacity)
        .max_message_len(settings.max_message_len)
        .spin(settings.spin)
        .liveness_interval(settings.liveness_interval)
        .schema(schema)
}

fn check<V: PartialOrd + Debug>(
    option: &'static str,
    value: &V,
    allowed: &RangeInclusive<V>,
) -> Result<(), StartError> {
    if allowed.contains(value) {
        return Ok(());
    }
    Err(StartError::InvalidOption {
        option,
        value: format!("{value:?}"),
        allowed: format!("{:?} to {:?}", allowed.start(), allowed.end()),
    })
}

impl<T: Task> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("capacity", &self.settings.capacity)
            .field("program", &self.settings.program)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_doubles_up_to_the_longest() {
        let [first, longest] = [10, 65].map(Duration::from_millis);
        let backoff = Backoff { first, longest };
        let delays = (0..6).map(|failures| backoff.after(failures).as_millis());
        assert_eq!(delays.collect::<Vec<_>>(), [0, 10, 20, 40, 65, 65]);
        assert_eq!(backoff.after(u32::MAX), longest);
    }
}
