//! Clocks that all processes of a machine share: `clock_gettime(2)`. State: the resolution of the coarse clock, kept
//! after its first read.

use crate::sync::{AtomicU64, Ordering};
use core::time::Duration;
use nix::time::{ClockId, clock_getres, clock_gettime};
use std::time::Instant;

fn nanoseconds(clock: ClockId) -> u64 {
    // It cannot fail: every Linux has the clocks used here.
    clock_gettime(clock).map_or(0, |time| {
        // Neither part is negative, and the sum overflows after 584 years.
        time.tv_sec()
            .cast_unsigned()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(time.tv_nsec().cast_unsigned())
    })
}

/// Returns nanoseconds of `CLOCK_MONOTONIC`, which is the same for all processes of a time namespace. It stands still
/// while the machine sleeps, as the time limits of futexes do.
pub(crate) fn now() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// Returns the same time as [`now`], cheaper, and late by up to [`coarse_resolution`].
pub(crate) fn now_coarse() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC_COARSE)
}

/// Returns [`coarse_resolution`], which is read from the system only once.
pub(crate) fn coarse_tick() -> u64 {
    static TICK: AtomicU64 = AtomicU64::new(0);
    match TICK.load(Ordering::Relaxed) {
        0 => {
            let tick = coarse_resolution();
            TICK.store(tick, Ordering::Relaxed);
            tick
        }
        tick => tick,
    }
}

/// Returns the resolution of [`now_coarse`] in nanoseconds: a few milliseconds.
pub(crate) fn coarse_resolution() -> u64 {
    let resolution = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE);
    let resolution = resolution.map_or(Duration::ZERO, Into::into);
    u64::try_from(resolution.as_nanos()).unwrap_or(u64::MAX)
}

/// Returns milliseconds since 1970 (`CLOCK_REALTIME`).
pub(crate) fn unix_millis() -> u64 {
    nanoseconds(ClockId::CLOCK_REALTIME) / 1_000_000
}

/// A delay that no process outlives, short enough that adding a few of them to an `Instant` does not overflow.
const UNBOUNDED: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Returns the moment `delay` after `start`. For a delay too long to add, such as `Duration::MAX`, that is a moment 100
/// years away.
pub(crate) fn after(start: Instant, delay: Duration) -> Instant {
    start.checked_add(delay.min(UNBOUNDED)).unwrap_or(start)
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
        for delay in [UNBOUNDED, Duration::MAX / 2, Duration::MAX] {
            let never = after(now, delay);
            assert_eq!(never.duration_since(now), UNBOUNDED);
            assert!(after(never, delay) > never);
        }
    }
}
