//! Signals around the start of a child: blocked in the thread that starts it, and reset in the child.

use crate::os::evidence;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use nix::libc;
use nix::sys::signal::{SigHandler, Signal, signal};
use std::io;

/// The kernel's sets of signals: one bit each.
pub(super) const NO_SIGNAL: u64 = 0;
const EVERY_SIGNAL: u64 = !0;
/// How many signals there are, and the length of a set in bytes.
const SIGNALS: c_int = 64;
const SET_LENGTH: usize = size_of::<u64>();

/// Sets this thread's mask and returns the one before. The standard library of C would leave out signals of its own.
pub(super) fn mask_signals(set: u64) -> io::Result<u64> {
    let mut before = 0_u64;
    // SAFETY: both sets live, and have the length that is given.
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

/// Every signal of this thread, blocked until this is dropped.
pub(super) struct Blocked {
    before: u64,
}

impl Blocked {
    pub(super) fn all() -> io::Result<Self> {
        let before = mask_signals(EVERY_SIGNAL)?;
        Ok(Self { before })
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // It fails only for an address that is not valid.
        let _ = mask_signals(self.before);
    }
}

/// As the table says, of the child alone: dispositions are not shared.
pub(super) fn reset_signals() -> io::Result<()> {
    for number in 1..=SIGNALS {
        if number == libc::SIGHUP && is_ignored(number) {
            continue;
        }
        reset_signal(number);
    }
    for ignored in [Signal::SIGTTIN, Signal::SIGTTOU] {
        // SAFETY: no handler of this program.
        unsafe { signal(ignored, SigHandler::SigIgn) }?;
    }
    // CHILD-5 of `child`.
    evidence::set_mark()
}

fn reset_signal(number: c_int) {
    /// More than the kernel's `sigaction` has on any machine; all zeros are the default disposition.
    const DEFAULT: [u64; 16] = [0; 16];
    let none = ptr::null_mut::<c_void>();
    // SAFETY: a disposition that runs nothing. The call fails for the two signals that can't have another one.
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
    // SAFETY: the call only fills what it is given.
    if unsafe { libc::sigaction(number, ptr::null(), now.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: filled by the call; all zeros before, which is a value, too.
    let now = unsafe { now.assume_init() };
    now.sa_sigaction == libc::SIG_IGN
}
