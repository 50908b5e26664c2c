//! Models: small programs on a queue of a few words, of which loom runs every interleaving of the steps of
//! their threads, and every value that the memory model lets each load return.
//!
//!     RUSTFLAGS="--cfg loom" cargo test --release --lib models -- --nocapture
//!
//! With `WORKRING_TEST_FULL=1` the longest of them explore more interruptions, which takes ten minutes.
//!
//! They run the functions of [`crate::protocol::steps`] themselves, on the heap ([`super::testing`]). What they
//! can't show: crashes other than a thread that stops at a chosen step, and rings of real size.

mod batching;
mod closing;
mod helping;
mod membership;
mod parking;
mod receiving;
mod recovering;
mod sending;
mod settling;

use crate::sync::explorer::Builder;
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// How many interruptions to explore in a model that takes minutes with the larger number: the larger one only if
/// the environment says `WORKRING_TEST_FULL=1`.
fn short_or_full(short: usize, full: usize) -> Option<usize> {
    let in_full = std::env::var_os("WORKRING_TEST_FULL").is_some_and(|value| value == "1");
    Some(if in_full { full } else { short })
}

/// Explore every execution of `model`, or, for models that have too many, those in which threads are
/// interrupted in the middle of their work at most `interruptions` times.
fn explore(name: &str, interruptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
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
