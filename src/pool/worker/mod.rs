//! The worker's side of a pool: how a process becomes a worker, and what it does.
//!
//! | file             | content                                                              |
//! |------------------|----------------------------------------------------------------------|
//! | `entry`          | `run_if_worker`, and the types of tasks that a program can run       |
//! | `handshake`      | the first messages between a worker and its parent                   |
//! | `inherited`      | the queues and values that a worker takes over from its parent       |
//! | `main_loop`      | the main thread: it leases tasks, runs them, and sends their results |
//! | `by_priority`    | taking tasks from the queues of several levels                       |
//! | `registry`       | the tasks that are registered at link time                           |
//! | `one_type`       | a worker of a pool of one type of task                               |
//! | `watcher`        | the thread that receives messages of the parent                      |
//! | `emitter`        | sending what tasks emit                                              |
//! | `panics`         | the panic hook; catching panics of tasks                             |
//! | `last_words`     | what the hook sends where a panic ends the process                   |
//! | `log_forwarding` | sending `tracing` events to the parent                               |
//! | `worker_spans`   | the spans around them                                                |

mod by_priority;
mod emitter;
mod entry;
mod handshake;
mod inherited;
mod last_words;
mod log_forwarding;
mod main_loop;
mod one_type;
mod panics;
#[cfg(feature = "macros")]
pub(super) mod registry;
mod watcher;
#[cfg(feature = "tracing")]
mod worker_spans;

pub use entry::{Kinds, run_if_worker_for};
#[cfg(feature = "macros")]
pub use entry::{run_if_worker, start_worker_before_main};
#[cfg(feature = "macros")]
pub(super) use main_loop::Runner;
