//! Models for loom: small programs on a queue of a few words. loom runs every interleaving of the steps of their
//! threads, with every value that the memory model allows each load to return.
//!
//!     RUSTFLAGS="--cfg loom" cargo test --release --lib --features async loom_models -- --nocapture
//!
//! With `WORKRING_TEST_FULL=1` the longest models explore more interruptions, which takes ten minutes.
//!
//! The models call the real functions of [`crate::protocol::steps`], on a queue on the heap ([`heap_queue`]). A thread
//! stands for a process ([`peer`]). The reactor of futures has models of its own, in its folder. Not shown are deaths, other than of a thread that stops at a chosen step, and rings
//! of more than eight slots.

pub(crate) mod futex;
mod heap_queue;
mod peer;

mod batching;
mod closing;
mod helping;
mod membership;
mod parking;
mod preparing;
mod receiving;
mod recovering;
mod sending;
mod settling;

use crate::sync::loom_tools::Builder;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// Returns the number of interruptions to explore: `full` if `WORKRING_TEST_FULL=1` is set in the environment,
/// otherwise `short`. For models that take minutes with `full`.
pub(crate) fn short_or_full(short: usize, full: usize) -> Option<usize> {
    let in_full = std::env::var_os("WORKRING_TEST_FULL").is_some_and(|value| value == "1");
    Some(if in_full { full } else { short })
}

/// Explores every execution of `model`. A model with too many of them has a limit: then only executions are explored in
/// which threads are interrupted at most `interruptions` times in the middle of their work.
pub(crate) fn explore(
    name: &str,
    interruptions: Option<usize>,
    model: impl Fn() + Sync + Send + 'static,
) {
    let mut builder = Builder::new();
    builder.max_branches = 10_000;
    if interruptions.is_some() {
        builder.preemption_bound = interruptions;
    }
    let executions = Arc::new(Mutex::new(0_u64));
    let counter = Arc::clone(&executions);
    let start = Instant::now();
    builder.check(move || {
        *counter.lock().expect("no panic in here") += 1;
        model();
    });
    println!(
        "{name}: {} executions in {:.1?}",
        executions.lock().expect("no panic in here"),
        start.elapsed()
    );
}
