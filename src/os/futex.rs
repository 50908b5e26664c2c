//! Futexes on shared memory: `futex(2)` without the private flag, so that they work between processes. Owns no state.

use crate::sync::AtomicU32;
use core::time::Duration;
use rustix::thread::futex::{Flags, Timespec, wait as futex_wait, wake as futex_wake};

/// Sleeps while `word` has the value `expected`, for at most `limit`. May return early for no reason: the caller checks
/// its condition again.
pub(crate) fn wait(word: &AtomicU32, expected: u32, limit: Duration) {
    let timeout = Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    // A wake, a changed word, a signal and a timeout all mean the same to the caller.
    let _ = futex_wait(word, Flags::empty(), expected, Some(&timeout));
}

/// Wakes up to `count` threads that sleep on `word`. Returns how many it woke.
pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
    // The kernel takes the count as a signed number.
    let count = count.min(i32::MAX.cast_unsigned());
    let flags = if mutant!(FutexIsPrivate) {
        Flags::PRIVATE
    } else {
        Flags::empty()
    };
    let woken = futex_wake(word, flags, count).unwrap_or(0);
    u32::try_from(woken).unwrap_or(u32::MAX)
}
