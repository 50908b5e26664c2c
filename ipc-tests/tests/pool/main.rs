//! Goal: a pool of worker processes gives each task exactly one outcome, whatever happens to its workers, its parent,
//! or the user's code, and ends without leaving a process behind (P1 to P15).
//!
//! Method: the workers are programs of this package (`pooled`, `deeds`, `lineage`, `starter`). Their tasks do what a
//! test orders: connect to the test's socket and wait, crash, hang, allocate memory, or fork.

mod callers;
mod carried;
mod death_events;
mod deaths;
mod exactly_once;
mod futures;
mod groups;
mod identity;
mod limits;
mod logs;
mod map;
mod metrics;
mod not_before;
mod on_drop;
mod output;
mod priorities;
mod processes;
mod progress;
mod recorder;
mod recycling;
mod rollouts;
mod shutdown;
mod spans;
mod start;
mod stats;
mod supervision;
mod tasks;
mod user_code;
mod user_code_in_workers;
