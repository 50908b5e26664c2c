//! Refuses system calls, as the filters of some containers do.
#![allow(
    unsafe_code,
    reason = "a filter of system calls is made of raw system calls"
)]

use nix::{errno::Errno, libc};

/// Makes a system call, by its number, return an error in this thread, and in the threads and processes that it starts.
pub fn refuse(call: libc::c_long, error: u32) {
    let step = |code: u32, jt, jf, k| libc::sock_filter {
        code: code.try_into().expect("small"),
        jt,
        jf,
        k,
    };
    let number = call.try_into().expect("a small number");
    let mut steps = [
        // The number of the system call is the first word of the filter's input.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, number),
        step(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | error,
        ),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: steps.len().try_into().expect("few"),
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: this call takes numbers only.
    let alone = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) };
    assert_eq!(alone, 0, "{}", Errno::last());
    // SAFETY: the call copies the program and its steps, which live until it has returned.
    let filtered = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    assert_eq!(filtered, 0, "{}", Errno::last());
}
