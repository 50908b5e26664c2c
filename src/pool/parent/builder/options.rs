//! What a pool is made with, and its start.

use crate::error::StartError;
use crate::pool::parent::events::Event;
use crate::pool::parent::settings::{
    Backoff, CAPACITY, Settings, TaskLimits, WORKERS, WorkerPolicy, Workers, check,
};
use crate::pool::task::Task;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

/// What a pool is made with. The defaults serve.
///
/// # Examples
///
/// Each method has one. In all of these `Square` is the task of [the module's example](crate::pool), and `Nap` sleeps for so long, or
/// until it is cancelled, which is a failure. `HOUR` is one. As everywhere, the first line of `main`, which is not repeated, is
/// `run_if_worker::<(Square, Nap)>();`.
#[must_use = "a builder does nothing until `start` makes a pool"]
pub struct Builder<T: Task> {
    pub(crate) settings: Settings,
    workers: Option<Workers>,
    spin: Option<Duration>,
    task: PhantomData<fn() -> T>,
}

/// How long a wait spins where that takes nothing from anybody.
const SPIN: Duration = Duration::from_micros(50);

impl<T: Task> Builder<T> {
    pub(crate) fn new() -> Self {
        let settings = Settings {
            workers: WorkerPolicy {
                min: 0,
                max: 0,
                max_tasks: None,
                max_memory: None,
                max_age: None,
                idle_timeout: Duration::from_secs(10),
            },
            limits: TaskLimits::default(),
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
    #[doc = include_str!("../../example.in")]
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

    /// How many tasks may be in flight: queued, running, or done without anybody having looked: 1 to 32,768, by default
    /// 1,000. A [`submit`](Pool::submit) beyond that waits. Memory for them is taken at the start: about 600 bytes each, and
    /// up to 10 MiB for large ones.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
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
    #[doc = include_str!("../../example.in")]
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
    #[doc = include_str!("../../example.in")]
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
    #[doc = include_str!("../../example.in")]
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
    #[doc = include_str!("../../example.in")]
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

    /// How long a wait spins before it sleeps: see [`Options::spin`](crate::Options::spin). By default 50 us if there is a
    /// processor for each worker and one for this process; else not at all: whoever spins would keep those from theirs
    /// that it waits for.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
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
    #[doc = include_str!("../../example.in")]
    /// let pool = Pool::<Square>::builder().liveness_interval(Duration::from_secs(1)).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn liveness_interval(mut self, interval: Duration) -> Self {
        self.settings.liveness_interval = interval;
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
    #[doc = include_str!("../../example.in")]
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

    pub(crate) fn checked(mut self) -> Result<Settings, StartError> {
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
        self.settings.workers.min = number(workers.start());
        self.settings.workers.max = number(workers.end());
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

impl<T: Task> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("capacity", &self.settings.capacity)
            .field("program", &self.settings.program)
            .finish_non_exhaustive()
    }
}
