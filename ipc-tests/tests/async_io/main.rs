//! Goal: futures wait for queues as threads do (A1 to A4): a future that is dropped has taken no message and no wake-up,
//! each pending one ends for the right reason, and an idle process costs almost nothing.
//!
//! Method: the queues here look for dead peers only every ten seconds or ten minutes, so that only a wake-up ends a wait
//! earlier. A lost one is a test that does not end in time.

mod dropped;
mod edges;
mod ends;
mod exchange;
mod neutral;
mod reentry;
mod threads;

use ipc_tests::support::sleepy;
use std::time::Duration;
use workring::{Options, test_hooks::with_liveness_interval};

/// Options for a queue in which a lost wake-up is a wait that does not end.
fn patient(capacity: usize) -> Options {
    with_liveness_interval(sleepy(capacity), Duration::from_mins(10))
}
