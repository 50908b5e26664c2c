//! Processors: prefetch, their number and maker, `sched_yield(2)`. State: their number and maker, kept after the first read.

use std::sync::LazyLock;

/// Prefetches the cache line at `address` for writing: in the exclusive state, so that the next exchange there does not
/// wait for another processor. `address` need not be valid.
#[inline(always)]
pub(crate) fn prefetch_for_write(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect that the program can see, and does not fault on any address.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch has no effect that the program can see, and does not fault on any address.
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// Prefetches the cache line at `address` for reading: another processor that has it may keep a copy. `address` need not be
/// valid.
#[inline(always)]
pub(crate) fn prefetch_for_read(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect that the program can see, and does not fault on any address.
    unsafe {
        core::arch::asm!("prefetcht0 [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch has no effect that the program can see, and does not fault on any address.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// Returns whether the machine has more than one processor. With one, only a yield or a sleep lets a peer run. The
/// processors that this process may run on do not matter: a process bound to one processor still waits for processes on others.
pub(crate) fn is_multiprocessor() -> bool {
    static SEVERAL: LazyLock<bool> = LazyLock::new(|| {
        let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN);
        online.ok().flatten().is_none_or(|count| count > 1)
    });
    *SEVERAL
}

/// Returns whether a processor takes a cache line over much faster if the one that has read it has written to it, too: so it
/// is with AMD's.
pub(crate) fn hands_over_what_was_written() -> bool {
    static HANDS_OVER: LazyLock<bool> = LazyLock::new(is_made_by_amd);
    *HANDS_OVER
}

#[cfg(target_arch = "x86_64")]
#[allow(unused_unsafe, reason = "in newer versions of Rust the call is safe")]
fn is_made_by_amd() -> bool {
    // SAFETY: every processor of this architecture has the instruction, and leaf 0.
    let leaf = unsafe { core::arch::x86_64::__cpuid(0) };
    let vendor = [leaf.ebx, leaf.edx, leaf.ecx].map(u32::to_le_bytes);
    [b"AuthenticAMD", b"HygonGenuine"]
        .contains(&vendor.as_flattened().try_into().unwrap_or(&[0; 12]))
}

#[cfg(not(target_arch = "x86_64"))]
const fn is_made_by_amd() -> bool {
    false
}

/// Lets another runnable thread use this processor.
pub(crate) fn yield_now() {
    rustix::thread::sched_yield();
}
