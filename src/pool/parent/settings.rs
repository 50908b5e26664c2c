//! The settings of a pool, checked.

use super::events::Listener;
use crate::error::StartError;
use crate::os::process_limits::ProcessLimits;
use crate::os::spawn::PreExec;
use crate::os::{clock, memory_use};
use crate::pool::worker_state::GivenInit;
use crate::segment::board::EmissionLimits;
use core::fmt::Debug;
use core::hash::{BuildHasher, Hasher};
use core::ops::RangeInclusive;
use core::time::Duration;
use std::ffi::OsString;
use std::hash::RandomState;
use std::path::PathBuf;
use std::time::Instant;

/// The numbers of workers that a pool can have.
pub(crate) const WORKERS: RangeInclusive<usize> = 1..=512;
/// The numbers of tasks that a pool can have in flight.
pub(crate) const CAPACITY: RangeInclusive<usize> = 1..=32_768;

/// What a task does that emits a value while as many of its values as [allowed](crate::pool::Builder::progress) are unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// The oldest value is dropped: the reader is to see the newest.
    DropOldest,
    /// [`Context::emit`](crate::pool::Context::emit) waits until a value is read: the reader is to see all of them.
    Wait,
}

/// What dropping a pool does that was not shut down. See [`Builder::on_drop`](crate::pool::Builder::on_drop).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDrop {
    /// The tasks in flight are cancelled, as by [`Shutdown::Cancel`](crate::pool::Shutdown::Cancel).
    Cancel,
    /// The tasks in flight are run, as by [`Shutdown::Drain`](crate::pool::Shutdown::Drain), for at most this long; those that
    /// are left are cancelled.
    Drain(Duration),
}

/// What becomes of what workers write to a standard stream: see [`Builder::stdout`](crate::pool::Builder::stdout).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerOutput {
    /// It goes where that of this process goes.
    #[default]
    Inherit,
    /// Each line becomes an event of `tracing` in this process. Needs the feature `tracing`.
    #[cfg(feature = "tracing")]
    Tracing,
    /// It is dropped.
    Discard,
}

impl WorkerOutput {
    /// Returns whether this process reads it.
    pub(super) fn is_captured(self) -> bool {
        match self {
            Self::Inherit | Self::Discard => false,
            #[cfg(feature = "tracing")]
            Self::Tracing => true,
        }
    }
}

/// How many unread values each task may have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgressSettings {
    pub(crate) bound: usize,
    pub(crate) when_full: WhenFull,
}

/// The numbers of values that one worker may have in the queue of results.
const EMISSIONS_IN_QUEUE: RangeInclusive<usize> = 4..=16;

/// The numbers of unread values that a task can have.
pub(crate) const PROGRESS: RangeInclusive<usize> = 1..=65_536;

/// The settings of a pool. [`Builder`](crate::pool::Builder) documents each of them.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub(crate) struct Settings {
    pub(crate) workers: WorkerPolicy,
    pub(crate) limits: TaskLimits,
    pub(crate) capacity: usize,
    pub(crate) has_priorities: bool,
    pub(crate) progress: ProgressSettings,
    /// The values from which workers build their states, or why one can't be encoded.
    pub(crate) states: Result<Vec<GivenInit>, StartError>,
    pub(crate) max_message_len: usize,
    pub(crate) max_unclaimed_results: usize,
    pub(crate) max_worker_failures: u32,
    pub(crate) adopts_orphans: bool,
    pub(crate) retries: u32,
    pub(crate) retry_backoff: Backoff,
    pub(crate) respawn_backoff: Backoff,
    pub(crate) start_timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) spin: Duration,
    pub(crate) liveness_interval: Duration,
    pub(crate) program: Option<PathBuf>,
    /// Whether workers get no variable of this process's environment.
    pub(crate) clears_environment: bool,
    /// Changes to the environment of workers: variables to set, and, without a value, to remove.
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) pre_exec: Vec<PreExec>,
    pub(crate) stdout: WorkerOutput,
    pub(crate) stderr: WorkerOutput,
    pub(crate) process_limits: ProcessLimits,
    pub(crate) listener: Option<Listener>,
    /// Whether outcomes carry the tasks back that have no output.
    pub(crate) returns_tasks: bool,
    /// `None`: the tasks are cancelled, with a warning.
    pub(crate) on_drop: Option<OnDrop>,
    /// The name of the pool in metrics.
    #[cfg(feature = "metrics")]
    pub(crate) name: String,
    /// Whether it is measured how long tasks wait and run.
    pub(crate) is_timed: bool,
}

/// A delay that doubles with each failure, from `first` up to `longest`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl Backoff {
    /// Returns the delay after this many failures: zero after none.
    pub(crate) fn after(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// What one task may use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TaskLimits {
    /// The running time after which the task is asked to end.
    pub(crate) soft_time: Option<Duration>,
    /// The running time after which its worker is killed.
    pub(crate) hard_time: Option<Duration>,
    /// The resident set of its worker, in bytes, above which that is killed.
    pub(crate) memory: Option<u64>,
    /// The address space of each worker, in bytes.
    pub(crate) address_space: Option<u64>,
}

/// The number of workers of a pool: a number, or a range. See [`Builder::workers`](crate::pool::Builder::workers).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers(pub(super) RangeInclusive<usize>);

impl From<usize> for Workers {
    fn from(workers: usize) -> Self {
        Self(workers..=workers)
    }
}

impl From<RangeInclusive<usize>> for Workers {
    fn from(workers: RangeInclusive<usize>) -> Self {
        Self(workers)
    }
}

/// How many workers there are: at least `min`, and with load up to `max`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolSize {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

impl PoolSize {
    /// Returns whether the number of workers follows the load.
    pub(crate) fn is_elastic(self) -> bool {
        self.min < self.max
    }
}

