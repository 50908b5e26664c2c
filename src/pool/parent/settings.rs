//! What a pool is made with, checked.

use super::events::Listener;
use crate::error::StartError;
use crate::os::{clock, memory_use};
use core::fmt::Debug;
use core::hash::{BuildHasher, Hasher};
use core::ops::RangeInclusive;
use core::time::Duration;
use std::ffi::OsString;
use std::hash::RandomState;
use std::path::PathBuf;
use std::time::Instant;

/// What a pool is made with, checked.
pub(crate) struct Settings {
    pub(crate) staff: Staff,
    pub(crate) limits: Limits,
    pub(crate) capacity: usize,
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
    pub(crate) environment: Vec<(OsString, Option<OsString>)>,
    pub(crate) current_dir: Option<PathBuf>,
    pub(crate) listener: Option<Listener>,
}

/// How a delay grows: from the first time to the longest, twice as long each time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Backoff {
    /// After so many failures: none, none.
    pub(crate) fn after(self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// What one task may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// After this time it is told.
    pub(crate) soft: Option<Duration>,
    /// After this time its worker is killed.
    pub(crate) hard: Option<Duration>,
    /// With more bytes of memory in use than this its worker is killed.
    pub(crate) resident: Option<u64>,
    /// So many bytes of addresses a worker may have.
    pub(crate) addresses: Option<u64>,
}

/// How many workers a pool has: a number, or from one to another. See [`Builder::workers`](super::Builder::workers).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers(pub(crate) RangeInclusive<usize>);

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

/// How many workers there may be, and when one has to go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Staff {
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// So many tasks, and at random up to so many more.
    pub(crate) tasks: Option<(u64, u64)>,
    /// So many bytes of memory.
    pub(crate) resident: Option<u64>,
    pub(crate) age: Option<Duration>,
    pub(crate) idle: Duration,
}

impl Staff {
    pub(crate) fn varies(&self) -> bool {
        self.min < self.max
    }

    /// How many tasks a worker has before it.
    pub(crate) fn tasks(&self) -> Option<u64> {
        let (tasks, jitter) = self.tasks?;
        Some(tasks.saturating_add(random(jitter)))
    }

    /// When a worker has to go that has begun now: up to a tenth later than it need, so that not all go at once.
    pub(crate) fn expires(&self, now: Instant) -> Option<Instant> {
        let age = self.age?;
        let tenth = u64::try_from(age.as_nanos() / 10).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(random(tenth));
        Some(clock::after(now, age.saturating_add(jitter)))
    }
}

/// A number from 0 to `most`.
fn random(most: u64) -> u64 {
    // The standard library draws its keys anew for each.
    let drawn = RandomState::new().build_hasher().finish();
    drawn % most.saturating_add(1)
}

/// How many workers, and how many tasks in flight, there can be.
pub(crate) const WORKERS: RangeInclusive<usize> = 1..=512;

pub(crate) const CAPACITY: RangeInclusive<usize> = 1..=32_768;

impl Settings {
    pub(crate) fn check_limits(&self) -> Result<(), StartError> {
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
            memory_use::check_readable().map_err(|source| StartError::Os {
                what: "`memory_limit` can't see the memory of workers: it needs /proc",
                source,
            })?;
        }
        let tasks = staff.tasks.map_or(1, |(tasks, _)| tasks);
        check("recycle_after_tasks", &tasks, &(1..=u64::MAX))
    }
}

pub(crate) fn check<V: PartialOrd + Debug>(
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
    fn a_random_number_is_in_range_and_not_always_the_same() {
        assert_eq!(random(0), 0);
        let drawn: Vec<u64> = (0..200).map(|_| random(3)).collect();
        assert!((0..=3).all(|number| drawn.contains(&number)), "{drawn:?}");
        assert!(drawn.iter().all(|&number| number <= 3), "{drawn:?}");
        random(u64::MAX);
    }

    #[test]
    fn a_worker_has_as_many_tasks_as_it_must_and_a_few_more() {
        let mut staff = Staff {
            min: 1,
            max: 1,
            tasks: None,
            resident: None,
            age: None,
            idle: Duration::ZERO,
        };
        assert_eq!(staff.tasks(), None);
        staff.tasks = Some((5, 0));
        assert_eq!(staff.tasks(), Some(5));
        staff.tasks = Some((5, 2));
        assert!((0..100).all(|_| staff.tasks().is_some_and(|tasks| (5..=7).contains(&tasks))));
        staff.tasks = Some((u64::MAX, 2));
        assert_eq!(staff.tasks(), Some(u64::MAX));
    }
}
