//! Models: small programs on a queue of a few words, of which loom runs every interleaving of the steps of
//! their threads, and every value that the memory model lets each load return.
//!
//!     RUSTFLAGS="--cfg loom" cargo test --release --lib models -- --nocapture
//!
//! They run the functions of [`super::operations`] themselves, on the heap ([`super::testing`]). What they
//! can't show: crashes other than a thread that stops at a chosen step, and rings of real size.

mod closing;
mod helping;
mod parking;
mod receiving;
mod recovering;
mod sending;
mod settling;
mod sides;

use crate::sync::explorer::Builder;
use std::sync::{Arc, Mutex};
use std::time::Instant;

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
