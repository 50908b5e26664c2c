//! The atomics of this crate: those of the standard library, or under loom those of loom, or in the crate's own tests
//! real ones that an observer can intercept.
//!
//! No other file names them, so the functions that run in shared memory also run under both model checkers.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};
#[cfg(not(any(loom, test)))]
pub(crate) use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{Ordering, fence};
#[cfg(all(test, not(loom)))]
pub(crate) use observed::{AtomicU8, AtomicU32, AtomicU64};
#[cfg(loom)]
pub(crate) use tracked::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};

#[cfg(all(loom, feature = "async"))]
pub(crate) use mutex::Mutex;
#[cfg(all(feature = "async", not(loom)))]
pub(crate) use parking_lot::Mutex;

#[cfg(all(loom, feature = "async"))]
mod mutex;
#[cfg(all(test, not(loom)))]
pub(crate) mod observed;
#[cfg(loom)]
mod tracked;

/// A full fence for use right after an atomic exchange (a read-modify-write, not a plain store).
///
/// On x86-64 every exchange is a locked instruction and therefore a full fence, so only the compiler must not reorder.
/// Elsewhere, and under loom, it is a `SeqCst` fence.
#[inline(always)]
pub(crate) fn fence_after_exchange() {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    fence(Ordering::SeqCst);
}

/// A full fence for use after a plain store, which does not contain one. `by_others`: this process is registered for the
/// fences of those that the store is paired with, so that only the compiler must not reorder.
#[inline(always)]
pub(crate) fn fence_after_store(by_others: bool) {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    if by_others {
        core::sync::atomic::compiler_fence(Ordering::SeqCst);
        return;
    }
    let _ = by_others;
    fence(Ordering::SeqCst);
}

/// The parts of loom that the models of the protocol use besides its atomics.
#[cfg(all(test, loom))]
pub(crate) mod loom_tools {
    pub(crate) use loom::cell::Cell;
    pub(crate) use loom::model::Builder;
    pub(crate) use loom::sync::Mutex;
    pub(crate) use loom::{skip_branch, thread};
}
