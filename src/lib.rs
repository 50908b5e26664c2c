//! Work queues and worker pools for Linux. Any process may die at any instruction; the others carry on.
//!
//! # A pool of worker processes
//!
//! A pool runs tasks in separate processes. A task that crashes takes down only its worker, not the program.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//! use workring::{Context, Task, TypedPool, pool::Shutdown, run_if_worker_for};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Square(u64);
//!
//! impl Task for Square {
//!     type Output = u64;
//!     type Error = String;
//!
//!     fn run(self, _: &Context) -> Result<u64, String> {
//!         self.0.checked_mul(self.0).ok_or_else(|| format!("{} is too large", self.0))
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     run_if_worker_for::<Square>(); // a worker is this program, started again
//!     let pool = TypedPool::<Square>::builder().workers(4).start()?;
//!     assert_eq!(pool.submit(Square(12))?.wait()?, 144);
//!     pool.shutdown(Shutdown::Drain, Duration::from_secs(10))?;
//!     Ok(())
//! }
//! ```
//!
//! [`pool`] has the rest: many tasks, limits, retries, cancellation, shutdown.
//!
//! # A queue between processes
//!
//! The pool is built on a bounded multi-producer multi-consumer queue in shared memory, which you can also use directly. Each
//! message goes to one receiver. After the queue is closed, receivers still get every accepted message, and after that
//! always the error `Closed`.
//!
//! ```
//! let (tx, rx) = workring::channel::<String>(16)?;
//! tx.send("first".to_owned())?;
//! tx.send("second".to_owned())?;
//! tx.close();
//! assert_eq!(rx.iter().collect::<Result<Vec<_>, _>>()?, ["first", "second"]);
//! assert_eq!(rx.recv(), Err(workring::RecvError::Closed));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Handoff`] gives either end to a child process, which takes it with [`inherit()`]. Processes that did not start each other
//! [open](open()) a queue by its name, which a message can carry as an [`Address`](queue::Address), or send
//! [requests](request) by it; with the feature `rendezvous` they connect, and give each other ends of queues without a name.
//! A receiver that [leases](Receiver::lease) messages acknowledges each one when its work is done; if it dies first, the
//! message goes to another receiver. [`queue`] has the rest: waiting for several queues, batches, messages in
//! place, dead letters, statistics.
//!
//! # Errors
//!
//! Each kind of operation has its own error type in [`error`], named as in the standard library. Errors of sends carry the
//! message that was not sent; sends and receives fail with `Closed` once the queue is closed. Operations do not panic unless
//! code of the program that they call does (serde, `Drop`, an iterator), or the program completes an operation of a
//! [`Select`](queue::Select) with another queue than it has selected. Everything read from shared memory is checked
//! before use; impossible values are the error `Corrupt`.
//!
//! # More
//!
//! The package contains `docs/GUARANTEES.md`, which states every guarantee with the test that shows it, and descriptions of
//! the architecture, the verification and the benchmarks.
//!
//! | feature | default | what it does |
//! |---------|---------|--------------|
//! | `tracing` | yes | reports deaths, recoveries and workers' logs as [tracing](https://docs.rs/tracing) events |
//! | `async` | no | futures, a `Stream` and a `Sink` for queues, for any runtime ([`queue::futures`](queue/futures/index.html)) |
//! | `bytemuck` | no | values that are plain old data, written and read in place ([`queue::Bytemuck`](queue/struct.Bytemuck.html)) |
//! | `rendezvous` | no | processes that did not start each other connect by a name, and give each other ends of queues ([`rendezvous`](rendezvous/index.html)) |
//! | `shared-memory` | no | named queues in mappings of the crate [shared_memory](https://docs.rs/shared_memory/0.12.4) ([`queue::open_on`](queue/fn.open_on.html)) |
//! | `cli` | no | the command line `workring`, to see and steer queues from a terminal: `docs/CLI.md` |
//! | `test-hooks` | no | internal hooks for this crate's own tests; unstable |
//!
//! The queue is based on Dmitry Vyukov's bounded queue, changed so that a process that stops in the middle of an operation
//! blocks no other. Sleeping uses event counts (Reed and Kanodia, 1979).

// `mutant!(X)` is the constant `false`, except in test builds that switch on the deliberate fault X.
#[macro_use]
mod mutants;

#[cfg(not(loom))]
mod announce;
mod codec;
pub mod error;
#[cfg(all(feature = "cli", not(loom)))]
#[doc(hidden)]
pub mod inspect;
#[cfg(not(loom))]
mod os;
#[cfg(not(loom))]
pub mod pool;
mod protocol;
#[cfg(not(loom))]
pub mod queue;
#[cfg(all(loom, feature = "async"))]
#[path = "queue/under_loom.rs"]
mod queue;
#[cfg(not(loom))]
pub mod request;
#[cfg(not(loom))]
mod segment;
mod sync;

pub use error::{RecvError, SendError};
#[cfg(not(loom))]
pub use pool::{Context, Task, TaskError, TypedPool, run_if_worker_for};
#[cfg(not(loom))]
pub use queue::{Handoff, Lease, Options, Receiver, Sender, channel, inherit, open};

#[cfg(all(feature = "rendezvous", not(loom)))]
pub use queue::rendezvous;
#[cfg(all(feature = "test-hooks", not(loom)))]
#[doc(hidden)]
pub use queue::test_hooks;

/// The README's example, compiled.
#[cfg(all(doctest, not(loom)))]
#[doc = include_str!("../README.md")]
struct Readme;
