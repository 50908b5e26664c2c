//! Futexes on shared memory: `futex(2)` without the private flag, so that they work between processes. Owns no state.

use crate::sync::AtomicU32;
use core::ptr;
use core::time::Duration;
use nix::errno::Errno;
use nix::libc;
use rustix::thread::futex::{Flags, Timespec, wait as futex_wait, wake as futex_wake};

/// A word to sleep on, together with others: see [`wait_many`](super::wait_many).
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitWord<'a> {
    pub(crate) word: &'a AtomicU32,
    /// The sleep lasts only while the word has this value.
    pub(crate) expected: u32,
}

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

/// Where a word is, for a thread that sleeps on it without borrowing it. Only the kernel accesses the word, and finds out
/// itself whether there is memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address(usize);

/// Why a sleep has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slept {
    Woken,
    /// The word does not have the expected value, or is gone.
    Changed,
    /// By a signal.
    Interrupted,
}

impl Address {
    pub(super) fn of(word: &AtomicU32) -> Self {
        Self(ptr::from_ref(word).expose_provenance())
    }

    /// Sleeps while the word has the value `expected`.
    pub(super) fn wait(self, expected: u32) -> Slept {
        let no_limit = ptr::null::<libc::timespec>();
        // SAFETY: the kernel reads four bytes at the address, or fails if there is no memory, and writes nothing.
        let ended = unsafe {
            libc::syscall(
                libc::SYS_futex,
                self.0,
                libc::FUTEX_WAIT,
                expected,
                no_limit,
            )
        };
        match Errno::result(ended) {
            Ok(_) => Slept::Woken,
            Err(Errno::EINTR) => Slept::Interrupted,
            Err(_) => Slept::Changed,
        }
    }

    /// Wakes up to `count` threads that sleep on the word.
    pub(super) fn wake(self, count: u32) {
        let count = count.min(i32::MAX.cast_unsigned());
        // SAFETY: the call uses the address as a key, and accesses no memory.
        unsafe { libc::syscall(libc::SYS_futex, self.0, libc::FUTEX_WAKE, count) };
    }
}