impl From<&RangeInclusive<usize>> for PoolSize {
    fn from(workers: &RangeInclusive<usize>) -> Self {
        let number = |workers: &usize| u32::try_from(*workers).unwrap_or(u32::MAX);
        Self {
            min: number(workers.start()),
            max: number(workers.end()),
        }
    }
}

/// How many workers there are, and when one is replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WorkerPolicy {
    /// How many there are at first.
    pub(crate) size: PoolSize,
    /// How many there can be.
    pub(crate) room: u32,
    /// Tasks after which a worker is replaced, and the largest number of further tasks, drawn at random.
    pub(crate) max_tasks: Option<(u64, u64)>,
    /// Resident set, in bytes, above which a worker is replaced after a task.
    pub(crate) max_memory: Option<u64>,
    /// Age at which a worker is replaced.
    pub(crate) max_age: Option<Duration>,
    /// Idle time after which a worker beyond `min` is ended.
    pub(crate) idle_timeout: Duration,
}

impl WorkerPolicy {
    /// Draws the number of tasks after which one worker is replaced.
    pub(crate) fn draw_max_tasks(&self) -> Option<u64> {
        let (tasks, jitter) = self.max_tasks?;
        Some(tasks.saturating_add(random(jitter)))
    }

    /// Draws the time at which a worker that is ready now is replaced: up to a tenth later than `max_age`, so that
    /// workers are not all replaced at once.
    pub(super) fn draw_expiry(&self, now: Instant) -> Option<Instant> {
        let age = self.max_age?;
        let tenth = u64::try_from(age.as_nanos() / 10).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(random(tenth));
        Some(clock::after(now, age.saturating_add(jitter)))
    }
}

/// Returns a random number from 0 to `max`.
fn random(max: u64) -> u64 {
    // The standard library seeds each `RandomState` differently.
    let drawn = RandomState::new().build_hasher().finish();
    drawn % max.saturating_add(1)
}

impl Settings {
    /// Returns how much a worker may emit before it waits. Where the ring of the queue of results has places that results do
    /// not need, values get these, so that the ring is no larger than without them.
    pub(crate) fn emission_limits(&self) -> EmissionLimits {
        const MIN_SLOTS: usize = 1024;
        let slots = (self.capacity + 1).next_power_of_two().max(MIN_SLOTS);
        let spare = (slots - 1 - self.capacity) / (self.workers.room as usize).max(1);
        let in_queue = spare.clamp(*EMISSIONS_IN_QUEUE.start(), *EMISSIONS_IN_QUEUE.end());
        let waits = self.progress.when_full == WhenFull::Wait;
        EmissionLimits {
            in_queue: u32::try_from(in_queue).unwrap_or(u32::MAX),
            unread: waits.then_some(u32::try_from(self.progress.bound).unwrap_or(u32::MAX)),
        }
    }

    /// Returns the capacity of the queue of results: a place for each task in flight (RESULTS-3), and for what workers emit.
    pub(crate) fn results_capacity(&self) -> usize {
        let for_emissions = self.emission_limits().in_queue * self.workers.room;
        self.capacity + for_emissions as usize
    }

    pub(super) fn check_limits(&self) -> Result<(), StartError> {
        const SHORTEST: Duration = Duration::from_nanos(1);
        let (limits, workers) = (&self.limits, &self.workers);
        let longest_soft = limits
            .hard_time
            .map_or(Duration::MAX, |hard| hard.saturating_sub(SHORTEST));
        for (option, time, longest) in [
            ("time_limit", limits.hard_time, Duration::MAX),
            ("soft_time_limit", limits.soft_time, longest_soft),
            ("recycle_after_age", workers.max_age, Duration::MAX),
            ("idle_timeout", Some(workers.idle_timeout), Duration::MAX),
        ] {
            check(
                option,
                &time.unwrap_or(SHORTEST),
                &(SHORTEST..=longest.max(SHORTEST)),
            )?;
        }
        if limits.memory.is_some() {
            memory_use::check_readable().map_err(|source| StartError::Os {
                what: "`memory_limit` can't see the memory of workers: it needs /proc",
                source,
            })?;
        }
        let tasks = workers.max_tasks.map_or(1, |(tasks, _)| tasks);
        check("recycle_after_tasks", &tasks, &(1..=u64::MAX))
    }
}

/// Returns an error unless `value` is one of the `allowed` ones.
pub(super) fn check<V: PartialOrd + Debug>(
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

    #[test]
    fn random_numbers_cover_their_range_and_nothing_else() {
        assert_eq!(random(0), 0);
        let drawn: Vec<u64> = (0..200).map(|_| random(3)).collect();
        assert!((0..=3).all(|number| drawn.contains(&number)), "{drawn:?}");
        assert!(drawn.iter().all(|&number| number <= 3), "{drawn:?}");
        random(u64::MAX);
    }

    #[test]
    fn a_worker_is_replaced_after_the_least_number_of_tasks_or_a_few_more() {
        let mut policy = WorkerPolicy {
            size: PoolSize::default(),
            room: 1,
            max_tasks: None,
            max_memory: None,
            max_age: None,
            idle_timeout: Duration::ZERO,
        };
        assert_eq!(policy.draw_max_tasks(), None);
        policy.max_tasks = Some((5, 0));
        assert_eq!(policy.draw_max_tasks(), Some(5));
        policy.max_tasks = Some((5, 2));
        assert!((0..100).all(|_| {
            let tasks = policy.draw_max_tasks();
            tasks.is_some_and(|tasks| (5..=7).contains(&tasks))
        }));
        policy.max_tasks = Some((u64::MAX, 2));
        assert_eq!(policy.draw_max_tasks(), Some(u64::MAX));
    }
}
