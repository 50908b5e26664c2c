//! The worker's side of a pool: how a process becomes a worker, and what it does.

mod entry;
mod handshake;
mod log_forwarding;
mod main_loop;
mod panics;
mod watcher;

pub use entry::{Kinds, run_if_worker};
