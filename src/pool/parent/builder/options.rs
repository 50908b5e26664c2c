//! The builder, with the options for tasks and queues.

use crate::codec::{Bincode, Codec};
use crate::error::StartError;
use crate::os::process_limits::ProcessLimits;
use crate::pool::parent::events::Event;
use crate::pool::parent::settings::{
    Backoff, CAPACITY, PROGRESS, PoolSize, ProgressSettings, Settings, TaskLimits, WORKERS,
    WhenFull, WorkerOutput, WorkerPolicy, Workers, check,
};
use crate::pool::worker_state::WorkerState;
use crate::queue::DEFAULT_SPIN;
use core::any::type_name;
use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

/// The options of a pool of the kind `P`, such as [`TypedPool<T>`](crate::pool::TypedPool). Each has a default. Returned by
/// [`TypedPool::builder`](crate::pool::TypedPool::builder).
///
/// # Examples
///
/// Each method has an example. In all of them, `Square` is a type of task that squares a number, and `Nap`
/// is a task that sleeps for a time, or fails when it is cancelled. `HOUR` is such a time. The first line of `main`,
/// `run_if_worker_for::<(Square, Nap)>();`, is not shown.
#[must_use = "a builder does nothing until `start` makes a pool"]
pub struct Builder<P> {
    pub(crate) settings: Settings,
    workers: Option<Workers>,
    pub(super) max_workers: Option<usize>,
    pool: PhantomData<fn() -> P>,
}

impl<P> Builder<P> {
    /// Returns a builder for another kind of pool, with the same options.
    pub(crate) fn of_kind<Q>(self) -> Builder<Q> {
        Builder {
            settings: self.settings,
            workers: self.workers,
            max_workers: self.max_workers,
            pool: PhantomData,
        }
    }

    pub(crate) fn new() -> Self {
        let settings = Settings {
            workers: WorkerPolicy {
                size: PoolSize::default(),
                room: 0,
                max_tasks: None,
                max_memory: None,
                max_age: None,
                idle_timeout: Duration::from_secs(10),
            },
            limits: TaskLimits::default(),
            capacity: 1000,
            has_priorities: false,
            states: Ok(Vec::new()),
            progress: ProgressSettings {
                bound: 64,
                when_full: WhenFull::DropOldest,
            },
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
            spin: DEFAULT_SPIN,
            liveness_interval: Duration::from_millis(100),
            program: None,
            clears_environment: false,
            environment: Vec::new(),
            current_dir: None,
            pre_exec: Vec::new(),
            stdout: WorkerOutput::Inherit,
            stderr: WorkerOutput::Inherit,
            process_limits: ProcessLimits::default(),
            listener: None,
            returns_tasks: false,
            on_drop: None,
            #[cfg(feature = "metrics")]
            name: "default".to_owned(),
            is_timed: false,
        };
        Self {
            settings,
            workers: None,
            max_workers: None,
            pool: PhantomData,
        }
    }

    /// Sets the number of worker processes: a number, as in `workers(4)`, or a range, as in `workers(1..=8)`; from 1 to
    /// 512. By default one for each processor that this process may use.
    ///
    /// With a range, the pool starts with the least number. It starts another worker when tasks are queued and all
    /// workers are busy, and, if that is still so when the worker is ready, the next. A worker that has been idle for
    /// the [idle time](Builder::idle_timeout) is ended, down to the least number.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().workers(2).start()?;
    /// let elastic = TypedPool::<Square>::builder().workers(1..=2).start()?;
    /// assert_eq!(elastic.submit(Square(3))?.wait()?, 9);
    /// # drop(pool);
    /// # Ok(())
    /// # }
    /// ```
    pub fn workers(mut self, workers: impl Into<Workers>) -> Self {
        self.workers = Some(workers.into());
        self
    }

    /// Sets how many tasks may be in flight: queued, running, or done with a result that this process has not received.
    /// From 1 to 32,768, by default 1,000. While as many are in flight, [`submit`](crate::pool::TypedPool::submit) blocks.
    ///
    /// Memory for them is reserved at the start: about 600 bytes each, and up to 10 MiB for large ones.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Nap>::builder().workers(1).capacity(2).start()?;
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

