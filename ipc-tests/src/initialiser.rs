//! A function that runs before `main`, as the constructor of a global object in C++ does.
//!
//! It runs after the constructor of `auto_worker!` in a program: a linker orders such functions as its input, and a library
//! comes after the program that uses it.
#![allow(
    unsafe_code,
    reason = "a section of the program is named; it holds pointers to functions, and this is one"
)]

use std::sync::atomic::{AtomicBool, Ordering};

static HAS_RUN: AtomicBool = AtomicBool::new(false);

#[used]
#[unsafe(link_section = ".init_array")]
static INITIALISER: extern "C" fn() = initialise;

extern "C" fn initialise() {
    HAS_RUN.store(true, Ordering::Relaxed);
}

/// Returns whether it has run in this process.
#[must_use]
pub fn has_run() -> bool {
    HAS_RUN.load(Ordering::Relaxed)
}
