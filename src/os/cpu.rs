//! Hints to the processor, and how many there are.

use std::sync::LazyLock;

/// Ask for the cache line at `address`, for writing: fetched in the exclusive state, the exchange that
/// follows finds it at hand instead of waiting for another processor. `address` need not be valid.
#[inline(always)]
pub(crate) fn prefetch_for_write(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads and writes nothing, and never faults, whatever the address.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// Whether the machine has a second processor that could change a word while this one looks at it. The
/// machine, not this process: a process bound to one processor still waits for others elsewhere.
pub(crate) fn spinning_can_help() -> bool {
    static SEVERAL: LazyLock<bool> = LazyLock::new(|| {
        let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN);
        online.ok().flatten().is_none_or(|count| count > 1)
    });
    *SEVERAL
}

/// Let another thread have this processor, if one is waiting for it.
pub(crate) fn yield_now() {
    rustix::thread::sched_yield();
}
