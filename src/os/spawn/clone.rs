//! Makes the child: `clone(2)` with `CLONE_VFORK`, on a stack of its own, and with `CLONE_VM` unless it runs code of the caller.

use super::plan::{ExecPlan, StepError};
use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::num::NonZeroUsize;
use core::ptr::{self, NonNull};
use nix::libc;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use rustix::process::Pid;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Exit status of a child that could not run its program, the same as a shell's.
const FAILED: c_int = 127;

/// The step that has failed, if one has.
pub(super) type Report = Cell<Option<StepError>>;
const _: () = assert!(size_of::<Report>() <= Stack::REPORT && align_of::<Report>() <= 16);

/// A stack for the child, above a guard page. At its upper end is the place where the child reports a failed step: the mapping is
/// shared, so that the parent sees it even if the child has a copy of all other memory.
pub(super) struct Stack {
    start: NonNull<c_void>,
}

impl Stack {
    /// The guard, at the lower end. `LENGTH` includes it. Both are multiples of every page size of Linux, up to 64 KiB.
    const GUARD: NonZeroUsize = NonZeroUsize::new(64 << 10).expect("not zero");
    const LENGTH: NonZeroUsize = NonZeroUsize::new(256 << 10).expect("not zero");
    /// The length of the place for the report. A multiple of 16, as the ABI demands of the stack below it.
    const REPORT: usize = 64;

    pub(super) fn new() -> io::Result<Self> {
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_STACK | MapFlags::MAP_NORESERVE;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
        let start = unsafe { mmap_anonymous(None, Self::LENGTH, access, flags) }?;
        let stack = Self { start };
        // SAFETY: the range lies in the mapping just made, which nothing uses yet.
        unsafe { mprotect(start, Self::GUARD.get(), ProtFlags::PROT_NONE) }?;
        // SAFETY: the place lies in the mapping, is aligned, and nothing refers to it yet.
        unsafe { stack.top().cast::<Report>().write(Cell::new(None)) };
        Ok(stack)
    }

    /// Returns the end of the stack, where the child starts since the stack grows downwards.
    fn top(&self) -> *mut c_void {
        // SAFETY: the result lies in the mapping.
        unsafe {
            self.start
                .as_ptr()
                .byte_add(Self::LENGTH.get() - Self::REPORT)
        }
    }

    /// Returns the place above the stack at which the child reports a failed step (SPAWN-3 of `super`).
    pub(super) fn report(&self) -> &Report {
        // SAFETY: `new` has written it, and the mapping lives as long as this value.
        unsafe { &*self.top().cast() }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: this value owns the mapping, and the child no longer uses it: it runs its program or has ended.
        let _ = unsafe { munmap(self.start, Self::LENGTH.get()) };
    }
}

/// Makes a child that carries out `plan`, and waits until it runs its program or has ended. Returns its pid, and
/// its pidfd if the kernel supports `CLONE_PIDFD`. The caller has blocked all signals (SPAWN-2 of `super`).
pub(super) fn clone_vfork(
    plan: &ExecPlan<'_>,
    stack: &Stack,
) -> io::Result<(Pid, Option<OwnedFd>)> {
    let mut pidfd: c_int = -1;
    // Code of the caller would change this process's memory.
    let memory = if plan.runs_foreign_code() {
        0
    } else {
        libc::CLONE_VM
    };
    let flags = memory | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let argument = ptr::from_ref(plan).cast_mut().cast::<c_void>();
    // SAFETY: the child runs on a stack of its own (SPAWN-1, SPAWN-2). It only reads the plan, except for
    // its cells, which this thread cannot touch while it waits in `clone`. The plan outlives the child's use. With code of the
    // caller, the child has a copy of all memory but the stack's.
    let id = unsafe { libc::clone(child_main, stack.top(), flags, argument, &raw mut pidfd) };
    let pid = Pid::from_raw(id).filter(|_| id > 0);
    let pid = pid.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: `clone` has just created this descriptor, and nothing else owns it.
    let pidfd = (pidfd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(pidfd) });
    Ok((pid, pidfd))
}

extern "C" fn child_main(plan: *mut c_void) -> c_int {
    // SAFETY: `clone_vfork` passes a plan that lives until the child runs its program or has ended.
    let plan: &ExecPlan<'_> = unsafe { &*plan.cast_const().cast() };
    plan.carry_out();
    FAILED
}
