//! Calls of wakers. They are user code: they may call a queue, and may panic. So they are never called, cloned or dropped
//! under a lock, and a panic of one does not reach the caller, which may have a message in hand, nor the others.

use core::task::Waker;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Wakes all.
pub(crate) fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        guard(|| waker.wake());
    }
}

/// Drops a waker that is not needed any more.
pub(crate) fn discard(waker: Option<Waker>) {
    guard(|| drop(waker));
}

/// Calls user code, and catches its panic, which the panic hook has reported.
pub(crate) fn guard(call: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        // Dropping it could panic again.
        core::mem::forget(payload);
    }
}
