//! Goal: registered tasks of any type run in one pool, whose workers begin before the `main` of this test program.
//!
//! Method: `auto_worker!` is below, so that each worker is this program, started again. Each test runs in a process of its
//! own, under a watchdog. Programs without that line, or with two tasks of one name, are in `src/bin`.

mod callers;
mod codecs;
mod errors;
mod leaks;
mod outcomes;
mod starts;
mod states;
mod tasks;
mod workers;

use ipc_tests::support::LIMIT;
use workring::pool::{Pool, Shutdown};

workring::auto_worker!();

/// Shuts down a pool, and asserts that its report adds up.
fn close(pool: &Pool) {
    let report = pool.shutdown(Shutdown::Drain, LIMIT);
    let report = report.expect("this is the pool's process");
    assert!(report.is_balanced(), "{report}");
}
