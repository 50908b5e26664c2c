//! Work queues and worker processes for Linux that survive the death of any process at any instruction.
//!
//! # A pool of worker processes
//!
//! A pool runs tasks in processes of its own. A task that crashes costs its worker, not the program.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use workring::{Context, Pool, Task, run_if_worker};
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
//!     run_if_worker::<Square>(); // a worker is this program, started again
//!     let pool = Pool::<Square>::builder().workers(4).start()?;
//!     assert_eq!(pool.submit(Square(12))?.wait()?, 144);
//!     Ok(())
//! }
//! ```
//!
//! [`pool`] has the rest: many tasks, limits, retries, cancellation, shutdown.
//!
//! # A queue between processes
//!
//! Below the pool lies a bounded multi-producer multi-consumer queue in shared memory. Each message goes to one receiver.
//! After the queue is closed, receivers get what was accepted before and then a typed `Closed`, for ever.
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
//! [`Handoff`] gives either end to a child process, which takes it with [`inherit()`]. A queue that has a name is
//! [opened](open()) by processes that did not start each other. [`queue`] has the rest: leases, batches, messages in place,
//! dead letters, statistics.
//!
//! # Errors
//!
//! Each operation has an error enum of its own, in the [`error`] module, named as in the standard library. Each has `Closed`, and gives
//! back the message that was not sent. Operations do not panic. What a peer may have written is checked before it is
//! used; what cannot be true is the error `Corrupt`.
//!
//! # More
//!
//! The repository states [every guarantee](https://docs.rs/crate/workring/latest/source/docs/GUARANTEES.md) with the test that
//! shows it, and describes the architecture, the verification and the benchmarks.
//!
//! | feature | default | what it does |
//! |---------|---------|--------------|
//! | `tracing` | yes | reports deaths, recoveries and workers' logs as [tracing](https://docs.rs/tracing) events |
//! | `test-hooks` | no | gives the tests of this crate ways past the API; unstable, not for programs |
//!
//! The ring is related to Dmitry Vyukov's bounded queue, changed so that no step makes others wait. The event count that
//! processes sleep on goes back to Reed and Kanodia (1979).

#[macro_use]
mod mutants;

#[cfg(not(loom))]
mod announce;
mod codec;
pub mod error;
#[cfg(not(loom))]
mod os;
#[cfg(not(loom))]
pub mod pool;
mod protocol;
#[cfg(not(loom))]
pub mod queue;
#[cfg(not(loom))]
mod segment;
mod sync;

pub use error::{RecvError, SendError};
#[cfg(not(loom))]
pub use pool::{Context, Pool, Task, TaskError, run_if_worker};
#[cfg(not(loom))]
pub use queue::{Handoff, Lease, Options, Receiver, Sender, channel, inherit, open};

#[cfg(all(feature = "test-hooks", not(loom)))]
#[doc(hidden)]
pub use queue::test_hooks;

/// The README's example, compiled.
#[cfg(all(doctest, not(loom)))]
#[doc = include_str!("../README.md")]
struct Readme;
