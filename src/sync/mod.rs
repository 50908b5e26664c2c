//! The atomics of this crate: the real ones, or loom's when it explores a model, or, in the crate's own tests, real
//! ones that can be watched.
//!
//! This is the only file that names either, so that the very functions that run in shared memory also run
//! under the model checker.

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

#[cfg(all(test, not(loom)))]
pub(crate) mod observed;
#[cfg(loom)]
mod tracked;

/// A full fence for use right after an atomic exchange (a read-modify-write, not a plain store).
///
/// On x86-64 every exchange is a locked instruction and thereby already a full fence, so that only the
/// compiler has to be held back. Elsewhere, and under loom, it is a real `SeqCst` fence.
#[inline(always)]
pub(crate) fn fence_after_exchange() {
    #[cfg(all(target_arch = "x86_64", not(loom)))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(target_arch = "x86_64", not(loom))))]
    fence(Ordering::SeqCst);
}

/// What the models of the protocol need of loom besides its atomics.
#[cfg(all(test, loom))]
pub(crate) mod explorer {
    pub(crate) use loom::cell::Cell;
    pub(crate) use loom::model::Builder;
    pub(crate) use loom::sync::Mutex;
    pub(crate) use loom::{skip_branch, thread};
}
