//! Signals around the start of a child: blocked in the thread that starts it, reset in the child. `rt_sigprocmask(2)`,
//! `rt_sigaction(2)`.

use crate::os::mark;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};
use std::io;

/// Sets of signals as the kernel has them: one bit each.
pub(super) const NO_SIGNAL: u64 = 0;
const EVERY_SIGNAL: u64 = !0;
/// Number of signals.
const SIGNALS: c_int = 64;
/// Length of a set in bytes.
const SET_LENGTH: usize = size_of::<u64>();

/// Sets this thread's mask of blocked signals and returns the previous one. Calls the kernel directly, because the C
/// library's functions never block the signals that it uses itself.
pub(super) fn mask_signals(set: u64) -> io::Result<u64> {
    let mut before = 0_u64;
    // SAFETY: both pointers are valid for a set of the given length.
    let done = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const set,
            &raw mut before,
            SET_LENGTH,
        )
    };
    if done == 0 {
        Ok(before)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Blocks every signal of this thread until it is dropped.
pub(super) struct BlockedSignals {
    before: u64,
}

impl BlockedSignals {
    pub(super) fn all() -> io::Result<Self> {
        let before = mask_signals(EVERY_SIGNAL)?;
        Ok(Self { before })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // It fails only for an invalid address.
        let _ = mask_signals(self.before);
    }
}

/// Sets the dispositions of the child (table and SPAWN-4 of [`spawn`](super)). Those of the parent do not change:
/// dispositions are not shared.
pub(super) fn reset_signals() -> io::Result<()> {
    for number in 1..=SIGNALS {
        if number == libc::SIGHUP && is_ignored(number) {
            continue;
        }
        reset_signal(number);
    }
    for ignored in [Signal::SIGTTIN, Signal::SIGTTOU] {
        // SAFETY: `SIG_IGN` runs no code of this program.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    mark::set()
}

fn reset_signal(number: c_int) {
    /// At least as long as the kernel's `sigaction` on any machine. All zeros are the default disposition.
    const DEFAULT: [u64; 16] = [0; 16];
    let none = ptr::null_mut::<c_void>();
    // SAFETY: the new disposition runs no code. The call fails for `SIGKILL` and `SIGSTOP`, which can have no other.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            number,
            DEFAULT.as_ptr(),
            none,
            SET_LENGTH,
        )
    };
}

fn is_ignored(number: c_int) -> bool {
    let mut now = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: the call changes nothing and only writes to `now`.
    if unsafe { libc::sigaction(number, ptr::null(), now.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: the call has filled it in; all zeros would be a valid value, too.
    let now = unsafe { now.assume_init() };
    now.sa_sigaction == libc::SIG_IGN
}
