//! What the tests of pools share.

use crate::support::LIMIT;
use ipc_tests::jobs::Job;
use workring::pool::{Builder, Pool, Report, Shutdown, Workers};

pub(crate) const POOLED: &str = env!("CARGO_BIN_EXE_pooled");

/// A pool whose workers are the tests' own worker program.
pub(crate) fn jobs(workers: impl Into<Workers>) -> Builder<Job> {
    Pool::builder().program(POOLED).workers(workers)
}

/// Shuts a pool down that has nothing to do any more, and checks its books (P13).
pub(crate) fn close(pool: &Pool<Job>) -> Report {
    let report = pool.shutdown(Shutdown::Drain, LIMIT);
    let report = report.expect("this is the pool's process");
    assert!(report.is_balanced(), "{report}");
    report
}
