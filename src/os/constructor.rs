//! Functions that run before `main`.
//!
//! Not by the crate `ctor`, which does the same on Linux: its macro allows unsafe code by an attribute, so it can't be used in
//! a crate with `#![forbid(unsafe_code)]`. This one can, because lints about unsafe code do not look into macros of other
//! crates.

/// Calls a function of the type `extern "C" fn()` before `main`.
///
/// `.init_array` is a section of pointers to functions (System V ABI). The C library calls each before `main`, in the main
/// thread, when it has initialized itself. It passes the arguments and the environment, which a function without
/// parameters leaves alone.
#[macro_export]
#[doc(hidden)]
macro_rules! __constructor {
    ($function:path) => {
        // Sound: the section holds pointers to functions, and this is one; see `workring::os::constructor`. The function is
        // safe and does not unwind, since it is `extern "C"`.
        #[used]
        #[unsafe(link_section = ".init_array")]
        static CONSTRUCTOR: extern "C" fn() = $function;
    };
}
