//! Goal: the tools that search for faults at random and at every instruction find none in a short run, and can find
//! some; and the harness of all these tests reports what it promises to report.
//!
//! Method: the tools are programs of their own (`src/bin/stepkill.rs`, `storm.rs`, `mutants.rs`), which each test runs
//! with few rounds. `WORKRING_TEST_FULL=1` runs as many rounds as a release has to pass.

mod closing_line;
mod harness;
mod mutants;
mod stepkill;
mod storm;
mod storm_pool;
