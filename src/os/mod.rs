//! The operating system: the only module that calls it, and, with `segment`, the only one with `unsafe`.
#![allow(
    unsafe_code,
    reason = "system calls and processor hints; each block states its reason"
)]

pub(crate) mod budget;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod cpu;
pub(crate) mod descriptor;
pub(crate) mod evidence;
pub(crate) mod fork;
pub(crate) mod futex;
pub(crate) mod inherit;
pub(crate) mod link;
pub(crate) mod liveness;
pub(crate) mod locks;
pub(crate) mod memory;
pub(crate) mod named;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod spawn;
mod tree;
