//! What the tests of pools share.

use crate::{jobs::Job, program, support::LIMIT};
use workring::pool::{Builder, Report, Shutdown, TypedPool, Workers};

/// Returns a builder for a pool whose workers run `src/bin/pooled.rs`.
pub fn jobs(workers: impl Into<Workers>) -> Builder<TypedPool<Job>> {
    TypedPool::builder()
        .program(program("pooled"))
        .workers(workers)
}

/// Shuts down a pool that has no work left, and asserts that its report adds up (P13).
#[allow(
    clippy::must_use_candidate,
    reason = "it asserts; few tests look at more of the report"
)]
pub fn close(pool: &TypedPool<Job>) -> Report {
    let report = pool.shutdown(Shutdown::Drain, LIMIT);
    let report = report.expect("this is the pool's process");
    assert!(report.is_balanced(), "{report}");
    report
}
