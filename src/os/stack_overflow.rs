//! Reports the overflow of the main thread's stack, in a worker that begins before `main`.
//!
//! std does that with a handler that it installs just before `main`; such a worker never gets there. Message and signal are those of
//! std: whatever way a worker has begun, the caller sees the same.
//!
//! OVERFLOW-1. The handler is async-signal-safe: it reads atomics, and calls `write(2)`, `sigaction(2)` and `abort(3)`.
//! OVERFLOW-2. It runs on a stack of its own, `sigaltstack(2)`, which is that of the main thread only. Where another thread overflows its
//!     stack, the kernel can't call the handler, and ends the process by `SIGSEGV`. std gives its threads such stacks, but not
//!     before `main`.
//! OVERFLOW-3. For any other invalid access it restores the default and returns: the access is repeated, and ends the process.
//! OVERFLOW-4. A handler that the program has installed in a constructor of its own stays.
//!
//! State: the dispositions of `SIGSEGV` and `SIGBUS`, the main thread's signal stack, and the addresses below its stack.

use crate::sync::{AtomicUsize, Ordering};
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::write;
use std::io;

/// The length of the handler's stack. The kernel needs up to 12 KiB of it for the registers.
const SIGNAL_STACK: usize = 64 << 10;
/// The length of the range below the stack where an access is an overflow. Code of Rust touches each page of a large frame; code of
/// other languages may leave some out.
const BELOW: usize = 64 << 10;

/// The lowest address that the main thread's stack can have; 0 if that is not known.
static STACK_LIMIT: AtomicUsize = AtomicUsize::new(0);

/// Reports overflows of the stack of the calling thread, which is the main thread, from now on. If that is not possible, they end the
/// process without a report.
pub(crate) fn report_overflows() {
    let Some(limit) = stack_limit() else {
        return;
    };
    STACK_LIMIT.store(limit, Ordering::Relaxed);
    if set_signal_stack().is_err() {
        return;
    }
    for signal in [Signal::SIGSEGV, Signal::SIGBUS] {
        let flags = SaFlags::SA_SIGINFO | SaFlags::SA_ONSTACK;
        let action = SigAction::new(SigHandler::SigAction(handle), flags, SigSet::empty());
        // SAFETY: the handler is async-signal-safe (OVERFLOW-1).
        let before = unsafe { sigaction(signal, &action) };
        if let Ok(before) = before
            && !matches!(before.handler(), SigHandler::SigDfl)
        {
            // SAFETY: it was installed a moment ago.
            let _ = unsafe { sigaction(signal, &before) };
        }
    }
}

/// Returns the lowest address that the stack of the calling thread can have.
fn stack_limit() -> Option<usize> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: it has no preconditions.
    let me = unsafe { libc::pthread_self() };
    // SAFETY: the thread runs, and the pointer is valid for a write.
    if unsafe { libc::pthread_getattr_np(me, attributes.as_mut_ptr()) } != 0 {
        return None;
    }
    let (mut limit, mut length) = (ptr::null_mut(), 0);
    // SAFETY: the call above has initialized the attributes, and the other pointers are valid for a write.
    let found = unsafe {
        libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut limit, &raw mut length)
    };
    // SAFETY: they are initialized, and not used again.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    (found == 0 && !limit.is_null()).then(|| limit.addr())
}

/// Gives the calling thread a stack for handlers, for ever.
fn set_signal_stack() -> io::Result<()> {
    let memory = Box::leak(vec![0_u8; SIGNAL_STACK].into_boxed_slice());
    let stack = libc::stack_t {
        ss_sp: memory.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: SIGNAL_STACK,
    };
    // SAFETY: the memory is used for nothing else, and never freed.
    match unsafe { libc::sigaltstack(&raw const stack, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn handle(number: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes what it knows about the signal (`SA_SIGINFO`).
    let info = unsafe { &*info };
    // SAFETY: both signals have an address. If a process has sent the signal, what is read is its id, which is no address of a stack.
    let address = unsafe { info.si_addr() }.addr();
    let limit = STACK_LIMIT.load(Ordering::Relaxed);
    if (limit.saturating_sub(BELOW)..limit).contains(&address) {
        let text = b"\nthread 'main' has overflowed its stack\nfatal runtime error: stack overflow, aborting\n";
        let _ = write(io::stderr(), text);
        std::process::abort();
    }
    if let Ok(signal) = Signal::try_from(number) {
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default runs no code of this program.
        let _ = unsafe { sigaction(signal, &default) };
    }
}