    /// Gives the pool priorities: tasks can be submitted with a [`Priority`](crate::pool::Priority)
    /// ([`TypedPool::task`](crate::pool::TypedPool::task)), and free workers take those of a higher one first.
    ///
    /// Each priority has a queue of its own, with memory for as many tasks as the [capacity](Builder::capacity). The capacity is
    /// that of all of them together: a pool that is at capacity accepts no task, whatever its priority.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().priorities().start()?;
    /// let urgent = pool.task(Square(3)).priority(Priority::High).submit()?;
    /// assert_eq!(urgent.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn priorities(mut self) -> Self {
        self.settings.has_priorities = true;
        self
    }

    /// Gives workers the value from which each of them builds its [state](WorkerState) of type `S`. Only the states of types
    /// that have a value are built; a second value for the same type replaces the first. If it can't be encoded, the start fails.
    ///
    /// # Examples
    ///
    /// See [`WorkerState`].
    #[allow(
        clippy::needless_pass_by_value,
        reason = "what was given belongs to the workers"
    )]
    pub fn init<S: WorkerState>(mut self, init: S::Init) -> Self {
        let name = type_name::<S>();
        let encoded = Bincode::encoded_len(&init).and_then(|length| {
            let mut bytes = vec![0; length];
            Bincode::encode(&init, &mut bytes).map(|_| bytes)
        });
        match (&mut self.settings.states, encoded) {
            (Ok(given), Ok(bytes)) => {
                given.retain(|(other, _)| other != name);
                given.push((name.to_owned(), bytes));
            }
            (states, Err(error)) => {
                *states = Err(StartError::InvalidOption {
                    option: "init",
                    value: format!("a value for `{name}` that can't be encoded ({error})"),
                    allowed: "values that bincode supports".to_owned(),
                });
            }
            (Err(_), Ok(_)) => {}
        }
        self
    }

    /// Sets how many values that a task [emits](crate::pool::Context::emit) wait until they are read, from 1 to 65,536, and what
    /// happens when as many wait. By default 64, and the oldest is dropped.
    ///
    /// With [`WhenFull::Wait`], a task waits until the caller has read a value. It does not wait for a caller who cannot read
    /// any: whose handle was dropped, or who waits for the outcome and has no [`Progress`](crate::pool::Progress). And from the
    /// [shutdown](crate::pool::TypedPool::shutdown) of the pool on no task waits; up to 1,024 values of each are kept then, or
    /// as many as the bound, and the oldest are dropped. So neither shutdown nor `drain` ever wait for a reader.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().progress(1_000, WhenFull::Wait).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress(mut self, bound: usize, when_full: WhenFull) -> Self {
        self.settings.progress = ProgressSettings { bound, when_full };
        self
    }

    /// Sets the largest size of an encoded task or output, in bytes. By default 1 MiB. See
    /// [`Options::max_message_len`](crate::queue::Options::max_message_len).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().max_message_len(16 << 20).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_message_len(mut self, max_message_len: usize) -> Self {
        self.settings.max_message_len = max_message_len;
        self
    }

    /// Sets how many unclaimed outcomes this process keeps before [`submit`](crate::pool::TypedPool::submit) refuses tasks
    /// beyond the capacity. By default 1,048,576.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().max_unclaimed_results(10_000).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_unclaimed_results(mut self, max_unclaimed_results: usize) -> Self {
        self.settings.max_unclaimed_results = max_unclaimed_results;
        self
    }

    /// Sets how many times a task is retried if its worker dies while it runs the task. By default 0. A task that fails
    /// or panics is not retried.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().retries(2).start()?;
    /// let outcome = pool.submit(Square(3))?.outcome();
    /// assert_eq!((outcome.attempts, outcome.result?), (1, 9));
    /// # Ok(())
    /// # }
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// Sets the delay before a task is [retried](Builder::retries): `first`, and twice as long each time, up to
    /// `longest`. By default 10 ms and 1 s.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let (first, longest) = (Duration::from_millis(100), Duration::from_secs(10));
    /// let pool = TypedPool::<Square>::builder().retries(5).retry_backoff(first, longest).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.settings.retry_backoff = Backoff { first, longest };
        self
    }

    /// Sets how long a wait spins before it sleeps: see [`Options::spin`](crate::queue::Options::spin). By default 50 us.
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().spin(Duration::ZERO).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn spin(mut self, spin: Duration) -> Self {
        self.settings.spin = spin;
        self
    }

    /// Sets the longest sleep of a worker before it checks its peers: see
    /// [`Options::liveness_interval`](crate::queue::Options::liveness_interval).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let pool = TypedPool::<Square>::builder().liveness_interval(Duration::from_secs(1)).start()?;
    /// assert_eq!(pool.submit(Square(3))?.wait()?, 9);
    /// # Ok(())
    /// # }
    /// ```
    pub fn liveness_interval(mut self, interval: Duration) -> Self {
        self.settings.liveness_interval = interval;
        self
    }

    /// Sets a listener that is called with events about workers, one after the other, on a thread of the pool that only
    /// calls this and the `tracing` subscriber. With a listener, each task costs two more messages.
    ///
    /// The listener may block, panic, and use the pool: limits, deaths and the end of the pool do not wait for it.
    /// Events wait for it in memory. While 65,536 wait, `TaskStarted` and `TaskEnded` are dropped, and the number of
    /// dropped events is logged. The end of the pool waits until the listener has had all events, for at most the
    /// [grace time](Builder::grace).
    ///
    /// # Examples
    ///
    /// ```
    #[doc = include_str!("../../example.in")]
    /// let (sender, events) = std::sync::mpsc::channel();
    /// let listener = move |event: &Event| drop(sender.send(*event));
    /// let pool = TypedPool::<Square>::builder().workers(1).on_event(listener).start()?;
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

    /// Returns the settings if all options have valid values.
    pub(crate) fn checked(mut self) -> Result<Settings, StartError> {
        let Workers(workers) = self.workers.take().unwrap_or_else(|| {
            let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
            processors.clamp(*WORKERS.start(), *WORKERS.end()).into()
        });
        check("workers", workers.start(), &WORKERS)?;
        check(
            "workers",
            workers.end(),
            &(*workers.start()..=*WORKERS.end()),
        )?;
        check("capacity", &self.settings.capacity, &CAPACITY)?;
        self.settings.states = Ok(self.settings.states?);
        check("progress", &self.settings.progress.bound, &PROGRESS)?;
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
        let room = self.max_workers.unwrap_or(*workers.end());
        check("max_workers", &room, &(*workers.end()..=*WORKERS.end()))?;
        self.settings.workers.size = PoolSize::from(&workers);
        self.settings.workers.room = u32::try_from(room).unwrap_or(u32::MAX);
        self.settings.check_limits()?;
        Ok(self.settings)
    }
}

impl<P> fmt::Debug for Builder<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("workers", &self.workers)
            .field("capacity", &self.settings.capacity)
            .field("program", &self.settings.program)
            .finish_non_exhaustive()
    }
}
