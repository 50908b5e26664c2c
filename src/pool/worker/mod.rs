//! The worker's side.

mod entry;
mod handshake;
mod log_forwarding;
mod main_loop;
mod panics;
mod watcher;

pub use entry::{Kinds, run_if_worker};
