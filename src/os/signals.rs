//! Signal dispositions of this process.
//!
//! State: the signal dispositions of this process.

use nix::sys::signal::{SigHandler, Signal, signal};

/// Ignores `SIGPIPE`, so that writing to a pipe that no one reads is an error (`EPIPE`). Rust programs do that before `main`.
pub(crate) fn ignore_broken_pipe() {
    // SAFETY: the handler runs no code of this program.
    let ignored = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    debug_assert!(ignored.is_ok(), "every system has `SIGPIPE`");
}
