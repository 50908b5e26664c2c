//! The time, as all processes of a machine agree on it.

use crate::sync::{AtomicU64, Ordering};
use core::time::Duration;
use nix::time::{ClockId, clock_getres, clock_gettime};
use std::time::Instant;

fn nanoseconds(clock: ClockId) -> u64 {
    // These clocks can be read on every Linux.
    clock_gettime(clock).map_or(0, |time| {
        // Neither is negative, and the sum is reached in 584 years.
        time.tv_sec()
            .cast_unsigned()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(time.tv_nsec().cast_unsigned())
    })
}

/// Nanoseconds since some moment that is the same for all processes of a time namespace. It stands still
/// while the machine sleeps, as futexes do.
pub(crate) fn now() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// As [`now`], a few milliseconds behind, and cheaper.
pub(crate) fn about_now() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC_COARSE)
}

/// How far behind [`about_now`] may be, in nanoseconds, as it was read once.
pub(crate) fn tick() -> u64 {
    static TICK: AtomicU64 = AtomicU64::new(0);
    match TICK.load(Ordering::Relaxed) {
        0 => {
            let tick = coarseness();
            TICK.store(tick, Ordering::Relaxed);
            tick
        }
        tick => tick,
    }
}

/// How far behind [`about_now`] may be, in nanoseconds.
pub(crate) fn coarseness() -> u64 {
    let tick = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE);
    let tick = tick.map_or(Duration::ZERO, Into::into);
    u64::try_from(tick.as_nanos()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970.
pub(crate) fn wall() -> u64 {
    nanoseconds(ClockId::CLOCK_REALTIME) / 1_000_000
}

/// Longer than any process lives, and short enough that sums of a few of these are still moments.
const FOR_EVER: Duration = Duration::from_hours(100 * 365 * 24);

/// Returns the moment `delay` after `start`. A delay without end, such as `Duration::MAX`, gives a moment that never comes.
pub(crate) fn after(start: Instant, delay: Duration) -> Instant {
    start.checked_add(delay.min(FOR_EVER)).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_after_any_delay_exists() {
        let now = Instant::now();
        assert_eq!(after(now, Duration::ZERO), now);
        let second = Duration::from_secs(1);
        assert_eq!(after(now, second).duration_since(now), second);
        for delay in [FOR_EVER, Duration::MAX / 2, Duration::MAX] {
            let never = after(now, delay);
            assert_eq!(never.duration_since(now), FOR_EVER);
            assert!(after(never, delay) > never);
        }
    }
}
