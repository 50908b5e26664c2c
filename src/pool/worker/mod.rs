//! The worker's side of a pool: how a process becomes a worker, and what it does.
//!
//! | file             | content                                                              |
//! |------------------|----------------------------------------------------------------------|
//! | `entry`          | `run_if_worker`, and the types of tasks that a program can run       |
//! | `handshake`      | the first messages between a worker and its parent                   |
//! | `main_loop`      | the main thread: it leases tasks, runs them, and sends their results |
//! | `watcher`        | the thread that receives messages of the parent                      |
//! | `panics`         | the panic hook; catching panics of tasks                             |
//! | `log_forwarding` | sending `tracing` events to the parent                               |

mod entry;
mod handshake;
mod log_forwarding;
mod main_loop;
mod panics;
mod watcher;

pub use entry::{Kinds, run_if_worker_for};
